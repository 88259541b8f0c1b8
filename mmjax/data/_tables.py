"""Tables of any format: CSV, TSV, Parquet, and what Hugging Face's `datasets` saves.

  table.csv .tsv .parquet             one file, UTF-8
  <folder>/dataset_dict.json          of `DatasetDict.save_to_disk`: its splits
  <folder>/train/state.json             each names its Arrow files
  <folder>/state.json                 of `Dataset.save_to_disk`: no splits
  <folder>/train-00000-of-00002.parquet .. as on the Hub; also data/train-*.parquet

Arrow files are mapped, not read: cells are looked up when they are asked for.
"""

import csv
import json
import math
import pathlib
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

SPLIT = 'split'  # the column that a folder of splits has in addition
_SHARD = re.compile(r'([A-Za-z0-9_]+)-\d{5}-of-\d{5}(-[0-9a-f]+)?\.parquet')


class Line(NamedTuple):
  """A row: where it is, for errors, and its cells."""

  place: str
  cells: Mapping[str, Any]


class Table(NamedTuple):
  """All rows, and the class names of the columns whose numbers have some."""

  lines: Sequence[Line]
  class_names: Mapping[str, tuple[str, ...]]


class Embedded(NamedTuple):
  """A file in a cell: its bytes u8[N], or where it is."""

  content: np.ndarray | None
  path: str


def read(path: pathlib.Path) -> Table:
  """ValueError, naming the line, for what is not as the rest."""
  if path.is_dir():
    return _folder(path)
  if path.suffix == '.parquet':
    return _joined([('', path)])
  if path.suffix not in ('.csv', '.tsv'):
    raise ValueError(f'{path}: a table is .csv, .tsv, .parquet or a folder.')
  return Table(_separated(path), {})


def cell(cells: Mapping[str, Any], name: str) -> str:
  """'' for what is not there."""
  value = cells[name] if name else None
  if value is None or (isinstance(value, float) and math.isnan(value)):
    return ''
  if isinstance(value, Embedded):
    return value.path
  return str(value).strip()


def _separated(path: pathlib.Path) -> list[Line]:
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
        found.append(Line(place, row))
    except UnicodeDecodeError as error:
      raise ValueError(f'{path} is not UTF-8: {error}. Save it so.') from error
    except csv.Error as error:
      raise ValueError(f'{path}, line {reader.line_num}: {error}') from error
  return found


# --- Arrow and Parquet --------------------------------------------------------


def _folder(path: pathlib.Path) -> Table:
  if (path / 'dataset_dict.json').is_file():
    splits = _json(path / 'dataset_dict.json', 'splits')
    return _joined([(s, f) for s in splits for f in _shards(path / s)])
  if (path / 'state.json').is_file():
    return _joined([('', file) for file in _shards(path)])
  files = sorted([*path.glob('*.parquet'), *path.glob('data/*.parquet')])
  named = [(_SHARD.fullmatch(file.name), file) for file in files]
  if not files or not all(match for match, _ in named):
    raise ValueError(
      f'{path} is no table: it holds neither dataset_dict.json nor state.json '
      "(of save_to_disk), nor only files like 'train-00000-of-00002.parquet'."
    )
  return _joined([(match[1], file) for match, file in named if match])


def _shards(folder: pathlib.Path) -> list[pathlib.Path]:
  """The Arrow files of a split; ValueError for those that are not there."""
  names = _json(folder / 'state.json', '_data_files')
  paths = [folder / pathlib.PurePath(name).name for name in names]
  missing = [file.name for file in paths if not file.is_file()]
  if missing:
    raise ValueError(
      f'{folder} lacks {len(missing)} of its {len(paths)} files: '
      f'{", ".join(missing[:10])}. Is it copied in full?'
    )
  return paths


def _json(path: pathlib.Path, key: str) -> list[str]:
  """The names that a file of `save_to_disk` lists; ValueError if it is none."""
  try:
    told = json.loads(path.read_text('utf8'))
    found = [f if isinstance(f, str) else f['filename'] for f in told[key]]
    moved = told.get('_indices_data_files')
  except (OSError, ValueError, LookupError, TypeError, AttributeError) as error:
    raise ValueError(
      f'{path} is not what save_to_disk writes ({error!r}); save it again.'
    ) from error
  if moved:
    raise ValueError(
      f'{path} is of an order kept in a file of its own: save it again, after '
      'flatten_indices().'
    )
  return found


