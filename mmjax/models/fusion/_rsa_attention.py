"""Self-attention among the coordinates of a vector."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from mmjax.base import Array
from mmjax.models.fusion import _rsa


class ScalarAttention(nn.Module):
  """Every coordinate of u is a token of one number.

  q_i = u_i a + b and k_j = u_j c + d of `width` numbers, v_j = u_j e + f;
  A = softmax_j(q_i . k_j / sqrt(width)), o_i = sum_j A_ij v_j.

  Queries and keys are lines in space, so that, but for what is the same for all
  j and does not move the softmax, q_i . k_j = (q_i . c) u_j. That is how it is
  computed: exactly, with neither queries nor keys in memory, only A itself
  [B, N, N]. The bias d thereby moves nothing; it stands because the released
  weights have it, and its gradient is zero.
  """

  width: int

  @nn.compact
  def __call__(self, u_BN: Array) -> tuple[Array, Array]:
    """u_BN -> (o_BN, A [B, N, N], rows sum to 1)."""
    init = _rsa.uniform(1.0)  # fan-in is one coordinate
    names = ('query_kernel', 'query_bias', 'key_kernel', 'key_bias')
    a_D, b_D, c_D, _ = (self.param(n, init, (self.width,)) for n in names)
    e, f = (self.param(n, init, ()) for n in ('value_kernel', 'value_bias'))
    slope_BN = (u_BN * (a_D @ c_D) + b_D @ c_D) / self.width**0.5
    A = jax.nn.softmax(slope_BN[:, :, None] * u_BN[:, None, :])
    return jnp.einsum('bij,bj->bi', A, u_BN * e + f), A


def received(A: Array) -> Array:
  """A [B, N, N] -> [B, N]: mean attention that a coordinate gets, times N.

  1 is what it would get if all got the same.
  """
  return jnp.sum(A, axis=1)


def between_blocks(A: Array, widths: tuple[int, ...]) -> Array:
  """A [B, N, N] -> [B, M, M], blocks of coordinates of these widths.

  Entry [q, k] is N times the mean of A over queries in block q and keys in
  block k, so that 1 is uniform attention. Over k, weighted with the share
  widths[k] / N of the coordinates, a row sums to 1.
  """
  block_N = np.repeat(np.arange(len(widths)), widths)
  mean_NM = jax.nn.one_hot(block_N, len(widths)) / np.array(widths)[None]
  return sum(widths) * jnp.einsum('bij,iq,jk->bqk', A, mean_NM, mean_NM)
