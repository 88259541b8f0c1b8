"""wav2vec 2.0 and HuBERT: waveforms to a vector, or to one every 20 ms.

Baevski et al. 2020, Hsu et al. 2021: convolutions over the samples, then a
transformer that learns of places by a wide convolution. Unlike transformers'
GroupNorm, ours does not count padding: what an example gives, it gives in any
batch, also with the weights that were trained without a mask.
"""

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from mmjax import base
from mmjax.base import Array
from mmjax.models import _layer, _samples, _sequence
from mmjax.models._layout import Layout, Rule, linear, norm

ORDERS = ('post', 'pre')
POOLS = ('mean', 'steps')
_START = 'encoder.layers.{i}.'
_NAMES = {
  'query': f'{_START}attention.q_proj',
  'key': f'{_START}attention.k_proj',
  'value': f'{_START}attention.v_proj',
  'out': f'{_START}attention.out_proj',
  'norm_attention': f'{_START}layer_norm',
  'up': f'{_START}feed_forward.intermediate_dense',
  'down': f'{_START}feed_forward.output_dense',
  'norm_mlp': f'{_START}final_layer_norm',
}
_PLACES = 'encoder.pos_conv_embed.conv'
_SPLIT = f'{_PLACES}.parametrizations.weight.original'
_DIRECTIONS = (
  (f'{_PLACES}.weight_v', f'{_PLACES}.weight_g'),  # of PyTorch before 2.0
  (f'{_SPLIT}1', f'{_SPLIT}0'),
  f'{_PLACES}.weight',
)


