"""What a pickle of data may call, in forms that check what they are given.

NumPy's own functions are not called: given a state that no NumPy wrote, they
read beyond it or end the process. Nor do these make what is larger than what
it is made of.
"""

import math
import re
from collections import OrderedDict
from collections.abc import Callable
from typing import Any

import numpy as np

_DTYPE = re.compile(r'[biufcSU?]\d{0,9}')
_KEYS = (str, bytes, int, float, complex, type(None), np.number, np.bool_)


class Refused(ValueError):
  """A pickle that asks for something else than data."""


class Dtype:
  """A dtype in the making: `dtype(text, False, True)`, then its state."""

  __slots__ = ('dtype',)
  __hash__ = None  # type: ignore[assignment]

  def __init__(self, text: Any, *flags: Any):
    if len(flags) > 2 or not isinstance(text, str):
      raise ValueError('a dtype is not given as NumPy does')
    if re.fullmatch(r'O\d?', text):
      self.dtype = np.dtype(object)
    elif _DTYPE.fullmatch(text):
      self.dtype = np.dtype(text)
    else:
      raise Refused(f'holds arrays of the dtype {text[:40]!r}')

  def build(self, state: Any) -> None:
    _, order, subdtype, names, fields, *_ = state
    if not (subdtype is names is fields is None):
      raise Refused('holds arrays of a dtype with fields')
    if order in ('<', '>'):
      self.dtype = self.dtype.newbyteorder(order)


class Array:
  """An array in the making: first nothing, then its state, once."""

  __slots__ = ('value',)
  __hash__ = None  # type: ignore[assignment]

  def __init__(self, kind: Any, shape: Any, letter: Any):
    if kind is not NDARRAY or shape != (0,) or letter not in (b'b', 'b'):
      raise ValueError('an array does not begin as those of NumPy')
    self.value = None

  def build(self, state: Any) -> None:
    _, shape, dtype, fortran, content = state
    if self.value is not None:
      raise ValueError('an array is made twice')
    self.value = _array(content, dtype, shape, 'F' if fortran else 'C')


def _array(content: Any, dtype: Any, shape: Any, order: Any) -> np.ndarray:
  """An array of bytes, or of a list of objects, as large as it must be."""
  if type(shape) is not tuple or not all(
    type(n) is int and n >= 0 for n in shape
  ):
    raise ValueError('the shape of an array is none')
  dtype, size = dtype.dtype, math.prod(shape)
  if isinstance(content, str):  # of Python 2
    content = content.encode('latin1')
  given = len(content)
  if given != size * (1 if dtype.hasobject else dtype.itemsize):
    raise ValueError(f'{given} bytes or objects are no array of {shape}')
  if dtype.hasobject:
    flat = np.empty(size, object)
    for i, item in enumerate(checked(content, list)):
      flat[i] = item
  elif size:
    flat = np.frombuffer(checked(content, bytes, bytearray), dtype)
  else:
    flat = np.zeros(0, dtype)
  if dtype.kind == 'U' and size and _codes(flat).max() > 0x10FFFF:
    raise ValueError('an array of texts holds what is no letter')
  return flat.reshape(shape, order=checked(order, str))


def _codes(flat: np.ndarray) -> np.ndarray:
  return flat.view(flat.dtype.byteorder.replace('|', '=') + 'u4')


def checked(value: Any, *types: type) -> Any:
  if type(value) not in types:
    raise ValueError(f'{type(value).__name__} is not what belongs there')
  return value


def _scalar(dtype: Any, content: Any) -> np.generic:
  if dtype.dtype.hasobject:
    raise Refused('holds a scalar that is an object')
  return _array(content, dtype, (1,), 'C')[0]


def _from_buffer(content: Any, dtype: Any, shape: Any, order: Any) -> Array:
  array = Array(NDARRAY, (0,), 'b')
  array.value = _array(content, dtype, shape, order)
  return array


def _encode(text: Any, encoding: Any) -> bytes:
  if encoding not in ('latin1', 'latin-1'):
    raise Refused(f'asks for the encoding {encoding!r:.40}')
  return checked(text, str).encode('latin1')


def _bytearray(*args: Any) -> bytearray:
  if len(args) == 2:
    args = (_encode(*args),)
  return bytearray(checked(args[0], bytes) if args else b'')


def _set(*items: Any) -> set:
  return set(map(key, checked(items[0], list, tuple) if items else ()))


def _ordered(*items: Any) -> OrderedDict:
  pairs = checked(items[0], list) if items else []
  return OrderedDict((key(name), value) for name, value in pairs)


def key(value: Any) -> Any:
  """What may be a key: to hash what is long or nested may take forever."""
  inner = value if type(value) is tuple else (value,)
  for part in inner:
    if not isinstance(part, _KEYS) or len(inner) > 8:
      raise ValueError(f'a key or member is a {type(part).__name__}')
    if type(part) is int and part.bit_length() > 64:
      raise ValueError('a key or member is a number of more than 64 bits')
  return value


class Call:
  """One of the functions that a pickle of data may ask for."""

  __slots__ = ('function',)

  def __init__(self, function: Callable):
    self.function = function


NDARRAY = object()  # stands for the class, which is named but never called
_FUNCTIONS: dict[str, Callable] = {
  '_codecs.encode': _encode,
  'collections.OrderedDict': _ordered,
  'numpy.dtype': Dtype,
}
for _builtins in ('builtins', '__builtin__'):
  _FUNCTIONS |= {
    f'{_builtins}.set': _set,
    f'{_builtins}.frozenset': lambda *items: frozenset(_set(*items)),
    f'{_builtins}.bytearray': _bytearray,
    f'{_builtins}.bytes': lambda *args: bytes(_bytearray(*args)),
    f'{_builtins}.complex': lambda a, b: complex(
      checked(a, float), checked(b, float)
    ),
  }
for _core in ('numpy.core', 'numpy._core'):
  _FUNCTIONS |= {
    f'{_core}.multiarray._reconstruct': Array,
    f'{_core}.multiarray.scalar': _scalar,
    f'{_core}.numeric._frombuffer': _from_buffer,
  }
KNOWN = {name: Call(f) for name, f in _FUNCTIONS.items()}
