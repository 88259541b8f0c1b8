"""The Audio Spectrogram Transformer (Gong, Chung and Glass 2021).

A vision transformer over patches of a log mel spectrogram that overlap, with a
second token, which DeiT's was trained to distil with.
"""

from typing import Any

import flax.linen as nn
import jax.numpy as jnp

from mmjax.base import Array
from mmjax.models import _layer, _spectra
from mmjax.models._layout import Layout, Rule, conv, norm

_START = 'encoder.layer.{i}.'
_NAMES = {
  'query': f'{_START}attention.attention.query',
  'key': f'{_START}attention.attention.key',
  'value': f'{_START}attention.attention.value',
  'out': f'{_START}attention.output.dense',
  'norm_attention': f'{_START}layernorm_before',
  'up': f'{_START}intermediate.dense',
  'down': f'{_START}output.dense',
  'norm_mlp': f'{_START}layernorm_after',
}


class Ast(nn.Module):
  """Patches, two tokens, places, pre-LN layers, norm, the mean of the two."""

  width: int
  frames: int
  mels: int
  mean: float
  std: float
  patch: int
  stride: int
  channels: int
  layers: int
  heads: int
  hidden: int
  activation: str
  eps: float
  dropout: float
  remat: bool
  dtype: str

  @nn.compact
  def __call__(self, x: Any, valid_B: Array, train: bool) -> Array:  # noqa: ARG002
    """Filter banks f32[B, T, M, 1] or [B, T, M] -> z_BD."""
    x = _spectra.picture('ast', x, self.frames, self.mels, self.mean, self.std)
    h_BPD = self._embed(x)
    h_BPD = nn.Dropout(self.dropout, deterministic=not train)(h_BPD)
    h_BPD = _layer.stack(self, h_BPD, None, train).astype(jnp.float32)
    z_BD = nn.LayerNorm(self.eps, name='norm')(h_BPD[:, :2]).mean(1)
    if self.width != self.channels:
      z_BD = nn.Dense(self.width, name='projection')(z_BD)
    return z_BD

  def _embed(self, x_BMT: Array) -> Array:
    D = self.channels
    h = nn.Conv(
      D,
      (self.patch, self.patch),
      self.stride,
      'VALID',
      dtype=self.dtype,
      name='patches',
    )(x_BMT)
    h = h.reshape(h.shape[0], -1, D)
    small = nn.initializers.normal(0.02)
    first, second = (
      jnp.broadcast_to(self.param(name, small, (1, 1, D)), (h.shape[0], 1, D))
      for name in ('first', 'second')
    )
    places = self.param('places', small, (1, 2 + h.shape[1], D))
    return jnp.concatenate([first, second, h], 1) + places

  def layout(self) -> Layout:
    at, of = ('params',), 'embeddings.'
    rules = [
      *conv((*at, 'patches'), f'{of}patch_embeddings.projection', 0),
      Rule((*at, 'first'), (f'{of}cls_token',), 'same', 0),
      Rule((*at, 'second'), (f'{of}distillation_token',), 'same', 0),
      Rule((*at, 'places'), (f'{of}position_embeddings',), 'same', 0),
      *_layer.rules(self.layers, _NAMES),
      *norm((*at, 'norm'), 'layernorm', self.layers),
    ]
    prefixes = ('', 'audio_spectrogram_transformer.')
    return Layout(rules, prefixes, ('classifier.',))


def make(
  *,
  width: int = 768,
  frames: int = 1024,
  mels: int = 128,
  mean: float = -4.2677393,
  std: float = 2 * 4.5689974,
  patch: int = 16,
  stride: int = 10,
  channels: int = 768,
  layers: int = 12,
  heads: int = 12,
  hidden: int = 0,
  activation: str = 'gelu',
  eps: float = 1e-12,
  dropout: float = 0.0,
  remat: bool = False,
  dtype: str = 'float32',
) -> nn.Module:
  """Encoder of spectrograms with the published weights of AST.

  The defaults are ast-finetuned-audioset-10-10-0.4593; the places of another
  number of frames are in no file.

  Args:
    width: feature width D; other than `channels`, a Dense layer projects.
    frames: of the spectrogram, 10 ms each, padding included.
    mels: its bands.
    mean: taken from the input, which is then divided by
    std: AST's are AudioSet's mean and twice its standard deviation; 0 and 1
      leave the input as it is.
    patch: frames and bands a side.
    stride: from one patch to the next; below `patch` they overlap.
    channels: width of the layers.
    layers: of the transformer.
    heads: of the attention.
    hidden: width of the MLPs; 0 is 4 channels.
    activation: of the MLPs.
    eps: of the LayerNorms.
    dropout: rate after embeddings, attention and MLP.
    remat: compute activations again for the gradient, to save memory.
    dtype: of the layers; parameters stay float32.

  Returns:
    Module: (x, valid_B, train) -> z_BD float32.

  Raises:
    ValueError: an unknown activation, heads that do not divide, a patch larger
      than the spectrogram, a std that is not above 0.
  """
  if patch > min(frames, mels) or not std > 0:
    raise ValueError(
      f'ast: patch={patch} must fit into frames={frames} and mels={mels}, and '
      f'std={std} be above 0.'
    )
  _layer.check('ast', channels, heads, activation)
  return Ast(
    width,
    frames,
    mels,
    mean,
    std,
    patch,
    stride,
    channels,
    layers,
    heads,
    hidden or 4 * channels,
    activation,
    eps,
    dropout,
    remat,
    dtype,
  )
