"""The text tower of CLIP (Radford et al. 2021): texts as token ids to a vector.

Its picture tower is `vit` with family='clip'.
"""

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from mmjax import base
from mmjax.base import Array
from mmjax.models import _layer
from mmjax.models._layout import Layout, Rule, embedding, norm

_START = 'text_model.encoder.layers.{i}.'
_NAMES = {
  'query': f'{_START}self_attn.q_proj',
  'key': f'{_START}self_attn.k_proj',
  'value': f'{_START}self_attn.v_proj',
  'out': f'{_START}self_attn.out_proj',
  'norm_attention': f'{_START}layer_norm1',
  'norm_mlp': f'{_START}layer_norm2',
  'up': f'{_START}mlp.fc1',
  'down': f'{_START}mlp.fc2',
}


class ClipText(nn.Module):
  """Embeddings, causal pre-LN layers, norm, the last token, projection."""

  width: int
  vocab: int
  max_length: int
  channels: int
  layers: int
  heads: int
  hidden: int
  activation: str
  eps: float
  projection: int
  dropout: float
  remat: bool
  dtype: str

  @nn.compact
  def __call__(self, x: Any, valid_B: Array, train: bool) -> Array:  # noqa: ARG002
    """Token ids i32[B, T], 0 = padding, or `Ragged` -> z_BD."""
    ragged = isinstance(x, base.Ragged)
    ids_BT = jnp.asarray(x.values if ragged else x)
    mask_BT = jnp.asarray(x.mask) if ragged else ids_BT != 0
    T = ids_BT.shape[1]
    if T > self.max_length:
      raise ValueError(
        f'clip_text got {T} tokens per example, more than max_length='
        f'{self.max_length}; cut the texts (max_tokens).'
      )
    h_BTD = nn.Embed(self.vocab, self.channels, name='words')(ids_BT)
    places = nn.Embed(self.max_length, self.channels, name='places')
    h_BTD = h_BTD + places(jnp.arange(T))[None]
    before = jnp.tril(jnp.ones((T, T), bool))[None, None]
    h_BTD = _layer.stack(
      self, h_BTD, _layer.keys(mask_BT) & before, train
    ).astype(jnp.float32)
    h_BTD = nn.LayerNorm(self.eps, name='norm')(h_BTD)
    # The last token that is real is the one that ends the text.
    last_B = jnp.max(jnp.where(mask_BT, jnp.arange(T)[None], 0), 1)
    is_last_BT = jax.nn.one_hot(last_B, T)
    z_BD = jnp.einsum('btd,bt->bd', h_BTD, is_last_BT)
    if self.projection:
      z_BD = nn.Dense(self.projection, use_bias=False, name='projection')(z_BD)
    if z_BD.shape[-1] != self.width:
      z_BD = nn.Dense(self.width, name='head')(z_BD)
    return z_BD

  def layout(self) -> Layout:
    at, L = ('params',), self.layers
    rules = [
      *embedding((*at, 'words'), 'text_model.embeddings.token_embedding'),
      *embedding((*at, 'places'), 'text_model.embeddings.position_embedding'),
      *_layer.rules(L, _NAMES),
      *norm((*at, 'norm'), 'text_model.final_layer_norm', L),
    ]
    if self.projection:
      path = (*at, 'projection', 'kernel')
      rules.append(Rule(path, ('text_projection.weight',), 'linear', L))
    ignored = (
      'vision_model.',
      'visual_projection.',
      'text_projection.',
      'logit',
    )
    return Layout(rules, ('',), ignored)


def make(
  *,
  width: int = 512,
  vocab: int = 49408,
  max_length: int = 77,
  channels: int = 512,
  layers: int = 12,
  heads: int = 8,
  hidden: int = 0,
  activation: str = 'quick_gelu',
  eps: float = 1e-5,
  projection: int = 512,
  dropout: float = 0.0,
  remat: bool = False,
  dtype: str = 'float32',
) -> nn.Module:
  """Text encoder with CLIP's published weights; the defaults are of ViT-B/32.

  Args:
    width: feature width D; other than what comes out, a Dense layer projects.
    vocab: number of token ids.
    max_length: places.
    channels: width of the layers.
    layers: of the transformer.
    heads: of the attention.
    hidden: width of the MLPs; 0 is 4 channels.
    activation: of the MLPs; 'gelu' in some that others have trained.
    eps: of the LayerNorms.
    projection: the width that both towers share; 0 leaves it out.
    dropout: rate after attention and MLP.
    remat: compute activations again for the gradient, to save memory.
    dtype: of the layers; parameters stay float32.

  Returns:
    Module: (ids, valid_B, train) -> z_BD float32.

  Raises:
    ValueError: an unknown activation, heads that do not divide the channels.
  """
  _layer.check('clip_text', channels, heads, activation)
  return ClipText(
    width,
    vocab,
    max_length,
    channels,
    layers,
    heads,
    hidden or 4 * channels,
    activation,
    eps,
    projection,
    dropout,
    remat,
    dtype,
  )
