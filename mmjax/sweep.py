r"""Trains the runs of a study that are not done yet, and compares all of them.

  python -m mmjax.sweep --config=configs/sweeps/study.py --root=runs/study
    [--only='cmu_mosi,*/mla'] [--seeds=5] [--data_root=../shared/data] [--list]

A sweep is a file with `get_runs(data_root) -> {name: config}`, in the order of
training; --config=file.py:argument gives it a second argument. The run of the
name cmu_mosi/mla trains in ROOT/cmu_mosi/mla.

Stop it and give the command again at will: what is done is skipped, what is
unfinished goes on. A run that fails does not keep the others from theirs. All
configs are checked before the first one trains. Data sets that are not there
are left out, and said.

It writes ROOT/report.html, .md and .csv; sweep.jsonl, a line for each run and
start with its seconds, and those of all cores; sweep.log, what the runs say.
"""

import argparse
import collections
import contextlib
import datetime
import gc
import json
import pathlib
import signal
import sys
import time
import traceback
import warnings
from collections.abc import Iterator, Sequence
from typing import Any

import jax
from absl import logging

from mmjax import _sweep_runs as runs
from mmjax import cost, experiment, extract, folder, report, train

LINES, LOG = 'sweep.jsonl', 'sweep.log'
STOPPED = 130  # exit code, as of Ctrl-C in a shell


def main(argv: Sequence[str] | None = None) -> int:
  """Returns the exit code: 0; 1 if a run failed or none could start; 130."""
  args = _arguments(argv)
  warnings.showwarning = _show_warning
  logging.set_verbosity(logging.WARNING)  # orbax tells its life at INFO
  try:
    with _stoppable():
      root = pathlib.Path(args.root)
      entries = runs.load(args.config, root, args.data_root, args.seeds)
      picked = runs.chosen(entries, args.only)
      if args.list:
        return _list(picked, root)
      return _sweep(entries, picked, root, args.out)
  except (ValueError, OSError) as error:
    print(f'\nmmjax: {error}', file=sys.stderr)
    return 1
  except (KeyboardInterrupt, train.Stopped):
    print('\nStopped. The same command goes on from there.', flush=True)
    return STOPPED


def _arguments(argv):
  parser = argparse.ArgumentParser(
    prog='python -m mmjax.sweep',
    description='Trains what is not done of a study, and compares its runs.',
  )
  add = parser.add_argument
  add('--config', required=True, help='file of the sweep, or file:argument')
  add('--root', required=True, help='folder of all run folders')
  add('--only', help='names, beginnings up to a /, or patterns with *')
  add('--seeds', type=int, help='models of each run, if not as in the sweep')
  add('--data_root', default='../shared/data', help='now %(default)s')
  add('--list', action='store_true', help='say how far each run is, and end')
  add('--out', help='page of the comparison, if not ROOT/report.html')
  return parser.parse_args(argv)


def _list(picked: Sequence[runs.Entry], root: pathlib.Path) -> int:
  seconds, width = _seconds(root), max(len(e.name) for e in picked)
  for entry in picked:
    took = f'{seconds[entry.name]:8.1f} s' if entry.name in seconds else ''
    told = f'{entry.name:{width}}  {entry.state:10}  {took}{entry.why}'
    print(told.rstrip())
  return 0


def _sweep(entries, picked, root: pathlib.Path, out: str | None) -> int:
  absent = [e for e in picked if e.state == runs.NO_DATA]
  for path, count in collections.Counter(e.why for e in absent).items():
    print(f'{path} is not there; left out for it: {count}.')
  picked = [e for e in picked if e.state != runs.NO_DATA]
  if not picked:
    raise ValueError('No run is left. Look at --data_root and --only.')
  todo = [e for e in picked if e.state != runs.DONE]
  for section in {str(s): s for s in map(_needed, todo) if s}.values():
    extract.ensure(section)
  check(todo)
  root.mkdir(parents=True, exist_ok=True)
  failed = {}
  for number, entry in enumerate(picked, 1):
    print(f'{number} of {len(picked)}  {entry.name}', end='  ', flush=True)
    if entry.state == runs.DONE:
      print('skipped', flush=True)
      continue
    error = _train(entry, root)
    if error:
      failed[entry.name] = error
  code = _compare(entries, pathlib.Path(out or root / 'report.html'))
  total = datetime.timedelta(seconds=round(sum(_seconds(root).values())))
  print(f'{total} in all starts so far; now on {cost.device()}.')
  for name, error in failed.items():
    print(f'Failed: {name}: {error}')
  return 1 if failed else code


