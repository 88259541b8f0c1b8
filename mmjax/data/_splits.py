"""Which example belongs to which split: drawn, or read from lists."""

import os
import pathlib
import re
from collections import defaultdict
from collections.abc import Hashable, Mapping, Sequence

import numpy as np

SPLITS = ('train', 'validation', 'test')
_ALSO = {'training': 'train', 'valid': 'validation', 'val': 'validation'}
_HEADERS = ('clip', 'file', 'name')


def draw(
  labels: Mapping[str, Hashable],
  *,
  test: float,
  validation: float,
  seed: int,
) -> dict[str, str]:
  """Draws {name: split}, stratified: every class is divided alike.

  `test` is a fraction of all, `validation` one of what is left. A fraction
  above 0 gives each class at least one example there, and leaves one.
  """
  rng = np.random.default_rng(seed)
  splits = {}
  for label in sorted(set(labels.values()), key=str):
    names = sorted(name for name in labels if labels[name] == label)
    splits |= _deal(names, test, validation, rng)
  return splits


def draw_groups(
  groups: Mapping[str, Hashable],
  *,
  test: float,
  validation: float,
  seed: int,
) -> dict[str, str]:
  """Draws {name: split} so that no group (a speaker) is in two splits."""
  distinct = sorted(set(groups.values()), key=str)
  rng = np.random.default_rng(seed)
  splits = _deal(distinct, test, validation, rng)
  return {name: splits[group] for name, group in groups.items()}


def read(files: Sequence[str | os.PathLike]) -> dict[str, str]:
  """Reads {name: split} from list files.

  One file: a line is `name,split`. Two files (train, test) or three (train,
  validation, test): the first column is the name. Columns are separated by a
  comma or by blanks; folders and suffixes of names are dropped; a header line
  (clip, file or name) and lines that begin with # are ignored. Raises
  ValueError for a missing file, an unknown split, a name in two splits.
  """
  if not 1 <= len(files) <= 3:
    raise ValueError(
      f'split_files={tuple(map(str, files))}: give one file of `name,split` '
      'lines, or a file each for (train, test) or (train, validation, test)'
    )
  of_file = {1: (None,), 2: ('train', 'test'), 3: SPLITS}[len(files)]
  splits = {}
  for file, split in zip(files, of_file):
    for number, fields in _lines(pathlib.Path(file)):
      named = split or _ALSO.get(fields[-1].lower(), fields[-1].lower())
      name = pathlib.PurePath(fields[0]).stem
      if named not in SPLITS:
        raise ValueError(
          f'{file}, line {number}: {fields[-1]!r} is no split; a list that '
          f'stands alone has lines `name,split`, the split one of {SPLITS}'
        )
      if splits.setdefault(name, named) != named:
        raise ValueError(
          f'{file}, line {number}: {name!r} is in {named!r} and in '
          f'{splits[name]!r}; an example belongs to one split'
        )
  return splits


def _lines(path: pathlib.Path) -> list[tuple[int, list[str]]]:
  if not path.is_file():
    raise ValueError(f'split_files names {path}, which is not a file')
  rows = []
  for number, line in enumerate(path.read_text().splitlines(), start=1):
    fields = [field for field in re.split(r'[,;\s]+', line.strip()) if field]
    if not fields or fields[0].startswith('#'):
      continue
    if fields[0].lower() in _HEADERS:
      continue
    rows.append((number, fields))
  return rows


def _deal(
  names: Sequence, test: float, validation: float, rng: np.random.Generator
) -> dict:
  """Deals shuffled names out to the splits."""
  shuffled = [names[i] for i in rng.permutation(len(names))]
  cut = _share(len(shuffled), test)
  end = cut + _share(len(shuffled) - cut, validation)
  parts = defaultdict(lambda: 'train')
  parts.update(dict.fromkeys(shuffled[:cut], 'test'))
  parts.update(dict.fromkeys(shuffled[cut:end], 'validation'))
  return {name: parts[name] for name in shuffled}


def _share(count: int, fraction: float) -> int:
  if not 0.0 <= fraction < 1.0:
    raise ValueError(f'a split of fraction {fraction}: it is in [0, 1)')
  if not fraction:
    return 0
  return min(max(1, round(fraction * count)), count - 1)
