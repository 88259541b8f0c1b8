"""Contrastive losses: closed forms, loops, invariances, finite differences."""

import functools

import hypothesis
import hypothesis.strategies as st
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mmjax.ops import contrastive

each = pytest.mark.parametrize('positives', contrastive.POSITIVES)
QUICK = hypothesis.settings(deadline=None, max_examples=25)


def drawn(seed, count=6, width=4, classes=3):
  """(x_BD, y_BD, label_B, valid_x_B, valid_y_B), NumPy, float64."""
  rng = np.random.default_rng(seed)
  x_BD, y_BD = rng.normal(size=(2, count, width))
  label_B = rng.integers(0, classes, count)
  valid_x_B, valid_y_B = rng.random((2, count)) < 0.8
  return x_BD, y_BD, label_B, valid_x_B, valid_y_B


def reference(x, y, label, temperature, valid_x, valid_y, positives):
  """One anchor, one candidate after the other."""
  terms = []
  for i in range(len(x)):
    own = [i] if positives == 'instance' else np.flatnonzero(label == label[i])
    own = [p for p in own if valid_y[p]]
    if not valid_x[i] or not own:
      continue
    e = {}
    for j in np.flatnonzero(valid_y):
      cosine = x[i] @ y[j] / np.linalg.norm(x[i]) / np.linalg.norm(y[j])
      e[j] = np.exp(cosine / temperature)
    share = {j: value / sum(e.values()) for j, value in e.items()}
    if positives == 'supcon':
      terms.append(-np.mean([np.log(share[p]) for p in own]))
    else:
      terms.append(-np.log(sum(share[p] for p in own)))
  return np.mean(terms) if terms else 0.0


@functools.partial(jax.jit, static_argnames='positives')
def loss(x, y, label, temperature, valid_x, valid_y, positives):
  return contrastive.cross_modal(
    x, y, label, temperature, valid_x, positives, valid_y_B=valid_y
  )


slopes = jax.jit(jax.value_and_grad(loss, (0, 1)), static_argnames='positives')


@QUICK
@hypothesis.given(
  seed=st.integers(0, 10**6),
  temperature=st.sampled_from([0.07, 0.5, 3.0]),
  positives=st.sampled_from(contrastive.POSITIVES),
)
def test_a_loop_over_anchors_gives_the_same(seed, temperature, positives):
  x, y, label, *valid = drawn(seed)
  want = reference(x, y, label, temperature, *valid, positives)
  got = loss(x, y, label, temperature, *valid, positives)
  np.testing.assert_allclose(got, want, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
  'positives, want',
  # Four of two classes, all pairs alike: half of the mass is of the class.
  [('instance', np.log(4)), ('class', np.log(2)), ('supcon', np.log(4))],
)
def test_features_that_are_all_alike(positives, want):
  x, label, all_B = np.ones((4, 3)), np.array([0, 1, 0, 1]), np.ones(4, bool)
  got = loss(x, x, label, 0.1, all_B, all_B, positives)
  np.testing.assert_allclose(got, want, rtol=1e-6)


@pytest.mark.parametrize('temperature', [0.01, 0.1, 1.0])
def test_classes_on_orthogonal_axes_in_closed_form(temperature):
  """n per class, C classes: share of the class n e / (n e + n (C - 1))."""
  label, all_B = np.repeat(np.arange(3), 2), np.ones(6, bool)
  x = 5 * np.eye(3)[label]
  miss = np.log1p(2 * np.exp(-1 / temperature))
  args = x, x, label, temperature, all_B, all_B
  np.testing.assert_allclose(loss(*args, 'class'), miss, rtol=1e-5, atol=1e-7)
  for positives in ('supcon', 'instance'):  # of the two alike it is each half
    want = miss + np.log(2)
    np.testing.assert_allclose(loss(*args, positives), want, rtol=1e-5)


