"""Retrieval: ranks against closed forms, a reference's numbers, brute force."""

import pathlib
import types

import hypothesis
import hypothesis.strategies as st
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mmjax.base import Method, Outputs
from mmjax.evals import retrieval as evals
from mmjax.ops import retrieval

GOLDEN = (
  pathlib.Path(__file__).resolve().parents[2]
  / 'shared/golden/retrieval_metrics.npz'
)
few = hypothesis.settings(deadline=None, max_examples=30)
seeds = st.integers(0, 2**31 - 1)


def features(seed, N=12, K=9, D=4):
  draw = np.random.default_rng(seed)
  return draw.normal(size=(N, D)), draw.normal(size=(K, D))


def some_relevant(seed, N=12, K=9):
  relevant_NK = np.random.default_rng(seed).random((N, K)) < 0.3
  relevant_NK[np.arange(N), np.arange(N) % K] = True
  return relevant_NK


def brute(x_ND, y_KD, relevant_NK):
  """The definition, by sorting."""
  ranks = []
  for x_D, own_K in zip(x_ND, relevant_NK):
    cosine_K = y_KD @ x_D / np.linalg.norm(y_KD, axis=1) / np.linalg.norm(x_D)
    found = own_K[np.argsort(-cosine_K, kind='stable')]
    ranks.append(1 + np.flatnonzero(found)[0])
  return np.array(ranks)


# Ranks.


@pytest.mark.skipif(not GOLDEN.exists(), reason='needs the golden files')
def test_the_reference_measures_the_same():
  golden = np.load(GOLDEN)
  scores_IC = golden['scores_i2t']
  images, captions = scores_IC.shape
  image_C = np.arange(captions) // int(golden['captions_per_image'])
  own_IC = np.arange(images)[:, None] == image_C[None]
  every = []
  for name, scores, own in (
    ('txt', scores_IC, own_IC),
    ('img', scores_IC.T, own_IC.T),
  ):
    found = retrieval.recall(retrieval.from_scores(scores, own), (1, 5, 10))
    for key, value in found.items():
      assert 100 * value == pytest.approx(golden[f'metric_{name}_{key}'])
    every += found.values()
    mean = 100 * np.mean([*found.values()])
    assert mean == pytest.approx(golden[f'metric_{name}_r_mean'])
  assert 100 * np.mean(every) == pytest.approx(golden['metric_r_mean'])


def test_the_best_ranked_of_several_counts():
  scores = [[0.9, 0.1, 0.5, 0.3]]
  for own, rank in (
    ([0, 1, 0, 1], 3),
    ([0, 1, 1, 0], 2),
    ([1, 1, 1, 1], 1),
    ([0, 1, 0, 0], 4),
    ([0, 0, 0, 0], np.inf),
  ):
    assert retrieval.from_scores(scores, [own]) == [rank]
  assert retrieval.from_scores(np.zeros((2, 0)), np.zeros((2, 0))).tolist() == [
    np.inf,
    np.inf,
  ]


def test_ties_rank_in_their_order():
  own_KK = np.eye(5, dtype=bool)
  rank_K = retrieval.from_scores(np.ones((5, 5)), own_KK)
  np.testing.assert_array_equal(rank_K, [1, 2, 3, 4, 5])
  # Of two relevant ones the first; what is better still comes before.
  scores = [[0.5, 0.7, 0.5, 0.5]]
  assert retrieval.from_scores(scores, [[0, 0, 1, 1]]) == [3]


def test_a_model_that_tells_nothing_apart_is_at_chance():
  x_ND, y_KD = np.ones((20, 3)), np.ones((20, 3))
  own = retrieval.by_pair(np.arange(20), np.arange(20), 20)
  rank_N = retrieval.ranks(x_ND, y_KD, own)
  found = retrieval.recall(rank_N, (1, 5, 20))
  assert found == pytest.approx({'r1': 1 / 20, 'r5': 5 / 20, 'r20': 1})


