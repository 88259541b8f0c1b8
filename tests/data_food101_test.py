"""UPMC Food-101 from its released layout to batches."""

import json
import shutil

import numpy as np
import pytest

from mmjax.data import food101

SMALL = dict(size=16)


@pytest.fixture(scope='module')
def released(tmp_path_factory):
  folder = tmp_path_factory.mktemp('food101')
  food101.render(folder)
  return folder


@pytest.fixture
def raw(released, tmp_path):
  return shutil.copytree(released, tmp_path / 'raw')


@pytest.fixture(scope='module')
def prepared(released, tmp_path_factory):
  data_dir = tmp_path_factory.mktemp('data')
  food101.prepare(released, data_dir, **SMALL)
  return data_dir


def scan(raw):
  return food101.corpus().scan(raw)


def add(raw, line, split='train'):
  with open(raw / f'texts/{split}_titles.csv', 'a') as file:
    file.write(f'{line}\n')


def test_layout_is_the_released_one(released):
  files = {str(p.relative_to(released)) for p in released.rglob('*.*')}
  assert len(files) == 5 * 6 + 2
  assert 'images/train/apple_pie/apple_pie_0.jpg' in files
  assert 'images/test/waffles/waffles_5.jpg' in files
  line = (released / 'texts/test_titles.csv').read_text().splitlines()[0]
  assert line.startswith('apple_pie_4.jpg,"')
  assert line.endswith('more",apple_pie')


def test_scan(released):
  assert len(food101.CLASS_NAMES) == 101
  assert list(food101.CLASS_NAMES) == sorted(set(food101.CLASS_NAMES))
  found = scan(released)
  assert found.skipped == {}
  assert len(found.entries) == 30
  entry = found.entries['club_sandwich_4']
  assert entry.label == 25
  assert entry.split == 'test'
  assert entry.parts['visual'].file == (
    released / 'images/test/club_sandwich/club_sandwich_4.jpg'
  )
  (title,) = entry.parts['text'].texts
  assert title.endswith(', "best" recipe | Food &amp; more')
  for name, entry in found.entries.items():
    class_name, _, number = name.rpartition('_')
    assert food101.CLASS_NAMES[entry.label] == class_name
    assert entry.split == ('train' if int(number) < 4 else 'test')
  labels = {entry.label for entry in found.entries.values()}
  assert labels == {0, 25, 50, 75, 100}


def test_batches(prepared):
  sizes = {}
  for split in ('train', 'validation', 'test'):
    source = food101.make(split, data_dir=prepared, **SMALL)
    batch = source.take(np.arange(source.size))
    sizes[split] = source.size
    assert source.modalities == ('visual', 'text') and not source.entries
    assert batch['visual'].shape == (source.size, 16, 16, 3)
    assert batch['visual'].dtype == np.uint8
    assert batch['text'].values.shape == (source.size, 128)
    assert batch['text'].values.dtype == np.int32
    assert batch['text'].mask.any(1).all()
    assert set(batch['label']) == {0, 25, 50, 75, 100}
    assert all(p.all() for p in batch['present'].values())
  assert sizes == {'train': 15, 'validation': 5, 'test': 10}


def test_texts_are_read_anew_without_preparing(prepared):
  source = food101.make('test', data_dir=prepared, max_tokens=5, **SMALL)
  assert source.take(np.arange(2))['text'].values.shape == (2, 5)


def test_what_is_left_out(raw):
  (raw / 'images/train/apple_pie/apple_pie_0.jpg').unlink()
  shutil.copy(
    raw / 'images/test/apple_pie/apple_pie_4.jpg',
    raw / 'images/train/apple_pie/apple_pie_77.jpg',
  )
  add(raw, 'apple_pie_1.jpg,once more,apple_pie')
  add(raw, 'gruel_1.jpg,Gruel,gruel')
  found = scan(raw)
  assert found.skipped == {
    'images/train/apple_pie/apple_pie_77.jpg': 'is in no list',
    'train/apple_pie_1.jpg again': 'is listed twice',
    'gruel_1': 'its label is none of the classes',
  }
  assert set(found.entries['apple_pie_0'].parts) == {'text'}


