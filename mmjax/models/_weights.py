"""Published weights as arrays by name.

Safetensors, PyTorch's zip, NumPy's npz, and pickles of nested dicts of arrays.

Nothing in a file is ever executed: of PyTorch's pickles only what rebuilds
tensors is understood, anything else is refused by name.
"""

import collections
import io
import json
import math
import pathlib
import pickle
import zipfile
from collections.abc import Mapping
from typing import Any

import numpy as np

from mmjax import _pickle

INDEXED = ('model.safetensors.index.json', 'pytorch_model.bin.index.json')
SINGLE = ('model.safetensors', 'pytorch_model.bin')
_ZIPS = ('.bin', '.pt', '.pth', '.ckpt')
_PICKLES = ('.pkl', '.pickle')


def read(path: str) -> dict[str, np.ndarray]:
  """All tensors of a file, or of a folder as Hugging Face lays it out.

  Raises ValueError, naming the file, if it is missing, incomplete, damaged, or
  asks for anything but tensors.
  """
  place = pathlib.Path(path).expanduser()
  if place.is_dir():
    found: dict[str, np.ndarray] = {}
    for file in _files(place):
      found |= _file(file)
    return found
  if not place.exists():
    raise ValueError(
      f'There are no weights at {place}. Download the model there, or name its '
      'folder or file.'
    )
  return _file(place)


def _files(folder: pathlib.Path) -> list[pathlib.Path]:
  for name in SINGLE:
    if (folder / name).is_file():
      return [folder / name]
  for name in INDEXED:
    if (folder / name).is_file():
      return _shards(folder / name)
  raise ValueError(
    f'{folder} holds none of {", ".join((*SINGLE, *INDEXED))}. Name the file, '
    'if it is called otherwise.'
  )


def _shards(index: pathlib.Path) -> list[pathlib.Path]:
  try:
    names = sorted(
      set(json.loads(index.read_text('utf8'))['weight_map'].values())
    )
  except (ValueError, KeyError, TypeError, AttributeError) as error:
    raise ValueError(f'{index} is damaged: {error}') from error
  missing = [n for n in names if not (index.parent / n).is_file()]
  if missing:
    raise ValueError(
      f'{index.parent} lacks {len(missing)} of its {len(names)} parts: '
      f'{", ".join(missing[:10])}. Download them.'
    )
  if any(pathlib.PurePath(n).name != n for n in names):
    raise ValueError(f'{index} names files outside its folder; not read.')
  return [index.parent / n for n in names]


def _file(path: pathlib.Path) -> dict[str, np.ndarray]:
  with path.open('rb') as file:
    start = file.read(64)
  if start.startswith(b'version https://git-lfs'):
    raise ValueError(
      f'{path} is a Git LFS pointer, not the file itself: run `git lfs pull`.'
    )
  readers = {'.safetensors': _safetensors, '.npz': _npz}
  readers |= dict.fromkeys(_ZIPS, _torch) | dict.fromkeys(_PICKLES, _nested)
  if path.suffix not in readers:
    raise ValueError(
      f'{path} is of no known format: {", ".join(readers)} can be read.'
    )
  try:
    return readers[path.suffix](path)
  except ModuleNotFoundError:
    raise
  except ValueError as error:
    raise ValueError(f'{path} cannot be read: {error}') from error
  except Exception as error:  # damage makes the libraries raise anything
    raise ValueError(f'{path} is damaged: {error!r}') from error


def _npz(path: pathlib.Path) -> dict[str, np.ndarray]:
  with path.open('rb') as file, np.load(file, allow_pickle=False) as arrays:
    return {name: arrays[name] for name in arrays.files}


def _nested(path: pathlib.Path) -> dict[str, np.ndarray]:
  """Arrays of nested dicts, their keys joined: 'encoder/Block_0/..'."""
  found: dict[str, np.ndarray] = {}

  def walk(tree: Any, at: tuple[str, ...]) -> None:
    if isinstance(tree, Mapping):
      for key, value in tree.items():
        walk(value, (*at, str(key)))
    elif isinstance(tree, np.ndarray):
      found['/'.join(at)] = tree

  walk(_pickle.load(path), ())
  if not found:
    raise ValueError('it holds no arrays.')
  return found


def _safetensors(path: pathlib.Path) -> dict[str, np.ndarray]:
  try:
    import safetensors.numpy
  except ModuleNotFoundError as error:
    raise ModuleNotFoundError(
      "reading safetensors needs the library: pip install 'mmjax[pretrained]'"
    ) from error
  return safetensors.numpy.load_file(str(path))