def test_scores_that_cannot_be_ranked_are_refused():
  with pytest.raises(ValueError, match='finite'):
    retrieval.from_scores([[np.nan, 1]], [[1, 0]])
  with pytest.raises(ValueError, match=r'\(1, 2\) and \(2, 2\)'):
    retrieval.from_scores([[0.0, 1]], np.eye(2))
  with pytest.raises(ValueError, match=r'\(2, 3\) and \(2, 4\)'):
    own = retrieval.by_group([0, 1], [0, 1])
    retrieval.ranks(np.ones((2, 3)), np.ones((2, 4)), own)


@few
@hypothesis.given(seeds)
def test_ranks_are_those_of_sorting(seed):
  (x_ND, y_KD), own_NK = features(seed), some_relevant(seed)
  rank_N = retrieval.ranks(x_ND, y_KD, lambda rows: own_NK[rows])
  np.testing.assert_array_equal(rank_N, brute(x_ND, y_KD, own_NK))


@few
@hypothesis.given(seeds, st.integers(1, 120), st.floats(0.1, 10))
def test_blocks_scale_and_the_order_of_candidates_change_nothing(
  seed, entries, scale
):
  (x_ND, y_KD), own_NK = features(seed), some_relevant(seed)
  order_K = np.random.default_rng(seed).permutation(len(y_KD))
  for measure in (retrieval.ranks, retrieval.average_precision):
    whole_N = measure(x_ND, y_KD, lambda rows: own_NK[rows])
    again_N = measure(
      scale * x_ND,
      y_KD[order_K],
      lambda rows: own_NK[rows][:, order_K],
      entries=entries,
    )
    np.testing.assert_allclose(again_N, whole_N)


@few
@hypothesis.given(seeds, st.integers(0, 8))
def test_one_more_candidate_like_another_moves_ranks_by_one_at_most(seed, twin):
  (x_ND, y_KD), own_NK = features(seed), some_relevant(seed)
  own_NK[:, twin] = False  # irrelevant, and so is its copy
  own_NK[:, (twin + 1) % 9] = True
  before_N = retrieval.ranks(x_ND, y_KD, lambda rows: own_NK[rows])
  more_KD = np.concatenate([y_KD, y_KD[[twin]]])
  more_NK = np.concatenate([own_NK, np.zeros((12, 1), bool)], axis=1)
  after_N = retrieval.ranks(x_ND, more_KD, lambda rows: more_NK[rows])
  cosine_NK = retrieval.unit(x_ND) @ retrieval.unit(y_KD).T
  best_N = np.where(own_NK, cosine_NK, -2).max(1)
  np.testing.assert_array_equal(after_N - before_N, cosine_NK[:, twin] > best_N)


@few
@hypothesis.given(seeds)
def test_recall_grows_with_k_up_to_one(seed):
  (x_ND, y_KD), own_NK = features(seed), some_relevant(seed)
  rank_N = retrieval.ranks(x_ND, y_KD, lambda rows: own_NK[rows])
  found = list(retrieval.recall(rank_N, range(1, 11)).values())
  assert np.all(np.diff(found) >= 0) and found[8] == found[9] == 1
  assert 0 <= found[0]
  assert np.isnan(retrieval.recall(rank_N[:0], (1,))['r1'])


@few
@hypothesis.given(seeds)
def test_average_precision_is_scikit_learns(seed):
  from sklearn import metrics

  (x_ND, y_KD), own_NK = features(seed), some_relevant(seed)
  cosine_NK = retrieval.unit(x_ND) @ retrieval.unit(y_KD).T
  expected = [
    metrics.average_precision_score(own_K, cosine_K)
    for own_K, cosine_K in zip(own_NK, cosine_NK)
  ]
  found = retrieval.average_precision(x_ND, y_KD, lambda rows: own_NK[rows])
  np.testing.assert_allclose(found, expected)


def test_relevance_by_pair_and_by_group():
  own = retrieval.by_pair([2, 0, 2], [1, 3, 0], candidates=4)
  whole = [[0, 0, 0, 1], [0, 0, 0, 0], [1, 1, 0, 0]]
  np.testing.assert_array_equal(own(slice(0, 3)), whole)
  np.testing.assert_array_equal(own(slice(1, 3)), whole[1:])
  group = retrieval.by_group([5, 6, 5], [6, 5])
  np.testing.assert_array_equal(group(slice(1, 3)), [[1, 0], [0, 1]])


