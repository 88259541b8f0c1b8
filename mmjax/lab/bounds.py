"""Both sides of the inequalities on why more modalities help, in float64.

Huang et al., "What makes multi-modal learning better than single (provably)",
NeurIPS 2021, https://arxiv.org/abs/2106.04538. M and N are sets of modalities,
F_M = H o G_M the composed class, h_M o g_M its empirical risk minimiser on
`num_examples` examples, eta(g) = inf_h r(h o g) - r(h* o g*) the quality of an
encoder (0 is best), R_m the Rademacher complexity.

The loss is L-Lipschitz in the outputs and never above C in size; the sample has
m examples; delta, in (0, 1), is the probability that a bound may fail. Every
argument may be an array, such as a curve over sample sizes.

R_m is an expectation over samples, with one sign per output and without a
factor: the published constants allow 2 L R_m(F) + C / sqrt(m) for R_m(loss o F),
which covers Talagrand's L R_m(F) for one output and Maurer's sqrt(2) L R_m(F)
for several. The complexity of the one sample at hand is an estimate of it.
"""

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

Numbers = float | np.ndarray

SIGNED = (
  *('risk_M', 'risk_N', 'gamma', 'eta_M', 'centred_empirical_loss'),
  *('empirical_M', 'empirical_N'),
)  # the arguments that may be below 0


class Sides(NamedTuple):
  """An inequality left <= right, for one case or for n."""

  left: Numbers  # float or f64[n]
  right: Numbers
  terms: dict[str, Numbers]  # the summands of the right side

  @property
  def holds(self) -> bool | np.ndarray:
    """Whether left <= right, element by element."""
    held = np.less_equal(self.left, self.right)
    return bool(held) if held.ndim == 0 else held

  @property
  def slack(self) -> Numbers:
    """right - left: how much room the inequality leaves."""
    return self.right - self.left


class Choice(Sides):
  """Price on the left, gain on the right: what `principle` weighs."""

  __slots__ = ()

  @property
  def prefer(self) -> bool | np.ndarray:
    """Whether to prefer M, the larger set."""
    return self.holds


def theorem1(
  risk_M: ArrayLike,
  risk_N: ArrayLike,
  gamma: ArrayLike,
  complexity: ArrayLike,
  *,
  lipschitz: ArrayLike,
  bound: ArrayLike,
  num_examples: ArrayLike,
  delta: ArrayLike,
) -> Sides:
  """Theorem 1: how much worse M can be than its subset N.

  r(h_M o g_M) - r(h_N o g_N) <= gamma + 8 L R_m(F_M) + 4 C / sqrt(m)
    + 2 C sqrt(2 ln(2 / delta) / m)

  with probability of at least 1 - delta / 2 over the sample.

  Args:
    risk_M: population risk of the model that was learnt on M.
    risk_N: the same on N.
    gamma: eta(g_M) - eta(g_N) of the learnt encoders; negative where M helps.
    complexity: R_m(F_M), or a bound on it.
    lipschitz, bound, num_examples, delta: L, C, m, delta.

  Raises:
    ValueError: a value is out of its range or not finite, or shapes disagree.
  """
  r_M, r_N, gamma, R, L, C, m, delta = _read(
    risk_M=risk_M,
    risk_N=risk_N,
    gamma=gamma,
    complexity=complexity,
    lipschitz=lipschitz,
    bound=bound,
    num_examples=num_examples,
    delta=delta,
  )
  terms = {
    'gamma': gamma,
    'complexity': 8 * L * R,
    'offset': 4 * C / np.sqrt(m),  # of the loss at output 0, in the contraction
    'confidence': 2 * C * np.sqrt(2 * np.log(2 / delta) / m),
  }
  return Sides(*_sides(r_M - r_N, terms))


def theorem2(
  eta_M: ArrayLike,
  complexity_M: ArrayLike,
  complexity_all: ArrayLike,
  centred_empirical_loss: ArrayLike,
  *,
  lipschitz: ArrayLike,
  bound: ArrayLike,
  num_examples: ArrayLike,
  delta: ArrayLike,
) -> Sides:
  """Theorem 2: the quality of the encoder that was learnt on M.

  eta(g_M) <= 4 L R_m(F_M) + 4 L R_m(F) + 6 C sqrt(2 ln(2 / delta) / m)
    + Lhat(h_M o g_M, S)

  with probability of at least 1 - delta over the sample S. The published text
  prints the complexity term twice, once without L; this is the intended form
  (methods.md 6.2).

  Args:
    eta_M: population quality of the learnt encoder.
    complexity_M: R_m(F_M), or a bound on it.
    complexity_all: the same with all modalities.
    centred_empirical_loss: Lhat, the empirical risk of the learnt model minus
      that of the oracle h* o g* on the same sample; it may be negative.
    lipschitz, bound, num_examples, delta: L, C, m, delta.

  Raises:
    ValueError: a value is out of its range or not finite, or shapes disagree.
  """
  eta, R_M, R, centred, L, C, m, delta = _read(
    eta_M=eta_M,
    complexity_M=complexity_M,
    complexity_all=complexity_all,
    centred_empirical_loss=centred_empirical_loss,
    lipschitz=lipschitz,
    bound=bound,
    num_examples=num_examples,
    delta=delta,
  )
  terms = {
    'complexity_M': 4 * L * R_M,
    'complexity_all': 4 * L * R,
    'confidence': 6 * C * np.sqrt(2 * np.log(2 / delta) / m),
    'centred_empirical_loss': centred,
  }
  return Sides(*_sides(eta, terms))


