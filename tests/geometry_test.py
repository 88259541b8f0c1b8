"""Alignment and uniformity against closed forms and brute force."""

import hypothesis
import hypothesis.strategies as st
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from retrieval_test import METHOD, make_batch, make_kit, rows_of

from mmjax.evals import geometry

few = hypothesis.settings(deadline=None, max_examples=25)
seeds = st.integers(0, 2**31 - 1)


def unit(x_ND):
  return x_ND / np.linalg.norm(x_ND, axis=1, keepdims=True)


def test_pairs_that_coincide_and_pairs_that_are_opposite():
  x_ND, each = np.eye(4), np.arange(4)
  found = geometry.similarities(3 * x_ND, 5 * x_ND, each, each)
  expected = {
    'alignment': 0,
    'similarity_pairs': 1,
    'similarity_others': 0,
  }
  assert found == pytest.approx(expected, abs=1e-12)
  found = geometry.similarities(x_ND, -x_ND, each, each)
  assert found['alignment'] == pytest.approx(4)
  assert found['similarity_pairs'] == pytest.approx(-1)


@few
@hypothesis.given(seeds)
def test_similarities_are_those_of_all_couples(seed):
  draw = np.random.default_rng(seed)
  x_ND, y_KD = draw.normal(size=(6, 3)), draw.normal(size=(8, 3))
  own_NK = draw.random((6, 8)) < 0.4
  own_NK[0, 0], own_NK[0, 1] = True, False
  found = geometry.similarities(x_ND, y_KD, *np.nonzero(own_NK))
  cosine_NK = unit(x_ND) @ unit(y_KD).T
  assert found['similarity_pairs'] == pytest.approx(cosine_NK[own_NK].mean())
  assert found['similarity_others'] == pytest.approx(cosine_NK[~own_NK].mean())
  # |u - v|^2 = 2 - 2 cos
  distance = 2 - 2 * cosine_NK[own_NK].mean()
  assert found['alignment'] == pytest.approx(distance)


def test_uniformity_in_closed_form():
  # Two opposite points are 2 apart; four on axes sqrt(2), their opposites 2.
  pair = np.array([[1.0, 0], [-3, 0]])
  assert geometry.uniformity(pair) == pytest.approx(-8)
  cross = np.concatenate([np.eye(2), -np.eye(2)])
  expected = np.log((2 * np.exp(-4) + np.exp(-8)) / 3)
  assert geometry.uniformity(cross) == pytest.approx(expected)
  assert geometry.uniformity(np.ones((5, 3))) == pytest.approx(0, abs=1e-12)
  assert np.isnan(geometry.uniformity(pair[:1]))
  assert np.isnan(geometry.uniformity(np.full((3, 2), np.nan)))


@few
@hypothesis.given(seeds, st.integers(1, 12))
def test_uniformity_is_the_mean_over_couples_in_any_blocks(seed, block):
  x_ND = np.random.default_rng(seed).normal(size=(10, 3))
  u_ND = unit(x_ND)
  square_NN = np.sum((u_ND[:, None] - u_ND[None]) ** 2, axis=-1)
  couples = square_NN[np.triu_indices(10, 1)]
  expected = np.log(np.mean(np.exp(-2 * couples)))
  assert geometry.uniformity(x_ND, block) == pytest.approx(expected)
  assert -8 - 1e-9 <= expected <= 0


def test_an_entry_counts_once():
  batch = make_batch()
  made = geometry.make(make_kit('image', 'text'), METHOD)
  numbers = made.report(rows_of(made, batch))
  picture_ND = batch['image'][::3]
  expected = geometry.uniformity(picture_ND)
  assert numbers['geometry/image/uniformity'] == pytest.approx(expected)
  pair_P = np.sum(unit(batch['image']) * unit(batch['text']), axis=1)
  paths = {path.split('/', 1)[1] for path in numbers}
  assert paths == {
    *('image-text/alignment', 'image-text/similarity_pairs'),
    *('image-text/similarity_others', 'image/uniformity', 'text/uniformity'),
  }
  found = numbers['geometry/image-text/similarity_pairs']
  assert found == pytest.approx(pair_P.mean(), rel=1e-5)
  cosine_NK = unit(picture_ND) @ unit(batch['text']).T
  own_NK = np.arange(10)[:, None] == np.arange(30)[None] // 3
  found = numbers['geometry/image-text/similarity_others']
  assert found == pytest.approx(cosine_NK[~own_NK].mean(), rel=1e-5)


def test_large_splits_are_thinned_out_evenly():
  batch = make_batch()
  made = geometry.make(make_kit('image', 'text'), METHOD, max_entries=4)
  numbers = made.report(rows_of(made, batch))
  some_ND = batch['text'][[0, 10, 19, 29]]
  expected = geometry.uniformity(some_ND)
  assert numbers['geometry/text/uniformity'] == pytest.approx(expected)
  with pytest.raises(ValueError, match='max_entries=1'):
    geometry.make(make_kit('image', 'text'), METHOD, max_entries=1)


def test_absent_examples_and_other_widths():
  batch = make_batch(audio=7)
  batch['present']['image'] = np.arange(30) > 28
  made = geometry.make(make_kit('image', 'text', 'audio'), METHOD)
  rows = rows_of(made, batch)
  numbers = made.report(rows)
  assert not any('audio/' in k for k in numbers if 'uniformity' not in k)
  assert np.isnan(numbers['geometry/image/uniformity'])
  assert np.isnan(numbers['geometry/image-text/similarity_others'])
  assert np.isfinite(numbers['geometry/image-text/similarity_pairs'])
  rows['present/image'] = np.zeros(30, bool)
  numbers = made.report(rows)
  assert np.isnan(numbers['geometry/image-text/alignment'])
  rows['feats/text'] = np.where(np.arange(30)[:, None] == 3, np.inf, 1)
  numbers = made.report(rows)
  assert np.isnan(numbers['geometry/text/uniformity'])


def test_rows_are_those_that_a_histogram_needs():
  batch = make_batch()
  made = geometry.make(make_kit('image', 'text'), METHOD)
  rows = jax.eval_shape(made.observe, jnp.float32(1), batch)
  kinds = {name.split('/')[0] for name in rows}
  assert kinds == {'feats', 'present', 'entry', 'label'}
