"""Latent representation quality: what a frozen encoder leaves to the best head.

Huang et al., "What makes multi-modal learning better than single (provably)",
NeurIPS 2021, definitions 1 and 2:

  eta(g) = inf_h r(h o g) - r(h* o g*)      0 is best
  gamma(M, N) = eta(g_M) - eta(g_N)         below 0 where M is the better one

The paper's table of gamma prints it with the other sign; that is `gain` here.
"""

import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
import threadpoolctl
from scipy import stats

from mmjax.lab import _heads


class Eta(NamedTuple):
  """The quality of one encoder; risks in nats, or squared units of target."""

  value: float  # risk - oracle
  risk: float  # of the best head
  oracle: float
  error: float  # standard error of the risk, over examples
  losses_N: np.ndarray
  is_oracle_known: bool  # else it is the best that was achieved


class Gamma(NamedTuple):
  """eta(M) - eta(N), as the paper defines it, and the gain -gamma."""

  value: float
  low: float
  high: float
  gain: float
  level: float


class Interval(NamedTuple):
  mean: float
  low: float
  high: float
  std: float


L2 = (1e-3, 1e-2, 1e-1, 1.0)


def best_head_losses(
  features_ND: np.ndarray,
  target: np.ndarray,
  *,
  num_classes: int,
  folds: int = 5,
  l2: Sequence[float] = L2,
  max_steps: int = 2000,
  seed: int = 0,
) -> np.ndarray:
  """Losses f64[N] of the best linear head on frozen features.

  Args:
    features_ND: latents of examples that the encoder has not learnt from.
    target: classes i[N], or numbers f[N] or f[N, T] if num_classes is 0.
    num_classes: C; 0 for numbers.
    folds: 0 fits and measures on the same examples, as the paper does: too good
      by about (features/examples). Two or more fit on the other folds: too bad
      by about as much, and it can be trusted not to flatter.
    l2: penalties of the head, on whitened features. The one with the least
      held-out risk counts, as all are heads; with folds=0 the first.
    max_steps: of the solver.
    seed: of the folds.

  Raises:
    ValueError: shapes, numbers that are not finite, degenerate covariance, or a
      head that does not converge.
  """
  z_ND, target = _checked(features_ND, target, num_classes)
  if folds < 0 or folds == 1 or folds > len(z_ND):
    raise ValueError(
      f'folds={folds} must be 0, or from 2 to the {len(z_ND)} examples.'
    )
  if not l2 or min(l2) <= 0:
    raise ValueError(f'l2={tuple(l2)}: one penalty or more, above 0.')
  options = dict(num_classes=num_classes, max_steps=max_steps)
  # Matrices this small only wait for each other on several threads.
  with threadpoolctl.threadpool_limits(1):
    if not folds:
      u_NR = _heads.whitening(z_ND)(z_ND)
      head = _heads.fit(u_NR, target, l2=l2[0], **options)
      return _heads.losses(head(u_NR), target, num_classes)
    fold_N = _folds(target, num_classes, folds, seed)
    found = np.empty((len(l2), len(z_ND)))
    for fold in range(folds):
      out = fold_N == fold
      white = _heads.whitening(z_ND[~out])
      u_NR, held_NR = white(z_ND[~out]), white(z_ND[out])
      for i, penalty in enumerate(l2):
        head = _heads.fit(u_NR, target[~out], l2=penalty, **options)
        found[i, out] = _heads.losses(head(held_NR), target[out], num_classes)
  return found[found.mean(1).argmin()]


def _checked(z_ND, target, num_classes):
  z_ND, target = np.asarray(z_ND, np.float64), np.asarray(target)
  if z_ND.ndim != 2 or len(target) != len(z_ND):
    raise ValueError(
      f'features are [N, D] and targets N, not {z_ND.shape} and {target.shape}.'
    )
  if not np.isfinite(z_ND).all():
    raise ValueError('features hold NaN or infinity.')
  if num_classes:
    if target.ndim != 1 or target.dtype.kind not in 'iu':
      raise ValueError(f'target is {target.dtype}{target.shape}: not classes.')
    if target.min() < 0 or target.max() >= num_classes:
      raise ValueError(
        f'classes run from {target.min()} to {target.max()}, but num_classes='
        f'{num_classes}.'
      )
    return z_ND, target
  return z_ND, target.reshape(len(target), -1).astype(np.float64)


def _folds(target, num_classes: int, folds: int, seed: int) -> np.ndarray:
  """i64[N], each class spread evenly."""
  rng = np.random.default_rng(seed)
  order = rng.permutation(len(target))
  if num_classes:
    order = order[np.argsort(target[order], kind='stable')]
  fold_N = np.empty(len(target), int)
  fold_N[order] = np.arange(len(target)) % folds
  return fold_N


