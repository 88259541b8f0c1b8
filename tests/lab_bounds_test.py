"""The published inequalities in worlds where every term is known exactly.

A world has inputs at the corners of a box and a two-valued noise: 32 points of
equal probability. Population risks are means over them, a sample of any size is
a multinomial count, and least squares over a ball is solved in float64. So left
and right sides carry no error of estimation.
"""

import hypothesis
import hypothesis.strategies as st
import numpy as np
import pytest
import scipy.optimize

from mmjax.lab import bounds

some = hypothesis.settings(deadline=None, max_examples=60)
seeds = st.integers(0, 2**31 - 1)
BALL, HEAD, DELTA = 1.0, 2.0, 0.05
COLUMNS = {'a': [0, 1], 'b': [2, 3], 'ab': [0, 1, 2, 3]}
PAIRS = [('ab', 'a'), ('ab', 'b')]  # the larger set, its subset


class World:
  """x of norm 1 at corners, y = <w, x> + noise, squared loss, ||w|| <= BALL."""

  def __init__(self, seed):
    rng = np.random.default_rng(seed)
    corner = np.stack(np.meshgrid(*[[-1.0, 1.0]] * 5), -1).reshape(-1, 5)
    scale = rng.uniform(0.3, 1, 4)
    self.scale = scale / np.linalg.norm(scale)
    self.x = corner[:, :4] * self.scale
    w = rng.normal(size=4)
    self.w = w / np.linalg.norm(w) * rng.uniform(0.2, 1.5)  # also out of reach
    self.y = self.x @ self.w + rng.uniform(0, 0.5) * corner[:, 4]
    largest = BALL + np.abs(self.y).max()
    self.loss = dict(lipschitz=2 * largest, bound=largest**2, delta=DELTA)
    self.all = np.full(32, 1 / 32)

  def moments(self, p, A):
    """Second moment of A^T x, and its moment with y, under weights p."""
    z = self.x @ A
    return (z.T * p) @ z, (z.T * p) @ self.y

  def risk(self, w, p):
    return p @ np.square(self.x @ w - self.y)

  def fit(self, p, A, norm):
    """A h for the best head ||h|| <= norm under the weights p."""
    return A @ ball_minimum(*self.moments(p, A), norm)

  def oracle(self):
    return self.fit(self.all, np.eye(4), BALL)

  def learn(self, modalities, p, rng):
    """The empirical minimiser w = A h, and one encoder A that it may have.

    A has ||A||_F <= BALL / HEAD and h has ||h|| <= HEAD. What A is beyond
    A h = w does not touch the empirical risk, so it is drawn.
    """
    E = np.eye(4)[:, COLUMNS[modalities]]
    w = self.fit(p, E, BALL)
    q = rng.normal(size=3)
    q /= np.linalg.norm(q)
    rest = E @ rng.normal(size=(E.shape[1], 3)) @ (np.eye(3) - np.outer(q, q))
    left = (BALL / HEAD) ** 2 - w @ w / HEAD**2
    rest *= np.sqrt(max(left, 0)) / np.linalg.norm(rest)
    return w, np.outer(w, q) / HEAD + rest

  def eta(self, A):
    best = self.risk(self.fit(self.all, A, HEAD), self.all)
    return best - self.risk(self.oracle(), self.all)

  def complexity(self, modalities, m):
    """Of {||w|| <= BALL}; every sample has the same norms, so R_m <= this."""
    return BALL * np.linalg.norm(self.scale[COLUMNS[modalities]]) / m**0.5


def ball_minimum(Q, c, norm):
  """argmin h'Qh - 2c'h over ||h|| <= norm: (Q + mu I) h = c."""
  values, vectors = np.linalg.eigh(Q)
  c = vectors.T @ c
  seen = values > 1e-12 * max(values.max(), 1e-300)  # c is in the range of Q
  values, vectors, c = values[seen], vectors[:, seen], c[seen]

  def excess(mu):
    return np.linalg.norm(c / (values + mu)) - norm

  mu = 0.0
  if excess(0.0) > 0:
    top = np.linalg.norm(c) / norm
    mu = scipy.optimize.brentq(excess, 0, top, xtol=1e-15, rtol=1e-14)
  return vectors @ (c / (values + mu))


