"""Arrays of your own: in memory, from .npz files, and with missing parts."""

import jax
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mmjax import base
from mmjax.data import _labels, _memory, arrays, missing

N = 60
RNG = np.random.default_rng(0)


def everything(source):
  return source.take(np.arange(source.size))


def fields(**changes):
  """A small data set with a bit of everything; None takes a field away."""
  lengths = np.arange(N) % 4 + 1
  data = dict(
    audio=RNG.normal(3, 2, (lengths.sum(), 5)),
    audio_len=lengths,
    image=RNG.integers(0, 256, (N, 6, 7), dtype=np.uint8),
    votes=RNG.integers(0, 9, (N, 4)).astype(np.int16),
    words=RNG.integers(0, 50, lengths.sum()),
    words_len=lengths,
    label=np.arange(N) % 3,
    split=np.repeat([0, 1, 2], [36, 12, 12]),
    speaker=np.arange(N),
    name=np.array([f'clip{i}' for i in range(N)]),
    class_names=np.array(['a', 'b', 'c']),
  )
  data.update(changes)
  return {name: value for name, value in data.items() if value is not None}


@pytest.fixture
def write(tmp_path):
  def to(**changes):
    path = tmp_path / 'data.npz'
    np.savez(path, **fields(**changes))
    return str(path)

  return to


# --------------------------------------------------------------------- npz


def test_every_kind_of_field_comes_out_as_documented(write):
  source = arrays.make('train', path=write())
  assert source.modalities == ('audio', 'image', 'votes', 'words')
  assert source.class_names == ('a', 'b', 'c') and source.size == 36
  batch = source.take(np.array([3, 0]))
  assert batch['audio'].values.shape == (2, 4, 5)
  assert batch['audio'].mask.sum(axis=1).tolist() == [4, 1]
  assert batch['image'].shape == (2, 6, 7, 1)
  assert batch['votes'].shape == (2, 4)
  assert batch['words'].values.shape == (2, 4)
  kinds = {name: jax.tree.leaves(batch[name])[0].dtype for name in batch}
  assert kinds.pop('present') is np.dtype(bool)
  assert {n for n in kinds if kinds[n] == np.int32} == {'words', 'label'}
  assert {n for n in kinds if kinds[n] == np.float32} == {
    'audio',
    'image',
    'votes',
  }


def test_values_are_those_of_the_file(write):
  path = write()
  raw = dict(np.load(path))
  batch = everything(arrays.make('test', path=path, standardize=False))
  rows = np.arange(48, 60)
  np.testing.assert_allclose(
    batch['image'][..., 0] * 255, raw['image'][rows], rtol=1e-6
  )
  np.testing.assert_array_equal(batch['votes'], raw['votes'][rows])
  np.testing.assert_array_equal(batch['label'], raw['label'][rows])
  ends = np.cumsum(raw['audio_len'])
  for i, row in enumerate(rows):
    n = raw['audio_len'][row]
    piece = slice(ends[row] - n, ends[row])
    for name in ('audio', 'words'):
      np.testing.assert_allclose(
        batch[name].values[i, :n], raw[name][piece], rtol=1e-6
      )
      assert (batch[name].values[i, n:] == 0).all()


def test_numbers_are_standardised_by_the_training_part_alone(write):
  path = write()
  train = everything(arrays.make('train', path=path))
  frames = train['audio'].values[train['audio'].mask]
  np.testing.assert_allclose(frames.mean(axis=0), 0, atol=1e-6)
  np.testing.assert_allclose(frames.std(axis=0), 1, rtol=1e-5)
  np.testing.assert_allclose(train['votes'].mean(axis=0), 0, atol=1e-6)
  raw = dict(np.load(path))
  want = raw['votes'][48:] - raw['votes'][:36].mean(axis=0)
  want = want / raw['votes'][:36].std(axis=0)
  test = everything(arrays.make('test', path=path))
  np.testing.assert_allclose(test['votes'], want, rtol=1e-5, atol=1e-6)


