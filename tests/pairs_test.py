"""Fewer, worse or other training pairs."""

import hypothesis
import hypothesis.strategies as st
import jax
import numpy as np
import pytest
import tiny

from mmjax import base
from mmjax.data import arrays, pairs

N, D = 40, 3


def source(seed=0):
  """Latents of which each row tells who it is."""
  rng = np.random.default_rng(seed)
  image = rng.normal(size=(N, D)).astype(np.float32)
  text = image + 100
  made = arrays.source({'image': image, 'text': text}, np.arange(N) % 4)
  pools = {'image': image, 'text': text}
  return made._replace(pools=pools, entries={'text': np.arange(N)})


def shown(kept: base.Source):
  """(rows of the images, rows of the texts) of a source."""
  full, batch = source(), kept.take(np.arange(kept.size))
  every = full.take(np.arange(N))
  rows = [
    [int(np.flatnonzero((every[m] == x).all(1))[0]) for x in batch[m]]
    for m in ('image', 'text')
  ]
  return np.array(rows[0]), np.array(rows[1])


@hypothesis.given(
  st.floats(0.01, 1.0),
  st.floats(0.0, 1.0),
  st.sampled_from(['random', 'k_center', 'dpp', 'similar']),
)
@hypothesis.settings(deadline=None, max_examples=25)
def test_so_many_pairs_and_so_many_of_them_wrong(fraction, mismatched, select):
  kept = pairs.keep(
    source(), fraction=fraction, select=select, mismatched=mismatched
  )
  assert kept.size == max(1, round(fraction * N))
  image, text = shown(kept)
  assert len(set(image)) == kept.size
  assert set(text) == set(image)  # a wrong partner is of those that stay
  wrong = round(mismatched * kept.size)
  assert np.sum(image != text) == (0 if wrong < 2 else wrong)
  assert (kept.take(np.arange(kept.size))['label'] == image % 4).all()


@pytest.mark.parametrize('mismatched', [0.0, 0.5])
def test_pools_and_entries_go_along(mismatched):
  kept = pairs.keep(source(), fraction=0.5, mismatched=mismatched)
  rows = np.array([3, 0, 19, 3])
  batch = kept.take(rows)
  for m in ('image', 'text'):
    np.testing.assert_array_equal(
      batch[m], kept.pools[m][kept.entries[m][rows]]
    )


def test_all_of_them_is_the_source_itself():
  whole = source()
  assert pairs.keep(whole) is whole


def test_draws_are_of_the_seed():
  image = [
    shown(pairs.keep(source(), fraction=0.3, seed=s))[0] for s in (0, 0, 1)
  ]
  assert (image[0] == image[1]).all() and (image[0] != image[2]).any()


def test_k_center_covers_and_a_dpp_spreads():
  """Three clusters, of 30, 8 and 2: random draws miss the smallest."""
  rng = np.random.default_rng(0)
  cluster = np.repeat([0, 1, 2], [30, 8, 2])
  centers = np.eye(3)
  image = centers[cluster] + 0.05 * rng.normal(size=(N, 3))
  data = arrays.source({'image': image.astype(np.float32)}, cluster)
  for select in ('k_center', 'dpp'):
    kept = pairs.keep(data, fraction=3 / N, select=select)
    assert set(kept.take(np.arange(3))['label']) == {0, 1, 2}
  alike = pairs.keep(data, fraction=5 / N, select='similar')
  assert len(set(alike.take(np.arange(5))['label'])) == 1


def test_the_greedy_dpp_is_greedy():
  """Each next one maximises the determinant of the kernel chosen."""
  rng = np.random.default_rng(1)
  unit = rng.normal(size=(12, 4))
  unit /= np.linalg.norm(unit, axis=1, keepdims=True)
  kernel = np.square(unit @ unit.T + 1) + 1e-6 * np.eye(12)
  rows = list(pairs.dpp(unit, 5, rng))
  for k in range(1, 5):
    rest = [i for i in range(12) if i not in rows[:k]]
    volume = [
      np.linalg.det(kernel[np.ix_([*rows[:k], i], [*rows[:k], i])])
      for i in rest
    ]
    assert rest[int(np.argmax(volume))] == rows[k]


def test_missing_modalities_go_with_their_example():
  image = np.ones((4, 2), np.float32) * np.arange(4, dtype=np.float32)[:, None]
  text = image.copy()
  has = {'text': np.array([1, 0, 1, 1], bool)}
  data = arrays.source({'image': image, 'text': text}, np.arange(4), has)
  batch = pairs.keep(data, mismatched=1.0).take(np.arange(4))
  lost = np.flatnonzero(~batch['present']['text'])
  assert len(lost) == 1 and lost[0] != 1  # it is another's text that lacks
  assert not batch['text'][lost].any()


WRONG = [
  (dict(fraction=0.0), r'fraction=0.0 must be in \(0, 1\]'),
  (dict(fraction=1.5), 'fraction=1.5 must be'),
  (dict(mismatched=-0.1), r'mismatched=-0.1 in \[0, 1\]'),
  (dict(select='best'), "select='best' is none of random, k_center, dpp, sim"),
  (dict(by='speech'), "by='speech' is none of the modalities image, text"),
]


@pytest.mark.parametrize('options, told', WRONG)
def test_values_that_cannot_be(options, told):
  with pytest.raises(ValueError, match=told):
    pairs.keep(source(), **options)


def test_only_vectors_have_distances():
  with pytest.raises(ValueError, match="by='text' is no vector per example"):
    pairs.keep(tiny.source(), fraction=0.5, select='dpp', by='text')


def test_a_config_trains_on_fewer(tmp_path):
  from mmjax import experiment

  config = tiny.config(tiny.write(tmp_path), pairs=dict(fraction=0.5))
  exp = experiment.build(config)
  whole = experiment.build(tiny.config(tiny.write(tmp_path)))
  assert exp.kit.num_examples == whole.kit.num_examples // 2
  assert exp.sources['test'].size == whole.sources['test'].size
  config.pairs = dict(share=0.5)
  with pytest.raises(ValueError, match='config.pairs.share does not exist'):
    experiment.build(config)
  assert jax.tree.leaves(exp.batch())