class Wav2Vec2(nn.Module):
  """Convolutions, norm, Dense, places, layers, pooling, Dense where needed."""

  width: int
  conv_channels: int
  kernels: tuple[int, ...]
  strides: tuple[int, ...]
  conv_norm: str
  conv_bias: bool
  channels: int
  layers: int
  heads: int
  hidden: int
  places: int
  places_groups: int
  order: str
  activation: str
  eps: float
  pool: str
  dropout: float
  remat: bool
  dtype: str

  @nn.compact
  def __call__(self, x: Any, valid_B: Array, train: bool) -> Any:  # noqa: ARG002
    """Waveforms of 16 kHz f32[B, T], or `Ragged` -> z_BD, or steps."""
    x_BT, mask_BT = _sequence.unpack(x)
    if x_BT.ndim != 2:
      raise ValueError(
        f'wav2vec2 got an input of shape {x_BT.shape}; it takes waveforms '
        "[B, T], as audio='waveform' of the data sets gives them."
      )
    h_BTD, mask_BT = _samples.Convolutions(
      self.conv_channels,
      self.kernels,
      self.strides,
      self.conv_norm,
      self.conv_bias,
      self.dtype,
      name='conv',
    )(x_BT, mask_BT)
    h_BTD = nn.LayerNorm(self.eps, dtype=self.dtype, name='norm_conv')(h_BTD)
    h_BTD = nn.Dense(self.channels, dtype=self.dtype, name='inner')(h_BTD)
    h_BTD = self._place(jnp.where(mask_BT[..., None], h_BTD, 0))
    outer = nn.LayerNorm(self.eps, name='norm')
    h_BTD = outer(h_BTD) if self.order == 'post' else h_BTD
    h_BTD = nn.Dropout(self.dropout, deterministic=not train)(h_BTD)
    h_BTD = _layer.stack(
      self, h_BTD, _layer.keys(mask_BT), train, order=self.order
    )
    h_BTD = outer(h_BTD) if self.order == 'pre' else h_BTD
    h_BTD = h_BTD.astype(jnp.float32)
    if self.pool == 'steps':
      return base.Ragged(self._project(h_BTD), mask_BT)
    return self._project(_sequence.mean(h_BTD, mask_BT))

  def _place(self, h_BTD: Array) -> Array:
    """An even kernel looks one frame further back than ahead."""
    around = nn.Conv(
      self.channels,
      (self.places,),
      padding=[(self.places // 2, (self.places - 1) // 2)],
      feature_group_count=self.places_groups,
      dtype=self.dtype,
      name='places',
    )
    return h_BTD + jax.nn.gelu(around(h_BTD), approximate=False)

  def _project(self, h: Array) -> Array:
    if self.width == self.channels:
      return h
    return nn.Dense(self.width, name='projection')(h)

  def layout(self) -> Layout:
    at, convolutions = ('params',), len(self.kernels)
    last = self.layers if self.order == 'pre' else 0
    rules = [
      *_samples.rules(
        (*at, 'conv'), convolutions, self.conv_norm, self.conv_bias
      ),
      *norm((*at, 'norm_conv'), 'feature_projection.layer_norm', 0),
      *linear((*at, 'inner'), 'feature_projection.projection', 0),
      Rule((*at, 'places', 'kernel'), _DIRECTIONS, 'conv', 0),
      Rule((*at, 'places', 'bias'), (f'{_PLACES}.bias',), 'same', 0),
      *norm((*at, 'norm'), 'encoder.layer_norm', last),
      *_layer.rules(self.layers, _NAMES),
    ]
    return Layout(
      rules,
      ('', 'wav2vec2.', 'hubert.'),
      ('masked_spec_embed', 'quantizer.', 'project', 'lm_head.', 'classifier.'),
    )


def make(
  *,
  width: int = 768,
  conv_channels: int = 512,
  kernels: tuple[int, ...] = (10, 3, 3, 3, 3, 2, 2),
  strides: tuple[int, ...] = (5, 2, 2, 2, 2, 2, 2),
  conv_norm: str = 'group',
  conv_bias: bool = False,
  channels: int = 768,
  layers: int = 12,
  heads: int = 12,
  hidden: int = 0,
  places: int = 128,
  places_groups: int = 16,
  order: str = 'post',
  activation: str = 'gelu',
  eps: float = 1e-5,
  pool: str = 'mean',
  dropout: float = 0.1,
  remat: bool = False,
  dtype: str = 'float32',
) -> nn.Module:
  """Speech encoder with the published weights of wav2vec 2.0 and HuBERT.

  The defaults are wav2vec2-base. The large ones have channels=1024, layers=24,
  heads=16; of these -lv60, XLSR and HuBERT also conv_norm='layer', order='pre'
  and, but for HuBERT's own repository, conv_bias=True: see `feat_extract_norm`,
  `do_stable_layer_norm` and `conv_bias` in a config.json.

  Args:
    width: feature width D; other than `channels`, a Dense layer projects.
    conv_channels: of all convolutions.
    kernels: of the convolutions, in steps of the one before.
    strides: of the convolutions.
    conv_norm: 'group', after the first convolution, each channel over time;
      'layer', after each, all channels of a frame.
    conv_bias: of the convolutions.
    channels: width of the layers.
    layers: of the transformer.
    heads: of the attention.
    hidden: width of the MLPs; 0 is 4 channels.
    places: frames that the convolution for places sees.
    places_groups: of its channels.
    order: 'post', norms after attention and MLP; 'pre', before them ('stable').
    activation: of the MLPs.
    eps: of the LayerNorms, but for those of the convolutions.
    pool: 'mean' over frames, or 'steps', one vector per frame.
    dropout: rate after places, attention and MLP.
    remat: compute activations again for the gradient, to save memory.
    dtype: of the layers; parameters stay float32.

  Returns:
    Module: (waveforms, valid_B, train) -> z_BD float32, or `Ragged` steps.

  Raises:
    ValueError: an unknown conv_norm, order, pool or activation, kernels without
      strides, heads or groups that do not divide.
  """
  for name, value, known in (
    ('conv_norm', conv_norm, _samples.NORMS),
    ('order', order, ORDERS),
    ('pool', pool, POOLS),
  ):
    if value not in known:
      raise ValueError(
        f'wav2vec2.{name}={value!r} is none of {", ".join(known)}.'
      )
  if len(kernels) != len(strides):
    raise ValueError(f'wav2vec2: {kernels=} and {strides=} differ in number.')
  if channels % places_groups:
    raise ValueError(
      f'wav2vec2.places_groups={places_groups} does not divide '
      f'channels={channels}; take a divisor.'
    )
  _layer.check('wav2vec2', channels, heads, activation)
  return Wav2Vec2(
    width,
    conv_channels,
    tuple(kernels),
    tuple(strides),
    conv_norm,
    conv_bias,
    channels,
    layers,
    heads,
    hidden or 4 * channels,
    places,
    places_groups,
    order,
    activation,
    eps,
    pool,
    dropout,
    remat,
    dtype,
  )