def test_missing_and_broken_ones_are_counted_or_kept(raw, tmp_path):
  (raw / 'images/train/apple_pie/apple_pie_0.jpg').unlink()
  (raw / 'images/train/apple_pie/apple_pie_1.jpg').write_bytes(b'no picture')
  add(raw, 'waffles_9.jpg,,waffles')
  shutil.copy(
    raw / 'images/train/waffles/waffles_0.jpg',
    raw / 'images/train/waffles/waffles_9.jpg',
  )
  done = food101.prepare(raw, tmp_path / 'a', **SMALL)
  assert done.skipped['apple_pie_0'] == 'has no visual'
  assert 'cannot be decoded' in done.skipped['apple_pie_1']
  assert done.skipped['waffles_9'] == 'has no text'
  done = food101.prepare(raw, tmp_path / 'b', on_missing='present', **SMALL)
  assert list(done.skipped) == ['apple_pie_1']
  absent = 0
  for split in ('train', 'validation'):
    source = food101.make(
      split, data_dir=tmp_path / 'b', on_missing='present', **SMALL
    )
    present = source.take(np.arange(source.size))['present']
    absent += sum(int((~p).sum()) for p in present.values())
  assert absent == 2


def test_titles_may_have_commas_without_quotation_marks(raw):
  add(raw, 'apple_pie_0.jpg,a pie, warm, with cream,apple_pie', 'test')
  (raw / 'texts/train_titles.csv').write_text('')
  entry = scan(raw).entries['apple_pie_0']
  assert entry.parts['text'].texts == ('a pie, warm, with cream',)


def write_lists(raw, **lists):
  for name, stems in lists.items():
    rows = [
      dict(
        id=f'{s}.jpg',
        label=s.rpartition('_')[0],
        text='',
        img=f'images/x/{s.rpartition("_")[0]}/{s}.jpg',
      )
      for s in stems
    ]
    text = ''.join(f'{json.dumps(row)}\n' for row in rows)
    (raw / f'{name}.jsonl').write_text(text)


def test_lists_of_mmbt_decide_the_splits(raw):
  write_lists(
    raw, train=['apple_pie_0'], dev=['apple_pie_3'], test=['apple_pie_5']
  )
  found = scan(raw)
  assert {n: e.split for n, e in found.entries.items()} == {
    'apple_pie_0': 'train',
    'apple_pie_3': 'validation',
    'apple_pie_5': 'test',
  }
  assert found.skipped['apple_pie_1'] == 'is in no list'
  assert len(found.skipped) == 27


def test_errors(raw):
  write_lists(raw, train=['waffles_0'], dev=['waffles_1'])
  with pytest.raises(ValueError, match=r'lacks 1 of 3 .*test\.jsonl'):
    scan(raw)
  write_lists(raw, test=['waffles_0'])
  with pytest.raises(ValueError, match='test.jsonl, line 1: .* in test and in'):
    scan(raw)
  (raw / 'test.jsonl').write_text('{"img": "a.jpg", "label": "x"}\n{"img"\n')
  with pytest.raises(ValueError, match='test.jsonl, line 2: it is no JSON'):
    scan(raw)
  (raw / 'test.jsonl').write_text('[1]\n')
  with pytest.raises(ValueError, match="line 1: .* 'img' and 'label'"):
    scan(raw)
  for name in ('train', 'dev', 'test'):
    (raw / f'{name}.jsonl').unlink()
  add(raw, 'waffles_7.jpg')
  with pytest.raises(ValueError, match="train_titles.csv, line 21: 'waffles_7"):
    scan(raw)
  (raw / 'texts/train_titles.csv').write_bytes(b'a.jpg,caf\xe9,waffles\n')
  with pytest.raises(ValueError, match='train_titles.csv is no text in utf-8'):
    scan(raw)
  shutil.rmtree(raw / 'images/test')
  with pytest.raises(ValueError, match='lacks 1 of 4 .*images/test'):
    scan(raw)