def sides(seed, m, pairs=PAIRS):
  """Both theorems in one world with one sample of size m."""
  world, rng = World(seed), np.random.default_rng([seed, 1])
  p = rng.multinomial(m, world.all) / m
  learnt = {name: world.learn(name, p, rng) for name in COLUMNS}
  risk = {name: world.risk(w, world.all) for name, (w, _) in learnt.items()}
  eta = {name: world.eta(A) for name, (_, A) in learnt.items()}
  options = dict(num_examples=m, **world.loss)
  first = [
    bounds.theorem1(
      risk[M], risk[N], eta[M] - eta[N], world.complexity(M, m), **options
    )
    for M, N in pairs
  ]
  oracle = world.risk(world.oracle(), p)
  second = [
    bounds.theorem2(
      eta[name],
      world.complexity(name, m),
      world.complexity('ab', m),
      world.risk(w, p) - oracle,
      **options,
    )
    for name, (w, _) in learnt.items()
  ]
  return first, second


def without(side, *names):
  return side.right - sum(side.terms[name] for name in names)


@some
@hypothesis.given(seeds)
def test_the_world_is_what_it_claims(seed):
  """Least squares over a ball beats every other point of it; losses in range."""
  world, rng = World(seed), np.random.default_rng(seed)
  p = rng.multinomial(20, world.all) / 20
  w, A = world.learn('ab', p, rng)
  others = rng.normal(size=(200, 4))
  others *= (rng.uniform(size=200) / np.linalg.norm(others, axis=1))[:, None]
  others[100:] = w + 0.01 * others[100:]
  others = [v / max(1, np.linalg.norm(v) / BALL) for v in others]
  assert world.risk(w, p) <= min(world.risk(v, p) for v in others) + 1e-12
  assert np.linalg.norm(w) <= BALL + 1e-9
  assert np.linalg.norm(A) <= BALL / HEAD + 1e-9
  loss = np.square(world.x @ w - world.y)
  assert loss.max() <= world.loss['bound']
  assert np.abs(2 * (world.x @ w - world.y)).max() <= world.loss['lipschitz']
  assert world.eta(A) >= -1e-12  # no head on a frozen encoder beats the oracle
  best = world.risk(world.oracle(), world.all)
  assert world.risk(w, world.all) >= best + world.eta(A) - 1e-12
  Q, c = world.moments(world.all, np.eye(4))
  np.testing.assert_allclose(Q, np.diag(world.scale**2), atol=1e-15)
  np.testing.assert_allclose(c, world.scale**2 * world.w, atol=1e-15)


@some
@hypothesis.given(seeds, st.integers(1, 30))
def test_theorems_hold_in_every_world(seed, log2):
  first, second = sides(seed, 2**log2)
  assert all(side.holds for side in first + second)


def test_the_theorems_need_their_complexity_and_confidence_terms():
  """Without them they fail in these worlds: what holds above is not empty."""
  noise = 'complexity', 'offset', 'confidence'
  failed = {'first': 0, 'second': 0}
  for seed in range(30):
    first, second = sides(seed, 64)
    failed['first'] += sum(s.left > without(s, *noise) for s in first)
    names = 'complexity_M', 'complexity_all', 'confidence'
    failed['second'] += sum(s.left > without(s, *names) for s in second)
  assert failed['first'] >= 5 and failed['second'] >= 5, failed


def test_large_samples_leave_no_room_for_a_wrong_sign():
  """With 2^40 examples both sides meet, to 1e-3 and far from zero."""
  wrong = []
  for seed in range(20):
    # The proof of theorem 1 never uses that N is a subset of M.
    first, second = sides(seed, 2**40, PAIRS + [(N, M) for M, N in PAIRS])
    for side, name in [
      *((s, 'gamma') for s in first),
      *((s, 'centred_empirical_loss') for s in second),
    ]:
      assert 0 <= side.slack < 1e-3
      flipped = without(side, name, name)  # the term with the other sign
      wrong.append((name, side.left > flipped))
  assert sum(bad for name, bad in wrong if name == 'gamma') >= 20
  assert sum(bad for name, bad in wrong if name != 'gamma') >= 20


