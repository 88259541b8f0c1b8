"""Rademacher complexity: closed forms, exact suprema, what must never happen."""

import functools
import itertools

import hypothesis
import hypothesis.extra.numpy as hnp
import hypothesis.strategies as st
import jax
import jax.flatten_util
import jax.numpy as jnp
import numpy as np
import pytest

from mmjax.lab import rademacher

few = hypothesis.settings(deadline=None, max_examples=30)
seeds = st.integers(0, 2**31 - 1)
entries = st.floats(-10, 10, width=32, allow_subnormal=False)
matrices = hnp.arrays(np.float64, (6, 3), elements=entries)
norms = st.floats(1e-2, 1e2)
KEY = jax.random.key(0)


def normal(seed, *shape):
  draw = np.random.default_rng(seed).normal(size=shape)
  return draw.astype(np.float32)


def ball(x, norm):
  return x * jnp.minimum(1, norm / jnp.linalg.norm(x))


def suprema(key, x_NF, norm, *, draws, num_outputs):
  """Of the linear class for each draw, by Cauchy-Schwarz, in float64."""
  size = dict(draws=draws, num_outputs=num_outputs)
  sigma = rademacher.signs(key, len(x_NF), **size).astype(float)
  return [norm / len(x_NF) * np.linalg.norm(x_NF.T @ s) for s in sigma]


# The linear class.


@few
@hypothesis.given(seeds, matrices, norms, st.sampled_from([1, 3]))
def test_linear_never_exceeds_its_bound_nor_falls_far_below(seed, x, norm, C):
  top = rademacher.linear_bound(x, norm, num_outputs=C)
  key = jax.random.key(seed)
  got = rademacher.linear(key, x, norm, num_outputs=C, draws=64)
  assert got.value <= top.value
  # Kahane-Khintchine: the first moment is at least 1 / sqrt(2) of the second.
  assert got.value >= top.value / 2**0.5 - 6 * got.error
  assert top.kind == 'bound' and top.error == top.draws == 0
  assert got.draws == 64 and got.error >= 0


@pytest.mark.parametrize('C, N', [(1, 8), (2, 4)])
def test_linear_estimates_the_mean_over_all_signs(C, N):
  x_NF = normal(3, N, 2) + 1
  cube = np.array(list(itertools.product([-1, 1], repeat=N * C)))
  cube = cube.reshape(-1, N, C)
  want = np.mean([3 / N * np.linalg.norm(x_NF.T @ s) for s in cube])
  got = rademacher.linear(KEY, x_NF, 3.0, num_outputs=C, draws=4000)
  assert abs(got.value - want) < 4 * got.error < 0.02 * want
  # Jensen's gap is real here, so the estimate cannot be the bound itself.
  top = rademacher.linear_bound(x_NF, 3.0, num_outputs=C).value
  assert got.value < 0.99 * top


def test_the_standard_error_is_what_other_keys_show():
  x_NF = normal(0, 5, 1)
  keys = jax.random.split(KEY, 60)
  many = [rademacher.linear(key, x_NF, 1.0, draws=50) for key in keys]
  spread = np.std([one.value for one in many], ddof=1)
  assert 0.7 < spread / np.mean([one.error for one in many]) < 1.4


@few
@hypothesis.given(seeds, st.sampled_from([1, 3]), st.floats(0.1, 10))
def test_orthogonal_examples_attain_the_bound(seed, C, norm):
  """No sign changes ||X^T sigma|| then: sqrt(C sum ||x_i||^2) it is."""
  q, _ = np.linalg.qr(np.random.default_rng(seed).normal(size=(4, 4)))
  x_NF = np.array([[1.0], [2.0], [3.0], [0.5]]) * q
  want = norm * np.sqrt(C * (1 + 4 + 9 + 0.25)) / 4
  got = rademacher.linear(KEY, x_NF, norm, num_outputs=C, draws=8)
  np.testing.assert_allclose(got.value, want)
  assert got.error < 1e-12 * want
  alone = rademacher.linear(KEY, x_NF[:1], norm, num_outputs=C, draws=8)
  np.testing.assert_allclose(alone.value, norm * C**0.5)


def test_linear_falls_with_the_root_of_the_sample():
  values = [
    rademacher.linear(KEY, np.eye(n), 2.0, draws=4).value for n in (4, 64)
  ]
  np.testing.assert_allclose(values, [2 / 4**0.5, 2 / 64**0.5])
  x_NF = normal(1, 10, 3)
  one = rademacher.linear_bound(x_NF, 1.0).value
  nine = rademacher.linear_bound(np.tile(x_NF, (9, 1)), 1.0).value
  np.testing.assert_allclose(nine, one / 3)
  wide = [
    rademacher.linear(KEY, normal(2, n, 2), 1.0).value for n in (50, 5000)
  ]
  np.testing.assert_allclose(wide[0] / wide[1], 10, rtol=0.2)


