"""Splits that live in memory: padding, and arrays as a `base.Source`."""

from collections.abc import Mapping, Sequence

import numpy as np

from mmjax import base

Value = np.ndarray | base.Ragged


def gather(values: np.ndarray, lengths: np.ndarray, rows: np.ndarray):
  """Sequences `rows` of flat `values` [sum of lengths, ...]: (values, lengths)."""
  ends, size = np.cumsum(lengths, dtype=np.int64), lengths[rows]
  nth = np.arange(size.sum()) - np.repeat(np.cumsum(size) - size, size)
  return values[np.repeat(ends[rows] - size, size) + nth], size


def pad(values: np.ndarray, lengths: np.ndarray, longest: int) -> base.Ragged:
  """Flat `values` [sum of lengths, ...] to [N, longest, ...], zeros behind.

  What is longer than `longest` is cropped at its end.
  """
  lengths = np.asarray(lengths, np.int64)
  nth = np.arange(lengths.sum()) - np.repeat(
    np.cumsum(lengths) - lengths, lengths
  )
  item = np.repeat(np.arange(len(lengths)), lengths)
  keep = nth < longest
  out = np.zeros((len(lengths), longest, *values.shape[1:]), values.dtype)
  out[item[keep], nth[keep]] = values[keep]
  return base.Ragged(out, np.arange(longest) < lengths[:, None])


def pick(value: Value, rows: np.ndarray) -> Value:
  """Rows of an array [N, ...] or of a `Ragged`."""
  if isinstance(value, base.Ragged):
    return base.Ragged(value.values[rows], value.mask[rows])
  return value[rows]


def blank(value: Value, present: np.ndarray) -> Value:
  """A copy with zeros, and no real frame, where `present` bool[N] is False."""
  if isinstance(value, base.Ragged):
    return base.Ragged(*(blank(part, present) for part in value))
  value = value.copy()
  value[~present] = 0
  return value


def table(
  inputs: Mapping[str, Value],
  label: np.ndarray,
  present: Mapping[str, np.ndarray],
  class_names: Sequence[str],
  index: Mapping[str, np.ndarray] | None = None,
) -> base.Source:
  """Checked arrays as a `Source`; what is missing is zero already.

  A modality in `index` is a pool: example i has entry `index[name][i]` of it.
  """
  index = index or {}
  label = np.asarray(label, np.int32)

  def take(rows: np.ndarray) -> dict:
    rows = np.asarray(rows)
    at = {name: index[name][rows] if name in index else rows for name in inputs}
    return {
      **{name: pick(value, at[name]) for name, value in inputs.items()},
      'label': label[rows],
      'present': {name: present[name][rows] for name in inputs},
    }

  names = tuple(str(name) for name in class_names)
  return base.Source(tuple(inputs), names, len(label), take)
