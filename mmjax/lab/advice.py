"""From the risks of all subsets to advice: which modalities are worth having.

The worth of a subset is how far it brings the risk down from that of the best
constant, v(S) = r(constant) - r(S), in nats or squared units of the target. It
adds up where modalities speak of different things, which accuracy does not.

  gain      v(all) - v(all but m): what m adds to the others
  Shapley   what m adds on average over all orders of adding modalities
  interaction of a pair   what the two are worth together beyond what each is
            worth alone, on average over the company (Grabisch and Roubens
            1999); below 0 they say the same, above 0 one needs the other
"""

import itertools
import math
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np
from scipy import stats

from mmjax.ops import scores

Subset = tuple[str, ...]


class Estimate(NamedTuple):
  """A mean with its interval, and the value of each seed."""

  mean: float
  low: float
  high: float
  values: tuple[float, ...]


class Modality(NamedTuple):
  """What one modality is worth at the largest sample."""

  alone: Estimate  # worth by itself
  gain: Estimate  # added to all others
  shapley: Estimate | None  # needs the whole lattice
  verdict: str  # 'needed', 'replaceable', 'useless', 'harmful', 'unclear'


class Pair(NamedTuple):
  interaction: Estimate
  verdict: str  # 'redundant', 'synergistic', 'independent', 'unclear'


class Advice(NamedTuple):
  """At the largest sample; `margin` is the least worth that counts."""

  worth: dict[Subset, Estimate]
  modalities: dict[str, Modality]
  pairs: dict[tuple[str, str], Pair]  # empty without the whole lattice
  best: Subset  # smallest that is not worse than the best by the margin
  margin: float
  explained: Estimate  # worth of the best
  informative: bool  # whether any subset beats a constant for sure


def advise(
  risks: Mapping[Subset, np.ndarray],
  constant: float,
  *,
  margin: float = 0.02,
  level: float = 0.95,
) -> Advice:
  """Judges modalities by the test risks of models of their subsets.

  Args:
    risks: for each subset f64[S], entry s of all from the same draw of rows; or
      better the losses f[S, N] of the test examples, so that intervals know
      that these are a sample as well.
    constant: risk of the best constant.
    margin: share of the best worth that counts as something.
    level: of all intervals; they are not corrected for their number.

  Raises:
    ValueError: the set of all modalities, or one of them alone, has no risk;
      seeds differ; a risk is not finite.
  """
  names, worth = _worth(risks, constant)
  means = {subset: float(v.mean()) for subset, v in worth.items()}
  top = max(means, key=lambda s: (means[s], -len(s)))
  explained = estimate(worth[top], level)
  # The best of many is above 0 by chance more often than one is.
  strict = estimate(worth[top], 1 - (1 - level) / len(worth))
  informative = not strict.low <= 0
  floor = margin * max(explained.mean, 0.0)
  whole = len(worth) == 2 ** len(names) - 1
  return Advice(
    worth={s: estimate(v, level) for s, v in worth.items()},
    modalities=_modalities(names, worth, whole, floor, level),
    pairs=_pairs(names, worth, floor, level) if whole else {},
    best=_smallest(worth, top, floor, level),
    margin=floor,
    explained=explained,
    informative=informative,
  )


def estimate(values: np.ndarray, level: float = 0.95) -> Estimate:
  """Mean and interval of f64[S], or of f64[S, N] for N test examples.

  The variance of the mean is that over seeds, of the seeds' means, over S, plus
  that over examples, of the examples' means, over N; Student's t with the
  degrees of freedom of Welch and Satterthwaite. One seed of one number has no
  interval: NaN.
  """
  values = np.asarray(values, np.float64)
  values = values[:, None] if values.ndim == 1 else values
  parts = [  # (variance of the mean, degrees of freedom)
    (float(x.var(ddof=1)) / len(x), len(x) - 1)
    for x in (values.mean(1), values.mean(0))
    if len(x) > 1
  ]
  mean, each = float(values.mean()), tuple(values.mean(1).tolist())
  if not parts:
    return Estimate(mean, math.nan, math.nan, each)
  total = sum(v for v, _ in parts)
  if not total > 0:
    return Estimate(mean, mean, mean, each)
  freedom = total**2 / sum(v**2 / f for v, f in parts)
  half = float(stats.t.ppf((1 + level) / 2, freedom)) * math.sqrt(total)
  return Estimate(mean, mean - half, mean + half, each)


