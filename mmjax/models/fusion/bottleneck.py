"""Attention bottlenecks: modalities exchange through a few tokens only.

Nagrani et al., "Attention Bottlenecks for Multimodal Fusion" (MBT), NeurIPS
2021, section 3. What they put below, layers without exchange, is the encoders
here.
"""

from collections.abc import Mapping
from typing import Any

import flax.linen as nn
import jax.numpy as jnp

from mmjax.base import Array, Ragged
from mmjax.models._transformer import Block, check_heads
from mmjax.models.fusion import _linear
from mmjax.models.fusion._alone import alone


class Bottleneck(nn.Module):
  """Transformers side by side whose only link is the bottleneck tokens.

  In each layer every modality attends over its own tokens (CLS and steps) and
  the bottlenecks; the bottlenecks go on as the mean of what the modalities made
  of them. The joint logits are the mean of one classifier over the CLS tokens.
  Padding is no key, and a modality that an example lacks has no part in either
  mean, so neither leaves a trace. Steps know their place, counted over real
  steps, by sinusoids (the authors learn it, for one length).

  Every CLS token has seen the others' bottlenecks, so unimodal logits are the
  head's with the others missing.
  """

  modalities: tuple[str, ...]
  num_classes: int
  width: int
  layers: int
  heads: int
  bottlenecks: int
  dropout: float

  takes_steps = True

  def setup(self):
    small = nn.initializers.normal(0.02)
    shape = (self.bottlenecks, self.width)
    self.shared = self.param('tokens', small, shape)
    self.cls = {
      m: self.param(f'cls_{m}', small, (self.width,)) for m in self.modalities
    }
    self.project = {m: nn.Dense(self.width) for m in self.modalities}
    block = (self.heads, self.dropout, 'float32')
    self.blocks = {
      m: [Block(*block) for _ in range(self.layers)] for m in self.modalities
    }
    self.norm = nn.LayerNorm()
    init = _linear.kernel_init
    self.out = nn.Dense(self.num_classes, kernel_init=init)

  def __call__(
    self, feats: Mapping[str, Any], present: Mapping[str, Array], train: bool
  ):
    """z_BD or `Ragged` steps -> (logits_BC of each alone, of all), logits_BC.

    Any subset of the modalities may be given.
    """

    def fused(feats, present):
      return self._fused(feats, present, train)

    unis = {}
    for m, z in feats.items():
      unis |= alone(fused, {m: z}, present)
    return unis, fused(feats, present)

  def _fused(self, feats, present, train) -> Array:
    names = [m for m in self.modalities if m in feats]
    x, mask = {}, {}
    for m in names:
      x[m], mask[m] = self._enter(m, feats[m], present[m])
    has_MB = _linear.stack_present(present, names)
    B = has_MB.shape[1]
    shared_BKD = jnp.tile(self.shared[None], (B, 1, 1))
    open_BK = jnp.ones(shared_BKD.shape[:2], bool)
    for layer in range(self.layers):
      told = []
      for m in names:
        block = self.blocks[m][layer]
        both_BTD = jnp.concatenate([x[m], shared_BKD], axis=1)
        mask_BT = jnp.concatenate([mask[m], open_BK], axis=1)
        both_BTD = block(both_BTD, mask_BT, train)
        x[m], new_BKD = jnp.split(both_BTD, [x[m].shape[1]], axis=1)
        told.append(new_BKD)
      shared_BKD = _mean(jnp.stack(told), has_MB)
    logits = {m: self.out(self.norm(x[m][:, 0])) for m in names}
    return _linear.mean_present(logits, present)

  def _enter(self, m: str, z: Any, has_B: Array) -> tuple[Array, Array]:
    """CLS and steps [B, 1 + T, width], and which of them are there."""
    steps = z if isinstance(z, Ragged) else Ragged(z[:, None], has_B[:, None])
    mask_BT = steps.mask & has_B[:, None]
    values_BTD = jnp.where(mask_BT[:, :, None], steps.values, 0)
    h_BTD = self.project[m](values_BTD) + places(mask_BT, self.width)
    cls_B1D = jnp.tile(self.cls[m][None, None], (has_B.shape[0], 1, 1))
    return (
      jnp.concatenate([cls_B1D, h_BTD], axis=1),
      jnp.concatenate([has_B[:, None], mask_BT], axis=1),
    )


def places(mask_BT: Array, width: int) -> Array:
  """Sinusoids of the place among the real steps [B, T, width].

  Vaswani et al. 2017, section 3.5, all sines before all cosines.
  """
  place_BT = jnp.maximum(jnp.cumsum(mask_BT, axis=1) - 1, 0)
  half = (width + 1) // 2
  speed_H = 10000.0 ** (-jnp.arange(half) / half)
  angle_BTH = place_BT[:, :, None] * speed_H[None, None]
  waves = jnp.concatenate([jnp.sin(angle_BTH), jnp.cos(angle_BTH)], axis=-1)
  return waves[:, :, :width]


def _mean(told_MBKD: Array, has_MB: Array) -> Array:
  """Mean of the bottlenecks over the modalities that an example has."""
  has = has_MB[:, :, None, None]
  count = jnp.maximum(jnp.sum(has, axis=0), 1)
  return jnp.sum(jnp.where(has, told_MBKD, 0), axis=0) / count


def make(
  *,
  modalities: tuple[str, ...],
  num_classes: int,
  width: int = 64,
  layers: int = 2,
  heads: int = 4,
  bottlenecks: int = 4,
  dropout: float = 0.0,
) -> nn.Module:
  """The attention bottleneck head, of any number of modalities.

  Takes the steps of encoders that return them, of any width and length; a
  feature vector is one step.

  Args:
    modalities: any number.
    num_classes: C.
    width: of the tokens.
    layers: with exchange; what one layer puts into the bottlenecks the next
      takes out, so at least 2.
    heads: of the attention.
    bottlenecks: tokens that all modalities share; the paper's best is 4.
    dropout: rate after attention and MLP.

  Raises:
    ValueError: fewer than 2 layers, no bottlenecks, a dropout outside [0, 1),
      or heads that do not divide the width.
  """
  _check(width, layers, heads, bottlenecks, dropout)
  return Bottleneck(
    modalities, num_classes, width, layers, heads, bottlenecks, dropout
  )


def _check(width, layers, heads, bottlenecks, dropout) -> None:
  if layers < 2:
    raise ValueError(
      f'config.head.layers={layers} must be at least 2: one layer to write '
      'into the bottlenecks, one to read from them.'
    )
  if bottlenecks < 1:
    raise ValueError(
      f'config.head.bottlenecks={bottlenecks} must be at least 1. For no '
      "exchange take the head 'late'."
    )
  if heads < 1 or width < 1:
    raise ValueError(
      f'config.head.heads={heads} and config.head.width={width} must be at '
      'least 1.'
    )
  if not 0 <= dropout < 1:
    raise ValueError(
      f'config.head.dropout={dropout} must be at least 0 and below 1.'
    )
  check_heads('config.head', width, heads)
