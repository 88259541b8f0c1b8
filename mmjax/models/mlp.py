"""A multi-layer perceptron over flattened inputs."""

import functools
from collections.abc import Sequence
from typing import Any

import flax.linen as nn
import jax.numpy as jnp

from mmjax import base
from mmjax.base import Array
from mmjax.models import _sequence
from mmjax.models._norm import BatchNorm

ACTIVATIONS = {
  'none': lambda x: x,
  'relu': nn.relu,
  'gelu': functools.partial(nn.gelu, approximate=False),
  'tanh': nn.tanh,
}
NORMS = ('none', 'layer', 'batch')


class MLP(nn.Module):
  """Dense layers, each with normalisation, activation and dropout."""

  width: int
  hidden: Sequence[int]
  activation: str
  activation_out: str
  norm: str
  dropout: float
  dtype: str

  @nn.compact
  def __call__(self, x: Any, valid_B: Array, train: bool) -> Array:
    """x [B, ...], or `Ragged` averaged over its steps -> z_BD."""
    if isinstance(x, base.Ragged):
      values, mask_BT = _sequence.unpack(x)
      h = _sequence.mean(values.reshape(mask_BT.shape + (-1,)), mask_BT)
    else:
      h = jnp.asarray(x, jnp.float32).reshape(x.shape[0], -1)
    for features in self.hidden:
      h = nn.Dense(features, dtype=self.dtype)(h)
      if self.norm == 'layer':
        h = nn.LayerNorm(dtype=self.dtype)(h)
      elif self.norm == 'batch':
        h = BatchNorm(dtype=self.dtype)(h, valid_B, train)
      h = ACTIVATIONS[self.activation](h)
      h = nn.Dropout(self.dropout, deterministic=not train)(h)
    h = nn.Dense(self.width, dtype=self.dtype)(h)
    return ACTIVATIONS[self.activation_out](h).astype(jnp.float32)


def make(
  *,
  width: int = 128,
  hidden: Sequence[int] = (256,),
  activation: str = 'relu',
  activation_out: str = 'none',
  norm: str = 'none',
  dropout: float = 0.0,
  dtype: str = 'float32',
) -> nn.Module:
  """Multi-layer perceptron encoder.

  Args:
    width: feature width D, that of the last layer.
    hidden: widths of the layers before it; () leaves one Dense layer.
    activation: after each hidden layer: 'relu', 'gelu', 'tanh' or 'none'.
    activation_out: after the last layer, from the same names.
    norm: before each activation of a hidden layer: 'none', 'layer' or 'batch'.
    dropout: rate after each hidden layer.
    dtype: of the matrix products; parameters stay float32.

  Returns:
    Module: (x, valid_B, train) -> z_BD float32.

  Raises:
    ValueError: an unknown activation or norm.
  """
  for name in (activation, activation_out):
    if name not in ACTIVATIONS:
      raise ValueError(
        f'mlp has no activation {name!r}; choose one of '
        f'{", ".join(ACTIVATIONS)}.'
      )
  if norm not in NORMS:
    raise ValueError(
      f'mlp has no norm {norm!r}; choose one of {", ".join(NORMS)}.'
    )
  return MLP(
    width, tuple(hidden), activation, activation_out, norm, dropout, dtype
  )