def _worth(risks, constant: float):
  names = max(risks, key=len, default=())
  if not names or any((m,) not in risks for m in names):
    raise ValueError(
      'advise needs the risk of all modalities together and of each alone; it '
      f'has {", ".join("+".join(s) for s in risks) or "none"}.'
    )
  worth = {s: constant - np.asarray(r, np.float64) for s, r in risks.items()}
  shapes = {v.shape for v in worth.values()}
  if len(shapes) > 1 or len(next(iter(shapes))) not in (1, 2):
    raise ValueError(
      'risks are [seeds], or losses [seeds, examples], alike for all subsets, '
      f'not {sorted(shapes)}.'
    )
  bad = ['+'.join(s) for s, v in worth.items() if not np.isfinite(v).all()]
  if bad or not math.isfinite(constant):
    raise ValueError(f'A risk is not finite: {", ".join(bad) or "constant"}.')
  return names, worth


def _modalities(names, worth, whole: bool, floor: float, level: float):
  found = {}
  shares = _linear(worth, scores.shapley) if whole else {}
  for m in names:
    rest = tuple(n for n in names if n != m)
    alone = np.zeros_like(worth[names]) if not rest else worth.get(rest)
    nothing = np.full(1, np.nan)
    gain = estimate(nothing if alone is None else worth[names] - alone, level)
    shapley = estimate(shares[m], level) if whole else None
    verdict = _verdict(gain, shapley, floor)
    found[m] = Modality(estimate(worth[(m,)], level), gain, shapley, verdict)
  return found


def _linear(worth, of: Callable[[dict], Mapping]) -> dict[Any, np.ndarray]:
  """What is linear in the worths of subsets, of every seed and example.

  `of` is asked for its coefficients once, by the worths 1 of one subset and 0
  of the others.
  """
  total: dict[Any, Any] = {}
  for subset, v in worth.items():
    unit = {s: float(s == subset) for s in ((), *worth)}
    for name, weight in of(unit).items():
      total[name] = total.get(name, 0.0) + weight * v
  return total


def _verdict(gain: Estimate, shapley: Estimate | None, floor: float) -> str:
  if gain.high < -floor:
    return 'harmful'
  if gain.low > floor:
    return 'needed'
  if shapley is not None and shapley.high < floor:
    return 'useless'
  if gain.high < floor and shapley is not None and shapley.low > floor:
    return 'replaceable'
  return 'unclear'


def _pairs(names, worth, floor: float, level: float):
  pairs = list(itertools.combinations(names, 2))
  index = _linear(worth, lambda v: {p: interaction(v, *p) for p in pairs})
  found = {pair: estimate(index[pair], level) for pair in pairs}
  return {pair: Pair(e, _pair_verdict(e, floor)) for pair, e in found.items()}


def _pair_verdict(index: Estimate, floor: float) -> str:
  if index.high < -floor:
    return 'redundant'
  if index.low > floor:
    return 'synergistic'
  if -floor < index.low and index.high < floor:
    return 'independent'
  return 'unclear'


