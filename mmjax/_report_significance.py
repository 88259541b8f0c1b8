"""What differences between runs are worth: tests over seeds."""

import math
import warnings
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from mmjax import _report_runs as runs
from mmjax._report_doubts import state
from mmjax._report_groups import Group


class Verdict(NamedTuple):
  """Tests of the runs of one data set against one of them."""

  reference: str  # '' if there is none
  p: dict[str, float] = {}  # corrected, by run; NaN where nothing can be said
  unpaired: tuple[str, ...] = ()  # runs of other seeds
  why: str = ''  # there is no reference


def verdicts(
  found: Sequence[Group], metric: str, against: str
) -> tuple[list[Verdict], int]:
  """Tests the fused measure of each run against one run of its data set.

  Two-sided t-tests over seeds: paired where both runs used the same seeds,
  Welch's otherwise. Holm's correction over all comparisons, of all data sets.
  The best run is chosen by the numbers that are then tested, which makes p
  against it a little too small; a reference that is named beforehand does not.

  Args:
    found: the data sets.
    metric: which measure.
    against: 'best', 'first', or a run's name or folder.

  Returns:
    One verdict per data set, and the number of comparisons corrected for.

  Raises:
    ValueError: no data set has the run `against`.
  """
  raw = [_verdict(group, metric, against) for group in found]
  if against not in ('best', 'first') and not any(v.reference for v in raw):
    if not any(_named(group, against) for group in found):
      names = dict.fromkeys(run.name for group in found for run in group.runs)
      raise ValueError(
        f'--against={against}: no run is called so. Take best, first, or one '
        f'of {", ".join(names)}.'
      )
  flat = [p for verdict in raw for p in verdict.p.values()]
  fixed = iter(corrected(flat))
  done = [v._replace(p={name: next(fixed) for name in v.p}) for v in raw]
  return done, sum(math.isfinite(p) for p in flat)


def _verdict(group: Group, metric: str, against: str) -> Verdict:
  done = [run for run in group.runs if not state(run, metric)]
  if not done:
    return Verdict('', why='no run has results')
  if against == 'best':
    sign = -1 if metric == 'ece' else 1
    base = max(done, key=lambda run: sign * fused(run, metric).mean())
  else:
    named = _named(group, against)
    if not named:
      return Verdict('', why=f'there is no run {against} on these data')
    base = named[0]
    if state(base, metric):
      return Verdict('', why=f'{base.name}: {state(base, metric)}')
  p, unpaired = {}, []
  for run in done:
    x_S, y_S = fused(run, metric), fused(base, metric)
    if run is base or min(len(x_S), len(y_S)) < 2:
      continue
    pair = same_seeds(run, base)
    p[run.name] = p_value(x_S, y_S, pair)
    if not pair:
      unpaired.append(run.name)
  return Verdict(base.name, p, tuple(unpaired))


def _named(group: Group, against: str) -> list[runs.Run]:
  if against == 'first':
    return group.runs[:1]
  ways = (lambda run: run.name, lambda run: run.path.resolve().name)
  return [run for way in ways for run in group.runs if way(run) == against]


def fused(run: runs.Run, metric: str) -> np.ndarray:
  """Returns f64[S]."""
  return runs.values(run.test.get('joint', {}).get(metric))


def same_seeds(a: runs.Run, b: runs.Run) -> bool:
  """Whether the models of two runs are pairs."""
  facts = [
    (run.seeds, run.config.get('order_seed'), run.num_seeds) for run in (a, b)
  ]
  return bool(a.seeds) and facts[0] == facts[1]


def p_value(x_S: np.ndarray, y_S: np.ndarray, paired: bool) -> float:
  """Returns p of a two-sided t-test over seeds; NaN without any spread."""
  from scipy import stats

  if np.array_equal(x_S, y_S):
    return 1.0
  if (np.ptp(x_S - y_S) if paired else np.ptp(x_S) + np.ptp(y_S)) < 1e-12:
    return np.nan
  with warnings.catch_warnings():
    warnings.simplefilter('ignore')  # of precision lost where spread is small
    if paired:
      found: Any = stats.ttest_rel(x_S, y_S)
    else:
      found = stats.ttest_ind(x_S, y_S, equal_var=False)
  return float(found.pvalue)


def corrected(p: Sequence[float]) -> list[float]:
  """Holm's step-down correction; NaN stays and does not count."""
  from statsmodels.stats import multitest

  out = np.array(p, float)
  known = np.isfinite(out)
  if known.any():
    out[known] = multitest.multipletests(out[known], method='holm')[1]
  return out.tolist()


def p_text(p: float) -> str:
  if math.isnan(p):
    return '–'
  return '<0.001' if p < 0.001 else f'{p:.3f}'