def eta(
  features_ND: np.ndarray,
  target: np.ndarray,
  *,
  oracle: float,
  num_classes: int,
  tolerance: float = 3.0,
  **head,
) -> Eta:
  """eta of one encoder against a known oracle risk.

  Args:
    features_ND: as in `best_head_losses`, which takes the other options.
    target: likewise.
    oracle: r(h* o g*), the least risk that any model has.
    num_classes: C; 0 for numbers.
    tolerance: standard errors that eta may lie below 0.
    **head: folds, l2, max_steps, seed of `best_head_losses`.

  Raises:
    ValueError: eta is negative beyond the tolerance, so that the oracle was not
      one; and what `best_head_losses` raises.
  """
  losses_N = best_head_losses(
    features_ND, target, num_classes=num_classes, **head
  )
  return _eta(losses_N, oracle, tolerance, is_known=True, name='eta')


def etas(
  losses: Mapping[str, np.ndarray],
  *,
  oracle: float | None = None,
  tolerance: float = 3.0,
) -> dict[str, Eta]:
  """eta of several encoders measured on the same examples.

  Args:
    losses: f64[N] of each, from `best_head_losses`.
    oracle: the least risk; None takes the least that one of these has, and
      marks them so. The difference of two etas does not depend on it.
    tolerance: as in `eta`.

  Raises:
    ValueError: as in `eta`, naming the encoder.
  """
  best = min(float(x.mean()) for x in losses.values())
  known, least = oracle is not None, best if oracle is None else oracle
  return {
    name: _eta(losses_N, least, tolerance, is_known=known, name=name)
    for name, losses_N in losses.items()
  }


def _eta(losses_N, oracle: float, tolerance: float, *, is_known, name) -> Eta:
  risk = float(losses_N.mean())
  error = float(losses_N.std(ddof=1) / math.sqrt(len(losses_N)))
  if risk - oracle < -tolerance * max(error, 1e-7 * max(abs(risk), 1)):
    raise ValueError(
      f'{name}: the best head has risk {risk:.6g} (standard error {error:.2g}), '
      f'which is below the oracle={oracle:.6g}. So the oracle was not one: give '
      'the least risk that any model can have on these examples, or none.'
    )
  return Eta(risk - oracle, risk, oracle, error, losses_N, is_known)


def gamma(
  of_M: Eta | Sequence[Eta],
  of_N: Eta | Sequence[Eta],
  *,
  level: float = 0.95,
  resamples: int = 2000,
  seed: int = 0,
) -> Gamma:
  """gamma(M, N) with a percentile bootstrap interval.

  Args:
    of_M: the etas of one subset, one for each seed, on the same examples.
    of_N: those of the other, in the same order.
    level: of the interval.
    resamples: of seeds and of examples, each with replacement and together;
      examples stay paired, so what is hard for both does not widen it.
    seed: of the bootstrap.

  Raises:
    ValueError: another number of seeds or of examples.
  """
  many = [[x] if isinstance(x, Eta) else list(x) for x in (of_M, of_N)]
  shapes = {e.losses_N.shape for side in many for e in side}
  if len(many[0]) != len(many[1]) or not many[0] or len(shapes) > 1:
    raise ValueError(
      f'gamma compares pairs: here are {len(many[0])} and {len(many[1])} etas '
      f'on {sorted(shapes)} examples.'
    )
  offset = np.mean([a.oracle - b.oracle for a, b in zip(*many)])
  gap_SN = np.array([a.losses_N - b.losses_N for a, b in zip(*many)])
  S, N = gap_SN.shape
  rng = np.random.default_rng(seed)
  seeds_BS = rng.multinomial(S, np.full(S, 1 / S), resamples) / S
  rows_BN = rng.multinomial(N, np.full(N, 1 / N), resamples) / N
  drawn_B = np.einsum('bs,sn,bn->b', seeds_BS, gap_SN, rows_BN, optimize=True)
  tail = (1 - level) / 2
  low, high = np.quantile(drawn_B, [tail, 1 - tail]) - offset
  value = float(gap_SN.mean() - offset)
  return Gamma(value, float(low), float(high), -value, level)


def over_seeds(values_S: np.ndarray, level: float = 0.95) -> Interval:
  """Mean over seeds, with Student's interval for it and the spread of seeds.

  One seed has no interval: NaN.
  """
  values_S = np.asarray(values_S, np.float64)
  S, mean = len(values_S), float(values_S.mean())
  if S < 2:
    return Interval(mean, math.nan, math.nan, math.nan)
  std = float(values_S.std(ddof=1))
  half = float(stats.t.ppf((1 + level) / 2, S - 1)) * std / math.sqrt(S)
  return Interval(mean, mean - half, mean + half, std)
