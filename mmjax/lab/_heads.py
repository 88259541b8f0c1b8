"""The best head on frozen features, fitted to the end or not at all."""

import warnings
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

CUTOFF = 1e-5  # of the largest singular value; below is rounding of float32
SOLVED = 1e-4  # largest entry of the gradient of the mean loss

Head = Callable[[np.ndarray], np.ndarray]  # u_NR -> outputs_NC


class Whitening(NamedTuple):
  """A map to uncorrelated features of variance 1."""

  mean_D: np.ndarray
  map_DR: np.ndarray

  def __call__(self, z_ND: np.ndarray) -> np.ndarray:
    return (np.asarray(z_ND, np.float64) - self.mean_D) @ self.map_DR


def whitening(z_ND: np.ndarray) -> Whitening:
  """Fitted to features; directions without variance are left out.

  So neither the scale of features nor any invertible map of them matters to
  a head with a penalty.

  Raises ValueError if no feature varies.
  """
  z_ND = np.asarray(z_ND, np.float64)
  mean_D = z_ND.mean(0)
  _, s_R, map_RD = np.linalg.svd(z_ND - mean_D, full_matrices=False)
  keep_R = s_R > CUTOFF * max(s_R.max(initial=0), 1e-30)
  if not keep_R.any():
    raise ValueError(
      f'Degenerate covariance: none of the {z_ND.shape[1]} features varies over '
      f'the {len(z_ND)} examples, so no head can be fitted to them.'
    )
  map_DR = (map_RD[keep_R] / s_R[keep_R, None]).T * np.sqrt(len(z_ND))
  return Whitening(mean_D, map_DR)


def fit(
  u_NR: np.ndarray,
  target: np.ndarray,
  num_classes: int,
  *,
  l2: float,
  max_steps: int,
) -> Head:
  """A linear head of least mean loss plus l2/2 |W|^2, bias not counted.

  Args:
    u_NR: whitened features.
    target: classes i[N], for which the loss is cross-entropy; or, with
      num_classes=0, numbers f[N, T], for which it is the squared error.
    num_classes: C.
    l2: above 0 for classes.
    max_steps: of L-BFGS, for classes; numbers have a closed form.

  Raises:
    ValueError: the solver did not come to the end.
  """
  if not num_classes:
    # Whitened features have the identity as covariance.
    bias_T = target.mean(0)
    kernel_RT = u_NR.T @ (target - bias_T) / len(u_NR) / (1 + l2 / 2)
    return lambda u: u @ kernel_RT + bias_T
  kernel_RC, bias_C = _logistic(u_NR, target, num_classes, l2, max_steps)
  return lambda u: u @ kernel_RC + bias_C


def _logistic(u_NR, label_N, num_classes: int, l2: float, max_steps: int):
  from sklearn.exceptions import ConvergenceWarning
  from sklearn.linear_model import LogisticRegression

  seen = np.unique(label_N)
  kernel_RC = np.zeros((u_NR.shape[1], num_classes))
  bias_C = np.full(num_classes, -50.0)  # a class that was never seen
  if len(seen) == 1:
    bias_C[seen] = 0.0
    return kernel_RC, bias_C
  solver = LogisticRegression(
    C=1 / (l2 * len(u_NR)), tol=SOLVED / 100, max_iter=max_steps
  )
  with warnings.catch_warnings():
    warnings.simplefilter('ignore', ConvergenceWarning)  # we look ourselves
    solver.fit(u_NR, label_N)
  if len(seen) == 2:  # one column: the logit of the second class
    kernel_RC[:, seen] = np.array([[-0.5], [0.5]]).T * solver.coef_.T
    bias_C[seen] = np.array([-0.5, 0.5]) * solver.intercept_
  else:
    kernel_RC[:, seen], bias_C[seen] = solver.coef_.T, solver.intercept_
  _check_solved(u_NR, label_N, seen, solver, l2, max_steps)
  return kernel_RC, bias_C


def _check_solved(u_NR, label_N, seen, solver, l2, max_steps) -> None:
  """ValueError unless the gradient, computed afresh, is zero."""
  wrong_NC = solver.predict_proba(u_NR) - (label_N[:, None] == seen)
  if len(seen) == 2:
    wrong_NC = wrong_NC[:, 1:]
  slope_RC = u_NR.T @ wrong_NC / len(u_NR) + l2 * solver.coef_.T
  steepest = max(abs(slope_RC).max(), abs(wrong_NC.mean(0)).max())
  if steepest > SOLVED:
    raise ValueError(
      f'The head did not converge: after {solver.n_iter_.max()} of at most '
      f'{max_steps} steps the gradient is still {steepest:.1e} (a solution has '
      f'less than {SOLVED:g}). Raise max_steps, or l2={l2:g}.'
    )


def losses(outputs_NC: np.ndarray, target: np.ndarray, num_classes: int):
  """f64[N]: cross-entropy in nats, or the squared error summed over targets."""
  if not num_classes:
    return np.square(outputs_NC - target).sum(1)
  from scipy.special import logsumexp

  chosen_N = np.take_along_axis(outputs_NC, target[:, None], 1)[:, 0]
  return logsumexp(outputs_NC, axis=1) - chosen_N
