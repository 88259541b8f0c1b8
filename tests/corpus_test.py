"""What data sets of files share: splits, what is missing, captions, settings."""

import inspect
import pathlib

import numpy as np
import pytest

from mmjax.data import _corpus, _kinds

NAMES = ('one', 'two')


def part(value, file=None):
  return _kinds.Part(file=file, value=np.full(2, value, np.float32))


def entries(count=20, **change):
  """Examples of two people each, of two classes in turn."""
  return {
    f'e{i:02}': _corpus.Entry(
      i % 2, {'a': part(i), 'b': part(-i)}, group=f'g{i // 2}'
    )._replace(**change)
    for i in range(count)
  }


def corpus_of(found, *, captions=0, reading=(), **draw):
  """(make, prepare) of a set whose raw folder is always read as `found`."""

  def corpus(*, size: int = 2, seen: int = 1) -> _corpus.Corpus:
    del seen
    kinds = {'a': _kinds.vector(size), 'b': _kinds.vector(size)}
    if captions:
      kinds = {'a': _kinds.vector(size), 'b': _kinds.text('', 8, captions)}
    return _corpus.Corpus(
      name='tiny_set',
      version='1.0.0',
      class_names=NAMES,
      kinds=kinds,
      scan=lambda raw: _corpus.Found(  # noqa: ARG005
        dict(found), {'x': 'is a stranger'}
      ),
      render=lambda folder: (folder / 'raw.txt').write_text('x'),
      draw=_corpus.Draw(**draw),
      reading=reading,
    )

  return _corpus.faces(corpus)


@pytest.fixture
def raw(tmp_path):
  (tmp_path / 'raw').mkdir()
  return tmp_path / 'raw'


def splits(make, data_dir, **options):
  """{split: values of 'a'}, which tell examples apart."""
  found = {}
  for split in ('train', 'validation', 'test'):
    source = make(split, data_dir=data_dir, **options)
    rows = np.arange(source.size)
    values = source.take(rows)['a'][:, 0] if source.size else []
    found[split] = {int(v) for v in values}
  return found


def test_signatures_are_written_out():
  make, prepare = corpus_of(entries())
  names = list(inspect.signature(make).parameters)
  assert names == ['split', 'size', 'seen', 'data_dir', 'sample', 'on_missing']
  assert {'workers', 'on_corrupt', 'overwrite'} <= set(
    inspect.signature(prepare).parameters
  )
  with pytest.raises(TypeError, match='sizes'):
    make('train', sizes=3)


def test_drawn_splits_hold_every_example_once(raw, tmp_path):
  make, prepare = corpus_of(entries(), test=0.3, validation=0.2)
  done = prepare(raw, tmp_path)
  assert done.skipped == {'x': 'is a stranger'}
  found = splits(make, tmp_path)
  assert set.union(*found.values()) == set(range(20))
  assert sum(map(len, found.values())) == 20 and min(map(len, found.values()))


