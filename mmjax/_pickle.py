"""Pickle files of data, read without running anything that they ask for.

A pickle is a program: it names functions, and loading it calls them. Here it
is read by an interpreter that has only the steps which build data, and knows
of all functions only those by which pickles of arrays and plain containers are
made. All else is refused.
"""

import io
import os
import pickle
from collections import OrderedDict
from typing import Any

from mmjax import _pickle_calls as _calls
from mmjax._pickle_calls import Refused

_HARMLESS = (
  *('PROTO', 'FRAME', 'STOP', 'MARK', 'POP', 'POP_MARK', 'DUP', 'MEMOIZE'),
  *('GET', 'BINGET', 'LONG_BINGET', 'PUT', 'BINPUT', 'LONG_BINPUT'),
  *('NONE', 'NEWTRUE', 'NEWFALSE', 'INT', 'BININT', 'BININT1', 'BININT2'),
  *('LONG', 'LONG1', 'LONG4', 'FLOAT', 'BINFLOAT'),
  *('STRING', 'BINSTRING', 'SHORT_BINSTRING', 'UNICODE', 'BINUNICODE'),
  *('SHORT_BINUNICODE', 'BINUNICODE8'),
  *('BINBYTES', 'SHORT_BINBYTES', 'BINBYTES8'),
  *('TUPLE', 'TUPLE1', 'TUPLE2', 'TUPLE3', 'EMPTY_TUPLE'),
  *('EMPTY_LIST', 'LIST', 'EMPTY_DICT', 'EMPTY_SET'),
  *('GLOBAL', 'STACK_GLOBAL'),  # through `find_class`
)
_OURS = (
  *('REDUCE', 'BUILD', 'INST', 'BYTEARRAY8', 'APPEND', 'APPENDS', 'SETITEM'),
  *('SETITEMS', 'DICT', 'ADDITEMS', 'FROZENSET'),
)
_REFUSED = (
  *('PERSID', 'BINPERSID', 'OBJ', 'NEWOBJ', 'NEWOBJ_EX', 'EXT1', 'EXT2'),
  *('EXT4', 'NEXT_BUFFER', 'READONLY_BUFFER'),
)
# Python's own, in Python: the C one calls what it finds, whoever asks.
_Interpreter: Any = pickle._Unpickler  # type: ignore[attr-defined]


def load(path: os.PathLike | str) -> Any:
  """Reads a file of arrays, NumPy scalars and plain Python data.

  Strings of Python 2 are read as latin-1. Arrays may be read-only, and in
  another byte order. Raises ValueError, naming the file, for one that asks for
  anything else or is damaged.
  """
  name = os.fspath(path)
  try:
    with open(path, 'rb') as file:
      return _resolve(_Reader(_Bounded(file)).load(), {})
  except OSError:
    raise
  except Refused as error:
    raise ValueError(
      f'{name} {error}. It is not read, since this could run code; nothing of '
      'it was executed. Only arrays and plain data are read from pickles.'
    ) from None
  except Exception as error:  # what garbage ends in cannot be listed
    raise ValueError(
      f'{name} is no pickle of data, or is damaged '
      f'({type(error).__name__}: {error!s:.200}); nothing of it was executed.'
    ) from None


class _Bounded:
  """A file of which no more can be asked than there is."""

  def __init__(self, file: io.BufferedReader):
    self.size = self._left = os.fstat(file.fileno()).st_size
    self._file = file

  def read(self, size: int) -> bytes:
    if not 0 <= size <= self._left:
      raise EOFError(f'{size} bytes are announced, {self._left} are left')
    self._left -= size
    return self._file.read(size)

  def readline(self) -> bytes:
    line = self._file.readline()
    self._left -= len(line)
    return line


