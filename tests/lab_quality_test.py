"""What frozen features leave to the best head, where the truth is known."""

import math

import hypothesis
import hypothesis.strategies as st
import numpy as np
import pytest
from scipy import optimize, special, stats

from mmjax.lab import _heads, quality

few = hypothesis.settings(max_examples=12)
seeds = st.integers(0, 2**31 - 1)
N, D = 60, 3


def some_features(seed, n=N, d=D):
  rng = np.random.default_rng(seed)
  turn_DD, _ = np.linalg.qr(rng.normal(size=(d, d)))
  scale_D = np.linspace(0.5, 2, d)
  return rng.normal(size=(n, d)) * scale_D @ turn_DD + rng.normal(size=d)


def some_target(z_ND, num_classes, seed=1):
  """Classes, or two numbers, that the features tell in part."""
  rng = np.random.default_rng(seed)
  z_ND = (z_ND - z_ND.mean(0)) / z_ND.std(0)
  score_NC = z_ND @ rng.normal(size=(z_ND.shape[1], num_classes or 2))
  if not num_classes:
    return score_NC + rng.normal(size=score_NC.shape)
  label_N = (score_NC + rng.gumbel(size=score_NC.shape)).argmax(1)
  label_N[:num_classes] = range(num_classes)
  return label_N


def of(losses_N, oracle=0.0, known=True):
  risk = losses_N.mean()
  error = losses_N.std(ddof=1) / len(losses_N) ** 0.5
  return quality.Eta(risk - oracle, risk, oracle, error, losses_N, known)


# Worlds of a finite variable: the least risk is an entropy that one can count.


def discrete(seed, n=400, values=5, num_classes=3):
  """A variable and a label: i[N] each; every value is taken."""
  rng = np.random.default_rng(seed)
  x_N = np.concatenate([np.arange(values), rng.integers(0, values, n - values)])
  rate_XC = rng.dirichlet(np.full(num_classes, 0.7), values)
  label_N = (rng.random(n)[:, None] > rate_XC[x_N].cumsum(1)).sum(1)
  return x_N, np.minimum(label_N, num_classes - 1)


def conditional_entropy(x_N, label_N):
  """H(label | x) of the sample itself, in nats."""
  total = 0.0
  for x in np.unique(x_N):
    rate_C = np.bincount(label_N[x_N == x]) / (x_N == x).sum()
    total += (x_N == x).mean() * special.entr(rate_C).sum()
  return total


@few
@hypothesis.given(seeds)
def test_eta_of_a_finite_variable_is_0_and_of_its_functions_is_above(seed):
  x_N, label_N = discrete(seed)
  oracle = conditional_entropy(x_N, label_N)
  options = dict(num_classes=3, folds=0, l2=(1e-5,))
  full = quality.eta(np.eye(5)[x_N], label_N, oracle=oracle, **options)
  assert 0 <= full.value + 1e-9 and full.value < 2e-3
  merged_N = x_N // 2  # a worse encoder: it forgets which of two it was
  part = quality.eta(np.eye(3)[merged_N], label_N, oracle=oracle, **options)
  lost = conditional_entropy(merged_N, label_N) - oracle
  assert part.value >= lost - 1e-9 and part.value < lost + 2e-3
  assert part.is_oracle_known and part.oracle == oracle
  assert part.value == pytest.approx(part.risk - oracle)
  gap = quality.gamma(full, part, resamples=10)
  assert gap.value == pytest.approx(full.value - part.value)
  assert gap.value <= 1e-9 or lost < 2e-3
  assert gap.gain == -gap.value


