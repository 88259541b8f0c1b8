"""Linear predictors of a number from some columns: their risks, exactly.

Population statements from second moments, in float64. Means are zero, or have
been subtracted; no predictor has an intercept.

Proposition 1 of Huang et al., "What makes multi-modal learning better than
single (provably)", NeurIPS 2021, says for linear encoders, a linear head and
squared error that gamma(M, N) <= 0 where the modalities M contain N: the best
predictor from more columns is never worse. Linear encoders into features
wide enough, with a linear head, are nothing but linear predictors of the
columns, for which `gamma` computes the number. What the proposition is about:
  - the population, or so many examples that the fitted predictor is as good as
    the best. At finite n the larger set pays for more parameters (about
    1 + p / (n - p - 1) for Gaussian columns), and its fit is often the worse;
  - linear predictors. It says nothing of what a network finds, nor that a
    product of two modalities is worth anything to a linear one (it is not).
And it promises no gain: at 0 the added modalities are useless to a linear
predictor, whatever they tell another.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

DEGENERATE = ('raise', 'minimum_norm')


class Fit(NamedTuple):
  """Least squares on a sample."""

  weights_D: np.ndarray  # f64
  rank: int  # of x_ND
  train_risk: float  # mean squared error on the sample


def risk(
  cov_DD: ArrayLike,
  cross_D: ArrayLike,
  variance: float,
  columns: Sequence[int] | np.ndarray,
  *,
  degenerate: str = 'raise',
) -> float:
  """Returns the least mean squared error of a linear predictor of y.

  variance - c' S^-1 c, with S and c the rows of `cov_DD` and `cross_D` that
  `columns` names; no column leaves the variance. An invertible linear map of
  the columns changes nothing.

  Args:
    cov_DD: E[x x'], symmetric positive semidefinite.
    cross_D: E[x y].
    variance: E[y^2].
    columns: different numbers in 0..D-1, in any order.
    degenerate: what to do if columns are linearly dependent: 'raise', or
      'minimum_norm' to take the pseudo-inverse. Eigenvalues of S below
      width x eps x the largest one count as zero, where eps is that of the
      arrays as given, float32 or float64.

  Raises:
    ValueError: wrong shapes or columns, a degenerate covariance, or moments
      that no x and y have together.
  """
  eps = _eps(cov_DD, cross_D)
  cov_DD = np.asarray(cov_DD, np.float64)
  cross_D = np.asarray(cross_D, np.float64)
  _check_moments(cov_DD, cross_D, variance, degenerate, eps)
  chosen = _columns(columns, len(cross_D))
  if not len(chosen):
    return float(variance)
  value_D, vector_DD = np.linalg.eigh(cov_DD[np.ix_(chosen, chosen)])
  slack = len(chosen) * eps * np.abs(value_D).max()
  if value_D[0] < -slack:
    raise ValueError(
      f'cov_DD has the eigenvalue {value_D[0]:.3g} (the largest is '
      f'{value_D[-1]:.3g}) and so is the covariance of nothing.'
    )
  kept = value_D > slack
  _check_rank(int(kept.sum()), value_D, degenerate, 'the covariance')
  along_D = vector_DD.T @ cross_D[chosen]
  # Cauchy-Schwarz: along^2 <= value variance, also where the value is zero.
  lost = float(np.sum(along_D[~kept] ** 2))
  left = float(variance - np.sum(along_D[kept] ** 2 / value_D[kept]))
  rough = 1e3 * len(chosen) * eps * variance
  if left < -rough or lost > rough * value_D[-1]:
    raise ValueError(
      f'cov_DD, cross_D and variance={variance:.6g} are not of one x and y: '
      f'the columns would explain {variance - left:.6g}, and cross_D has '
      f'{lost**0.5:.3g} where no column varies. Take all three from one sample '
      'or distribution, in float64 where eigenvalues are small (here '
      f'{value_D[0]:.3g} to {value_D[-1]:.3g}).'
    )
  return max(left, 0.0)


def gamma(
  cov_DD: ArrayLike,
  cross_D: ArrayLike,
  variance: float,
  columns_M: Sequence[int] | np.ndarray,
  columns_N: Sequence[int] | np.ndarray,
  *,
  degenerate: str = 'raise',
) -> float:
  """Returns risk(M) - risk(N), which is never positive where M contains N.

  M and N are the paper's names of two sets of modalities, here their columns;
  neither has to contain the other. Negative: M is better (the paper's
  definition; its table of gammas has the opposite sign). Proposition 1 is the
  nested case, see the head of this file. Zero comes with rounding errors.

  Raises:
    ValueError: as `risk`.
  """
  m = risk(cov_DD, cross_D, variance, columns_M, degenerate=degenerate)
  n = risk(cov_DD, cross_D, variance, columns_N, degenerate=degenerate)
  return m - n


def fit(x_ND: ArrayLike, y_N: ArrayLike, *, degenerate: str = 'raise') -> Fit:
  """Least squares without intercept.

  With 'minimum_norm', the shortest of all weights that are best on the sample;
  with fewer examples than columns they pass through every point.

  Args:
    x_ND: columns of mean zero, or one of them constant as an intercept.
    y_N: numbers to predict.
    degenerate: as in `risk`; singular values of x_ND below width x eps x the
      largest one (or, if more, N x eps of float64) count as zero.

  Raises:
    ValueError: wrong shapes, numbers that are not finite, or columns that are
      linearly dependent on this sample.
  """
  eps = _eps(x_ND)
  x_ND, y_N = np.asarray(x_ND, np.float64), np.asarray(y_N, np.float64)
  if x_ND.ndim != 2 or not x_ND.size or y_N.shape != x_ND.shape[:1]:
    raise ValueError(
      'fit takes x [N, D] and y [N] with N and D above 0, but got shapes '
      f'{x_ND.shape} and {y_N.shape}.'
    )
  _check_option(degenerate)
  _check_finite(x_ND=x_ND, y_N=y_N)
  N, D = x_ND.shape
  cut = max(D * eps, max(N, D) * np.finfo(np.float64).eps)
  weights_D, _, rank, scale = np.linalg.lstsq(x_ND, y_N, rcond=cut)
  value_D = np.pad(np.sort(scale**2 / N), (max(D - N, 0), 0))
  _check_rank(int(rank), value_D, degenerate, f"x'x / N of {N} examples")
  train_risk = float(np.mean((y_N - x_ND @ weights_D) ** 2))
  return Fit(weights_D, int(rank), train_risk)


def _eps(*arrays: ArrayLike) -> float:
  """Relative rounding error of the roughest of some arrays."""
  types = [np.asarray(a).dtype for a in arrays]
  floats = [t for t in types if t.kind == 'f']
  return float(max(np.finfo(t).eps for t in [*floats, np.dtype(np.float64)]))


def _check_option(degenerate: str) -> None:
  if degenerate not in DEGENERATE:
    raise ValueError(
      f'degenerate={degenerate!r}: there are {" and ".join(DEGENERATE)}.'
    )


def _check_finite(**arrays: np.ndarray) -> None:
  for name, values in arrays.items():
    bad = np.argwhere(~np.isfinite(values))
    if len(bad):
      raise ValueError(
        f'{name} holds NaN or infinity at {len(bad)} places, the first at '
        f'{tuple(bad[0].tolist())}. Clean it first.'
      )


def _check_moments(cov_DD, cross_D, variance, degenerate, eps) -> None:
  _check_option(degenerate)
  if cross_D.ndim != 1 or cov_DD.shape != 2 * cross_D.shape:
    raise ValueError(
      'risk takes a covariance [D, D] and a cross-covariance [D], but got '
      f'shapes {cov_DD.shape} and {cross_D.shape}.'
    )
  _check_finite(cov_DD=cov_DD, cross_D=cross_D, variance=np.asarray(variance))
  if variance < 0:
    raise ValueError(f'variance={variance} must be 0 or more.')
  scale = np.abs(cov_DD).max(initial=0)
  skew = np.abs(cov_DD - cov_DD.T).max(initial=0)
  if skew > 1e3 * eps * scale:
    raise ValueError(
      f'cov_DD must be symmetric, but entries differ by up to {skew:.3g} from '
      'their mirror image.'
    )


def _columns(columns: Sequence[int] | np.ndarray, width: int) -> np.ndarray:
  chosen = np.asarray(columns)
  if not chosen.size:
    return np.zeros(0, np.int64)
  if chosen.ndim != 1 or chosen.dtype.kind not in 'iu':
    raise ValueError(
      f'columns must be a list of whole numbers, not {chosen.dtype} of shape '
      f'{chosen.shape}; of a mask take np.flatnonzero.'
    )
  bad = [int(c) for c in chosen if not 0 <= c < width]
  if bad or len(np.unique(chosen)) < len(chosen):
    raise ValueError(
      f'columns={chosen.tolist()} must be different numbers in 0..{width - 1}.'
    )
  return chosen


def _check_rank(
  rank: int, value_D: np.ndarray, degenerate: str, what: str
) -> None:
  """ValueError for a rank below the width; eigenvalues `value_D` rise."""
  if rank < len(value_D) and degenerate == 'raise':
    raise ValueError(
      f'Degenerate: {what} has rank {rank} at width {len(value_D)}, with '
      f'eigenvalues from {value_D[0]:.3g} to {value_D[-1]:.3g}, so the best '
      'weights are not unique. Drop repeated columns or take more examples, or '
      "let degenerate='minimum_norm' take the pseudo-inverse."
    )
