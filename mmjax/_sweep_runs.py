"""The runs of a sweep: their configs, their folders, and how far each one is."""

import fnmatch
import json
import pathlib
import runpy
import sys
import traceback
from collections.abc import Sequence
from typing import Any, NamedTuple

from mmjax import folder
from mmjax._compose import plain

ROOT = pathlib.Path(__file__).resolve().parent.parent
DONE, UNFINISHED, NEW = 'done', 'unfinished', 'new'
NO_DATA, OTHER = 'no data', 'another config'


class Entry(NamedTuple):
  """One run, with its state and, of the last two states, why."""

  name: str
  config: dict[str, Any]
  path: pathlib.Path
  state: str
  why: str = ''


def load(
  sweep: str, root: pathlib.Path, data_root: str, seeds: int | None = None
) -> list[Entry]:
  """All runs of a sweep, in its order.

  Args:
    sweep: 'file.py' or 'file.py:argument'; looked for here, then beside the
      code.
    root: folder of the run folders.
    data_root: folder of the data sets.
    seeds: models of each run, instead of what the sweep says.

  Raises ValueError if there is no such file or it is no sweep.
  """
  entries = []
  for name, config in _configs(sweep, data_root).items():
    config = plain(config)
    config |= {} if seeds is None else {'num_seeds': seeds}
    entries.append(
      Entry(name, config, root / name, *_state(root / name, config))
    )
  return entries


def chosen(entries: Sequence[Entry], only: str | None) -> list[Entry]:
  """Those whose names fit one of the patterns, which commas part.

  A pattern is a whole name, its beginning up to a '/', or has wildcards.
  Raises ValueError for one that fits none.
  """
  if only is None:
    return list(entries)
  names: set[str] = set()
  for pattern in only.split(','):
    fitting = {
      e.name
      for e in entries
      if fnmatch.fnmatchcase(e.name, pattern)
      or e.name.startswith(f'{pattern}/')
    }
    if not fitting:
      raise ValueError(
        f'--only={pattern} fits no run. There are: '
        f'{", ".join(e.name for e in entries)}.'
      )
    names |= fitting
  return [e for e in entries if e.name in names]


def _configs(sweep: str, data_root: str) -> dict[str, Any]:
  name, _, argument = sweep.partition(':')
  found = [p for p in (pathlib.Path(name), ROOT / name) if p.is_file()]
  if not found:
    there = sorted(ROOT.glob('configs/sweeps/[!_]*.py'))
    told = ', '.join(str(p.relative_to(ROOT)) for p in there)
    raise ValueError(f'--config={sweep} is no file. There are: {told}.')
  if str(ROOT) not in sys.path:  # they say `from configs import common`
    sys.path.insert(0, str(ROOT))
  try:
    get_runs = runpy.run_path(str(found[0])).get('get_runs')
    if get_runs is None:
      raise ValueError('it has no get_runs(data_root) -> {name: config}')
    given = (data_root, argument) if argument else (data_root,)
    runs = dict(get_runs(*given))
  except Exception as error:  # a sweep can raise anything
    raise ValueError(f'{_place(error, found[0])}: {error}') from error
  if not runs:
    raise ValueError(f'{found[0]} has no run.')
  return runs


def _place(error: Exception, file: pathlib.Path) -> str:
  """The file, with its line if the error came from there."""
  frames = traceback.extract_tb(error.__traceback__)
  lines = [f.lineno for f in frames if f.filename == str(file)]
  return f'{file}, line {lines[-1]}' if lines else str(file)


def _state(path: pathlib.Path, config: dict[str, Any]) -> tuple[str, str]:
  """A state and its reason."""
  if (path / folder.CONFIG).exists():
    try:
      there = folder.read_config(path)
    except ValueError as error:
      return OTHER, str(error)
    if config.get('seeds_how') == 'auto':  # settled when the run began
      config = {**config, 'seeds_how': there.get('seeds_how')}
    difference = folder.compare(there, config)
    if difference:
      return OTHER, f'{path} holds ' + '; '.join(difference)
    if _readable(path / folder.RESULTS):
      return DONE, ''
  data = config.get('data', {}).get('path')
  made = config.get('extract', {}).get('path') == data  # before training
  if data and not made and not pathlib.Path(data).exists():
    return NO_DATA, data
  return (UNFINISHED if (path / folder.CONFIG).exists() else NEW), ''


def _readable(path: pathlib.Path) -> bool:
  try:
    return bool(json.loads(path.read_text('utf8')))
  except (OSError, ValueError):
    return False
