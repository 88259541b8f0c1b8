"""Splits as lists of MMBT's format (Kiela et al., 2019), also QMF's and MLA's.

  train.jsonl, dev.jsonl, test.jsonl    lines such as
  {"id": "4141", "label": "neutral", "text": "..", "img": "data/4141.jpg"}

They are no part of the releases that they divide: who wants to compare with
work that used such lists puts all three into the raw folder.
"""

import pathlib
from typing import NamedTuple

from mmjax.data import _corpus, _raw

LISTS = {'train': 'train', 'dev': 'validation', 'test': 'test'}


class Listed(NamedTuple):
  split: str
  label: str


def lists(folder: pathlib.Path) -> dict[str, Listed]:
  """What the lists say of each picture, by its name without suffix.

  {} if there is no list. Raises ValueError if some of the three are missing,
  for a malformed line, and for a picture in two lists.
  """
  names = [f'{name}.jsonl' for name in LISTS]
  if not any((folder / name).is_file() for name in names):
    return {}
  _corpus.require(folder, names)
  found: dict[str, Listed] = {}
  for name, split in LISTS.items():
    path = folder / f'{name}.jsonl'
    for number, row in _raw.parse_lines(path):
      if not isinstance(row, dict) or not {'img', 'label'} <= set(row):
        raise ValueError(
          f"{path}, line {number}: it is no object with 'img' and 'label'."
        )
      picture = pathlib.PurePosixPath(str(row['img'])).stem
      if found.setdefault(picture, Listed(split, row['label'])).split != split:
        raise ValueError(
          f'{path}, line {number}: {picture!r} is in {split} and in '
          f'{found[picture].split}; an example belongs to one split.'
        )
  return found


def place(
  listed: dict[str, Listed], name: str, label: str, split: str = ''
) -> tuple[str, str]:
  """(split of an example, '') or ('', why it is left out)."""
  if not listed:
    return split, ''
  if name not in listed:
    return '', 'is in no list'
  if listed[name].label != label:
    return '', "its label is not the lists'"
  return listed[name].split, ''
