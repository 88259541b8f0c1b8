"""Bi-FiLM: every modality scales and shifts the features of the others.

The symmetric form of FiLM (Perez et al., AAAI 2018) that MMCosine (Xu et al.,
ICASSP 2023) compares with. Theirs is for two modalities; here any number.
"""

from collections.abc import Mapping

import flax.linen as nn
import jax.numpy as jnp

from mmjax.base import Array
from mmjax.models.fusion import _linear, _whole
from mmjax.models.fusion._alone import alone


class BiFilm(nn.Module):
  """joint = [h_1; ..; h_M] W + b, where h_m = gamma_m * z_m + beta_m.

  [gamma_m, beta_m] = [z_k for k != m] W_m + b_m: linear in all other features
  side by side, which for two modalities is the published form. As every h_m
  knows of every modality, slices of W would not be unimodal; unimodal logits
  are the head's with the others missing. Features of a missing modality are
  zeros.
  """

  modalities: tuple[str, ...]
  num_classes: int

  @nn.compact
  def __call__(
    self, feats: Mapping[str, Array], present: Mapping[str, Array], train: bool
  ):
    """z_BD per modality -> (logits_BC of each alone, of all), logits_BC."""
    del train  # nothing here is random
    _whole.require_all('bifilm', self.modalities, feats)
    init = _linear.kernel_init
    films = {
      m: nn.Dense(2 * feats[m].shape[-1], kernel_init=init, name=f'film_{m}')
      for m in self.modalities
    }
    out = nn.Dense(self.num_classes, kernel_init=init, name='out')

    def fused(feats, present):
      z = {m: jnp.where(present[m][:, None], feats[m], 0) for m in films}
      parts = []
      for m, film in films.items():
        others_BD = jnp.concatenate([z[k] for k in films if k != m], axis=-1)
        gamma_BD, beta_BD = jnp.split(film(others_BD), 2, axis=-1)
        parts.append(gamma_BD * z[m] + beta_BD)
      return out(jnp.concatenate(parts, axis=-1))

    return alone(fused, feats, present), fused(feats, present)


def make(*, modalities: tuple[str, ...], num_classes: int) -> nn.Module:
  """The Bi-FiLM head, of two or more modalities of any widths.

  Raises ValueError for fewer than two modalities.
  """
  if len(modalities) < 2:
    raise ValueError(
      "config.head.name='bifilm' needs two modalities or more, but the data "
      f"has only {', '.join(modalities)}. Take the head 'sum'."
    )
  return BiFilm(modalities, num_classes)
