"""The columns of a data set of files: what a config asks for, what rows have."""

import inspect
import pathlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from mmjax import base
from mmjax.data import _kinds, _media, _npz, _tables
from mmjax.data._tables import Embedded


class Column(NamedTuple):
  """A modality: its kind, the columns it is in, how it is kept."""

  kind: str
  names: tuple[str, ...]
  options: Mapping[str, Any]
  kept: _kinds.Kind


KINDS = (
  *('fbank', 'spectrogram', 'waveform', 'frames', 'picture', 'text'),
  *('array', 'steps', 'numbers'),
)


def _npy(part: _kinds.Part) -> np.ndarray:
  if part.value is not None:
    return part.value
  assert part.file is not None
  try:
    x = np.load(part.file, allow_pickle=False)
  except _npz.BROKEN as error:
    raise _media.MediaError(part.file, f'is no array: {error}') from error
  if not isinstance(x, np.ndarray) or x.dtype.kind not in 'buif':
    raise _media.MediaError(part.file, 'is no array of numbers')
  return x


def _kind(
  kind: str, width: int, tokenizer: str, max_tokens: int
) -> Callable[..., _kinds.Kind] | None:
  """What makes it of its options, which are the parameters."""
  audio = _kinds.audio
  return {
    'fbank': lambda: audio('fbank'),
    'spectrogram': lambda seconds=3.0: audio('spectrogram', seconds=seconds),
    'waveform': lambda seconds=3.0: audio('waveform', seconds=seconds),
    'frames': lambda frames=3, size=256: _kinds.frames(frames, size),
    'picture': lambda size=256: _kinds.picture(size),
    'text': lambda: _kinds.text(tokenizer, max_tokens),
    'array': lambda shape: _kinds.array(tuple(shape), read=_npy),
    'steps': lambda shape, longest: _kinds.steps(tuple(shape), longest, _npy),
    'numbers': lambda: _kinds.array((width,)),
  }.get(kind)


def wanted(
  columns: Mapping[str, Mapping[str, Any]], tokenizer: str, max_tokens: int
) -> dict[str, Column]:
  """The modalities that a config asks for; ValueError if it cannot be."""
  if not columns:
    raise ValueError('files: columns names no modality.')
  found = {}
  for m, section in columns.items():
    place = f'files: columns.{m}'
    if m in (*base.RESERVED, 'name') or not m.isidentifier():
      raise ValueError(f'{place}: no modality can be called that; rename it.')
    if not isinstance(section, Mapping) or 'kind' not in section:
      raise ValueError(f'{place} is dict(kind=..), not {section!r}.')
    rest = dict(section)
    kind, names = rest.pop('kind'), rest.pop('column', m)
    names = (names,) if isinstance(names, str) else tuple(names)
    make = _kind(kind, len(names), tokenizer, max_tokens)
    if make is None:
      raise ValueError(f'{place}.kind={kind!r} is none of {", ".join(KINDS)}.')
    if len(names) != 1 and (kind != 'numbers' or not names):
      raise ValueError(f'{place}.column={names!r}: {kind!r} is of one column.')
    found[m] = Column(kind, names, rest, _called(make, rest, place))
  return found


def _called(
  make: Callable[..., _kinds.Kind], options: Mapping[str, Any], place: str
) -> _kinds.Kind:
  known = inspect.signature(make).parameters
  unknown = [name for name in options if name not in known]
  needed = [n for n, p in known.items() if p.default is p.empty]
  lacking = [name for name in needed if name not in options]
  if unknown or lacking:
    told = f'has no option {unknown[0]!r}' if unknown else f'needs {lacking[0]}'
    raise ValueError(f'{place} {told}; it takes {", ".join(known) or "none"}.')
  return make(**options)


def parts(
  raw: pathlib.Path,
  cells: Mapping[str, Any],
  wanted: Mapping[str, Column],
  place: str,
) -> tuple[dict[str, _kinds.Part], str]:
  """What a row has, and the first modality whose file is not there."""
  found = {}
  for m, column in wanted.items():
    held = cells[column.names[0]]
    if column.kind == 'numbers' or not isinstance(held, (list, Embedded)):
      texts = [_tables.cell(cells, name) for name in column.names]
      if not all(texts):
        continue
      if column.kind == 'text':
        found[m] = _kinds.Part(texts=(texts[0],))
        continue
      if column.kind == 'numbers':
        found[m] = _kinds.Part(value=_numbers(texts, column.names, place))
        continue
    if isinstance(held, Embedded) and held.content is not None:
      if column.kind in ('text', 'array', 'steps'):
        raise ValueError(
          f'{place}: {column.names[0]} holds a file, which {column.kind!r} is '
          "not made of: kind='picture', 'frames', or one of sound."
        )
      found[m] = _kinds.Part(value=held.content)
    elif isinstance(held, list):
      if column.kind not in ('array', 'steps'):
        raise ValueError(
          f'{place}: {column.names[0]} is a list, which {column.kind!r} is not '
          "made of: kind='array' or 'steps'."
        )
      found[m] = _kinds.Part(value=_array(held, column.names[0], place))
    else:
      file = raw / _tables.cell(cells, column.names[0])
      found[m] = _kinds.Part(file)
      if not file.is_file():
        return {}, m
  return found, ''


def _array(held: list, name: str, place: str) -> np.ndarray:
  try:
    return np.array(held, np.float32)
  except (ValueError, TypeError) as error:
    raise ValueError(f'{place}: {name} is no array: {error}') from error


def _numbers(
  cells: Sequence[str], names: Sequence[str], place: str
) -> np.ndarray:
  values = []
  for text, name in zip(cells, names):
    try:
      values.append(float(text))
    except ValueError:
      raise ValueError(f'{place}: {name}={text!r} is no number.') from None
  return np.array(values, np.float32)
