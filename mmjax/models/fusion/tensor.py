"""Tensor fusion: a linear classifier over all products of features.

Zadeh et al., "Tensor Fusion Network for Multimodal Sentiment Analysis", EMNLP
2017, its tensor fusion layer. With two modalities this is bilinear fusion.
"""

from collections.abc import Mapping

import flax.linen as nn
import jax.numpy as jnp

from mmjax.base import Array
from mmjax.models.fusion import _linear, _whole
from mmjax.models.fusion._alone import alone

MAX_ENTRIES = 2**17  # of one example's tensor: half a megabyte


class Tensor(nn.Module):
  """joint = vec([1; z_1 P_1] x .. x [1; z_M P_M]) W + b, x the outer product.

  The projections P_m keep the tensor small; they need no bias, as the 1 is
  one. The tensor's entries are in the order of `modalities`, the last fastest,
  index 0 the 1. Unimodal logits are the head's with the others missing.
  Features of a missing modality are zeros, so all entries but those of its 1
  vanish: what is left is the tensor of the other modalities. Products grow with
  the scale of the features to the power M: where training diverges, take a
  lower rate.
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
    _whole.require_all('tensor', self.modalities, feats)
    init = _linear.kernel_init
    project = {
      m: nn.Dense(
        self.width, use_bias=False, kernel_init=init, name=f'project_{m}'
      )
      for m in self.modalities
    }
    out = nn.Dense(self.num_classes, kernel_init=init, name='out')

    def fused(feats, present):
      B = feats[self.modalities[0]].shape[0]
      tensor_BE = jnp.ones((B, 1))
      for m in self.modalities:
        p_BD = project[m](jnp.where(present[m][:, None], feats[m], 0))
        p_BD = jnp.concatenate([jnp.ones((B, 1)), p_BD], axis=-1)
        tensor_BE = (tensor_BE[:, :, None] * p_BD[:, None, :]).reshape(B, -1)
      return out(tensor_BE)

    return alone(fused, feats, present), fused(feats, present)


def make(
  *, modalities: tuple[str, ...], num_classes: int, width: int = 16
) -> nn.Module:
  """The tensor fusion head, of modalities of any widths.

  Args:
    modalities: any number, as long as (width + 1)^M is at most 2^17.
    num_classes: C.
    width: of each modality before the outer product.

  Raises:
    ValueError: a width below 1, or one that makes the tensor too large.
  """
  if width < 1:
    raise ValueError(
      f'config.head.width={width} must be at least 1; the default is 16.'
    )
  M, entries = len(modalities), (width + 1) ** len(modalities)
  if entries > MAX_ENTRIES:
    fits = int(MAX_ENTRIES ** (1 / M)) - 1
    smaller = f'Take config.head.width={fits} or less, or' if fits else 'Take'
    raise ValueError(
      f'config.head.width={width} with {M} modalities makes a tensor of '
      f'{entries} entries per example, more than {MAX_ENTRIES}. {smaller} the '
      "head 'low_rank', which does not write it out."
    )
  return Tensor(modalities, num_classes, width)
