"""What training costs: parameters, FLOPs, speed and time; cost.json of a run.

  parameters                of one model: encoders and head
  flops_per_example         of a training step, per example and model, as XLA
                            counts them in the compiled program; the mean over
                            the steps of all phases. The body of a loop counts
                            once: on CPU the weight gradients of large
                            convolutions (`models/_conv.py`) are told too low
  examples_per_s            examples x models per second of the loop at its
                            pace: waiting for batches counts, the first steps
                            of a phase, validation and checkpoints do not
  examples_per_s_per_model  the same, divided by the models trained at once
  train_s                   seconds of the loop for all models, with everything:
                            compilation, validation, checkpoints. Summed over
                            restarts, without what was lost between the last
                            checkpoint and a kill
  device                    where

What is not known is null. 'phases' and 'saved' are for a run that goes on: the
FLOPs of each phase, and the times at each checkpoint.
"""

import contextlib
import json
import os
import pathlib
import time
import warnings
from collections.abc import Collection, Mapping
from typing import Any, NamedTuple

import jax

from mmjax import folder, plan
from mmjax.experiment import Experiment

COST = 'cost.json'
WARM = 3  # first steps of a phase, in which it is compiled and settles


class Times(NamedTuple):
  """Seconds of the loop, and the seconds and steps at its pace."""

  train_s: float | None = 0.0
  steady_s: float = 0.0
  steady_steps: int = 0


def parameters(exp: Experiment) -> int:
  """Parameters of one model."""
  held = exp.seeds.abstract
  models = held if isinstance(held, tuple) else (held,)
  sizes = [x.size for model in models for x in jax.tree.leaves(model.params)]
  return sum(sizes) // exp.seeds.num


def flops(exp: Experiment, phase: str, ran: bool = False) -> float | None:
  """FLOPs of a phase's step, per example and model; None if XLA cannot tell.

  Args:
    exp: the experiment.
    phase: of its method.
    ran: whether the loop has run it here. Its program is at hand then, and is
      counted as compiled. Otherwise, or where the way of holding seeds hides
      it, that of one model is counted as lowered: some percent off, but
      nothing is compiled for it.
  """
  held = exp.seeds.abstract
  one = held[0] if isinstance(held, tuple) else held
  batch = jax.tree.map(_abstract, exp.batch())
  step, models, parts = _jitted(exp.lifted[phase]), 1, 1
  if ran and step is not None:
    # The compiler's work is found again: same shapes, same shardings.
    told = step.lower(one, batch).compile().cost_analysis()
    models = 1 if isinstance(held, tuple) else exp.seeds.num
    parts = exp.mesh.size  # XLA counts what one device does
  else:
    one = jax.eval_shape(exp.init, jax.random.key(0), {})
    told = exp.steps[phase].lower(one, batch).cost_analysis()
  count = (told or {}).get('flops', -1)
  return count * parts / models / exp.batch_size if count > 0 else None


def device() -> str:
  """'2 x NVIDIA A100', '1 x cpu (8 cores)'."""
  kinds = [d.device_kind for d in jax.devices()]
  told = [f'{kinds.count(kind)} x {kind}' for kind in dict.fromkeys(kinds)]
  cores = f' ({os.cpu_count()} cores)' if kinds[0] == 'cpu' else ''
  return ', '.join(told) + cores


def of(
  exp: Experiment,
  states: Any,
  times: Times | None = None,
  per_phase: Mapping[str, float | None] | None = None,
) -> dict[str, Any]:
  """The numbers at the top of this file.

  Args:
    exp: the experiment.
    states: of all its seeds, which tell how long each phase was.
    times: from the loop; without them, speed and time are null.
    per_phase: FLOPs per example of the phases that are known; default all,
      as lowered.
  """
  times = times or Times(None)
  if per_phase is None:
    per_phase = {name: flops(exp, name) for name, *_ in exp.plan}
  speed = None
  if times.steady_steps and times.steady_s > 0:
    speed = times.steady_steps * exp.batch_size / times.steady_s
  return {
    'parameters': parameters(exp),
    'flops_per_example': _mean(exp, states, per_phase),
    'examples_per_s': speed and speed * exp.seeds.num,
    'examples_per_s_per_model': speed,
    'train_s': times.train_s,
    'device': device(),
  }


