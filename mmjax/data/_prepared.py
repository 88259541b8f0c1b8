"""Prepared data sets: opening them, and knowing whether they are the right ones.

Beside the shards lies `prepared.json`: the settings they were made with, what
was left out and why, and the size of every file.
"""

import json
import os
import pathlib
from collections.abc import Mapping
from typing import Any

import tensorflow_datasets as tfds

FACTS = 'prepared.json'


def exists(data_dir: str | os.PathLike, name: str, version: str) -> bool:
  """Whether there is a prepared set, whatever its settings."""
  path = location(pathlib.Path(data_dir).expanduser(), name, version)
  return read_facts(path) is not None


def load(
  data_dir: str | os.PathLike,
  name: str,
  version: str,
  settings: Mapping[str, Any],
  remedy: str,
) -> tfds.core.DatasetBuilder:
  """Opens a prepared data set.

  Raises ValueError, ending in `remedy`, if it is absent, damaged, or prepared
  with other settings.
  """
  path = location(pathlib.Path(data_dir).expanduser(), name, version)
  facts = read_facts(path)
  if facts is None:
    raise ValueError(f'There is no prepared {name!r} in {path}. {remedy}')
  other = 'Use those, or prepare into another data_dir.'
  check_settings(path, facts, settings, f'{other} {remedy}')
  damage = find_damage(path, facts)
  if damage:
    raise ValueError(f'The prepared data are damaged: {damage}. {remedy}')
  return tfds.builder_from_directory(path)


class StoredBytes(tfds.decode.SkipDecoding):
  """Leaves images as the bytes of their files, also inside a Sequence."""

  def decode_batch_example_np(self, example: Any) -> Any:
    return example


def location(root: pathlib.Path, name: str, version: str) -> pathlib.Path:
  return root / name / version


def read_facts(path: pathlib.Path) -> dict[str, Any] | None:
  try:
    return json.loads((path / FACTS).read_text())
  except FileNotFoundError:
    return None


def check_settings(
  path: pathlib.Path,
  facts: Mapping[str, Any],
  settings: Mapping[str, Any],
  remedy: str,
) -> None:
  """Raises ValueError, with the differences, if other settings were used."""
  have, want = facts['settings'], json.loads(json.dumps(dict(settings)))
  differ = [
    f'{key}: prepared {have.get(key)!r}, wanted {want.get(key)!r}'
    for key in sorted({*have, *want})
    if have.get(key) != want.get(key)
  ]
  if differ:
    raise ValueError(
      f'{path} was prepared with other settings ({"; ".join(differ)}). {remedy}'
    )


def find_damage(path: pathlib.Path, facts: Mapping[str, Any]) -> str:
  """The first file of the wrong size, or ''."""
  for name, size in facts['files'].items():
    file = path / name
    found = file.stat().st_size if file.exists() else 0
    if found != size:
      return f'{file} holds {found} bytes, not {size}'
  return ''
