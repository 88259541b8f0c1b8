"""Recursive least squares: the head moves where past features did not point.

MLA, "Multimodal Representation Learning by Alternating Unimodal Adaptation",
Zhang, Yoon, Bansal, Yao, CVPR 2024, https://arxiv.org/abs/2311.10707.
Head gradients are multiplied by P, which shrinks them in the directions that
past features have used. For a kernel of shape [D, C] that is `P_DD @ grad_DC`.
"""

import jax
import jax.numpy as jnp


def update(P_DD: jax.Array, z_D: jax.Array, alpha: jax.Array | float):
  """One step of the paper's recursion with a scalar denominator.

  q = P z / (alpha + z' P z),  P <- P - q z' P.

  P stays symmetric positive definite, and its eigenvalues never grow.

  Args:
    P_DD: symmetric projection before the step; the identity at the start.
    z_D: mean feature of the turn.
    alpha: regulariser > 0 that keeps the denominator from zero.

  Returns:
    P_DD after the step.
  """
  Pz_D = P_DD @ z_D
  # Dividing by the root keeps the outer product, and so P, exactly symmetric.
  root_D = Pz_D / jnp.sqrt(alpha + z_D @ Pz_D)
  return P_DD - jnp.outer(root_D, root_D)


def update_released(P_DD: jax.Array, z_D: jax.Array, alpha: jax.Array | float):
  """The recursion of the authors' released code, made to apply.

  k = P z,  P <- P - (k k') / (alpha + k z') element by element, then
  P <- P / ||P||_F. The denominator is a matrix where the paper has a scalar,
  so P loses its symmetry, and the normalisation shrinks every gradient by
  about 1 / sqrt(D). (In the release a test on a parameter's name fails, and
  no gradient is ever projected.)

  Args:
    P_DD: projection before the step; the identity at the start.
    z_D: mean feature of the batch.
    alpha: regulariser, 0.1 ** (1 + batch / batches per epoch) in the release.

  Returns:
    P_DD after the step, of unit Frobenius norm; the released code multiplies a
    [D, C] kernel's gradient from the left.
  """
  k_D = P_DD @ z_D
  P_DD = P_DD - jnp.outer(k_D, k_D) / (alpha + jnp.outer(k_D, z_D))
  return P_DD / jnp.linalg.norm(P_DD)
