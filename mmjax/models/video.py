"""Frames of depth or colour over time."""

from collections.abc import Sequence
from typing import Any

import flax.linen as nn
import jax.numpy as jnp

from mmjax.base import Array, Ragged
from mmjax.models import _sequence
from mmjax.models._conv import Conv
from mmjax.models._norm import BatchNorm
from mmjax.models._temporal import TCN, check, differences


class Video(nn.Module):
  """Convolutions over each frame by itself, then over time."""

  width: int
  patch: int
  stages: Sequence[int]
  pool: bool
  difference: bool
  channels: int
  blocks: int
  kernel: int
  norm: str
  dropout: float
  dtype: str

  @nn.compact
  def __call__(self, x: Any, valid_B: Array, train: bool) -> Array:
    """Frames [B, T, H, W], [B, T, H, W, C] or `Ragged` of these -> z_BD."""
    x_BTHWC, mask_BT = _frames(x)
    if self.difference:
      moved_BTHWC = differences(x_BTHWC, mask_BT)
      x_BTHWC = jnp.concatenate([x_BTHWC, moved_BTHWC], axis=-1)
    B, T, *size = x_BTHWC.shape
    h = _patches(x_BTHWC.reshape(B * T, *size), self.patch)
    mask = (mask_BT & valid_B[:, None]).reshape(-1)
    for features in self.stages:
      h = Conv(features, 3, 2, self.dtype)(h)
      if self.norm == 'batch':
        h = BatchNorm(dtype=self.dtype)(h, mask, train)
      else:
        h = nn.GroupNorm(num_groups=1, dtype=self.dtype)(h)
      h = nn.relu(h)
    if self.pool:
      h = jnp.mean(h.astype(jnp.float32), axis=(1, 2))
    tcn = TCN(
      self.width,
      1,
      self.channels,
      self.blocks,
      self.kernel,
      self.norm,
      self.dropout,
      self.dtype,
    )
    return tcn(Ragged(h.reshape(B, T, -1), mask_BT), valid_B, train)


def _frames(x: Any) -> tuple[Array, Array]:
  """Any accepted input as frames [B, T, H, W, C] and their mask [B, T]."""
  shape = x.values.shape if isinstance(x, Ragged) else x.shape
  if len(shape) not in (4, 5):
    raise ValueError(
      f'video got an input of shape {shape}: it takes frames [B, T, H, W] or '
      "[B, T, H, W, C]. For one picture use the encoder 'resnet' or 'patch', "
      "for vectors over time 'tcn'."
    )
  values, mask_BT = _sequence.unpack(x)
  return values[..., None] if values.ndim == 4 else values, mask_BT


def _patches(x_BHWC: Array, patch: int) -> Array:
  """Patches without overlap as channels, the edge filled up: [B, h, w, P]."""
  H, W = x_BHWC.shape[1:3]
  x = jnp.pad(x_BHWC, ((0, 0), (0, -H % patch), (0, -W % patch), (0, 0)))
  B, H, W, C = x.shape
  h, w = H // patch, W // patch
  x = x.reshape(B, h, patch, w, patch, C).swapaxes(2, 3)
  return x.reshape(B, h, w, patch * patch * C)


def make(
  *,
  width: int = 128,
  patch: int = 4,
  stages: Sequence[int] = (32, 64),
  pool: bool = False,
  difference: bool = False,
  channels: int = 64,
  blocks: int = 2,
  kernel: int = 3,
  norm: str = 'batch',
  dropout: float = 0.0,
  dtype: str = 'float32',
) -> nn.Module:
  """Video encoder for depth and colour: small and quick, also on a CPU.

  Each frame is cut into patches without overlap and convolved; what that finds
  goes through the 'tcn' over time.

  An array of four axes is frames of one channel, [B, T, H, W]. How far frames
  are padded never shows in the feature, and in evaluation neither do the other
  examples of the batch. From scratch and for small frames; for photographs
  there is 'resnet', which averages its frames.

  Args:
    width: feature width D.
    patch: pixels a side that become the channels of one, before all else; 1
      convolves at full resolution, which costs several times the rest.
    stages: channels of the 3x3 convolutions, each of stride 2.
    pool: average what is left of the positions; else each has weights of its
      own, so it is told where something is, and the frames' size is fixed.
    difference: add each frame's difference from the one before, as channels.
    channels: of the convolutions over time.
    blocks: residual blocks over time; block i has dilation 2^i.
    kernel: frames that a convolution over time sees; odd.
    norm: 'batch' (over all real frames) or 'layer' (each frame by itself).
    dropout: rate inside the blocks over time.
    dtype: of the convolutions; parameters stay float32.

  Returns:
    Module: (x, valid_B, train) -> z_BD float32, with 'batch_stats' where the
    norm is 'batch'.

  Raises:
    ValueError: no stages or patch, an even kernel or an unknown norm.
  """
  check('video', kernel, norm)
  if patch < 1:
    raise ValueError(f'video.patch={patch} must be at least 1.')
  if not stages or min(stages) < 1:
    raise ValueError(
      f'video.stages={tuple(stages)} must hold the channels of one convolution '
      'or more, such as (32, 64).'
    )
  return Video(
    width,
    patch,
    tuple(stages),
    pool,
    difference,
    channels,
    blocks,
    kernel,
    norm,
    dropout,
    dtype,
  )