def principle(
  empirical_M: ArrayLike,
  empirical_N: ArrayLike,
  capacity_M: ArrayLike,
  capacity_N: ArrayLike,
  num_examples: ArrayLike,
) -> Choice:
  """The selection principle: is M worth its price over its subset N?

  Prefer M where sqrt(C_M / m) - sqrt(C_N / m) <= L_N - L_M, the price in
  capacity against the gain in empirical risk of the learnt models; `capacity`
  gives C_M = C(F_M) and C_N.

  Raises:
    ValueError: a value is out of its range or not finite, or shapes disagree.
  """
  L_M, L_N, C_M, C_N, m = _read(
    empirical_M=empirical_M,
    empirical_N=empirical_N,
    capacity_M=capacity_M,
    capacity_N=capacity_N,
    num_examples=num_examples,
  )
  price = np.sqrt(C_M / m) - np.sqrt(C_N / m)
  return Choice(*_sides(price, {'empirical_N': L_N, 'empirical_M': -L_M}))


def capacity(complexity: ArrayLike, num_examples: ArrayLike) -> Numbers:
  """m R^2, the C for which sqrt(C / m) is the Rademacher complexity R."""
  R, m = _read(complexity=complexity, num_examples=num_examples)
  return _plain(m * np.square(R))


def crossing(num_examples: ArrayLike, sides: Sides) -> float | None:
  """The sample size from which on an inequality holds, None if it never does.

  It must hold at all larger sizes given, too. `num_examples` increases and has
  one size for each element of `sides`; between two of them the slack is taken
  as linear in the logarithm of the size.

  Raises:
    ValueError: the sizes do not increase, their number is not that of `sides`,
      or a side is not finite.
  """
  m = _finite('num_examples', num_examples)
  slack = _finite('slack', sides.slack)
  if m.ndim != 1 or m.shape != slack.shape or not len(m):
    raise ValueError(
      f'crossing has num_examples of shape {m.shape} for sides of shape '
      f'{slack.shape}; give a list of sizes, one for each element.'
    )
  if m[0] < 1 or (np.diff(m) <= 0).any():
    raise ValueError(f'num_examples={m} must increase, from 1 or more: sort.')
  failed = np.flatnonzero(slack < 0)
  if not len(failed):
    return float(m[0])
  last = failed[-1]
  if last == len(m) - 1:
    return None
  share = slack[last] / (slack[last] - slack[last + 1])
  low, high = math.log(m[last]), math.log(m[last + 1])
  return math.exp(low + share * (high - low))


def _read(**values: ArrayLike) -> list[np.ndarray]:
  """The values as float64 of one shape, each within its range."""
  arrays = [_finite(name, value) for name, value in values.items()]
  for name, array in zip(values, arrays):
    least = int(name == 'num_examples')
    if name not in SIGNED and not (array >= least).all():
      raise ValueError(f'{name}={array} must be {least} or more.')
    if name == 'delta' and not ((array > 0) & (array < 1)).all():
      raise ValueError(f'delta={array} must be in (0, 1), such as 0.05.')
  try:
    return list(np.broadcast_arrays(*arrays))
  except ValueError as error:
    shapes = {name: a.shape for name, a in zip(values, arrays) if a.shape}
    raise ValueError(
      f'shapes {shapes} differ; give numbers, or arrays of one shape.'
    ) from error


def _finite(name: str, value: ArrayLike) -> np.ndarray:
  try:
    array = np.asarray(value, np.float64)
  except (TypeError, ValueError) as error:
    raise ValueError(
      f'{name}={value!r} must hold numbers; of a Complexity give the value.'
    ) from error
  if not np.isfinite(array).all():
    raise ValueError(f'{name}={array} must be finite.')
  return array


def _sides(left: np.ndarray, terms: dict[str, np.ndarray]):
  right = np.sum(list(terms.values()), axis=0)
  plain = {name: _plain(value) for name, value in terms.items()}
  return _plain(left), _plain(right), plain


def _plain(value: np.ndarray) -> Numbers:
  return float(value) if np.ndim(value) == 0 else np.array(value)
