"""What a modality says by itself, for heads whose classifier does not split."""

from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp

from mmjax.base import Array


def alone(
  fused: Callable, feats: Mapping[str, Any], present: Mapping[str, Array]
) -> dict[str, Array]:
  """Logits of the head for each modality with the others missing.

  The authors of OGM measure a modality so where the head is not linear.

  Args:
    fused: (feats, present) -> logits_BC.
    feats: z_BD, or `Ragged` steps, per modality.
    present: {modality: bool[B]}.
  """
  unis = {}
  for m in feats:
    others = {k: jax.tree.map(jnp.zeros_like, z) for k, z in feats.items()}
    nobody = {k: jnp.zeros_like(has_B) for k, has_B in present.items()}
    unis[m] = fused(
      {**others, m: feats[m]}, {**nobody, m: jnp.ones_like(present[m])}
    )
  return unis
