"""Losses over examples that count."""

import jax
import jax.numpy as jnp
import optax


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
