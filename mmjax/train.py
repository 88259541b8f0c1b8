"""run(experiment, workdir): the only training loop."""

import contextlib
import os
import pathlib
import signal
from collections.abc import Iterator
from typing import Any

import jax

from mmjax import evaluate, folder, log, plan, report
from mmjax._train_watch import Watch
from mmjax.base import TrainState
from mmjax.checkpoint import Checkpoints, anywhere
from mmjax.experiment import Experiment

AGREE_STEPS = 10  # between which several processes ask each other to stop


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
  if not (path / 'checkpoints').exists():
    exp.weights()  # what is wrong with them is told before a folder is claimed
  with contextlib.ExitStack() as stack:
    stack.enter_context(_claimed(exp, path))
    logger = stack.enter_context(
      log.Logger(path, total, per_epoch, exp.batch_size, enabled=first)
    )
    checkpoints = stack.enter_context(
      Checkpoints(path / 'checkpoints', exp.run.keep)
    )
    stop = stack.enter_context(_Stop())
    states = _begin(exp, checkpoints, logger)
    states = _train(exp, states, checkpoints, logger, stop)
    checkpoints.settle()
    stop.at_once = True
    return finish(exp, states, path, checkpoints, logger)


@contextlib.contextmanager
def _claimed(exp: Experiment, path: pathlib.Path) -> Iterator[None]:
  """Holds the run folder: process 0 for all, and all stop if it cannot."""
  # How seeds are held shapes the checkpoints, so 'auto' is settled here.
  how = 'vmap' if isinstance(exp.seeds.abstract, TrainState) else 'loop'
  config = {**exp.config, 'seeds_how': how}
  facts = {m: list(getattr(exp.kit, m)) for m in ('modalities', 'class_names')}
  refused = None
  with contextlib.ExitStack() as stack:
    if jax.process_index() == 0:
      try:
        stack.enter_context(folder.claimed(path, config, facts))
      except (ValueError, OSError) as error:
        refused = error
    if anywhere(refused is not None):
      raise refused or ValueError(f'Process 0 cannot use {path}; it says why.')
    yield


def _begin(exp: Experiment, checkpoints: Checkpoints, logger) -> Any:
  """The states to go on from; what was logged after them is forgotten."""
  found = checkpoints.restore(exp.seeds.abstract)
  if found is None:
    logger.truncate(0)
    return exp.seeds.init()
  logger.truncate(found.step)
  total = exp.plan[-1].stop
  logger.message(
    f'Resuming at step {found.step} of {total}.'
    if found.step < total
    else f'Trained to the end, step {total}, before; evaluating it again.'
  )
  return found.state


def _train(exp, states, checkpoints, logger, stop) -> Any:
  """The loop: one line of the plan after the other."""
  watch = Watch(exp, checkpoints, logger)
  now = _plan(exp, states)
  left = plan.remaining(now, exp.seeds.step(states))
  if left:
    watch.check(states)
    watch.meter.start(left[0].start)
  while left:
    segment = left[0]
    watch.meter.enter(segment.phase)
    if segment in now:  # else it was entered before a restart
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
        raise Stopped(watch.stopped(step, segment.phase, states, stop.name))
      if step % exp.kit.steps_per_epoch == 0 and _over(exp, states, segment):
        break
    now = _plan(exp, states)
    left = plan.remaining(now, exp.seeds.step(states))
  watch.settle()
  return states


def _plan(exp: Experiment, states) -> tuple[plan.Segment, ...]:
  """The plan as far as it is known: phases may have been enough early."""
  enough = {name: int(ask(states).max()) for name, ask in exp.until.items()}
  return plan.shortened(exp.plan, enough)


def _over(exp: Experiment, states, segment: plan.Segment) -> bool:
  """Whether a phase has been enough for every seed, and another is left."""
  if segment.phase not in exp.until:
    return False
  left = plan.remaining(_plan(exp, states), exp.seeds.step(states))
  return not left or left[0].phase != segment.phase


def finish(exp, states, path: pathlib.Path, checkpoints, logger) -> dict:
  """Final numbers on validation and test; results.json, table and report."""
  if exp.run.select == 'best':
    best = checkpoints.restore(exp.seeds.abstract, 'best')
    if best:
      states = best.state
      logger.message(f'Best on validation: checkpoint {best.step}.')
  results = evaluate.run(exp, states, ('validation', 'test'), save_to=path)
  if jax.process_index() == 0:
    logger.message(log.table(results, list(results)[-1]))
    with folder.forgiving(path / folder.RESULTS, 'start the same run again'):
      folder.write_json(path / folder.RESULTS, results)
      logger.message(f'Results: {path / folder.RESULTS}')
    again = f'give the command python -m mmjax.report {path}'
    with folder.forgiving(path / 'report.html', again):
      logger.message(f'Report: {report.write(path)}')
  return results


class _Stop:
  """Hears SIGTERM and Ctrl-C; a second one ends the process at once."""

  SIGNALS = (signal.SIGTERM, signal.SIGINT)

  def __init__(self):
    self.name, self.at_once, self._old = '', False, {}

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
    if self.at_once and jax.process_count() == 1:  # nothing is left to save
      raise Stopped(
        f'Stopped by {self.name} after the last step. The same command, with '
        'its --workdir, goes on to the evaluation.'
      )
    os.write(2, b'\nSaving after this step; once more to end at once.\n')

  def asked(self, step: int) -> bool:
    """Whether to end; several processes agree, every few steps."""
    if jax.process_count() > 1:
      if step % AGREE_STEPS or not anywhere(bool(self.name)):
        return False
      self.name = self.name or 'a signal to another process'
    return bool(self.name)
