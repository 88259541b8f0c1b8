"""Gated fusion: one modality opens and closes the features of the other.

Kiela et al., "Efficient Large-Scale Multi-Modal Classification", AAAI 2018, in
the form that OGM-GE (Peng et al., CVPR 2022) and MLA compare with.
"""

from collections.abc import Mapping

import flax.linen as nn
import jax.numpy as jnp

from mmjax.base import Array
from mmjax.models.fusion import _linear, _whole
from mmjax.models.fusion._alone import alone


class Gated(nn.Module):
  """joint = (sigmoid(x W_x + b_x) * (y W_y + b_y)) W + b.

  x is the gate, y the other. Unimodal logits are the head's with the other
  modality missing: features of a missing modality are zeros. So y by itself
  passes a gate that stands at sigmoid(b_x), and x by itself gates b_y.
  """

  modalities: tuple[str, ...]
  num_classes: int
  gate: str
  width: int

  @nn.compact
  def __call__(
    self, feats: Mapping[str, Array], present: Mapping[str, Array], train: bool
  ):
    """z_BD per modality -> (logits_BC of each alone, of both), logits_BC."""
    del train  # nothing here is random
    _whole.require_all('gated', self.modalities, feats)
    init = _linear.kernel_init
    width = self.width or max(feats[m].shape[-1] for m in self.modalities)
    project = {
      m: nn.Dense(width, kernel_init=init, name=f'project_{m}')
      for m in self.modalities
    }
    out = nn.Dense(self.num_classes, kernel_init=init, name='out')
    x, y = self.modalities
    if self.gate == y:
      x, y = y, x

    def fused(feats, present):
      z = {m: jnp.where(present[m][:, None], feats[m], 0) for m in (x, y)}
      p_BD = {m: project[m](z[m]) for m in z}
      return out(nn.sigmoid(p_BD[x]) * p_BD[y])

    return alone(fused, feats, present), fused(feats, present)


def make(
  *,
  modalities: tuple[str, ...],
  num_classes: int,
  gate: str = '',
  width: int = 0,
) -> nn.Module:
  """The gated head, of exactly two modalities of any widths.

  Args:
    modalities: two of them.
    num_classes: C.
    gate: the modality that gates the other; '' is the first.
    width: of both projections; 0 is that of the wider features, which for
      features of one width is the published form.

  Raises:
    ValueError: not two modalities, a gate that is none of them, or a width
      below 0.
  """
  if len(modalities) != 2:
    raise ValueError(
      f"config.head.name='gated' fuses exactly two modalities, but the data "
      f'has {len(modalities)}: {", ".join(modalities)}. Take the head '
      "'bigated', where each is gated by all others, for any number from two."
    )
  if gate not in ('', *modalities):
    raise ValueError(
      f'config.head.gate={gate!r} is none of the modalities '
      f"{', '.join(modalities)}; '' is the first."
    )
  if width < 0:
    raise ValueError(
      f'config.head.width={width} must be positive, or 0 for the width of the '
      'features.'
    )
  return Gated(modalities, num_classes, gate, width)
