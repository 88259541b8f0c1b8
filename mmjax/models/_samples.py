"""Convolutions over the samples of a waveform, as wav2vec 2.0 has them."""

import flax.linen as nn
import jax
import jax.numpy as jnp

from mmjax.base import Array
from mmjax.models import _sequence
from mmjax.models._layout import Path, Rule, conv, norm

NORMS = ('group', 'layer')
_EPS = 1e-5


class Convolutions(nn.Module):
  """Samples to frames: convolutions without padding, norms, GELU.

  norm: 'group', after the first, each channel over time; 'layer', after each.
  """

  channels: int
  kernels: tuple[int, ...]
  strides: tuple[int, ...]
  norm: str
  bias: bool
  dtype: str

  @nn.compact
  def __call__(self, x_BT: Array, mask_BT: Array) -> tuple[Array, Array]:
    """Frames [B, K, D], and which of them saw nothing but real samples [B, K].

    Raises ValueError for fewer samples than one frame sees.
    """
    h_BKD, length_B = x_BT[..., None], jnp.sum(mask_BT, 1)
    for i, (kernel, stride) in enumerate(zip(self.kernels, self.strides)):
      if h_BKD.shape[1] < kernel:
        raise ValueError(
          f'waveforms of {x_BT.shape[1]} samples are too short for one frame; '
          'pad them with zeros.'
        )
      h_BKD = nn.Conv(
        self.channels,
        (kernel,),
        stride,
        'VALID',
        use_bias=self.bias,
        dtype=self.dtype,
        name=f'conv_{i}',
      )(h_BKD)
      length_B = jnp.maximum((length_B - kernel) // stride + 1, 0)
      mask_BT = jnp.arange(h_BKD.shape[1])[None] < length_B[:, None]
      if self.norm == 'layer':
        name = f'norm_{i}'
        h_BKD = nn.LayerNorm(_EPS, dtype=self.dtype, name=name)(h_BKD)
      elif i == 0:
        h_BKD = _PerChannel(self.dtype, name='norm_0')(h_BKD, mask_BT)
      h_BKD = jax.nn.gelu(h_BKD, approximate=False)
    return h_BKD, mask_BT


class _PerChannel(nn.Module):
  """GroupNorm with a group per channel: over the real steps of an example."""

  dtype: str

  @nn.compact
  def __call__(self, x_BTD: Array, mask_BT: Array) -> Array:
    size = x_BTD.shape[-1:]
    scale_D = self.param('scale', nn.initializers.ones, size)
    bias_D = self.param('bias', nn.initializers.zeros, size)
    x_BTD = x_BTD.astype(jnp.float32)
    x_BTD = x_BTD - _sequence.mean(x_BTD, mask_BT)[:, None]
    var_BD = _sequence.mean(x_BTD**2, mask_BT)
    x_BTD = x_BTD * jax.lax.rsqrt(var_BD + _EPS)[:, None]
    return (x_BTD * scale_D[None, None] + bias_D[None, None]).astype(self.dtype)


def rules(path: Path, count: int, norms: str, bias: bool) -> list[Rule]:
  """Those of `Convolutions`."""
  found = []
  for i in range(count):
    of = f'feature_extractor.conv_layers.{i}'
    found += conv((*path, f'conv_{i}'), f'{of}.conv', 0, bias=bias)
    if i == 0 or norms == 'layer':
      found += norm((*path, f'norm_{i}'), f'{of}.layer_norm', 0)
  return found