# --- PyTorch ------------------------------------------------------------------

_TYPES = {
  'FloatStorage': np.dtype('<f4'),
  'DoubleStorage': np.dtype('<f8'),
  'HalfStorage': np.dtype('<f2'),
  'LongStorage': np.dtype('<i8'),
  'IntStorage': np.dtype('<i4'),
  'ShortStorage': np.dtype('<i2'),
  'CharStorage': np.dtype('<i1'),
  'ByteStorage': np.dtype('<u1'),
  'BoolStorage': np.dtype('?'),
  'BFloat16Storage': 'bfloat16',
}


def _torch(path: pathlib.Path) -> dict[str, np.ndarray]:
  if not zipfile.is_zipfile(path):
    raise ValueError(
      'it is no zip file. Files of PyTorch before 1.6 have another format: load '
      'and save it there once more, or take the .safetensors file.'
    )
  with zipfile.ZipFile(path) as archive:
    described = [n for n in archive.namelist() if n.endswith('/data.pkl')]
    if len(described) != 1:
      raise ValueError('it holds no data.pkl, as a file of torch.save does.')
    for entry in archive.infolist():
      if entry.compress_type != zipfile.ZIP_STORED:
        raise ValueError(
          f'{entry.filename} is compressed; torch.save never does.'
        )
    root = described[0][: -len('data.pkl')]
    content = io.BytesIO(archive.read(described[0]))
    return _flat(_Tensors(content, archive, root).load())


def _flat(tree: Any) -> dict[str, np.ndarray]:
  """The tensors of a state dict, or of a checkpoint that has one."""
  if not isinstance(tree, Mapping):
    raise ValueError(f'it holds a {type(tree).__name__}, not a state dict.')
  for name in ('state_dict', 'model'):
    if isinstance(tree.get(name), Mapping):
      tree = tree[name]
  found = {str(n): v for n, v in tree.items() if isinstance(v, np.ndarray)}
  if not found:
    raise ValueError('it holds no tensor.')
  return found


class _Tensors(pickle.Unpickler):
  """Understands dicts and tensors, nothing else."""

  def __init__(self, file, archive: zipfile.ZipFile, root: str):
    super().__init__(file)
    self._archive, self._root = archive, root

  def find_class(self, module: str, name: str) -> Any:
    if (module, name) == ('collections', 'OrderedDict'):
      return collections.OrderedDict
    if (module, name) == ('torch._utils', '_rebuild_tensor_v2'):
      return _rebuild
    if (module, name) == ('torch._utils', '_rebuild_parameter'):
      return lambda tensor, *rest: tensor  # noqa: ARG005
    if module == 'torch' and name in _TYPES:
      return name
    raise ValueError(
      f'it asks for {module}.{name}, which is no tensor; it was not executed. '
      'Save the state dict alone, best as .safetensors.'
    )

  def persistent_load(self, pid: Any) -> np.ndarray:
    kind, type_name, key, _, count = pid
    if kind != 'storage' or type_name not in _TYPES:
      raise ValueError(
        f'it holds a {kind} of {type_name!r}, which is no tensor.'
      )
    content = self._archive.read(f'{self._root}data/{key}')
    array = np.frombuffer(content, _dtype(type_name))
    if len(array) != count:
      raise ValueError(
        f'storage {key} holds {len(array)} numbers, not {count}.'
      )
    return array


def _dtype(type_name: str) -> np.dtype:
  if type_name == 'BFloat16Storage':
    import ml_dtypes

    return np.dtype(ml_dtypes.bfloat16)
  return np.dtype(_TYPES[type_name])


def _rebuild(storage, offset, size, stride, *rest) -> np.ndarray:  # noqa: ARG001
  """A view of a storage, which must lie inside it."""
  if not isinstance(storage, np.ndarray) or len(size) != len(stride):
    raise ValueError('a tensor is described in a way that makes no sense.')
  numbers = [offset, *size, *stride]
  if any(not isinstance(n, int) or n < 0 for n in numbers):
    raise ValueError('a tensor has a negative size.')
  last = offset + sum((n - 1) * s for n, s in zip(size, stride))
  if math.prod(size) and last >= len(storage):
    raise ValueError('a tensor reaches beyond its storage.')
  steps = [s * storage.itemsize for s in stride]
  return np.lib.stride_tricks.as_strided(storage[offset:], size, steps)
