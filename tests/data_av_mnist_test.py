"""AV-MNIST, from MultiBench's arrays to batches."""

import shutil
from collections import Counter

import numpy as np
import pytest

from mmjax.data import av_mnist


@pytest.fixture(scope='module')
def raw(tmp_path_factory):
  folder = tmp_path_factory.mktemp('avmnist')
  av_mnist.render(folder)
  return folder


@pytest.fixture
def copy(raw, tmp_path):
  return shutil.copytree(raw, tmp_path / 'raw')


def test_splits_and_values(raw, tmp_path):
  done = av_mnist.prepare(raw, tmp_path)
  assert done.counts == {'train': 110, 'validation': 10, 'test': 20}
  entries = av_mnist.corpus().scan(raw).entries
  assert [entries[f'train_{i:05}'].split for i in (0, 109, 110, 119)] == [
    *('train', 'train', 'validation', 'validation')
  ]
  audio = np.load(raw / 'audio/test_data.npy')
  image = np.load(raw / 'image/test_data.npy')
  assert audio.dtype == np.uint8 and image.shape == (20, 784)
  source = av_mnist.make('test', data_dir=tmp_path)
  batch = source.take(np.arange(20))
  assert batch['image'].shape == (20, 28, 28, 1)
  assert batch['audio'].shape == (20, 112, 112, 1)
  assert batch['audio'].dtype == batch['image'].dtype == np.float32
  # TFDS shuffles examples: find each by its sound.
  flat = batch['audio'].reshape(20, -1)
  scaled = (audio / np.float32(255)).reshape(20, -1)
  at = [int(np.flatnonzero((scaled == x).all(1))[0]) for x in flat]
  assert sorted(at) == list(range(20))
  np.testing.assert_array_equal(batch['label'], np.array(at) % 10)
  np.testing.assert_allclose(
    batch['image'].reshape(20, -1), image[at] / 255, atol=1e-3
  )


def test_the_release_is_split_as_multibench_splits_it(tmp_path):
  for part, count in (('train', 60000), ('test', 10000)):
    for m, shape in (('image', (784,)), ('audio', (112, 112))):
      path = tmp_path / f'{m}/{part}_data.npy'
      path.parent.mkdir(exist_ok=True)
      # A file of holes: nothing but the first row is on the disk.
      x = np.lib.format.open_memmap(path, 'w+', np.uint8, (count, *shape))
      x[0] = 255
    np.save(tmp_path / f'{part}_labels.npy', np.arange(count) % 10)
  found = av_mnist.corpus().scan(tmp_path)
  splits = Counter(entry.split for entry in found.entries.values())
  assert splits == {'train': 55000, 'validation': 5000, 'test': 10000}
  assert found.entries['train_55000'].split == 'validation'


def test_arrays_that_are_none_are_named(copy):
  path = copy / 'image/train_data.npy'
  np.save(path, np.load(path) / 255)
  with pytest.raises(ValueError, match='image/train_data.npy has values up to'):
    av_mnist.corpus().scan(copy)
  np.save(path, np.zeros((119, 784)))
  with pytest.raises(ValueError, match=r'holds \(119, 784\), not 120 arrays'):
    av_mnist.corpus().scan(copy)
  np.save(path, np.array([{}]), allow_pickle=True)
  with pytest.raises(ValueError, match='train_data.npy is no array of numbers'):
    av_mnist.corpus().scan(copy)
  path.write_bytes(b'no array')
  with pytest.raises(ValueError, match='train_data.npy is no array of numbers'):
    av_mnist.corpus().scan(copy)
  np.save(copy / 'train_labels.npy', np.full(120, 10))
  with pytest.raises(ValueError, match='train_labels.npy holds something else'):
    av_mnist.corpus().scan(copy)
  path.unlink()
  with pytest.raises(ValueError, match='lacks 1 of 6 .*image/train_data.npy'):
    av_mnist.corpus().scan(copy)
