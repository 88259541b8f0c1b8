"""Several seeds as one run: independent models on the same batches.

Three ways, the same numbers:
  'loop'  one compiled program, run for one model after the other
  'vmap'  one program for all; on a mesh with an axis 'seed', each group of
          devices has its own models
Vmapped convolutions are slow on a CPU, so 'auto' is 'loop' there.
"""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from mmjax import sharding
from mmjax.base import TrainState

WAYS = ('auto', 'loop', 'vmap')


class Seeds(NamedTuple):
  """How `num` models are held and stepped.

  init:   () -> states
  lift:   step -> ((states, batch) -> (states, metrics)), jitted, donating
  observe: fn -> ((states, batch) -> rows), jitted, replicated over processes
  enter:  phase.enter -> (states -> states)
  ask:    (state -> number) -> (states -> np [S]), jitted
  stack:  what lift or observe told -> {name: np [S, ...]}
  step:   states -> int
  abstract: shapes and shardings of states, for restoring
  """

  num: int
  init: Callable
  lift: Callable
  observe: Callable
  enter: Callable
  ask: Callable
  stack: Callable
  step: Callable
  abstract: Any


def keys(seed: int, num: int) -> list[jax.Array]:
  """The root key of each model: that of a single run with seed + i."""
  return [jax.random.key(seed + i) for i in range(num)]


def make(
  init: Callable[..., TrainState],
  mesh,
  *,
  weights: Callable[[], Any] = dict,
  seed: int,
  num: int,
  how: str = 'auto',
  shard_state: bool = False,
) -> Seeds:
  """Chooses the way.

  Args:
    init: (key, weights={}) -> state.
    mesh: from `sharding.make_mesh`.
    weights: () -> what `init` is given, read when models begin.
    seed: of the first model; the others count up.
    num: models, >= 1.
    how: 'loop', 'vmap' or 'auto'.
    shard_state: split states over 'data' too.

  Raises ValueError for an unknown way, no seed, or more groups of devices than
  seeds can fill.
  """
  if how not in WAYS:
    raise ValueError(f'config.seeds_how={how!r} is none of {", ".join(WAYS)}.')
  if num < 1:
    raise ValueError(f'config.num_seeds={num} must be at least 1.')
  groups = mesh.shape['seed']
  if num % groups:
    raise ValueError(
      f'config.num_seeds={num} cannot be shared out evenly among '
      f'config.mesh.seed={groups} groups of devices.'
    )
  if how == 'auto':
    on_cpu = mesh.devices.flat[0].platform == 'cpu'
    how = 'vmap' if groups > 1 or (num > 1 and not on_cpu) else 'loop'
  if how == 'loop' and groups > 1:
    raise ValueError("config.mesh.seed > 1 needs config.seeds_how='vmap'.")
  make_way = _vmap if how == 'vmap' else _loop
  return make_way(init, mesh, keys(seed, num), shard_state, weights)


def _loop(init, mesh, root, shard_state, weights) -> Seeds:
  single = jax.eval_shape(init, root[0])
  where = sharding.state(mesh, single, shard=shard_state, seeds=False)
  whole = sharding.replicated(mesh)
  start = jax.jit(init, out_shardings=where)

  def begin():
    read = weights()
    return tuple(start(key, read) for key in root)

  def lift(step):
    run = jax.jit(step, donate_argnums=0, out_shardings=(where, whole))

    @functools.wraps(run)  # for who asks what the program costs
    def steps(states, batch):
      pairs = [run(state, batch) for state in states]
      return tuple(s for s, _ in pairs), [m for _, m in pairs]

    return steps

  def observe(fn):
    run = jax.jit(fn, out_shardings=whole)
    return lambda states, batch: [run(state, batch) for state in states]

  def enter(fn):
    run = jax.jit(fn, out_shardings=where)
    return lambda states: tuple(run(state) for state in states)

  def ask(fn):
    run = jax.jit(fn, out_shardings=whole)
    return lambda states: np.stack(jax.device_get([run(s) for s in states]))

  def stack(told):
    told = jax.device_get(told)
    return {name: np.stack([t[name] for t in told]) for name in told[0]}

  return Seeds(
    len(root),
    begin,
    lift,
    observe,
    enter,
    ask,
    stack,
    lambda states: int(states[0].step),
    tuple(_placed(single, where) for _ in root),
  )


def _vmap(init, mesh, root, shard_state, weights) -> Seeds:
  single = jax.eval_shape(init, root[0])
  # One clock for all. Other counters may differ from model to model: where a
  # schedule is drawn, each model's modalities have had turns of their own.
  axes = jax.tree.map(lambda _: 0, single).replace(step=None)
  lead = len(root)
  stacked = jax.tree.map(
    lambda x, a: (
      x if a is None else jax.ShapeDtypeStruct((lead, *x.shape), x.dtype)
    ),
    single,
    axes,
  )
  where = sharding.state(mesh, stacked, shard=shard_state, seeds=True)
  whole = sharding.replicated(mesh)
  start = jax.jit(
    jax.vmap(init, in_axes=(0, None), out_axes=axes), out_shardings=where
  )

  def lift(step):
    run = jax.vmap(step, in_axes=(axes, None), out_axes=(axes, 0))
    return jax.jit(run, donate_argnums=0, out_shardings=(where, whole))

  def observe(fn):
    return jax.jit(jax.vmap(fn, in_axes=(axes, None)), out_shardings=whole)

  def enter(fn):
    run = jax.vmap(fn, in_axes=(axes,), out_axes=axes)
    return jax.jit(run, out_shardings=where)

  def ask(fn):
    run = jax.jit(jax.vmap(fn, in_axes=(axes,)), out_shardings=whole)
    return lambda states: jax.device_get(run(states))

  return Seeds(
    lead,
    lambda: start(jnp.stack(root), weights()),
    lift,
    observe,
    enter,
    ask,
    jax.device_get,
    lambda states: int(states.step),
    _placed(stacked, where),
  )


def _placed(abstract, where):
  return jax.tree.map(
    lambda x, s: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=s),
    abstract,
    where,
  )
