"""What may be wrong with paired latents: said by name, or left out and counted."""

import warnings
from collections.abc import Sequence

import numpy as np

from mmjax.data._latents import SPLITS
from mmjax.data._latents_join import NOWHERE, Paired, Side

Rows = Sequence[np.ndarray]  # of each side, i64[N]


def unpaired(
  sides: Sequence[Side], paired: Paired, split: str, *, drop: bool
) -> None:
  """ValueError for rows without a partner; with `drop` a warning of a split's."""
  if drop:
    here = SPLITS.index(split)
    also = (NOWHERE, here) if split == 'train' else (here,)
    lost = [
      rows[np.isin(splits[rows], also)]
      for rows, splits in zip(paired.unpaired, paired.splits)
    ]
  else:
    lost = list(paired.unpaired)
  told = '; '.join(
    f'{len(rows)} of {len(side.entry)} rows of {side.place} ({side.ids(rows)})'
    for side, rows in zip(sides, lost)
    if len(rows)
  )
  if told and not drop:
    raise ValueError(
      'Latents do not pair. Ids that are not in every modality, in the same '
      f"split: {told}. With config.data.unpaired='drop' they are left out."
    )
  if not len(paired.split):
    raise ValueError(
      'Latents do not pair at all: no id is in all of '
      f'{", ".join(side.place for side in sides)}.'
    )
  if told:
    warnings.warn(f'Left out, since they do not pair: {told}.', stacklevel=3)


def good(
  sides: Sequence[Side], rows: Rows, split: str, *, drop: bool
) -> np.ndarray:
  """bool[N]: who is finite and not zero in all modalities.

  Raises ValueError if somebody is not, unless `drop`, which warns.
  """
  bad_N = np.zeros(len(rows[0]), bool)
  told = []
  for side, row_N in zip(sides, rows):
    here_N = side.bad[side.entry[row_N]]
    bad_N |= here_N
    if here_N.any():
      told.append(
        f'{side.name!r} of {here_N.sum()} examples ({side.ids(row_N[here_N])}) '
        f'in {side.place}'
      )
  if told:
    what = (
      f'Latents of the {split} split are NaN, infinite or zero: '
      f'{"; ".join(told)}'
    )
    if not drop:
      raise ValueError(
        f"{what}. Mend them, or leave these out with config.data.bad='drop'."
      )
    warnings.warn(
      f'{what}. {bad_N.sum()} of {len(bad_N)} examples are left out.',
      stacklevel=3,
    )
  return ~bad_N


def digests(sides: Sequence[Side], rows: Rows) -> list[np.ndarray]:
  """u64[N] per side; examples with equal latents have equal ones."""
  return [s.digest(s.entry[row_N]) for s, row_N in zip(sides, rows)]


def new(
  sides: Sequence[Side],
  rows: Rows,
  train: Sequence[np.ndarray],
  split: str,
  *,
  drop: bool,
) -> np.ndarray:
  """bool[N]: which examples differ from all of training in some modality.

  Raises ValueError if any does not, unless `drop`, which warns. Warns of a
  modality that some entries of the split share with training, as pictures do
  that are in both with other captions. If all do, they are a closed vocabulary
  (names of classes), and nothing is wrong.

  Args:
    sides: the modalities.
    rows: of the split.
    train: digests of the training split.
    split: its name.
    drop: leave them out.
  """
  here = digests(sides, rows)
  copy_N = np.isin(_mixed(here), _mixed(train))
  if copy_N.any():
    told = (
      f'{copy_N.sum()} of {len(copy_N)} examples of the {split} split equal a '
      f'training example in every modality ({sides[0].ids(rows[0][copy_N])} '
      f'of {sides[0].place})'
    )
    if not drop:
      raise ValueError(
        f"{told}. config.data.duplicates='drop' leaves them out of {split}, "
        "'keep' lets them count."
      )
    warnings.warn(f'{told}, and are left out of it.', stacklevel=3)
  for side, ours, theirs in zip(sides, here, train) if len(sides) > 1 else ():
    distinct = np.unique(ours[~copy_N])
    known = np.isin(distinct, theirs).sum()
    if 0 < known < len(distinct):
      warnings.warn(
        f'{known} of {len(distinct)} latents of {side.name!r} in the {split} '
        f'split are in training, too ({side.place}).',
        stacklevel=3,
      )
  return ~copy_N


def _mixed(digests_MN: Sequence[np.ndarray]) -> np.ndarray:
  """One u64[N] for the digests of all modalities, which are random already."""
  total = np.zeros(len(digests_MN[0]), np.uint64)
  for m, digest_N in enumerate(digests_MN):
    total += digest_N * np.uint64(2 * m + 1)
  return total


def labels(
  sides: Sequence[Side], rows: Rows
) -> tuple[tuple[str, ...], np.ndarray]:
  """(class names, i32[N]) of the sides that have them; one class if none has.

  Raises ValueError if sides differ.
  """
  known = [(s, r) for s, r in zip(sides, rows) if s.label is not None]
  if not known:
    return ('pair',), np.zeros(len(rows[0]), np.int32)
  (first, row_N), rest = known[0], known[1:]
  label_N = np.asarray(first.label)[row_N]
  for side, other_N in rest:
    differ = np.flatnonzero(np.asarray(side.label)[other_N] != label_N)
    if len(differ):
      raise ValueError(
        f'{first.place} and {side.place} have other labels for {len(differ)} '
        f'examples ({first.ids(row_N[differ])}). Correct one of them, or leave '
        'its field label out.'
      )
  return _names([side for side, _ in known]), label_N.astype(np.int32)


def _names(sides: Sequence[Side]) -> tuple[str, ...]:
  """Of the classes, by those sides that name them, or '0'.. by number."""
  named = [side for side in sides if side.class_names is not None]
  if not named:
    count = 1 + max(int(np.max(np.asarray(s.label))) for s in sides)
    return tuple(map(str, range(count)))
  for side in named[1:]:
    if side.class_names != named[0].class_names:
      raise ValueError(
        f'{named[0].place} and {side.place} name the classes differently: '
        f'{_few(named[0].class_names)} and {_few(side.class_names)}.'
      )
  return named[0].class_names or ()


def _few(names) -> str:
  more = ', ..' if len(names) > 4 else ''
  return f'{len(names)} ({", ".join(names[:4])}{more})'