@few
@hypothesis.given(seeds, st.sampled_from([0, 4]))
def test_eta_of_numbers_is_not_negative_for_the_variance_that_is_left(
  seed, folds
):
  """Fitted on the same examples 0; on other folds above, up to chance."""
  rng = np.random.default_rng(seed)
  x_N = np.arange(200) % 5
  target_N = rng.normal(size=5)[x_N] + 0.3 * rng.normal(size=200)
  means = np.array([target_N[x_N == x].mean() for x in range(5)])
  oracle = np.square(target_N - means[x_N]).mean()
  found = quality.eta(
    np.eye(5)[x_N],
    target_N,
    oracle=oracle,
    num_classes=0,
    folds=folds,
    l2=(1e-9,),
  )
  if folds:
    assert 0 < found.value < 0.1 * oracle
  else:
    assert found.value == pytest.approx(0, abs=1e-9)


def test_features_that_cannot_be_told_apart_leave_what_cannot_be_told():
  """A half of XOR tells nothing: its best head is a constant."""
  x_N2 = np.array([[0, 0], [0, 1], [1, 0], [1, 1]] * 25)
  label_N = x_N2[:, 0] ^ x_N2[:, 1]
  options = dict(oracle=0.0, num_classes=2, folds=0, l2=(1e-4,))
  half = quality.eta(x_N2[:, :1], label_N, **options)
  assert half.value == pytest.approx(math.log(2))
  # A linear head on both cannot either, and one on their product can.
  both = quality.eta(x_N2, label_N, **options)
  assert both.value == pytest.approx(math.log(2), abs=1e-6)
  product = x_N2[:, :1] ^ x_N2[:, 1:]
  assert quality.eta(product, label_N, **options).value < 0.01


# The head.


@few
@hypothesis.given(seeds, st.sampled_from([0, 2, 3]), st.sampled_from([0, 3]))
def test_no_invertible_affine_map_of_features_matters(seed, classes, folds):
  z_ND = some_features(seed)
  target = some_target(z_ND, classes, seed)
  rng = np.random.default_rng(seed + 1)
  u_DD, _, v_DD = np.linalg.svd(rng.normal(size=(D, D)))
  map_DD = u_DD * [0.01, 1.0, 50.0] @ v_DD
  options = dict(num_classes=classes, folds=folds)
  want_N = quality.best_head_losses(z_ND, target, **options)
  moved_ND = z_ND @ map_DD + rng.normal(size=D)
  got_N = quality.best_head_losses(moved_ND, target, **options)
  np.testing.assert_allclose(got_N, want_N, atol=2e-4)
  # Nor do columns that say nothing new, or nothing at all.
  more_ND = np.concatenate([z_ND, z_ND[:, :1], np.ones((N, 1))], 1)
  got_N = quality.best_head_losses(more_ND, target, **options)
  np.testing.assert_allclose(got_N, want_N, atol=2e-4)


@pytest.mark.parametrize('seed', range(3))
def test_squared_error_without_penalty_is_least_squares(seed):
  z_ND = some_features(seed)
  target_NT = some_target(z_ND, 0, seed)
  one_ND = np.concatenate([z_ND, np.ones((N, 1))], 1)

  def left(fit, out):
    kernel, *_ = np.linalg.lstsq(one_ND[fit], target_NT[fit])
    return np.square(one_ND[out] @ kernel - target_NT[out]).sum(1)

  options = dict(num_classes=0, l2=(1e-12,), seed=seed)
  got_N = quality.best_head_losses(z_ND, target_NT, folds=0, **options)
  everyone = np.arange(N)
  np.testing.assert_allclose(got_N, left(everyone, everyone), atol=1e-8)
  # Left out one by one, whatever the folds' seed is.
  got_N = quality.best_head_losses(z_ND, target_NT, folds=N, **options)
  want_N = [left(everyone != n, [n])[0] for n in everyone]
  np.testing.assert_allclose(got_N, want_N, atol=1e-8)
  flat_N = quality.best_head_losses(
    z_ND, target_NT[:, 0], folds=0, num_classes=0, l2=(1e-12,)
  )
  both_N = sum(
    quality.best_head_losses(z_ND, column, folds=0, **options)
    for column in target_NT.T
  )
  np.testing.assert_allclose(both_N, left(everyone, everyone), atol=1e-8)
  assert flat_N.mean() < both_N.mean()


