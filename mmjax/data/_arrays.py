"""Fields of a `.npz` file on their way to a split."""

from collections.abc import Mapping, Sequence

import numpy as np

from mmjax import base
from mmjax.data import _fields, _labels, _memory, _npz, _tokens


def read(
  file: _npz.Npz,
  name: str,
  size: int,
  *,
  option: str = 'modalities',
  index: np.ndarray | None = None,
  is_ids: bool = False,
  max_len: int = 0,
  tokenizer: str = '',
  max_tokens: int = 128,
) -> _fields.Field:
  """Modality `name` of a file, with its companions, checked.

  Args:
    file: an open one.
    name: of the field.
    size: examples, N.
    option: that asked for the field, for the error.
    index: i[N] into the rows of a pool.
    is_ids: whether it holds ids.
    max_len: frames after which it is cropped; 0 = never.
    tokenizer: of texts, as `_tokens.load` takes it.
    max_tokens: after which texts are cut.
  """

  def companion(suffix: str) -> np.ndarray | None:
    known = name + suffix in file.names
    return file.read(name + suffix, option) if known else None

  values, lengths = file.read(name, option), companion('_len')
  if values.dtype.kind == 'U' and values.ndim == 1 and lengths is None:
    values, lengths = _ids(values, tokenizer, max_tokens)
  field = _fields.checked(
    name,
    values,
    lengths,
    size=size,
    index=index,
    present=companion('_present'),
    is_ids=is_ids,
  )
  if max_len < 0:
    raise ValueError(f'max_len={max_len} must be 0 (never crop) or more.')
  longest = min(field.longest, max_len or field.longest)
  return field._replace(longest=longest)


def _ids(
  texts: np.ndarray, tokenizer: str, max_tokens: int
) -> tuple[np.ndarray, np.ndarray]:
  """Texts as flat token ids i32[sum of lengths], and lengths i64[N].

  A blank text has none, not even the tokenizer's special tokens.
  """
  ids_BT, mask_BT = _tokens.load(tokenizer, max_tokens)(texts.tolist())
  mask_BT = mask_BT & (np.char.strip(texts) != '')[:, None]
  return ids_BT[mask_BT], mask_BT.sum(1)


def check_present(fields: Sequence[_fields.Field], part: np.ndarray) -> None:
  """ValueError for an example, or a modality in training, that has nothing."""
  names = ', '.join(field.name for field in fields)
  somehow = np.any([field.present for field in fields], axis=0)
  empty = np.flatnonzero((part >= 0) & ~somehow)
  if len(empty):
    raise ValueError(
      f'{_labels.some(empty)} have none of the modalities {names}: there is '
      'nothing to see. Leave these examples out.'
    )
  for field in fields:
    if (part == 0).any() and not field.present[part == 0].any():
      raise ValueError(
        f'No training example has modality {field.name!r}, as its presence or '
        f'its lengths say. Leave it out of {names}.'
      )


def scaling(fields: Sequence[_fields.Field], train: np.ndarray) -> dict:
  """{modality: (mean, std)} of those that are numbers."""
  return {
    field.name: _fields.scale(field, train)
    for field in fields
    if not field.is_ids and not field.is_picture
  }


def table(
  fields: Sequence[_fields.Field],
  rows: np.ndarray,
  label: np.ndarray,
  names: Sequence[str],
  scaling: Mapping[str, tuple[np.ndarray, np.ndarray]],
) -> base.Source:
  """The examples `rows` i64[B] as a `Source`."""
  inputs, index = {}, {}
  for field in fields:
    value, at = _fields.prepare(field, rows, scaling.get(field.name))
    inputs[field.name] = value
    if (at != np.arange(len(rows))).any():
      index[field.name] = at
  present = {field.name: field.present[rows] for field in fields}
  return _memory.table(inputs, label[rows], present, names, index)
