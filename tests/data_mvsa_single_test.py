"""MVSA-Single from its released layout to batches."""

import json
import shutil
from collections import Counter

import numpy as np
import pytest

from mmjax.data import mvsa_single

SMALL = dict(size=16)


@pytest.fixture(scope='module')
def released(tmp_path_factory):
  folder = tmp_path_factory.mktemp('mvsa')
  mvsa_single.render(folder)
  return folder


@pytest.fixture
def raw(released, tmp_path):
  return shutil.copytree(released, tmp_path / 'raw')


def scan(raw, **options):
  return mvsa_single.corpus(**options).scan(raw)


def add(raw, line):
  with open(raw / 'labelResultAll.txt', 'a') as file:
    file.write(line)


def test_layout_is_the_released_one(released):
  lines = (released / 'labelResultAll.txt').read_text().splitlines()
  assert lines[:3] == [
    'ID\ttext,image',
    '1\tneutral,positive',
    '2\tneutral,neutral',
  ]
  assert len(lines) == 31
  names = {path.name for path in (released / 'data').iterdir()}
  assert names == {f'{i}.{s}' for i in range(1, 31) for s in ('jpg', 'txt')}
  # The ellipsis of GBK, which Latin-1 has as an inverted ! and a soft hyphen.
  assert b'\xa1\xad' in (released / 'data/1.txt').read_bytes()


@pytest.mark.parametrize(
  'text, image, merged, agreed',
  [
    ('positive', 'positive', 'positive', 'positive'),
    ('neutral', 'neutral', 'neutral', 'neutral'),
    ('neutral', 'negative', 'negative', ''),
    ('positive', 'neutral', 'positive', ''),
    ('positive', 'negative', '', ''),
    ('negative', 'positive', '', ''),
    ('negative', 'sad', '', ''),
  ],
)
def test_merged_labels(text, image, merged, agreed):
  for rule, label in (('merged', merged), ('agree', agreed)):
    got, reason = mvsa_single.merge(text, image, rule)
    assert got == label
    assert bool(reason) == (not label)


def test_scan(released):
  found = scan(released)
  differ = 'its labels of text and picture differ'
  assert found.skipped == {'10': differ, '20': differ, '30': differ}
  labels = [mvsa_single.CLASS_NAMES[e.label] for e in found.entries.values()]
  assert Counter(labels) == dict(positive=9, neutral=9, negative=9)
  assert mvsa_single.CLASS_NAMES[found.entries['1'].label] == 'positive'
  assert mvsa_single.CLASS_NAMES[found.entries['3'].label] == 'negative'
  assert {e.split for e in found.entries.values()} == {''}
  for name in ('1', '2'):  # GB18030 and UTF-8
    part = found.entries[name].parts['text']
    assert part.texts[0].startswith('RT @someone: ')
    assert '… http://t.co/' in part.texts[0]
  assert len(scan(released, labels='agree').entries) < len(found.entries)


def test_other_texts(raw):
  (raw / 'data/1.txt').write_bytes(b'caf\xe9 ol\xe9\n')
  (raw / 'data/2.txt').write_bytes(b'\xef\xbb\xbf  two\r\nlines ')
  (raw / 'data/3.txt').write_bytes(b' \n')
  entries = scan(raw).entries
  assert entries['1'].parts['text'].texts == ('café olé',)
  assert entries['2'].parts['text'].texts == ('two lines',)
  assert set(entries['3'].parts) == {'visual'}


def test_what_is_left_out(raw):
  for name in ('1.jpg', '2.jpg', '2.txt'):
    (raw / 'data' / name).unlink()
  (raw / 'data/99.jpg').write_bytes(b'')
  add(raw, '5\tpositive,positive\n98\tneutral\t,neutral\n')
  found = scan(raw)
  assert {n: r for n, r in found.skipped.items() if 'differ' not in r} == {
    '2': 'is not in the folder',
    '99.jpg': 'is in no list',
    '5 (line 32)': 'is listed twice',
    '98': 'is not in the folder',
  }
  assert set(found.entries['1'].parts) == {'text'}


def test_batches(released, tmp_path):
  done = mvsa_single.prepare(released, tmp_path, **SMALL)
  assert done.counts == {'train': 21, 'validation': 3, 'test': 3}
  for split, size in done.counts.items():
    source = mvsa_single.make(split, data_dir=tmp_path, **SMALL)
    batch = source.take(np.arange(size))
    assert source.size == size and source.modalities == ('visual', 'text')
    assert source.class_names == ('positive', 'neutral', 'negative')
    assert batch['visual'].shape == (size, 16, 16, 3)
    assert batch['visual'].dtype == np.uint8
    assert batch['text'].values.shape == batch['text'].mask.shape == (size, 128)
    assert batch['text'].values.dtype == np.int32
    assert set(batch['label']) == {0, 1, 2}
  with pytest.raises(ValueError, match='labels'):
    mvsa_single.make('train', data_dir=tmp_path, labels='agree', **SMALL)


def write_lists(folder, **lists):
  for name, rows in lists.items():
    lines = [
      json.dumps(dict(id=str(i), label=label, text='', img=f'data/{i}.jpg'))
      for i, label in rows
    ]
    (folder / f'{name}.jsonl').write_text('\n'.join(lines))


def test_lists_decide_the_splits_also_in_a_folder_of_the_raw_one(raw, tmp_path):
  home = tmp_path / 'outer' / 'MVSA_Single'
  shutil.copytree(raw, home)
  write_lists(
    home,
    train=[(1, 'positive'), (2, 'neutral'), (3, 'negative')],
    dev=[(4, 'positive'), (5, 'negative')],
    test=[(7, 'positive')],
  )
  found = scan(home.parent)
  assert {n: e.split for n, e in found.entries.items()} == {
    **dict.fromkeys(('1', '2', '3'), 'train'),
    **{'4': 'validation', '7': 'test'},
  }
  assert found.skipped['5'] == "its label is not the lists'"
  assert found.skipped['8'] == 'is in no list'


def test_errors(raw):
  with pytest.raises(ValueError, match="labels='both': 'merged' or 'agree'"):
    mvsa_single.corpus(labels='both')
  add(raw, '31 positive,positive\n')
  with pytest.raises(
    ValueError, match=r'labelResultAll.txt, line 32: .* is not'
  ):
    scan(raw)
  shutil.rmtree(raw / 'data')
  with pytest.raises(ValueError, match='lacks 1 of 1 .* data'):
    scan(raw)
  (raw / 'labelResultAll.txt').unlink()
  with pytest.raises(ValueError, match='lacks 1 of 1 .* labelResultAll.txt'):
    scan(raw)
