"""What the encoders share about sequences: their mask and their mean."""

from typing import Any

import jax.numpy as jnp

from mmjax import base
from mmjax.base import Array


def unpack(x: Any) -> tuple[Array, Array]:
  """Sequences [B, T, ...] -> (float32 values, mask bool[B, T]).

  Of a `Ragged` the padding is set to zero, whatever stood there; of an array
  every step is real.
  """
  if isinstance(x, base.Ragged):
    mask_BT = jnp.asarray(x.mask)
    values = jnp.asarray(x.values, jnp.float32)
    mask = mask_BT.reshape(mask_BT.shape + (1,) * (values.ndim - 2))
    return jnp.where(mask, values, 0), mask_BT
  values = jnp.asarray(x, jnp.float32)
  if values.ndim < 2:
    raise ValueError(
      f'an encoder of sequences got an input of shape {values.shape}; it takes '
      '[B, T, ...], B examples of T steps.'
    )
  return values, jnp.ones(values.shape[:2], bool)


def mean(x_BTD: Array, mask_BT: Array) -> Array:
  """Mean over the steps that are real; zero where none is. Returns [B, D]."""
  where = mask_BT[:, :, None]
  count = jnp.maximum(jnp.sum(where, 1), 1)
  return jnp.sum(jnp.where(where, x_BTD, 0), 1) / count