@pytest.mark.parametrize('l2', [0.05, 2.0])
def test_squared_error_with_a_penalty_is_its_least(l2):
  """Of the mean loss plus l2/2 |W|^2 over whitened features and a bias."""
  z_ND = some_features(0)
  target_NT = some_target(z_ND, 0)
  u_NR = _heads.whitening(z_ND)(z_ND)
  head = _heads.fit(u_NR, target_NT, 0, l2=l2, max_steps=1)
  kernel_RT = head(np.eye(D)) - head(np.zeros((1, D)))

  def objective(kernel_RT, bias_T):
    out_NT = u_NR @ kernel_RT + bias_T
    penalty = l2 / 2 * np.square(kernel_RT).sum()
    return np.square(out_NT - target_NT).sum(1).mean() + penalty

  bias_T = head(np.zeros((1, D)))[0]
  least = objective(kernel_RT, bias_T)
  rng = np.random.default_rng(0)
  for _ in range(20):  # it is a parabola: no direction may go down
    step_RT = 1e-3 * rng.normal(size=kernel_RT.shape)
    step_T = 1e-3 * rng.normal(size=bias_T.shape)
    assert objective(kernel_RT + step_RT, bias_T + step_T) > least
    assert objective(kernel_RT - step_RT, bias_T - step_T) > least


@pytest.mark.parametrize('classes', [2, 3, 4])
@pytest.mark.parametrize('l2', [0.01, 0.5])
def test_the_logistic_head_is_the_least_of_its_objective(classes, l2):
  """However many classes there are: two are no special case."""
  z_ND = some_features(classes)
  label_N = some_target(z_ND, classes)
  u_NR = _heads.whitening(z_ND)(z_ND)

  def outputs(flat):
    kernel_DC = flat[: D * classes].reshape(D, classes)
    return kernel_DC, u_NR @ kernel_DC + flat[D * classes :]

  def objective(flat):
    kernel_DC, out_NC = outputs(flat)
    loss_N = special.logsumexp(out_NC, axis=1) - out_NC[np.arange(N), label_N]
    wrong_NC = special.softmax(out_NC, axis=1) - np.eye(classes)[label_N]
    slope_DC = u_NR.T @ wrong_NC / N + l2 * kernel_DC
    value = loss_N.mean() + l2 / 2 * np.square(kernel_DC).sum()
    return value, np.concatenate([slope_DC.ravel(), wrong_NC.mean(0)])

  found = optimize.minimize(
    objective, np.zeros((D + 1) * classes), jac=True, tol=1e-12
  )
  kernel_DC, out_NC = outputs(found.x)
  want_NC = special.softmax(out_NC, axis=1)
  head = _heads.fit(u_NR, label_N, classes, l2=l2, max_steps=500)
  got_NC = special.softmax(head(u_NR), axis=1)
  np.testing.assert_allclose(got_NC, want_NC, atol=1e-3)
  got_N = quality.best_head_losses(
    z_ND, label_N, num_classes=classes, folds=0, l2=(l2,)
  )
  want_N = -np.log(want_NC[np.arange(N), label_N])
  np.testing.assert_allclose(got_N, want_N, atol=3e-3)


def test_whitened_features_have_the_identity_as_covariance():
  z_ND = some_features(0)
  wide_ND = np.concatenate([z_ND, z_ND @ np.ones((D, 2)), np.ones((N, 1))], 1)
  white = _heads.whitening(wide_ND)
  u_NR = white(wide_ND)
  assert u_NR.shape == (N, D)
  np.testing.assert_allclose(u_NR.mean(0), 0, atol=1e-10)
  np.testing.assert_allclose(u_NR.T @ u_NR / N, np.eye(D), atol=1e-10)
  other = np.concatenate([z_ND, z_ND @ np.ones((D, 2)), np.ones((N, 1))], 1)
  np.testing.assert_array_equal(white(other[:7]), u_NR[:7])


