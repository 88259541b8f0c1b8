"""One model of a run, as plain arrays with names."""

import hashlib
import pathlib
from collections.abc import Mapping
from typing import Any, NamedTuple

import jax
import numpy as np

from mmjax import checkpoint, sharding
from mmjax.base import PyTree, TrainState
from mmjax.experiment import Experiment


class Model(NamedTuple):
  """What predict needs of a state, on the host, and where it comes from."""

  parts: dict[str, PyTree]  # 'params', 'stats' and 'method', of NumPy arrays
  key: np.ndarray  # numbers of the root key
  kind: Any  # of key
  origin: dict[str, Any]  # run, step, model, models, seed


def of_run(exp: Experiment, workdir: pathlib.Path, index: int) -> Model:
  """Model `index` of the checkpoint that the run selects.

  All processes have to ask. Raises ValueError if there is none.
  """
  count = exp.seeds.num
  if not 0 <= index < count:
    raise ValueError(
      f'--model={index}: this run has {count} '
      + ('models, 0 to ' + str(count - 1) if count > 1 else 'model, 0')
      + '.'
    )
  found = checkpoint.selected(workdir, exp.seeds.abstract, exp.run.select)
  parts, key, kind = _picked(exp, found.state, index)
  origin = {
    'run': workdir.resolve().name,
    'step': found.step,
    'model': index,
    'models': count,
    'seed': exp.config['seed'] + index,
  }
  return Model(parts, key, kind, origin)


def _picked(exp: Experiment, states: Any, index: int) -> tuple:
  """(parts, numbers of the key, its kind), the same in every process."""
  stacked = isinstance(exp.seeds.abstract, TrainState)
  state = states if stacked else states[index]
  parts = {n: getattr(state, n) for n in ('params', 'stats', 'method')}

  def pick(parts, key):
    told = (parts, jax.random.key_data(key))
    return jax.tree.map(lambda x: x[index], told) if stacked else told

  whole = sharding.replicated(exp.mesh)
  told = jax.jit(pick, out_shardings=whole)(parts, state.key)
  return *jax.device_get(told), jax.random.key_impl(state.key)


def named(parts: Mapping[str, PyTree]) -> dict[str, np.ndarray]:
  """{'params/audio/Dense_0/kernel': array}, every leaf under its path."""
  flat, _ = jax.tree.flatten_with_path(parts)
  return {_name(path): np.asarray(leaf) for path, leaf in flat}


def filled(
  parts: Mapping[str, PyTree], weights: Mapping[str, Any]
) -> dict[str, PyTree]:
  """The parts with all leaves that `weights` names in place of their own."""
  return jax.tree.map_with_path(
    lambda path, leaf: weights.get(_name(path), leaf), dict(parts)
  )


def _name(path) -> str:
  return '/'.join(jax.tree_util.keystr((k,), simple=True) for k in path)


def digest(weights: Mapping[str, np.ndarray]) -> str:
  """sha256 of names, shapes and values."""
  told = hashlib.sha256()
  for name in sorted(weights):
    value = weights[name]
    told.update(f'{name} {value.dtype} {value.shape}\n'.encode())
    told.update(value.tobytes())
  return told.hexdigest()
