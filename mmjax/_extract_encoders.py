"""Frozen encoders: the first model of a run, trained if it is not yet."""

import pathlib
from collections.abc import Mapping
from typing import Any, NamedTuple

import jax

from mmjax import checkpoint, experiment, folder, sharding, train
from mmjax.base import TrainState
from mmjax.checkpoint import Checkpoints, Restored
from mmjax.experiment import Experiment


class Encoders(NamedTuple):
  """A model, and where it comes from."""

  exp: Experiment
  state: TrainState
  origin: dict[str, Any]  # its run and step


def built(config: Mapping[str, Any]) -> Experiment:
  """A value of a wrong type is a ValueError as well."""
  try:
    return experiment.build(config)
  except (TypeError, AttributeError) as error:
    raise ValueError(
      f'A value of the config has a type that does not fit: {error}.'
    ) from error


def initial(exp: Experiment) -> Encoders:
  """As they are initialised, or loaded."""
  return Encoders(exp, _first(exp, exp.seeds.init()), {'run': '', 'step': 0})


def of_run(exp: Experiment, workdir: pathlib.Path) -> Encoders:
  """Of the checkpoint that the run selects. Raises ValueError without one."""
  found = checkpoint.selected(workdir, exp.seeds.abstract, exp.run.select)
  return _of(exp, found, workdir)


def trained(exp: Experiment, workdir: pathlib.Path) -> Encoders:
  """Of a run that is trained to its end; else it is begun, or gone on with.

  Raises ValueError if the folder holds a run of another config.
  """
  end, found = exp.plan[-1].stop, None
  if _newest(workdir) >= end:
    _check(exp, workdir)
    found = _restored(exp, workdir)
  damaged = found and exp.run.select == 'latest' and found.step < end
  if found is None or damaged:
    train.run(exp, workdir)
    found = _restored(exp, workdir)
  if found is None:
    raise ValueError(
      f'{workdir} has no checkpoint of its training: none could be written. '
      'Free some space on its disk and give the same command again.'
    )
  return _of(exp, found, workdir)


def _newest(workdir: pathlib.Path) -> int:
  if not (workdir / folder.CONFIG).exists():
    return -1
  with Checkpoints(workdir / 'checkpoints', read_only=True) as checkpoints:
    return max(checkpoints.steps(), default=-1)


def _check(exp: Experiment, workdir: pathlib.Path) -> None:
  there = folder.read_config(workdir)
  here = {**exp.config, 'seeds_how': there.get('seeds_how')}
  differ = folder.compare(there, here)
  if differ:
    raise ValueError(
      f'{workdir} holds encoders of another config (there -> here):\n  '
      + '\n  '.join(differ)
      + '\nTake another config.extract.run, or the old recipe.'
    )


def _restored(exp: Experiment, workdir: pathlib.Path) -> Restored | None:
  with Checkpoints(workdir / 'checkpoints', read_only=True) as checkpoints:
    return checkpoints.restore(exp.seeds.abstract, exp.run.select)


def _of(exp: Experiment, found: Restored, workdir: pathlib.Path) -> Encoders:
  origin = {'run': workdir.resolve().name, 'step': found.step}
  return Encoders(exp, _first(exp, found.state), origin)


def _first(exp: Experiment, states: Any) -> TrainState:
  """The first model of several."""
  if not isinstance(exp.seeds.abstract, TrainState):
    return states[0]
  where = sharding.replicated(exp.mesh)
  pick = jax.jit(
    lambda s: jax.tree.map(lambda x: x[0], s.replace(step=s.step[None])),
    out_shardings=where,
  )
  return pick(states)
