"""Log-sums over the rows and columns of a matrix that is never there as a whole.

With l_ij = scale * x_i . y_j, a tile [B, block] of l at a time is made, used and
forgotten: the running maximum and sum of Milakov and Gimelshein (2018), "Online
normalizer calculation for softmax", in both directions at once. The gradient is
written by hand and makes each tile again, so memory grows with B * block.

On a mesh, every device keeps its rows of x, and the rows of y go round in a
ring, with the sums over their columns, or in the backward pass with their
gradient. What is exchanged is of the size of the embeddings.
"""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.sharding import Mesh, PartitionSpec

NEVER = -1e30  # the largest of no logits; unlike -inf it has differences

# A similarity of unit vectors is divided by a temperature as low as 0.001.
_EXACT = jax.lax.Precision.HIGHEST


class _Ring(NamedTuple):
  """Along which axis of which mesh rows are split; of one device without."""

  mesh: Mesh | None
  axis: str

  @property
  def size(self) -> int:
    return self.mesh.shape[self.axis] if self.mesh is not None else 1

  def run(self, step: Callable, still: Any, going: Any) -> tuple[Any, Any]:
    """`step(still, going)` on each device, once with each device's `going`.

    `going` is back where it came from at the end.
    """
    if self.size == 1:
      return step(still, going)
    order = [(i, (i + 1) % self.size) for i in range(self.size)]

    def hop(carry, _):
      still, going = step(*carry)
      return (still, jax.lax.ppermute(going, self.axis, order)), None

    (still, going), _ = jax.lax.scan(hop, (still, going), length=self.size)
    return still, going

  def spread(self, function: Callable, whole: int) -> Callable:
    """`function` on each device's rows; its first arguments are `whole`."""
    if self.size == 1:
      return function

    def spread(*args):
      rows = PartitionSpec(self.axis)
      specs = (PartitionSpec(),) * whole + (rows,) * (len(args) - whole)
      run = jax.shard_map(
        function,
        mesh=self.mesh,
        in_specs=specs,
        out_specs=rows,
        axis_names={self.axis},
        check_vma=False,
      )
      return jax.jit(run)(*args)  # partly manual meshes need a jit

    return spread


class _Sum(NamedTuple):
  """A sum of exponentials: exp(top) * total."""

  top: jax.Array
  total: jax.Array

  def log(self) -> jax.Array:
    some = self.total > 0
    return jnp.where(
      some, self.top + jnp.log(jnp.where(some, self.total, 1)), 0
    )


