"""One small model per subset of modalities, sample size and seed, together.

Huang et al., "What makes multi-modal learning better than single (provably)",
NeurIPS 2021, train each such model by itself. Here the models of one sample
size are one compiled program: subsets are masks, so all K models of a seed
read the same rows, and their first layers are one wide matrix product; seeds
are mapped over, or spread over devices. A model is the same, up to rounding,
as one that is trained alone.

Letters besides those of `base`: K subsets, L sample sizes.
"""

import functools
import itertools
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.sharding import Mesh, PartitionSpec

from mmjax.base import Array
from mmjax.lab import _draws, _model
from mmjax.lab._model import Learner
from mmjax.lab._model import encode as encode  # for whoever asks about latents
from mmjax.lab._tables import Data, Part
from mmjax.lab._tables import chance as chance
from mmjax.lab._tables import gather as gather

PUBLISHED = Learner()
KINDS = ('all', 'prefixes', 'leave_one_out')


class Cube(NamedTuple):
  """What all members came to; the axes are sample sizes, seeds, subsets."""

  modalities: tuple[str, ...]
  subsets: tuple[tuple[str, ...], ...]
  counts: tuple[int, ...]  # training examples
  loss: str
  train_LSK: np.ndarray  # f64, mean loss on the member's own examples
  validation_LSK: np.ndarray
  losses_LSKN: np.ndarray  # f32, of every test example
  right_LSKN: np.ndarray | None  # bool, for classes
  steps_LSK: np.ndarray  # i64, steps that the kept parameters have seen
  stopped_LSK: np.ndarray  # bool, whether patience ended it and not the steps
  params: tuple[Any, ...]  # for each sample size, leaves [S, K, ...]
  rows: tuple[np.ndarray, ...]  # for each, i64[S, count]

  @property
  def risk_LSK(self) -> np.ndarray:
    return self.losses_LSKN.mean(-1, dtype=np.float64)

  @property
  def accuracy_LSK(self) -> np.ndarray | None:
    right = self.right_LSKN
    return None if right is None else right.mean(-1, dtype=np.float64)

  def at(self, subset: Sequence[str]) -> int:
    """The place of a subset, in any order. Raises ValueError if it has none."""
    wanted = frozenset(subset)
    for k, found in enumerate(self.subsets):
      if frozenset(found) == wanted:
        return k
    raise ValueError(f'{"+".join(subset)} is none of the subsets trained.')


def lattice(
  modalities: Sequence[str],
  kind: str = 'all',
  *,
  limit: int = 127,
  sample: int = 0,
  seed: int = 0,
) -> tuple[tuple[str, ...], ...]:
  """Subsets of modalities, none of them empty, from small to large.

  Args:
    modalities: M names, in order.
    kind: 'all' 2^M - 1; 'prefixes', the first one, two, ...; 'leave_one_out',
      each alone, all but each, and all.
    limit: most subsets that 'all' may mean.
    sample: above 0, that many subsets: those of 'leave_one_out' first, then
      others drawn without replacement.
    seed: of the draw.

  Raises:
    ValueError: names twice, an unknown kind, or more subsets than the limit.
  """
  names = tuple(modalities)
  if not names or len(set(names)) < len(names):
    raise ValueError(f'modalities={names}: different names, one at least.')
  if kind not in KINDS:
    raise ValueError(f'lattice={kind!r}: there are {", ".join(KINDS)}.')
  M = len(names)
  if kind == 'prefixes':
    return tuple(names[: i + 1] for i in range(M))
  core = {frozenset(names)}
  core |= {frozenset({m}) for m in names}
  core |= {frozenset(names) - {m} for m in names if M > 1}
  total = 2**M - 1
  if kind == 'all' and not sample:
    if total > limit:
      raise ValueError(
        f'{M} modalities have {total:,} subsets, more than limit={limit}. Raise '
        f'the limit, ask for a sample (sample={max(2 * M + 1, 63)}), or for '
        "lattice='leave_one_out'."
      )
    core = {
      frozenset(c)
      for k in range(1, M + 1)
      for c in itertools.combinations(names, k)
    }
  if sample:
    if not len(core) <= sample <= total:
      raise ValueError(
        f'sample={sample} must lie between {len(core)}, the single modalities '
        f'and all but each, and {total:,}, all there are.'
      )
    rng = np.random.default_rng(seed)
    while len(core) < sample:
      inside = rng.random(M) < rng.random()
      core |= {frozenset(np.array(names)[inside])} - {frozenset()}
  place = {m: i for i, m in enumerate(names)}
  ordered = [tuple(sorted(map(str, s), key=place.__getitem__)) for s in core]
  return tuple(sorted(ordered, key=lambda s: (len(s), [place[m] for m in s])))


def sizes(total: int, fractions: Sequence[float]) -> tuple[int, ...]:
  """Numbers of examples, rising. Raises ValueError outside (0, 1]."""
  bad = [f for f in fractions if not 0 < f <= 1]
  if bad or not fractions:
    raise ValueError(f'fractions={tuple(fractions)} must lie in (0, 1].')
  return tuple(sorted({max(1, round(f * total)) for f in fractions}))


