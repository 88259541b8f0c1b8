"""The table of a data set of files: its columns and its rows."""

import csv
import inspect
import math
import pathlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from mmjax import base
from mmjax.data import _kinds, _media, _npz


class Column(NamedTuple):
  """A modality: its kind, the columns it is in, how it is kept."""

  kind: str
  names: tuple[str, ...]
  options: Mapping[str, Any]
  kept: _kinds.Kind


KINDS = (
  *('fbank', 'spectrogram', 'waveform', 'frames', 'picture', 'text'),
  *('array', 'steps', 'numbers'),
)
Line = tuple[str, dict[str, Any]]  # where it is, for errors, and its cells


def _npy(part: _kinds.Part) -> np.ndarray:
  assert part.file is not None
  try:
    x = np.load(part.file, allow_pickle=False)
  except _npz.BROKEN as error:
    raise _media.MediaError(part.file, f'is no array: {error}') from error
  if not isinstance(x, np.ndarray) or x.dtype.kind not in 'buif':
    raise _media.MediaError(part.file, 'is no array of numbers')
  return x


def _kind(
  kind: str, width: int, tokenizer: str, max_tokens: int
) -> Callable[..., _kinds.Kind] | None:
  """What makes it of its options, which are the parameters."""
  audio = _kinds.audio
  return {
    'fbank': lambda: audio('fbank'),
    'spectrogram': lambda seconds=3.0: audio('spectrogram', seconds=seconds),
    'waveform': lambda seconds=3.0: audio('waveform', seconds=seconds),
    'frames': lambda frames=3, size=256: _kinds.frames(frames, size),
    'picture': lambda size=256: _kinds.picture(size),
    'text': lambda: _kinds.text(tokenizer, max_tokens),
    'array': lambda shape: _kinds.array(tuple(shape), read=_npy),
    'steps': lambda shape, longest: _kinds.steps(tuple(shape), longest, _npy),
    'numbers': lambda: _kinds.array((width,)),
  }.get(kind)


def wanted(
  columns: Mapping[str, Mapping[str, Any]], tokenizer: str, max_tokens: int
) -> dict[str, Column]:
  """The modalities that a config asks for; ValueError if it cannot be."""
  if not columns:
    raise ValueError('files: columns names no modality.')
  found = {}
  for m, section in columns.items():
    place = f'files: columns.{m}'
    if m in (*base.RESERVED, 'name') or not m.isidentifier():
      raise ValueError(f'{place}: no modality can be called that; rename it.')
    if not isinstance(section, Mapping) or 'kind' not in section:
      raise ValueError(f'{place} is dict(kind=..), not {section!r}.')
    rest = dict(section)
    kind, names = rest.pop('kind'), rest.pop('column', m)
    names = (names,) if isinstance(names, str) else tuple(names)
    make = _kind(kind, len(names), tokenizer, max_tokens)
    if make is None:
      raise ValueError(f'{place}.kind={kind!r} is none of {", ".join(KINDS)}.')
    if len(names) != 1 and (kind != 'numbers' or not names):
      raise ValueError(f'{place}.column={names!r}: {kind!r} is of one column.')
    found[m] = Column(kind, names, rest, _called(make, rest, place))
  return found


def _called(
  make: Callable[..., _kinds.Kind], options: Mapping[str, Any], place: str
) -> _kinds.Kind:
  known = inspect.signature(make).parameters
  unknown = [name for name in options if name not in known]
  needed = [n for n, p in known.items() if p.default is p.empty]
  lacking = [name for name in needed if name not in options]
  if unknown or lacking:
    told = f'has no option {unknown[0]!r}' if unknown else f'needs {lacking[0]}'
    raise ValueError(f'{place} {told}; it takes {", ".join(known) or "none"}.')
  return make(**options)


# --- The table ----------------------------------------------------------------


def rows(path: pathlib.Path) -> list[Line]:
  """All lines; ValueError naming the one that is not as the others."""
  if path.suffix == '.parquet':
    return _parquet(path)
  if path.suffix not in ('.csv', '.tsv'):
    raise ValueError(f'{path}: a table is .csv, .tsv or .parquet.')
  found = []
  with path.open(encoding='utf-8-sig', newline='') as file:
    reader = csv.DictReader(
      file, delimiter='\t' if path.suffix == '.tsv' else ','
    )
    try:
      names = list(reader.fieldnames or ())
      if len(set(names)) < len(names):
        raise ValueError(f'{path} has two columns of one name: {names}.')
      for row in reader:
        place = f'{path}, line {reader.line_num}'
        if None in row or None in row.values():
          raise ValueError(f'{place} has not as many cells as the header.')
        found.append((place, row))
    except UnicodeDecodeError as error:
      raise ValueError(f'{path} is not UTF-8: {error}. Save it so.') from error
    except csv.Error as error:
      raise ValueError(f'{path}, line {reader.line_num}: {error}') from error
  return found


def _parquet(path: pathlib.Path) -> list[Line]:
  try:
    import pyarrow.parquet
  except ModuleNotFoundError as error:
    raise ModuleNotFoundError(
      f'{path} needs pyarrow: pip install pyarrow. Or save it as .csv.'
    ) from error
  try:
    table = pyarrow.parquet.read_table(path).to_pylist()
  except pyarrow.ArrowException as error:
    raise ValueError(f'{path} is no Parquet file: {error}') from error
  return [(f'{path}, row {i}', row) for i, row in enumerate(table, start=1)]


def cell(row: Mapping[str, Any], name: str) -> str:
  """'' for what is not there."""
  value = row[name] if name else None
  if value is None or (isinstance(value, float) and math.isnan(value)):
    return ''
  return str(value).strip()


def parts(
  raw: pathlib.Path,
  row: Mapping[str, Any],
  wanted: Mapping[str, Column],
  place: str,
) -> tuple[dict[str, _kinds.Part], str]:
  """What a row has, and the first modality whose file is not there."""
  found = {}
  for m, column in wanted.items():
    cells = [cell(row, name) for name in column.names]
    if not all(cells):
      continue
    if column.kind == 'text':
      found[m] = _kinds.Part(texts=(cells[0],))
    elif column.kind == 'numbers':
      found[m] = _kinds.Part(value=_numbers(cells, column.names, place))
    else:
      found[m] = _kinds.Part(raw / cells[0])
      if not (raw / cells[0]).is_file():
        return {}, m
  return found, ''


def _numbers(
  cells: Sequence[str], names: Sequence[str], place: str
) -> np.ndarray:
  values = []
  for text, name in zip(cells, names):
    try:
      values.append(float(text))
    except ValueError:
      raise ValueError(f'{place}: {name}={text!r} is no number.') from None
  return np.array(values, np.float32)
