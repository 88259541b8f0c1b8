"""Reading what releases consist of: tables, lists, texts, with named errors."""

import csv
import io
import json
import pathlib
from collections.abc import Iterator, Sequence
from typing import Any

from mmjax.data import _corpus


def find(raw: pathlib.Path, *names: str) -> list[pathlib.Path]:
  """Each of these in the raw folder, or else in one of its folders.

  Raises ValueError, listing what is nowhere.
  """
  found = {}
  for name in names:
    places = [raw / name, *sorted(raw.glob(f'*/{name}'))]
    found[name] = next((path for path in places if path.exists()), raw / name)
  _corpus.require(raw, [str(p.relative_to(raw)) for p in found.values()])
  return list(found.values())


def text(path: pathlib.Path, encodings: Sequence[str] = ('utf-8-sig',)) -> str:
  """A text in the first of these encodings that it is valid in.

  Raises ValueError where it is in none.
  """
  content = path.read_bytes()
  for encoding in encodings:
    try:
      return content.decode(encoding)
    except UnicodeDecodeError:
      continue
  raise ValueError(f'{path} is no text in {" or ".join(encodings)}.')


def records(path: pathlib.Path) -> Iterator[tuple[int, list[str]]]:
  """(line, fields) of a CSV file, without its empty lines.

  A record of several lines goes by its last. Raises ValueError for one that is
  no CSV, with file and line.
  """
  reader = csv.reader(io.StringIO(text(path), newline=''))
  try:
    for fields in reader:
      if fields:
        yield reader.line_num, fields
  except csv.Error as error:
    raise ValueError(
      f'{path}, line {reader.line_num}: it is no CSV ({error}).'
    ) from error


def table(
  path: pathlib.Path, columns: Sequence[str]
) -> Iterator[tuple[int, dict[str, str]]]:
  """(line, {column: field}) of a CSV file with a header.

  Raises ValueError for a header that lacks a column, and for a record that has
  more or fewer fields than the header.
  """
  lines = records(path)
  _, header = next(lines, (0, []))
  lacking = [c for c in columns if c not in header]
  if lacking:
    raise ValueError(
      f'{path}, line 1: the header {",".join(header)!r} has no '
      f'{" and no ".join(lacking)}.'
    )
  for number, fields in lines:
    if len(fields) != len(header):
      raise ValueError(
        f'{path}, line {number}: it has {len(fields)} fields, not the '
        f'{len(header)} of the header {",".join(header)!r}.'
      )
    yield number, dict(zip(header, fields))


def parse(path: pathlib.Path) -> Any:
  """A JSON file. Raises ValueError with file and line where it is none."""
  return _parsed(path, text(path), 1)


def parse_lines(path: pathlib.Path) -> Iterator[tuple[int, Any]]:
  """(line, content) of a file with one JSON a line; raises as `parse` does."""
  for number, line in enumerate(text(path).split('\n'), start=1):
    if line.strip():
      yield number, _parsed(path, line, number)


def _parsed(path: pathlib.Path, content: str, first: int) -> Any:
  try:
    return json.loads(content)
  except json.JSONDecodeError as error:
    line = first + error.lineno - 1
    raise ValueError(
      f'{path}, line {line}: it is no JSON ({error.msg}).'
    ) from error
