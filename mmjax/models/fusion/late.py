"""Late fusion: every modality has its own classifier; predictions are averaged."""

from collections.abc import Mapping

import flax.linen as nn

from mmjax.base import Array
from mmjax.models.fusion import _linear


class Late(nn.Module):
  """joint = mean of the logits of the modalities that are present."""

  modalities: tuple[str, ...]
  num_classes: int

  def setup(self):
    self.linear = _linear.PerModality(self.modalities, self.num_classes)

  def __call__(self, feats: Mapping[str, Array], present: Mapping[str, Array]):
    """z_BD per modality -> (logits_BC per modality, their mean_BC)."""
    unis = self.linear(feats)
    return unis, _linear.mean_present(unis, present)


def make(*, modalities: tuple[str, ...], num_classes: int) -> nn.Module:
  """Per-modality heads with averaged logits."""
  return Late(modalities, num_classes)
