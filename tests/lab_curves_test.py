"""Where a gain begins, on curves whose crossing is known."""

import math

import hypothesis
import hypothesis.strategies as st
import numpy as np
import pytest

from mmjax.lab import curves

few = hypothesis.settings(max_examples=30)
COUNTS = np.array([10.0, 30, 100, 300, 1000])
L = len(COUNTS)
exponents = st.sampled_from(range(len(curves.EXPONENTS)))


def law_through(crossing, exponent, limit=1.0):
  """The power law that is 0 at the crossing."""
  return curves.PowerLaw(limit, limit * crossing**exponent, exponent)


def log_line(crossing, slope=0.2):
  return slope * np.log(COUNTS / crossing)


# The power law.


@few
@hypothesis.given(exponents, st.floats(-2, 2), st.floats(0.1, 5))
def test_a_power_law_is_found_again(which, limit, scale):
  truth = curves.PowerLaw(limit, scale, float(curves.EXPONENTS[which]))
  found = curves.power_law(COUNTS, truth(COUNTS))
  np.testing.assert_allclose(found, truth, rtol=1e-6, atol=1e-9)
  assert truth(np.array([1, 4]))[0] == pytest.approx(limit - scale)
  falling = curves.power_law(COUNTS, -truth(COUNTS))
  np.testing.assert_allclose(
    falling, (-limit, -scale, truth.exponent), rtol=1e-6, atol=1e-9
  )


@pytest.mark.parametrize('exponent', [0.15, 0.37, 0.5, 1.0, 1.7])
def test_exponents_between_those_of_the_grid_are_near(exponent):
  truth = curves.PowerLaw(0.8, 2.0, exponent)
  found = curves.power_law(COUNTS, truth(COUNTS))
  assert found.exponent == pytest.approx(exponent, rel=0.05)
  ahead = np.array([3e3, 1e4])
  np.testing.assert_allclose(found(ahead), truth(ahead), atol=0.02)


def test_the_exponent_is_that_of_least_squared_error():
  rng = np.random.default_rng(0)
  gain_L = curves.PowerLaw(1, 3, 0.5)(COUNTS) + 0.05 * rng.normal(size=L)
  found = curves.power_law(COUNTS, gain_L)
  least = np.square(found(COUNTS) - gain_L).sum()
  for exponent in curves.EXPONENTS:
    basis_L2 = np.stack([np.ones(L), COUNTS**-exponent], 1)
    solved, *_ = np.linalg.lstsq(basis_L2, gain_L)
    assert least <= np.square(basis_L2 @ solved - gain_L).sum() + 1e-12


def test_two_sizes_are_no_curve():
  with pytest.raises(ValueError, match='2 sample sizes.*three fractions'):
    curves.power_law([10, 20], np.array([0.1, 0.2]))


# Without noise.


def test_a_gain_from_the_first_sample_on_is_always():
  gain_LS = np.linspace(0.3, 0.5, L)[:, None] + np.zeros(4)
  found = curves.begins_to_pay(COUNTS, gain_LS)
  assert found == ('always', 10, 10, 10, 1, 10_000)


@few
@hypothesis.given(st.floats(11, 990), st.floats(-1, 1), st.floats(1.5, 50))
def test_a_crossing_within_the_samples_is_interpolated(at, least, horizon):
  """In log n: exactly, where the gain is a line in log n."""
  gain_LS = least + log_line(at)[:, None] + np.zeros(3)
  found = curves.begins_to_pay(COUNTS, gain_LS, least=least, horizon=horizon)
  assert found.kind == 'measured' and found.share == 1
  np.testing.assert_allclose((found.count, found.low, found.high), at)
  assert found.horizon == horizon * 1000


@few
@hypothesis.given(exponents, st.floats(1100, 9500))
def test_a_crossing_beyond_the_samples_is_extrapolated(which, at):
  law = law_through(at, float(curves.EXPONENTS[which]))
  gain_LS = law(COUNTS)[:, None] + np.zeros(3)
  found = curves.begins_to_pay(COUNTS, gain_LS)
  assert found.kind == 'extrapolated' and found.share == 1
  got = (found.count, found.low, found.high)
  np.testing.assert_allclose(got, at, rtol=1e-4)
  # And is not, where the horizon ends before it.
  near = curves.begins_to_pay(COUNTS, gain_LS, horizon=0.99 * at / 1000)
  assert near.kind == 'not seen' and near.share == 0
  assert math.isnan(near.count) and near.high == math.inf


