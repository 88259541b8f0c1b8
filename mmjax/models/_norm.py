"""Batch normalisation over the examples that count."""

import math

import flax.linen as nn
import jax
import jax.numpy as jnp

from mmjax.base import Array


def _moments(x: Array, mask: Array) -> tuple[Array, ...]:
  """Valid deviations from the mean [B, ..., D], variance [D], count of both."""
  valid = mask.reshape(mask.shape + (1,) * (x.ndim - mask.ndim))
  axes = tuple(range(x.ndim - 1))
  each = math.prod(x.shape[mask.ndim : -1])
  count = jnp.sum(mask, dtype=jnp.float32) * each
  total = jnp.maximum(count, 1)
  mean = jnp.sum(jnp.where(valid, x, 0), axes, keepdims=True) / total
  # Zero elsewhere: else an example outside the statistics could grow without
  # bound from layer to layer, and its infinities would reach the gradients.
  deviation = jnp.where(valid, x - mean, 0)
  var = jnp.sum(jnp.square(deviation), axes) / total
  return mean.reshape(-1), deviation, var, count


class BatchNorm(nn.Module):
  """Batch normalisation whose statistics use valid positions only.

  Padding and absent examples leave no trace: not in the batch statistics, not
  in the running ones, and in training they come out as the bias. Without any
  valid position the output is finite and the running statistics stay bitwise
  as they are. With a batch sharded over a mesh the statistics are global, as
  everything under jit is. (flax.linen.BatchNorm takes a mask too, but gives
  NaN when that is empty, and it keeps the biased variance.)

  Running statistics follow PyTorch: momentum .9 here is .1 there, and the
  running variance is the unbiased one, n / (n - 1) times the batch's.
  """

  momentum: float = 0.9
  epsilon: float = 1e-5
  dtype: str = 'float32'

  @nn.compact
  def __call__(self, x: Array, mask: Array, train: bool) -> Array:
    """Normalises x [B, ..., D] over all axes but the last.

    Args:
      x: activations.
      mask: bool[B] or bool[B, T], the leading axes of x: what counts.
      train: with the statistics of the batch, else with the running ones.

    Returns:
      As x, in `dtype`.
    """
    size = x.shape[-1:]
    row = (1,) * (x.ndim - 1) + size
    scale = self.param('scale', nn.initializers.ones, size)
    bias = self.param('bias', nn.initializers.zeros, size)
    running_mean = self.variable('batch_stats', 'mean', jnp.zeros, size)
    running_var = self.variable('batch_stats', 'var', jnp.ones, size)

    x = x.astype(jnp.float32)
    if train:
      mean, deviation, var, count = _moments(x, mask)
      if not self.is_initializing():
        unbiased = var * (count / jnp.maximum(count - 1, 1))
        self._move(running_mean, mean, count > 0)
        self._move(running_var, unbiased, count > 0)
    else:
      deviation = x - running_mean.value.reshape(row)
      var = running_var.value
    factor = scale * jax.lax.rsqrt(var + self.epsilon)
    y = deviation * factor.reshape(row) + bias.reshape(row)
    return y.astype(self.dtype)

  def _move(self, running: nn.Variable, new: Array, when: Array):
    moved = self.momentum * running.value + (1 - self.momentum) * new
    running.value = jnp.where(when, moved, running.value)
