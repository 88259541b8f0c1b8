"""MMIN: a missing modality is imagined from those that are there.

"Missing Modality Imagination Network for Emotion Recognition with Uncertain
Missing Modalities", Zhao, Li, Jin, ACL 2021,
https://aclanthology.org/2021.acl-long.203, in two phases. 'pretrain' fits the
encoders and a plain classifier to what there is. 'imagine' keeps a copy of the
encoders as teacher, hides modalities at random, and trains the imagination
network of the head `mmin` to give the teacher's features of what is hidden, to
lead back to the features it started from, and to classify by its latents.

As in the paper only hidden features are imagined; the error of the authors'
code (AIM3-RUC/MMIN) runs over all entries, and for what is not hidden the
target is the teacher's feature of a silent input. As in their code, what the
imagination leads back to is taken as it is, without a gradient.

In 'imagine' no example is seen whole, in the paper neither: what it makes of
all modalities together is an extrapolation.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from mmjax.base import Array, Blocks, Kit, Method, Phase
from mmjax.ops import batches, losses, trees

PARTS = {  # of the head, by the phase that moves them
  'pretrain': ('stage_1',),
  'imagine': ('imagine', 'backward', 'stage_2'),
}


class Memory(NamedTuple):
  """The encoders as they were when 'imagine' began."""

  teacher: Blocks
  stats: Blocks
  imagine: Array  # bool[], whether it has begun


def make(
  kit: Kit,
  *,
  imagine_weight: float = 4.0,
  cycle_weight: float = 2.0,
  freeze_encoders: bool = False,
  clip_norm: float = 1.0,
  clip_norm_pretrain: float = 5.0,
) -> Method:
  """Imagination of missing modalities, with phases 'pretrain' and 'imagine'.

  Args:
    kit: with the head 'mmin' and two or more modalities.
    imagine_weight: of the squared error of the imagined features.
    cycle_weight: of the squared error of what they lead back to.
    freeze_encoders: whether encoders rest in 'imagine', statistics included;
      the authors' move on.
    clip_norm: bound of the gradient in 'imagine', for each encoder and each
      part of the head on its own; 0 is off.
    clip_norm_pretrain: the same in 'pretrain'.

  Raises ValueError for another head, one modality or a negative number.
  """
  _check(
    kit,
    imagine_weight=imagine_weight,
    cycle_weight=cycle_weight,
    clip_norm=clip_norm,
    clip_norm_pretrain=clip_norm_pretrain,
  )

  def init(params, stats):
    return Memory(_own(kit, params), _own(kit, stats), jnp.array(False))

  def pretrain(state, batch):
    def loss_fn(blocks):
      out, stats = kit.forward(state, blocks, batch, train=True)
      loss = losses.cross_entropy(
        out.extras['full'], batch['label'], batch['mask']
      )
      return loss, (stats, {'loss/joint': loss})

    run = jax.value_and_grad(loss_fn, has_aux=True)(dict(state.params))
    return _descend(kit, 'pretrain', clip_norm_pretrain, run, state, batch)

  def enter(state):
    teacher, stats = _own(kit, state.params), _own(kit, state.stats)
    memory = Memory(teacher, stats, jnp.array(True))
    # The second stage has an optimizer of its own, and those start at zero.
    opt = jax.tree.map(jnp.zeros_like, state.opt)
    return state.replace(method=memory, opt=opt)

  def imagine(state, batch):
    view = {**batch, 'present': hide(kit, state, batch)}
    shown = {m: batches.valid(view, m) for m in kit.modalities}
    hidden = {m: batches.valid(batch, m) & ~shown[m] for m in kit.modalities}
    memory, blocks, edit = state.method, dict(state.params), None
    then = state.replace(stats={**state.stats, **memory.stats})
    taught = kit.forward(then, memory.teacher, batch)[0].feats
    if freeze_encoders:
      still = kit.forward(state, {}, view)[0].feats
      blocks, edit = {'head': state.params['head']}, lambda _: still

    def loss_fn(blocks):
      out, stats = kit.forward(state, blocks, view, edit=edit, train=True)
      feats = jax.lax.stop_gradient(out.feats)
      ce = losses.cross_entropy(out.joint, batch['label'], batch['mask'])
      there = squared_error(kit, out.extras['imagined'], taught, hidden)
      back = squared_error(kit, out.extras['cycle'], feats, shown)
      parts = {'loss/joint': ce, 'loss/imagined': there, 'loss/cycle': back}
      stats = state.stats if freeze_encoders else stats
      return ce + imagine_weight * there + cycle_weight * back, (stats, parts)

    run = jax.value_and_grad(loss_fn, has_aux=True)(blocks)
    return _descend(kit, 'imagine', clip_norm, run, state, view)

  def predict(state, batch):
    out, _ = kit.forward(state, {}, batch)
    unis_BMC = out.extras['full_unis']
    unis = {m: unis_BMC[:, i] for i, m in enumerate(kit.modalities)}
    joint, unis = trees.select(
      state.method.imagine, (out.joint, out.unis), (out.extras['full'], unis)
    )
    return out._replace(joint=joint, unis=unis)

  phases = {'pretrain': Phase(pretrain), 'imagine': Phase(imagine, enter)}
  return Method(init, phases, predict)


def hide(kit: Kit, state, batch) -> dict[str, Array]:
  """{m: bool[B]}: what is kept of what each example has.

  Every non-empty proper subset of an example's modalities is as likely; one
  with a single modality keeps it.
  """
  has_MB = jnp.stack([batch['present'][m] for m in kit.modalities])
  # The bits of a number from 1 to 2^n - 2, one for each of the n that it has.
  stop_B = jnp.maximum(2 ** jnp.sum(has_MB, axis=0, dtype=jnp.int32) - 1, 2)
  key = kit.key(state, 'method')
  number_B = jax.random.randint(key, stop_B.shape, 1, stop_B)
  place_MB = jnp.maximum(jnp.cumsum(has_MB, axis=0, dtype=jnp.int32) - 1, 0)
  kept_MB = has_MB & ((number_B[None] >> place_MB) % 2 == 1)
  return dict(zip(kit.modalities, kept_MB))


def squared_error(kit: Kit, values_BD, targets, valid) -> Array:
  """Mean squared error over the entries that count, f32[]; 0 without any.

  Args:
    kit: whose order of modalities is that of `values_BD`.
    values_BD: features of all modalities side by side.
    targets: {m: z_BD}.
    valid: {m: bool[B]}.
  """
  masks = {
    m: jnp.broadcast_to(valid[m][:, None], targets[m].shape)
    for m in kit.modalities
  }
  target_BD, valid_BD = (
    jnp.concatenate([parts[m] for m in kit.modalities], axis=1)
    for parts in (targets, masks)
  )
  return losses.masked_mean(jnp.square(values_BD - target_BD), valid_BD)


def _descend(kit, phase, bound, run, state, batch):
  """Follows the clipped gradient; other phases' parts stay bitwise still."""
  (loss, (stats, parts)), grads = run
  norms = {f'grad_norm/{b}': trees.global_norm(g) for b, g in grads.items()}
  if bound:
    clip = lambda tree: _clip(tree, bound)  # noqa: E731
    head = {part: clip(g) for part, g in grads['head'].items()}
    grads = {m: clip(g) for m, g in grads.items()} | {'head': head}
  when = batches.seen(batch, kit.modalities)
  after = kit.descend(state, grads, when=when, stats=stats)

  def choose(path, old, new):
    """By the names on the way to a parameter, or to its momentum."""
    names = {getattr(step, 'key', None) for step in path}
    return old if names & resting else new

  resting = {part for name in PARTS if name != phase for part in PARTS[name]}
  params, opt = jax.tree_util.tree_map_with_path(
    choose,
    (state.params['head'], state.opt['head']),
    (after.params['head'], after.opt['head']),
  )
  after = after.replace(
    params={**after.params, 'head': params}, opt={**after.opt, 'head': opt}
  )
  return kit.tick(after), {'loss': loss, **parts, **norms}


def _clip(tree, bound: float):
  """Scaled down to a norm of `bound` if above; has a gradient at zero, too."""
  square = sum(jnp.sum(jnp.square(x)) for x in jax.tree.leaves(tree))
  scale = bound / jnp.sqrt(jnp.maximum(square, bound**2))
  return jax.tree.map(lambda x: scale * x, tree)


def _own(kit: Kit, blocks: Blocks) -> Blocks:
  """A copy of the encoders' blocks: a step gives the others' memory away."""
  return {m: jax.tree.map(jnp.copy, blocks[m]) for m in kit.modalities}


def _check(kit: Kit, **numbers: float) -> None:
  if kit.head != 'mmin':
    raise ValueError(
      "method 'mmin' trains the imagination network; config.head.name is "
      f"{kit.head!r} (use 'mmin')."
    )
  if len(kit.modalities) < 2:
    raise ValueError(
      "method 'mmin' imagines one modality from another, but config.data has "
      f'only {", ".join(kit.modalities)}; take a data set with two or more.'
    )
  for name, number in numbers.items():
    if not number >= 0:
      raise ValueError(
        f'config.method.{name}={number} must not be negative; 0 leaves it out.'
      )
