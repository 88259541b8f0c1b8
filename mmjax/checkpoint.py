"""Checkpoints: written behind training's back, sealed, checked on load.

A folder holds the latest ones and the best. Orbax writes them atomically, but
reads a flipped bit as if nothing had happened; hence two checks of our own:
the seal, a digest of every file, made just before the commit, and a checksum
of every array (`ops.trees.checksum`), taken on the devices before writing and
again after reading.
"""

import json
import math
import os
import pathlib
import shutil
import warnings
from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import numpy as np
import orbax.checkpoint as ocp
from jax.experimental import multihost_utils

from mmjax import _checkpoint_seal as seals
from mmjax.ops import trees

SLACK = 2**18  # bytes that the files take besides the arrays


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
    self._writing, self._lost = -1, -1
    self._scores: dict[int, float] = {}
    seals.hush()
    options = ocp.CheckpointManagerOptions(
      preservation_policy=_Keep(latest, self._scores),
      create=not read_only,
      read_only=read_only,
      cleanup_tmp_directories=not read_only,
      async_options=ocp.AsyncOptions(post_finalization_callback=self._seal),
    )
    self._manager = ocp.CheckpointManager(self.folder, options=options)
    self._scores |= {step: self._score(step) for step in self.steps()}

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
      score: higher is better; None or NaN is worse than any.
    """
    self.settle()
    if score is not None and not math.isfinite(score):
      score = None
    sums = {'/'.join(path): value for path, value in checksums(state)}
    meta = {'step': step, 'score': score, 'checksums': sums}
    need = sum(x.nbytes for x in jax.tree.leaves(state)) + SLACK
    if anywhere(need > _free(self.folder)):  # orbax would fail, and at length
      self._fail(step, f'it may take {need / 1e6:.1f} MB')
      return
    self._writing = step
    self._scores[step] = -math.inf if score is None else score
    try:
      saved = self._manager.save(
        step,
        args=ocp.args.Composite(
          state=ocp.args.StandardSave(state), meta=ocp.args.JsonSave(meta)
        ),
      )
    except OSError as error:
      self._fail(step, _short(error))
      return
    if not saved:
      raise RuntimeError(
        f'Checkpoint {step} was not written: {self.folder} has '
        f'{self.steps()} already.'
      )

  def settle(self) -> int:
    """Waits for the writing to end; the step of the newest checkpoint, or 0.

    Warns if the writing failed.
    """
    try:
      self._manager.wait_until_finished()
      self._manager.check_for_errors()
    except Exception as error:  # orbax raises bare ones
      self._fail(self._writing, _short(error))
    return max(self.steps(), default=0)

  def steps(self) -> list[int]:
    return sorted(self._manager.all_steps())

  def best(self) -> float:
    """The highest score of a checkpoint there is; -inf if none has one."""
    known = [self._scores.get(step, -math.inf) for step in self.steps()]
    return max((s for s in known if s < math.inf), default=-math.inf)

  def restore(self, abstract: Any, which: str = 'latest') -> Restored | None:
    """The latest or best good checkpoint, None if there is none at all.

    A damaged one is said, moved to `<folder>_damaged` (unless read_only), and
    the next one tried.

    Args:
      abstract: pytree of jax.ShapeDtypeStruct with shardings.
      which: 'latest' or 'best', which is the latest of several equally good.

    Raises ValueError if there are checkpoints, but none is good.
    """
    self.settle()
    order = self.steps()[::-1]
    if which == 'best':
      order.sort(key=lambda step: -self._scores[step])
    told = {}
    for step in order:
      state, fault = self._attempt(step, abstract)
      if not fault:
        for bad, why in told.items():
          self._set_aside(bad, why, step)
        return Restored(step, state)
      told[step] = fault
    if not told:
      return None
    raise ValueError(
      f'No checkpoint in {self.folder} can be restored into this model:\n'
      + ''.join(f'  checkpoint {step}: {why}\n' for step, why in told.items())
      + 'Start again in another --workdir; nothing here was changed.'
    )

  def close(self) -> None:
    self.settle()
    self._manager.close()

  def _seal(self) -> None:
    """Notes the digest of every file; called just before the commit."""
    (folder,) = self.folder.glob(f'{self._writing}.orbax-checkpoint-tmp*')
    seals.seal(folder)

  def _score(self, step: int) -> float:
    """Of a checkpoint on disk; one that cannot be read is looked at first."""
    try:
      path = self.folder / str(step) / 'meta' / 'metadata'
      score = json.loads(path.read_text('utf8'))['score']
      return -math.inf if score is None else float(score)
    except (OSError, ValueError, KeyError, TypeError):
      return math.inf

  def _attempt(self, step: int, abstract: Any) -> tuple[Any, str]:
    """The state of a step and '', or None and what is wrong with it.

    Several processes come to the same conclusion.
    """
    state, fault = None, seals.broken(self.folder / str(step))
    if not anywhere(bool(fault)):
      try:
        state = self._read(step, abstract)
      except Exception as error:  # misfits show in a dozen exception types
        fault = _short(error)
    if anywhere(bool(fault)):
      return None, fault or 'another process cannot read it'
    return state, ''

  def _read(self, step: int, abstract: Any) -> Any:
    item: Any = self._manager.restore(
      step,
      args=ocp.args.Composite(
        state=ocp.args.StandardRestore(abstract), meta=ocp.args.JsonRestore()
      ),
    )
    want = item.meta['checksums']
    for path, value in checksums(item.state):
      if want.get('/'.join(path)) != value:
        raise ValueError(
          f'{"/".join(path)} has another checksum than when it was saved'
        )
    return item.state

  def _set_aside(self, bad: int, why: str, good: int) -> None:
    target, moved = self.folder.with_name(f'{self.folder.name}_damaged'), ''
    if not self.read_only:
      moved = f' It was moved to {target / str(bad)}.'
      if jax.process_index() == 0:
        target.mkdir(exist_ok=True)
        shutil.rmtree(target / str(bad), ignore_errors=True)
        (self.folder / str(bad)).rename(target / str(bad))
      if jax.process_count() > 1:
        multihost_utils.sync_global_devices(f'set aside {bad}')
      self._manager.reload()
    warnings.warn(
      f'Checkpoint {bad} is damaged: {why}.{moved} Going on from checkpoint '
      f'{good}.',
      stacklevel=3,
    )

  def _fail(self, step: int, why: str) -> None:
    if step == self._lost:  # every later call raises it again
      return
    self._lost = step
    if jax.process_index() == 0:
      for left in self.folder.glob(f'{step}.orbax-checkpoint-tmp*'):
        shutil.rmtree(left, ignore_errors=True)
    self._manager.reload()
    warnings.warn(
      f'Checkpoint {step} could not be written ({why}; '
      f'{_free(self.folder) / 1e6:.1f} MB are free in {self.folder}). Training '
      f'goes on; good checkpoints: {self.steps()}. Free some space: the next '
      'one is tried as planned.',
      stacklevel=3,
    )


class _Keep:
  """The latest, and the best of all: orbax asks before it removes any."""

  def __init__(self, latest: int, scores: dict[int, float]):
    self.latest, self.scores = latest, scores

  def should_preserve(self, checkpoints: Sequence, *, context) -> list[bool]:  # noqa: ARG002
    steps = [checkpoint.step for checkpoint in checkpoints]
    scores = [self.scores.get(step, -math.inf) for step in steps]
    known = [-math.inf if score == math.inf else score for score in scores]
    best = max(zip(known, steps), default=(0, 0))[1]
    return [step == best or step in steps[-self.latest :] for step in steps]


def selected(workdir: pathlib.Path, abstract: Any, which: str) -> Restored:
  """The checkpoint that a run selects; `which` is 'latest' or 'best'.

  Raises ValueError if the run has none yet.
  """
  with Checkpoints(workdir / 'checkpoints', read_only=True) as checkpoints:
    found = checkpoints.restore(abstract, which)
  if found is None:
    raise ValueError(
      f'{workdir} has no checkpoint yet. Start the run again, and it goes on '
      'to the first one.'
    )
  return found


def _free(folder: pathlib.Path) -> int:
  return shutil.disk_usage(folder).free


def _short(error: Exception) -> str:
  """Type, beginning and end: the cause of a full disk stands last."""
  text = (str(error).strip().splitlines() or [''])[0]
  text = text if len(text) < 300 else f'{text[:120]} ... {text[-160:]}'
  return f'{type(error).__name__}: {text}'


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


def anywhere(flag: bool) -> bool:
  """Whether a flag is up in any of the processes; all have to ask."""
  if jax.process_count() == 1:
    return flag
  return bool(multihost_utils.process_allgather(np.array(flag)).any())
