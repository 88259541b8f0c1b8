"""Proposition 1 in closed form, and where small samples leave it."""

import hypothesis
import hypothesis.strategies as st
import numpy as np
import pytest

from mmjax.lab import latents, linear

few = hypothesis.settings(deadline=None, max_examples=25)
seeds = st.integers(0, 2**31 - 1)
WIDTH = 6
subsets = st.sets(st.integers(0, WIDTH - 1))


def moments(seed):
  """Second moments of six columns and a target that they tell in part."""
  rng = np.random.default_rng(seed)
  factor_EE = rng.normal(size=(WIDTH + 1, WIDTH + 1)) + np.eye(WIDTH + 1)
  joint_EE = factor_EE @ factor_EE.T + 0.1 * np.eye(WIDTH + 1)
  return joint_EE[:-1, :-1], joint_EE[:-1, -1], joint_EE[-1, -1]


def overlap_moments(w, betas_MD):
  """Population moments of `latents.overlap` for given betas."""
  M, D = betas_MD.shape
  mix_MM = (1 - w) * np.eye(M)
  mix_MM[:, 0] += w
  mix_MM[0, 0] = 1
  cov = np.kron(mix_MM @ mix_MM.T, np.eye(D))
  cross = cov @ betas_MD.ravel()
  return cov, cross, betas_MD.ravel() @ cross


def some_betas(M=4, D=3, seed=0):
  betas_MD = np.random.default_rng(seed).normal(size=(M, D))
  return betas_MD * D**0.5 / np.linalg.norm(betas_MD, axis=1, keepdims=True)


# Risks.


def test_risk_of_one_and_of_two_columns_by_hand():
  cov, cross = [[2.0, 1.0], [1.0, 3.0]], [1.0, -1.0]
  assert linear.risk(cov, cross, 5.0, []) == 5
  assert linear.risk(cov, cross, 5.0, [0]) == pytest.approx(5 - 1 / 2)
  assert linear.risk(cov, cross, 5.0, [1]) == pytest.approx(5 - 1 / 3)
  # S^-1 = [[3, -1], [-1, 2]] / 5, so c' S^-1 c = (3 + 2 + 2) / 5.
  assert linear.risk(cov, cross, 5.0, [1, 0]) == pytest.approx(5 - 7 / 5)
  gap = linear.gamma(cov, cross, 5.0, [0, 1], [1])
  assert gap == pytest.approx(1 / 3 - 7 / 5)


@pytest.mark.parametrize('w', [0.0, 0.2, 0.5, 0.8])
def test_risk_of_overlap_is_its_closed_form(w):
  cov, cross, variance = overlap_moments(w, some_betas())
  for seen in range(1, 5):
    want = latents.overlap_risk(w, seen, width=3)
    got = linear.risk(cov, cross, variance, range(3 * seen))
    np.testing.assert_allclose(got, want, atol=1e-10)
  for seed in range(20):  # where nothing is left, rounding goes either way
    cov, cross, variance = overlap_moments(w, some_betas(seed=seed))
    assert 0 <= linear.risk(cov, cross, variance, range(12)) < 1e-10


@few
@hypothesis.given(seeds, subsets, subsets)
def test_proposition_1_more_columns_never_hurt_a_population(seed, small, more):
  cov, cross, variance = moments(seed)
  large = small | more
  gap = linear.gamma(cov, cross, variance, sorted(large), sorted(small))
  assert gap <= 1e-9 * variance
  back = linear.gamma(cov, cross, variance, sorted(small), sorted(large))
  assert back == -gap
  # Between sets that are not nested either may win: the sign is that of risk.
  m = linear.risk(cov, cross, variance, sorted(more))
  n = linear.risk(cov, cross, variance, sorted(small))
  assert linear.gamma(cov, cross, variance, list(more), list(small)) == (
    pytest.approx(m - n, abs=1e-9 * variance)
  )
  assert 0 <= m <= variance * (1 + 1e-12)


@few
@hypothesis.given(seeds, st.sampled_from([[0, 1], [2, 3, 4, 5], range(6)]))
def test_an_invertible_map_of_a_modality_changes_no_risk(seed, columns):
  """Two modalities, of 2 and of 4 columns, each mapped by itself."""
  cov, cross, variance = moments(seed)
  rng = np.random.default_rng(seed + 1)
  map_DD = np.zeros((WIDTH, WIDTH))
  for part in (slice(0, 2), slice(2, 6)):
    size = part.stop - part.start
    turn, _ = np.linalg.qr(rng.normal(size=(size, size)))
    map_DD[part, part] = turn * rng.uniform(0.1, 10, size=size)
  cov2 = map_DD @ cov @ map_DD.T
  got = linear.risk(cov2, map_DD @ cross, variance, columns)
  want = linear.risk(cov, cross, variance, columns)
  assert got == pytest.approx(want, rel=1e-7)