# Arithmetic.


def test_theorem1_term_by_term():
  got = bounds.theorem1(
    0.9, 0.7, -0.1, 0.05, lipschitz=2, bound=3, num_examples=100, delta=0.1
  )
  root = 0.244774646  # sqrt(2 ln 20 / 100)
  want = dict(gamma=-0.1, complexity=0.8, offset=1.2, confidence=6 * root)
  assert got.terms == pytest.approx(want)
  assert got.left == pytest.approx(0.2)
  assert got.right == pytest.approx(sum(want.values()))
  assert got.slack == pytest.approx(got.right - 0.2)
  assert got.holds is True


def test_theorem2_term_by_term():
  got = bounds.theorem2(
    *(5.0, 0.05, 0.07, -0.3),
    **dict(lipschitz=2, bound=3, num_examples=100, delta=0.1),
  )
  want = dict(
    complexity_M=0.4,
    complexity_all=0.56,  # with L, which the published text leaves out
    confidence=18 * 0.244774646,
    centred_empirical_loss=-0.3,
  )
  assert got.terms == pytest.approx(want)
  assert got.left == 5 and got.right == pytest.approx(sum(want.values()))
  assert got.right == pytest.approx(5.06594363)
  assert got.holds is True and not got._replace(left=5.1).holds


def test_arrays_are_the_numbers_one_by_one():
  sizes, risks = np.array([10, 1000, 10**6]), np.array([0.5, 0.4, 0.3])
  options = dict(lipschitz=1.0, bound=0.1, delta=0.2)
  many = bounds.theorem1(
    risks, 0.1, -0.05, 0.1 / sizes**0.5, num_examples=sizes, **options
  )
  assert many.holds.tolist() == [True, False, False]
  for i, m in enumerate(sizes):
    one = bounds.theorem1(
      risks[i], 0.1, -0.05, 0.1 / m**0.5, num_examples=m, **options
    )
    assert one.slack == pytest.approx(many.slack[i])
    for name, term in many.terms.items():  # of one shape, also the constants
      assert term.shape == (3,) and term[i] == pytest.approx(one.terms[name])


# The selection principle.

positive = st.floats(1e-2, 1e2)


@some
@hypothesis.given(positive, st.floats(1.5, 10), st.floats(0.05, 0.2))
def test_the_principle_crosses_where_its_algebra_says(small, times, gain):
  """A constant gain g pays from m = ((sqrt(C_M) - sqrt(C_N)) / g)^2 on."""
  root_N, root_M = small**0.5, times * small**0.5
  want = max(((root_M - root_N) / gain) ** 2, 1)
  sizes = np.geomspace(1, 1e9, 400)
  got = bounds.principle(0.5, 0.5 + gain, root_M**2, root_N**2, sizes)
  pays = gain * np.sqrt(sizes) >= root_M - root_N
  near = np.isclose(gain * np.sqrt(sizes), root_M - root_N)
  assert ((got.prefer == pays) | near).all()
  assert bounds.crossing(sizes, got) == pytest.approx(want, rel=1e-2)
  # The smaller set is preferred for what the larger one costs, and back.
  back = bounds.principle(0.5 + gain, 0.5, root_N**2, root_M**2, sizes)
  assert (back.slack == -got.slack).all()


def test_principle_in_the_vocabulary_of_sides():
  got = bounds.principle(0.3, 0.4, 9.0, 4.0, 100)
  assert got.left == pytest.approx(0.1) and got.right == pytest.approx(0.1)
  assert got.terms == pytest.approx(dict(empirical_N=0.4, empirical_M=-0.3))
  assert bounds.principle(0.3, 0.4, 9.0, 4.0, 99).prefer is False
  assert bounds.principle(0.3, 0.4, 9.0, 4.0, 101).prefer is True


@some
@hypothesis.given(positive, st.integers(1, 10**6))
def test_capacity_gives_the_complexity_back(complexity, m):
  root = (bounds.capacity(complexity, m) / m) ** 0.5
  assert root == pytest.approx(complexity)
  # Of a linear class, norm^2 E ||x||^2: the sample size drops out.
  one, other = (
    bounds.capacity(complexity / m**0.5, m),
    bounds.capacity(complexity, 1),
  )
  assert one == pytest.approx(other)


