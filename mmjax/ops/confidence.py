"""Confidences that rank examples as their past losses do.

QMF, "Provable Dynamic Fusion for Low-Quality Multimodal Data", Zhang, Wu,
Zhang, Hu, Fu, Zhou, Peng, ICML 2023, https://arxiv.org/abs/2306.02050. The
ranking loss goes back to Moon, Kim, Shin, Hwang, "Confidence-Aware Learning for
Deep Neural Networks", ICML 2020, https://arxiv.org/abs/2007.01458.
"""

import jax
import jax.numpy as jnp

SIGNS = {'released': -1.0, 'intended': 1.0}
"""Sign of the margin in the ranking loss."""


def confidence(logits_BC: jax.Array, scale: float = 10.0) -> jax.Array:
  """Negative free energy, logsumexp_c(z) / scale, [B]; below zero at times."""
  return jax.nn.logsumexp(logits_BC, axis=-1) / scale


def fuse(
  logits_MBC: jax.Array, confidence_MB: jax.Array, present_MB: jax.Array
) -> jax.Array:
  """sum_m confidence_m z_m over the modalities that are present, logits_BC.

  The weights do not sum to one, as released.
  """
  weights_MB = jnp.where(present_MB, confidence_MB, 0)
  return jnp.sum(weights_MB[:, :, None] * logits_MBC, axis=0)


def accumulate(
  history_N: jax.Array,
  index_B: jax.Array,
  loss_B: jax.Array,
  valid_B: jax.Array,
) -> jax.Array:
  """Adds the examples' losses to their running sums; only the valid ones."""
  return history_N.at[index_B].add(jnp.where(valid_B, loss_B, 0))


def relative(history_N: jax.Array) -> jax.Array:
  """The history between 0 and 1, by its minimum and maximum.

  An example that was never seen has 0 and counts in the minimum, as released.
  A history that is the same everywhere becomes 0, where the release divides
  zero by zero (its RGB-D script does so in the first step).
  """
  low, span = jnp.min(history_N), jnp.max(history_N) - jnp.min(history_N)
  return (history_N - low) / jnp.where(span > 0, span, 1)


def pairs(
  history_N: jax.Array, index_B: jax.Array
) -> tuple[jax.Array, jax.Array]:
  """How each example compares with the next of the batch (the last, the first).

  Returns:
    target_B: 1 where its relative history is the higher, -1 the lower, 0 same.
    margin_B: by how much, in [0, 1].
  """
  past_B = relative(history_N)[index_B]
  gap_B = past_B - jnp.roll(past_B, -1)
  return jnp.sign(gap_B), jnp.abs(gap_B)


def rank_loss(
  confidence_B: jax.Array,
  history_N: jax.Array,
  index_B: jax.Array,
  valid_B: jax.Array,
  margin_sign: str = 'released',
) -> jax.Array:
  """Mean of max(0, t (c_i - c_j) -/+ margin) over neighbours i, j = i + 1.

  t is 1 where i had the higher loss, which then should have the lower
  confidence. Released, the margin is subtracted: a wrong order is tolerated as
  long as it is by less than the histories differ. In the loss that it was taken
  from the margin is demanded, that is, added ('intended'): the target changed
  its sign when correctness gave way to loss, the margin did not.

  Args:
    confidence_B: c.
    history_N: running sums of the losses.
    index_B: rows of the examples in it.
    valid_B: bool; pairs with an example that does not count are left out.
    margin_sign: 'released' or 'intended'.

  Returns:
    f32[], zero without a pair.
  """
  target_B, margin_B = pairs(history_N, index_B)
  gap_B = confidence_B - jnp.roll(confidence_B, -1)
  hinge_B = jax.nn.relu(target_B * gap_B + SIGNS[margin_sign] * margin_B)
  pair_B = valid_B & jnp.roll(valid_B, -1)
  total = jnp.sum(jnp.where(pair_B, hinge_B, 0))
  return total / jnp.maximum(jnp.sum(pair_B), 1)
