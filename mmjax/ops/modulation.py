"""On-the-fly gradient modulation: who runs ahead, and how much it is held back.

OGM-GE, "Balanced Multimodal Learning via On-the-fly Gradient Modulation", Peng,
Wei, Deng, Wang, Hu, CVPR 2022, https://arxiv.org/abs/2203.15332: scores
(equation 8), discrepancy ratios, coefficients (10), generalisation enhancement.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

VARIANTS = ('ogm', 'mla', 'bb', 'bb3')
"""Who is compared with whom.

  'ogm'  mean of the ratios to each other modality (the authors' advice for
         more than two); with two, their code
  'mla'  ratio to the sum of the others, and one modality held back at most, as
         the code of MLA has it; with two, the same as 'ogm'
  'bb'   BalanceBenchmark's method OGM_GE: with three, ratio to the lowest
         score, of the cosine of the logits, where the modality alone is right
  'bb3'  BalanceBenchmark's OGM_GE3: sum of the ratios, of which only the last
         modality's is divided by their number (by mistake, one would think)
"""

KERNELS: dict[str, Callable[[Any], bool]] = {
  'kernels': lambda x: x.ndim > 1,
  'convolutions': lambda x: x.ndim == 4,
}
"""Which parameters are modulated; biases and scales of norms never are."""

TINY = 1e-30  # a score can underflow, a ratio must stay finite
BB_EPSILON = 1e-5


def scores(
  logits_MBC: jax.Array,
  label_B: jax.Array,
  valid_MB: jax.Array,
  variant: str = 'ogm',
) -> jax.Array:
  """Summed probability of the true class, s_M.

  Where examples lack a modality, its sum over those that have it is scaled up
  to all of the batch, so that lacking is not taken for being wrong.

  Args:
    logits_MBC: of each modality alone.
    label_B: true classes.
    valid_MB: bool, real examples that have the modality.
    variant: one of `VARIANTS`.

  Returns:
    s_M; zero for a modality that nobody has.
  """
  right_MB = jnp.argmax(logits_MBC, axis=-1) == label_B[None]
  odd = variant == 'bb' and len(logits_MBC) > 2
  if odd:
    logits_MBC = jnp.cos(logits_MBC)
  probs_MBC = jax.nn.softmax(logits_MBC)
  p_MB = jnp.take_along_axis(probs_MBC, label_B[None, :, None], axis=-1)[..., 0]
  counts_MB = valid_MB & right_MB if odd else valid_MB
  total_M = jnp.sum(jnp.where(counts_MB, p_MB, 0), axis=1)
  everybody = jnp.sum(jnp.any(valid_MB, axis=0))
  share_M = everybody / jnp.maximum(jnp.sum(valid_MB, axis=1), 1)
  return total_M * share_M


def ratios(
  scores_M: jax.Array, seen_M: jax.Array, variant: str = 'ogm'
) -> jax.Array:
  """Discrepancy ratios rho_M: above one for a modality that runs ahead.

  Args:
    scores_M: of `scores`.
    seen_M: bool, whether any example has the modality.
    variant: one of `VARIANTS`.

  Returns:
    rho_M, finite; zero where there is nothing to compare.
  """
  M = len(scores_M)
  s_M = jnp.where(seen_M, jnp.maximum(scores_M, TINY), 0)
  pairs_MM = seen_M[:, None] & seen_M[None] & ~jnp.eye(M, dtype=bool)
  others_M = jnp.sum(pairs_MM, axis=1)
  if variant == 'mla':
    rest_M = jnp.sum(jnp.where(pairs_MM, s_M[None], 0), axis=1)
    return jnp.where(others_M > 0, s_M / jnp.maximum(rest_M, TINY), 0)
  if variant == 'bb' and M > 2:
    low = jnp.min(jnp.where(seen_M, s_M, jnp.inf))
    low = jnp.where(jnp.any(seen_M), low, 1)
    return jnp.where(others_M > 0, s_M / (low + BB_EPSILON), 0)
  floor = 0.0 if variant == 'ogm' else BB_EPSILON
  divisor_MM = jnp.where(pairs_MM, s_M[None] + floor, 1)
  rho_M = jnp.sum(jnp.where(pairs_MM, s_M[:, None] / divisor_MM, 0), axis=1)
  if variant == 'bb3':
    others_M = jnp.where(jnp.arange(M) < M - 1, 1, others_M)
  return rho_M / jnp.maximum(others_M, 1)


def coefficients(
  ratios_M: jax.Array, alpha: float, variant: str = 'ogm'
) -> jax.Array:
  """k_M = 1 - tanh(alpha rho_M) for those held back, 1 for the others.

  With two modalities ('ogm', 'mla') it is the second if its ratio is above
  one, else the first, as released: at a ratio of exactly one the first is held
  back although nobody is ahead, and at one k jumps by tanh(alpha). Swapping the
  modalities swaps k but for that tie. 'mla' goes on like this: the first of
  the second, third, .. that is above one, else the first modality. All others
  hold back whoever is above one.

  Args:
    ratios_M: of `ratios`; zero is never held back.
    alpha: strength, at least zero.
    variant: one of `VARIANTS`.

  Returns:
    k_M in [0, 1].
  """
  M = len(ratios_M)
  ahead_M = ratios_M > 1
  if variant == 'mla' or (variant == 'ogm' and M == 2):
    ahead_M = ahead_M.at[0].set(~jnp.any(ahead_M[1:]))
    first = jnp.argmax(jnp.roll(ahead_M, -1))  # in the order 1, .., M - 1, 0
    ahead_M = jnp.arange(M) == (first + 1) % M
  return jnp.where(ahead_M, 1 - jnp.tanh(alpha * jax.nn.relu(ratios_M)), 1)


def spread(grad: jax.Array) -> jax.Array:
  """Unbiased standard deviation over all entries; zero for a single one."""
  square = jnp.sum(jnp.square(grad - jnp.mean(grad))) / max(grad.size - 1, 1)
  positive = square > 0  # the root has no derivative at zero
  return jnp.where(positive, jnp.sqrt(jnp.where(positive, square, 1)), 0)


def enhance(
  grad: jax.Array, coefficient: jax.Array, normal: jax.Array
) -> jax.Array:
  """k g + (std(g) + 1e-8) n: modulated, with noise as large as g was before.

  The paper takes the noise's covariance from the gradients of the batch; the
  released code, and this, one standard deviation per tensor.

  Args:
    grad: g, any shape.
    coefficient: k, f32[].
    normal: n, standard normal, of that shape.
  """
  return coefficient * grad + (spread(grad) + 1e-8) * normal


def modulate(
  grads: Any,
  coefficient: jax.Array,
  *,
  which: str = 'kernels',
  key: jax.Array | None = None,
) -> Any:
  """The gradients of one encoder, held back; with noise if there is a key.

  Args:
    grads: tree of arrays.
    coefficient: k, f32[].
    which: one of `KERNELS`; other leaves stay as they are.
    key: of the noise, folded by the place of the leaf.
  """
  leaves, tree = jax.tree.flatten(grads)

  def one(place: int, g: jax.Array) -> jax.Array:
    if not KERNELS[which](g):
      return g
    if key is None:
      return coefficient * g
    normal = jax.random.normal(jax.random.fold_in(key, place), g.shape, g.dtype)
    return enhance(g, coefficient, normal)

  return jax.tree.unflatten(tree, [one(i, g) for i, g in enumerate(leaves)])
