"""Every step of a sequence by itself, for heads that fuse step by step."""

from typing import Any

import flax.linen as nn
import jax.numpy as jnp

from mmjax import base
from mmjax.base import Array
from mmjax.models import _sequence


class Steps(nn.Module):
  """LayerNorm and Dense on each step."""

  width: int
  norm: bool
  dropout: float
  dtype: str

  @nn.compact
  def __call__(self, x: Any, valid_B: Array, train: bool) -> base.Ragged:
    """x [B, T, ...] or `Ragged` -> `Ragged` f32[B, T, D]."""
    del valid_B
    values, mask_BT = _sequence.unpack(x)
    h_BTD = values.reshape(mask_BT.shape + (-1,))
    if self.norm:
      h_BTD = nn.LayerNorm(dtype=self.dtype)(h_BTD)
    h_BTD = nn.Dense(self.width, dtype=self.dtype)(h_BTD)
    h_BTD = nn.Dropout(self.dropout, deterministic=not train)(h_BTD)
    return base.Ragged(h_BTD.astype(jnp.float32), mask_BT)


def make(
  *,
  width: int = 128,
  norm: bool = True,
  dropout: float = 0.0,
  dtype: str = 'float32',
) -> nn.Module:
  """Per-step projection; a head that wants one vector gets the mean.

  Args:
    width: feature width D of a step.
    norm: LayerNorm before the projection.
    dropout: rate after it.
    dtype: of the products; parameters stay float32.

  Returns:
    Module: (x, valid_B, train) -> `Ragged` float32 [B, T, D].
  """
  return Steps(width, norm, dropout, dtype)