# What Proposition 1 does not say.


def population_risks(count, worlds, w=0.5, M=8, width=4):
  """True risks [worlds, 2] of least squares on 2 and on 3 of 8 modalities."""
  rng, found = np.random.default_rng(0), []
  for seed in range(worlds):
    betas = some_betas(M, width, seed)
    cov, cross, variance = overlap_moments(w, betas)
    x_ND = rng.normal(size=(count, len(cov))) @ np.linalg.cholesky(cov).T
    y_N, pair = x_ND @ betas.ravel(), []
    for seen in (2, 3):
      D = seen * width
      weights_D = linear.fit(x_ND[:, :D], y_N).weights_D
      change = weights_D @ (cov[:D, :D] @ weights_D - 2 * cross[:D])
      pair.append(variance + change)
    found.append(pair)
  return np.array(found)


def test_at_small_n_the_larger_set_is_worse_and_at_large_n_it_is_not():
  few_S2, many_S2 = population_risks(20, 300), population_risks(600, 20)
  two, three = few_S2[1]
  assert three > two + 1  # this one sample is a counterexample: gamma above 0
  assert (few_S2[:, 1] > few_S2[:, 0]).mean() > 0.6  # and no rare one
  assert (many_S2[:, 1] < many_S2[:, 0]).all()
  # Two modalities are 8 columns and three are 12, for 6/5 of the open variance.
  least = [
    latents.overlap_risk(0.5, k, num_modalities=8, width=4) for k in (2, 3)
  ]
  assert least[1] < least[0]
  for n, risks_S2 in ((20, few_S2), (600, many_S2)):
    want = [r * latents.overlap_excess(n, p) for r, p in zip(least, (8, 12))]
    assert (want[1] > want[0]) == (n == 20)
    error = risks_S2.std(0, ddof=1) / len(risks_S2) ** 0.5
    assert (np.abs(risks_S2.mean(0) - want) < 4 * error).all()


def test_a_product_is_worth_nothing_to_a_linear_predictor():
  world = latents.Dials(
    *(('a', 'b'), (0.0, 0.0), (), (('a', 'b', 1.0),), (0.0, 0.0), 0.0)
  )
  assert latents.dials_risk(world, ('a', 'b')) == 0
  x_ND = np.random.default_rng(0).normal(size=(20_000, 2))
  y_N = x_ND[:, 0] * x_ND[:, 1]
  got = linear.fit(x_ND, y_N).train_risk
  assert got == pytest.approx(np.mean(y_N**2), rel=0.01)


# Fits.


@few
@hypothesis.given(seeds)
def test_a_fit_is_the_risk_of_the_samples_own_moments(seed):
  rng = np.random.default_rng(seed)
  x_ND, y_N = rng.normal(size=(20, 4)), rng.normal(size=20)
  got = linear.fit(x_ND, y_N)
  assert got.rank == 4
  gradient_D = x_ND.T @ (y_N - x_ND @ got.weights_D)
  np.testing.assert_allclose(gradient_D, 0, atol=1e-9)
  own = linear.risk(
    x_ND.T @ x_ND / 20, x_ND.T @ y_N / 20, float(y_N @ y_N / 20), range(4)
  )
  assert got.train_risk == pytest.approx(own, rel=1e-9)


def test_fewer_examples_than_columns_pass_through_every_point():
  rng = np.random.default_rng(0)
  x_ND, y_N = rng.normal(size=(5, 8)), rng.normal(size=5)
  top = np.linalg.eigvalsh(x_ND.T @ x_ND / 5)[-1]
  says = f'5 examples has rank 5 at width 8.* from 0 to {top:.3g},'
  with pytest.raises(ValueError, match=says):
    linear.fit(x_ND, y_N)
  got = linear.fit(x_ND, y_N, degenerate='minimum_norm')
  assert got.rank == 5 and got.train_risk < 1e-20
  np.testing.assert_allclose(got.weights_D, np.linalg.pinv(x_ND) @ y_N)


# Degenerate covariances.


def test_copies_of_a_modality_are_named_and_change_nothing():
  cov, cross, variance = overlap_moments(1.0, some_betas())
  says = 'rank 3 at width 6, with eigenvalues from .* to 2.*minimum_norm'
  with pytest.raises(ValueError, match=says):
    linear.risk(cov, cross, variance, range(6))
  with pytest.raises(ValueError, match='rank 3 at width 12'):
    linear.gamma(cov, cross, variance, range(12), range(3))
  for seen in range(1, 5):
    left = linear.risk(
      cov, cross, variance, range(3 * seen), degenerate='minimum_norm'
    )
    assert left == pytest.approx(0, abs=1e-12)
  cov, cross, variance = moments(5)
  twice = np.r_[0:6, 2]  # a repeated column says what one says
  again = linear.risk(
    *(cov[np.ix_(twice, twice)], cross[twice], variance, range(7)),
    degenerate='minimum_norm',
  )
  once = linear.risk(cov, cross, variance, range(6))
  assert again == pytest.approx(once, rel=1e-9)


