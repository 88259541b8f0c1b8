"""COCO captions from Karpathy's list and the released pictures to batches."""

import json
import shutil
from collections import Counter

import numpy as np
import pytest

from mmjax.data import coco

SMALL = dict(size=16)


@pytest.fixture(scope='module')
def released(tmp_path_factory):
  folder = tmp_path_factory.mktemp('coco')
  coco.render(folder)
  return folder


def test_layout_is_karpathys(released):
  images = json.loads((released / 'dataset_coco.json').read_text())['images']
  assert set(images[0]) == {
    *('filepath', 'sentids', 'filename', 'imgid', 'split', 'sentences'),
    'cocoid',
  }
  assert images[0]['filename'] == 'COCO_train2014_000000000009.jpg'
  assert images[0]['filepath'] == 'train2014' and images[0]['cocoid'] == 9
  homes = Counter((i['split'], i['filepath']) for i in images)
  assert homes == {
    ('train', 'train2014'): 12,
    ('restval', 'val2014'): 4,
    ('val', 'val2014'): 8,
    ('test', 'val2014'): 8,
  }
  # Some have more than five.
  assert [len(i['sentences']) for i in images] == [6] + [5] * 31


def test_restval_is_trained_on(released):
  found = coco.corpus().scan(released)
  assert found.skipped == {}
  splits = Counter(e.split for e in found.entries.values())
  assert splits == {'train': 16, 'validation': 8, 'test': 8}
  restval = found.entries['COCO_val2014_000000000405']
  assert restval.split == 'train'
  assert restval.parts['image'].file == (
    released / 'val2014/COCO_val2014_000000000405.jpg'
  )
  assert {len(e.parts['text'].texts) for e in found.entries.values()} == {5}


def test_every_picture_is_shown_by_five(released, tmp_path):
  coco.prepare(released, tmp_path, **SMALL)
  for split, size in (('train', 80), ('validation', 40), ('test', 40)):
    source = coco.make(split, data_dir=tmp_path, **SMALL)
    assert source.size == size
    assert (
      source.entries['image'].tolist()
      == np.repeat(np.arange(size // 5), 5).tolist()
    )
  batch = source.take(np.array([0, 4, 5]))
  assert batch['image'].shape == (3, 16, 16, 3)
  assert batch['text'].values.shape == (3, 128)
  assert (batch['image'][0] == batch['image'][1]).all()
  assert (batch['image'][0] != batch['image'][2]).any()


def test_what_is_left_out(released, tmp_path):
  raw = shutil.copytree(released, tmp_path / 'raw')
  name = 'COCO_val2014_000000000405.jpg'
  (raw / 'val2014' / name).replace(raw / 'train2014' / name)
  assert coco.corpus().scan(raw).skipped == {
    'COCO_val2014_000000000405': 'is not in the folder',
    f'train2014/{name}': 'is in no list',
  }
  shutil.rmtree(raw / 'train2014')
  with pytest.raises(ValueError, match='lacks 1 of 3 .* train2014'):
    coco.corpus().scan(raw)
