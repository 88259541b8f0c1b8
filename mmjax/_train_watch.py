"""What the training loop does around a step."""

import itertools
import warnings
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from mmjax import cost, diagnose, evaluate, plan
from mmjax.base import TrainState
from mmjax.checkpoint import Checkpoints
from mmjax.experiment import Experiment

WARN = 'warn/'  # metrics of which the rest of the name is a sentence


class Watch:
  """What happens around a step: metrics, evaluation, checkpoints, costs.

  Metrics of the newest step are left on the devices while others are read, so
  these never wait for the host; before anything is evaluated or saved, all of
  them are looked at.
  """

  def __init__(self, exp: Experiment, checkpoints: Checkpoints, logger):
    self.exp, self.checkpoints, self.logger = exp, checkpoints, logger
    per_epoch = exp.kit.steps_per_epoch
    self.total = exp.plan[-1].stop
    self.eval_every = plan.every(exp.run.eval_epochs, per_epoch)
    self.save_every = plan.every(exp.run.checkpoint_epochs, per_epoch)
    self.scored = bool(self.eval_every) or exp.run.select == 'best'
    self.warned: set[str] = set()
    self.waiting: list[tuple[int, str, Any]] = []
    self.saved = -1
    workdir = checkpoints.folder.parent
    self.meter = cost.Meter(exp, workdir, enabled=logger.enabled)

  def check(self, states) -> None:
    """Asks for config.run.watch once, on a batch, before any training.

    Raises ValueError if there is no such number, nothing to select by, or an
    eval that the net does not suit.
    """
    batch = self.exp.batch()
    for observe in self.exp.observers.values():
      jax.eval_shape(observe, states, batch)
    run, (name, path) = self.exp.run, self.exp.run.watch.split('/', 1)
    if not self.exp.sources['validation'].size:
      if run.select == 'best':
        raise ValueError(
          "config.run.select='best' needs validation examples, and these data "
          "have none. Take 'latest', or data with a validation split."
        )
      return
    if self.scored:
      _, known = evaluate.ask(self.exp, states, 'validation', name, batches=1)
      if path not in known:
        raise ValueError(
          f'config.run.watch={run.watch!r} is nothing that is measured. There '
          f'are: {", ".join(f"{name}/{number}" for number in known)}.'
        )

  def step(self, step: int, phase: str, states, told) -> None:
    self.waiting.append((step, phase, told))
    self.meter.step(told)
    if step % self.exp.run.log_steps == 0:
      self.settle(but=1)
    save = step == self.total or step % self.save_every == 0
    due = self.eval_every and step % self.eval_every == 0
    if save or due:
      self.look(step, phase, states)
    score = None
    if due or (save and self.scored):
      score = self._evaluate(step, states)
    if save or (score is not None and score > self.checkpoints.best()):
      self._save(step, states, score)
    self.meter.go()

  def settle(self, but: int = 0) -> None:
    """Reads, checks and logs the metrics of all steps but the newest ones."""
    ready = self.waiting[: len(self.waiting) - but]
    self.waiting = self.waiting[len(ready) :]
    for (step, phase, told), behind in itertools.zip_longest(ready, ready[1:]):
      values = self.exp.seeds.stack(told)
      self._warn(step, values)
      bad = [name for name, v in values.items() if not np.isfinite(v).all()]
      self._raise_if(bad, step, phase)
      if step % self.exp.run.log_steps == 0 or step == self.total:
        values['lr'] = np.asarray(self.exp.lr(jnp.int32(step - 1)))
        self.logger.metrics(step, phase, values)
      if behind is None or not _computed(behind):  # many at once are no speed
        self.logger.progress(step, values['loss'], phase)

  def _warn(self, step: int, values: dict[str, np.ndarray]) -> None:
    """Says, once, what metrics named 'warn/<sentence>' are not zero about."""
    for name in [n for n in values if n.startswith(WARN)]:
      if np.any(values.pop(name)) and name not in self.warned:
        self.warned.add(name)
        warnings.warn(f'Step {step}: {name.removeprefix(WARN)}', stacklevel=3)

  def look(self, step: int, phase: str, states) -> None:
    """Raises FloatingPointError if anything up to here is not finite.

    A last update may have ruined parameters that no metric has seen yet.
    """
    self.settle()
    self.meter.rest()
    self._raise_if(_unsound(states), step, phase)

  def stopped(self, step: int, phase: str, states, name: str) -> str:
    """Saves, and says so."""
    self.look(step, phase, states)
    self._save(step, states)
    good = self.checkpoints.settle()
    where = self.checkpoints.folder.parent
    return f'Stopped by {name} at step {step}, saved at step {good}. ' + (
      f'The same command goes on from there with --workdir={where}.'
      if good
      else 'There is no checkpoint, so the same command starts again.'
    )

  def _raise_if(self, bad: list[str], step: int, phase: str) -> None:
    if bad:
      good = self.checkpoints.settle()
      told = diagnose.nonfinite(self.exp, step, phase, bad, good)
      raise FloatingPointError(told)

  def _save(self, step: int, states, score: float | None = None) -> None:
    if self.saved != step:
      # First, or a kill could leave a checkpoint without its times.
      self.meter.write(step, states, (*self.checkpoints.steps(), self.saved))
      self.checkpoints.save(step, states, score)
      self.saved = step

  def _evaluate(self, step: int, states) -> float | None:
    name, path = self.exp.run.watch.split('/', 1)
    if not self.exp.sources['validation'].size:
      return None
    _, numbers = evaluate.ask(self.exp, states, 'validation', name)
    self.logger.evaluation(step, 'validation', numbers)
    return float(np.mean(numbers[path]))


def _computed(entry: tuple) -> bool:
  return all(x.is_ready() for x in jax.tree.leaves(entry[-1]))


@jax.jit
def _finite(state: TrainState) -> dict[str, jax.Array]:
  """{part/block: bool[]} of all that a state holds."""

  def fine(tree):
    numbers = [
      x for x in jax.tree.leaves(tree) if jnp.isdtype(x.dtype, 'real floating')
    ]
    return jnp.array([jnp.isfinite(x).all() for x in numbers]).all()

  told = {
    f'{part}/{block}': fine(tree)
    for part in ('params', 'stats', 'opt')
    for block, tree in getattr(state, part).items()
  }
  return {**told, 'method': fine(state.method)}


def _unsound(states) -> list[str]:
  """Blocks with NaN or infinity, in any seed."""
  each = jax.tree.leaves(states, is_leaf=lambda x: isinstance(x, TrainState))
  told = jax.device_get([_finite(state) for state in each])
  return sorted({n for fine in told for n, holds in fine.items() if not holds})
