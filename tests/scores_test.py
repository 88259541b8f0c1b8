"""Measures against closed forms, axioms and scikit-learn."""

import itertools
import math

import hypothesis
import hypothesis.extra.numpy as arrays
import hypothesis.strategies as st
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mmjax.ops import scores

few = hypothesis.settings(deadline=None, max_examples=30)


def subsets_of(names):
  sizes = range(len(names) + 1)
  return [s for k in sizes for s in itertools.combinations(names, k)]


@st.composite
def games(draw):
  names = ['a', 'b', 'c', 'd'][: draw(st.integers(1, 4))]
  number = st.floats(-10, 10)
  return names, {s: draw(number) for s in subsets_of(names)}


def test_gap_of_orthogonal_and_opposite_clouds():
  x_BD = jnp.array([[2.0, 0.0], [5.0, 0.0]])
  y_BD = jnp.array([[0.0, 0.1], [0.0, 7.0], [0.0, 1.0]])
  np.testing.assert_allclose(
    scores.modality_gap(x_BD, y_BD), math.sqrt(2), rtol=1e-6
  )
  np.testing.assert_allclose(scores.modality_gap(x_BD, -x_BD), 2, rtol=1e-6)


@few
@hypothesis.given(
  arrays.arrays(np.float32, (4, 3), elements=st.floats(0.125, 5, width=32)),
  st.floats(0.1, 10),
)
def test_gap_ignores_order_and_scale_and_is_symmetric(x_BD, scale):
  y_BD = np.roll(x_BD, 1, axis=1)
  gap = scores.modality_gap(x_BD, y_BD)
  assert 0 <= gap <= 2 + 1e-6
  np.testing.assert_allclose(scores.modality_gap(y_BD, x_BD), gap, atol=1e-6)
  moved = scores.modality_gap(scale * x_BD[::-1], y_BD)
  np.testing.assert_allclose(moved, gap, atol=1e-5)


def test_gap_under_jit_and_grad_with_a_zero_row():
  x_BD = jnp.array([[0.0, 0.0], [3.0, 4.0]])
  y_BD = jnp.array([[1.0, 0.0]])
  value, slope = jax.jit(jax.value_and_grad(scores.modality_gap))(x_BD, y_BD)
  np.testing.assert_allclose(value, np.hypot(0.3 - 1, 0.4), rtol=1e-6)
  assert np.isfinite(slope).all()


def test_gap_refuses_two_widths():
  with pytest.raises(ValueError, match=r'\(2, 3\) and \(2, 4\)'):
    scores.modality_gap(jnp.ones((2, 3)), jnp.ones((2, 4)))


def test_shapley_of_two_modalities_in_closed_form():
  v = {(): 0.1, ('audio',): 0.6, ('visual',): 0.3, ('audio', 'visual'): 0.9}
  share = scores.shapley(v)
  assert share['audio'] == pytest.approx((0.6 - 0.1 + 0.9 - 0.3) / 2)
  assert share['visual'] == pytest.approx((0.3 - 0.1 + 0.9 - 0.6) / 2)
  assert scores.shapley({frozenset(s): x for s, x in v.items()}) == share


@few
@hypothesis.given(games())
def test_shapley_equals_the_mean_over_all_orders(game):
  names, value = game
  expected = dict.fromkeys(names, 0.0)
  orders = list(itertools.permutations(names))
  for order in orders:
    for i, name in enumerate(order):
      before = tuple(sorted(order[:i]))
      after = tuple(sorted(order[: i + 1]))
      expected[name] += (value[after] - value[before]) / len(orders)
  assert scores.shapley(value) == pytest.approx(expected, abs=1e-9)


@few
@hypothesis.given(games())
def test_shapley_is_efficient(game):
  names, value = game
  total = sum(scores.shapley(value).values())
  assert total == pytest.approx(value[tuple(names)] - value[()], abs=1e-9)


@few
@hypothesis.given(st.lists(st.floats(-5, 5), min_size=4, max_size=4))
def test_shapley_treats_twins_alike_and_gives_a_null_player_nothing(by_size):
  # The value counts how many of a and b are in; c changes nothing.
  value = {s: by_size[len(set(s) - {'c'})] for s in subsets_of('abc')}
  share = scores.shapley(value)
  assert share['a'] == pytest.approx(share['b'], abs=1e-9)
  assert share['c'] == pytest.approx(0, abs=1e-9)


def test_shapley_names_what_is_missing_or_wrong():
  with pytest.raises(
    ValueError, match=r'missing: \(\) \(the empty one\), b\.$'
  ):
    scores.shapley({('a',): 1, ('a', 'b'): 2})
  with pytest.raises(ValueError, match='twice'):
    scores.shapley({(): 0, ('a', 'b'): 1, ('b', 'a'): 2})
  with pytest.raises(ValueError, match="'audio'"):
    scores.shapley({(): 0, 'audio': 1})


def test_ece_of_a_calibrated_predictor_is_zero():
  # Ten examples of confidence .8, eight of them right; ten of .6, six right.
  top_N = np.repeat([0.8, 0.6], 10)
  label_N = np.concatenate([np.arange(10) >= 8, np.arange(10) >= 6])
  probs_NC = np.stack([top_N, 1 - top_N], 1)
  assert scores.ece(probs_NC, label_N.astype(int)) == pytest.approx(0)


def test_ece_of_a_constant_predictor_is_its_overconfidence():
  probs_NC = np.tile([0.9, 0.1], (10, 1))
  label_N = np.array([0] * 3 + [1] * 7)
  assert scores.ece(probs_NC, label_N) == pytest.approx(0.6)
  sure_NC = np.tile([1.0, 0.0], (10, 1))
  assert scores.ece(jnp.asarray(sure_NC), label_N) == pytest.approx(0.7)


def test_ece_weighs_bins_by_their_counts():
  probs_NC = np.array([[0.95, 0.05]] * 3 + [[0.55, 0.45]])
  label_N = np.array([0, 0, 1, 1])
  expected = 3 / 4 * abs(2 / 3 - 0.95) + 1 / 4 * abs(0 - 0.55)
  assert scores.ece(probs_NC, label_N, bins=10) == pytest.approx(expected)


def test_a_confidence_on_an_edge_falls_into_the_lower_bin():
  probs_NC = np.array([[0.5, 0.5], [0.75, 0.25], [1.0, 0.0]])
  bins = scores.reliability(probs_NC, np.zeros(3, int), bins=4)
  np.testing.assert_array_equal(bins.count, [0, 1, 1, 1])
  np.testing.assert_array_equal(bins.confidence, [np.nan, 0.5, 0.75, 1])


def test_ece_without_examples_and_with_logits():
  assert math.isnan(scores.ece(np.zeros((0, 3)), np.zeros(0, int)))
  with pytest.raises(ValueError, match='softmax'):
    scores.ece([[-2.0, 3.0]], [1])
  with pytest.raises(ValueError, match='labels'):
    scores.ece([[0.5, 0.5]], [1, 0])
