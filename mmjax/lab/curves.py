"""Learning curves of a gain, and the sample size at which it begins to pay."""

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

EXPONENTS = np.geomspace(0.1, 2.0, 40)


class PowerLaw(NamedTuple):
  """gain(n) = limit - scale * n^-exponent."""

  limit: float
  scale: float
  exponent: float

  def __call__(self, counts: np.ndarray) -> np.ndarray:
    counts = np.asarray(counts, np.float64)
    return self.limit - self.scale * counts**-self.exponent


class Crossing(NamedTuple):
  """Where a gain rises above `least` and stays there.

  kind is 'always' (from the smallest sample on), 'measured', 'extrapolated'
  (beyond the largest sample, by the power law), or 'not seen'.
  """

  kind: str
  count: float  # median over resamples; NaN if not seen
  low: float
  high: float  # inf if some resamples never cross within the horizon
  share: float  # of resamples that cross within the horizon
  horizon: float


def power_law(counts_L: Sequence[float], gain_L: np.ndarray) -> PowerLaw:
  """Fits gain(n) = limit - scale n^-exponent by least squares.

  The exponent is one of a grid; the other two have a closed form.

  Raises ValueError for fewer than three sample sizes.
  """
  if len(counts_L) < 3:
    raise ValueError(
      f'A curve through {len(counts_L)} sample sizes says nothing about others: '
      'train with three fractions or more.'
    )
  fits = _fits(np.asarray(counts_L, np.float64), np.atleast_2d(gain_L))
  return PowerLaw(*(float(x[0]) for x in fits))


def _fits(counts_L, gain_BL):
  """limit_B, scale_B, exponent_B of many curves at once."""
  best_B = np.full(len(gain_BL), np.inf)
  found = np.zeros((3, len(gain_BL)))
  for exponent in EXPONENTS:
    basis_L2 = np.stack(
      [np.ones_like(counts_L), -(counts_L**-exponent)], axis=1
    )
    solved_2B, *_ = np.linalg.lstsq(basis_L2, gain_BL.T, rcond=None)
    error_B = np.square(basis_L2 @ solved_2B - gain_BL.T).sum(0)
    better_B = error_B < best_B
    best_B = np.where(better_B, error_B, best_B)
    now = np.stack([*solved_2B, np.full(len(gain_BL), exponent)])
    found = np.where(better_B, now, found)
  return found


def begins_to_pay(
  counts_L: Sequence[float] | np.ndarray,
  gain_LS: np.ndarray,
  *,
  least: float = 0.0,
  horizon: float = 10.0,
  level: float = 0.95,
  resamples: int = 500,
  seed: int = 0,
) -> Crossing:
  """The sample size from which on a gain is above `least`.

  Each bootstrap resample of the seeds has a mean curve. Within the samples it is
  interpolated linearly in log n; beyond them its power law speaks, which is an
  extrapolation and says so. Fewer than three sample sizes are not extrapolated.

  Args:
    counts_L: sample sizes, rising.
    gain_LS: gain at each, of each seed.
    least: what counts as paying.
    horizon: how far to extrapolate, in multiples of the largest sample.
    level: of the interval over resamples.
    resamples: of the seeds.
    seed: of the bootstrap.

  Raises:
    ValueError: shapes, or sample sizes that do not rise.
  """
  counts_L = np.asarray(counts_L, float)
  gain_LS = np.asarray(gain_LS, float)
  if gain_LS.ndim != 2 or len(gain_LS) != len(counts_L):
    raise ValueError(
      f'gain is [sample sizes, seeds], here {gain_LS.shape}, and there are '
      f'{len(counts_L)} sample sizes.'
    )
  if (np.diff(counts_L) <= 0).any() or counts_L[0] <= 0:
    raise ValueError(f'sample sizes must rise from above 0: {counts_L}.')
  S = gain_LS.shape[1]
  rng = np.random.default_rng(seed)
  drawn_BS = rng.multinomial(S, np.full(S, 1 / S), resamples) / S
  gain_BL = drawn_BS @ gain_LS.T
  end = horizon * counts_L[-1]
  at_B = _inside(counts_L, gain_BL, least)
  if len(counts_L) >= 3:
    outside_B = _outside(counts_L, gain_BL, least)
    at_B = np.where(np.isinf(at_B), outside_B, at_B)
  at_B = np.where(at_B > end, np.inf, at_B)
  share = float(np.isfinite(at_B).mean())
  tail = (1 - level) / 2
  low, count, high = np.quantile(at_B, [tail, 0.5, 1 - tail], method='nearest')
  if share < 0.5:
    kind, count = 'not seen', math.nan
  elif count > counts_L[-1]:
    kind = 'extrapolated'
  else:
    kind = 'always' if count <= counts_L[0] else 'measured'
  return Crossing(
    kind, float(count), float(low), float(high), share, float(end)
  )


def _inside(counts_L, gain_BL, least: float) -> np.ndarray:
  """Crossing of each curve by interpolation; inf if its end is below."""
  above_BL = gain_BL > least
  stays_BL = np.flip(np.logical_and.accumulate(np.flip(above_BL, 1), 1), 1)
  at_B = np.full(len(gain_BL), np.inf)
  for b in np.flatnonzero(stays_BL[:, -1]):
    first = int(np.argmax(stays_BL[b]))
    at_B[b] = counts_L[first]
    if first:
      (x0, x1), (y0, y1) = (
        np.log(counts_L[first - 1 : first + 1]),
        gain_BL[b, first - 1 : first + 1],
      )
      at_B[b] = math.exp(x0 + (least - y0) / (y1 - y0) * (x1 - x0))
  return at_B


def _outside(counts_L, gain_BL, least: float) -> np.ndarray:
  """Crossing of each power law beyond the largest sample; inf if never."""
  limit_B, scale_B, exponent_B = _fits(counts_L, gain_BL)
  with np.errstate(divide='ignore', invalid='ignore', over='ignore'):
    at_B = (scale_B / (limit_B - least)) ** (1 / exponent_B)
  rises_B = (limit_B > least) & (scale_B > 0) & np.isfinite(at_B)
  return np.where(rises_B, np.maximum(at_B, counts_L[-1]), np.inf)