def test_held_out_losses_are_above_those_of_the_fit_and_near_the_truth():
  """60 examples and 20 features that say nothing: ln 2 cannot be beaten."""
  z_ND = some_features(0, d=20)
  label_N = np.arange(N) % 2
  fitted = quality.best_head_losses(z_ND, label_N, num_classes=2, folds=0)
  held = quality.best_head_losses(z_ND, label_N, num_classes=2, folds=5)
  assert fitted.mean() < 0.85 * math.log(2)
  assert 0.98 * math.log(2) < held.mean() < 1.1 * math.log(2)


def test_the_penalty_of_the_least_held_out_risk_counts():
  z_ND = some_features(0, d=20)
  label_N = some_target(z_ND[:, :2], 2)
  one = {
    l2: quality.best_head_losses(z_ND, label_N, num_classes=2, l2=(l2,))
    for l2 in quality.L2
  }
  best = min(one, key=lambda l2: one[l2].mean())
  assert best not in (quality.L2[0], quality.L2[-1])
  got_N = quality.best_head_losses(z_ND, label_N, num_classes=2)
  np.testing.assert_array_equal(got_N, one[best])
  first_N = quality.best_head_losses(z_ND, label_N, num_classes=2, folds=0)
  want_N = quality.best_head_losses(
    z_ND, label_N, num_classes=2, folds=0, l2=quality.L2[:1]
  )
  np.testing.assert_array_equal(first_N, want_N)


def test_folds_are_of_their_seed_and_deal_classes_evenly():
  label_N = np.repeat([0, 1, 2], [20, 10, 7])
  fold_N = quality._folds(label_N, 3, 5, 0)
  for c in range(3):
    each = np.bincount(fold_N[label_N == c], minlength=5)
    assert np.ptp(each) <= 1
  assert np.ptp(np.bincount(fold_N)) <= 1
  np.testing.assert_array_equal(fold_N, quality._folds(label_N, 3, 5, 0))
  assert (fold_N != quality._folds(label_N, 3, 5, 1)).any()


@pytest.mark.parametrize('num_classes', [2, 3])
def test_a_class_that_a_fold_has_not_seen_costs_and_breaks_nothing(num_classes):
  """Its one example is measured by heads that do not know of it."""
  z_ND = some_features(1)
  label_N = np.zeros(N, int) if num_classes == 2 else np.arange(N) % 2
  label_N[4] = num_classes - 1
  found_N = quality.best_head_losses(
    z_ND, label_N, num_classes=num_classes, folds=3
  )
  assert np.isfinite(found_N).all() and (found_N >= 0).all()
  assert found_N.argmax() == 4 and found_N[4] > 20
  assert np.delete(found_N, 4).mean() < math.log(2) + 0.1


@pytest.mark.parametrize('folds', [0, 4])
def test_one_class_is_told_without_loss(folds):
  z_ND = some_features(1)
  for num_classes in (1, 2, 3):
    label_N = np.full(N, num_classes - 1)
    found_N = quality.best_head_losses(
      z_ND, label_N, num_classes=num_classes, folds=folds
    )
    np.testing.assert_allclose(found_N, 0, atol=1e-12)


def test_classes_without_an_example_change_nothing():
  z_ND = some_features(2)
  label_N = some_target(z_ND, 2)
  want_N = quality.best_head_losses(z_ND, label_N, num_classes=2)
  moved_N = np.array([1, 4])[label_N]
  got_N = quality.best_head_losses(z_ND, moved_N, num_classes=6)
  np.testing.assert_allclose(got_N, want_N, atol=1e-6)


# What is refused.


@pytest.mark.parametrize('classes', [2, 3])
def test_a_head_that_does_not_converge_raises(classes):
  z_ND = some_features(0)
  label_N = some_target(z_ND, classes)
  with pytest.raises(ValueError, match='not converge.* 1 steps.*Raise max_st'):
    quality.best_head_losses(
      z_ND, label_N, num_classes=classes, max_steps=1, folds=0
    )