class _Reader(_Interpreter):
  """Without the steps that do more than build data."""

  def __init__(self, file: _Bounded):
    super().__init__(file, encoding='latin1')
    self._copies = 8 * file.size + 65536  # bytes and items that calls may copy

  def _spend(self, values: tuple) -> None:
    counted = (str, bytes, bytearray, list)
    self._copies -= sum(len(v) for v in values if isinstance(v, counted))
    if self._copies < 0:
      raise ValueError('it copies the same content again and again')

  def find_class(self, module: str, name: str) -> Any:
    asked = f'{module}.{name}'
    if asked == 'numpy.ndarray':
      return _calls.NDARRAY
    if asked not in _calls.KNOWN:
      raise Refused(f'asks for {ascii(asked[:120])[1:-1]}, which is not data')
    return _calls.KNOWN[asked]

  def load_reduce(self) -> None:
    args, call = self.stack.pop(), self.stack[-1]
    if type(call) is not _calls.Call:
      raise Refused(f'calls a {type(call).__name__}')
    self._spend(_calls.checked(args, tuple))
    self.stack[-1] = call.function(*args)

  def load_build(self) -> None:
    state, made = self.stack.pop(), self.stack[-1]
    if type(made) not in (_calls.Array, _calls.Dtype):
      raise Refused(f'sets the state of a {type(made).__name__}')
    self._spend(_calls.checked(state, tuple))
    made.build(state)

  def load_inst(self) -> None:
    module, name = (self.readline()[:-1].decode('latin1') for _ in range(2))
    self.find_class(module, name)
    raise Refused(f'asks for an instance of {module}.{name}')

  def load_bytearray8(self) -> None:
    size = int.from_bytes(self.read(8), 'little')
    self.append(bytearray(self.read(size)))

  def load_append(self) -> None:
    value = self.stack.pop()
    _calls.checked(self.stack[-1], list).append(value)

  def load_appends(self) -> None:
    items = self.pop_mark()
    _calls.checked(self.stack[-1], list).extend(items)

  def _set(self, target: dict, items: list) -> None:
    for key, value in zip(items[::2], items[1::2], strict=True):
      target[_calls.key(key)] = value

  def load_setitem(self) -> None:
    items = [self.stack.pop(-2), self.stack.pop()]
    self._set(_calls.checked(self.stack[-1], dict, OrderedDict), items)

  def load_setitems(self) -> None:
    items = self.pop_mark()
    self._set(_calls.checked(self.stack[-1], dict, OrderedDict), items)

  def load_dict(self) -> None:
    items = self.pop_mark()
    self.append({})
    self._set(self.stack[-1], items)

  def load_additems(self) -> None:
    items = self.pop_mark()
    _calls.checked(self.stack[-1], set).update(map(_calls.key, items))

  def load_frozenset(self) -> None:
    items = self.pop_mark()  # before `append`, which it changes
    self.append(frozenset(map(_calls.key, items)))


def _refuse(step: str):
  def refuse(_: Any):
    raise Refused(f'has a step {step}, which makes more than data')

  return refuse


def _code(step: str) -> int:
  return getattr(pickle, step)[0]


_Reader.dispatch = {
  **{_code(s): _Interpreter.dispatch[_code(s)] for s in _HARMLESS},
  **{_code(s): getattr(_Reader, f'load_{s.lower()}') for s in _OURS},
  **{_code(s): _refuse(s) for s in _REFUSED},
}


def _resolve(value: Any, seen: dict[int, tuple[Any, Any]]) -> Any:
  """What was read, with the arrays in the place of what they were made in.

  `seen` has what was met by its id, and keeps it, so that no id comes again.
  """
  if id(value) in seen:
    return seen[id(value)][1]
  kind = type(value)
  if kind is _calls.Dtype:
    return value.dtype
  if kind is _calls.Array:
    array = value.value
    if array is None:
      raise ValueError('an array has no content')
    seen[id(value)] = value, array
    if array.dtype.hasobject:
      for i, item in enumerate(array.flat):
        array.flat[i] = _resolve(item, seen)
    return array
  if kind in (list, dict, OrderedDict):
    seen[id(value)] = value, value
    for key in range(len(value)) if kind is list else value:
      value[key] = _resolve(value[key], seen)
  elif kind is tuple:
    result = tuple([_resolve(item, seen) for item in value])
    seen[id(value)] = value, result
    return result
  elif kind is _calls.Call or value is _calls.NDARRAY:
    raise Refused('holds a function or a class')
  return value