def test_low_temperature_counts_who_is_nearest_to_another_class():
  x, y, label, *_ = drawn(5, 12)
  all_B = np.ones(12, bool)
  unit = [a / np.linalg.norm(a, axis=1, keepdims=True) for a in (x, y)]
  cosine = unit[0] @ unit[1].T
  same = label[:, None] == label
  short = cosine.max(1) - np.where(same, cosine, -2).max(1)
  assert np.any(short > 0.1)
  got = 1e-3 * loss(x, y, label, 1e-3, all_B, all_B, 'class')
  np.testing.assert_allclose(got, short.mean(), atol=3e-3)


def test_high_temperature_counts_the_classes():
  x, y, label, *_ = drawn(6, 12)
  all_B = np.ones(12, bool)
  share = (label[:, None] == label).mean(1)
  got = loss(x, y, label, 1e6, all_B, all_B, 'class')
  np.testing.assert_allclose(got, -np.log(share).mean(), rtol=1e-4)


@each
def test_labels_that_are_all_different_leave_the_own_pair(positives):
  x, y, _, *valid = drawn(2)
  label = np.arange(6)
  want = loss(x, y, label, 0.2, *valid, 'instance')
  np.testing.assert_allclose(
    loss(x, y, label, 0.2, *valid, positives), want, rtol=1e-6
  )


@QUICK
@hypothesis.given(seed=st.integers(0, 10**6))
def test_supcon_is_what_a_positive_drawn_at_random_costs(seed):
  x, y, label, *valid = drawn(seed, 5)
  costs = []
  # An anchor alone, with each of its positives in turn as its pair.
  for i in range(5):
    own = [p for p in np.flatnonzero(label == label[i]) if valid[1][p]]
    if not valid[0][i] or not own:
      continue
    anchor = np.arange(5) == i
    each = []
    for p in own:
      order = np.arange(5)
      order[[i, p]] = p, i
      each.append(
        loss(x, y[order], label, 0.3, anchor, valid[1][order], 'instance')
      )
    costs.append(np.mean(each))
  got = loss(x, y, label, 0.3, *valid, 'supcon')
  want = np.mean(costs) if costs else 0.0
  np.testing.assert_allclose(got, want, rtol=1e-4, atol=1e-5)


@QUICK
@hypothesis.given(
  seed=st.integers(0, 10**6),
  positives=st.sampled_from(contrastive.POSITIVES),
)
def test_order_length_and_rotation_do_not_matter(seed, positives):
  x, y, label, *valid = drawn(seed)
  rng = np.random.default_rng(seed)
  want = loss(x, y, label, 0.2, *valid, positives)
  order = rng.permutation(6)
  shuffled = [a[order] for a in (x, y, label)]
  got = loss(*shuffled, 0.2, *(v[order] for v in valid), positives)
  np.testing.assert_allclose(got, want, rtol=1e-4, atol=1e-5)
  stretched = [a * np.exp(rng.normal(0, 3, (6, 1))) for a in (x, y)]
  got = loss(*stretched, label, 0.2, *valid, positives)
  np.testing.assert_allclose(got, want, rtol=1e-4, atol=1e-5)
  turn, _ = np.linalg.qr(rng.normal(size=(4, 4)))
  got = loss(x @ turn, y @ turn, label, 0.2, *valid, positives)
  np.testing.assert_allclose(got, want, rtol=1e-4, atol=1e-5)


@each
@pytest.mark.parametrize('temperature', [0.01, 0.3])
def test_gradient_is_that_of_finite_differences(positives, temperature):
  x, y, label, *valid = drawn(11)
  with jax.enable_x64(True):

    def f(sign):
      at = x + sign * 1e-6 * dx, y + sign * 1e-6 * dy
      return loss(*at, label, temperature, *valid, positives)

    _, grads = slopes(x, y, label, temperature, *valid, positives)
    dx, dy = np.random.default_rng(0).normal(size=(2, *x.shape))
    got = np.vdot(grads[0], dx) + np.vdot(grads[1], dy)
    want = (f(1) - f(-1)) / 2e-6
    np.testing.assert_allclose(got, want, rtol=1e-5, atol=1e-7)


