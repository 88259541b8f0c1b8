"""FiLM: one modality scales and shifts the features of the other.

Perez et al., "FiLM: Visual Reasoning with a General Conditioning Layer", AAAI
2018, in the form that OGM-GE (Peng et al., CVPR 2022) and MLA compare with.
"""

from collections.abc import Mapping

import flax.linen as nn
import jax.numpy as jnp

from mmjax.base import Array
from mmjax.models.fusion import _linear, _whole
from mmjax.models.fusion._alone import alone


class Film(nn.Module):
  """joint = (gamma * y + beta) W + b, where [gamma, beta] = x W_f + b_f.

  x is the conditioner, y the other. Between the two maps there is no
  nonlinearity, and gamma is not 1 + gamma. Unimodal logits are the head's with
  the other modality missing: features of a missing modality are zeros. So y by
  itself is scaled by b_f alone, and x by itself is the linear map beta W + b.
  """

  modalities: tuple[str, ...]
  num_classes: int
  conditioner: str

  @nn.compact
  def __call__(
    self, feats: Mapping[str, Array], present: Mapping[str, Array], train: bool
  ):
    """z_BD per modality -> (logits_BC of each alone, of both), logits_BC."""
    del train  # nothing here is random
    _whole.require_all('film', self.modalities, feats)
    x, y = self.modalities
    if self.conditioner == y:
      x, y = y, x
    init, width = _linear.kernel_init, feats[y].shape[-1]
    film = nn.Dense(2 * width, kernel_init=init, name='film')
    out = nn.Dense(self.num_classes, kernel_init=init, name='out')

    def fused(feats, present):
      z = {m: jnp.where(present[m][:, None], feats[m], 0) for m in (x, y)}
      gamma_BD, beta_BD = jnp.split(film(z[x]), 2, axis=-1)
      return out(gamma_BD * z[y] + beta_BD)

    return alone(fused, feats, present), fused(feats, present)


def make(
  *, modalities: tuple[str, ...], num_classes: int, conditioner: str = ''
) -> nn.Module:
  """The FiLM head, of exactly two modalities of any widths.

  Args:
    modalities: two of them.
    num_classes: C.
    conditioner: the modality that gives gamma and beta; '' is the first.

  Raises:
    ValueError: not two modalities, or a conditioner that is none of them.
  """
  if len(modalities) != 2:
    raise ValueError(
      f"config.head.name='film' fuses exactly two modalities, but the data has "
      f"{len(modalities)}: {', '.join(modalities)}. Take the head 'bifilm', "
      'which conditions each on all others, for any number from two.'
    )
  if conditioner not in ('', *modalities):
    raise ValueError(
      f'config.head.conditioner={conditioner!r} is none of the modalities '
      f"{', '.join(modalities)}; '' is the first."
    )
  return Film(modalities, num_classes, conditioner)
