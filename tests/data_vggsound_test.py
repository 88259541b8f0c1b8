"""VGGSound, from the list to batches, with the classes of the list."""

import numpy as np
import pytest

from mmjax.data import vggsound

pytest.importorskip('av', reason="needs PyAV: pip install 'mmjax[media]'")

SMALL = dict(size=16, frames=2)
CLASSES = ('dog barking', 'playing violin, fiddle', 'raining')


@pytest.fixture(scope='module')
def raw(tmp_path_factory):
  folder = tmp_path_factory.mktemp('vggsound')
  vggsound.render(folder)
  return folder


@pytest.fixture(scope='module')
def data_dir(raw, tmp_path_factory):
  folder = tmp_path_factory.mktemp('data')
  done = vggsound.prepare(raw, folder, **SMALL)
  assert done.skipped == {'gone-fromYT_000030': 'is not in the folder'}
  assert done.counts == {'train': 15, 'validation': 3, 'test': 6}
  return folder


def test_layout(raw):
  lines = (raw / 'vggsound.csv').read_text().splitlines()
  assert len(lines) == 25 and '"playing violin, fiddle"' in lines[0]
  video, start = lines[0].split(',')[:2]
  assert (raw / f'video/{video}_{int(start):06}.mp4').is_file()


def test_prepared_data_alone_know_the_classes(data_dir):
  for split in ('train', 'validation', 'test'):
    source = vggsound.make(split, data_dir=data_dir, **SMALL)
    assert source.class_names == CLASSES
    labels = source.take(np.arange(source.size))['label']
    assert set(labels.tolist()) == {0, 1, 2}
  batch = source.take(np.array([1, 0]))
  assert batch['audio'].shape == (2, 1024, 128, 1)
  assert batch['visual'].shape == (2, 2, 16, 16, 3)


def test_classes_are_of_the_list_also_without_clips(tmp_path):
  _list(tmp_path, 'abcdefghijk,7,b,train\nabcdefghijk,9,"a, c",test\n')
  (tmp_path / 'abcdefghijk_7000_17000.mp4').write_bytes(b'')
  (tmp_path / 'lmnopqrstuv_000001.mp4').write_bytes(b'')
  found = vggsound.corpus().scan(tmp_path)
  assert found.class_names == ['a, c', 'b']
  assert {n: e.label for n, e in found.entries.items()} == {
    'abcdefghijk_000007': 1
  }
  assert found.skipped == {
    'abcdefghijk_000009': 'is not in the folder',
    'lmnopqrstuv_000001.mp4': 'is in no list',
  }


def test_seconds_in_names_and_a_header(tmp_path):
  header = 'youtube_id,start_seconds,label,split\n'
  _list(tmp_path, f'{header}abcdefghijk,1,b,train\nabcdefghijk,30,b,test\n')
  (tmp_path / 'abcdefghijk_1_11.mp4').write_bytes(b'')
  (tmp_path / 'abcdefghijk_000030.webm').write_bytes(b'')
  assert len(vggsound.corpus().scan(tmp_path).entries) == 2


def _list(folder, text):
  (folder / 'vggsound.csv').write_text(text)


@pytest.mark.parametrize(
  'text, words',
  [
    ('abcdefghijk,1,b\n', 'line 1: .*VIDEO,START,CLASS,SPLIT'),
    ('abcdefghijk,1,b,train\nabcdefghijk,x,b,train\n', 'line 2: .*VIDEO'),
    ('abcdefghijk,1,b,val\n', "line 1: split 'val'"),
    ('abcdefghijk,1,b,train\nabcdefghijk,1,c,train\n', 'line 2: .* before'),
  ],
)
def test_bad_lists_are_named(tmp_path, text, words):
  _list(tmp_path, text)
  with pytest.raises(ValueError, match=words):
    vggsound.corpus().scan(tmp_path)


def test_no_list(tmp_path):
  with pytest.raises(ValueError, match='lacks 1 of 1 .*vggsound.csv'):
    vggsound.corpus().scan(tmp_path)
