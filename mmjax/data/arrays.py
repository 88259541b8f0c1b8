"""Your own data: a `.npz` file without pickle, or NumPy arrays in memory.

A modality is a field of numbers with one row per example, [N, ...], or a ragged
one: flat values `<name>` [sum of lengths, ...] beside `<name>_len` [N]. It is
  a picture   if uint8 with three axes or more (frames of a ragged one too):
              f32 in 0..1, with a channel axis unless the last is 1, 3 or 4;
  ids         if named in `tokens`, or ragged integers without a feature axis:
              i32, as they are;
  a text      if strings [N], in a file, named in `modalities`: token ids of
              `tokenizer`, blank ones absent;
  numbers     otherwise: f32, standardised by the training part, per feature of
              the last axis; padding and absent examples do not count.
An example lacks a modality where the optional `<name>_present` bool[N] says so,
or where its length is 0; everywhere else NaN is an error, never "missing".
"""

import warnings
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from mmjax import base
from mmjax.data import _arrays, _fields, _labels, _npz


def source(
  inputs: Mapping[str, Any],
  label: Any,
  present: Mapping[str, Any] | None = None,
  class_names: Sequence[str] | None = None,
) -> base.Source:
  """Arrays in memory as one split; nothing is standardised.

  Args:
    inputs: {modality: array [N, ...], `Ragged`, or (flat values, lengths)};
      the last is padded to its longest, so pad all splits alike yourself if
      your encoder needs one length. Integers are ids and stay what they are
      (uint8 pictures apart), so cast those that count something to float.
    label: integers [N], 0..C-1.
    present: {modality: bool[N]} for those that not every example has.
    class_names: C names; '0'..'C-1' if left out.

  Raises ValueError naming the modality and the rows that are wrong.
  """
  present = present or {}
  unknown = set(present) - set(inputs)
  if unknown or not inputs:
    raise ValueError(
      f'present names {sorted(unknown)}, inputs names {sorted(inputs)}: there '
      'must be inputs, and present may only speak of them.'
    )
  label = np.asarray(label)
  names = _labels.class_names(label, class_names)
  fields = []
  for name, value in inputs.items():
    values, lengths, longest = _fields.flat(name, value)
    fields.append(
      _fields.checked(
        name,
        values,
        lengths,
        size=len(label),
        present=present.get(name),
        longest=longest,
        is_ids=_fields.are_ids(values),
      )
    )
  _arrays.check_present(fields, np.ones(len(label)))
  for field in fields:
    if not field.present.any():
      warnings.warn(f'No example has modality {field.name!r}.', stacklevel=2)
  return _arrays.table(fields, np.arange(len(label)), label, names, {})


def make(
  split: str,
  *,
  path: str,
  modalities: tuple[str, ...] = (),
  label: str = 'label',
  split_field: str = 'split',
  splits: tuple[Any, ...] = (0, 1, 2),
  pairs: tuple[tuple[str, str], ...] = (),
  tokens: tuple[str, ...] = (),
  validation_fraction: float = 0.15,
  test_fraction: float = 0.2,
  tokenizer: str = '',
  max_tokens: int = 128,
  max_len: int = 0,
  standardize: bool = True,
  seed: int = 0,
) -> base.Source:
  """One split of a `.npz` file: 'train', 'validation' or 'test'.

  Args:
    split: which.
    path: the file. `class_names` in it, if there, names the classes.
    modalities: fields, in the order they shall have. () takes every field of
      numbers that is ragged, paired, or has one row per label and two axes or
      more; a vector [N] counts as metadata, as speaker or trial.
    label: field of integers [N], 0..C-1.
    split_field: field [N] that says who is where; '' draws all three at random.
    splits: the values of that field for train, validation, test. If nobody is
      in validation, it is drawn from train, stratified by class.
    pairs: ((modality, field of i[N]), ..): modalities that are pools, and which
      entry of the pool each example has.
    tokens: fields that hold ids, not numbers.
    tokenizer: of texts: '' for bytes as ids 1 to 256, else a tokenizer.json or
      a folder with a published one.
    max_tokens: after which texts are cut.
    validation_fraction: of the training part, if drawn.
    test_fraction: of all, if drawn.
    max_len: frames after which ragged modalities are cropped; 0 = never.
    standardize: numbers to mean 0, std 1.
    seed: of the draws; give all three splits the same.

  Raises ValueError naming field, rows and way out, before anything is computed.
  """
  if split not in _labels.SPLITS:
    raise ValueError(f'There is no split {split!r}, but {_labels.SPLITS}.')
  with _npz.opened(path) as file:
    labels = file.read(label, 'label')
    named = 'class_names' in file.names
    names = list(file.read('class_names', '')) if named else None
    names = _labels.class_names(labels, names)
    part = _labels.parts(
      labels,
      file.read(split_field, 'split_field') if split_field else None,
      splits,
      validation=validation_fraction,
      test=test_fraction,
      seed=seed,
    )
    pools = {name: file.read(at, 'pairs') for name, at in pairs}
    modalities = modalities or _choose(file, len(labels), pools)
    _check_names(modalities, (*pools, *tokens))
    fields = [
      _arrays.read(
        file,
        name,
        len(labels),
        index=pools.get(name),
        is_ids=name in tokens,
        max_len=max_len,
        tokenizer=tokenizer,
        max_tokens=max_tokens,
      )
      for name in modalities
    ]
  if split == 'train':  # once for all three
    _labels.warn_of_absent(labels, part, names)
  _arrays.check_present(fields, part)
  scaling = _arrays.scaling(fields, part == 0) if standardize else {}
  rows = np.flatnonzero(part == _labels.SPLITS.index(split))
  return _arrays.table(fields, rows, labels, names, scaling)


def _choose(file: _npz.Npz, size: int, pools: Mapping) -> tuple[str, ...]:
  """Every field that can only be a modality; ValueError if there is none."""

  def fits(name: str) -> bool:
    if name in pools:
      return True
    shape, kind = file.form(name)
    if kind not in 'biuf' or not shape:
      return False
    if f'{name}_len' in file.names:
      return file.form(f'{name}_len')[0] == (size,)
    return len(shape) > 1 and shape[0] == size

  names = tuple(name for name in file.names if fits(name))
  if not names:
    raise ValueError(
      f'{file.path} has no field with {size} rows (as many as labels) and two '
      f'axes or more, nor a ragged one; its fields are {", ".join(file.names)}. '
      'Name the modalities.'
    )
  return names


def _check_names(modalities: tuple[str, ...], others: tuple[str, ...]) -> None:
  """ValueError for a list of modalities that cannot be meant."""
  if isinstance(modalities, str) or len(set(modalities)) < len(modalities):
    raise ValueError(
      f'modalities={modalities!r} must be a tuple of different names; one alone '
      "needs a comma, ('audio',)."
    )
  for name in others:
    if name not in modalities:
      raise ValueError(
        f'pairs or tokens speak of {name!r}, which is none of the modalities '
        f'{", ".join(modalities)}.'
      )
