"""Worlds of latent variables whose least risk, per subset, is a formula.

Two families. `overlap` is the synthetic study of Huang et al., "What makes
multi-modal learning better than single (provably)", NeurIPS 2021, table 4; the
paper leaves its scales open, and those here reproduce the numbers of the table
up to what a finite sample costs. `dials` sets apart what a modality knows alone,
what two know twice, and what two know only together.

A key decides a world and its examples at once. Who wants to train and to test
in one world draws once and splits the rows; two keys are two worlds.
"""

import functools
import math

import jax
import jax.numpy as jnp

from mmjax.base import Array
from mmjax.lab._dials import KINDS as KINDS
from mmjax.lab._dials import Dials as Dials
from mmjax.lab._dials import as_classes as as_classes
from mmjax.lab._dials import dials as dials
from mmjax.lab._dials import dials_risk as dials_risk
from mmjax.lab._dials import normal
from mmjax.lab._dials import random_dials as random_dials


def overlap(
  key: Array,
  num_examples: int,
  w: float,
  *,
  num_modalities: int = 4,
  width: int = 100,
) -> tuple[dict[str, Array], Array]:
  """Modalities that share more and more with the first one.

  m_i ~ N(0, I) independent,  x_1 = m_1,  x_i = (1 - w) m_i + w m_1,
  target = sum_i beta_i . x_i  without noise.

  Each beta_i is a random direction with ||beta_i||^2 = width. The target is
  made of the mixed x_i: at w = 1 the first modality tells all of it.

  Args:
    key: of the betas as well as of the examples.
    num_examples: N, rows for all splits together.
    w: overlap, from 0 (independent) to 1 (copies).
    num_modalities: named m1, m2, ...
    width: D of each modality.

  Returns:
    Inputs {name: f32[N, D]} and target f32[N].

  Raises:
    ValueError: w outside [0, 1], or a size below 1.
  """
  _check_overlap(w, num_modalities, width)
  if num_examples < 1:
    raise ValueError(f'num_examples={num_examples} must be 1 or more.')
  return _draw_overlap(key, w, (num_modalities, num_examples, width))


@functools.partial(jax.jit, static_argnames='shape')
def _draw_overlap(key: Array, w: float, shape: tuple[int, int, int]):
  keys = jax.random.split(key)
  m_MND, beta_MD = normal(keys[0], *shape), normal(keys[1], *shape[::2])
  norm_M1 = jnp.linalg.norm(beta_MD, axis=1, keepdims=True)
  beta_MD *= math.sqrt(shape[2]) / norm_M1
  x_MND = ((1 - w) * m_MND + w * m_MND[:1]).at[0].set(m_MND[0])
  # An accelerator's short default product would be a noise on the target.
  target_N = jnp.einsum('mnd,md->n', x_MND, beta_MD, precision='highest')
  return {f'm{i + 1}': x_ND for i, x_ND in enumerate(x_MND)}, target_N


def overlap_risk(
  w: float, num_seen: int, *, num_modalities: int = 4, width: int = 100
) -> float:
  """Returns width (M - k) (1 - w)^2, the least risk of the first k modalities.

  The least mean squared error of any predictor, linear or not: k modalities
  give m_1 ... m_k, and the rest is Gaussian and independent of them. For k = 0
  there is no such number, as the variance depends on the angles of the betas.

  Raises:
    ValueError: w outside [0, 1], or k outside 1..M.
  """
  _check_overlap(w, num_modalities, width)
  if not 1 <= num_seen <= num_modalities:
    raise ValueError(
      f'num_seen={num_seen} must lie in 1..{num_modalities}, the modalities.'
    )
  return float(width * (num_modalities - num_seen) * (1 - w) ** 2)


def overlap_excess(num_examples: int, num_features: int) -> float:
  """Returns 1 + p / (n - p - 1), what n examples cost ordinary least squares.

  The factor between the mean of the test risk, over training samples, and the
  least risk. It holds exactly for p jointly Gaussian features of mean zero and
  a covariance of full rank, noise of constant variance independent of them,
  and a fit without intercept (mean of an inverse Wishart matrix). `overlap`
  is such a case with p = k width while w < 1; at w = 1 all modalities are
  copies of the first, and there is no risk to multiply.

  Raises:
    ValueError: n <= p + 1, where the mean is infinite or the fit not unique.
  """
  if num_features < 0 or num_examples <= num_features + 1:
    raise ValueError(
      f'num_examples={num_examples} with num_features={num_features}: the mean '
      'risk of least squares is finite from num_features + 2 examples on. Take '
      f'{max(num_features, 0) + 2} or more, or fewer features.'
    )
  return 1 + num_features / (num_examples - num_features - 1)


def _check_overlap(w: float, num_modalities: int, width: int) -> None:
  if not 0 <= w <= 1:
    raise ValueError(f'w={w} must lie in [0, 1], from independent to copies.')
  if num_modalities < 1 or width < 1:
    raise ValueError(
      f'num_modalities={num_modalities} and width={width} must be 1 or more.'
    )
