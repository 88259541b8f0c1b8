"""Folders of latents: written chunk by chunk, read by row.

`data/latents.py` tells what such a folder holds. Each file gets its name once
it is safe on the disk, and latents.json comes last, so that what has a name is
whole and what has a latents.json is complete.
"""

import contextlib
import functools
import hashlib
import importlib
import json
import os
import pathlib
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from mmjax.data import _npz

FACTS, WORK, EXAMPLES = 'latents.json', 'work.json', 'examples.npz'
FORMAT = 1
DTYPES = ('float32', 'float16')
SPLITS = ('train', 'validation', 'test')
OPEN_FILES = 128  # of one modality, below what systems allow a process
# One record a group, or reading a row would read its neighbours; numbers that
# look random do not compress.
_WRITER = 'group_size:1,uncompressed'
_READER = 'readahead_buffer_size:0,max_parallelism:0'


def chunk_name(i: int, count: int) -> str:
  """The file of chunk i of `count`."""
  return f'latents-{i:05}-of-{count:05}.array_record'


@contextlib.contextmanager
def whole(path: pathlib.Path) -> Iterator[pathlib.Path]:
  """A path to write to; it gets the name `path` once it is on the disk."""
  part = path.with_name(f'{path.name}.part')
  try:
    yield part
    with open(part, 'rb+') as file:
      os.fsync(file.fileno())  # or a power cut leaves a name without content
    part.replace(path)
  finally:
    part.unlink(missing_ok=True)  # of a disk that was full


def write_chunk(path: pathlib.Path, z_RD: np.ndarray) -> None:
  """Writes a record per row; equal rows give equal files.

  Raises RuntimeError, with the system's text, if the disk is full.
  """
  little = np.ascontiguousarray(z_RD, z_RD.dtype.newbyteorder('<'))
  with whole(path) as part:
    writer = _array_record().ArrayRecordWriter(str(part), _WRITER)
    for row_D in little:
      writer.write(row_D.tobytes())
    writer.close()


def has_chunk(path: pathlib.Path, rows: int, row_bytes: int) -> bool:
  """Whether a chunk is there, with so many rows of that size.

  array_record notes the count at the end of a file, so one that is cut short
  has none.
  """
  if not path.is_file():
    return False
  reader = _reader(path)
  if reader.num_records() != rows:
    return False
  try:
    ends = reader.read([0, rows - 1])
  except RuntimeError:
    return False
  return all(len(record) == row_bytes for record in ends)


def write_json(path: pathlib.Path, value: Mapping[str, Any]) -> None:
  with whole(path) as part:
    part.write_text(json.dumps(value, indent=1), 'utf8')


def read_json(path: pathlib.Path) -> dict[str, Any] | None:
  """None if there is none. Raises ValueError if it cannot be read."""
  try:
    return json.loads(path.read_text('utf8'))
  except (FileNotFoundError, NotADirectoryError):
    return None
  except ValueError as error:
    raise ValueError(
      f'{path} cannot be read: {error}. Remove the folder and extract anew.'
    ) from error


def digests(z_RD: np.ndarray) -> np.ndarray:
  """u64[R]: equal for equal rows, and else as good as never."""
  made = [
    hashlib.blake2b(row_D.tobytes(), digest_size=8).digest() for row_D in z_RD
  ]
  return np.frombuffer(b''.join(made), '<u8')


def faults(z_RD: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
  """(bool[R] with NaN or infinity, bool[R] of length zero)."""
  return np.any(~np.isfinite(z_RD), axis=1), np.all(z_RD == 0, axis=1)


class Latents:
  """A complete folder; `read` and `chunk` may be called from any thread."""

  def __init__(self, path: pathlib.Path, facts: Mapping[str, Any]):
    self.path, self.facts = path, facts
    self.width, self.rows = int(facts['width']), int(facts['rows'])
    self.dtype = np.dtype(facts['dtype']).newbyteorder('<')
    self._open = functools.lru_cache(OPEN_FILES)(_reader)

  def read(self, rows: np.ndarray) -> np.ndarray:
    """Rows i64[B] of the pool, f32[B, D]."""
    used, at = np.unique(rows, return_inverse=True)
    z_RD = np.empty((len(used), self.width), np.float32)
    size = self.facts['chunk']
    for i in np.unique(used // size):
      here = used // size == i
      z_RD[here] = self._records(int(i), used[here] % size)
    in_order = np.array_equal(used, rows)  # a whole pool, to be copied once
    return z_RD if in_order else z_RD[at]

  def chunk(self, i: int) -> np.ndarray:
    """All rows of chunk i, as they are stored."""
    size = self.facts['chunk']
    return self._records(i, np.arange(min(size, self.rows - i * size)))

  def examples(self) -> dict[str, np.ndarray]:
    """The fields of examples.npz."""
    path = self.path / EXAMPLES
    with _npz.opened(str(path)) as file:
      return {name: file.read(name, EXAMPLES) for name in file.names}

  def _records(self, i: int, rows: np.ndarray) -> np.ndarray:
    count = -(-self.rows // self.facts['chunk'])
    path = self.path / chunk_name(i, count)
    first, last = int(rows[0]), int(rows[-1])
    try:
      if last - first + 1 == len(rows):  # they are sorted: no seeking
        records = self._open(path).read(first, last + 1)
      else:
        records = self._open(path).read(rows.tolist())
    except (RuntimeError, IndexError) as error:
      raise ValueError(f'{path} is damaged: {error}. {_ANEW}') from error
    size = self.width * self.dtype.itemsize
    odd = next((r for r in records if len(r) != size), None)
    if odd is not None:
      raise ValueError(
        f'{path} has a latent of {len(odd) / self.dtype.itemsize:g} numbers, '
        f'but its {FACTS} says width {self.width}. {_ANEW}'
      )
    return np.frombuffer(b''.join(records), self.dtype).reshape(-1, self.width)


_ANEW = 'Remove the folder and extract anew, or copy it again.'


def _reader(path: pathlib.Path) -> Any:
  return _array_record().ArrayRecordReader(str(path), _READER)


def _array_record() -> Any:
  # Compiled, without types.
  return importlib.import_module('array_record.python.array_record_module')


def opened(path: pathlib.Path) -> Latents:
  """Opens a folder of latents.

  Raises ValueError if it is absent, unfinished, damaged or of another format.
  """
  facts = read_json(path / FACTS)
  if facts is None:
    raise ValueError(why_not(path))
  if facts.get('format') != FORMAT:
    raise ValueError(
      f'{path} has format {facts.get("format")!r} of latents, this version of '
      f'mmjax reads {FORMAT}. Extract them anew, into another folder.'
    )
  for name, want in facts['files'].items():
    file = path / name
    size = file.stat().st_size if file.is_file() else 0
    if size != want['bytes']:
      raise ValueError(
        f'{file} is damaged: it holds {size} bytes, not {want["bytes"]}. {_ANEW}'
      )
  return Latents(path, facts)


def why_not(path: pathlib.Path) -> str:
  """Why a folder without latents.json cannot be read."""
  work = read_json(path / WORK)
  if work is not None:
    done, size = len(list(path.glob('latents-*.array_record'))), work['chunk']
    return (
      f'The extraction into {path} is unfinished: {done} of '
      f'{-(-work["rows"] // size)} files. Give the command that began it '
      'again, and it goes on.'
    )
  told = 'has no latents.json' if path.is_dir() else 'does not exist'
  return (
    f'{path} {told}. Extract latents into it with python -m mmjax.main '
    '--mode=extract --config=<a recipe with a section extract> (or '
    '--workdir=<a run>), or give a .npz file of your own.'
  )