def test_copies_are_seen_through_the_rounding_of_float32():
  rng = np.random.default_rng(0)
  once_ND = rng.normal(size=(300, 4)).astype(np.float32)
  turn_DD, _ = np.linalg.qr(rng.normal(size=(4, 4)))
  turned_ND = once_ND @ turn_DD.astype(np.float32)
  x_ND = np.concatenate([once_ND, turned_ND], axis=1)
  target = once_ND @ np.array([1, -2, 0.5, 0], np.float32)
  assert x_ND.dtype == target.dtype == np.float32
  with pytest.raises(ValueError, match='300 examples has rank 4 at width 8'):
    linear.fit(x_ND, target)
  got = linear.fit(x_ND, target, degenerate='minimum_norm')
  assert got.rank == 4 and got.train_risk < 1e-10
  assert np.abs(got.weights_D).max() < 10  # no blown-up rounding
  cov_DD, cross_D = x_ND.T @ x_ND / 300, x_ND.T @ target / 300
  variance = float(np.mean(np.square(target)))
  with pytest.raises(ValueError, match='covariance has rank 4 at width 8'):
    linear.risk(cov_DD, cross_D, variance, range(8))
  left = linear.risk(
    cov_DD, cross_D, variance, range(8), degenerate='minimum_norm'
  )
  assert left < 1e-4 * variance


def test_columns_that_never_vary_explain_nothing():
  zeros = np.zeros((2, 2))
  with pytest.raises(ValueError, match='rank 0 at width 2'):
    linear.risk(zeros, [0.0, 0.0], 3.0, [0, 1])
  left = linear.risk(zeros, [0.0, 0.0], 3.0, [0, 1], degenerate='minimum_norm')
  assert left == 3


# Errors.

COV, CROSS = np.eye(3), np.zeros(3)
SKEW = COV + np.eye(3)[:, ::-1] * [[1], [0], [0]]
NAN = np.where(np.eye(3) > 0, np.nan, 0)
COPIES = np.ones((3, 3))


@pytest.mark.parametrize(
  'args, says',
  [
    ((COV, np.zeros(2), 1.0, [0]), r'shapes \(3, 3\) and \(2,\)'),
    ((SKEW, CROSS, 1.0, [0]), 'symmetric, but .* up to 1 '),
    ((NAN, CROSS, 1.0, [0]), r'cov_DD holds NaN.* 3 places.* \(0, 0\)'),
    ((COV, CROSS, float('inf'), [0]), 'variance holds'),
    ((COV, CROSS, -1.0, [0]), 'variance=-1'),
    ((COV, CROSS, 1.0, [0, 3]), r'\[0, 3\] must be .* 0\.\.2'),
    ((COV, CROSS, 1.0, [-1]), 'different numbers'),
    ((COV, CROSS, 1.0, [1, 1]), 'different numbers'),
    ((COV, CROSS, 1.0, [True, False, True]), 'mask'),
    ((COV, CROSS, 1.0, [0.5]), 'whole numbers'),
    ((COV - 2 * np.eye(3), CROSS, 1.0, [0]), 'eigenvalue -1'),
    ((COV, CROSS + 2, 1.0, [0]), 'explain 4'),
  ],
)
def test_risk_names_what_is_wrong(args, says):
  with pytest.raises(ValueError, match=says):
    linear.risk(*args)


def test_no_pseudo_inverse_hides_moments_that_contradict_each_other():
  clash = (COPIES, np.array([1.0, -1.0, 0.0]), 9.0, [0, 1])
  with pytest.raises(ValueError, match='1.41 where no column varies'):
    linear.risk(*clash, degenerate='minimum_norm')


@pytest.mark.parametrize(
  'x, y, says',
  [
    (np.ones((3, 1)), np.ones(2), r'shapes \(3, 1\) and \(2,\)'),
    (np.ones(3), np.ones(3), 'shapes'),
    (np.ones((0, 2)), np.ones(0), 'above 0'),
    (np.full((3, 1), np.nan), np.ones(3), 'x_ND holds NaN'),
    (np.ones((3, 1)), np.array([1, np.inf, 0]), r'y_N holds .*\(1,\)'),
  ],
)
def test_fit_names_what_is_wrong(x, y, says):
  with pytest.raises(ValueError, match=says):
    linear.fit(x, y)


def test_there_are_two_ways_with_degenerate_columns():
  with pytest.raises(ValueError, match="degenerate='ignore'.*minimum_norm"):
    linear.risk(COV, CROSS, 1.0, [0], degenerate='ignore')
  with pytest.raises(ValueError, match="degenerate='ignore'"):
    linear.fit(np.ones((3, 1)), np.ones(3), degenerate='ignore')