def _needed(entry: runs.Entry) -> dict[str, Any]:
  """The latents that a run reads, as its config describes them."""
  return dict(entry.config.get('extract', {}))


def check(entries: Sequence[runs.Entry]) -> None:
  """Builds every experiment, and compiles none.

  Raises ValueError with all that is wrong, under the names of the runs.
  """
  if entries:
    print(f'Checking {len(entries)} runs.', flush=True)
  wrong = [f'{e.name}: {e.why}' for e in entries if e.state == runs.OTHER]
  for entry in entries:
    try:
      with warnings.catch_warnings(action='ignore'):  # training says them
        experiment.build(entry.config)
    except (ValueError, TypeError, AttributeError, OSError) as error:
      wrong.append(f'{entry.name}: {error}')
  _forget()
  if wrong:
    raise ValueError(
      'Nothing was trained, as this is wrong:\n  ' + '\n  '.join(wrong)
    )


def _train(entry: runs.Entry, root: pathlib.Path) -> str:
  """Trains a run to its end, says so, and returns what went wrong."""
  start, state, error = _now(), 'stopped', ''
  try:
    with open(root / LOG, 'a', encoding='utf8') as log:
      print(f'\n{entry.name}', file=log)
      try:
        with contextlib.redirect_stdout(log):
          train.run(experiment.build(entry.config), entry.path)
        state = 'done' if entry.state == runs.NEW else 'resumed'
      except train.Stopped:
        raise
      except Exception as problem:  # the others can do without this one
        state, error = 'failed', f'{type(problem).__name__}: {problem}'
        traceback.print_exception(problem, file=log)
  finally:
    seconds, of_cores = (now - then for now, then in zip(_now(), start))
    print(f'{state}  {seconds:.1f} s', flush=True)
    line = {'run': entry.name, 'state': state, 'seconds': round(seconds, 2)}
    line |= {'core_seconds': round(of_cores, 2), 'device': cost.device()}
    line |= {'time': round(time.time(), 3)} | (
      {'error': error} if error else {}
    )
    _note(root / LINES, line)
    _forget()
  return error


def _now() -> tuple[float, float]:
  return time.perf_counter(), time.process_time()


def _note(path: pathlib.Path, line: dict[str, Any]) -> None:
  with folder.forgiving(path, 'the next runs are noted again'):
    with open(path, 'a', encoding='utf8') as file:
      file.write(json.dumps(line) + '\n')


def _seconds(root: pathlib.Path) -> collections.Counter[str]:
  """Wall time of each run over all starts."""
  seconds = collections.Counter()
  if (root / LINES).exists():
    for line in (root / LINES).read_text('utf8').splitlines():
      with contextlib.suppress(ValueError, KeyError, TypeError):
        record = json.loads(line)
        seconds[record['run']] += record['seconds']
  return seconds


def _compare(entries: Sequence[runs.Entry], out: pathlib.Path) -> int:
  """The report of all runs of the sweep that have begun."""
  there = [e.path for e in entries if (e.path / folder.CONFIG).exists()]
  outs = [f'--out={out.with_suffix(end)}' for end in ('.html', '.md', '.csv')]
  try:
    report.main([*map(str, there), *outs])
  except SystemExit as ended:  # it has told why
    return int(bool(ended.code))
  return 0


def _forget() -> None:
  """Frees the programs of the last run."""
  jax.clear_caches()
  gc.collect()


@contextlib.contextmanager
def _stoppable() -> Iterator[None]:
  """SIGTERM is like Ctrl-C, also where no run is listening."""

  def stop(number, frame):  # noqa: ARG001
    raise KeyboardInterrupt

  try:
    before = signal.signal(signal.SIGTERM, stop)
  except ValueError:  # not in the main thread: nobody to hear for
    yield
    return
  try:
    yield
  finally:
    signal.signal(signal.SIGTERM, before)


def _show_warning(message, category, filename, lineno, file=None, line=None):  # noqa: ARG001
  """A warning is a paragraph to a person, without the line that raised it."""
  print(f'\n{category.__name__}: {message}', file=sys.stderr, flush=True)


if __name__ == '__main__':
  sys.exit(main())