def slacks(*values):
  return bounds.Sides(np.zeros(len(values)), np.array(values, float), {})


def test_crossing_is_where_it_begins_and_stays():
  sizes = [1, 10, 100, 1000]
  assert slacks(-1, 0, 1).holds.tolist() == [False, True, True]
  assert bounds.crossing(sizes, slacks(1, 1, 1, 1)) == 1
  assert bounds.crossing(sizes, slacks(1, 1, 1, -1)) is None
  assert bounds.crossing(sizes, slacks(-1, 0, 0, 0)) == pytest.approx(10)
  want = pytest.approx(10**1.25)  # the crossing below 10 does not stay
  assert bounds.crossing(sizes, slacks(2, -1, 3, 1)) == want
  line = np.log(sizes) - np.log(37)
  assert bounds.crossing(sizes, slacks(*line)) == pytest.approx(37)


# Errors.


def first(**changes):
  good = dict(risk_M=1.0, risk_N=1.0, gamma=0.0, complexity=0.1)
  good |= dict(lipschitz=1.0, bound=1.0, num_examples=10, delta=0.1)
  return bounds.theorem1(**good | changes)


def second(**changes):
  good = dict(eta_M=1.0, complexity_M=0.1, complexity_all=0.1)
  good |= dict(centred_empirical_loss=0.0, lipschitz=1.0, bound=1.0)
  return bounds.theorem2(**good | dict(num_examples=10, delta=0.1) | changes)


def weigh(**changes):
  good = dict(empirical_M=0.1, empirical_N=0.2, capacity_M=2.0, capacity_N=1.0)
  return bounds.principle(**good | dict(num_examples=10) | changes)


@pytest.mark.parametrize('theorem', [first, second])
@pytest.mark.parametrize(
  'name, value',
  [
    *(('delta', d) for d in (0.0, 1.0, -0.1, 1.5, np.nan)),
    *(('num_examples', m) for m in (0, 0.5, -3, np.nan, [10, 0])),
    *(('bound', c) for c in (-1.0, np.inf)),
    *(('lipschitz', c) for c in (-1.0, np.nan)),
  ],
)
def test_errors_of_both_theorems(theorem, name, value):
  with pytest.raises(ValueError, match=name):
    theorem(**{name: value})
  theorem()


@pytest.mark.parametrize(
  'call, name, value',
  [
    *((first, name, np.nan) for name in ('risk_M', 'risk_N', 'gamma')),
    (first, 'complexity', -0.1),
    (second, 'complexity_M', -0.1),
    (second, 'complexity_all', -0.1),
    (second, 'eta_M', np.inf),
    (second, 'centred_empirical_loss', np.nan),
    (weigh, 'empirical_M', np.nan),
    (weigh, 'empirical_N', [0.1, np.inf]),
    (weigh, 'capacity_M', -1.0),
    (weigh, 'capacity_N', -1.0),
    (weigh, 'num_examples', 0),
  ],
)
def test_errors_name_the_argument(call, name, value):
  with pytest.raises(ValueError, match=name):
    call(**{name: value})
  call()


def test_errors_of_shapes_and_sizes():
  with pytest.raises(ValueError, match=r"'gamma': \(2,\).*one shape"):
    first(gamma=[0.1, 0.2], risk_M=[1.0, 1.0, 1.0])
  with pytest.raises(ValueError, match='complexity=.*give the value'):
    first(complexity=(0.1, 'bound'))
  with pytest.raises(ValueError, match='complexity=-1'):
    bounds.capacity(-1, 10)
  for sizes, says in [
    ([1, 2], 'one for each element'),
    (10, 'one for each element'),
    ([1, 2, 2], 'must increase'),
    ([0, 1, 2], 'from 1 or more'),
  ]:
    with pytest.raises(ValueError, match=says):
      bounds.crossing(sizes, slacks(1, 2, 3))
  with pytest.raises(ValueError, match='slack=.* finite'):
    bounds.crossing([1, 2], slacks(np.nan, 1))