def test_entries_of_pictures_and_captions():
  image_E = np.array([7, 7, 3, 7, 3])
  caption_E = np.array([10, 11, 12, 11, 13])  # one example stands twice
  found = retrieval.paired(image_E, caption_E)
  np.testing.assert_array_equal(found.row_N, [2, 0])
  np.testing.assert_array_equal(found.row_K, [0, 1, 2, 4])
  pairs = set(zip(found.anchor_P.tolist(), found.candidate_P.tolist()))
  assert pairs == {(0, 2), (0, 3), (1, 0), (1, 1)} and len(found.anchor_P) == 4


# The eval.


def make_kit(*modalities, classes=3):
  names = tuple(f'class{c}' for c in range(classes))
  return types.SimpleNamespace(
    modalities=modalities, class_names=names, num_classes=classes
  )


def predict(state, batch):
  """A modality's input is its features."""
  names = [m for m in ('image', 'text', 'audio') if m in batch]
  feats = {m: state * batch[m] for m in names}
  return Outputs(feats, {}, jnp.zeros((len(batch['label']), 3)))


METHOD = Method(lambda *_: (), {}, predict)


def make_batch(B=30, seed=0, captions=3, **widths):
  """Pictures with some captions each; text is the picture and noise."""
  draw = np.random.default_rng(seed)
  image_E = np.arange(B) // captions
  picture_KD = draw.normal(size=(B, 5))
  image_ED = picture_KD[image_E]
  batch = {
    'image': image_ED,
    'text': image_ED + draw.normal(size=(B, 5)),
    **{m: draw.normal(size=(B, width)) for m, width in widths.items()},
  }
  batch = {m: x.astype(np.float32) for m, x in batch.items()}
  return batch | {
    'label': (image_E % 3).astype(np.int32),
    'index': np.arange(100, 100 + B, dtype=np.int32),
    'entry': {'image': (50 - image_E).astype(np.int32)},
    'mask': np.ones(B, bool),
    'present': {m: np.ones(B, bool) for m in batch},
  }


def rows_of(made, batch):
  rows = jax.jit(made.observe)(jnp.float32(1), batch)
  assert all(row.shape[0] == len(batch['label']) for row in rows.values())
  return {name: np.asarray(row) for name, row in rows.items()}


