"""Flickr30k from Karpathy's list and the released pictures to batches."""

import json
import shutil

import numpy as np
import pytest

from mmjax.data import flickr30k

SMALL = dict(size=16)


@pytest.fixture(scope='module')
def released(tmp_path_factory):
  folder = tmp_path_factory.mktemp('flickr30k')
  flickr30k.render(folder)
  return folder


@pytest.fixture
def raw(released, tmp_path):
  return shutil.copytree(released, tmp_path / 'raw')


def scan(raw):
  return flickr30k.corpus().scan(raw)


def change(raw, edit):
  path = raw / 'dataset_flickr30k.json'
  content = json.loads(path.read_text())
  edit(content['images'])
  path.write_text(json.dumps(content))


def test_layout_is_karpathys(released):
  content = json.loads((released / 'dataset_flickr30k.json').read_text())
  assert set(content) == {'images', 'dataset'}
  image = content['images'][1]
  assert set(image) == {'sentids', 'imgid', 'sentences', 'split', 'filename'}
  assert (image['filename'], image['split']) == ('1000092902.jpg', 'train')
  sentence = image['sentences'][0]
  assert set(sentence) == {'tokens', 'raw', 'imgid', 'sentid'}
  assert sentence['sentid'] == image['sentids'][0] and sentence['imgid'] == 1
  assert (released / 'flickr30k-images/1000092902.jpg').is_file()


def test_scan(released):
  found = scan(released)
  assert found.skipped == {}
  splits = [e.split for e in found.entries.values()]
  assert splits == ['train'] * 16 + ['validation'] * 8 + ['test'] * 8
  content = json.loads((released / 'dataset_flickr30k.json').read_text())
  for image, (name, entry) in zip(content['images'], found.entries.items()):
    assert image['filename'] == f'{name}.jpg'
    said = tuple(s['raw'].strip() for s in image['sentences'])
    assert entry.parts['text'].texts == said[:5]
    assert entry.label == 0


def test_every_picture_is_shown_by_five(released, tmp_path):
  done = flickr30k.prepare(released, tmp_path, **SMALL)
  assert done.counts == {'train': 16, 'validation': 8, 'test': 8}
  source = flickr30k.make('test', data_dir=tmp_path, **SMALL)
  assert source.modalities == ('image', 'text')
  assert source.class_names == ('pair',)
  assert source.size == 40
  assert source.entries['image'].tolist() == np.repeat(range(8), 5).tolist()
  assert list(source.entries) == ['image']
  batch = source.take(np.array([5, 9, 10]))
  image_B, text = batch['image'], batch['text']
  assert image_B.shape == (3, 16, 16, 3) and image_B.dtype == np.uint8
  assert (image_B[0] == image_B[1]).all() and (image_B[0] != image_B[2]).any()
  assert text.values.shape == (3, 128) and text.values.dtype == np.int32
  assert (text.values[0] != text.values[1]).any()
  assert batch['label'].tolist() == [0, 0, 0]
  assert flickr30k.make('train', data_dir=tmp_path, **SMALL).size == 80


def test_what_is_left_out(raw):
  def edit(images):
    images[1]['sentences'].pop()
    images[2]['sentences'][0]['raw'] = ' \n'
    images[4]['split'] = 'more'
    images.append(images[5])

  change(raw, edit)
  (raw / 'flickr30k-images/1000092795.jpg').unlink()
  (raw / 'flickr30k-images/7.jpg').write_bytes(b'')
  found = scan(raw)
  assert found.skipped == {
    '1000092795': 'is not in the folder',
    '1000092902': 'has 4 captions, not 5',
    '1000093009': 'has 4 captions, not 5',
    '1000093223': 'its split is none of train, restval, val, test',
    '1000093330 again': 'is listed twice',
    'flickr30k-images/7.jpg': 'is in no list',
  }
  assert len(found.entries) == 28
  assert {len(e.parts['text'].texts) for e in found.entries.values()} == {5}


def test_the_list_may_lie_in_a_folder(raw):
  (raw / 'karpathy').mkdir()
  listed = raw / 'dataset_flickr30k.json'
  listed.replace(raw / 'karpathy/dataset_flickr30k.json')
  assert len(scan(raw).entries) == 32


def test_errors(raw):
  change(raw, lambda images: images[3].pop('split'))
  with pytest.raises(ValueError, match="json: image 3 .*KeyError.'split'"):
    scan(raw)
  path = raw / 'dataset_flickr30k.json'
  path.write_text('{"images":\n [}')
  with pytest.raises(ValueError, match='flickr30k.json, line 2: it is no JSON'):
    scan(raw)
  path.write_text('[]')
  with pytest.raises(ValueError, match="has no list 'images'"):
    scan(raw)
  path.write_text('{"images": []}')
  shutil.rmtree(raw / 'flickr30k-images')
  with pytest.raises(ValueError, match='lacks 1 of 2 .* flickr30k-images'):
    scan(raw)
  (raw / 'flickr30k-images').mkdir()
  with pytest.raises(ValueError, match='holds no example of flickr30k'):
    flickr30k.prepare(raw, raw / 'data')
