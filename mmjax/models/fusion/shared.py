"""One linear classifier for all modalities, which must be equally wide."""

from collections.abc import Mapping

import flax.linen as nn

from mmjax.base import Array
from mmjax.models.fusion import _linear


class Shared(nn.Module):
  """logits_m = z_m W + b with the same W, b for every modality."""

  num_classes: int

  @nn.compact
  def __call__(
    self, feats: Mapping[str, Array], present: Mapping[str, Array], train: bool
  ):
    """z_BD per modality -> (logits_BC per modality, their mean_BC)."""
    del train  # nothing here is random
    widths = {m: z_BD.shape[-1] for m, z_BD in feats.items()}
    if len(set(widths.values())) > 1:
      raise ValueError(
        f"head 'shared' needs features of one width, but has {widths}. Give "
        'every encoder the same config.encoders.<modality>.width.'
      )
    shape = (next(iter(widths.values())), self.num_classes)
    kernel_DC = self.param('kernel', _linear.kernel_init, shape)
    bias_C = self.param('bias', nn.initializers.zeros, shape[1:])
    unis = {m: z_BD @ kernel_DC + bias_C[None] for m, z_BD in feats.items()}
    return unis, _linear.mean_present(unis, present)


def make(*, modalities: tuple[str, ...], num_classes: int) -> nn.Module:
  """The shared head; any subset of the modalities may be given to it."""
  del modalities
  return Shared(num_classes)
