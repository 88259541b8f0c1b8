"""Which examples of a batch count."""

from collections.abc import Sequence

import jax
import jax.numpy as jnp

from mmjax.base import Batch


def valid(batch: Batch, modality: str) -> jax.Array:
  """bool[B]: real examples (no padding) that have the modality."""
  return batch['mask'] & batch['present'][modality]


def seen(batch: Batch, modalities: Sequence[str]) -> dict[str, jax.Array]:
  """{modality: bool[]}: whether any example of the batch has it.

  The `when` of `Kit.descend`: an encoder that sees nothing rests, with its
  momentum and weight decay.
  """
  return {m: jnp.any(valid(batch, m)) for m in modalities}
