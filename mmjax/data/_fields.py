"""One modality as it comes from the user, checked, then as numbers to learn from."""

from typing import Any, NamedTuple

import numpy as np

from mmjax import base
from mmjax.data import _memory
from mmjax.data._labels import some


class Field(NamedTuple):
  """A pool of P entries, and which of them each of the N examples has."""

  name: str
  values: np.ndarray  # [P, ...], or flat [sum of lengths, ...]
  lengths: np.ndarray | None  # i64[P]; None for a fixed size
  longest: int  # frames after padding; 0 for a fixed size
  index: np.ndarray  # i64[N]
  present: np.ndarray  # bool[N]
  is_ids: bool

  @property
  def is_picture(self) -> bool:
    return _are_pictures(self.values)

  def entries(self, rows: np.ndarray) -> np.ndarray:
    """Entries that the examples `rows` bool[N] have, each once, sorted."""
    return np.unique(self.index[rows & self.present])

  def select(self, entries: np.ndarray) -> tuple[np.ndarray, np.ndarray | None]:
    """Values (flat if ragged) and lengths of some entries."""
    if self.lengths is None:
      return self.values[entries], None
    return _memory.gather(self.values, self.lengths, entries)


def _are_pictures(values: np.ndarray) -> bool:
  return values.dtype == np.uint8 and values.ndim > 2


def are_ids(values: np.ndarray) -> bool:
  """Integers, but no pictures: ids, where nothing else is said about them."""
  return values.dtype.kind in 'iu' and not _are_pictures(values)


def flat(name: str, value: Any) -> tuple[np.ndarray, np.ndarray | None, int]:
  """(flat values, lengths, longest) of an array, a `Ragged`, or a pair."""
  if not isinstance(value, tuple):
    return np.asarray(value), None, 0
  first, second = (np.asarray(part) for part in value)
  if not isinstance(value, base.Ragged):
    return first, second, 0
  lengths = second.sum(axis=-1)
  if first.shape[:2] != second.shape or second.dtype != bool:
    raise ValueError(
      f'The mask of {name!r} must be bool [N, T] as its values are, but is '
      f'{second.dtype} {second.shape} for {first.shape}.'
    )
  if (second != (np.arange(second.shape[1]) < lengths[:, None])).any():
    raise ValueError(
      f'The mask of {name!r} has holes; real frames come first, padding behind.'
    )
  return first[second], lengths, second.shape[1]


def checked(
  name: str,
  values: np.ndarray,
  lengths: np.ndarray | None = None,
  *,
  size: int,
  index: np.ndarray | None = None,
  present: np.ndarray | None = None,
  longest: int = 0,
  is_ids: bool = False,
) -> Field:
  """A `Field` of `size` examples, or a ValueError that names what disagrees."""
  if name in base.RESERVED or '/' in name:
    raise ValueError(
      f'No modality may be called {name!r}: {", ".join(base.RESERVED)} have a '
      "meaning in a batch, and '/' one in metric names. Rename it."
    )
  if values.dtype.kind not in 'biuf' or values.ndim == 0:
    raise ValueError(
      f'{name!r} cannot be a modality: it is {values.dtype} {values.shape}, not '
      'an array of numbers, or in a file one text (str) per row. Encode it '
      'first (text as token ids), or leave it out.'
    )
  lengths = _lengths(name, values, lengths)
  count = len(values) if lengths is None else len(lengths)
  index = _index(name, index, count, size)
  present = _present(name, present, size)
  if lengths is not None:
    present = present & (lengths[index] > 0)
    longest = longest or max(1, int(lengths.max(initial=0)))
  elif values.ndim == 1:
    values = values[:, None]
  if lengths is not None and values.ndim == 1:
    is_ids = is_ids or are_ids(values)
  field = Field(name, values, lengths, longest, index, present, is_ids)
  _check_values(field)
  return field


def _lengths(name, values, lengths):
  if lengths is None:
    return None
  lengths = np.asarray(lengths)
  if lengths.ndim != 1 or lengths.dtype.kind not in 'iu' or (lengths < 0).any():
    raise ValueError(
      f'The lengths of {name!r} must be integers [N] of 0 or more, are '
      f'{lengths.dtype} {lengths.shape}.'
    )
  lengths = lengths.astype(np.int64)
  if lengths.sum() != len(values):
    raise ValueError(
      f'The lengths of {name!r} sum to {lengths.sum()}, but its flat values have '
      f'{len(values)} frames. Ragged values are concatenated along axis 0.'
    )
  return lengths


