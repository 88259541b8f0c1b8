"""Batches of rows: padded, masked, read in threads ahead of their use."""

from collections.abc import Callable, Iterator
from typing import Any

import grain
import numpy as np

from mmjax.base import Ragged, Source

Rows = Callable[[int], np.ndarray]
"""step -> rows of the whole batch, i64[<= batch_size]."""


def load(
  source: Source,
  rows: np.ndarray,
  batch_size: int | None,
  part: slice = slice(None),
) -> dict[str, Any]:
  """The batch of these rows as NumPy, padded to batch_size.

  Padding repeats the first row with `mask` False, so that every value a step
  sees is one that the data really has.

  Args:
    source: to read from.
    rows: at least one.
    batch_size: B of the whole batch; None is that of rows.
    part: of the padded batch that this process needs.
  """
  batch_size = batch_size or len(rows)
  padded = np.resize(rows, batch_size)
  padded[len(rows) :] = rows[0]
  mask = np.arange(batch_size) < len(rows)
  padded, mask = padded[part], mask[part]
  batch = source.take(padded)
  batch['index'] = padded.astype(np.int32)
  if source.entries:
    entries = source.entries.items()
    batch['entry'] = {m: e[padded].astype(np.int32) for m, e in entries}
  batch['mask'] = mask
  return batch


def stream(
  source: Source,
  rows: Rows,
  start: int,
  stop: int,
  batch_size: int,
  *,
  part: slice = slice(None),
  threads: int = 2,
  ahead: int = 4,
) -> Iterator[dict[str, Any]]:
  """The batches of steps start..stop - 1 in order.

  Args:
    source: to read from.
    rows: of a step.
    start: first step.
    stop: one past the last.
    batch_size: B of the whole batch.
    part: of every batch that this process needs.
    threads: that read; 0 reads when asked.
    ahead: batches held ready.
  """

  def read(offset: int) -> dict[str, Any]:
    return load(source, rows(start + offset), batch_size, part)

  if not threads:
    yield from map(read, range(stop - start))
    return
  options = grain.ReadOptions(num_threads=threads, prefetch_buffer_size=ahead)
  dataset = grain.MapDataset.range(stop - start).map(read)
  iterator = iter(dataset.to_iter_dataset(options))
  try:
    yield from iterator
  finally:
    iterator.close()


def in_order(source: Source, batch_size: int) -> tuple[Rows, int]:
  """(rows of a step, number of steps) that go through a split once."""
  steps = -(-source.size // batch_size)

  def rows(step: int) -> np.ndarray:
    first = step * batch_size
    return np.arange(first, min(first + batch_size, source.size))

  return rows, steps


def nonfinite(batch: dict[str, Any], modalities) -> list[str]:
  """Modalities of a batch that hold NaN or infinity where they are present."""
  bad = []
  for m in modalities:
    values = batch[m].values if isinstance(batch[m], Ragged) else batch[m]
    if np.issubdtype(values.dtype, np.floating):
      if not np.isfinite(values[batch['present'][m]]).all():
        bad.append(m)
  return bad