def _mean(exp, states, per_phase) -> float | None:
  """FLOPs over the steps of the phases that are known."""
  enough = {name: int(ask(states).max()) for name, ask in exp.until.items()}
  total, steps = 0.0, 0
  for phase, start, stop in plan.shortened(exp.plan, enough):
    count = per_phase.get(phase)
    if count is not None:
      total, steps = total + count * (stop - start), steps + stop - start
  return total / steps if steps else None


def _jitted(step) -> Any:
  """What compiles, inside of what a way of holding seeds made of it."""
  while not hasattr(step, 'lower') and hasattr(step, '__wrapped__'):
    step = step.__wrapped__
  return step if hasattr(step, 'lower') else None


def _abstract(x):
  return jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=x.sharding)


class Meter:
  """Measures the loop and writes cost.json at each of its checkpoints.

  The loop tells it what it does. Where measuring fails, that is a warning.
  """

  def __init__(self, exp: Experiment, workdir: pathlib.Path, enabled: bool):
    self.exp, self.path, self.enabled = exp, workdir / COST, enabled
    self._began = self._since = None
    self._steps, self._warm = 0, 0
    self._past, self._told, self._ran = Times(), {}, set()

  def start(self, step: int) -> None:
    """Training goes on from `step`."""
    self._past = Times(None if step else 0.0)
    with _spared(f'{self.path} could not be read'):
      if step and self.path.exists():
        self._told = json.loads(self.path.read_text('utf8'))
      saved = self._told.get('saved', {}).get(str(step))
      self._past = Times(**saved) if saved else self._past
    self._began = time.perf_counter()

  def enter(self, phase: str) -> None:
    """A phase begins, and all steps before it are done."""
    self.rest()
    self._warm = 1 if phase in self._ran else WARM
    self._ran.add(phase)

  def step(self, told: Any) -> None:
    """A step was started, and tells its metrics."""
    if self._warm:
      self._warm -= 1
      if not self._warm:
        jax.block_until_ready(told)
        self.go()
    elif self._since is not None:
      self._steps += 1

  def rest(self) -> None:
    """All steps are done, and something else follows."""
    if self._since is not None:
      steady_s = self._past.steady_s + time.perf_counter() - self._since
      steps = self._past.steady_steps + self._steps
      self._past = self._past._replace(steady_s=steady_s, steady_steps=steps)
    self._since, self._steps = None, 0

  def go(self) -> None:
    """The loop goes on."""
    if not self._warm and self._since is None:
      self._since = time.perf_counter()

  def write(self, step: int, states: Any, kept: Collection[int]) -> None:
    """Writes cost.json as of `step`, with the times at the `kept` checkpoints."""
    if self._began is None:
      return
    made = {}
    with _spared(f'{self.path} could not be made'):
      times = self._times()
      known = dict(self._told.get('phases', {}))
      for phase in sorted(self._ran - set(known)):
        known[phase] = flops(self.exp, phase, ran=True)
      saved = self._told.get('saved', {})
      saved = {k: v for k, v in saved.items() if int(k) in kept}
      made = of(self.exp, states, times, known)
      made['device'] = _both(self._told.get('device', ''), made['device'])
      self._told = {
        **made,
        'phases': known,
        'saved': {**saved, str(step): times._asdict()},
      }
    if made and self.enabled:
      with folder.forgiving(self.path, 'the next checkpoint brings it'):
        folder.write_json(self.path, self._told)

  def _times(self) -> Times:
    past = self._past
    if past.train_s is None or self._began is None:
      return past
    seconds = past.train_s + time.perf_counter() - self._began
    return past._replace(train_s=round(seconds, 3))


def _both(before: str, now: str) -> str:
  """The devices of all starts."""
  parts = [*filter(None, before.split(' + '))]
  return ' + '.join(dict.fromkeys([*parts, now]))


@contextlib.contextmanager
def _spared(problem: str):
  try:
    yield
  except Exception as error:
    told = f'{problem} ({type(error).__name__}: {error}); the run goes on.'
    warnings.warn(told, stacklevel=4)