@each
@pytest.mark.parametrize('temperature', [0.01, 1.0])
def test_features_without_length_or_example_have_finite_gradients(
  positives, temperature
):
  x, y, label, *_ = drawn(3)
  x, y = np.float32(x), np.float32(y)
  x[0] = y[1] = 0
  x[2] = y[2] = np.inf  # of who is absent, anything may stand there
  valid_B = np.arange(6) != 2

  args = x, y, label, temperature, valid_B, valid_B
  value, grads = slopes(*args, positives)
  assert np.isfinite(value)
  for g, row in zip(grads, (0, 1)):
    assert np.isfinite(g).all()
    assert not np.any(g[np.array([row, 2])])
    assert np.any(g)


@each
@pytest.mark.parametrize('who', ['nobody', 'one', 'no pair', 'one example'])
def test_without_anything_to_compare_the_loss_is_zero(positives, who):
  x, y, _, *_ = drawn(4, 1 if who == 'one example' else 6)
  label = np.arange(len(x))
  row = np.arange(len(x))
  valid_x = {'nobody': row < 0, 'no pair': row < 3}.get(who, row == 0)
  valid_y = {'no pair': row >= 3}.get(who, valid_x)
  args = np.float32(x), np.float32(y), label, 0.01, valid_x, valid_y
  value, grads = slopes(*args, positives)
  assert value == 0
  assert not any(np.any(g) for g in grads)  # and no NaN, which would be any


directions, alignment = (
  jax.jit(f, static_argnames='positives')
  for f in (contrastive.directions, contrastive.alignment)
)


@each
@pytest.mark.parametrize('modalities', [2, 3])
def test_alignment_is_the_mean_over_ordered_pairs(positives, modalities):
  rng = np.random.default_rng(1)
  names = 'abc'[:modalities]
  feats = {m: rng.normal(size=(5, 4)) for m in names}
  valid = {m: rng.random(5) < 0.8 for m in names}
  label = np.array([0, 1, 0, 1, 1])
  want = {
    (a, b): reference(
      feats[a], feats[b], label, 0.2, valid[a], valid[b], positives
    )
    for a in names
    for b in names
    if a != b
  }
  args = jax.tree.map(jnp.asarray, (feats, label, 0.2, valid))
  told = directions(*args, positives)
  assert set(told) == set(want)
  for pair, direction in told.items():
    np.testing.assert_allclose(direction.loss, want[pair], rtol=1e-4)
    assert direction.counts
  mean = np.mean(list(want.values()))
  np.testing.assert_allclose(alignment(*args, positives), mean, rtol=1e-4)


def test_a_modality_that_nobody_has_is_left_out_of_the_mean():
  rng = np.random.default_rng(1)
  feats = {m: jnp.asarray(rng.normal(size=(5, 4))) for m in 'abc'}
  valid = {'a': jnp.ones(5, bool), 'b': jnp.ones(5, bool)}
  pair = {m: feats[m] for m in 'ab'}
  label = jnp.zeros(5, jnp.int32) + jnp.arange(5) % 2
  want = alignment(pair, label, 0.2, valid)
  valid['c'] = jnp.zeros(5, bool)
  got = alignment(feats, label, 0.2, valid)
  np.testing.assert_allclose(got, want, rtol=1e-6)
  nothing = {m: jnp.zeros(5, bool) for m in 'abc'}
  told = directions(feats, label, 0.2, nothing)
  assert contrastive.average(told).loss == 0
  assert not contrastive.average(told).counts


def test_more_of_the_class_nearby_is_no_worse_than_one():
  """'class' is at most 'supcon', by Jensen, and 'instance' above it."""
  x, y, label, *_ = drawn(8, 9)
  all_B = np.ones(9, bool)
  told = {
    p: float(loss(x, y, label, 0.1, all_B, all_B, p))
    for p in contrastive.POSITIVES
  }
  assert told['class'] < told['supcon']
  assert told['class'] < told['instance']


def test_bad_arguments_name_the_way_out():
  x, y, label, valid, _ = drawn(0)
  with pytest.raises(ValueError, match=r'\(6, 4\) and \(6, 3\).*config.width'):
    loss(x, y[:, :3], label, 0.1, valid, valid, 'class')
  with pytest.raises(ValueError, match="'pair' is none of class, instance"):
    loss(x, y, label, 0.1, valid, valid, 'pair')