def _index(name, index, count, size):
  if index is None:
    if count != size:
      raise ValueError(
        f'{name!r} has {count} rows, but there are {size} labels. Give each '
        'example one row; flat ragged values need lengths, and a pool with '
        'fewer or more rows an index field (pairs).'
      )
    return np.arange(size)
  if index.shape != (size,) or index.dtype.kind not in 'iu':
    raise ValueError(
      f'The index into {name!r} must be integers [{size}], one for each label, '
      f'is {index.dtype} {index.shape}.'
    )
  wrong = np.flatnonzero((index < 0) | (index >= count))
  if len(wrong):
    raise ValueError(
      f'The index into {name!r} leaves its {count} rows in {some(wrong)}.'
    )
  return index.astype(np.int64)


def _present(name, present, size):
  if present is None:
    return np.ones(size, bool)
  present = np.asarray(present)
  if present.shape != (size,) or not np.isin(present, (0, 1)).all():
    raise ValueError(
      f'The presence of {name!r} must be bool [{size}], one for each label, is '
      f'{present.dtype} {present.shape}.'
    )
  return present.astype(bool)


def _check_values(field: Field) -> None:
  """Numbers that somebody has must be finite, and ids not negative."""
  entries = field.entries(np.ones(len(field.index), bool))
  values, lengths = field.select(entries)
  if field.is_ids and len(values):
    least, most = values.min(), values.max()
    if values.dtype.kind not in 'iu' or least < 0 or most >= 2**31:
      raise ValueError(
        f'{field.name!r} is to hold token ids: integers from 0, below 2^31; it '
        f'is {values.dtype} from {least} to {most}. What is meant as numbers '
        'should be float.'
      )
  if values.dtype.kind != 'f':
    return
  bad = ~np.isfinite(values).all(axis=tuple(range(1, values.ndim)))
  if bad.any():
    owner = entries if lengths is None else np.repeat(entries, lengths)
    raise ValueError(
      f'{field.name!r} has NaN or infinity in {some(np.unique(owner[bad]))}. '
      f'Repair them, or mark examples that lack {field.name!r} as absent '
      f'(present, or a bool field {field.name}_present).'
    )


def scale(field: Field, train: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
  """Mean and std over the training entries, per feature of the last axis."""
  values, lengths = field.select(field.entries(train))
  flat = lengths is not None and values.ndim == 1
  axes = None if flat else tuple(range(values.ndim - 1))
  mean = values.mean(axis=axes, dtype=np.float64)
  std = values.std(axis=axes, dtype=np.float64)
  # A constant feature says nothing, and its rounding noise must not be blown up.
  return mean, np.where(std > 1e-6 * np.abs(mean), std, 1)


def prepare(
  field: Field, rows: np.ndarray, scaling: tuple[np.ndarray, np.ndarray] | None
) -> tuple[_memory.Value, np.ndarray]:
  """What the examples `rows` i64[B] have, and where: (values [P', ...], i64[B]).

  Entry -1 is zeros, for examples that lack the modality.
  """
  present = field.present[rows]
  used, at = np.unique(field.index[rows[present]], return_inverse=True)
  index = np.full(len(rows), -1)
  index[present] = at
  values, lengths = field.select(used)
  if field.is_ids:
    values = values.astype(np.int32)
  elif field.is_picture:
    values = values.astype(np.float32) / 255
    if values.shape[-1] not in (1, 3, 4):
      values = values[..., None]
  elif scaling is not None:
    values = ((values - scaling[0]) / scaling[1]).astype(np.float32)
  else:
    values = values.astype(np.float32)
  if lengths is not None:
    lengths = lengths if present.all() else np.append(lengths, 0)
    return _memory.pad(values, lengths, field.longest), index
  if not present.all():
    values = np.append(
      values, np.zeros_like(values, shape=(1, *values.shape[1:])), 0
    )
  return values, index
