"""BERT and its kin: texts as token ids to a vector, or to one per token.

Devlin et al. 2019 (family 'bert') and Liu et al. 2019 ('roberta', also of
XLM-R and KLUE-RoBERTa), which counts its places from 2. As sentence encoders
use them: BGE takes the first token's vector, E5 the mean, both of length one.
"""

from typing import Any

import flax.linen as nn
import jax.numpy as jnp

from mmjax import base
from mmjax.base import Array
from mmjax.models import _layer, _sequence
from mmjax.models._layout import Layout, embedding, norm

FIRST_PLACE = {'bert': 0, 'roberta': 2}
POOLS = ('first', 'mean', 'steps')
_NAMES = {
  'query': 'encoder.layer.{i}.attention.self.query',
  'key': 'encoder.layer.{i}.attention.self.key',
  'value': 'encoder.layer.{i}.attention.self.value',
  'out': 'encoder.layer.{i}.attention.output.dense',
  'norm_attention': 'encoder.layer.{i}.attention.output.LayerNorm',
  'up': 'encoder.layer.{i}.intermediate.dense',
  'down': 'encoder.layer.{i}.output.dense',
  'norm_mlp': 'encoder.layer.{i}.output.LayerNorm',
}


class Bert(nn.Module):
  """Embeddings, LayerNorm, post-LN layers, pooling, Dense where widths differ."""

  width: int
  family: str
  vocab: int
  max_length: int
  types: int
  channels: int
  layers: int
  heads: int
  hidden: int
  activation: str
  eps: float
  pool: str
  normalize: bool
  dropout: float
  remat: bool
  dtype: str

  @nn.compact
  def __call__(self, x: Any, valid_B: Array, train: bool) -> Any:  # noqa: ARG002
    """Token ids i32[B, T], 0 = padding, or `Ragged` -> z_BD, or steps."""
    ragged = isinstance(x, base.Ragged)
    ids_BT = jnp.asarray(x.values if ragged else x)
    mask_BT = jnp.asarray(x.mask) if ragged else ids_BT != 0
    h_BTD = self._embed(ids_BT, mask_BT)
    h_BTD = nn.Dropout(self.dropout, deterministic=not train)(h_BTD)
    h_BTD = _layer.stack(
      self, h_BTD, _layer.keys(mask_BT), train, order='post'
    ).astype(jnp.float32)
    if self.pool == 'steps':
      return base.Ragged(self._project(h_BTD), mask_BT)
    h_BD = (
      h_BTD[:, 0] if self.pool == 'first' else _sequence.mean(h_BTD, mask_BT)
    )
    h_BD = self._project(h_BD)
    if self.normalize:
      square = jnp.sum(h_BD**2, -1, keepdims=True)
      h_BD = h_BD / jnp.sqrt(jnp.maximum(square, 1e-24))
    return h_BD

  def _embed(self, ids_BT: Array, mask_BT: Array) -> Array:
    first, T = FIRST_PLACE[self.family], ids_BT.shape[1]
    if first + T > self.max_length:
      raise ValueError(
        f'bert got {T} tokens per example, more than the {self.max_length - first} '
        f'places of max_length={self.max_length}; cut the texts (max_tokens).'
      )
    place_BT = jnp.arange(T)[None] + 0 * ids_BT
    if self.family == 'roberta':  # padding has a place of its own
      counted = jnp.cumsum(mask_BT, 1) * mask_BT
      place_BT = jnp.where(mask_BT, counted + first - 1, first - 1)
    D = self.channels
    h_BTD = nn.Embed(self.vocab, D, name='words')(ids_BT)
    h_BTD += nn.Embed(self.max_length, D, name='places')(place_BT)
    if self.types:
      h_BTD += nn.Embed(self.types, D, name='types')(jnp.zeros_like(ids_BT))
    return nn.LayerNorm(self.eps, dtype=self.dtype, name='norm')(h_BTD)

  def _project(self, h: Array) -> Array:
    if self.width == self.channels:
      return h
    return nn.Dense(self.width, name='projection')(h)

  def layout(self) -> Layout:
    at = ('params',)
    rules = [
      *embedding((*at, 'words'), 'embeddings.word_embeddings'),
      *embedding((*at, 'places'), 'embeddings.position_embeddings'),
      *norm((*at, 'norm'), 'embeddings.LayerNorm', 0),
      *_layer.rules(self.layers, _NAMES),
    ]
    if self.types:
      rules += embedding((*at, 'types'), 'embeddings.token_type_embeddings')
    return Layout(
      rules,
      ('', 'bert.', 'roberta.', 'model.', '0.auto_model.'),
      ('pooler.', 'cls.', 'lm_head.', 'classifier.'),
    )


def make(
  *,
  width: int = 768,
  family: str = 'bert',
  vocab: int = 30522,
  max_length: int = 512,
  types: int = 2,
  channels: int = 768,
  layers: int = 12,
  heads: int = 12,
  hidden: int = 0,
  activation: str = 'gelu',
  eps: float = 1e-12,
  pool: str = 'first',
  normalize: bool = False,
  dropout: float = 0.1,
  remat: bool = False,
  dtype: str = 'float32',
) -> nn.Module:
  """Text encoder with the published weights of BERT, RoBERTa and their kin.

  The defaults are bert-base-uncased. In the words of a config.json: vocab_size,
  max_position_embeddings, type_vocab_size, hidden_size, num_hidden_layers,
  num_attention_heads, intermediate_size, layer_norm_eps.

  Args:
    width: feature width D; other than `channels`, a Dense layer projects.
    family: 'bert' or 'roberta'.
    vocab: number of token ids.
    max_length: places; 'roberta' has 514 for 512 tokens.
    types: kinds of segments, of which only the first is used; 0: none.
    channels: width of the layers.
    layers: of the transformer.
    heads: of the attention.
    hidden: width of the MLPs; 0 is 4 channels.
    activation: of the MLPs.
    eps: of the LayerNorms.
    pool: 'first' token, 'mean' over tokens, or 'steps', one vector per token.
    normalize: to length one, as BGE and E5 do.
    dropout: rate after embeddings, attention and MLP.
    remat: compute activations again for the gradient, to save memory.
    dtype: of the layers; parameters stay float32.

  Returns:
    Module: (ids, valid_B, train) -> z_BD float32, or `Ragged` steps.

  Raises:
    ValueError: an unknown family, pool or activation, heads that do not divide.
  """
  if family not in FIRST_PLACE or pool not in POOLS:
    raise ValueError(
      f'bert: family={family!r} is one of {", ".join(FIRST_PLACE)}, and '
      f'pool={pool!r} one of {", ".join(POOLS)}.'
    )
  _layer.check('bert', channels, heads, activation)
  return Bert(
    width,
    family,
    vocab,
    max_length,
    types,
    channels,
    layers,
    heads,
    hidden or 4 * channels,
    activation,
    eps,
    pool,
    normalize,
    dropout,
    remat,
    dtype,
  )
