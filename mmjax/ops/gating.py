"""Weights of the modalities at test time.

MLA, Zhang, Yoon, Bansal, Yao, CVPR 2024, https://arxiv.org/abs/2311.10707:
a modality counts the more, the lower the entropy of its prediction.
"""

import jax
import jax.numpy as jnp


def predictive_entropy(logits_BC: jax.Array) -> jax.Array:
  """Entropy over the classes, in nats, [B]; finite for any finite logits."""
  log_p_BC = jax.nn.log_softmax(logits_BC, axis=-1)
  return -jnp.sum(jnp.exp(log_p_BC) * log_p_BC, axis=-1)


def entropy(
  logits_MBC: jax.Array, present_MB: jax.Array | None = None
) -> jax.Array:
  """Per-example weights by predictive entropy, as in the paper.

  lambda_m = exp(max_v e_v - e_m) / sum_k exp(max_v e_v - e_k), which is the
  softmax of -e over the modalities that are present.

  Args:
    logits_MBC: logits of each modality.
    present_MB: bool, False where an example lacks the modality.

  Returns:
    weights_MB, summing to one over M; all zero for an example that has no
    modality.
  """
  entropy_MB = predictive_entropy(logits_MBC)
  if present_MB is None:
    return jax.nn.softmax(-entropy_MB, axis=0)
  return jax.nn.softmax(-entropy_MB, axis=0, where=present_MB)


def entropy_released(
  logits_MBC: jax.Array, valid_B: jax.Array | None = None
) -> jax.Array:
  """One weight per modality and batch, as in the authors' released code.

  There the softmax runs over the batch axis and the entropy is summed over
  batch and classes, so the weights depend on which examples share a batch and
  on their number; a batch of one always gives 1 / M. Where the release
  returns NaN (a probability that underflows), this is finite.

  Args:
    logits_MBC: logits of each modality.
    valid_B: bool, False for rows that do not count (padding); default all do.

  Returns:
    weights_M, summing to one.
  """
  where = None if valid_B is None else valid_B[None, :, None]
  log_p_MBC = jax.nn.log_softmax(logits_MBC, axis=1, where=where)
  terms_MBC = jnp.exp(log_p_MBC) * log_p_MBC
  entropy_M = -jnp.sum(terms_MBC, axis=(1, 2), where=where)
  return jax.nn.softmax(-entropy_M, axis=0)


def fixed(weights_M: jax.Array, present_MB: jax.Array) -> jax.Array:
  """Given weights, shared out again among the modalities that are present.

  Returns weights_MB, summing to one over M; all zero without any modality.
  """
  weights_MB = weights_M[:, None] * present_MB
  total_B = jnp.sum(weights_MB, axis=0)
  return weights_MB / jnp.where(total_B > 0, total_B, 1)[None]


def fuse(weights_MB: jax.Array, logits_MBC: jax.Array) -> jax.Array:
  """Weighted sum of the logits, logits_BC."""
  return jnp.sum(weights_MB[:, :, None] * logits_MBC, axis=0)
