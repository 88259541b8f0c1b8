"""Checkpoints: written behind training's back, checksummed, checked on load.

A folder holds the latest ones and the best, each with the state and a JSON
item of checksums. Orbax writes them atomically, but reads a flipped bit as if
nothing had happened; hence checksums of our own (`ops.trees.checksum`).
"""

import os
import pathlib
import shutil
import warnings
from typing import Any, NamedTuple

import jax
import numpy as np
import orbax.checkpoint as ocp
from orbax.checkpoint.checkpoint_managers import preservation_policy as keep

from mmjax.ops import trees

NEVER_BEST = -1e30  # orbax takes NaN for the best, and cannot write infinity


class Restored(NamedTuple):
  step: int
  state: Any


class Checkpoints:
  """The checkpoints of one run folder.

  Args:
    folder: is made if missing (unless read_only).
    latest: how many of the newest to keep.
    read_only: never move or remove anything.
  """

  def __init__(
    self, folder: os.PathLike, latest: int = 2, read_only: bool = False
  ):
    self.folder = pathlib.Path(folder).absolute()
    self.read_only = read_only
    self._lost: list[int] = []
    policy = keep.AnyPreservationPolicy(
      [keep.LatestN(latest), keep.BestN(get_metric_fn=_score, n=1)]
    )
    options = ocp.CheckpointManagerOptions(
      preservation_policy=policy,
      best_fn=_score,
      create=not read_only,
      read_only=read_only,
      cleanup_tmp_directories=not read_only,
    )
    self._manager = ocp.CheckpointManager(self.folder, options=options)

  def __enter__(self):
    return self

  def __exit__(self, *error):
    self.close()

  def save(self, step: int, state: Any, score: float | None = None) -> None:
    """Starts writing; training may go on, and the state be donated.

    A full disk or another failure to write is a warning, here or at the next
    call: training goes on with the checkpoints there are.

    Args:
      step: greater than that of every checkpoint there is.
      state: any pytree of arrays.
      score: higher is better; None or NaN is never the best.
    """
    self.settle()
    usable = score is not None and np.isfinite(score)
    sums = {'/'.join(map(str, path)): s for path, s in checksums(state)}
    try:
      saved = self._manager.save(
        step,
        args=ocp.args.Composite(
          state=ocp.args.StandardSave(state),
          meta=ocp.args.JsonSave({'checksums': sums, 'step': step}),
        ),
        metrics={'score': float(score) if usable else NEVER_BEST},
      )
    except Exception as error:  # orbax raises bare ones
      self._fail(step, error)
      return
    if not saved:
      raise RuntimeError(
        f'Checkpoint {step} was not written: {self.folder} has '
        f'{self.steps()} already.'
      )
    self._writing = step

  def settle(self) -> bool:
    """Waits for the writing to end; False, with a warning, if it failed."""
    try:
      self._manager.wait_until_finished()
      self._manager.check_for_errors()
    except Exception as error:
      self._fail(getattr(self, '_writing', -1), error)
      return False
    return True

  def steps(self) -> list[int]:
    return sorted(self._manager.all_steps())

  def restore(self, abstract: Any, which: str = 'latest') -> Restored | None:
    """The latest or best good checkpoint, None if there is none at all.

    A damaged one is said, moved to `<folder>_damaged` (unless read_only), and
    the next one tried.

    Args:
      abstract: pytree of jax.ShapeDtypeStruct with shardings.
      which: 'latest' or 'best'.

    Raises ValueError if there are checkpoints, but none is good.
    """
    steps = self.steps()
    if not steps:
      return None
    order = steps[::-1]
    if which == 'best' and (best := self._manager.best_step()) in steps:
      order = [best] + [s for s in order if s != best]
    told = []
    for step in order:
      try:
        state = self._read(step, abstract)
      except Exception as error:  # damage shows in a dozen exception types
        reason = str(error).strip().splitlines()[0][:300]
        told.append(f'checkpoint {step}: {type(error).__name__}: {reason}')
        continue
      for line, bad in zip(told, order):
        place = '' if self.read_only else f' Moved to {self._set_aside(bad)}.'
        warnings.warn(
          f'{line}{place} Going on from checkpoint {step}.', stacklevel=2
        )
      return Restored(step, state)
    raise ValueError(
      f'No checkpoint in {self.folder} can be restored into this model:\n  '
      + '\n  '.join(told)
      + '\nStart again in another --workdir; nothing here was changed.'
    )

  def close(self) -> None:
    self.settle()
    self._manager.close()

  def _read(self, step: int, abstract: Any) -> Any:
    item = self._manager.restore(
      step,
      args=ocp.args.Composite(
        state=ocp.args.StandardRestore(abstract), meta=ocp.args.JsonRestore()
      ),
    )
    want = item.meta['checksums']
    for path, value in checksums(item.state):
      name = '/'.join(map(str, path))
      if want.get(name) != value:
        raise ValueError(f'{name} has another checksum than when it was saved')
    return item.state

  def _set_aside(self, step: int) -> pathlib.Path:
    target = self.folder.with_name(f'{self.folder.name}_damaged')
    if jax.process_index() == 0:
      target.mkdir(exist_ok=True)
      shutil.rmtree(target / str(step), ignore_errors=True)
      (self.folder / str(step)).rename(target / str(step))
    if jax.process_count() > 1:
      from jax.experimental import multihost_utils

      multihost_utils.sync_global_devices(f'set aside {step}')
    self._manager.reload()
    return target / str(step)

  def _fail(self, step: int, error: Exception) -> None:
    if self._lost and self._lost[-1] == step:
      return
    self._lost.append(step)
    reason = str(error).strip().splitlines()[0][:300] if str(error) else ''
    free = shutil.disk_usage(self.folder).free / 1e6
    warnings.warn(
      f'Checkpoint {step} could not be written ({type(error).__name__}: '
      f'{reason}; {free:.0f} MB are free in {self.folder}). Training goes on; '
      f'good checkpoints: {self.steps()}. Free some space: the next one is '
      'tried as planned.',
      stacklevel=3,
    )


def _score(metrics: dict[str, float]) -> float:
  return metrics['score']


@jax.jit
def _sums(tree: Any) -> Any:
  return jax.tree.map(trees.checksum, tree)


def checksums(state: Any) -> list[tuple[tuple[str, ...], int]]:
  """[(path, u32 as int)] of every leaf; the same on any mesh."""
  sums = jax.device_get(_sums(state))
  flat, _ = jax.tree.flatten_with_path(sums)
  return [
    (tuple(jax.tree_util.keystr((k,), simple=True) for k in path), int(value))
    for path, value in flat
  ]
