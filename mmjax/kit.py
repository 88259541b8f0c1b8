"""The kit: what a method may touch, bound to net, optimizer and data."""

from collections.abc import Mapping

import jax
import jax.numpy as jnp

from mmjax.base import Array, Kit, TrainState
from mmjax.models.net import Net
from mmjax.ops import trees
from mmjax.optim import Optimizer, Schedule

# Streams of random numbers. Numbers, not hashes, so that a name may change.
STREAMS = {'dropout': 0, 'augment': 1, 'schedule': 2, 'method': 3}


def fold(key: Array, stream: str, at: Array | int) -> Array:
  """The key of a stream at a step or epoch; the root key is never split."""
  return jax.random.fold_in(jax.random.fold_in(key, STREAMS[stream]), at)


def make(
  net: Net,
  optimizer: Optimizer,
  schedule: Schedule,
  *,
  modalities: tuple[str, ...],
  class_names: tuple[str, ...],
  num_examples: int,
  steps_per_epoch: int,
  head: str,
  mesh: jax.sharding.Mesh | None = None,
) -> Kit:
  """Binds the functions of a kit; see `base.Kit` for their signatures."""

  def key(state: TrainState, stream: str) -> Array:
    return fold(state.key, stream, state.step)

  def epoch(state: TrainState) -> Array:
    # In two parts, or an epoch could begin a rounding error early.
    whole, part = jnp.divmod(state.step, steps_per_epoch)
    return whole + part.astype(jnp.float32) / steps_per_epoch

  def forward(state, blocks, batch, *, only=None, edit=None, train=False):
    """`blocks` replace those of the state, as a loss to be differentiated has."""
    return net.forward(
      {**state.params, **blocks},
      state.stats,
      batch,
      key(state, 'dropout'),
      only=only,
      edit=edit,
      train=train,
    )

  def descend(
    state: TrainState,
    grads: Mapping,
    *,
    when: Mapping[str, Array] = {},  # noqa: B006 (never written)
    stats=None,
    method=None,
  ) -> TrainState:
    """Moves the blocks that have a gradient; all others stay bitwise still.

    `when` {block: bool[]} holds a block still where False, as if it had no
    gradient. `stats` and `method` replace those of the state where given.
    """
    params, opt = dict(state.params), dict(state.opt)
    lr = schedule(state.step)
    for block, grad in grads.items():
      step, memory = optimizer.direction.update(grad, opt[block], params[block])
      step = _scaled(net, block, step)
      moved = jax.tree.map(lambda p, d: p - lr * d, params[block], step)
      if block in when:
        old = (params[block], opt[block])
        moved, memory = trees.select(when[block], (moved, memory), old)
      params[block], opt[block] = moved, memory
    return state.replace(
      params=params,
      opt=opt,
      stats=state.stats if stats is None else stats,
      method=state.method if method is None else method,
    )

  return Kit(
    modalities=modalities,
    class_names=class_names,
    num_examples=num_examples,
    steps_per_epoch=steps_per_epoch,
    head=head,
    forward=forward,
    descend=descend,
    tick=lambda state: state.replace(step=state.step + 1),
    epoch=epoch,
    key=key,
    mesh=mesh,
  )


def _scaled(net: Net, block: str, step):
  """Directions, in a block whose layers learn at paces of their own."""
  factors = net.scales[block](step) if block in net.scales else None
  if factors is None:
    return step
  return jax.tree.map(lambda d, factor: factor * d, step, factors)


def init(net, optimizer, method, batch, key, weights={}) -> TrainState:  # noqa: B006
  """The first state; pure, so it runs under jit, vmap and eval_shape.

  `weights` are those that `net.init` takes.
  """
  params, stats = net.init(key, batch, weights)
  opt = {block: optimizer.direction.init(p) for block, p in params.items()}
  return TrainState(
    step=jnp.int32(0),
    params=params,
    stats=stats,
    opt=opt,
    method=method.init(params, stats),
    key=key,
  )
