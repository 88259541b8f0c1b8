"""The encoder of Whisper (Radford et al. 2023): log mel frames to a vector.

Its input is what audio='whisper' of the data sets gives, 30 s whatever the
recording's length: the silence at the end is part of it, as in training.
"""

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from mmjax import base
from mmjax.base import Array
from mmjax.models import _layer, _sequence
from mmjax.models._layout import Layout, conv, norm

POOLS = ('mean', 'steps')
_START = 'layers.{i}.'
_NAMES = {
  'query': f'{_START}self_attn.q_proj',
  'key': f'{_START}self_attn.k_proj',
  'value': f'{_START}self_attn.v_proj',
  'out': f'{_START}self_attn.out_proj',
  'norm_attention': f'{_START}self_attn_layer_norm',
  'up': f'{_START}fc1',
  'down': f'{_START}fc2',
  'norm_mlp': f'{_START}final_layer_norm',
}


class Whisper(nn.Module):
  """Two convolutions, sinusoids, pre-LN layers, norm, pooling."""

  width: int
  max_frames: int
  channels: int
  layers: int
  heads: int
  hidden: int
  activation: str
  eps: float
  pool: str
  dropout: float
  remat: bool
  dtype: str

  @nn.compact
  def __call__(self, x: Any, valid_B: Array, train: bool) -> Any:  # noqa: ARG002
    """Log mel frames f32[B, T, M], or `Ragged` -> z_BD, or steps."""
    x_BTM, mask_BT = _sequence.unpack(x)
    if x_BTM.ndim != 3 or x_BTM.shape[1] > self.max_frames:
      raise ValueError(
        f'whisper got an input of shape {x_BTM.shape}; it takes log mel frames '
        f'[B, T, bands], T at most max_frames={self.max_frames}.'
      )
    h_BTD = self._conv('conv_0', x_BTM, 1)
    # To the second one padding is nothing, whatever the first made of it.
    h_BTD = self._conv('conv_1', jnp.where(mask_BT[..., None], h_BTD, 0), 2)
    mask_BT = mask_BT[:, ::2]
    h_BTD = h_BTD + _layer.positions(h_BTD.shape[1], self.channels)[None]
    h_BTD = nn.Dropout(self.dropout, deterministic=not train)(h_BTD)
    h_BTD = _layer.stack(
      self, h_BTD, _layer.keys(mask_BT), train, key_bias=False
    ).astype(jnp.float32)
    h_BTD = nn.LayerNorm(self.eps, name='norm')(h_BTD)
    if self.pool == 'steps':
      return base.Ragged(self._project(h_BTD), mask_BT)
    return self._project(_sequence.mean(h_BTD, mask_BT))

  def _conv(self, name: str, x_BTD: Array, stride: int) -> Array:
    layer = nn.Conv(
      self.channels,
      (3,),
      stride,
      padding=[(1, 1)],
      dtype=self.dtype,
      name=name,
    )
    return jax.nn.gelu(layer(x_BTD), approximate=False)

  def _project(self, h: Array) -> Array:
    if self.width == self.channels:
      return h
    return nn.Dense(self.width, name='projection')(h)

  def layout(self) -> Layout:
    at = ('params',)
    rules = [
      *conv((*at, 'conv_0'), 'conv1', 0),
      *conv((*at, 'conv_1'), 'conv2', 0),
      *_layer.rules(self.layers, _NAMES, key_bias=False),
      *norm((*at, 'norm'), 'layer_norm', self.layers),
    ]
    # The sinusoids, which files repeat.
    return Layout(
      rules, ('', 'encoder.', 'model.encoder.'), ('embed_positions.',)
    )


def make(
  *,
  width: int = 512,
  max_frames: int = 3000,
  channels: int = 512,
  layers: int = 6,
  heads: int = 8,
  hidden: int = 0,
  activation: str = 'gelu',
  eps: float = 1e-5,
  pool: str = 'mean',
  dropout: float = 0.0,
  remat: bool = False,
  dtype: str = 'float32',
) -> nn.Module:
  """Speech encoder with Whisper's published weights; the defaults are of base.

  In the words of a config.json: d_model, encoder_layers,
  encoder_attention_heads, encoder_ffn_dim.

  Args:
    width: feature width D; other than `channels`, a Dense layer projects.
    max_frames: of the spectrogram, 10 ms each; fewer will do.
    channels: width of the layers.
    layers: of the transformer.
    heads: of the attention.
    hidden: width of the MLPs; 0 is 4 channels.
    activation: of the MLPs.
    eps: of the LayerNorms.
    pool: 'mean' over the steps of 20 ms, or 'steps', one vector for each.
    dropout: rate after places, attention and MLP.
    remat: compute activations again for the gradient, to save memory.
    dtype: of the layers; parameters stay float32.

  Returns:
    Module: (x, valid_B, train) -> z_BD float32, or `Ragged` steps.

  Raises:
    ValueError: an unknown pool or activation, heads that do not divide, an odd
      number of channels.
  """
  if pool not in POOLS:
    raise ValueError(f'whisper.pool={pool!r} is none of {", ".join(POOLS)}.')
  if channels % 2:
    raise ValueError(f'whisper.channels={channels} must be even.')
  _layer.check('whisper', channels, heads, activation)
  return Whisper(
    width,
    max_frames,
    channels,
    layers,
    heads,
    hidden or 4 * channels,
    activation,
    eps,
    pool,
    dropout,
    remat,
    dtype,
  )
