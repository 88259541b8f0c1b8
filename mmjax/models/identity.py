"""Features as they are, for modalities that come from a frozen encoder."""

from typing import Any

import flax.linen as nn
import jax.numpy as jnp

from mmjax import base
from mmjax.base import Array
from mmjax.models import _sequence


class Identity(nn.Module):
  """No parameters."""

  def __call__(self, x: Any, valid_B: Array, train: bool) -> Any:
    """x [B, ...] -> z_BD, flattened; `Ragged` [B, T, ...] stays one."""
    del valid_B, train
    if isinstance(x, base.Ragged):
      values, mask_BT = _sequence.unpack(x)
      return base.Ragged(values.reshape(mask_BT.shape + (-1,)), mask_BT)
    return jnp.asarray(x, jnp.float32).reshape(x.shape[0], -1)


def make(*, width: int = 0, dtype: str = 'float32') -> nn.Module:
  """The identity; steps of a sequence stay steps.

  Args:
    width: not used, the features keep the width that they have.
    dtype: not used either.

  Returns:
    Module: (x, valid_B, train) -> z_BD float32, or `Ragged` [B, T, D].
  """
  del width, dtype
  return Identity()