def interaction(value: Mapping[scores.Subset, float], a: str, b: str) -> float:
  """The Shapley interaction index of a pair (Grabisch and Roubens 1999, eq. 5).

  sum over S without a, b of |S|! (M-|S|-2)! / (M-1)! times
  v(S + a + b) - v(S + a) - v(S + b) + v(S).
  """
  at = {frozenset(s): v for s, v in value.items()}
  names = frozenset().union(*at)
  M, total = len(names), 0.0
  rest = sorted(names - {a, b})
  for k in range(len(rest) + 1):
    weight = math.factorial(k) * math.factorial(M - k - 2)
    for company in itertools.combinations(rest, k):
      S = frozenset(company)
      total += weight * (at[S | {a, b}] - at[S | {a}] - at[S | {b}] + at[S])
  return total / math.factorial(M - 1)


def _smallest(worth, top: Subset, floor: float, level: float) -> Subset:
  """The smallest subset that is not worse than the best by more than floor.

  One seed has no interval; its mean decides.
  """
  for subset in sorted(worth, key=lambda s: (len(s), -worth[s].mean())):
    behind = estimate(worth[top] - worth[subset], level)
    upper = behind.mean if math.isnan(behind.high) else behind.high
    if upper <= floor:
      return subset
  return top


def sentences(
  advice: Advice, unit: str, pays: Mapping[str, Any], count: int
) -> tuple[str, str]:
  """The recommendation: what to use, and what more data would change.

  Args:
    advice: from `advise`.
    unit: of the risk, 'nats'.
    pays: for each modality a `curves.Crossing` of its gain.
    count: the largest sample.
  """
  if not advice.informative:
    return (
      f'With {count:,} examples no subset of the modalities predicts the target '
      f'better than a constant does ({_range(advice.explained, unit)}).',
      'Nothing can be said about their worth: more examples or other features '
      'are needed first.',
    )
  names = tuple(advice.modalities)
  left = [m for m in names if m not in advice.best]
  first = f'With {count:,} examples use {_and(advice.best)}'
  if left:
    told = '; '.join(
      f'adding {m} to all others changes the risk by '
      f'{_range(_negative(advice.modalities[m].gain), unit)}'
      for m in left
    )
    first += f': {told}.'
  elif len(names) > 1:
    weakest = min(names, key=lambda m: advice.modalities[m].gain.mean)
    first += (
      f': even the least of them, {weakest}, lowers the risk by '
      f'{_range(advice.modalities[weakest].gain, unit)}.'
    )
  else:
    first += '.'
  return first, _about_data(left or names, pays, count)


def _about_data(names, pays, count: int) -> str:
  parts = []
  for m in names:
    c = pays.get(m)
    if c is None:
      continue
    high = (
      'more than ' + f'{c.horizon:,.0f}'
      if math.isinf(c.high)
      else f'{c.high:,.0f}'
    )
    if c.kind == 'always':
      parts.append(f'{m} pays from the smallest sample on')
    elif c.kind == 'measured':
      parts.append(
        f'{m} begins to pay at about {c.count:,.0f} examples '
        f'(95 % interval {c.low:,.0f} to {high})'
      )
    elif c.kind == 'extrapolated':
      parts.append(
        f'{m} would begin to pay at about {c.count:,.0f} examples, which is an '
        f'extrapolation (95 % interval {c.low:,.0f} to {high})'
      )
    else:
      parts.append(
        f'{m} is not seen to pay up to {c.horizon:,.0f} examples, '
        f'{c.horizon / count:.0f} times what was tried ({100 * c.share:.0f} % of '
        'resamples say otherwise)'
      )
  return ('; '.join(parts) or 'One sample size says nothing about others') + '.'


def _negative(e: Estimate) -> Estimate:
  return Estimate(-e.mean, -e.high, -e.low, tuple(-v for v in e.values))


def _range(e: Estimate, unit: str) -> str:
  if math.isnan(e.low):
    return f'{e.mean:.3g} {unit} (one seed, no interval)'
  return f'{e.mean:.3g} {unit} (95 % interval {e.low:.3g} to {e.high:.3g})'


def _and(names) -> str:
  *most, last = names
  return f'{", ".join(most)} and {last}' if most else f'{last} alone'
