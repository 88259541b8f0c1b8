"""Runs that are to vote: read, and checked against each other."""

import inspect
import itertools
import json
import os
import pathlib
import warnings
import zipfile
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from mmjax import folder
from mmjax.evals import classification

ROWS = 'predictions_classification.npz'


class Member(NamedTuple):
  """A finished run and what it has predicted."""

  path: pathlib.Path
  config: dict[str, Any]
  class_names: tuple[str, ...]
  split: str
  rows: dict[str, np.ndarray]
  bins: int  # of its calibration error

  @property
  def modalities(self) -> tuple[str, ...]:
    return tuple(k.split('/', 1)[1] for k in self.rows if k[:8] == 'present/')

  @property
  def sees(self) -> np.ndarray:
    """bool[N]: whether it has anything to look at."""
    return np.any([self.rows[f'present/{m}'] for m in self.modalities], axis=0)

  @property
  def num_seeds(self) -> int:
    return len(self.rows['logits/joint'])


def read(path: str | os.PathLike) -> Member:
  """Reads a run folder; ValueError unless it is finished, whole and finite."""
  path = pathlib.Path(path)
  config = folder.read_config(path)
  if not (path / folder.RESULTS).exists():
    raise ValueError(
      f'The run {path} is not finished: it has no {folder.RESULTS}. Start the '
      f'command that began it again with --workdir={path}.'
    )
  if not (path / ROWS).exists():
    raise ValueError(
      f'The run {path} has no {ROWS}: its config.evals lacks classification.'
    )
  try:
    record = json.loads((path / folder.CONFIG).read_text('utf8'))
    split = [*json.loads((path / folder.RESULTS).read_text('utf8'))][-1]
    with np.load(path / ROWS, allow_pickle=False) as file:
      rows = dict(file)
    lacking = {'label', 'index', 'logits/joint'} - set(rows)
    if lacking:
      raise ValueError(f'{ROWS} has no {", ".join(sorted(lacking))}')
    names = tuple(record['class_names'])
    finite = all(
      np.isfinite(row).all() for k, row in rows.items() if k[:7] == 'logits/'
    )
  except (ValueError, KeyError, IndexError, OSError, zipfile.BadZipFile) as e:
    raise ValueError(f'The run {path} is damaged: {e}') from e
  if not finite:
    raise ValueError(
      f'The run {path} has predictions that are not finite, so it cannot vote. '
      'Leave it out, or train it with a lower learning rate.'
    )
  return Member(path, config, names, split, rows, _bins(config))


def _bins(config: Mapping[str, Any]) -> int:
  default = inspect.signature(classification.make).parameters['bins'].default
  return config.get('evals', {}).get('classification', {}).get('bins', default)


def check(members: Sequence[Member], paired: bool) -> None:
  """ValueError naming what members do not share; a warning of other data."""
  folders = [run.path.resolve() for run in members]
  for run, place in zip(members, folders):
    if folders.count(place) > 1:
      raise ValueError(
        f'{run.path} is named twice. To make it count more, use --weights.'
      )
  for first, run in itertools.combinations(members, 2):
    pair = f'{first.path} and {run.path}'
    for what, ours, theirs in (
      ('class names', first.class_names, run.class_names),
      ('the split that they predict', first.split, run.split),
      ('the number of examples', *(len(r.rows['label']) for r in (first, run))),
    ):
      if ours != theirs:
        raise ValueError(f'{pair} differ in {what}: {ours} against {theirs}.')
    shared = {'label', 'index'} | {
      k for k in first.rows if k[:8] == 'present/' and k in run.rows
    }
    for key in sorted(shared):
      differ = np.flatnonzero(first.rows[key] != run.rows[key])
      if len(differ):
        raise ValueError(
          f'{pair} differ in {key!r} of {len(differ)} examples, the first '
          f'{differ[0]}: they are not of the same examples. Train them on the '
          'same data, with the same seed of the split.'
        )
    if paired:
      _check_seeds(first, run)
  for run in members[1:]:
    _doubt(members[0], run)


def _check_seeds(first: Member, run: Member) -> None:
  ours, theirs = ((r.config.get('seed'), r.num_seeds) for r in (first, run))
  if ours != theirs:
    raise ValueError(
      f'{first.path} and {run.path} differ in their seeds: {ours[1]} from '
      f'{ours[0]} against {theirs[1]} from {theirs[0]}. Train them with the '
      'same, or give --seeds=pooled for one vote of all models.'
    )


def _doubt(first: Member, run: Member) -> None:
  differ = folder.compare(
    {k: first.config.get(k, {}) for k in ('data', 'missing')},
    {k: run.config.get(k, {}) for k in ('data', 'missing')},
  )
  if differ:
    warnings.warn(
      f'{first.path} and {run.path} have the same labels in the same order, '
      f'but other data: {"; ".join(differ)}.',
      stacklevel=4,
    )
