"""Losses over examples that count."""

import jax
import jax.numpy as jnp
import optax

from mmjax.base import Batch
from mmjax.ops import batches


def masked_mean(values_B: jax.Array, valid_B: jax.Array) -> jax.Array:
  """Mean of the valid entries, f32[]; zero when there is none."""
  weights_B = valid_B.astype(values_B.dtype)
  total = jnp.sum(jnp.where(valid_B, values_B, 0))
  return total / jnp.maximum(jnp.sum(weights_B), 1)


def cross_entropy(
  logits_BC: jax.Array, label_B: jax.Array, valid_B: jax.Array
) -> jax.Array:
  """Mean softmax cross-entropy of the valid examples, in nats, f32[]."""
  losses_B = optax.softmax_cross_entropy_with_integer_labels(logits_BC, label_B)
  return masked_mean(losses_B, valid_B)


def per_modality(unis: dict[str, jax.Array], batch: Batch):
  """{m: cross-entropy f32[] over the examples that have m}."""
  return {
    m: cross_entropy(logits_BC, batch['label'], batches.valid(batch, m))
    for m, logits_BC in unis.items()
  }