@few
@hypothesis.given(seeds, matrices, norms)
def test_linear_is_homogeneous_in_norm_and_inputs(seed, x, norm):
  key = jax.random.key(seed)
  one = rademacher.linear(key, x, 1.0, draws=16)
  for other in (
    rademacher.linear(key, x, norm, draws=16),
    rademacher.linear(key, norm * x, 1.0, draws=16),
  ):
    np.testing.assert_allclose(other.value, norm * one.value)
    np.testing.assert_allclose(other.error, norm * one.error, atol=1e-9)


def test_many_draws_go_in_chunks(monkeypatch):
  x_NF = normal(4, 20, 3)
  want = rademacher.linear(KEY, x_NF, 1.0, num_outputs=2, draws=30)
  monkeypatch.setattr(rademacher, 'CHUNK', 7 * 20 * 2)  # 7 draws, the last 2
  got = rademacher.linear(KEY, x_NF, 1.0, num_outputs=2, draws=30)
  np.testing.assert_allclose(got.value, want.value)
  assert rademacher.linear(KEY, 0 * x_NF, 1.0).value == 0


def test_signs_are_fair_and_of_their_key():
  sigma = rademacher.signs(KEY, 50, draws=40, num_outputs=5)
  assert sigma.shape == (40, 50, 5) and set(np.unique(sigma)) == {-1, 1}
  assert abs(sigma.mean()) < 4 / sigma.size**0.5
  flat = sigma.reshape(40, -1).astype(float)
  gram = flat @ flat.T / flat.shape[1]  # no draw repeats another
  assert np.abs(gram - np.eye(40)).max() < 6 / flat.shape[1] ** 0.5
  again = rademacher.signs(jax.random.key(0), 50, draws=40, num_outputs=5)
  other = rademacher.signs(jax.random.key(1), 50, draws=40, num_outputs=5)
  assert (again == sigma).all() and (other != sigma).any()


# Any class, by ascent.


def test_ascent_reaches_the_supremum_of_the_linear_class():
  x_NF = normal(5, 12, 7)
  x_NF[:, 0] *= 5  # to project Adam's own steps would stop at 0.8 here
  got = rademacher.by_optimisation(
    KEY,
    lambda w, x: jnp.concatenate([x['sound'], x['sight']], axis=1) @ w,
    lambda key: jax.random.normal(key, (7, 3)),
    lambda w: ball(w, 100.0),
    {'sound': x_NF[:, :3], 'sight': x_NF[:, 3:]},
    draws=16,
    num_outputs=3,
  )
  want = suprema(KEY, x_NF, 100.0, draws=16, num_outputs=3)
  assert 0.98 < got.value / np.mean(want) < 1 + 1e-6
  np.testing.assert_allclose(got.error, np.std(want, ddof=1) / 4, rtol=0.02)
  assert got.kind == 'lower estimate' and got.draws == 16
  assert 0 <= got.change < 0.01


ENCODERS, HEAD = {'sound': 2.0, 'sight': 0.5}, 3.0
PARTS = {'sound': normal(6, 15, 4), 'sight': 2 * normal(7, 15, 6)}


@functools.cache  # the same functions compile once
def two_layers(C, width=5):
  """The published class: an encoder per modality, concatenation, a head."""
  shapes = {m: (x.shape[1], width) for m, x in PARTS.items()}
  blank = {
    'encoders': {m: jnp.zeros(shape) for m, shape in shapes.items()},
    'head': {m: jnp.zeros((width, C)) for m in PARTS},
  }
  flat, unravel = jax.flatten_util.ravel_pytree(blank)

  def init(key):
    return unravel(jax.random.normal(key, flat.shape))

  def project(params):
    whole = jnp.concatenate(list(params['head'].values()))
    share = jnp.minimum(1, HEAD / jnp.linalg.norm(whole))
    encoders = {m: ball(v, ENCODERS[m]) for m, v in params['encoders'].items()}
    head = {m: share * w for m, w in params['head'].items()}
    return {'encoders': encoders, 'head': head}

  def apply(params, x):
    z = {m: x[m] @ params['encoders'][m] for m in x}
    return sum(z[m] @ params['head'][m] for m in x)

  return apply, init, project


@pytest.mark.parametrize('C', [1, 3])
def test_two_layer_bound_dominates_the_class_and_ascent_reaches_it(C):
  options = dict(draws=128, num_outputs=C)
  got = rademacher.by_optimisation(KEY, *two_layers(C), PARTS, **options)
  # Exactly: the best encoders and heads of a modality have rank one, and the
  # head's norm is shared out by Cauchy-Schwarz.
  want = []
  for s in rademacher.signs(KEY, 15, **options).astype(float):
    tops = [ENCODERS[m] * np.linalg.norm(PARTS[m].T @ s, 2) for m in PARTS]
    want.append(HEAD * np.linalg.norm(tops) / 15)
  assert 0.98 < got.value / np.mean(want) < 1 + 1e-6
  top = rademacher.two_layer_bound(PARTS, ENCODERS, HEAD, num_outputs=C)
  assert got.value < top.value
  if C == 1:  # nothing but Jensen between the two: no factor to spare
    assert top.value < 1.15 * np.mean(want)


