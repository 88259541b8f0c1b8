"""A small data set of files, with what its config asks for."""

import csv
import io
import json
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from mmjax.data import _files, _render

_SUFFIXES = {
  **{'frames': '.mp4', 'picture': '.png', 'array': '.npy', 'steps': '.npy'}
}


def render(
  folder: pathlib.Path,
  table: str,
  wanted: Mapping[str, _files.Column],
  told: Sequence[str],
  class_names: Sequence[str],
) -> None:
  """Ten examples of each of three classes: six train, two validate, two test.

  `told` are the columns of the class, the split and the group, '' for none.
  """
  videos = [
    column.names for column in wanted.values() if column.kind == 'frames'
  ]
  lines = []
  for label, name in enumerate(class_names[:3] or ('ash', 'birch', 'cedar')):
    for i in range(10):
      draw = _render.rng(label, i)
      split = 'train' if i < 6 else ('validation', 'test')[i % 2]
      line = dict(zip(told, (name, split, f'group{i}')))
      for m, column in wanted.items():
        if column.kind == 'frames' or column.names not in videos:
          cells = _drawn(folder, f'{m}/{label}_{i}', column, label, draw)
          line |= dict(zip(column.names, cells))
      lines.append({key: cell for key, cell in line.items() if key})
  if (folder / table).is_dir():
    _save(folder, lines, wanted, told)
  else:
    _write(folder / table, lines)


def _drawn(
  home: pathlib.Path,
  stem: str,
  column: _files.Column,
  label: int,
  draw: np.random.Generator,
) -> Sequence[str]:
  """The cells of one modality, whose files are written."""
  kind, shape = column.kind, tuple(column.options.get('shape', ()))
  if kind == 'text':
    return [_render.sentence(label, draw)]
  if kind == 'numbers':
    return [f'{x:.3f}' for x in label + draw.normal(0, 0.3, len(column.names))]
  file = f'{stem}{_SUFFIXES.get(kind, ".wav")}'
  if kind == 'picture':
    _render.write_image(home / file, _render.image(label, draw, (64, 48)))
  elif kind == 'frames':
    images = _render.film(label, draw, seconds=0.6, size=(64, 48))
    x_T = _render.sound(label, draw, seconds=0.6)
    _render.write_video(home / file, images, x_T)
  elif kind in ('array', 'steps'):
    steps = (4 + label,) if kind == 'steps' else ()
    (home / file).parent.mkdir(parents=True, exist_ok=True)
    np.save(home / file, label + draw.normal(0, 0.3, (*steps, *shape)))
  else:
    x_T = _render.sound(label, draw, seconds=0.6)
    _render.write_wav(home / file, x_T)
  return [file]


def _save(
  folder: pathlib.Path,
  lines: Sequence[dict[str, str]],
  wanted: Mapping[str, _files.Column],
  told: Sequence[str],
) -> None:
  """As `DatasetDict.save_to_disk` does, sounds and pictures in the tables."""
  import pyarrow as pa

  label, split = told[0], told[1] or 'split'
  names = sorted({line[label] for line in lines})
  features = {label: {'_type': 'ClassLabel', 'names': names}}
  splits = sorted({line.get(split, 'train') for line in lines})
  for name in splits:
    rows = []
    for line in lines:
      if line.get(split, 'train') == name:
        row: dict[str, Any] = {k: v for k, v in line.items() if k != split}
        row[label] = names.index(line[label])
        for column in wanted.values():
          row |= _held(folder, column, line)
        rows.append(row)
    table = pa.Table.from_pylist(rows).replace_schema_metadata(
      {'huggingface': json.dumps({'info': {'features': features}})}
    )
    file = folder / name / 'data-00000-of-00001.arrow'
    file.parent.mkdir()
    with pa.OSFile(str(file), 'wb') as sink:
      with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    state = {'_data_files': [{'filename': file.name}]}
    (file.parent / 'state.json').write_text(json.dumps(state))
  (folder / 'dataset_dict.json').write_text(json.dumps({'splits': splits}))


def _held(
  folder: pathlib.Path, column: _files.Column, line: Mapping[str, str]
) -> dict[str, Any]:
  """What a row holds instead of a file's name."""
  name = column.names[0]
  if column.kind in ('text', 'numbers'):
    return {}
  file = folder / line[name]
  if column.kind in ('array', 'steps'):
    return {name: np.load(file).tolist()}
  return {name: {'bytes': file.read_bytes(), 'path': file.name}}


def _write(path: pathlib.Path, lines: Sequence[dict[str, str]]) -> None:
  if path.suffix == '.parquet':
    import pyarrow.parquet

    path.parent.mkdir(parents=True, exist_ok=True)
    table = pyarrow.Table.from_pylist(list(lines))
    pyarrow.parquet.write_table(table, path)
    return
  text = io.StringIO(newline='')
  tab = '\t' if path.suffix == '.tsv' else ','
  writer = csv.DictWriter(text, list(lines[0]), delimiter=tab)
  writer.writeheader()
  writer.writerows(lines)
  _render.write(path, text.getvalue())