def test_a_constant_feature_becomes_zero_and_not_noise(write):
  votes = np.full((N, 2), 0.1)
  batch = everything(
    arrays.make('train', path=write(votes=votes), modalities=('votes',))
  )
  np.testing.assert_allclose(batch['votes'], 0, atol=1e-6)


def test_missing_examples_are_zero_and_do_not_count(write):
  present = np.arange(N) % 2 == 0
  votes = RNG.normal(5, 3, (N, 4))
  votes[~present] = np.nan  # the way such files are usually written
  path = write(votes=votes, votes_present=present)
  batch = everything(arrays.make('train', path=path))
  np.testing.assert_array_equal(batch['present']['votes'], present[:36])
  assert (batch['votes'][~present[:36]] == 0).all()
  own = batch['votes'][present[:36]]
  np.testing.assert_allclose(own.mean(axis=0), 0, atol=1e-6)
  np.testing.assert_allclose(own.std(axis=0), 1, rtol=1e-5)


def test_length_zero_is_missing(write):
  lengths = np.arange(N) % 3
  path = write(audio=RNG.normal(size=(lengths.sum(), 5)), audio_len=lengths)
  batch = everything(arrays.make('train', path=path))
  np.testing.assert_array_equal(batch['present']['audio'], lengths[:36] > 0)
  np.testing.assert_array_equal(batch['audio'].mask.sum(axis=1), lengths[:36])


def test_pools_are_looked_up_through_their_index(write):
  pool = RNG.normal(size=(7, 3))
  at = RNG.integers(0, 7, N)
  path = write(pool=pool, pair_pool=at)
  hyper = dict(path=path, pairs=(('pool', 'pair_pool'),), standardize=False)
  batch = everything(arrays.make('validation', modalities=('pool',), **hyper))
  np.testing.assert_allclose(batch['pool'], pool[at[36:48]], rtol=1e-6)
  assert 'pool' in arrays.make('train', **hyper).modalities


def test_tokens_stay_ids_and_sequences_are_cropped(write):
  path = write()
  batch = everything(
    arrays.make('train', path=path, tokens=('votes',), max_len=2)
  )
  np.testing.assert_array_equal(batch['votes'], np.load(path)['votes'][:36])
  assert batch['votes'].dtype == np.int32
  assert batch['audio'].values.shape[1] == batch['words'].mask.shape[1] == 2


def test_texts_are_token_ids_and_blank_ones_absent(write):
  texts = np.array([f'clip {"ä" * (i % 3)}' for i in range(N)])
  texts[[1, 2]] = '', ' '
  hyper = dict(path=write(said=texts), modalities=('said', 'votes'))
  batch = everything(arrays.make('train', **hyper, max_tokens=8))
  ids_BT, mask_BT = batch['said']
  assert ids_BT.shape == (36, 8) and ids_BT.dtype == np.int32
  for i in range(36):
    want = texts[i].encode()[:8] if texts[i].strip() else b''
    assert ids_BT[i][mask_BT[i]].tolist() == [byte + 1 for byte in want]
  np.testing.assert_array_equal(batch['present']['said'], mask_BT.any(1))
  assert np.flatnonzero(~batch['present']['said']).tolist() == [1, 2]
  assert 'said' not in arrays.make('train', path=hyper['path']).modalities
  with pytest.raises(ValueError, match='max_tokens=0 must be at least 1'):
    arrays.make('train', **hyper, max_tokens=0)