def test_an_ascent_that_was_stopped_early_says_so():
  options = dict(draws=128, num_outputs=3, lr=1e-3)
  got = rademacher.by_optimisation(KEY, *two_layers(3), PARTS, **options)
  assert got.change > 0.01


def test_ascent_starts_from_nothing_and_passes_over_zero():
  """Weights at 0 and a class of one function: neither divides by zero."""
  x_NF = normal(8, 6, 2)
  got = rademacher.by_optimisation(
    KEY,
    lambda w, x: x @ w,
    lambda _: jnp.zeros(2),
    lambda w: jnp.clip(w, -0.01, 0.01),
    x_NF,
    draws=8,
  )
  sigma = rademacher.signs(KEY, 6, draws=8).astype(float)
  want = [0.01 * np.abs(x_NF.T @ s).sum() / 6 for s in sigma]  # the dual norm
  np.testing.assert_allclose(got.value, np.mean(want), rtol=0.02)
  still = rademacher.by_optimisation(
    KEY, lambda w, x: 0 * (x @ w), lambda _: jnp.ones(2), lambda w: w, x_NF
  )
  assert still.value == still.change == 0


# Two layers, in closed form.


@few
@hypothesis.given(matrices, matrices, norms, norms, norms, st.integers(1, 4))
def test_two_layer_bound_grows_with_modalities_and_norms(x, y, a, b, head, C):
  options = dict(num_outputs=C)
  alone = rademacher.two_layer_bound({'x': x}, {'x': a}, head, **options).value
  want = rademacher.linear_bound(x, a * head, **options).value
  np.testing.assert_allclose(alone, want)
  other = rademacher.two_layer_bound({'y': y}, {'y': b}, head, **options).value
  parts, encoders = {'x': x, 'y': y}, {'x': a, 'y': b}
  both = rademacher.two_layer_bound(parts, encoders, head, **options).value
  np.testing.assert_allclose(both, np.hypot(alone, other))
  assert both >= max(alone, other) * (1 - 1e-12)


# Errors.


def ascend(x=None, **keywords):
  x = normal(9, 4, 2) if x is None else x
  start = keywords.pop('start', 1.0)
  return rademacher.by_optimisation(
    KEY,
    lambda w, x: jax.tree.leaves(x)[0] @ w,
    lambda _: start * jnp.ones((2, 2)),
    lambda w: ball(w, 1.0),
    x,
    **{'num_outputs': 2, 'draws': 2, 'steps': 2} | keywords,
  )


@pytest.mark.parametrize(
  'call, says',
  [
    (lambda: rademacher.linear_bound(np.ones(3), 1.0), 'x_NF of shape'),
    (lambda: rademacher.linear_bound(np.ones((0, 3)), 1.0), r'\(0, 3\)'),
    (lambda: rademacher.linear_bound([[np.nan]], 1.0), 'finite matrix'),
    (lambda: rademacher.linear_bound([[1.0]], -1.0), 'norm=-1.0'),
    (lambda: rademacher.linear_bound([[1.0]], np.inf), 'norm=inf'),
    (
      lambda: rademacher.linear_bound([[1.0]], 1.0, num_outputs=0),
      'num_outputs=0',
    ),
    (lambda: rademacher.linear(KEY, [[1.0]], 1.0, draws=1), 'draws=1'),
    (lambda: ascend(draws=1), 'draws=1'),
    (lambda: ascend(steps=0), 'steps=0'),
    (lambda: ascend(lr=0.0), 'lr=0.0'),
    (lambda: ascend(num_outputs=1), r'apply gives \(4, 2\)'),
    (lambda: ascend([np.ones((4, 2)), np.ones((3, 2))]), 'same number of rows'),
    (lambda: ascend({}), 'same number of rows'),
    (lambda: ascend(start=0.0), 'left the finite numbers'),  # the ball's kink
    (
      lambda: rademacher.two_layer_bound({'x': [[1.0]]}, {'y': 1.0}, 1.0),
      'same modalities',
    ),
    (lambda: rademacher.two_layer_bound({}, {}, 1.0), 'same modalities'),
    (
      lambda: rademacher.two_layer_bound({'x': [[1.0]]}, {'x': -1.0}, 1.0),
      r"encoder_norms\['x'\]=-1.0",
    ),
    (
      lambda: rademacher.two_layer_bound(
        {'x': [[1.0]], 'y': [[1.0], [2.0]]}, {'x': 1.0, 'y': 1.0}, 1.0
      ),
      'same number of rows',
    ),
  ],
)
def test_errors_name_what_is_wrong(call, says):
  with pytest.raises(ValueError, match=says):
    call()
