"""Linear maps from features to logits, as the heads need them."""

from collections.abc import Mapping

import flax.linen as nn
import jax.numpy as jnp

from mmjax.base import Array

# As the works compared here initialise their classifiers.
kernel_init = nn.initializers.xavier_normal()


class PerModality(nn.Module):
  """One linear classifier per modality: {m: {'kernel', 'bias'}}."""

  modalities: tuple[str, ...]
  num_classes: int

  @nn.compact
  def __call__(self, feats: Mapping[str, Array]) -> dict[str, Array]:
    """z_BD per modality -> logits_BC per modality."""
    return {
      m: nn.Dense(self.num_classes, kernel_init=kernel_init, name=m)(feats[m])
      for m in self.modalities
      if m in feats
    }


def stack_present(present: Mapping[str, Array], names) -> Array:
  """{m: bool[B]} -> bool[M, B] in the order of names."""
  return jnp.stack([present[m] for m in names])


def mean_present(
  unis: Mapping[str, Array], present: Mapping[str, Array]
) -> Array:
  """Mean of the logits over the modalities that an example has, logits_BC."""
  has_MB = stack_present(present, unis).astype(jnp.float32)
  logits_MBC = jnp.stack(list(unis.values()))
  total_BC = jnp.sum(logits_MBC * has_MB[:, :, None], axis=0)
  return total_BC / jnp.maximum(jnp.sum(has_MB, axis=0), 1)[:, None]
