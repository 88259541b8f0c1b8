"""String = file, section = call: from a config to bound functions."""

import difflib
import functools
import importlib
import inspect
import pathlib
import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from ml_collections import ConfigDict

_MAKE = re.compile(r'^(def make\(|make, )', re.MULTILINE)


def plain(config: ConfigDict | Mapping[str, Any]) -> dict[str, Any]:
  """The config as nested dicts and tuples."""
  if isinstance(config, ConfigDict):
    config = config.to_dict()
  return {k: _plain_value(v) for k, v in config.items()}


def _plain_value(value: Any) -> Any:
  if isinstance(value, Mapping):
    return {k: _plain_value(v) for k, v in value.items()}
  if isinstance(value, (list, tuple)):
    return tuple(_plain_value(v) for v in value)
  return value


def check_keys(
  function: Callable,
  section: Mapping[str, Any],
  place: str,
  given: Iterable[str] = (),
) -> None:
  """Raises ValueError if a section does not fit a function's keywords.

  Those that are `given` by the caller are none of the section's.
  """
  known = {
    p.name: p
    for p in inspect.signature(function).parameters.values()
    if p.kind == p.KEYWORD_ONLY and p.name not in given
  }
  for key in section:
    if key not in known:
      raise ValueError(
        f'{place}.{key} does not exist.{did_you_mean(key, known)} '
        f'{place} takes: {", ".join(known) or "nothing"}.'
      )
  missing = [
    name
    for name, p in known.items()
    if p.default is p.empty and name not in section
  ]
  if missing:
    raise ValueError(f'{place} lacks {", ".join(missing)}.')


def did_you_mean(name: str, known: Iterable[str]) -> str:
  close = difflib.get_close_matches(name, list(known), 1)
  return f' Did you mean {close[0]!r}?' if close else ''


def call(
  function: Callable, section: Mapping[str, Any], place: str, **given: Any
) -> Any:
  """function(**section, **given), with errors that name the place."""
  check_keys(function, section, place, given)
  return function(**section, **given)


def named(
  table: Mapping[str, Callable], section: Mapping[str, Any], place: str
) -> Callable:
  """The function of a table that section['name'] names, other keys bound."""
  name, rest = _split(section, place)
  if name not in table:
    raise ValueError(
      f'{place}.name={name!r} does not exist.{did_you_mean(name, table)} '
      f'Known: {", ".join(table)}.'
    )
  check_keys(table[name], rest, place)
  return functools.partial(table[name], **rest)


def lookup(
  package: str,
  section: Mapping[str, Any],
  place: str,
  given: Iterable[str] = (),
) -> Callable:
  """mmjax/<package>/<section['name']>.py: make, with the other keys bound.

  Args:
    package: such as 'methods'.
    section: of the config.
    place: of the section, for errors.
    given: keywords that the caller will add.

  Raises ValueError for an unknown name or key.
  """
  name, rest = _split(section, place)
  files = available(package)
  if name not in files:
    raise ValueError(
      f'{place}.name={name!r} is no file of mmjax/{package.replace(".", "/")}.'
      f'{did_you_mean(name, files)} There are: {", ".join(files)}.'
    )
  make = importlib.import_module(f'mmjax.{package}.{name}').make
  check_keys(make, rest, place, given)
  return functools.partial(make, **rest)


def available(package: str) -> list[str]:
  """Names of the files of a package that have a `make`."""
  folder = pathlib.Path(__file__).parent / package.replace('.', '/')
  return sorted(
    path.stem
    for path in folder.glob('*.py')
    if not path.stem.startswith('_') and _MAKE.search(path.read_text('utf8'))
  )


def _split(section: Mapping[str, Any], place: str) -> tuple[str, dict]:
  rest = dict(section)
  if 'name' not in rest:
    raise ValueError(f"{place} has no name: write {place} = dict(name='...').")
  return rest.pop('name'), rest
