"""eta, gamma, crossings and verdicts where the right answer is a formula."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mmjax.lab import advice, curves, quality

seeds = st.integers(0, 2**31 - 1)


def discrete(seed, count=240, values=4, classes=3):
  """One-hot features of a variable, labels drawn given it, and H(y | x)."""
  rng = np.random.default_rng(seed)
  x_N = rng.integers(0, values, count)
  chance = rng.dirichlet(np.ones(classes), values)
  y_N = np.array([rng.choice(classes, p=chance[x]) for x in x_N])
  entropy = 0.0
  for x in range(values):
    rate = np.bincount(y_N[x_N == x], minlength=classes) / max(
      (x_N == x).sum(), 1
    )
    rate = rate[rate > 0]
    entropy -= (x_N == x).mean() * (rate * np.log(rate)).sum()
  return np.eye(values)[x_N], y_N, entropy


@settings(max_examples=15)
@given(seeds)
def test_eta_is_not_negative_against_an_exact_oracle(seed):
  """No head beats the conditional entropy of the very sample."""
  z_ND, y_N, entropy = discrete(seed)
  for folds, l2 in ((0, (1e-6,)), (4, quality.L2)):
    found = quality.eta(
      z_ND, y_N, oracle=entropy, num_classes=3, folds=folds, l2=l2
    )
    assert found.value >= -1e-6 and found.is_oracle_known
    if not folds:
      assert found.value < 1e-3  # one-hot features hold all there is to know
  poor = quality.eta(z_ND[:, :1], y_N, oracle=entropy, num_classes=3, folds=0)
  assert poor.value >= -1e-6


def test_an_oracle_that_is_none_is_found_out():
  z_ND, y_N, entropy = discrete(0)
  with pytest.raises(ValueError, match='the oracle was not one'):
    quality.eta(z_ND, y_N, oracle=entropy + 0.5, num_classes=3)
  losses = {'good': np.zeros(50), 'bad': np.ones(50)}
  made = quality.etas(losses)
  assert made['good'].value == 0 and made['bad'].value == 1
  assert not made['good'].is_oracle_known
  with pytest.raises(ValueError, match='good: the best head has risk 0'):
    quality.etas(losses, oracle=0.5)


@settings(max_examples=25)
@given(seeds, st.integers(1, 4))
def test_gamma_is_antisymmetric(seed, count):
  rng = np.random.default_rng(seed)
  names = [f'{side}{i}' for side in 'MN' for i in range(count)]
  made = quality.etas({n: rng.gamma(1.0, size=30) for n in names})
  of_M = [made[n] for n in names[:count]]
  of_N = [made[n] for n in names[count:]]
  a = quality.gamma(of_M, of_N, resamples=200)
  b = quality.gamma(of_N, of_M, resamples=200)
  assert a.value == pytest.approx(-b.value) and a.gain == pytest.approx(
    -a.value
  )
  assert (a.low, a.high) == pytest.approx((-b.high, -b.low))
  assert a.low <= a.value + 1e-9 and a.value - 1e-9 <= a.high
  same = quality.gamma(of_M, of_M)
  assert (same.value, same.low, same.high) == (0, 0, 0)


@settings(max_examples=10)
@given(seeds)
def test_invertible_maps_of_features_change_nothing(seed):
  rng = np.random.default_rng(seed)
  z_ND = rng.normal(size=(60, 5))
  map_DD = np.linalg.qr(rng.normal(size=(5, 5)))[0] * rng.uniform(0.1, 10, 5)
  y_N = rng.integers(0, 3, 60)
  for target, classes in ((y_N, 3), (rng.normal(size=60), 0)):
    a, b = (
      quality.best_head_losses(z, target, num_classes=classes, folds=3)
      for z in (z_ND, z_ND @ map_DD + 3)
    )
    np.testing.assert_allclose(a, b, rtol=2e-3, atol=2e-3)


def test_the_best_head_for_numbers_is_least_squares():
  rng = np.random.default_rng(0)
  z_ND, y_N = rng.normal(size=(80, 4)), rng.normal(size=80)
  design = np.c_[z_ND, np.ones(80)]
  weight = np.linalg.lstsq(design, y_N, rcond=None)[0]
  found = quality.best_head_losses(
    z_ND, y_N, num_classes=0, folds=0, l2=(1e-12,)
  )
  np.testing.assert_allclose(found, (y_N - design @ weight) ** 2, atol=1e-9)


def test_what_cannot_be_measured_is_said():
  rng = np.random.default_rng(0)
  z_ND, y_N = rng.normal(size=(60, 4)), rng.integers(0, 2, 60)
  with pytest.raises(
    ValueError, match='did not converge: after 1 of at most 1'
  ):
    quality.best_head_losses(z_ND, y_N, num_classes=2, max_steps=1)
  with pytest.raises(ValueError, match='Degenerate covariance'):
    quality.best_head_losses(np.ones((60, 4)), y_N, num_classes=2)
  with pytest.raises(ValueError, match='NaN'):
    quality.best_head_losses(z_ND * np.nan, y_N, num_classes=2)


# Learning curves

COUNTS = (10, 40, 160, 640)


@settings(max_examples=20)
@given(st.floats(0.1, 1.0), st.floats(0.5, 3.0), st.sampled_from([12, 30, 60]))
def test_a_power_law_is_found_again(limit, scale, index):
  law = curves.PowerLaw(limit, scale, float(curves.EXPONENTS[index // 2]))
  found = curves.power_law(COUNTS, law(np.array(COUNTS)))
  assert found == pytest.approx(law, rel=1e-5)


@pytest.mark.parametrize(
  'at, kind',
  [
    (5, 'always'),
    (100, 'measured'),
    (2000, 'extrapolated'),
    (90_000, 'not seen'),
  ],
)
def test_where_a_gain_begins_to_pay(at, kind):
  gain_L = 0.5 - 0.5 * (np.array(COUNTS) / at) ** -0.5
  noise = 0.002 * np.random.default_rng(0).normal(size=(len(COUNTS), 8))
  found = curves.begins_to_pay(COUNTS, gain_L[:, None] + noise)
  assert found.kind == kind
  if kind == 'not seen':
    assert math.isnan(found.count) and found.share < 0.5
  if kind in ('measured', 'extrapolated'):
    assert found.count == pytest.approx(at, rel=0.2)
  tens = curves.begins_to_pay(
    tuple(10 * c for c in COUNTS), gain_L[:, None] + noise
  )
  assert tens.kind == kind
  if kind != 'not seen':
    assert tens.count == pytest.approx(10 * found.count, rel=1e-6)


# Advice


def game(names, worth, noise=0.001, seeds=6):
  """Risks of all subsets of a world with these worths, by seed."""
  rng = np.random.default_rng(0)
  found = {}
  for bits in range(1, 2 ** len(names)):
    subset = tuple(n for i, n in enumerate(names) if bits >> i & 1)
    found[subset] = 1 - worth(set(subset)) + noise * rng.normal(size=seeds)
  return found


def test_verdicts_on_worlds_whose_answer_is_known():
  def worth(s):
    total = 0.3 * ('own' in s) + 0.2 * bool({'a', 'copy'} & s)
    return total + 0.2 * ({'x', 'or'} <= s)

  names = ('own', 'a', 'copy', 'x', 'or', 'noise')
  found = advice.advise(game(names, worth), 1.0)
  verdicts = {m: one.verdict for m, one in found.modalities.items()}
  assert verdicts == dict(
    own='needed',
    a='replaceable',
    copy='replaceable',
    x='needed',
    noise='useless',
    **{'or': 'needed'},
  )
  told = {p: one.verdict for p, one in found.pairs.items()}
  assert told.pop(('a', 'copy')) == 'redundant'
  assert told.pop(('x', 'or')) == 'synergistic'
  assert set(told.values()) == {'independent'}
  assert set(found.best) in (
    {'own', 'a', 'x', 'or'},
    {'own', 'copy', 'x', 'or'},
  )
  assert found.informative


def test_harm_and_nothing_are_told_apart():
  found = advice.advise(
    game(('good', 'bad'), lambda s: 0.5 - 0.2 * ('bad' in s)), 1
  )
  assert found.modalities['bad'].verdict == 'harmful'
  assert found.best == ('good',)
  nothing = advice.advise(game(('a', 'b'), lambda _: 0.0), 1.0)
  assert not nothing.informative
  told = advice.sentences(nothing, 'nats', {}, 100)
  assert 'no subset' in told[0]


@settings(max_examples=20)
@given(st.lists(st.floats(-1, 1), min_size=4, max_size=4))
def test_additive_games_have_no_interaction(weights):
  names = ('a', 'b', 'c', 'd')
  own = dict(zip(names, weights))
  risks = game(names, lambda s: sum(own[m] for m in s), noise=0.0, seeds=2)
  found = advice.advise(risks, 1.0)
  for m in names:
    assert found.modalities[m].shapley.mean == pytest.approx(own[m], abs=1e-9)
  assert all(abs(p.interaction.mean) < 1e-9 for p in found.pairs.values())


def test_intervals_count_seeds_and_examples():
  rng = np.random.default_rng(0)
  inside, trials, S, N = 0, 300, 5, 40
  for _ in range(trials):
    v_SN = rng.normal(size=(S, 1)) + 2 * rng.normal(size=(1, N))
    made = advice.estimate(v_SN + rng.normal(size=(S, N)))
    inside += made.low < 0 < made.high
  assert 0.93 <= inside / trials  # at least as wide as it claims
  alone = advice.estimate(rng.normal(size=(1, N)))
  assert alone.low < alone.mean < alone.high
  assert math.isnan(advice.estimate(np.ones(1)).low)


def test_sentences_read_well_for_every_kind():
  found = advice.advise(game(('a', 'b'), lambda s: 0.4 * ('a' in s)), 1.0)
  kinds = [
    curves.Crossing('always', 10, 10, 12, 1.0, 1000),
    curves.Crossing('measured', 50, 40, math.inf, 0.99, 1000),
    curves.Crossing('extrapolated', 400, 200, 900, 0.9, 1000),
    curves.Crossing('not seen', math.nan, 800, math.inf, 0.1, 1000),
  ]
  for kind in kinds:
    told = ' '.join(advice.sentences(found, 'nats', {'b': kind}, 100))
    assert 'nan' not in told and 'inf' not in told.replace('inform', '')
    assert told.startswith('With 100 examples use a alone')
    assert ('extrapolation' in told) == (kind.kind == 'extrapolated')
