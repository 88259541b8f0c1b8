"""Concatenation: one linear classifier over all features side by side."""

from collections.abc import Mapping

import flax.linen as nn
import jax
import jax.numpy as jnp

from mmjax.base import Array
from mmjax.models.fusion import _whole


class Concat(nn.Module):
  """joint = [z_1; ..; z_M] W + b, with W kept as one slice per modality.

  Unimodal logits split the head: z_m W_m + b / M. Features of a missing
  modality are zeros.
  """

  modalities: tuple[str, ...]
  num_classes: int

  @nn.compact
  def __call__(
    self, feats: Mapping[str, Array], present: Mapping[str, Array], train: bool
  ):
    """z_BD per modality -> (logits_BC of each slice, of all), logits_BC."""
    del train  # nothing here is random
    _whole.require_all('concat', self.modalities, feats)
    widths = {m: feats[m].shape[-1] for m in self.modalities}
    total = sum(widths.values())
    # The spread of one big matrix: fan-in is the width of all features.
    std = (2 / (total + self.num_classes)) ** 0.5
    bias_C = self.param('bias', nn.initializers.zeros, (self.num_classes,))
    terms, unis = [], {}
    for m, width in widths.items():
      init = jax.nn.initializers.normal(std)
      kernel_DC = self.param(f'kernel_{m}', init, (width, self.num_classes))
      z_BD = jnp.where(present[m][:, None], feats[m], 0)
      terms.append(z_BD @ kernel_DC)
      unis[m] = feats[m] @ kernel_DC + bias_C[None] / len(self.modalities)
    return unis, jnp.sum(jnp.stack(terms), axis=0) + bias_C[None]


def make(*, modalities: tuple[str, ...], num_classes: int) -> nn.Module:
  """The concatenation head."""
  return Concat(modalities, num_classes)