def test_features_that_do_not_vary_raise():
  label_N = np.arange(N) % 2
  for z_ND in (np.full((N, 4), 7.0), np.zeros((N, 4)), np.zeros((N, 0))):
    with pytest.raises(ValueError, match='[Dd]egenerate covariance'):
      quality.best_head_losses(z_ND, label_N, num_classes=2)


LABELS = np.arange(N) % 2
BAD = np.where(np.arange(N) == 3, np.nan, 1.0)


@pytest.mark.parametrize(
  'change, match',
  [
    (dict(z=np.ones(N)), r'\[N, D\].*\(60,\)'),
    (dict(z=np.ones((N - 1, 2))), r'\(59, 2\)'),
    (dict(z=np.where(np.isnan(BAD), np.inf, 1)[:, None]), 'NaN or infinity'),
    (dict(target=LABELS / 1.0), 'float64.*not classes'),
    (dict(target=LABELS[:, None]), 'not classes'),
    (dict(target=LABELS - 1), 'from -1 to 0.*num_classes=2'),
    (dict(target=LABELS + 1), 'from 1 to 2.*num_classes=2'),
    (dict(target=BAD, num_classes=0), 'NaN or infinity'),
    (dict(folds=1), 'folds=1 '),
    (dict(folds=-2), 'folds=-2 '),
    (dict(folds=N + 1), 'folds=61 .*60 examples'),
    (dict(l2=()), 'l2=.*above 0'),
    (dict(l2=(1.0, 0.0)), 'l2=.*above 0'),
  ],
)
def test_heads_that_are_refused(change, match):
  change = {'z': some_features(0), 'target': LABELS, 'num_classes': 2, **change}
  with pytest.raises(ValueError, match=match):
    quality.best_head_losses(change.pop('z'), change.pop('target'), **change)


def test_an_oracle_that_is_beaten_is_refused_and_the_encoder_named():
  losses = {
    'video': np.linspace(0.9, 1.1, 50),
    'audio': np.linspace(0.4, 0.6, 50),
  }
  assert quality.etas(losses, oracle=0.5)['audio'].value == pytest.approx(0)
  error = losses['audio'].std(ddof=1) / 50**0.5
  with pytest.raises(ValueError, match='audio.*0.5.*below the oracle=0.6'):
    quality.etas(losses, oracle=0.6)
  # Up to the tolerance that is asked for.
  for times, fine in ((2.9, True), (3.1, False)):
    oracle = 0.5 + times * error
    if fine:
      found = quality.etas(losses, oracle=oracle)['audio']
      assert found.value == pytest.approx(-times * error)
    else:
      with pytest.raises(ValueError, match='audio'):
        quality.etas(losses, oracle=oracle)
    quality.etas(losses, oracle=oracle, tolerance=4)
  z_ND = some_features(0)
  with pytest.raises(ValueError, match='oracle=5. So'):
    quality.eta(z_ND, LABELS, oracle=5.0, num_classes=2)


def test_without_an_oracle_the_best_of_all_is_taken_and_marked():
  losses = {'a': np.array([1.0, 3.0]), 'b': np.array([1.0, 2.0])}
  found = quality.etas(losses)
  assert found['b'].value == 0 and found['a'].value == 0.5
  assert found['a'].oracle == found['b'].oracle == 1.5
  assert not found['a'].is_oracle_known
  known = quality.etas(losses, oracle=1.0)
  assert known['a'].is_oracle_known and known['a'].value == 1
  assert known['a'].error == pytest.approx(2**0.5 / 2**0.5)
  # The difference does not depend on it.
  one = quality.gamma(found['a'], found['b']).value
  assert one == pytest.approx(quality.gamma(known['a'], known['b']).value)
  assert one == 0.5


# Gamma.


