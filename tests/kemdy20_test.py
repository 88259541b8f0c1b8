"""KEMDy20's labels: the published split, the transform, and what is refused."""

import warnings

import numpy as np
import pytest

from mmjax.data import _kemdy20, kemdy20

NAMES = _kemdy20.CLASS_NAMES
C = len(NAMES)
# methods of the work: utterances with one label, split 80/20, and those of two
# labels, one of them neutral, by the other.
SINGLE = (11120, 1183, 144, 156, 121, 43, 61)
TEST = (2224, 237, 29, 31, 24, 9, 12)
BEFORE = (8896, 946, 115, 125, 97, 34, 49)
AFTER = (8896, 1291, 198, 181, 168, 51, 89)
PUBLISHED = dict(validation_fraction=0.0)


def emotions(single=SINGLE, paired=(345, 83, 56, 71, 17, 40), others=25):
  """bool[N, 7] in a random order; `others` have two that are not neutral."""
  eye = np.eye(C, dtype=bool)
  rows = [np.repeat(eye, single, axis=0)]
  rows += [np.repeat(eye[1:] | eye[0], paired, axis=0)]
  rows += [np.repeat(eye[[1]] | eye[[3]], others, axis=0)]
  has_NC = np.concatenate(rows)
  return has_NC[np.random.default_rng(0).permutation(len(has_NC))]


def write(folder, has_NC, **fields) -> str:
  """Features whose first number is the row; returns the path."""
  N = len(has_NC)
  row_N1 = np.arange(N, dtype=np.float32)[:, None]
  fields = {
    'speech': np.repeat(row_N1, 3, 1),
    'text': np.repeat(row_N1, 2, 1),
    'emotions': has_NC,
    **fields,
  }
  path = f'{folder}/kemdy.npz'
  np.savez(path, **fields)
  return path


def small(**more) -> np.ndarray:
  """A set of 140 + 24 utterances."""
  return emotions((20,) * C, (4,) * (C - 1), **{'others': 0, **more})


def rows_of(split, path, **options):
  """({row: label}, the whole batch) of a split."""
  options = {'standardize': False, **options}
  source = kemdy20.make(split, path=path, **options)
  batch = source.take(np.arange(source.size))
  row_N = batch['speech'][:, 0].astype(int)
  return dict(zip(row_N.tolist(), batch['label'].tolist())), batch


def counts(told) -> tuple[int, ...]:
  return tuple(np.bincount([*told.values()], minlength=C).tolist())


@pytest.fixture(scope='module')
def published(tmp_path_factory):
  has_NC = emotions()
  return has_NC, write(tmp_path_factory.mktemp('kemdy'), has_NC)


@pytest.mark.filterwarnings('ignore:.* of 13,465')
def test_the_published_counts_come_out(published):
  _, path = published
  train, _ = rows_of('train', path, **PUBLISHED)
  test, _ = rows_of('test', path, **PUBLISHED)
  assert counts(test) == TEST and len(test) == 2566
  assert counts(train) == AFTER and len(train) == 10874
  train, _ = rows_of('train', path, label_transform=False, **PUBLISHED)
  assert counts(train) == BEFORE and len(train) == 10262
  assert kemdy20.make('validation', path=path, **PUBLISHED).size == 0


def test_what_is_left_out_is_counted(published):
  _, path = published
  with pytest.warns(UserWarning, match='25 of 13,465 .* left out; 612 others'):
    kemdy20.make('train', path=path)
  with pytest.warns(UserWarning, match='637 of 13,465 .* left out; 0 others'):
    kemdy20.make('train', path=path, label_transform=False)
  with warnings.catch_warnings():
    warnings.simplefilter('error')
    kemdy20.make('test', path=path)


@pytest.mark.filterwarnings('ignore:.* of 13,465')
def test_only_training_has_compound_rows_and_as_their_emotion(published):
  has_NC, path = published
  told = {s: rows_of(s, path)[0] for s in ('train', 'validation', 'test')}
  seen = [row for split in told.values() for row in split]
  assert len(seen) == len(set(seen)) == 12828 + 612
  assert len(told['validation']) == 1027  # a tenth of 10,262
  for split, labels in told.items():
    for row, label in labels.items():
      assert has_NC[row, label]
      if has_NC[row].sum() > 1:
        assert split == 'train' and label > 0 and has_NC[row, 0]
        assert has_NC[row].sum() == 2


def test_validation_and_transform_leave_the_test_part_alone(tmp_path):
  path = write(tmp_path, small())
  want, _ = rows_of('test', path, **PUBLISHED)
  assert len(want) == 28 and counts(want) == (4,) * C
  for options in (
    {},
    dict(label_transform=False),
    dict(validation_fraction=0.3),
  ):
    assert rows_of('test', path, **options)[0] == want
  other, _ = rows_of('test', path, seed=1)
  assert other != want and counts(other) == counts(want)


def test_the_split_is_that_of_scikit_learn_over_single_rows(tmp_path):
  from sklearn import model_selection

  has_NC = small()
  rows = np.flatnonzero(has_NC.sum(1) == 1)
  _, want = model_selection.train_test_split(
    rows, test_size=0.2, stratify=has_NC[rows].argmax(1), random_state=42
  )
  told, _ = rows_of('test', write(tmp_path, has_NC))
  assert set(told) == set(want.tolist())