def test_texts_are_read_by_a_tokenizer(write, tmp_path):
  words = ('[PAD]', '[UNK]', '[CLS]', '[SEP]', '[MASK]', 'clip', 'one', 'two')
  (tmp_path / 'vocab.txt').write_text('\n'.join(words))
  texts = np.array(['Clip one', 'two, clip', ''] * (N // 3))
  path = write(said=texts)
  hyper = dict(path=path, modalities=('said', 'votes'), max_tokens=4)
  batch = everything(arrays.make('train', tokenizer=str(tmp_path), **hyper))
  ids_BT, mask_BT = batch['said']
  assert ids_BT[0].tolist() == [2, 5, 6, 3]
  assert ids_BT[1].tolist() == [2, 7, 1, 3]  # cut, its end kept
  assert not mask_BT[2].any()
  with pytest.raises(ValueError, match='There is no tokenizer in nowhere'):
    arrays.make('train', tokenizer='nowhere', **hyper)


def test_one_length_for_all_splits(write):
  path = write()
  shapes = {
    arrays.make(s, path=path).take(np.arange(2))['audio'].values.shape
    for s in _labels.SPLITS
  }
  assert len(shapes) == 1


def test_validation_is_drawn_from_train_if_nobody_is_in_it(write):
  path = write(split=np.repeat([0, 2], [48, 12]), id_=np.arange(N)[:, None])
  hyper = dict(path=path, modalities=('id_',), standardize=False)
  parts = {s: everything(arrays.make(s, **hyper)) for s in _labels.SPLITS}
  ids = [set(parts[s]['id_'][:, 0].astype(int)) for s in _labels.SPLITS]
  assert [len(i) for i in ids] == [41, 7, 12]
  assert set.union(*ids) == set(range(N)) and ids[2] == set(range(48, 60))
  other = everything(arrays.make('validation', seed=1, **hyper))
  assert set(other['id_'][:, 0].astype(int)) != ids[1]


def test_without_a_split_field_all_three_are_drawn(write):
  hyper = dict(path=write(split=None), split_field='', modalities=('votes',))
  sizes = [arrays.make(s, **hyper).size for s in _labels.SPLITS]
  assert sizes == [41, 7, 12]


def test_splits_may_be_words(write):
  split = np.array(['fit'] * 40 + ['dev'] * 10 + ['eval'] * 5 + ['none'] * 5)
  hyper = dict(path=write(split=split), splits=('fit', 'dev', 'eval'))
  sizes = [arrays.make(s, **hyper).size for s in _labels.SPLITS]
  assert sizes == [40, 10, 5]


@settings(deadline=None, max_examples=50)
@given(st.lists(st.integers(0, 4), min_size=1), st.floats(0, 0.99))
def test_draw_is_exact_and_even_over_classes(label, fraction):
  label = np.array(label)
  rng = np.random.default_rng(0)
  rows = _labels.draw(label, np.ones(len(label), bool), fraction, rng)
  assert len(set(rows)) == len(rows)
  assert len(rows) == np.floor(fraction * len(label) + 0.5)
  for c in range(5):
    share = fraction * (label == c).sum()
    assert abs((label[rows] == c).sum() - share) < 1


@pytest.mark.parametrize(
  'changes, hyper, message',
  [
    ({}, dict(label='lable'), "Did you mean 'label'"),
    ({}, dict(modalities=('adio',)), "Did you mean 'audio'"),
    ({}, dict(modalities='audio'), 'must be a tuple'),
    ({}, dict(modalities=('audio', 'audio')), 'different names'),
    (
      dict(name=np.array([b'clip'] * N)),
      dict(modalities=('name',)),
      'not an array of numbers',
    ),
    ({}, dict(modalities=('votes',), tokens=('words',)), "speak of 'words'"),
    ({}, dict(max_len=-1), 'max_len=-1'),
    ({}, dict(validation_fraction=1.0), 'validation_fraction=1.0'),
    ({}, dict(splits=(0, 1)), 'three values'),
    ({}, dict(splits=(5, 1, 2)), "'train' has no example"),
    ({}, dict(splits=(0, 1, 5)), "'test' has no example"),
    ({}, dict(tokens=('audio',)), 'token ids'),
    ({}, dict(split_field='fold'), "split_field='fold'"),
    (dict(label=np.arange(N) / 1.0), {}, 'Labels must be integers'),
    (dict(label=np.arange(N) % 3 + 1), {}, r'0\.\.2 .*\[3, 3, 3'),
    (
      dict(label=np.arange(N) % 3 + 1, class_names=None),
      {},
      'class 0 has no example',
    ),
    (dict(label=np.arange(N) % 3 - 1), {}, r'\[-1, -1'),
    (dict(label=np.zeros((N, 1), int)), {}, r'\(60, 1\)'),
    (dict(audio_len=np.arange(N) % 4), {}, 'sum to 90, .* 150 frames'),
    (dict(audio_len=np.ones(N)), {}, 'lengths of .audio. must be integers'),
    (dict(votes=np.ones((N - 1, 2))), dict(modalities=('votes',)), '59 rows'),
    (dict(votes=np.full((N, 2), np.nan)), {}, r'NaN .* 60 rows \(0, 1, 2'),
    (
      dict(votes_present=np.zeros(N, bool)),
      {},
      "No training example .*'votes'",
    ),
    (dict(votes_present=np.full(N, 2)), {}, "presence of 'votes' must be bool"),
    (dict(head=np.ones((N, 2))), {}, "may be called 'head'"),
    (
      dict(at=np.full(N, 60)),
      dict(pairs=(('votes', 'at'),)),
      "index into 'votes' leaves its 60 rows",
    ),
    (
      dict(at=np.zeros(3, int)),
      dict(pairs=(('votes', 'at'),)),
      r'must be integers \[60\]',
    ),
    (
      dict(votes_present=np.arange(N) > 3),
      dict(modalities=('votes',)),
      r'4 rows \(0, 1, 2, 3\) have none',
    ),
    (
      dict(audio=None, image=None, votes=None, words=None),
      {},
      'no field with 60 rows',
    ),
  ],
)
def test_bad_files_are_told_in_words(write, changes, hyper, message):
  with pytest.raises(ValueError, match=message):
    arrays.make('train', path=write(**changes), **hyper)


def test_files_that_are_none(tmp_path, write):
  path = write()
  cases = {'': 'path is empty', str(tmp_path / 'no.npz'): 'is not a file'}
  for path_, message in cases.items():
    with pytest.raises(ValueError, match=message):
      arrays.make('train', path=path_)
  with pytest.raises(ValueError, match='no split'):
    arrays.make('dev', path=path)
  np.save(tmp_path / 'one.npy', np.ones(3))
  with pytest.raises(ValueError, match='nameless'):
    arrays.make('train', path=str(tmp_path / 'one.npy'))
  (tmp_path / 'text.npz').write_text('hello')
  with pytest.raises(ValueError, match='not a .npz file'):
    arrays.make('train', path=str(tmp_path / 'text.npz'))
  data = bytearray((tmp_path / 'data.npz').read_bytes())
  (tmp_path / 'cut.npz').write_bytes(data[: len(data) // 2])
  with pytest.raises(ValueError, match='not a .npz file'):
    arrays.make('train', path=str(tmp_path / 'cut.npz'))
  data[300] ^= 1  # inside the first field: the archive's checksum sees it
  (tmp_path / 'flip.npz').write_bytes(data)
  with pytest.raises(ValueError, match="Field 'audio' .* cannot be read"):
    arrays.make('train', path=str(tmp_path / 'flip.npz'))


def test_pickle_is_never_loaded(tmp_path):
  objects = np.array([{'a': 1}, None], dtype=object)
  data = fields(notes=objects)
  np.savez(tmp_path / 'pickled.npz', **data)
  path = str(tmp_path / 'pickled.npz')
  with pytest.raises(ValueError, match="'notes' .* never loaded"):
    arrays.make('train', path=path, modalities=('notes',))
  assert 'notes' not in arrays.make('train', path=path).modalities


# ---------------------------------------------------------------- in memory


def test_source_takes_all_three_forms():
  lengths = np.array([2, 0, 3])
  ragged = base.Ragged(np.ones((3, 5, 2)), np.arange(5) < lengths[:, None])
  source = arrays.source(
    {
      'fixed': np.arange(6.0).reshape(3, 2),
      'flat': (np.arange(5.0)[:, None], lengths),
      'padded': ragged,
      'words': np.array([[1, 2], [3, 0], [4, 5]]),
    },
    label=[0, 1, 0],
    present={'fixed': [True, True, False]},
    class_names=('no', 'yes'),
  )
  batch = everything(source)
  np.testing.assert_array_equal(batch['fixed'], [[0, 1], [2, 3], [0, 0]])
  np.testing.assert_array_equal(
    batch['flat'].values[..., 0], [[0, 1, 0], [0, 0, 0], [2, 3, 4]]
  )
  assert batch['padded'].values.shape == (3, 5, 2)
  np.testing.assert_array_equal(batch['padded'].mask, ragged.mask)
  assert (batch['padded'].values[~ragged.mask] == 0).all()
  assert batch['words'].dtype == np.int32
  present = {name: seen.tolist() for name, seen in batch['present'].items()}
  assert present == {
    'fixed': [True, True, False],
    'flat': [True, False, True],
    'padded': [True, False, True],
    'words': [True, True, True],
  }


def test_source_may_lack_a_modality_altogether_but_says_so():
  x = np.ones((2, 3))
  with pytest.warns(UserWarning, match="No example has modality 'y'"):
    source = arrays.source(
      {'x': x, 'y': x}, [0, 1], present={'y': np.zeros(2, bool)}
    )
  assert (everything(source)['y'] == 0).all()


@pytest.mark.parametrize(
  'call, message',
  [
    (dict(inputs={}, label=[0]), 'must be inputs'),
    (dict(inputs={'x': [[1.0]]}, label=[0], present={'y': [1]}), r"\['y'\]"),
    (dict(inputs={'label': [[1.0]]}, label=[0]), "may be called 'label'"),
    (dict(inputs={'x': [[1.0]]}, label=[]), 'Labels must be integers'),
    (dict(inputs={'x': [[1.0]]}, label=[3], class_names='ab'), r'0\.\.1'),
    (dict(inputs={'x': [['a']]}, label=[0]), 'not an array of numbers'),
    (dict(inputs={'x': [[-1]]}, label=[0]), 'token ids'),
    (
      dict(
        inputs={
          'x': base.Ragged(np.ones((1, 2, 1)), np.array([[False, True]]))
        },
        label=[0],
      ),
      'has holes',
    ),
    (
      dict(
        inputs={'x': base.Ragged(np.ones((1, 2)), np.ones((1, 3)))}, label=[0]
      ),
      'mask of',
    ),
  ],
)
def test_bad_arrays_are_told_in_words(call, message):
  with pytest.raises(ValueError, match=message):
    arrays.source(**call)


@settings(deadline=None, max_examples=50)
@given(st.lists(st.integers(0, 5), min_size=1, max_size=8), st.integers(1, 6))
def test_pad_and_gather_agree_with_a_loop(lengths, longest):
  lengths = np.array(lengths)
  values = RNG.normal(size=(lengths.sum(), 2))
  pieces = np.split(values, np.cumsum(lengths)[:-1])
  padded = _memory.pad(values, lengths, longest)
  assert padded.values.shape == (len(lengths), longest, 2)
  for i, piece in enumerate(pieces):
    np.testing.assert_array_equal(
      padded.values[i][padded.mask[i]], piece[:longest]
    )
    assert (padded.values[i][~padded.mask[i]] == 0).all()
  rows = RNG.integers(0, len(lengths), 4)
  got, sizes = _memory.gather(values, lengths, rows)
  np.testing.assert_array_equal(got, np.concatenate([pieces[i] for i in rows]))
  np.testing.assert_array_equal(sizes, lengths[rows])


# ---------------------------------------------------------------- real sets

SETS = {
  'avletters': ({}, (442, 78, 260), {'video': (40, 30, 40, 1)}),
  'cmu_mosi': ({}, (1209, 238, 752), {'text': (100,), 'audio': (73,)}),
  'cremad_votes': (
    dict(modalities=('voice_votes', 'face_level')),
    (5240, 738, 1464),
    {'voice_votes': (6,), 'face_level': (6,)},
  ),
  'cub_emb': (
    dict(),
    (360, 60, 180),
    {'image_googlenet1024': (1024,), 'text_doc2vec300': (300,)},
  ),
  'fsdd_mnist': (
    dict(
      label='pair_label',
      split_field='pair_split',
      pairs=(('logmel', 'pair_audio'), ('image', 'pair_image')),
      max_len=80,
    ),
    (9600, 1200, 1500),
    {'logmel': (80, 32), 'image': (28, 28, 1)},
  ),
  'mfeat': ({}, (1200, 200, 600), {'pix240': (240,), 'mor6': (6,)}),
  'utd_mhad': (
    dict(max_len=120),
    (366, 65, 430),
    {
      'inertial': (120, 6),
      'skeleton': (120, 20, 3),
      'depth': (16, 48, 48, 1),
    },
  ),
  'wikipedia_xmodal': (
    {},
    (1902, 271, 693),
    {'image_sift128': (128,), 'text_lda10': (10,)},
  ),
}


@pytest.mark.parametrize('name', SETS)
def test_real_sets_load_with_a_short_config(shared, name):
  hyper, sizes, shapes = SETS[name]
  path = str(shared / 'data' / name / 'data.npz')
  for split, size in zip(_labels.SPLITS, sizes):
    source = arrays.make(split, path=path, **hyper)
    assert source.size == size
    batch = source.take(np.array([0, size - 1]))
    for modality in source.modalities:
      values = jax.tree.leaves(batch[modality])[0]
      assert values.dtype == np.float32 and np.isfinite(values).all()
      assert values.shape[1:] == shapes.get(modality, values.shape[1:])
    assert set(shapes) <= set(source.modalities)
    assert batch['label'].max() < len(source.class_names)


def test_strings_are_a_modality_of_a_real_set_if_named(shared):
  path = str(shared / 'data/cmu_mosi/data.npz')
  assert arrays.make('test', path=path).modalities == ('text', 'audio', 'video')
  source = arrays.make('test', path=path, modalities=('transcript',))
  ids_T, mask_T = (x[0] for x in source.take(np.array([0]))['transcript'])
  with np.load(path) as file:
    want = file['transcript'][file['split'] == 2][0]
  assert bytes((ids_T[mask_T] - 1).astype(np.uint8)).decode() == want[:128]


# ------------------------------------------------------------------ missing


def sourced(n, modalities, present=None):
  names = [f'm{i}' for i in range(modalities)]
  inputs = {name: np.ones((n, 2)) for name in names}
  return arrays.source(inputs, np.zeros(n, int), present=present)


def seen(source):
  present = everything(source)['present']
  return np.stack([present[name] for name in source.modalities], axis=1)


@settings(deadline=None, max_examples=60)
@given(
  n=st.integers(1, 40),
  m=st.integers(1, 5),
  part=st.floats(0, 1),
  seed=st.integers(0, 99),
)
def test_drop_is_exact_even_and_leaves_something(n, m, part, seed):
  rate = part * (1 - 1 / m)
  dropped = missing.drop(sourced(n, m), rate, seed)
  kept = seen(dropped)
  assert (~kept).sum() == round(rate * n * m)
  assert kept.any(axis=1).all()
  lost = (~kept).sum(axis=0)
  assert lost.max() - lost.min() <= 1
  np.testing.assert_array_equal(
    kept, seen(missing.drop(sourced(n, m), rate, seed))
  )
  batch = everything(dropped)
  for i, name in enumerate(dropped.modalities):
    np.testing.assert_array_equal(batch[name].any(axis=1), kept[:, i])


@settings(deadline=None, max_examples=60)
@given(data=st.data(), n=st.integers(1, 30), seed=st.integers(0, 9))
def test_drop_respects_what_is_missing_already(data, n, seed):
  row = st.lists(st.booleans(), min_size=3, max_size=3).filter(any)
  has = np.array(data.draw(st.lists(row, min_size=n, max_size=n)))
  already = int((~has).sum())
  goal = data.draw(st.integers(already, 2 * n))
  names = {f'm{i}': has[:, i] for i in range(3)}
  rows = np.arange(n)
  source = base.Source(
    tuple(names),
    ('0',),
    n,
    lambda rows: {
      **{name: np.ones((len(rows), 1)) for name in names},
      'present': {name: names[name][rows] for name in names},
    },
  )
  dropped = missing.drop(source, goal / (3 * n), seed, present=names)
  kept = np.stack(list(dropped.take(rows)['present'].values()), axis=1)
  assert not (kept & ~has).any()
  assert (~kept).sum() == goal
  assert kept.any(axis=1).all()


def test_drop_reads_presence_from_the_source_if_not_told():
  has = np.arange(600) % 2 == 0
  source = sourced(600, 3, present={'m1': has})
  kept = seen(missing.drop(source, 0.5, 0))
  assert (~kept).sum() == 900 and not (kept[:, 1] & ~has).any()


def test_drop_treats_all_patterns_alike():
  """Which one of three stays is a fair draw at the highest rate."""
  kept = seen(missing.drop(sourced(3000, 3), 2 / 3, 0))
  assert kept.sum(axis=0).tolist() == [1000] * 3
  # A third of neighbours agree by chance; a fixed pattern would give 0 or 1.
  same = (kept.argmax(axis=1)[1:] == kept.argmax(axis=1)[:-1]).mean()
  assert abs(same - 1 / 3) < 0.05


def test_drop_takes_the_frames_of_sequences_too():
  ragged = base.Ragged(np.ones((8, 3, 2)), np.ones((8, 3), bool))
  source = arrays.source({'x': np.ones((8, 2)), 'y': ragged}, [0] * 8)
  batch = everything(missing.drop(source, 0.5, 0))
  gone = ~batch['present']['y']
  assert 0 < gone.sum() < 8
  np.testing.assert_array_equal(batch['y'].mask.any(axis=1), ~gone)
  np.testing.assert_array_equal(batch['y'].values.any(axis=(1, 2)), ~gone)
  assert ragged.mask.all()  # the source itself is left as it was
  assert everything(source)['y'].mask.all()


@pytest.mark.parametrize('rate', [-0.1, 0.7, float('nan')])
def test_impossible_rates_are_errors(rate):
  with pytest.raises(ValueError, match=r'0 to 1 - 1/M = 0\.6667'):
    missing.drop(sourced(4, 3), rate, 0)


def test_a_rate_below_what_is_missing_already_warns_and_drops_nothing():
  has = np.arange(10) % 2 == 0
  source = sourced(10, 2, present={'m0': has})
  with pytest.warns(UserWarning, match='miss 5 of 20 already'):
    dropped = missing.drop(source, 0.1, 0)
  np.testing.assert_array_equal(seen(dropped), seen(source))


def test_classes_that_a_split_lacks_are_told_once(tmp_path):
  label, split = np.arange(30) % 3, np.repeat([0, 1, 2], 10)
  label = np.where((split == 2) & (label == 1), 0, label)
  np.savez(tmp_path / 'x.npz', a=np.ones((30, 2)), label=label, split=split)
  path = str(tmp_path / 'x.npz')
  with pytest.warns(
    UserWarning, match=r'test split has .* 1 of 3 classes \(1\)'
  ):
    arrays.make('train', path=path)
  arrays.make('test', path=path)  # a second warning would be an error


def test_labels_of_another_kind_are_told_the_way_out(tmp_path):
  for label in (np.array(list('abcd')), np.arange(4) + 0.5):
    np.savez(tmp_path / 'x.npz', a=np.ones((4, 2)), label=label)
    with pytest.raises(ValueError, match='must be integers.*np.unique'):
      arrays.make('train', path=str(tmp_path / 'x.npz'))
