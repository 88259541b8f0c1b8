"""Encoding: chunk by chunk, each device on batches of its own.

A device always sees `batch_size` rows, those of the same places in a chunk, in
one and the same program (shard_map: nothing is exchanged), so that latents are
the same bits on any number of devices and processes.
"""

import pathlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import rich.console
import rich.progress
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

from mmjax import sharding
from mmjax._extract_work import Task
from mmjax.base import TrainState
from mmjax.data import _latents, feed
from mmjax.experiment import Experiment

UNSEEN = np.iinfo(np.int32).min  # a label that was not met


class Unit(NamedTuple):
  """A chunk that is missing, of modalities that one reading serves."""

  modalities: tuple[str, ...]
  chunk: int


def units(
  todo: Mapping[str, Task], missing: Mapping[str, Sequence[int]]
) -> list[Unit]:
  """The missing chunks; modalities that show the same rows go together."""
  groups: dict[bytes, list[str]] = {}
  for m, task in todo.items():
    rows = b'|'.join(rows.tobytes() for rows in task.pool.rows.values())
    groups.setdefault(rows, []).append(m)
  made = []
  for group in groups.values():
    for chunk in range(todo[group[0]].chunks()):
      names = tuple(m for m in group if chunk in missing[m])
      made += [Unit(names, chunk)] if names else []
  return made


def encode(
  exp: Experiment,
  state: TrainState,
  todo: Mapping[str, Task],
  mine: Sequence[Unit],
  path: pathlib.Path,
) -> dict[str, np.ndarray]:
  """Writes the chunks `mine`; labels i32[N] per split, UNSEEN where not met.

  Every process calls it, be it for no chunk.
  """
  mesh = _local(exp)
  state = _here(exp, state, mesh)
  programs = {m: _program(exp, m, mesh) for m in todo}
  labels = {
    split: np.full(source.size, UNSEEN, np.int32)
    for split, source in exp.sources.items()
  }
  with _Progress(mine, todo) as progress:
    for unit in mine:
      task = todo[unit.modalities[0]]
      found = {m: [] for m in unit.modalities}
      for split, rows in task.pool.pieces(*task.bounds(unit.chunk)):
        size = task.work['batch_size'] * mesh.size
        batches = _batches(exp, split, rows, size, labels[split])
        run = _pipelined({m: programs[m] for m in found}, state, batches, mesh)
        for start, told in zip(range(0, len(rows), size), run):
          for m, z_BD in told.items():
            found[m].append(z_BD[: len(rows) - start])
            progress.add(len(found[m][-1]))
      for m, parts in found.items():
        with np.errstate(over='ignore'):  # counted afterwards
          z_RD = np.concatenate(parts).astype(todo[m].work['dtype'])
        name = _latents.chunk_name(unit.chunk, task.chunks())
        _latents.write_chunk(path / m / name, z_RD)
  return labels


def read_labels(exp: Experiment, labels: Mapping[str, np.ndarray]) -> None:
  """Fills in the labels that were not met."""
  for split, known in labels.items():
    rows = np.flatnonzero(known == UNSEEN)
    for _ in _batches(exp, split, rows, exp.eval_batch_size, known):
      pass


def _batches(exp, split, rows, size, labels) -> Iterator[Any]:
  """Batches of NumPy of these rows, whose labels are noted on the way."""
  reader = exp.config['reader']
  batches = feed.stream(
    exp.sources[split],
    lambda step: rows[step * size : (step + 1) * size],
    0,
    -(-len(rows) // size),
    size,
    threads=reader['threads'],
    ahead=reader['ahead'],
  )
  for batch in batches:
    labels[batch['index']] = batch['label']
    yield batch


def _pipelined(
  programs: Mapping[str, Callable], state, batches, mesh: Mesh
) -> Iterator[dict[str, np.ndarray]]:
  """Latents of each batch; the next one is under way when they are fetched."""
  split = NamedSharding(mesh, PartitionSpec('data'))

  def start(batch):
    batch = jax.device_put(batch, split)
    return {m: program(state, batch) for m, program in programs.items()}

  # One ahead and no more: the devices would fill with what is to be encoded.
  before = None
  for batch in batches:
    now = start(batch)
    if before is not None:
      yield jax.device_get(before)
    before = now
  if before is not None:
    yield jax.device_get(before)


def _program(exp: Experiment, m: str, mesh: Mesh) -> Callable:
  """(state, batch) -> latents of one modality; XLA drops the other encoders."""

  def feats(state, batch):
    return exp.predict(state, batch).feats[m].astype(jnp.float32)

  rows = PartitionSpec('data')
  return jax.jit(
    jax.shard_map(
      feats,
      mesh=mesh,
      in_specs=(PartitionSpec(), rows),
      out_specs=rows,
      check_vma=False,
    )
  )


def _local(exp: Experiment) -> Mesh:
  """The devices of the experiment that are this process's own."""
  own = np.array(exp.mesh.local_devices).ravel()
  return Mesh(own, ('data',), axis_types=(AxisType.Auto,))


def _here(exp: Experiment, state: TrainState, mesh: Mesh) -> TrainState:
  """The state on local devices, whole on each."""
  state = state.replace(opt={})  # nothing is trained
  leaves = [x for x in jax.tree.leaves(state) if isinstance(x, jax.Array)]
  if not all(x.is_fully_addressable for x in leaves):
    whole = sharding.replicated(exp.mesh)
    state = jax.jit(lambda s: s, out_shardings=whole)(state)
    state = jax.tree.map(lambda x: x.addressable_data(0), state)
  return jax.device_put(state, NamedSharding(mesh, PartitionSpec()))


class _Progress:
  """Latents and their rate, said by process 0."""

  def __init__(self, mine: Sequence[Unit], todo: Mapping[str, Task]):
    bounds = [
      todo[m].bounds(unit.chunk) for unit in mine for m in unit.modalities
    ]
    self._bar = rich.progress.Progress(
      rich.progress.TextColumn('{task.description}'),
      rich.progress.BarColumn(bar_width=24),
      rich.progress.MofNCompleteColumn(),
      rich.progress.TextColumn('{task.fields[rate]}'),
      console=rich.console.Console(stderr=True),
      disable=not mine or jax.process_index() > 0,
    )
    self._task = self._bar.add_task(
      'latents', total=sum(b - a for a, b in bounds), rate=''
    )

  def __enter__(self):
    self._bar.start()
    return self

  def __exit__(self, *error):
    self._bar.stop()

  def add(self, count: int) -> None:
    task = self._bar.tasks[self._task]
    rate = f'{task.speed:,.0f} rows/s' if task.speed else ''
    self._bar.update(self._task, advance=count, rate=rate)
