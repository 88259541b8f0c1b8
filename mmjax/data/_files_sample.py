"""A small data set of files, with what its config asks for."""

import csv
import io
import pathlib
from collections.abc import Mapping, Sequence

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
