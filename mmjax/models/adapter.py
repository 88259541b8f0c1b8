"""Fusion adapter: a small residual MLP on the latents of a frozen encoder."""

from typing import Any

import flax.linen as nn
import jax.numpy as jnp

from mmjax import base
from mmjax.base import Array
from mmjax.models import _sequence

EPSILON = 1e-5  # of PyTorch's LayerNorm


class Block(nn.Module):
  """x + W2 drop(gelu(W1 LN(x))), widening in between."""

  expansion: float
  dropout: float
  dtype: str

  @nn.compact
  def __call__(self, x_BD: Array, train: bool) -> Array:
    width = x_BD.shape[-1]
    h_BD = nn.LayerNorm(epsilon=EPSILON, dtype=self.dtype)(x_BD)
    h_BD = nn.Dense(round(self.expansion * width), dtype=self.dtype)(h_BD)
    h_BD = nn.gelu(h_BD, approximate=False)
    h_BD = nn.Dropout(self.dropout, deterministic=not train)(h_BD)
    return x_BD + nn.Dense(width, dtype=self.dtype)(h_BD)


class Adapter(nn.Module):
  """Blocks of the latents' own width, then LN and a linear map to D."""

  width: int
  blocks: int
  expansion: float
  dropout: float
  dtype: str

  @nn.compact
  def __call__(self, x: Any, valid_B: Array, train: bool) -> Array:  # noqa: ARG002
    """x [B, ...], or `Ragged` averaged over its steps -> z_BD."""
    if isinstance(x, base.Ragged):
      values, mask_BT = _sequence.unpack(x)
      h = _sequence.mean(values.reshape(mask_BT.shape + (-1,)), mask_BT)
    else:
      h = jnp.asarray(x, jnp.float32).reshape(x.shape[0], -1)
    for _ in range(self.blocks):
      h = Block(self.expansion, self.dropout, self.dtype)(h, train)
    h = nn.LayerNorm(epsilon=EPSILON, dtype=self.dtype)(h)
    return nn.Dense(self.width, dtype=self.dtype)(h).astype(jnp.float32)


def make(
  *,
  width: int = 512,
  blocks: int = 4,
  expansion: float = 4.0,
  dropout: float = 0.6,
  dtype: str = 'float32',
) -> nn.Module:
  """The fusion adapter of FuseMix (Vouitsis et al., CVPR 2024).

  Args:
    width: of the shared space D; the same for all modalities.
    blocks: inverted bottlenecks; 0 leaves LayerNorm and a linear map.
    expansion: how much wider than the latents a bottleneck is inside.
    dropout: rate inside the blocks.
    dtype: of the products; parameters stay float32.

  Returns:
    Module: (x, valid_B, train) -> z_BD float32, not normalised.

  Raises:
    ValueError: values out of range.
  """
  if blocks < 0 or expansion <= 0 or not 0 <= dropout < 1:
    raise ValueError(
      f'adapter: blocks={blocks} must be 0 or more, expansion={expansion} above '
      f'0 and dropout={dropout} in [0, 1).'
    )
  return Adapter(width, blocks, expansion, dropout, dtype)
