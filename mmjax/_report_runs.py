"""Run folders as the report sees them."""

import json
import math
import os
import pathlib
import warnings
import zipfile
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from mmjax import log


class Run(NamedTuple):
  """What is left of a run; a missing piece is empty."""

  name: str
  path: pathlib.Path
  record: dict[str, Any]  # config.json: the config with its provenance
  lines: list[dict]  # metrics.jsonl
  results: dict[str, Any]  # results.json
  rows: dict[str, dict[str, np.ndarray]]  # predictions_<eval>.npz by eval

  @property
  def config(self) -> dict[str, Any]:
    return self.record.get('config', self.record)

  @property
  def split(self) -> str:
    """The split that the results are about: test, if there is one."""
    return 'test' if 'test' in self.results else next(iter(self.results), '')

  @property
  def test(self) -> dict[str, Any]:
    return self.results.get(self.split, {})

  @property
  def modalities(self) -> list[str]:
    """In the order of the config, else of the results, else of the rows."""
    listed = self.record.get('modalities') or [
      name for name in self.test if log.is_modality(name)
    ]
    logits = self.rows.get('classification', {})
    found = [key.split('/', 1)[1] for key in logits if key.startswith('logits')]
    return list(listed) or [name for name in found if log.is_modality(name)]

  @property
  def num_seeds(self) -> int:
    accuracy = self.test.get('joint', {}).get('accuracy', {})
    return len(accuracy.get('values') or (0,))


def load(workdir: str | os.PathLike) -> Run:
  """Reads a run folder; pieces that are missing or damaged stay empty.

  Raises:
    ValueError: there is no such folder, or no run in it.
  """
  path = pathlib.Path(workdir)
  if not path.is_dir():
    near = sorted(p.parent.name for p in path.parent.glob('*/config.json'))
    hint = f' The run folders beside it: {", ".join(near)}.' if near else ''
    raise ValueError(f'There is no run folder {path}.{hint}')
  pieces = ('config.json', log.METRICS, 'results.json')
  if not any((path / piece).exists() for piece in pieces):
    raise ValueError(
      f'The folder {path} holds no run: none of {", ".join(pieces)} is in it. '
      'Give the folder that was --workdir of the training.'
    )
  rows = {
    file.stem.removeprefix('predictions_'): _arrays(file)
    for file in sorted(path.glob('predictions_*.npz'))
  }
  return Run(
    path.resolve().name,
    path,
    _json(path / 'config.json'),
    log.read(path),
    _json(path / 'results.json'),
    rows,
  )


def how_to_resume(path: pathlib.Path) -> str:
  """Returns the sentence for a run without results."""
  return (
    f'The run {path} is not finished: it has no results.json. Start the '
    f'command that began it again with --workdir={path}; it goes on from the '
    'last checkpoint.'
  )


def seeds(array: np.ndarray, ndim: int) -> np.ndarray:
  """Returns [S, ...] from an array of `ndim` axes, or with a seeds axis."""
  return array if array.ndim > ndim else array[None]


def values(cell: Mapping[str, Any] | None) -> np.ndarray:
  """Returns f64[S], the value of each seed, for an entry of results.json."""
  cell = cell or {}
  listed = cell.get('values') or [cell.get('mean')]
  return np.array([log.number(value) for value in listed])


def kind(section: Any) -> str:
  """Returns the name in a config section such as dict(name='mla', ...)."""
  return str(section.get('name', '') if isinstance(section, dict) else section)


def flat(tree: Any, path: str = '') -> dict[str, Any]:
  """Returns {'a.b': leaf} of nested dicts."""
  if not isinstance(tree, dict) or not tree:
    return {path: tree}
  return {
    name: leaf
    for key, value in tree.items()
    for name, leaf in flat(value, f'{path}.{key}' if path else key).items()
  }


def series(run: Run, split: str, name: str, points: int = 150):
  """Returns (epoch, mean, std) over seeds, averaged down to `points`.

  None where nothing is logged; std is 0 for one seed.
  """
  found = [
    (line.get('epoch', line['step']), np.atleast_1d(line['values'][name]))
    for line in run.lines
    if line['split'] == split and name in line['values']
  ]
  if not found:
    return None
  width = max(len(value) for _, value in found)
  epoch = np.array([epoch for epoch, _ in found], float)
  value = np.stack([np.resize(value, width) for _, value in found])
  parts = math.ceil(len(epoch) / points)
  cut = np.arange(0, len(epoch), parts)
  count = np.diff(np.append(cut, len(epoch)))
  epoch = np.add.reduceat(epoch, cut) / count
  value = np.add.reduceat(value, cut) / count[:, None]
  return epoch, value.mean(1), value.std(1, ddof=min(1, width - 1))


def _json(path: pathlib.Path) -> dict:
  if not path.exists():
    return {}
  try:
    found = json.loads(path.read_text())
    if isinstance(found, dict):
      return found
    error = f'it holds a {type(found).__name__}, not an object'
  except ValueError as problem:
    error = problem
  warnings.warn(f'{path} cannot be read and is left out: {error}', stacklevel=3)
  return {}


def _arrays(path: pathlib.Path) -> dict[str, np.ndarray]:
  try:
    with open(path, 'rb') as file, np.load(file, allow_pickle=False) as found:
      return dict(found)
  except (OSError, ValueError, zipfile.BadZipFile) as error:
    warnings.warn(
      f'{path} cannot be read and is left out: {error}', stacklevel=3
    )
    return {}
