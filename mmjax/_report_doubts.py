"""What is partial, and what makes runs of one data set hard to compare."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from mmjax import _report_runs as runs
from mmjax import log


def state(run: runs.Run, metric: str) -> str:
  """Why the fused measure of a run cannot be counted; '' if it can."""
  if not run.results:
    if not run.last_step:
      return 'no results'
    of = f' of {run.total_steps:,}' if run.total_steps else ''
    return f'unfinished (step {run.last_step:,}{of})'
  cell = run.test.get('joint', {}).get(metric)
  if not cell:
    return 'no results'
  return nans(cell)


def nans(cell) -> str:
  """'NaN (2 of 5 seeds)' for an entry of results.json; '' if it has none."""
  bad_S = ~np.isfinite(runs.values(cell))
  if not bad_S.any():
    return ''
  if len(bad_S) == 1:
    return 'NaN'
  return f'NaN ({bad_S.sum()} of {len(bad_S)} seeds)'


def text(cell) -> str:
  """Returns '97.1 ± 0.3' for an entry of results.json, or what it lacks."""
  return log.spread(cell) if not cell else nans(cell) or log.spread(cell)


def seeds_text(run: runs.Run) -> str:
  """Returns '0–4', the seeds of a run's models."""
  if not run.seeds:
    return f'{run.num_seeds} unknown'
  first, last = run.seeds[0], run.seeds[-1]
  seeds = f'{first}–{last}' if last > first else str(first)
  order = run.config.get('order_seed', 0)
  return f'{seeds} (order_seed {order})' if order else seeds


def doubts(found: Sequence[runs.Run], metric: str) -> list[str]:
  """Sentences about what the runs of one data set do not share."""
  done = [run for run in found if not state(run, metric)]
  said = [
    f'{run.name} has no config.json, so its data and seeds are not known.'
    for run in found
    if not run.record
  ]
  said += [
    f'{run.name} holds {run.num_seeds} of {run.config["num_seeds"]} seeds.'
    for run in done
    if run.num_seeds < _whole(run.config.get('num_seeds'))
  ]
  counts = {run.num_seeds for run in done}
  seeds = 'The numbers of seeds differ' if len(counts) > 1 else 'Seeds differ'
  checks = (
    (done, f'{seeds}, so these runs are not paired', seeds_text),
    (done, 'The runs are measured on different splits', lambda run: run.split),
    (found, 'The lists of classes differ', _classes),
    (done, 'The numbers of test examples differ', _size),
  )
  for some, title, fact in checks:
    told = _told(some, fact)
    if len(told) > 1:
      said.append(f'{title}: {_sentence(told)}.')
  if len(_told(done, _size)) < 2 and len(_told(done, _labels)) > 1:
    said.append(
      'The test labels differ: the runs are not measured on the same examples, '
      'or not in the same order.'
    )
  return said


def _whole(value: Any) -> int:
  return value if isinstance(value, int) else 0


def _told(
  found: Sequence[runs.Run], fact: Callable[[runs.Run], Any]
) -> dict[Any, list[str]]:
  """The names of the runs by what each says; None is no word."""
  told = {}
  for run in found:
    if fact(run) is not None:
      told.setdefault(fact(run), []).append(run.name)
  return told


def _sentence(told: dict[Any, list[str]]) -> str:
  short = {
    str(f) if len(str(f)) < 99 else f'{f:.98}…': n for f, n in told.items()
  }
  return '; '.join(f'{fact} ({", ".join(n)})' for fact, n in short.items())


def _classes(run: runs.Run) -> str | None:
  names = [str(name) for name in run.record.get('class_names') or ()]
  if not names:
    return None
  return f'{len(names)}: {", ".join(names)}'


def _size(run: runs.Run) -> int | None:
  label_N = run.rows.get('classification', {}).get('label')
  return None if label_N is None else len(label_N)


def _labels(run: runs.Run) -> bytes | None:
  label_N = run.rows.get('classification', {}).get('label')
  return None if label_N is None else np.int64(label_N).tobytes()