def test_words_say_the_same_as_flags():
  has_NC = small(others=3)
  words = [
    '; '.join(np.array(NAMES)[has_C])
    .replace('angry', 'Anger')
    .replace('disgust', 'disqust')
    for has_C in has_NC
  ]
  np.testing.assert_array_equal(_kemdy20.flags(np.array(words)), has_NC)
  numbers = has_NC.astype(np.int8)
  np.testing.assert_array_equal(_kemdy20.flags(numbers), has_NC)


def test_no_group_is_in_two_splits(tmp_path):
  has_NC = small()
  group = np.arange(len(has_NC)) % 20
  path = write(tmp_path, has_NC, session=group)
  with pytest.warns(UserWarning, match='are left out'):
    train, _ = rows_of('train', path, groups='session')
  parts = [train]
  parts += [
    rows_of(s, path, groups='session')[0] for s in ('validation', 'test')
  ]
  groups = [{int(group[row]) for row in part} for part in parts]
  assert sorted(sum(map(list, groups), [])) == [*range(20)]
  assert [len(g) for g in groups] == [14, 2, 4]
  in_training = has_NC.sum(1) == 2
  in_training &= np.isin(group, [*groups[0]])
  assert {r for r in train if has_NC[r].sum() == 2} == {
    *np.flatnonzero(in_training)
  }


def test_sequences_and_missing_modalities_come_as_in_arrays(tmp_path):
  has_NC = small()
  N = len(has_NC)
  lengths = np.arange(N) % 3 + 1
  path = write(
    tmp_path,
    has_NC,
    wav=np.ones((lengths.sum(), 4)),
    wav_len=lengths,
    text_present=np.arange(N) % 2 == 0,
  )
  options = dict(path=path, speech='wav', max_len=2, standardize=False)
  source = kemdy20.make('train', **options)
  assert source.modalities == ('speech', 'text') and source.class_names == NAMES
  batch = source.take(np.arange(source.size))
  assert batch['speech'].values.shape == (source.size, 2, 4)
  lacks = ~batch['present']['text']
  assert 0 < lacks.sum() < source.size and not batch['text'][lacks].any()


def test_features_are_standardised_by_the_training_part(tmp_path):
  path = write(tmp_path, small())
  raw, _ = rows_of('train', path)
  _, batch = rows_of('train', path, standardize=True)
  row_N = np.array([*raw])
  want = (row_N - row_N.mean()) / row_N.std()
  np.testing.assert_allclose(batch['speech'][:, 2], want, atol=1e-5)


def refused(folder, match, has_NC=None, fields=None, **options):
  path = write(folder, small() if has_NC is None else has_NC, **(fields or {}))
  with pytest.raises(ValueError, match=match):
    kemdy20.make('train', path=path, **options)


def test_labels_that_are_none_are_refused(tmp_path):
  has_NC = small()
  refused(tmp_path, r'float64 \[164, 7\], but must be bool', has_NC * 0.5)
  refused(tmp_path, r'int64 \[164\], but must be', has_NC.argmax(1))
  refused(tmp_path, r'bool \[164, 6\]', has_NC[:, :6])
  votes = has_NC.astype(int)
  votes[2] *= 3
  refused(tmp_path, r'must be 0 or 1.* 1 rows \(2\)', votes)
  mute = has_NC.copy()
  mute[[3, 5]] = False
  refused(tmp_path, r'no emotion in 2 rows \(3, 5\)', mute)
  words = np.array(['neutral;bored'] + ['neutral'] * 163)
  refused(tmp_path, r"'bored' is no emotion, but in 1 rows \(0\)", words)
  refused(tmp_path, 'no emotion in 164', np.array([''] * 164))


def test_splits_that_cannot_be_drawn_are_refused(tmp_path):
  few = emotions((20, 20, 20, 20, 20, 1, 20), (0,) * 6, 0)
  refused(tmp_path, 'one row of fear', few)
  refused(
    tmp_path,
    '4 would be held out',
    emotions((3,) * C, (0,) * 6, 0),
    test_fraction=0.15,
  )
  refused(tmp_path, 'validation_fraction=0.01', validation_fraction=0.01)
  refused(tmp_path, 'config.data.test_fraction=0', test_fraction=0)
  refused(tmp_path, 'validation_fraction=1', validation_fraction=1)
  one = dict(speaker=np.zeros(164, int))
  refused(
    tmp_path, 'Groups have 1 different values, 0', fields=one, groups='speaker'
  )
  short = dict(speaker=np.zeros(3, int))
  refused(tmp_path, r'Groups must be .*\[164\]', fields=short, groups='speaker')


def test_files_that_do_not_fit_are_refused(tmp_path):
  refused(tmp_path, "speech='wav' is no field", speech='wav')
  refused(tmp_path, 'max_len=-1', max_len=-1)
  refused(
    tmp_path, '3 rows, but there are 164', fields=dict(text=np.ones((3, 2)))
  )
  bad = dict(text=np.full((164, 2), np.nan))
  refused(tmp_path, 'NaN or infinity', fields=bad)
  with pytest.raises(ValueError, match="no split 'dev'"):
    kemdy20.make('dev', path='x.npz')


def test_a_class_that_nobody_has_is_told(tmp_path):
  path = write(tmp_path, emotions((20,) * 6 + (0,), (0,) * 6, 0))
  with pytest.warns(UserWarning, match='No training utterance is disgust'):
    kemdy20.make('train', path=path)
