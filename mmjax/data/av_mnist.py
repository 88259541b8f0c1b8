"""AV-MNIST: written digits and spectrograms of spoken ones, as MultiBench has it.

Vielzeuf et al. (2018); Liang et al. (2021). Six arrays, read without pickle:

  raw_dir/image/train_data.npy   [60000, 784], digits of MNIST after a PCA that
  raw_dir/image/test_data.npy    took most of their energy: below 0, too
  raw_dir/audio/train_data.npy   [60000, 112, 112], pictures of spectrograms of
  raw_dir/audio/test_data.npy    FSDD's spoken digits with noise, 0 to 255
  raw_dir/train_labels.npy       [60000]
  raw_dir/test_labels.npy        [10000]

Splits are MultiBench's: the last twelfth of the training rows, 5,000, validates.
Values are divided by 255, as there; channels come last.
"""

import pathlib

import numpy as np

from mmjax.data import _corpus, _kinds, _npz, _render

CLASS_NAMES = tuple('0123456789')
_SHAPES = {'image': (28, 28, 1), 'audio': (112, 112, 1)}


def corpus() -> _corpus.Corpus:
  """'image' f32[B, 28, 28, 1] and 'audio' f32[B, 112, 112, 1]."""
  return _corpus.Corpus(
    name='av_mnist',
    version='1.0.0',
    class_names=CLASS_NAMES,
    kinds={  # float16 is exact for 0 to 255
      m: _kinds.array(shape, dtype='f2', divide=255.0)
      for m, shape in _SHAPES.items()
    },
    scan=_scan,
    render=render,
  )


make, prepare = _corpus.faces(corpus)


def _scan(raw: pathlib.Path) -> _corpus.Found:
  names = [
    name
    for part in ('train', 'test')
    for name in (*_inputs(part).values(), f'{part}_labels.npy')
  ]
  _corpus.require(raw, names)
  entries = {}
  for part in ('train', 'test'):
    labels = _labels(raw / f'{part}_labels.npy')
    values = {
      m: _values(raw / name, len(labels), _SHAPES[m])
      for m, name in _inputs(part).items()
    }
    first = len(labels) - len(labels) // 12  # to validate
    for i, label in enumerate(labels):
      held_out = part == 'train' and i >= first
      entries[f'{part}_{i:05}'] = _corpus.Entry(
        int(label),
        {m: _kinds.Part(value=x[i]) for m, x in values.items()},
        'validation' if held_out else part,
      )
  return _corpus.Found(entries, {})


def _inputs(part: str) -> dict[str, str]:
  return {m: f'{m}/{part}_data.npy' for m in _SHAPES}


def _values(
  path: pathlib.Path, count: int, shape: tuple[int, ...]
) -> np.ndarray:
  """[N, *shape], left on disk."""
  x = _load(path)
  if x.shape[:1] != (count,) or x[:1].size != np.prod(shape):
    raise ValueError(
      f'{path} holds {x.shape}, not {count:,} arrays of {shape[0]} x {shape[1]}.'
    )
  largest = np.abs(x[:100].astype(np.float32)).max(initial=0)
  if not 1 < largest < 1024:
    raise ValueError(
      f'{path} has values up to {largest:g} in its first rows. The release goes '
      'to about 255; dividing by that is done here.'
    )
  return x.reshape(count, *shape)


def _labels(path: pathlib.Path) -> np.ndarray:
  labels = _load(path)
  if labels.ndim != 1 or not np.isin(labels, range(10)).all():
    raise ValueError(f'{path} holds something else than one digit per example.')
  return labels


def _load(path: pathlib.Path) -> np.ndarray:
  try:
    x = np.load(path, mmap_mode='r', allow_pickle=False)
  except _npz.BROKEN as error:
    raise ValueError(
      f'{path} is no array of numbers that can be read: {error}'
    ) from error
  if not isinstance(x, np.ndarray) or x.dtype.kind not in 'uif':
    raise ValueError(f'{path} is no array of numbers.')
  return x


def render(folder: pathlib.Path, train: int = 120, test: int = 20) -> None:
  """Ten classes, of which each split has all: stripes for digits and sounds."""
  for part, count in (('train', train), ('test', test)):
    labels = np.arange(count) % 10
    draws = [_render.rng(i, count) for i in range(count)]
    for m, (size, *_) in _SHAPES.items():
      (folder / m).mkdir(parents=True, exist_ok=True)
      x_NSS = np.stack(
        [_stripes(y, draw, size) for y, draw in zip(labels.tolist(), draws)]
      )
      if m == 'image':  # flat, and about 0 as the PCA leaves them
        x_NSS = x_NSS.reshape(count, -1).astype(np.float64) - 128.0
      np.save(folder / f'{m}/{part}_data.npy', x_NSS)
    np.save(folder / f'{part}_labels.npy', labels.astype(np.uint8))


def _stripes(label: int, draw: np.random.Generator, size: int) -> np.ndarray:
  x_S = np.sin((1 + label) * np.linspace(0, np.pi, size))
  noise_SS = draw.normal(0, 20, (size, size))
  return np.clip(128 + 80 * x_S[:, None] + noise_SS, 0, 255).astype(np.uint8)