def _joined(parts: Sequence[tuple[str, pathlib.Path]]) -> Table:
  """The files' rows one after the other, each of the split that it is of."""
  lines: list[Line] = []
  known: dict[str, tuple[str, ...]] | None = None
  for split, path in parts:
    columns, classes = _columns(path)
    known = classes if known is None else known
    if classes != known:
      raise ValueError(f'{path} has other classes than {parts[0][1]}.')
    count = len(next(iter(columns.values()), ()))
    lines += [
      Line(f'{path}, row {i + 1}', _Cells(columns, classes, i, split))
      for i in range(count)
    ]
  return Table(lines, known or {})


def _columns(path: pathlib.Path) -> tuple[dict[str, Any], dict]:
  """A file's columns, and the names of the classes that they number."""
  try:
    import pyarrow as pa
    import pyarrow.parquet
  except ModuleNotFoundError as error:
    raise ModuleNotFoundError(
      f'{path} needs pyarrow: pip install pyarrow. Or save it as .csv.'
    ) from error
  try:
    if path.suffix == '.parquet':
      table = pyarrow.parquet.read_table(path)
    else:
      table = pa.ipc.open_stream(pa.memory_map(str(path))).read_all()
    table.validate(full=True)  # or a damaged offset is read as it stands
  except (pa.ArrowException, OSError, ValueError) as error:
    kind = 'Parquet' if path.suffix == '.parquet' else 'Arrow'
    raise ValueError(f'{path} is no {kind} file: {error}') from error
  classes = _classes(path, table.schema.metadata or {})
  if len(set(table.column_names)) < len(table.column_names):
    raise ValueError(
      f'{path} has two columns of one name: {table.column_names}.'
    )
  return dict(zip(table.column_names, table.columns)), classes


def _classes(path: pathlib.Path, metadata: Mapping) -> dict:
  """{column: names of its classes}, as `datasets` notes them in a schema."""
  try:
    told = json.loads(metadata.get(b'huggingface', b'{}'))
    features = told.get('info', {}).get('features', {})
    return {
      name: tuple(map(str, feature['names']))
      for name, feature in features.items()
      if isinstance(feature, dict) and feature.get('_type') == 'ClassLabel'
    }
  except (ValueError, LookupError, TypeError, AttributeError) as error:
    raise ValueError(
      f'{path}: what its schema says of the classes cannot be read ({error!r}); '
      'save it again, with names for each ClassLabel.'
    ) from error


class _Cells(Mapping):
  """A row of Arrow columns."""

  def __init__(self, columns, class_names, row: int, split: str):
    self._columns, self._class_names = columns, class_names
    self._row, self._split = row, split

  def __getitem__(self, name: str) -> Any:
    if name == SPLIT and self._split:
      return self._split
    value = self._columns[name][self._row]
    if name in self._class_names:
      return self._class(name, value.as_py())
    if not value.is_valid or not hasattr(value, 'keys'):
      return value.as_py()
    if {'bytes', 'path'} != {*value.keys()}:
      return value.as_py()
    held, path = value['bytes'], value['path'].as_py()
    if not held.is_valid:
      return Embedded(None, path) if path else None
    content = np.frombuffer(held.as_buffer(), np.uint8)
    return Embedded(content, path or 'a file')

  def _class(self, name: str, number: Any) -> str | None:
    names = self._class_names[name]
    if number is None or number == -1:  # how `datasets` says unknown
      return None
    if not isinstance(number, int) or not 0 <= number < len(names):
      raise ValueError(
        f'{name}={number!r} in row {self._row + 1} is none of the '
        f'{len(names)} classes that the table names.'
      )
    return names[number]

  def __iter__(self) -> Iterator[str]:
    added = (SPLIT,) if self._split else ()
    return iter(dict.fromkeys((*self._columns, *added)))

  def __len__(self) -> int:
    return len(list(iter(self)))
