"""MLA: modalities take turns at a shared head.

"Multimodal Representation Learning by Alternating Unimodal Adaptation", Zhang,
Yoon, Bansal, Yao, CVPR 2024, https://arxiv.org/abs/2311.10707. In a turn the
unimodal loss of one modality moves its encoder and the head; all other
encoders stay bitwise still. The head's gradient is projected away from the
features that earlier turns have used, and at test time the modalities' logits
are weighted by how sure each is. What the authors' code does instead is
`mla_released`.

Gradients are projected, as the paper's update and its code have it, and then go
through the optimizer: with momentum, weight decay or Adam the head's step is
not orthogonal to what earlier turns used, however orthogonal its gradient is.
`optim.momentum=0` and `optim.weight_decay=0` leave the paper's bare rule.

The mean feature of a turn is taken over the batch, as the authors' code does;
the paper says over the training set, which would cost an epoch per turn.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from mmjax.base import Array, Kit, Method, Phase
from mmjax.methods import _alternation as alternation
from mmjax.ops import rls, trees

SCHEDULES = ('round_robin', 'shuffled', 'weighted')
PROJECTIONS = {'rls': rls.update, 'released': rls.update_released}


class Memory(NamedTuple):
  """What the next turn needs to know of the earlier ones."""

  P_DD: Array  # projection of the head's gradient; starts at I
  schedule: Array  # i32[K], whose turn it is: schedule[turn % K]
  turn: Array  # i32[], turns taken so far


def make(
  kit: Kit,
  *,
  projection: str = 'rls',
  project_with: str = 'previous',
  alpha: float = 0.1,
  fusion: str = 'entropy',
  schedule: str = 'round_robin',
  order: tuple[str, ...] = (),
  weights: tuple[float, ...] = (),
) -> Method:
  """Alternating unimodal adaptation, with phases 'lap' and 'turn'.

  A lap gives the same batch to every slot of the schedule in order; a turn
  gives a batch to one. With convolutions on a CPU take 'lap' and a fixed
  order: there a turn, whose modality only the state knows, is many times
  slower.

  Args:
    kit: with the head 'shared'.
    projection: 'rls' (the paper's), 'released' (the matrix denominator of the
      authors' code) or 'none'.
    project_with: 'previous' projects with P_{t-1}, which knows the turns
      before; 'current' with P_t, which knows this one too (as the code does).
    alpha: regulariser of the recursion, > 0.
    fusion: 'entropy', 'entropy_released' or 'fixed', at test time.
    schedule: 'round_robin' goes through `order`; 'shuffled' draws a new order
      each epoch; 'weighted' draws every slot by `weights`.
    order: names of the modalities, repeats allowed; () is each once.
    weights: one per modality: of the draws if the schedule is 'weighted', and
      of the logits if the fusion is 'fixed'; () is the same for each.

  Raises ValueError for another head and for values that are none of these.
  """
  alternation.require_shared(kit, 'mla')
  _check(kit, projection, project_with, alpha, schedule, order)
  alternation.check_fusion(fusion)
  weights_M = alternation.check_weights(kit, weights)
  first_K = tuple(kit.modalities.index(m) for m in order or kit.modalities)

  def init(params, stats):
    del stats
    P_DD = alternation.first_projection(params)
    return Memory(P_DD, jnp.asarray(first_K, jnp.int32), jnp.int32(0))

  def take(m, state, batch):
    turn = alternation.turn(kit, m, state, batch)
    P_DD, grads = state.method.P_DD, turn.grads
    if projection != 'none':
      new_DD = PROJECTIONS[projection](P_DD, turn.z_D, alpha)
      new_DD = jnp.where(turn.any, new_DD, P_DD)
      # The first turn has nothing to stay away from.
      current_DD = jnp.where(state.method.turn > 0, new_DD, P_DD)
      with_DD = current_DD if project_with == 'current' else P_DD
      P_DD, grads = new_DD, alternation.project(with_DD, grads)
    state = kit.descend(
      state,
      grads,
      when={m: turn.any, 'head': turn.any},
      stats=turn.stats,
      method=state.method._replace(P_DD=P_DD, turn=state.method.turn + 1),
    )
    norms = {b: trees.global_norm(g) for b, g in turn.grads.items()}
    return state, (turn.loss, norms[m], norms['head'])

  def draw(state, lap):
    memory = state.method
    if schedule == 'shuffled':
      new_K = jax.random.permutation(
        kit.key(state, 'schedule'), memory.schedule
      )
      when = state.step % kit.steps_per_epoch == 0
    elif schedule == 'weighted':
      key = kit.key(state, 'schedule')
      new_K = jax.random.choice(
        key, len(kit.modalities), memory.schedule.shape, p=weights_M
      ).astype(jnp.int32)
      # A phase of single turns before may have left the count amid a lap.
      when = lap | (memory.turn % len(first_K) == 0)
    else:
      return state
    drawn_K = jnp.where(when, new_K, memory.schedule)
    return state.replace(method=memory._replace(schedule=drawn_K))

  def take_slot(slot, state, batch):
    """Whoever the schedule names; told apart while running."""
    branches = [lambda s, b, m=m: take(m, s, b) for m in kit.modalities]
    i = state.method.schedule[slot]
    return *jax.lax.switch(i, branches, state, batch), i

  def lap(state, batch):
    state = draw(state, True)
    told_MT = jnp.zeros((len(kit.modalities), 4))  # loss, norms, turns
    for slot, first in enumerate(first_K):
      if schedule == 'round_robin':  # known beforehand: no branch to compile
        state, told = take(kit.modalities[first], state, batch)
        i = first
      else:
        state, told, i = take_slot(slot, state, batch)
      told_MT = told_MT.at[i].add(jnp.stack([*told, jnp.float32(1)]))
    return kit.tick(state), _metrics(kit, told_MT)

  def turn(state, batch):
    state = draw(state, False)
    state, told, i = take_slot(state.method.turn % len(first_K), state, batch)
    told_MT = jnp.zeros((len(kit.modalities), 4))
    told_MT = told_MT.at[i].set(jnp.stack([*told, jnp.float32(1)]))
    return kit.tick(state), _metrics(kit, told_MT)

  def predict(state, batch):
    return alternation.fuse(kit, fusion, weights_M, state, batch)

  return Method(init, {'lap': Phase(lap), 'turn': Phase(turn)}, predict)


def _metrics(kit, told_MT):
  """Means over each modality's turns; 0 for one that had none ('turns/m')."""
  turns_M = told_MT[:, 3]
  mean_MT = told_MT / jnp.maximum(turns_M, 1)[:, None]
  metrics = {
    'loss': jnp.sum(told_MT[:, 0]) / jnp.sum(turns_M),
    'grad_norm/head': jnp.sum(told_MT[:, 2]) / jnp.sum(turns_M),
  }
  for i, m in enumerate(kit.modalities):
    metrics[f'loss/{m}'] = mean_MT[i, 0]
    metrics[f'grad_norm/{m}'] = mean_MT[i, 1]
    metrics[f'turns/{m}'] = turns_M[i]
  return metrics


def _check(kit, projection, project_with, alpha, schedule, order):
  choices = {
    'projection': (projection, (*PROJECTIONS, 'none')),
    'project_with': (project_with, ('previous', 'current')),
    'schedule': (schedule, SCHEDULES),
  }
  for name, (value, known) in choices.items():
    if value not in known:
      raise ValueError(
        f'config.method.{name}={value!r} is none of {", ".join(known)}.'
      )
  if alpha <= 0:
    raise ValueError(f'config.method.alpha={alpha} must be above 0.')
  unknown = [m for m in order if m not in kit.modalities]
  if unknown or (order and set(order) != set(kit.modalities)):
    raise ValueError(
      f'config.method.order={order} must name each of the modalities '
      f'{kit.modalities} at least once, and nothing else.'
    )
