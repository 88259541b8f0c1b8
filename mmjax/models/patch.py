"""A small patch encoder: matrix products only, so that a CPU likes it."""

from collections.abc import Sequence
from typing import Any

import flax.linen as nn
import jax.numpy as jnp

from mmjax import base
from mmjax.base import Array
from mmjax.models import _sequence
from mmjax.models._transformer import Block, check_heads


class Patch(nn.Module):
  """Patches, Dense, position, pre-LN blocks, mean over patches, Dense."""

  width: int
  patch: Sequence[int]
  channels: int
  layers: int
  heads: int
  frames: bool
  dropout: float
  dtype: str

  @nn.compact
  def __call__(self, x: Any, valid_B: Array, train: bool) -> Array:  # noqa: ARG002
    """Image, frames or ragged spectrogram -> z_BD; see `make`."""
    frames_BTHWC, mask_BT = _frames(x, self.patch[0], self.frames)
    h_BTSP = _patches(frames_BTHWC, self.patch)
    B, T, S, _ = h_BTSP.shape
    h_BTSD = nn.Dense(self.channels, dtype=self.dtype)(h_BTSP)
    init = nn.initializers.normal(0.02)
    place_SD = self.param('position', init, (S, self.channels))
    h_BTSD = h_BTSD + place_SD[None, None]
    h_BTSD = h_BTSD + _sinusoids(T, self.channels)[None, :, None]
    h = h_BTSD.reshape(B, T * S, self.channels)
    mask = jnp.repeat(mask_BT, S, axis=1)
    for _ in range(self.layers):
      h = Block(self.heads, self.dropout, self.dtype)(h, mask, train)
    return nn.Dense(self.width)(_sequence.mean(nn.LayerNorm()(h), mask))


def _frames(x: Any, height: int, frames: bool) -> tuple[Array, Array]:
  """Any accepted input as frames [B, T, H, W, C] and their mask [B, T]."""
  ragged = isinstance(x, base.Ragged)
  shape = x.values.shape if ragged else x.shape
  if not 3 <= len(shape) <= 5:
    raise ValueError(
      f'patch got an input of shape {shape}: it takes images [B, H, W] or '
      '[B, H, W, C], frames [B, T, H, W] or [B, T, H, W, C] and ragged '
      "spectrograms [B, T, F]. For vectors use the encoder 'mlp'."
    )
  if not ragged and len(shape) < 5 and not (frames and len(shape) == 4):
    x = x[:, None]
  values, mask_BT = _sequence.unpack(x)
  if ragged and values.ndim == 3:  # slices of the spectrogram are the frames
    pad = -values.shape[1] % height
    values = jnp.pad(values, ((0, 0), (0, pad), (0, 0)))
    mask_BT = jnp.pad(mask_BT, ((0, 0), (0, pad)))
    B, T, F = values.shape
    values = values.reshape(B, T // height, height, F)
    mask_BT = mask_BT.reshape(B, T // height, height).any(-1)
  return values[..., None] if values.ndim == 4 else values, mask_BT


def _patches(frames_BTHWC: Array, patch: Sequence[int]) -> Array:
  """Patches without overlap, the edge filled up with zeros: [B, T, S, P]."""
  (p, q), (H, W) = patch, frames_BTHWC.shape[2:4]
  pad = ((0, 0), (0, 0), (0, -H % p), (0, -W % q), (0, 0))
  x = jnp.pad(frames_BTHWC, pad)
  B, T, H, W, C = x.shape
  x = x.reshape(B, T, H // p, p, W // q, q, C).swapaxes(3, 4)
  return x.reshape(B, T, (H // p) * (W // q), p * q * C)


def _sinusoids(length: int, width: int) -> Array:
  """Positions of Vaswani et al. 2017, f32[T, D]: any length, no parameters."""
  time = jnp.arange(length, dtype=jnp.float32)[:, None]
  rate = 10_000.0 ** (-jnp.arange(0, width, 2) / width)
  angle = time * rate[None]
  return jnp.concatenate([jnp.sin(angle), jnp.cos(angle)], -1)[:, :width]


def make(
  *,
  width: int = 128,
  patch: Sequence[int] = (4, 4),
  channels: int = 64,
  layers: int = 2,
  heads: int = 4,
  frames: bool = False,
  dropout: float = 0.0,
  dtype: str = 'float32',
) -> nn.Module:
  """Patch encoder of images, frames and spectrograms.

  An image [B, H, W] or [B, H, W, C] becomes patches without overlap; so does
  each frame of [B, T, H, W, C]. A `Ragged` spectrogram [B, T, F] is cut along
  time and frequency, and how far it is padded does not show in its feature.

  Args:
    width: feature width D.
    patch: height and width of a patch; of a spectrogram, steps and bins.
    channels: width of the layers.
    layers: pre-LN blocks.
    heads: of the attention among all patches of an example; 0 leaves it out.
    frames: an array [B, T, H, W] holds frames, not an image of W channels.
    dropout: rate inside the blocks.
    dtype: of the matrix products; parameters stay float32.

  Returns:
    Module: (x, valid_B, train) -> z_BD float32.

  Raises:
    ValueError: a patch that is not a pair, heads that do not divide channels.
  """
  if len(patch) != 2 or min(patch) < 1:
    raise ValueError(
      f'patch.patch={patch!r} is not a pair of positive sizes; write (4, 4).'
    )
  check_heads('patch', channels, heads)
  return Patch(
    width, tuple(patch), channels, layers, heads, frames, dropout, dtype
  )
