"""Kinetics-Sounds, from lists and folders to batches."""

import json
import shutil

import numpy as np
import pytest

from mmjax.data import kinetics_sounds

pytest.importorskip('av', reason="needs PyAV: pip install 'mmjax[media]'")

SMALL = dict(size=16, frames=2)


@pytest.fixture(scope='module')
def raw(tmp_path_factory):
  folder = tmp_path_factory.mktemp('kinetics')
  kinetics_sounds.render(folder)
  return folder


def scan(folder, **options):
  return kinetics_sounds.corpus(**options).scan(folder)


def touch(path):
  path.parent.mkdir(parents=True, exist_ok=True)
  path.write_bytes(b'')


def test_classes_are_those_of_adamml_in_the_order_of_ogm_ge():
  names = kinetics_sounds.CLASS_NAMES
  assert len(names) == 31 and list(names) == sorted(names)
  # Of the lists of OGM-GE, looked up in those of Kinetics.
  known = {1: 'blowing out candles', 2: 'bowling', 8: 'playing bagpipes'}
  known |= {16: 'playing piano', 23: 'shoveling snow', 29: 'tapping pen'}
  assert {i: names[i] for i in known} == known


def test_ogm_ge_lists_to_batches(raw, tmp_path):
  first = (raw / 'my_train.txt').read_text().splitlines()[0]
  name, frames, label = first.split(',')
  assert frames == '10' and len(name) == 11 + len('_000058_000068')
  found = scan(raw)
  assert not found.skipped and len(found.entries) == 24
  assert found.entries[name[:18]].label == int(label)

  kinetics_sounds.prepare(raw, tmp_path, **SMALL)
  splits = {
    split: kinetics_sounds.make(split, data_dir=tmp_path, **SMALL)
    for split in ('train', 'validation', 'test')
  }
  assert [s.size for s in splits.values()] == [15, 3, 6]
  for source in splits.values():
    labels = source.take(np.arange(source.size))['label']
    assert set(labels.tolist()) == {4, 8, 25}
  batch = splits['train'].take(np.array([0, 14]))
  assert batch['audio'].shape == (2, 1024, 128, 1)
  assert batch['audio'].dtype == np.float32
  assert batch['visual'].shape == (2, 2, 16, 16, 3)
  assert batch['visual'].dtype == np.uint8
  assert splits['train'].class_names == kinetics_sounds.CLASS_NAMES


def test_missing_and_unlisted_clips_are_counted(raw, tmp_path):
  folder = tmp_path / 'raw'
  shutil.copytree(raw, folder)
  lost = sorted(folder.glob('train/*/*.mp4'))[0]
  lost.unlink()
  touch(folder / 'train/singing/abcdefghijk_000001_000011.mp4')
  touch(folder / 'train/abseiling/lmnopqrstuv_000001_000011.mp4')
  assert scan(folder).skipped == {
    lost.stem[:18]: 'is not in the folder',
    'abcdefghijk_000001_000011.mp4': 'is in no list',
  }


HEADER = 'label,youtube_id,time_start,time_end,split,is_cc\n'


@pytest.fixture
def published(tmp_path):
  """Kinetics' lists, of which the one of the test part has no labels."""
  for split, name in (('train', 'train'), ('validate', 'val')):
    lines = ''.join(
      f'{label},{split[:8]:_<10}{i},{i},{i + 10},{split},0\n'
      for i, label in enumerate(('"bowling"', 'tickling', 'abseiling'))
    )
    path = tmp_path / f'annotations/{name}.csv'
    path.parent.mkdir(exist_ok=True)
    path.write_text(HEADER + lines)
  no_label = 'youtube_id,time_start,time_end,split\nabc,1,11,test\n'
  (tmp_path / 'annotations/test.csv').write_text(no_label)
  touch(tmp_path / 'train/train_____0_000000_000010.mp4')
  touch(tmp_path / 'train/train_____1.mp4')
  touch(tmp_path / 'train/train_____2_000002_000012.mp4')
  touch(tmp_path / 'val/validate__0_000000_000010.mp4')
  touch(tmp_path / 'replacement/validate__0_000000_000010.mp4')
  return tmp_path


def test_kinetics_lists(published):
  found = scan(published)
  got = {name: (e.label, e.split) for name, e in found.entries.items()}
  assert got == {
    'train_____0_000000': (2, 'train'),
    'train_____1_000001': (30, 'train'),
    'validate__0_000000': (2, 'validation'),
  }
  file = found.entries['validate__0_000000'].parts['audio'].file
  assert file.parent.name == 'replacement'
  assert found.skipped == {'validate__1_000001': 'is not in the folder'}
  found = scan(published, test_from='val')
  assert found.entries['validate__0_000000'].split == 'test'


def test_folders_without_a_list(tmp_path):
  touch(tmp_path / 'train/tap_dancing/abcdefghijk_000003_000013.mp4')
  touch(tmp_path / 'val/tickling/lmnopqrstuv.mp4')
  touch(tmp_path / 'test/tickling/lmnopqrst-v_000001_000011.mkv')
  touch(tmp_path / 'test/zumba/lmnopqrst_v_000001_000011.mp4')
  touch(tmp_path / 'lmnopqrst-w_000001_000011.mp4')
  found = scan(tmp_path)
  got = {name: (e.label, e.split) for name, e in found.entries.items()}
  assert got == {
    'abcdefghijk_000003': (27, 'train'),
    'lmnopqrstuv': (30, 'validation'),
    'lmnopqrst-v_000001': (30, 'test'),
  }
  assert json.dumps(found.skipped) == (
    '{"lmnopqrst-w_000001_000011.mp4": "is in no list"}'
  )
  assert set(scan(tmp_path, test_from='val').entries) == {
    'abcdefghijk_000003',
    'lmnopqrstuv',
  }


@pytest.mark.parametrize(
  'name, text, words',
  [
    ('my_train.txt', 'abcdefghijk_1,10,31\n', 'line 1.*class from 0 to 30'),
    ('my_train.txt', 'abc_1,10,3\n', 'line 1.*not VIDEO_START,FRAMES,CLASS'),
    (
      'my_test.txt',
      'abcdefghijk_1 10 3\nabcdefghijk_1 10 4\n',
      'line 2.*before',
    ),
    ('val.csv', f'{HEADER}bowling,abcdefghijk,x,11,val,0\n', 'line 2.*number'),
    (
      'val.csv',
      f'{HEADER}bowling,abcdefghijk,1,11,vall,0\n',
      "'vall' is no split",
    ),
  ],
)
def test_bad_lists_are_named(tmp_path, name, text, words):
  (tmp_path / name).write_text(text)
  with pytest.raises(
    ValueError, match=f'{name}, {words}' if 'line' in words else words
  ):
    scan(tmp_path)


def test_nothing_there_and_bad_options(tmp_path):
  with pytest.raises(ValueError, match='no example of kinetics_sounds'):
    kinetics_sounds.prepare(tmp_path, tmp_path / 'data')
  with pytest.raises(ValueError, match="test_from='dev'"):
    kinetics_sounds.corpus(test_from='dev')
