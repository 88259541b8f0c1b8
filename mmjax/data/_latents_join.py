"""Which row of one modality belongs to which of another: a join by id."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from mmjax.data._latents import SPLITS

NOWHERE = -1  # the split of a row whose id no side with splits has


class Side(NamedTuple):
  """One modality before it is paired: R rows, each an entry of its pool."""

  name: str
  place: str  # the file or folder
  id: np.ndarray | None  # str[R]
  split: np.ndarray | None  # i64[R], the place in SPLITS
  label: np.ndarray | None  # i[R]
  class_names: tuple[str, ...] | None
  entry: np.ndarray  # i64[R], row of the pool
  width: int
  read: Callable[[np.ndarray], np.ndarray]  # i64[B] of the pool -> f32[B, D]
  digest: Callable[[np.ndarray], np.ndarray]  # i64[B] of the pool -> u64[B]
  bad: np.ndarray  # bool[P], entries that are NaN, infinite or zero
  origin: Mapping[str, Any] | None = None  # of rows that were extracted
  pairing: str = ''  # of extracted ids: equal if all ids are, in order

  def ids(self, rows: np.ndarray, count: int = 3) -> str:
    """The first few ids of rows, for a message."""
    rows = rows[:count]
    if self.id is None:
      return ', '.join(f'row {row}' for row in rows)
    return ', '.join(repr(str(i)) for i in self.id[rows])


class Paired(NamedTuple):
  """N examples: the row of each side, and what no other side has."""

  rows: tuple[np.ndarray, ...]  # i64[N] per side
  split: np.ndarray  # i64[N]
  unpaired: tuple[np.ndarray, ...]  # rows i64 per side, of no example
  splits: tuple[np.ndarray, ...]  # i64[R] per side


def join(sides: Sequence[Side]) -> Paired:
  """Pairs rows of one id within a split.

  Where one side has several rows of an id, each is an example, and the row of
  the others is shared. The order is that of the first side.

  Raises ValueError for an id that several sides repeat, sides without ids that
  differ in their number of rows, and splits that cannot be told.
  """
  codes = _codes(sides)
  splits = _splits(sides, codes)
  keys = [c * (len(SPLITS) + 1) + s + 1 for c, s in zip(codes, splits)]
  _, dense = np.unique(np.concatenate(keys), return_inverse=True)
  keys = np.split(dense, np.cumsum([len(k) for k in keys])[:-1])
  count_SK = np.stack([np.bincount(k, minlength=dense.max() + 1) for k in keys])
  _check_repeated(sides, keys, count_SK)
  complete_K = np.all(count_SK > 0, axis=0)
  first, at = np.unique(keys[0], return_index=True)
  order = first[np.argsort(at)]
  order = order[complete_K[order]]
  size = count_SK.max(0)[order]
  key_N = np.repeat(order, size)
  nth_N = np.arange(size.sum()) - np.repeat(np.cumsum(size) - size, size)
  rows = tuple(_pick(k, c, key_N, nth_N) for k, c in zip(keys, count_SK))
  unpaired = tuple(np.flatnonzero(~complete_K[k]) for k in keys)
  return Paired(rows, splits[0][rows[0]], unpaired, tuple(splits))


def _pick(key_R, count_K, key_N, nth_N) -> np.ndarray:
  """The nth row of each key, or its only one."""
  by_key = np.argsort(key_R, kind='stable')
  start_K = np.cumsum(count_K) - count_K
  return by_key[start_K[key_N] + np.where(count_K[key_N] > 1, nth_N, 0)]


def _codes(sides: Sequence[Side]) -> list[np.ndarray]:
  """i64[R] per side: equal numbers for equal ids, or for equal places."""
  nameless = [side for side in sides if side.id is None]
  if nameless:
    sizes = {len(side.entry) for side in sides}
    if len(sizes) > 1:
      told = ', '.join(f'{s.name} {len(s.entry)}' for s in sides)
      raise ValueError(
        f'{nameless[0].place} has no ids, so rows pair by their order, but '
        f'their numbers differ: {told}. Give every file a field id [R].'
      )
    return [np.arange(len(side.entry)) for side in sides]
  if sides[0].pairing and len({side.pairing for side in sides}) == 1:
    return [np.arange(len(side.entry)) for side in sides]
  ids = [np.asarray(side.id) for side in sides]
  _, codes = np.unique(np.concatenate(ids), return_inverse=True)
  return np.split(codes, np.cumsum([len(i) for i in ids])[:-1])


def _splits(sides: Sequence[Side], codes) -> list[np.ndarray]:
  """i64[R] per side: its own splits, or those that others have for its ids."""
  lacking = [side for side in sides if side.split is None]
  if not lacking:
    return [np.asarray(side.split) for side in sides]
  count = 1 + max(int(c.max(initial=-1)) for c in codes)
  known = [(c, s.split) for c, s in zip(codes, sides) if s.split is not None]
  if not known:
    table = _drawn(codes, count)
    return [table[c] for c in codes]
  pairs = np.unique(
    np.concatenate([c * len(SPLITS) + split for c, split in known])
  )
  code, split = np.divmod(pairs, len(SPLITS))
  if (np.diff(code) == 0).any():
    twice = code[1:][np.diff(code) == 0]
    c, side = next((c, s) for c, s in zip(codes, sides) if s.split is not None)
    raise ValueError(
      f'{lacking[0].place} has no field split, and {len(twice)} ids are in '
      f'several splits of {side.place} '
      f'({side.ids(np.flatnonzero(np.isin(c, twice)))}). Give it a field split.'
    )
  table = np.full(count, NOWHERE)
  table[code] = split
  return [
    table[c] if side.split is None else side.split
    for c, side in zip(codes, sides)
  ]


def _drawn(codes: Sequence[np.ndarray], count: int) -> np.ndarray:
  """The split of each id: 80, 10 and 10 % of those that all sides have."""
  there = [np.bincount(c, minlength=count) > 0 for c in codes]
  paired = np.flatnonzero(np.all(there, axis=0))
  held = max(1, round(0.1 * len(paired))) if len(paired) > 2 else 0
  order = np.random.default_rng(0).permutation(paired)
  table = np.full(count, NOWHERE)
  table[paired] = SPLITS.index('train')
  table[order[:held]] = SPLITS.index('validation')
  table[order[held : 2 * held]] = SPLITS.index('test')
  return table


def _check_repeated(sides: Sequence[Side], keys, count_SK) -> None:
  both_K = (count_SK > 1).sum(0) > 1
  if not both_K.any():
    return
  first = int(np.flatnonzero(both_K)[0])
  told = [s for s, n in zip(range(len(sides)), count_SK[:, first]) if n > 1]
  side, rows = sides[told[0]], np.flatnonzero(both_K[keys[told[0]]])
  raise ValueError(
    f'{int(both_K.sum())} ids have several rows on more than one side: '
    f'{side.ids(rows[np.unique(keys[told[0]][rows], return_index=True)[1]])}, '
    f'in {" and in ".join(sides[i].place for i in told)}. Which belong '
    'together cannot be told: let an id be one picture, say, and repeat it on '
    'one side only.'
  )