def test_no_group_is_in_two_splits(raw, tmp_path):
  make, prepare = corpus_of(entries(), by='group', test=0.3, validation=0.3)
  prepare(raw, tmp_path)
  groups = [{i // 2 for i in of} for of in splits(make, tmp_path).values()]
  assert all(groups) and sum(map(len, groups)) == len(set.union(*groups)) == 10


def test_published_splits_stay_and_validation_comes_from_training(
  raw, tmp_path
):
  published = {
    name: entry._replace(split='test' if i < 6 else 'train')
    for i, (name, entry) in enumerate(entries().items())
  }
  make, prepare = corpus_of(published, test=0.9, validation=0.3)
  prepare(raw, tmp_path)
  found = splits(make, tmp_path)
  assert found['test'] == set(range(6))
  assert found['validation'] and found['validation'] <= set(range(6, 20))


def test_a_release_with_all_three_parts_is_left_as_it_is(raw, tmp_path):
  published = {
    name: entry._replace(split=('train', 'validation', 'test')[i % 3])
    for i, (name, entry) in enumerate(entries().items())
  }
  make, prepare = corpus_of(published, test=0.9, validation=0.9)
  prepare(raw, tmp_path)
  assert splits(make, tmp_path) == {
    split: set(range(i, 20, 3))
    for i, split in enumerate(('train', 'validation', 'test'))
  }


def test_a_file_in_two_splits_is_told(raw, tmp_path):
  same = raw / 'both.npy'
  np.save(same, np.zeros(2))
  twice = {
    split: _corpus.Entry(0, {'a': part(0, same), 'b': part(0)}, split)
    for split in ('train', 'test')
  }
  _, prepare = corpus_of(twice)
  with pytest.raises(ValueError, match=r"both\.npy is of 'train' in train and"):
    prepare(raw, tmp_path)


def test_what_is_missing_is_skipped_and_counted_or_kept(raw, tmp_path):
  found = entries()
  found['e00'] = found['e00']._replace(parts={'a': part(0)})
  found['e01'] = found['e01']._replace(parts={})
  found['e02'] = found['e02']._replace(label=7)
  found['../e03'] = found.pop('e03')
  make, prepare = corpus_of(found)
  done = prepare(raw, tmp_path / 'skip')
  assert done.skipped == {
    'x': 'is a stranger',
    'e00': 'has no b',
    'e01': 'has no file at all',
    'e02': 'its label is none of the classes',
    '../e03': 'its name cannot be that of a file',
  }
  kept = prepare(raw, tmp_path / 'keep', on_missing='present')
  assert 'e00' not in kept.skipped
  seen = {}
  for split in ('train', 'validation', 'test'):
    source = make(split, data_dir=tmp_path / 'keep', on_missing='present')
    batch = source.take(np.arange(source.size))
    for a, b, has in zip(batch['a'], batch['b'], batch['present']['b']):
      seen[int(a[0])] = (b.tolist(), bool(has))
  assert seen[0] == ([0.0, 0.0], False) and seen[4] == ([-4.0, -4.0], True)
  with pytest.raises(ValueError, match="on_missing='drop' is neither"):
    prepare(raw, tmp_path, on_missing='drop')


def test_captions_share_their_entry(raw, tmp_path):
  """As many of each as all of the split have."""
  found = {}
  for i in range(12):
    count, split = (3, 'train') if i < 8 else (2 + i % 2, 'test')
    texts = tuple(f'{i}-{k}' for k in range(count))
    parts = {'a': part(i), 'b': _kinds.Part(texts=texts)}
    found[f'e{i:02}'] = _corpus.Entry(0, parts, split)
  make, prepare = corpus_of(found, captions=3, validation=0.0)
  prepare(raw, tmp_path)
  for split, times, count in (('train', 3, 8), ('test', 2, 4)):
    source = make(split, data_dir=tmp_path)
    assert source.size == times * count
    entry = source.entries['a']
    batch = source.take(np.arange(source.size))
    assert 'b' not in source.entries
    for row in range(source.size):
      ids, mask = batch['b'].values[row], batch['b'].mask[row]
      said = bytes((ids[mask] - 1).tolist()).decode()
      assert said == f'{int(batch["a"][row, 0])}-{row % times}'
      assert entry[row] == row // times


def test_settings_of_what_is_kept_must_be_the_same(raw, tmp_path):
  make, prepare = corpus_of(entries(), reading=('seen',))
  with pytest.raises(ValueError, match='There is no prepared .*--mode=prepare'):
    make('train', data_dir=tmp_path)
  prepare(raw, tmp_path)
  assert make('train', data_dir=tmp_path, seen=9).size
  with pytest.raises(ValueError, match='size: prepared 2, wanted 3'):
    make('train', data_dir=tmp_path, size=3)
  with pytest.raises(ValueError, match="no split 'dev'"):
    make('dev', data_dir=tmp_path)


def test_raw_folders_that_are_wrong_are_told(raw, tmp_path):
  _, prepare = corpus_of({})
  with pytest.raises(ValueError, match='give --raw_dir'):
    prepare(None, tmp_path)
  with pytest.raises(ValueError, match='is no folder'):
    prepare(tmp_path / 'nowhere', tmp_path)
  with pytest.raises(ValueError, match='no example .* 1 were left out'):
    prepare(raw, tmp_path)
  names = [f'part{i}' for i in range(15)]
  (raw / 'part3').mkdir()
  with pytest.raises(
    ValueError, match='lacks 14 of 15 .*part0, .*part10, and 4 more'
  ):
    _corpus.require(raw, names)


def test_a_sample_appears_when_it_is_whole(tmp_path):
  make, _ = corpus_of(entries())
  torn = pathlib.Path(tmp_path / 'tiny_set_raw.part')
  torn.mkdir()
  (torn / 'half').write_text('of a killed run')
  assert make('train', data_dir=tmp_path, sample=True).size
  there = [p.name for p in (tmp_path / 'tiny_set_raw').iterdir()]
  assert there == ['raw.txt'] and not torn.exists()
