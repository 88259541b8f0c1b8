"""What is particular to a data set of files: its release."""

import pathlib
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

from mmjax.data._kinds import Kind, Part


class Entry(NamedTuple):
  """One example as its release has it; what it lacks is not in `parts`."""

  label: int
  parts: Mapping[str, Part]
  split: str = ''  # as published; '' is to be drawn
  group: str = ''  # the person or recording it is of


class Found(NamedTuple):
  """What a raw folder holds: examples by name, and what was left out, and why.

  `class_names` are those of a release that does not fix them; they are kept
  with the prepared data.
  """

  entries: dict[str, Entry]
  skipped: dict[str, str]
  class_names: Sequence[str] = ()


class Draw(NamedTuple):
  """How splits are drawn where the release has none.

  `by` is 'entry', class by class, or 'group', so that none is in two splits.
  A release with a test part keeps it; where it has no validation part, one is
  drawn from training. `test` is a share of all, `validation` of what is left.
  """

  by: str = 'entry'
  test: float = 0.1
  validation: float = 0.1
  seed: int = 0


class Corpus(NamedTuple):
  """What is particular to a data set of files.

  scan:   raw folder -> `Found`. Raises ValueError where it is not the release
  render: writes a small one of the same layout into an empty folder
  """

  name: str
  version: str  # raise it when what is kept of the same files changes
  class_names: Sequence[str]  # () if the raw files say: `Found.class_names`
  kinds: Mapping[str, Kind]
  scan: Callable[[pathlib.Path], Found]
  render: Callable[[pathlib.Path], None]
  draw: Draw = Draw()
  reading: tuple[str, ...] = ()  # arguments that do not touch what is kept


def require(raw: pathlib.Path, names: Sequence[str]) -> None:
  """Raises ValueError listing what a raw folder lacks of these."""
  missing = [name for name in names if not (raw / name).exists()]
  if missing:
    more = f', and {len(missing) - 10} more' if len(missing) > 10 else ''
    raise ValueError(
      f'{raw} lacks {len(missing)} of {len(names)} things that the release has: '
      f'{", ".join(missing[:10])}{more}. Is it downloaded and unpacked in full?'
    )
