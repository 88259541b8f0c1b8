"""Run folders, found and read for the report."""

import json
import os
import pathlib
import warnings
import zipfile
from collections.abc import Sequence

import numpy as np

from mmjax import log
from mmjax._report_runs import Run

PIECES = ('config.json', log.METRICS, 'results.json')


def folders(workdirs: Sequence[str | os.PathLike]) -> list[pathlib.Path]:
  """Run folders, each once; a folder of runs stands for those below it."""
  found = {}
  for path in map(pathlib.Path, workdirs):
    inside = []
    if path.is_dir() and not holds_run(path):
      depths = ('*', '*/*', '*/*/*')
      inside = [p for d in depths for p in path.glob(d) if holds_run(p)]
    for folder in sorted(inside) or [path]:
      found.setdefault(folder.resolve(), folder)
  return list(found.values())


def holds_run(path: pathlib.Path) -> bool:
  """Whether any piece of a run is in a folder."""
  return any((path / piece).exists() for piece in PIECES)


def load(workdir: str | os.PathLike, evals: Sequence[str] | None = None) -> Run:
  """Reads a run folder; pieces that are missing or damaged stay empty.

  Args:
    workdir: of the run.
    evals: whose rows to read; default all.

  Raises:
    ValueError: there is no such folder, or no run in it.
  """
  path = pathlib.Path(workdir)
  if not path.is_dir():
    near = sorted(p.parent.name for p in path.parent.glob('*/config.json'))
    hint = f' The run folders beside it: {", ".join(near)}.' if near else ''
    raise ValueError(f'There is no run folder {path}.{hint}')
  if not holds_run(path):
    raise ValueError(
      f'The folder {path} holds no run: none of {", ".join(PIECES)} is in it. '
      'Give the folder that was --workdir of the training.'
    )
  files = {
    file.stem.removeprefix('predictions_'): file
    for file in sorted(path.glob('predictions_*.npz'))
    if not file.stem.endswith('.tmp')
  }
  rows = {
    name: _arrays(file)
    for name, file in files.items()
    if evals is None or name in evals
  }
  return Run(
    path.resolve().name,
    path,
    _json(path / 'config.json'),
    log.read(path),
    _json(path / 'results.json'),
    rows,
    _json(path / 'cost.json'),
  )


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
