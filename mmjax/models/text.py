"""A small encoder over token ids."""

from typing import Any

import flax.linen as nn
import jax.numpy as jnp

from mmjax import base
from mmjax.base import Array
from mmjax.models import _sequence
from mmjax.models._transformer import Block, check_heads


class Text(nn.Module):
  """Embedding, position, pre-LN transformer, mean over tokens, Dense."""

  width: int
  vocab: int
  max_length: int
  channels: int
  layers: int
  heads: int
  dropout: float
  dtype: str

  @nn.compact
  def __call__(self, x: Any, valid_B: Array, train: bool) -> Array:  # noqa: ARG002
    """Token ids i32[B, L], 0 = padding, or `Ragged` -> z_BD."""
    ragged = isinstance(x, base.Ragged)
    ids_BT = jnp.asarray(x.values if ragged else x)
    mask_BT = jnp.asarray(x.mask) if ragged else ids_BT != 0
    T = ids_BT.shape[1]
    if T > self.max_length:
      raise ValueError(
        f'text got {T} tokens per example, more than max_length='
        f'{self.max_length}; raise max_length or cut the texts.'
      )
    h_BTD = nn.Embed(self.vocab, self.channels)(ids_BT)
    h_BTD = jnp.where(mask_BT[:, :, None], h_BTD, 0)
    if self.layers:
      init = nn.initializers.normal(0.02)
      shape = (self.max_length, self.channels)
      h_BTD = h_BTD + self.param('position', init, shape)[None, :T]
    for _ in range(self.layers):
      h_BTD = Block(self.heads, self.dropout, self.dtype)(h_BTD, mask_BT, train)
    if self.layers:
      h_BTD = nn.LayerNorm()(h_BTD)
    h_BD = _sequence.mean(h_BTD, mask_BT)
    if not self.layers:
      h_BD = nn.relu(nn.Dense(self.channels, dtype=self.dtype)(h_BD))
      h_BD = nn.Dropout(self.dropout, deterministic=not train)(h_BD)
    return nn.Dense(self.width)(h_BD.astype(jnp.float32))


def make(
  *,
  width: int = 128,
  vocab: int = 256,
  max_length: int = 512,
  channels: int = 64,
  layers: int = 2,
  heads: int = 4,
  dropout: float = 0.0,
  dtype: str = 'float32',
) -> nn.Module:
  """Text encoder over token ids, of which 0 is padding.

  Args:
    width: feature width D.
    vocab: number of token ids; an id beyond gives NaN, which stops training.
    max_length: tokens per example at most.
    channels: width of the embedding and of the layers.
    layers: transformer layers; 0 leaves a bag of embeddings and an MLP.
    heads: of the attention.
    dropout: rate after attention and MLP.
    dtype: of the layers; parameters stay float32.

  Returns:
    Module: (x, valid_B, train) -> z_BD float32; finite for all-padding rows.

  Raises:
    ValueError: heads that do not divide the channels.
  """
  check_heads('text', channels, heads)
  return Text(width, vocab, max_length, channels, layers, heads, dropout, dtype)