@pytest.mark.parametrize(
  'gain_L',
  [
    np.zeros(L),
    np.full(L, -0.2),
    curves.PowerLaw(-0.1, 2.0, 0.5)(COUNTS),  # rises to below 0
    -log_line(5.0),  # pays less and less
    curves.PowerLaw(0.2, -3.0, 0.5)(COUNTS) - 0.4,  # began above, and fell
  ],
)
def test_a_gain_that_does_not_come_is_not_seen(gain_L):
  found = curves.begins_to_pay(COUNTS, gain_L[:, None] + np.zeros(3))
  assert found.kind == 'not seen' and found.share == 0
  assert math.isnan(found.count) and found.high == math.inf


def test_it_is_the_last_rise_that_counts():
  gain_L = np.array([0.2, -0.1, 0.1, -0.1, 0.3])
  found = curves.begins_to_pay(COUNTS, gain_L[:, None])
  assert found.kind == 'measured'
  want = 300 * (1000 / 300) ** 0.25
  assert found.count == pytest.approx(want)


def test_fewer_than_three_sizes_are_not_extrapolated():
  rising_LS = np.array([[-0.4], [-0.1]])
  assert curves.begins_to_pay([10, 100], rising_LS).kind == 'not seen'
  measured = curves.begins_to_pay([10, 1000], np.array([[-0.1], [0.1]]))
  assert measured.kind == 'measured' and measured.count == pytest.approx(100)
  assert curves.begins_to_pay([10], np.array([[0.1]])).kind == 'always'
  assert curves.begins_to_pay([10], np.array([[-0.1]])).kind == 'not seen'


def test_what_is_below_at_the_largest_sample_is_not_measured():
  """However much of the curve before it lies above."""
  gain_LS = np.array([[-1.0], [0.5], [0.8], [-0.01]])
  found = curves.begins_to_pay([10, 20, 40, 80], gain_LS)
  assert found.kind in ('extrapolated', 'not seen')


def test_half_of_the_resamples_are_no_count_without_end():
  """Two of four resamples cross: then there is a number, or it is not seen."""
  gain_LS = np.array([[-1.0, -1.0], [0.5, -0.51]])
  shares = set()
  for seed in range(40):
    found = curves.begins_to_pay([10, 20], gain_LS, resamples=4, seed=seed)
    shares.add(found.share)
    assert (found.kind == 'not seen') == math.isnan(found.count)
    assert not math.isinf(found.count)
  assert 0.5 in shares


# With noise.


def noisy(gain_L, rng, S=8, noise=0.1):
  return gain_L[:, None] + noise * rng.normal(size=(L, S))


@pytest.mark.parametrize(
  'kind, at, gain_L',
  [
    ('measured', 170.0, log_line(170.0)),
    ('extrapolated', 2000.0, law_through(2000.0, 0.5, limit=0.5)(COUNTS)),
  ],
)
def test_the_interval_holds_a_known_crossing(kind, at, gain_L):
  rng, inside, kinds = np.random.default_rng(0), 0, []
  for seed in range(40):
    found = curves.begins_to_pay(
      COUNTS, noisy(gain_L, rng, S=20), level=0.9, resamples=100, seed=seed
    )
    inside += found.low <= at <= found.high
    kinds.append(found.kind)
    assert found.low < found.high
  assert kinds.count(kind) >= 36
  assert 29 <= inside  # of 40, at level 0.9


@pytest.mark.parametrize(
  'kind, gain_L',
  [
    ('always', np.linspace(0.5, 0.8, L)),
    ('not seen', curves.PowerLaw(-0.5, 2.0, 0.5)(COUNTS)),
  ],
)
def test_noise_does_not_hide_the_plain_cases(kind, gain_L):
  for seed in range(5):
    rng = np.random.default_rng(seed)
    found = curves.begins_to_pay(COUNTS, noisy(gain_L, rng), resamples=100)
    assert found.kind == kind
    assert found.share == (kind == 'always')


