"""Bi-gated fusion: every modality gates the others.

Both directions of gated fusion (Kiela et al., AAAI 2018) side by side, as
MMCosine (Xu et al., ICASSP 2023) compares with; the "BiGated" of MLA's table.
Theirs is for two modalities; here any number.
"""

from collections.abc import Mapping

import flax.linen as nn
import jax.numpy as jnp

from mmjax.base import Array
from mmjax.models.fusion import _linear, _whole
from mmjax.models.fusion._alone import alone


class BiGated(nn.Module):
  """joint = [h_1; ..; h_M] W + b, where h_m = sigmoid(sum_{k != m} p_k) * p_m.

  p_m = z_m W_m + b_m serves as gate and as what is gated. The sum is one linear
  map of all other features side by side, and with two modalities it is the
  published form. Unimodal logits are the head's with the others missing, as
  slices of W would know of them. Features of a missing modality are zeros.
  """

  modalities: tuple[str, ...]
  num_classes: int
  width: int

  @nn.compact
  def __call__(
    self, feats: Mapping[str, Array], present: Mapping[str, Array], train: bool
  ):
    """z_BD per modality -> (logits_BC of each alone, of all), logits_BC."""
    del train  # nothing here is random
    _whole.require_all('bigated', self.modalities, feats)
    init = _linear.kernel_init
    width = self.width or max(feats[m].shape[-1] for m in self.modalities)
    project = {
      m: nn.Dense(width, kernel_init=init, name=f'project_{m}')
      for m in self.modalities
    }
    out = nn.Dense(self.num_classes, kernel_init=init, name='out')

    def fused(feats, present):
      z = {m: jnp.where(present[m][:, None], feats[m], 0) for m in project}
      p_BD = {m: project[m](z[m]) for m in z}
      parts = [
        nn.sigmoid(sum(p_BD[k] for k in z if k != m)) * p_BD[m] for m in z
      ]
      return out(jnp.concatenate(parts, axis=-1))

    return alone(fused, feats, present), fused(feats, present)


def make(
  *, modalities: tuple[str, ...], num_classes: int, width: int = 0
) -> nn.Module:
  """The bi-gated head, of two or more modalities of any widths.

  Args:
    modalities: two or more.
    num_classes: C.
    width: of the projections; 0 is that of the widest features, which for
      features of one width is the published form.

  Raises:
    ValueError: fewer than two modalities, or a width below 0.
  """
  if len(modalities) < 2:
    raise ValueError(
      "config.head.name='bigated' needs two modalities or more, but the data "
      f"has only {', '.join(modalities)}. Take the head 'sum'."
    )
  if width < 0:
    raise ValueError(
      f'config.head.width={width} must be positive, or 0 for the width of the '
      'features.'
    )
  return BiGated(modalities, num_classes, width)
