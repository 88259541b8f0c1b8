"""From the rows of a split to batches on the devices."""

from collections.abc import Callable, Iterator

import jax
import numpy as np

from mmjax import sharding
from mmjax.base import Batch, Source
from mmjax.data import feed


def stream(
  *, mesh: jax.sharding.Mesh, threads: int, ahead: int, resident_gb: float = 4.0
) -> Callable[..., Iterator[Batch]]:
  """(source, rows, start, stop, batch_size) -> batches on the devices.

  Args:
    mesh: of the experiment.
    threads: that read; 0 reads when asked.
    ahead: batches held ready.
    resident_gb: up to which size a source that is in memory as a whole
      (`Source.pools`) is put onto the devices once, so that only row numbers
      travel; 0 never does.
  """
  if not resident_gb >= 0:
    raise ValueError(
      f'config.reader.resident_gb={resident_gb} must be 0 or more.'
    )
  held: dict[int, tuple[Source, Source, Callable]] = {}

  def stream(source, rows, start, stop, batch_size):
    look = None
    if 0 < _bytes(source) <= 1e9 * resident_gb:
      if id(source) not in held:  # the source is kept, and so its id
        held[id(source)] = (source, *_resident(source, mesh))
      _, source, look = held[id(source)]
    part = sharding.local_part(mesh, batch_size)
    for batch in feed.stream(
      source,
      rows,
      start,
      stop,
      batch_size,
      part=part,
      threads=threads if look is None else 0,  # nothing is left to read
      ahead=ahead,
    ):
      batch = sharding.put(mesh, batch, batch_size, part)
      yield batch if look is None else look(batch)

  return stream


def _bytes(source: Source) -> int:
  """Of the pools of all modalities; 0 if one of them has none."""
  if source.labels is None or set(source.pools) != set(source.modalities):
    return 0
  return sum(pool.nbytes for pool in source.pools.values())


def _resident(source: Source, mesh) -> tuple[Source, Callable]:
  """The source as one of row numbers, and what turns these into values."""
  entries = {
    m: source.entries.get(m, np.arange(source.size)).astype(np.int32)
    for m in source.modalities
  }
  labels = np.asarray(source.labels, np.int32)
  whole, spread = sharding.replicated(mesh), sharding.batch(mesh)
  pools = {
    m: jax.make_array_from_callback(pool.shape, whole, lambda i, p=pool: p[i])
    for m, pool in source.pools.items()
  }

  def point(rows: np.ndarray) -> dict:
    at = {m: entry_N[rows] for m, entry_N in entries.items()}
    present = {m: np.ones(len(rows), bool) for m in at}
    return {**at, 'label': labels[rows], 'present': present}

  gather = jax.jit(
    lambda pools, at: {m: pools[m][at[m]] for m in at}, out_shardings=spread
  )

  def look(batch: Batch) -> Batch:
    return {**batch, **gather(pools, {m: batch[m] for m in pools})}

  return source._replace(take=point, pools={}), look
