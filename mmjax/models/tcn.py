"""A temporal convolutional network for sequences of different lengths."""

from typing import Any

import flax.linen as nn
import jax.numpy as jnp

from mmjax.base import Array
from mmjax.models import _sequence
from mmjax.models._norm import BatchNorm


class Block(nn.Module):
  """x + conv(drop(relu(norm(conv(relu(norm(x))))))), both of one dilation."""

  kernel: int
  dilation: int
  norm: str
  dropout: float
  dtype: str

  @nn.compact
  def __call__(
    self, x_BTD: Array, mask_BT: Array, valid_B: Array, train: bool
  ) -> Array:
    def conv(h_BTD):
      if self.norm == 'layer':
        h_BTD = nn.LayerNorm(dtype=self.dtype)(h_BTD)
      else:
        count_BT = mask_BT & valid_B[:, None]
        h_BTD = BatchNorm(dtype=self.dtype)(h_BTD, count_BT, train)
      # Padding must look like the zeros beyond the end, or its length shows.
      h_BTD = jnp.where(mask_BT[:, :, None], nn.relu(h_BTD), 0)
      return nn.Conv(
        x_BTD.shape[-1],
        (self.kernel,),
        kernel_dilation=(self.dilation,),
        dtype=self.dtype,
      )(h_BTD)

    h_BTD = nn.Dropout(self.dropout, deterministic=not train)(conv(x_BTD))
    return x_BTD + conv(h_BTD)


class TCN(nn.Module):
  """Dense, residual blocks with dilations 1, 2, 4, ..., mean, Dense."""

  width: int
  channels: int
  blocks: int
  kernel: int
  norm: str
  dropout: float
  dtype: str

  @nn.compact
  def __call__(self, x: Any, valid_B: Array, train: bool) -> Array:
    """x [B, T, ...] or `Ragged` -> z_BD."""
    values, mask_BT = _sequence.unpack(x)
    h_BTD = values.reshape(mask_BT.shape + (-1,))
    h_BTD = nn.Dense(self.channels, dtype=self.dtype)(h_BTD)
    for i in range(self.blocks):
      block = Block(self.kernel, 2**i, self.norm, self.dropout, self.dtype)
      h_BTD = block(h_BTD, mask_BT, valid_B, train)
    h_BTD = nn.relu(nn.LayerNorm()(h_BTD))
    return nn.Dense(self.width)(_sequence.mean(h_BTD, mask_BT))


def make(
  *,
  width: int = 128,
  channels: int = 64,
  blocks: int = 4,
  kernel: int = 3,
  norm: str = 'layer',
  dropout: float = 0.0,
  dtype: str = 'float32',
) -> nn.Module:
  """Temporal convolutional encoder, after Bai et al. 2018, not causal.

  How far a sequence is padded never shows in its feature, and in evaluation
  neither do the other examples of the batch.

  Args:
    width: feature width D.
    channels: of the convolutions.
    blocks: residual blocks; block i has dilation 2^i.
    kernel: steps that a convolution sees; odd.
    norm: 'layer' (each step by itself) or 'batch' (over all real steps).
    dropout: rate inside the blocks.
    dtype: of the convolutions; parameters stay float32.

  Returns:
    Module: (x, valid_B, train) -> z_BD float32.

  Raises:
    ValueError: an even kernel or an unknown norm.
  """
  if kernel % 2 == 0:
    raise ValueError(
      f'tcn.kernel={kernel} is even, so a step would have no middle; choose an '
      'odd one.'
    )
  if norm not in ('layer', 'batch'):
    raise ValueError(f"tcn has no norm {norm!r}; choose 'layer' or 'batch'.")
  return TCN(width, channels, blocks, kernel, norm, dropout, dtype)
