"""Low-rank fusion: a tensor product of all modalities, never written out.

Liu et al., "Efficient Low-rank Multimodal Fusion with Modality-Specific
Factors", ACL 2018, section 3.
"""

from collections.abc import Mapping

import flax.linen as nn
import jax
import jax.numpy as jnp

from mmjax.base import Array
from mmjax.models.fusion import _whole
from mmjax.models.fusion._alone import alone


class LowRank(nn.Module):
  """joint = b + sum over ranks r of prod_m [1; z_m] W_m^r.

  The same as `tensor` with a classifier of that rank (and no projections), at
  a cost linear in M. W_m^r is kept as 'kernel_<m>' [R, D, C] and 'one_<m>'
  [R, C], the row of the 1. That row starts at 1, so that training starts from
  the sum of all modalities plus their products. The authors' code draws it at
  random near 0, where a missing modality all but mutes the rest; it also
  weights the ranks, which the kernels can do. Products grow with the scale of
  the features to the power M: where training diverges, take a lower rate.

  Unimodal logits are the head's with the others missing. Features of a missing
  modality are zeros: its factor is then the row of the 1.
  """

  modalities: tuple[str, ...]
  num_classes: int
  rank: int

  @nn.compact
  def __call__(
    self, feats: Mapping[str, Array], present: Mapping[str, Array], train: bool
  ):
    """z_BD per modality -> (logits_BC of each alone, of all), logits_BC."""
    del train  # nothing here is random
    _whole.require_all('low_rank', self.modalities, feats)
    R, C = self.rank, self.num_classes
    kernels, ones = {}, {}
    for m in self.modalities:
      D = feats[m].shape[-1]
      # The ranks together have the spread of one Xavier-normal map.
      init = jax.nn.initializers.normal((2 / (D + C) / R) ** 0.5)
      kernels[m] = self.param(f'kernel_{m}', init, (R, D, C))
      ones[m] = self.param(f'one_{m}', nn.initializers.ones, (R, C))
    bias_C = self.param('bias', nn.initializers.zeros, (C,))

    def fused(feats, present):
      product_BRC = jnp.ones((1, R, C))
      for m in self.modalities:
        z_BD = jnp.where(present[m][:, None], feats[m], 0)
        factor_BRC = jnp.einsum('bd,rdc->brc', z_BD, kernels[m])
        product_BRC = product_BRC * (factor_BRC + ones[m][None])
      return jnp.sum(product_BRC, axis=1) + bias_C[None]

    return alone(fused, feats, present), fused(feats, present)


def make(
  *, modalities: tuple[str, ...], num_classes: int, rank: int = 4
) -> nn.Module:
  """The low-rank fusion head, of any number of modalities of any widths.

  Args:
    modalities: any number.
    num_classes: C.
    rank: R; more lets more products of features count.

  Raises:
    ValueError: a rank below 1.
  """
  if rank < 1:
    raise ValueError(
      f'config.head.rank={rank} must be at least 1; the default is 4.'
    )
  return LowRank(modalities, num_classes, rank)