def train(
  data: Data,
  subsets: Sequence[Sequence[str]],
  counts: Sequence[int],
  num_seeds: int,
  learner: Learner = PUBLISHED,
  *,
  seed: int = 0,
  lanes: int | None = None,
  mesh: Mesh | None = None,
  told: Callable[[int, int], None] | None = None,
) -> Cube:
  """Trains len(counts) x num_seeds x len(subsets) models.

  The rows of a seed are a random order of the training part, in which classes
  come in proportion; `count` takes the first so many. So subsets are compared
  on the same rows, and a larger sample contains the smaller one.

  Args:
    data: from `gather(...)`.
    subsets: names of modalities, as from `lattice`.
    counts: training examples.
    num_seeds: of draws and initial weights: seed, seed + 1, ...
    learner: models and how they learn.
    seed: the first.
    lanes: seeds that run side by side in one device; None takes one on a CPU,
      where it keeps the working set in the cache, and all on accelerators.
    mesh: devices to spread the seeds over, along the axis 'seed'; None takes
      all of this process.
    told: called with (sample sizes done, of how many).

  Raises:
    ValueError: bad options, a sample that lacks a class, no validation part
      for early stopping, or a member whose loss is not finite, by name.
  """
  learner.check()
  _check(data, subsets, counts, num_seeds, learner)
  masks = {
    m: jnp.array([float(m in subset) for subset in subsets])
    for m in data.modalities
  }
  order_SN = np.stack(
    [
      _draws.order(data.train, data.num_classes, seed + s)
      for s in range(num_seeds)
    ]
  )
  _draws.check_classes(data, order_SN, counts)
  keys_S = jax.vmap(jax.random.key)(jnp.arange(num_seeds) + seed)
  if mesh is None:
    mesh = Mesh(np.array(jax.local_devices()), ('seed',))
  if lanes is None:
    lanes = 1 if mesh.devices.flat[0].platform == 'cpu' else num_seeds
  parts = jax.tree.map(jnp.asarray, (data.train, data.validation, data.test))
  found = []
  for i, count in enumerate(counts):
    rows_Sn = order_SN[:, :count]
    run = _program(
      mesh, data.outputs, data.loss, learner, max(1, min(lanes, num_seeds))
    )
    made = _spread(run, mesh, keys_S, rows_Sn, masks, parts)
    _check_finite(made, subsets, count, learner)
    found.append(made)
    if told:
      told(i + 1, len(counts))
  return _cube(data, subsets, counts, order_SN, found)


def _check(data, subsets, counts, num_seeds, learner) -> None:
  known = set(data.modalities)
  for subset in subsets:
    if not subset or not set(subset) <= known:
      raise ValueError(
        f'subset {tuple(subset)}: it must hold some of the modalities '
        f'{", ".join(data.modalities)}.'
      )
  if not counts or min(counts) < 1 or max(counts) > data.train.size:
    raise ValueError(
      f'counts={tuple(counts)} must lie between 1 and the {data.train.size} '
      'training examples.'
    )
  if num_seeds < 1:
    raise ValueError(f'num_seeds={num_seeds} must be 1 or more.')
  if learner.patience and not data.validation.size:
    raise ValueError(
      'learner.patience stops a member by the validation part, which has no '
      'example: give one, or patience=0 and a number of steps.'
    )


@functools.lru_cache(maxsize=64)
def _program(mesh: Mesh, outputs: int, loss: str, learner: Learner, lanes: int):
  """(keys_S, rows_Sn, masks, parts) -> outcome, compiled once per shape."""

  def program(keys_S, rows_Sn, masks, parts):
    train, validation, test = parts
    return jax.lax.map(
      lambda seed: _unit(
        seed[0],
        seed[1],
        masks,
        train,
        validation,
        test,
        outputs=outputs,
        loss=loss,
        learner=learner,
      ),
      (keys_S, rows_Sn),
      batch_size=lanes if lanes > 1 else None,
    )

  here, there = PartitionSpec('seed'), PartitionSpec()
  return jax.jit(
    jax.shard_map(  # seeds have nothing to tell each other: no collective
      program,
      mesh=mesh,
      in_specs=(here, here, there, there),
      out_specs=here,
      check_vma=False,
    )
  )


def _spread(run, mesh, keys_S, rows_Sn, masks, parts):
  """Runs a program on a number of seeds that need not divide among devices."""
  S, devices = len(keys_S), mesh.shape['seed']
  filled = np.arange(math.ceil(S / devices) * devices) % S
  made = run(keys_S[filled], jnp.asarray(rows_Sn[filled]), masks, parts)
  return jax.tree.map(lambda x: np.asarray(x)[:S], made)