def test_a_picture_finds_any_of_its_captions():
  batch = make_batch()
  batch['present']['text'] = np.arange(30) % 4 != 0
  made = evals.make(make_kit('image', 'text'), METHOD)
  rows = rows_of(made, batch)
  assert rows['entry/text'].tolist() == list(range(100, 130))
  numbers = made.report(rows)
  has = np.flatnonzero(batch['present']['text'])
  image = np.arange(30)[has] // 3
  own_NK = np.unique(image)[:, None] == image[None]
  first = [np.flatnonzero(np.arange(30) // 3 == i)[0] for i in np.unique(image)]
  forth = brute(batch['image'][first], batch['text'][has], own_NK)
  back = brute(batch['text'][has], batch['image'][first], own_NK.T)
  for way, rank, size in (
    ('image-to-text', forth, len(has)),
    ('text-to-image', back, 10),
  ):
    for k in (1, 5, 10):
      expected = np.mean(rank <= k)
      assert numbers[f'retrieval/{way}/r{k}'] == pytest.approx(expected)
    assert numbers[f'retrieval/{way}/median_rank'] == np.median(rank)
    assert numbers[f'retrieval/{way}/candidates'] == size
  assert numbers['retrieval/text-to-image/r10'] == 1  # of ten pictures
  mean = np.mean([np.mean(forth <= 1), np.mean(back <= 1)])
  assert numbers['retrieval/mean/r1'] == pytest.approx(mean)
  every = [v for k, v in numbers.items() if k[-2:] in ('r1', 'r5', '10')]
  assert numbers['retrieval/mean/r_mean'] == pytest.approx(np.mean(every))


def test_a_class_finds_any_of_its_own():
  batch = make_batch()
  made = evals.make(
    make_kit('image', 'text'), METHOD, relevant='label', ks=(1, 2)
  )
  numbers = made.report(rows_of(made, batch))
  image_K, label = np.arange(0, 30, 3), batch['label']
  own_NK = label[:, None] == label[image_K][None]
  rank_N = brute(batch['text'], batch['image'][image_K], own_NK)
  way = 'retrieval/text-to-image'
  assert numbers[f'{way}/r2'] == pytest.approx(np.mean(rank_N <= 2))
  precision_N = retrieval.average_precision(
    batch['text'], batch['image'][image_K], lambda rows: own_NK[rows]
  )
  assert numbers[f'{way}/map'] == pytest.approx(precision_N.mean())
  ways = [numbers[f'retrieval/{w}/map'] for w in ('image-to-text', way[10:])]
  assert numbers['retrieval/mean/map'] == pytest.approx(np.mean(ways))
  # What is of one class is found at least as early as one's own.
  own = evals.make(make_kit('image', 'text'), METHOD, ks=(1, 2))
  other = own.report(rows_of(own, batch))
  assert all(numbers[k] >= other[k] for k in other if k.endswith(('r1', 'r2')))


def test_only_the_pairs_that_are_named():
  batch = make_batch(audio=5)
  kit = make_kit('image', 'text', 'audio')
  made = evals.make(kit, METHOD, pairs=(('text', 'audio'), ('audio', 'text')))
  ways = {path.split('/')[1] for path in made.report(rows_of(made, batch))}
  assert ways == {'text-to-audio', 'audio-to-text', 'mean'}
  made = evals.make(kit, METHOD)
  ways = {path.split('/')[1] for path in made.report(rows_of(made, batch))}
  assert len(ways) == 7


def test_nobody_has_both():
  batch = make_batch(audio=5)
  batch['present']['audio'] = np.zeros(30, bool)
  kit = make_kit('image', 'text', 'audio')
  made = evals.make(kit, METHOD)
  numbers = made.report(rows_of(made, batch))
  assert np.isnan(numbers['retrieval/audio-to-text/r1'])
  assert numbers['retrieval/audio-to-text/candidates'] == 0
  two = [
    numbers[f'retrieval/{w}/r1'] for w in ('image-to-text', 'text-to-image')
  ]
  assert numbers['retrieval/mean/r1'] == pytest.approx(np.mean(two))
  batch['present']['text'] = batch['present']['audio']
  numbers = made.report(rows_of(made, batch))
  assert np.isnan(numbers['retrieval/mean/r_mean'])


def test_diverged_features_are_no_success():
  batch = make_batch()
  batch['text'][4, 2] = np.nan
  made = evals.make(make_kit('image', 'text'), METHOD)
  numbers = made.report(rows_of(made, batch))
  assert np.isnan(numbers['retrieval/text-to-image/r1'])
  assert np.isnan(numbers['retrieval/mean/r1'])


@pytest.mark.parametrize(
  ('options', 'message'),
  [
    (dict(pairs=(('image', 'smell'),)), "'smell'.* image, text"),
    (dict(pairs=('image', 'text')), r"needs a comma, \(\('image', 'text'\),\)"),
    (dict(pairs=(('image', 'image'),)), 'is no pair'),
    (dict(ks=(1, 0)), r'ks=\(1, 0\).* from 1'),
    (dict(ks=()), 'ks='),
    (dict(relevant='caption'), "'caption' is none of pair, label"),
  ],
)
def test_options_are_checked(options, message):
  with pytest.raises(ValueError, match=message):
    evals.make(make_kit('image', 'text'), METHOD, **options)


def test_what_cannot_be_compared_is_said_before_any_training():
  with pytest.raises(ValueError, match='image only'):
    evals.make(make_kit('image'), METHOD)
  made = evals.make(make_kit('image', 'audio'), METHOD)
  with pytest.raises(ValueError, match='image 5, audio 7.*one: config.width'):
    jax.eval_shape(made.observe, jnp.float32(1), make_batch(audio=7))
  made = evals.make(make_kit('image', 'audio'), METHOD)
  batch = make_batch()
  batch['present']['audio'] = batch['present']['text']
  with pytest.raises(ValueError, match='shows none of audio'):
    jax.eval_shape(made.observe, jnp.float32(1), batch)
