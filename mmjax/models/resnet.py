"""ResNet-18, 34 and 50 for images, spectrograms and several frames.

He et al. 2016, laid out as torchvision's: symmetric padding, in bottlenecks
the stride on the 3x3 convolution, kaiming-normal convolutions, no classifier.
"""

from collections.abc import Sequence
from typing import Any

import flax.linen as nn
import jax.numpy as jnp

from mmjax.base import Array
from mmjax.models import _images, _sequence
from mmjax.models._conv import Conv
from mmjax.models._layout import Layout, batch_norm, conv
from mmjax.models._norm import BatchNorm
from mmjax.models._pool import max_pool

STAGES = {18: (2, 2, 2, 2), 34: (3, 4, 6, 3), 50: (3, 4, 6, 3)}


class Block(nn.Module):
  """Two 3x3 convolutions, or 1x1, 3x3, 1x1 around a bottleneck."""

  channels: int
  stride: int
  bottleneck: bool
  dtype: str

  @nn.compact
  def __call__(self, x_BHWC: Array, mask_B: Array, train: bool) -> Array:
    def conv(x, features, kernel, stride=1):
      x = Conv(features, kernel, stride, self.dtype)(x)
      return BatchNorm(dtype=self.dtype)(x, mask_B, train)

    out = self.channels * (4 if self.bottleneck else 1)
    if self.bottleneck:
      y = nn.relu(conv(x_BHWC, self.channels, 1))
      y = nn.relu(conv(y, self.channels, 3, self.stride))
      y = conv(y, out, 1)
    else:
      y = nn.relu(conv(x_BHWC, out, 3, self.stride))
      y = conv(y, out, 3)
    if x_BHWC.shape[-1] != out or self.stride != 1:
      x_BHWC = conv(x_BHWC, out, 1, self.stride)
    return nn.relu(x_BHWC + y)


class ResNet(nn.Module):
  """Images to features: the mean over positions, and over frames."""

  width: int
  stages: Sequence[int]
  channels: int
  bottleneck: bool
  stem: str
  dtype: str
  projection: int = 0

  @nn.compact
  def __call__(self, x: Any, valid_B: Array, train: bool) -> Array:
    """x [B, H, W], [B, H, W, C] or frames [B, T, H, W, C] -> z_BD."""
    frames, mask_BT = _images.frames('resnet', x)
    B, T = mask_BT.shape
    h = frames.reshape((B * T,) + frames.shape[2:])
    mask = (mask_BT & valid_B[:, None]).reshape(-1)

    small = self.stem == 'small'
    h = Conv(self.channels, 3 if small else 7, 1 if small else 2, self.dtype)(h)
    h = nn.relu(BatchNorm(dtype=self.dtype)(h, mask, train))
    if not small:
      h = max_pool(h)
    for i, blocks in enumerate(self.stages):
      for j in range(blocks):
        stride = 2 if i > 0 and j == 0 else 1
        channels = self.channels * 2**i
        h = Block(channels, stride, self.bottleneck, self.dtype)(h, mask, train)

    h_BTD = jnp.mean(h.astype(jnp.float32), (1, 2)).reshape(B, T, -1)
    z_BD = _sequence.mean(h_BTD, mask_BT)
    if self.projection:
      z_BD = nn.relu(nn.Dense(self.projection, name='hidden')(z_BD))
    if self.projection or z_BD.shape[-1] != self.width:
      z_BD = nn.Dense(self.width, name='projection')(z_BD)
    return z_BD

  def layout(self) -> Layout:
    """Of torchvision's files, and timm's; a stage counts as a layer."""
    found = _normed((), 'conv1', 'bn1', 0, nth=0)
    index, last, before = 0, 3 if self.bottleneck else 2, self.channels
    for i, blocks in enumerate(self.stages):
      out = self.channels * 2**i * (4 if self.bottleneck else 1)
      for j in range(blocks):
        at, name = (f'Block_{index}',), f'layer{i + 1}.{j}'
        for k in range(last):
          of = f'{name}.conv{k + 1}', f'{name}.bn{k + 1}'
          found += _normed(at, *of, i + 1, nth=k)
        if before != out or (i > 0 and j == 0):
          of = f'{name}.downsample.0', f'{name}.downsample.1'
          found += _normed(at, *of, i + 1, nth=last)
        index, before = index + 1, out
    return Layout(found, ('', 'module.', 'model.', 'backbone.'), ('fc.',))


def _normed(at: tuple[str, ...], name: str, norm: str, layer: int, *, nth: int):
  """The n-th convolution of a module, and its norm."""
  found = conv(('params', *at, f'Conv_{nth}'), name, layer, bias=False)
  return found + batch_norm(('params', *at, f'BatchNorm_{nth}'), norm, layer)


def make(
  *,
  width: int = 512,
  depth: int = 18,
  channels: int = 64,
  stem: str = 'imagenet',
  projection: int = 0,
  dtype: str = 'float32',
) -> nn.Module:
  """ResNet encoder; frames are encoded one by one and averaged.

  Args:
    width: feature width D. Other than the network's own (8 channels, or 32 at
      depth 50: 512 and 2048 by default), a Dense layer projects onto it.
    depth: 18, 34 or 50.
    channels: of the first stage; each further one doubles them.
    stem: 'imagenet' (7x7 stride 2 and max-pooling) or 'small' (3x3 alone, for
      images of a few dozen pixels).
    projection: hidden units of a projection head, Dense, ReLU, Dense, instead
      of the one Dense layer; 0 is without.
    dtype: of the convolutions; statistics and parameters stay float32.

  Returns:
    Module: (x, valid_B, train) -> z_BD float32, with 'batch_stats'.

  Raises:
    ValueError: an unknown depth or stem, or a negative projection.
  """
  if depth not in STAGES:
    raise ValueError(f'resnet has no depth {depth}; choose one of 18, 34, 50.')
  if stem not in ('imagenet', 'small'):
    raise ValueError(
      f"resnet has no stem {stem!r}; choose 'imagenet' or 'small'."
    )
  if projection < 0:
    raise ValueError(f'resnet.projection={projection} must be 0 or above it.')
  return ResNet(
    width, STAGES[depth], channels, depth == 50, stem, dtype, projection
  )
