"""What a run says while it runs: metrics.jsonl, TensorBoard, the terminal."""

import collections
import errno
import math
import os
import pathlib
import time
import warnings
from collections.abc import Mapping
from typing import Any

import rich.console
import rich.progress

from mmjax import _log_files as files
from mmjax import _log_tables as tables

QUIET_SECONDS = 10  # between progress lines where there is no terminal
SPEED_SECONDS = 30  # over which the speed is measured
BURST_SECONDS = 0.1  # within which calls count as one
MEASURES, is_modality = tables.MEASURES, tables.is_modality
table, retrieval = tables.table, tables.retrieval
title, fused = tables.title, tables.fused
spread, number = tables.spread, tables.number
METRICS, read = files.METRICS, files.read


class Logger:
  """The voice of one run folder; where `enabled` is False it says nothing.

  Values are scalars or one per seed. metrics.jsonl holds one object a line,
  {"step", "epoch", "phase", "split", "values", "time"}; NaN and infinities are
  the strings that `float` reads back. A full disk costs lines, not the run.
  """

  def __init__(
    self,
    workdir: str | os.PathLike,
    total_steps: int,
    steps_per_epoch: int,
    batch_size: int,
    enabled: bool = True,
    console: rich.console.Console | None = None,
  ):
    self.enabled, self.batch_size = enabled, batch_size
    self.total_steps, self.steps_per_epoch = total_steps, steps_per_epoch
    self._phase, self._bar, self._said = '', None, -math.inf
    self._clock = collections.deque()  # (time, step)
    self._seen, self._full = set(), False
    if not enabled:
      return
    self._console = console or rich.console.Console()
    self._workdir = pathlib.Path(workdir)
    self._workdir.mkdir(parents=True, exist_ok=True)
    self._lines = files.Lines(self._workdir)
    self._events = files.Events(self._workdir)

  def __enter__(self):
    return self

  def __exit__(self, *error):
    self.close()

  def metrics(self, step: int, phase: str, values: Mapping[str, Any]) -> None:
    """Writes the metrics of training step `step`."""
    self._phase = phase
    self._record(step, phase, 'train', values)

  def evaluation(
    self, step: int, split: str, values: Mapping[str, Any]
  ) -> None:
    """Writes the measures of `split` after `step` steps."""
    self._record(step, None, split, values)

  def truncate(self, step: int) -> None:
    """Forgets everything after `step`, from which the run goes on.

    What is already written for `step` itself is not written twice.
    """
    if not self.enabled:
      return
    kept = [r for r in read(self._workdir) if r['step'] <= step]
    self._seen = {(r['step'], r['split']) for r in kept if r['step'] == step}
    self._events.purge(step + 1)
    try:
      self._lines.replace(kept)
    except OSError as error:
      self._lose(error)

  def progress(self, step: int, loss: Any = None, phase: str = '') -> None:
    """Moves the bar; without a terminal says a line every few seconds."""
    if not self.enabled:
      return
    now, self._phase = time.monotonic(), phase or self._phase
    self._tick(now, step)
    if self._console.is_terminal:
      if self._bar is None:
        self._bar = _bar(self._console, self.total_steps, step)
      text = self._status(step, loss)
      self._bar.update(self._bar.task_ids[0], completed=step, status=text)
    elif now - self._said >= QUIET_SECONDS or step == self.total_steps:
      self._said = now
      self._console.print(
        f'step {step}/{self.total_steps}  {self._status(step, loss)}',
        highlight=False,
        markup=False,
        soft_wrap=True,
      )

  def message(self, text: Any) -> None:
    """Prints a text, taken literally, or a rich table, above the bar."""
    if self.enabled:
      self._console.print(text, markup=False, highlight=False, soft_wrap=True)

  def close(self) -> None:
    """Ends the bar and the files; calling it twice is fine."""
    if not self.enabled:
      return
    if self._bar is not None:
      self._bar.stop()
      self._bar = None
    self._lines.close()
    self._events.close()

  def _record(self, step, phase, split, values):
    if not self.enabled or (int(step), split) in self._seen:
      return
    record = {
      'step': int(step),
      'epoch': round(step / self.steps_per_epoch, 4),
      'phase': phase,
      'split': split,
      'values': {name: files.plain(value) for name, value in values.items()},
      'time': round(time.time(), 3),
    }
    try:
      self._lines.append(record)
      self._events.append(record)
    except OSError as error:
      self._lose(error)

  def _lose(self, error):
    if error.errno not in (errno.ENOSPC, errno.EDQUOT):
      raise error
    if not self._full:
      self._full = True
      warnings.warn(
        f'The disk of {self._workdir} is full: lines of {files.METRICS} and of '
        'TensorBoard are being lost while training goes on. Free some space; '
        'logging recovers by itself.',
        stacklevel=4,
      )

  def _tick(self, now, step):
    # Metrics may come several steps at once, which is no speed.
    if self._clock and now - self._clock[-1][0] < BURST_SECONDS:
      now = self._clock.pop()[0]
    self._clock.append((now, step))
    while len(self._clock) > 2 and now - self._clock[0][0] > SPEED_SECONDS:
      self._clock.popleft()

  def _status(self, step, loss):
    parts = [self._phase] if self._phase else []
    epochs = self.total_steps / self.steps_per_epoch
    parts.append(f'epoch {step / self.steps_per_epoch:.1f}/{epochs:.4g}')
    if loss is not None:
      parts.append(f'loss {files.mean(files.plain(loss)):.4f}')
    (then, first), (now, last) = self._clock[0], self._clock[-1]
    if last > first and now > then:
      rate = (last - first) / (now - then)
      parts.append(f'{_compact(rate * self.batch_size)} examples/s')
      left = max(0, round((self.total_steps - step) / rate))
      parts.append(f'{left // 3600}:{left // 60 % 60:02}:{left % 60:02} left')
    return '  '.join(parts)


def _bar(console, total: int, step: int) -> rich.progress.Progress:
  bar = rich.progress.Progress(
    rich.progress.BarColumn(bar_width=24),
    rich.progress.MofNCompleteColumn(),
    rich.progress.TextColumn('{task.fields[status]}', markup=False),
    console=console,
    transient=True,
  )
  bar.add_task('train', total=total, completed=step, status='')
  bar.start()
  return bar


def _compact(rate: float) -> str:
  return f'{rate:,.0f}' if rate >= 10 else f'{rate:.2g}'