def log_sums(
  x_BD: jax.Array,
  y_BD: jax.Array,
  scale: jax.Array,
  valid_B: jax.Array,
  block: int,
  mesh: Mesh | None = None,
  axis: str = 'data',
) -> tuple[jax.Array, jax.Array]:
  """(log sum_j exp l_ij, log sum_i exp l_ij) over valid i and j, each [B].

  It has a reverse-mode gradient for x, y and scale, and no forward mode.

  Args:
    x_BD: rows of any length.
    y_BD: as many.
    scale: [], of the products.
    valid_B: bool, rows that count, of x and of y; sums of others are 0.
    block: columns of a tile.
    mesh: whose `axis` the rows are split over; None for one device.
    axis: of the mesh.
  """
  ring, size = _Ring(mesh, axis), len(x_BD)
  block = min(block, -(-size // ring.size))
  extra = -size % (block * ring.size)
  pad = lambda a: jnp.pad(a, [(0, extra)] + [(0, 0)] * (a.ndim - 1))  # noqa: E731
  arrays = pad(x_BD), pad(y_BD), scale, pad(valid_B)
  sums: Any = _log_sums(block, ring, *arrays)
  row_B, column_B = sums
  return row_B[:size], column_B[:size]


@functools.partial(jax.custom_vjp, nondiff_argnums=(0, 1))
def _log_sums(block, ring, x_BD, y_BD, scale, valid_B):
  def local(scale, x_BD, y_BD, valid_B):
    none = _Sum(*_like(x_BD, NEVER, 0))

    def meet(rows, going):
      y_BD, valid_y_B, columns = going

      def tile(rows, part):
        y_bD, valid_b, columns = part
        logits_Bb, real_Bb = _tile(x_BD, y_bD, scale, valid_B, valid_b)
        rows = _add(rows, logits_Bb, real_Bb, 1)
        return rows, _add(columns, logits_Bb, real_Bb, 0)

      parts = _split((y_BD, valid_y_B, columns), block)
      rows, columns = jax.lax.scan(tile, rows, parts)
      return rows, (y_BD, valid_y_B, _join(columns))

    rows, (_, _, columns) = ring.run(meet, none, (y_BD, valid_B, none))
    return rows.log(), columns.log()

  return ring.spread(local, whole=1)(scale, x_BD, y_BD, valid_B)


def _forward(block, ring, x_BD, y_BD, scale, valid_B):
  sums = _log_sums(block, ring, x_BD, y_BD, scale, valid_B)
  return sums, (x_BD, y_BD, scale, valid_B, sums)


def _backward(block, ring, saved, cotangents):
  x_BD, y_BD, scale, valid_B, sums = saved

  def local(scale, x_BD, y_BD, valid_B, row_B, column_B, by_row_B, by_column_B):
    def meet(x_grad_BD, going):
      y_BD, valid_y_B, column_B, by_column_B, y_grad_BD = going

      def tile(x_grad_BD, part):
        y_bD, valid_b, column_b, by_b, y_grad_bD = part
        logits_Bb, real_Bb = _tile(x_BD, y_bD, scale, valid_B, valid_b)
        p_row_Bb = jnp.exp(jnp.minimum(logits_Bb - row_B[:, None], 0))
        p_column_Bb = jnp.exp(jnp.minimum(logits_Bb - column_b[None], 0))
        pull_Bb = by_row_B[:, None] * p_row_Bb + by_b[None] * p_column_Bb
        pull_Bb = jnp.where(real_Bb, pull_Bb, 0)
        x_grad_BD += jnp.matmul(pull_Bb, y_bD, precision=_EXACT)
        y_grad_bD += jnp.matmul(pull_Bb.T, x_BD, precision=_EXACT)
        return x_grad_BD, y_grad_bD

      parts = _split((y_BD, valid_y_B, column_B, by_column_B, y_grad_BD), block)
      x_grad_BD, y_grad_nbD = jax.lax.scan(tile, x_grad_BD, parts)
      return x_grad_BD, (*going[:-1], _join(y_grad_nbD))

    zeros = jnp.zeros_like(y_BD)
    going = (y_BD, valid_B, column_B, by_column_B, zeros)
    x_grad_BD, going = ring.run(meet, jnp.zeros_like(x_BD), going)
    return x_grad_BD, going[-1]

  grads = ring.spread(local, whole=1)(
    scale, x_BD, y_BD, valid_B, *sums, *cotangents
  )
  x_grad_BD, y_grad_BD = grads  # of the products, without the scale
  scale_grad = jnp.sum(x_BD * x_grad_BD)
  return scale * x_grad_BD, scale * y_grad_BD, scale_grad, None


_log_sums.defvjp(_forward, _backward)


def _tile(x_BD, y_bD, scale, valid_B, valid_b):
  logits_Bb = scale * jnp.matmul(x_BD, y_bD.T, precision=_EXACT)
  return logits_Bb, valid_B[:, None] & valid_b[None]


def _add(sums: _Sum, logits_Bb, real_Bb, over: int) -> _Sum:
  logits_Bb = jnp.where(real_Bb, logits_Bb, NEVER)
  top = jnp.maximum(sums.top, jnp.max(logits_Bb, axis=over))
  terms_Bb = jnp.exp(logits_Bb - jnp.expand_dims(top, over))
  terms = jnp.sum(jnp.where(real_Bb, terms_Bb, 0), axis=over)
  return _Sum(top, sums.total * jnp.exp(sums.top - top) + terms)


def _like(x_BD, *values):
  return [jnp.full_like(x_BD[:, 0], value) for value in values]


def _split(tree, block):
  """[B, ...] to [B / block, block, ...]."""
  return jax.tree.map(lambda a: a.reshape(-1, block, *a.shape[1:]), tree)


def _join(tree):
  return jax.tree.map(lambda a: a.reshape(-1, *a.shape[2:]), tree)