def _unit(
  key: Array,
  rows_n: Array,
  masks: Mapping[str, Array],
  train: Part,
  validation: Part,
  test: Part,
  *,
  outputs: int,
  loss: str,
  learner: Learner,
) -> dict[str, Any]:
  """The K members of one seed, from initial weights to test losses."""
  own = jax.tree.map(lambda x: x[rows_n], train)
  widths = {m: x.shape[1] for m, x in own.inputs.items()}
  optimizer = optax.adamw(learner.lr, weight_decay=learner.l2)
  forward = jax.vmap(_model.apply, (0, 0, None, None))

  def losses_KN(params, part):
    outputs_KNC = forward(params, masks, part.inputs, part.present)
    each = jax.vmap(lambda o: _model.losses(o, part.target, loss))
    return each(outputs_KNC), outputs_KNC

  def objective(params, part):  # members share no parameter: a sum parts again
    return losses_KN(params, part)[0].mean(1).sum()

  def step(t, carry):
    params, opt, perm = carry
    perm, batch = _batch(key, t, perm, own, learner.batch_size)
    grads = jax.grad(objective)(params, batch)
    updates, opt = optimizer.update(grads, opt, params)
    return optax.apply_updates(params, updates), opt, perm

  params = jax.vmap(
    lambda mask: _model.init(key, mask, widths, outputs, learner)
  )(masks)
  K = len(next(iter(masks.values())))
  start = (params, optimizer.init(params), jnp.arange(len(rows_n)))
  if learner.patience:
    params, val_K, steps_K, stopped_K = _until_patience(
      step, start, lambda p: losses_KN(p, validation)[0].mean(1), learner, K
    )
  else:
    params, _, _ = jax.lax.fori_loop(0, learner.steps, step, start)
    val_K = losses_KN(params, validation)[0].mean(1)
    steps_K = jnp.full(K, learner.steps)
    stopped_K = jnp.zeros(K, bool)
  test_KN, outputs_KNC = losses_KN(params, test)
  right_KN = (
    outputs_KNC.argmax(-1) == test.target.reshape(1, test.size, -1)[..., 0]
  )
  return dict(
    params=params,
    train=losses_KN(params, own)[0].mean(1),
    validation=val_K,
    losses=test_KN,
    right=right_KN,
    steps=steps_K,
    stopped=stopped_K,
  )


def _until_patience(step, start, look, learner: Learner, K: int):
  """Trains until no member of the unit has a better validation loss to come.

  A member that is out of patience trains on, unheard: its best parameters are
  not replaced any more, so it is what it would be alone.
  """

  def going(state):
    return (state[0] < learner.steps) & state[-1].any()

  def onward(state):
    t, carry, best, val_K, steps_K, active_K = state
    stop = jnp.minimum(t + learner.eval_steps, learner.steps)
    carry = jax.lax.fori_loop(t, stop, step, carry)
    now_K = look(carry[0])
    better_K = active_K & (now_K < val_K)
    best = jax.tree.map(
      lambda new, old: jnp.where(
        better_K.reshape((K,) + (1,) * (new.ndim - 1)), new, old
      ),
      carry[0],
      best,
    )
    val_K = jnp.where(better_K, now_K, val_K)
    steps_K = jnp.where(better_K, stop, steps_K)
    waited_K = stop - steps_K
    active_K &= waited_K < learner.patience * learner.eval_steps
    return stop, carry, best, val_K, steps_K, active_K

  params = start[0]
  zeros_K = jnp.zeros(K, jnp.int32)
  state = (0, start, params, look(params), zeros_K, jnp.ones(K, bool))
  _, _, best, val_K, steps_K, active_K = jax.lax.while_loop(
    going, onward, state
  )
  return best, val_K, steps_K, ~active_K


def _batch(key: Array, t: Array, perm: Array, own: Part, size: int):
  """The t-th batch of a member's rows: all of them, or a part of an epoch."""
  n = len(perm)
  if n <= size:
    return perm, own
  per_epoch = n // size
  perm = jax.lax.cond(
    t % per_epoch == 0,
    lambda: jax.random.permutation(jax.random.fold_in(key, t), n),
    lambda: perm,
  )
  at = jax.lax.dynamic_slice(perm, (t % per_epoch * size,), (size,))
  return perm, jax.tree.map(lambda x: x[at], own)


def _check_finite(made, subsets, count: int, learner: Learner) -> None:
  bad = np.argwhere(~np.isfinite(made['train']))
  if len(bad):
    names = sorted({'+'.join(subsets[k]) for _, k in bad})
    raise ValueError(
      f'{len(bad)} members with {count} examples have a loss that is not '
      f'finite ({", ".join(names[:3])}): lower learner.lr={learner.lr:g}, or '
      'standardise the inputs.'
    )


def _cube(data, subsets, counts, order_SN, found) -> Cube:
  def stacked(name: str) -> np.ndarray:
    return np.stack([made[name] for made in found])

  return Cube(
    modalities=data.modalities,
    subsets=tuple(map(tuple, subsets)),
    counts=tuple(counts),
    loss=data.loss,
    train_LSK=stacked('train').astype(np.float64),
    validation_LSK=stacked('validation').astype(np.float64),
    losses_LSKN=stacked('losses'),
    right_LSKN=stacked('right') if data.num_classes else None,
    steps_LSK=stacked('steps').astype(np.int64),
    stopped_LSK=stacked('stopped'),
    params=tuple(made['params'] for made in found),
    rows=tuple(order_SN[:, :count] for count in counts),
  )
