"""A temporal convolutional network for sequences of different lengths."""

import flax.linen as nn

from mmjax.models._temporal import TCN, check


def make(
  *,
  width: int = 128,
  stride: int = 1,
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
    stride: steps that are joined into one before the first layer.
    channels: of the convolutions.
    blocks: residual blocks; block i has dilation 2^i.
    kernel: steps that a convolution sees; odd.
    norm: 'layer' (each step by itself) or 'batch' (over all real steps).
    dropout: rate inside the blocks.
    dtype: of the convolutions; parameters stay float32.

  Returns:
    Module: (x, valid_B, train) -> z_BD float32.

  Raises:
    ValueError: an even kernel, an unknown norm, no stride.
  """
  check('tcn', kernel, norm, stride)
  return TCN(width, stride, channels, blocks, kernel, norm, dropout, dtype)
