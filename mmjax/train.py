"""run(experiment, workdir): the only training loop."""

import contextlib
import os
import pathlib
import signal
import warnings
from typing import Any

import jax
import numpy as np
from jax.experimental import multihost_utils

from mmjax import diagnose, evaluate, folder, log, plan, report
from mmjax.checkpoint import Checkpoints
from mmjax.experiment import Experiment


class Stopped(Exception):
  """A signal asked the run to end; it was saved and can be resumed."""


def run(exp: Experiment, workdir: str | os.PathLike) -> dict[str, Any]:
  """Trains to the end of the plan, resuming what the folder holds.

  Args:
    exp: from `experiment.build`.
    workdir: run folder: new, empty, or of the same config.

  Returns:
    What results.json holds.

  Raises:
    ValueError: the folder belongs to another config or another process.
    FloatingPointError: a metric became NaN or infinite.
    Stopped: SIGTERM or Ctrl-C; everything is saved.
  """
  path, first = pathlib.Path(workdir), jax.process_index() == 0
  total, per_epoch = exp.plan[-1].stop, exp.kit.steps_per_epoch
  with contextlib.ExitStack() as stack:
    if first:
      stack.enter_context(folder.locked(path))
      facts = {
        m: list(getattr(exp.kit, m)) for m in ('modalities', 'class_names')
      }
      folder.claim(path, exp.config, facts)
    logger = stack.enter_context(
      log.Logger(path, total, per_epoch, exp.batch_size, enabled=first)
    )
    checkpoints = stack.enter_context(
      Checkpoints(path / 'checkpoints', exp.run.keep)
    )
    stop = stack.enter_context(_Stop())
    states = _begin(exp, checkpoints, logger)
    states = _train(exp, states, checkpoints, logger, stop)
    return finish(exp, states, path, checkpoints, logger)


def _begin(exp: Experiment, checkpoints: Checkpoints, logger) -> Any:
  """The states to go on from; what was logged after them is forgotten."""
  found = checkpoints.restore(exp.seeds.abstract)
  if found is None:
    logger.truncate(0)
    return exp.seeds.init()
  logger.truncate(found.step)
  total = exp.plan[-1].stop
  if found.step < total:
    logger.message(f'Resuming at step {found.step} of {total}.')
  return found.state


def _train(exp, states, checkpoints, logger, stop) -> Any:
  """The loop: one line of the plan after the other."""
  watch = _Watch(exp, checkpoints, logger)
  for segment in plan.remaining(exp.plan, exp.seeds.step(states)):
    if segment in exp.plan:  # else it was entered before a restart
      states = exp.seeds.enter(exp.method.phases[segment.phase].enter)(states)
    step_fn = exp.lifted[segment.phase]
    batches = exp.stream(
      exp.sources['train'],
      exp.train_rows,
      segment.start,
      segment.stop,
      exp.batch_size,
    )
    for step, batch in enumerate(batches, segment.start + 1):
      states, told = step_fn(states, batch)
      watch.step(step, segment.phase, states, told)
      if stop.asked(step):
        watch.save(step, states)
        raise Stopped(
          f'Stopped by {stop.name} at step {step} and saved. The same command '
          'goes on from there.'
        )
  watch.settle()
  return states


class _Watch:
  """What happens around a step: metrics, evaluation, checkpoints.

  Metrics are read one period late, so the devices never wait for the host;
  before anything is saved, all of them are looked at.
  """

  def __init__(self, exp: Experiment, checkpoints: Checkpoints, logger):
    self.exp, self.checkpoints, self.logger = exp, checkpoints, logger
    per_epoch = exp.kit.steps_per_epoch
    self.total = exp.plan[-1].stop
    self.eval_every = plan.every(exp.run.eval_epochs, per_epoch)
    self.save_every = plan.every(exp.run.checkpoint_epochs, per_epoch)
    self.waiting: list[tuple[int, str, Any]] = []
    self.saved, self.good = -1, max(checkpoints.steps(), default=0)

  def step(self, step: int, phase: str, states, told) -> None:
    self.waiting.append((step, phase, told))
    if step % self.exp.run.log_steps == 0:
      self.settle()
    last = step == self.total
    save = last or step % self.save_every == 0
    score = None
    if save or (self.eval_every and step % self.eval_every == 0):
      self.settle()
      score = self._evaluate(step, states)
    if save:
      self.save(step, states, score)

  def settle(self) -> None:
    """Reads, checks and logs every metric that is still on the devices."""
    for step, phase, told in self.waiting:
      values = self.exp.seeds.stack(told)
      bad = [n for n, v in values.items() if not np.isfinite(v).all()]
      if bad:
        raise FloatingPointError(
          diagnose.nonfinite(self.exp, step, phase, values, self.good)
        )
      if step % self.exp.run.log_steps == 0 or step == self.total:
        values['lr'] = np.asarray(self.exp.lr(jax.numpy.int32(step - 1)))
        self.logger.metrics(step, phase, values)
      self.logger.progress(step, values['loss'], phase)
    self.waiting.clear()

  def save(self, step: int, states, score: float | None = None) -> None:
    self.settle()
    if self.saved != step:
      self.checkpoints.save(step, states, score)
      self.saved = self.good = step

  def _evaluate(self, step: int, states) -> float | None:
    name, *path = self.exp.run.watch.split('/')
    if not self.exp.sources['validation'].size:
      return None
    rows = evaluate.rows(self.exp, states, 'validation', name)
    numbers = evaluate.numbers(self.exp, rows, name)
    self.logger.evaluation(step, 'validation', numbers)
    return float(np.mean(numbers['/'.join(path)]))


def finish(exp, states, path: pathlib.Path, checkpoints, logger) -> dict:
  """Final numbers on validation and test; results.json, table and report."""
  if exp.run.select == 'best':
    checkpoints.settle()
    best = checkpoints.restore(exp.seeds.abstract, 'best')
    states = best.state if best else states
  results = evaluate.run(exp, states, ('validation', 'test'), save_to=path)
  checkpoints.settle()
  if jax.process_index() == 0:
    folder.write_json(path / folder.RESULTS, results)
    logger.message(log.table(results, list(results)[-1]))
    logger.message(f'Results: {path / folder.RESULTS}')
    try:
      logger.message(f'Report: {report.write(path)}')
    except OSError as error:  # the numbers are safe, and outlive a full disk
      warnings.warn(
        f'The report could not be written ({error}). When that is mended: '
        f'python -m mmjax.report {path}',
        stacklevel=2,
      )
  return results


class _Stop:
  """Hears SIGTERM and Ctrl-C; a second one ends the process at once."""

  SIGNALS = (signal.SIGTERM, signal.SIGINT)

  def __init__(self):
    self.name, self._old = '', {}

  def __enter__(self):
    try:
      for number in self.SIGNALS:
        self._old[number] = signal.signal(number, self._hear)
    except ValueError:  # not in the main thread: nobody to hear for
      pass
    return self

  def __exit__(self, *error):
    for number, old in self._old.items():
      signal.signal(number, old)

  def _hear(self, number, frame):  # noqa: ARG002
    self.name = signal.Signals(number).name
    for each, old in self._old.items():
      signal.signal(each, old)

  def asked(self, step: int) -> bool:
    """Whether to end; several processes agree, every few steps."""
    if jax.process_count() == 1:
      return bool(self.name)
    if step % 10:
      return False
    heard = multihost_utils.process_allgather(np.array(bool(self.name)))
    self.name = self.name or ('another process' if heard.any() else '')
    return bool(heard.any())
