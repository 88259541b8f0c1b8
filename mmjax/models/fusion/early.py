"""Early fusion: LayerNorm over all features side by side, one classifier."""

import flax.linen as nn

from mmjax.models.fusion import _rsa


def make(*, modalities: tuple[str, ...], num_classes: int) -> nn.Module:
  """LN([z_1; ..; z_M]) W + b, the early fusion of the RSA-CFN work.

  With a norm it does not split: the unimodal logits are those of the head with
  the others missing. Features of a missing modality are zeros.
  """
  return _rsa.Whole('early', modalities, _rsa.Early(num_classes))
