"""Late fusion: every modality has its own classifier; predictions are averaged."""

from collections.abc import Mapping

import flax.linen as nn

from mmjax.base import Array
from mmjax.models.fusion import _linear, _rsa


class Late(nn.Module):
  """joint = mean of the logits of the modalities that are present."""

  modalities: tuple[str, ...]
  num_classes: int
  normalize: bool = False

  @nn.compact
  def __call__(
    self, feats: Mapping[str, Array], present: Mapping[str, Array], train: bool
  ):
    """z_BD per modality -> (logits_BC per modality, their mean_BC)."""
    del train  # nothing here is random
    linear = _linear.PerModality(
      self.modalities, self.num_classes, name='linear'
    )
    unis = linear(feats)
    if self.normalize:
      norm = _rsa.norm('norm')
      unis = {m: norm(logits_BC) for m, logits_BC in unis.items()}
    return unis, _linear.mean_present(unis, present)


def make(
  *, modalities: tuple[str, ...], num_classes: int, normalize: bool = False
) -> nn.Module:
  """Per-modality heads with averaged logits.

  Args:
    modalities: each with its classifier.
    num_classes: C.
    normalize: LayerNorm of each modality's logits, one for all modalities, as
      the late fusion of the RSA-CFN work has it; also of the unimodal logits.
  """
  return Late(modalities, num_classes, normalize)