@few
@hypothesis.given(seeds, st.integers(1, 4), st.sampled_from([0.8, 0.95]))
def test_gamma_is_antisymmetric_with_its_interval(seed, S, level):
  rng = np.random.default_rng(seed)
  many = [
    [of(rng.exponential(size=30), oracle) for _ in range(S)]
    for oracle in (0.1, -0.2)
  ]
  options = dict(level=level, resamples=200, seed=seed)
  one = quality.gamma(*many, **options)
  two = quality.gamma(*many[::-1], **options)
  assert one.value == pytest.approx(-two.value, abs=1e-12)
  assert one.low == pytest.approx(-two.high, abs=1e-12)
  assert one.high == pytest.approx(-two.low, abs=1e-12)
  assert one.gain == -one.value and one.level == level
  assert one.low < one.high
  want = np.mean([x.value for x in many[0]]) - np.mean(
    [x.value for x in many[1]]
  )
  assert one.value == pytest.approx(want)
  same = quality.gamma(many[0], many[0], **options)
  assert same.value == same.low == same.high == 0


def test_gamma_takes_one_eta_or_several_and_wider_levels_hold_narrower():
  rng = np.random.default_rng(0)
  a, b = (of(rng.exponential(size=40)) for _ in range(2))
  one = quality.gamma(a, b)
  assert one == quality.gamma([a], [b])
  wide = quality.gamma(a, b, level=0.99)
  assert wide.low < one.low < one.value < one.high < wide.high
  # Paired: what is hard for both is no reason to be unsure.
  hard = 100 * rng.random(40)
  shifted = quality.gamma(of(a.losses_N + hard), of(b.losses_N + hard))
  np.testing.assert_allclose(shifted, one, atol=1e-9)


@pytest.mark.parametrize(
  'm, n',
  [
    ([of(np.arange(3.0))], [of(np.arange(3.0))] * 2),
    ([], []),
    (of(np.arange(3.0)), of(np.arange(4.0))),
    ([of(np.arange(3.0)), of(np.arange(4.0))], [of(np.arange(3.0))] * 2),
  ],
)
def test_gammas_that_are_refused(m, n):
  with pytest.raises(ValueError, match='pairs'):
    quality.gamma(m, n)


def test_the_bootstrap_interval_covers():
  """Examples and seeds both vary; 300 experiments of known gamma 0.3."""
  rng, S, n, inside, below = np.random.default_rng(0), 12, 80, 0, 0
  zeros = [of(np.zeros(n))] * S
  for i in range(300):
    of_seed_S, of_example_N = rng.normal(0, 0.4, S), rng.gumbel(0, 1, n)
    of_example_N -= np.euler_gamma
    gaps = 0.3 + of_seed_S[:, None] + of_example_N
    found = quality.gamma(
      [of(x) for x in gaps], zeros, level=0.9, resamples=200, seed=i
    )
    inside += found.low <= 0.3 <= found.high
    below += found.high < 0.3
  assert 0.8 * 300 < inside < 0.96 * 300  # at level 0.9
  assert below > 0 and 300 - inside - below > 0  # and misses on both sides


# Over seeds.


@hypothesis.given(
  st.lists(st.floats(-100, 100), min_size=2, max_size=8),
  st.sampled_from([0.5, 0.95, 0.99]),
)
def test_over_seeds_is_students_interval(values, level):
  found = quality.over_seeds(np.array(values), level)
  std = np.std(values, ddof=1)
  assert found.mean == pytest.approx(np.mean(values))
  assert found.std == pytest.approx(std, abs=1e-9)
  if std > 1e-6:
    low, high = stats.t.interval(
      level, len(values) - 1, np.mean(values), std / len(values) ** 0.5
    )
    assert found.low == pytest.approx(low) and found.high == pytest.approx(high)


def test_one_seed_has_no_interval():
  found = quality.over_seeds(np.array([3.0]))
  assert found.mean == 3
  assert all(map(math.isnan, (found.low, found.high, found.std)))