gains = st.integers(0, 2**31 - 1)


def some_gain(seed, S=4):
  rng = np.random.default_rng(seed)
  rise_L = rng.choice([1, -1]) * np.log(COUNTS / rng.choice([20, 200, 2000]))
  return rise_L[:, None] * 0.1 + 0.2 * rng.normal(size=(L, S))


@few
@hypothesis.given(gains, st.sampled_from([4, 50]))
def test_what_a_crossing_tells_fits_together(seed, resamples):
  found = curves.begins_to_pay(
    COUNTS, some_gain(seed), resamples=resamples, seed=seed
  )
  assert found.low <= found.high and 0 <= found.share <= 1
  assert (found.kind == 'not seen') == math.isnan(found.count)
  if found.kind != 'not seen':
    assert found.low <= found.count <= found.high and found.share >= 0.5
  if found.kind == 'always':
    assert found.count == COUNTS[0]
  if found.kind == 'measured':
    assert COUNTS[0] < found.count <= COUNTS[-1]
  if found.kind == 'extrapolated':
    assert COUNTS[-1] < found.count <= found.horizon
  again = curves.begins_to_pay(
    COUNTS, some_gain(seed), resamples=resamples, seed=seed
  )
  np.testing.assert_array_equal(found[1:], again[1:])


@few
@hypothesis.given(gains)
def test_ten_times_the_samples_cross_at_ten_times_the_count(seed):
  gain_LS = some_gain(seed)
  options = dict(resamples=50, seed=seed)
  one = curves.begins_to_pay(COUNTS, gain_LS, **options)
  ten = curves.begins_to_pay(10 * COUNTS, gain_LS, **options)
  assert one.kind == ten.kind and one.share == ten.share
  assert ten.horizon == 10 * one.horizon
  np.testing.assert_allclose(
    (ten.count, ten.low, ten.high),
    10 * np.array([one.count, one.low, one.high]),
    rtol=1e-6,
  )


@few
@hypothesis.given(gains, st.floats(-1, 1), st.floats(0.1, 10))
def test_units_of_the_gain_do_not_matter(seed, shift, scale):
  gain_LS = some_gain(seed)
  one = curves.begins_to_pay(COUNTS, gain_LS, least=0.013, resamples=50)
  two = curves.begins_to_pay(
    COUNTS,
    shift + scale * gain_LS,
    least=shift + scale * 0.013,
    resamples=50,
  )
  assert one.kind == two.kind
  np.testing.assert_allclose(one[1:], two[1:], rtol=1e-6)


def test_a_higher_level_and_fewer_seeds_widen_the_interval():
  rng = np.random.default_rng(0)
  gain_LS = noisy(log_line(170.0), rng, S=20)
  narrow, wide = (
    curves.begins_to_pay(COUNTS, gain_LS, level=level) for level in (0.5, 0.99)
  )
  assert wide.low < narrow.low < narrow.count < narrow.high < wide.high
  assert narrow.count == wide.count
  few_seeds = curves.begins_to_pay(COUNTS, gain_LS[:, :5], level=0.5)
  assert few_seeds.high / few_seeds.low > narrow.high / narrow.low


@pytest.mark.parametrize(
  'counts, gain, match',
  [
    ([10, 20], np.zeros(2), r'\[sample sizes, seeds\].*\(2,\)'),
    ([10, 20], np.zeros((3, 4)), r'\(3, 4\).* 2 sample sizes'),
    ([10, 10], np.zeros((2, 4)), 'must rise'),
    ([20, 10], np.zeros((2, 4)), 'must rise'),
    ([0, 10], np.zeros((2, 4)), 'from above 0'),
    ([10, 20, 40], np.full((3, 2), np.nan), 'finite|NaN'),
  ],
)
def test_curves_that_are_refused(counts, gain, match):
  with pytest.raises(ValueError, match=match):
    curves.begins_to_pay(counts, gain)
