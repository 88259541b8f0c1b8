"""Sum fusion: one linear classifier per modality, their logits added."""

from collections.abc import Mapping

import flax.linen as nn
import jax.numpy as jnp

from mmjax.base import Array
from mmjax.models.fusion import _linear


class Sum(nn.Module):
  """joint = sum_m (z_m W_m + b_m); a missing modality adds nothing."""

  modalities: tuple[str, ...]
  num_classes: int

  def setup(self):
    self.linear = _linear.PerModality(self.modalities, self.num_classes)

  def __call__(
    self, feats: Mapping[str, Array], present: Mapping[str, Array], train: bool
  ):
    """z_BD per modality -> (each term of the sum, the sum), logits_BC."""
    del train  # nothing here is random
    unis = self.linear(feats)
    terms = [jnp.where(present[m][:, None], unis[m], 0) for m in unis]
    return unis, jnp.sum(jnp.stack(terms), axis=0)


def make(*, modalities: tuple[str, ...], num_classes: int) -> nn.Module:
  """The sum head; unimodal logits are its terms, biases whole."""
  return Sum(modalities, num_classes)
