"""MLP-Mixer: MLPs across the steps of all modalities and across channels."""

from collections.abc import Mapping
from typing import Any

import flax.linen as nn
import jax.numpy as jnp

from mmjax.base import Array, Ragged
from mmjax.models import _sequence
from mmjax.models.fusion import _rsa


class Mixing(nn.Module):
  """drop GELU(x W_1 + b_1) W_2 + b_2 along the last axis, width kept."""

  dropout: float

  @nn.compact
  def __call__(self, x: Array, train: bool) -> Array:
    width = x.shape[-1]
    h = nn.gelu(_rsa.linear(x, width, 'first'), approximate=False)
    y = _rsa.linear(h, width, 'second')
    return nn.Dropout(self.dropout, deterministic=not train)(y)


class Block(nn.Module):
  """Mixes tokens, then channels; x_BTD -> x_BTD."""

  dropout: float
  second_norm: str

  @nn.compact
  def __call__(self, x_BTD: Array, train: bool) -> Array:
    norm = _rsa.norm('norm')
    tokens = Mixing(self.dropout, name='tokens')
    channels = Mixing(self.dropout, name='channels')
    y_BTD = tokens(norm(x_BTD).swapaxes(1, 2), train).swapaxes(1, 2)
    x_BTD += y_BTD
    if self.second_norm == 'standard':
      return x_BTD + channels(_rsa.norm('second_norm')(x_BTD), train)
    return x_BTD + channels(norm(y_BTD), train)


class Mixer(nn.Module):
  """Tokens of all modalities -> blocks -> LN -> mean -> MLP."""

  num_classes: int
  width: int
  hidden: int
  blocks: int
  dropout: float
  max_steps: tuple[int, ...]
  second_norm: str
  pool: str

  @nn.compact
  def __call__(self, feats: Mapping[str, Any], present, train: bool):
    parts = [
      self._tokens(m, z, present[m], steps)
      for (m, z), steps in zip(feats.items(), self.max_steps)
    ]
    x_BTD, mask_BT = (jnp.concatenate(part, axis=1) for part in zip(*parts))
    for i in range(self.blocks):
      block = Block(self.dropout, self.second_norm, name=f'block_{i}')
      x_BTD = block(x_BTD, train)
    x_BTD = _rsa.norm('norm')(x_BTD)
    if self.pool == 'all':
      mask_BT = jnp.ones_like(mask_BT)
    h_BD = _sequence.mean(x_BTD, mask_BT)
    drop = nn.Dropout(self.dropout, deterministic=not train)
    h_BD = nn.gelu(
      _rsa.linear(drop(h_BD), self.hidden, 'hidden'), approximate=False
    )
    return _rsa.linear(drop(h_BD), self.num_classes, 'classifier'), {}

  def _tokens(self, m: str, z: Any, has_B: Array, steps: int):
    """Projected steps, as many as there are to be, and which are real."""
    if not isinstance(z, Ragged):
      z, steps = Ragged(z[:, None], has_B[:, None]), 1
    mask_BT = z.mask[:, :steps]
    x_BTD = _rsa.linear(z.values[:, :steps], self.width, f'project_{m}')
    x_BTD = jnp.where(mask_BT[:, :, None], x_BTD, 0)
    lack = (0, steps - mask_BT.shape[1])
    x_BTD = jnp.pad(x_BTD, ((0, 0), lack, (0, 0)))
    return x_BTD, jnp.pad(mask_BT, ((0, 0), lack))


def make(
  *,
  modalities: tuple[str, ...],
  num_classes: int,
  max_steps: int | Mapping[str, int] = 256,
  width: int = 256,
  hidden: int = 512,
  blocks: int = 1,
  dropout: float = 0.1,
  second_norm: str = 'released',
  pool: str = 'all',
) -> nn.Module:
  """The MLP-Mixer head of the RSA-CFN work (after Tolstikhin et al. 2021).

  Steps of each modality are projected to `width`, padded with zeros to
  `max_steps` (what is beyond is cut off) and put one modality after the other;
  blocks mix x + MLP over tokens, then x + MLP over channels; then LN, mean over
  tokens, and an MLP of one hidden layer. A vector is one token. Steps that are
  padding, or of a missing modality, are zero tokens, so that the length to
  which a batch is padded does not show. Unimodal logits are those of the head
  with the others missing.

  Args:
    modalities: in the order of their tokens.
    num_classes: C.
    max_steps: tokens per modality, {modality: count} or one count for all;
      published are 299 of audio and 256 of text.
    width: of a token.
    hidden: width of the hidden layer of the classifier.
    blocks: how many.
    dropout: rate after each MLP and around the hidden layer.
    second_norm: what the MLP over channels sees: 'released' is LN(y), y the
      output of the MLP over tokens and LN the one before it; 'standard' is
      LN(x + y) with an LN of its own, as in the original Mixer.
    pool: mean over 'all' tokens, as released, or over those that are 'real'.

  Raises:
    ValueError: for an option out of range, or a modality without a count.
  """
  if not isinstance(max_steps, Mapping):
    max_steps = dict.fromkeys(modalities, max_steps)
  if set(max_steps) != set(modalities):
    raise ValueError(
      f'config.head.max_steps is of {", ".join(max_steps) or "nothing"}; it '
      f'must be of {", ".join(modalities)}, or one number for all.'
    )
  counts = {f'max_steps.{m}': max_steps[m] for m in modalities}
  _rsa.check_sizes(**counts, width=width, hidden=hidden, blocks=blocks)
  _rsa.check_dropout(dropout)
  _rsa.check_choice('second_norm', second_norm, ('released', 'standard'))
  _rsa.check_choice('pool', pool, ('all', 'real'))
  body = Mixer(
    num_classes,
    width,
    hidden,
    blocks,
    dropout,
    tuple(counts.values()),
    second_norm,
    pool,
  )
  return _rsa.Whole('mlp_mixer', modalities, body, takes_steps=True)
