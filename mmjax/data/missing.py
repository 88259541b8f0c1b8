"""Simulates missing modalities, with an exact count."""

import warnings
from collections.abc import Mapping

import numpy as np

from mmjax import base
from mmjax.data import _memory

CHUNK = 256  # rows read at once where only their presence is wanted


def drop(
  source: base.Source,
  rate: float,
  seed: int,
  *,
  present: Mapping[str, np.ndarray] | None = None,
) -> base.Source:
  """The source with exactly round(rate * N * M) of its N * M entries missing.

  Every example keeps a modality that it had. Modalities lose equally often, up
  to one, if the source is complete; else those that miss least lose first. What
  the source misses already counts, and is never restored. A pure function of
  the seed. Values and masks of what is missing are zero.

  Args:
    source: M modalities, N examples.
    rate: 0..1 - 1/M, the share of entries that is missing in the end.
    seed: another one for each split, or their rows lose alike.
    present: {modality: bool[N]} if known; else the source is read once to see.

  Raises ValueError for a rate that would leave an example with nothing. The
  mask generator of CPM-Nets that MLA's code uses saturates there in silence.
  """
  names = source.modalities
  top = 1 - 1 / len(names)
  if not 0 <= rate <= top + 1e-9:
    raise ValueError(
      f'rate={rate} must be from 0 to 1 - 1/M = {top:.4g}: each example keeps '
      f'one of its M = {len(names)} modalities ({", ".join(names)}).'
    )
  present = _present(source) if present is None else present
  has = np.stack([np.asarray(present[name], bool) for name in names], axis=1)
  goal = round(rate * has.size)
  extra = goal - int((~has).sum())
  if extra < 0:
    warnings.warn(
      f'rate={rate} asks for {goal} missing entries, but the data miss '
      f'{goal - extra} of {has.size} already; nothing is dropped.',
      stacklevel=2,
    )
  room = int(np.maximum(has.sum(axis=1) - 1, 0).sum())
  if extra > room:
    raise ValueError(
      f'rate={rate} asks for {extra} more missing entries, but only {room} can '
      'go: some examples have no modality at all. Leave them out.'
    )
  kept = has & ~_choose(has, max(extra, 0), np.random.default_rng(seed))

  def take(rows: np.ndarray) -> dict:
    batch = source.take(rows)
    seen = {name: kept[rows, m] for m, name in enumerate(names)}
    values = {name: _memory.blank(batch[name], seen[name]) for name in names}
    return {**batch, **values, 'present': seen}

  return source._replace(take=take)


def _present(source: base.Source) -> dict[str, np.ndarray]:
  """{modality: bool[N]}, read from the source piece by piece."""
  parts = [
    source.take(np.arange(start, min(start + CHUNK, source.size)))['present']
    for start in range(0, source.size, CHUNK)
  ]
  return {
    name: np.concatenate([part[name] for part in parts])
    for name in source.modalities
  }


def _choose(
  has: np.ndarray, count: int, rng: np.random.Generator
) -> np.ndarray:
  """Which `count` of the entries has_NM go, bool[N, M].

  How many an example loses is drawn first; then example after example, in
  random order, loses the modalities that fewest have lost so far, ties at
  random: that keeps the losses even without ever running into a dead end.
  """
  spare = np.repeat(np.arange(len(has)), np.maximum(has.sum(axis=1) - 1, 0))
  loses = np.bincount(rng.permutation(spare)[:count], minlength=len(has))
  lost = (~has).sum(axis=0).astype(float)
  gone = np.zeros_like(has)
  for row in rng.permutation(np.flatnonzero(loses)):
    own = rng.permutation(np.flatnonzero(has[row]))
    least = own[np.argsort(lost[own], kind='stable')[: loses[row]]]
    gone[row, least] = True
    lost[least] += 1
  return gone
