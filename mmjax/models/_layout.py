"""Where published files keep the weights of an encoder, as a table of rules."""

from collections.abc import Container, Mapping, Sequence
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np
from flax import traverse_util

from mmjax.base import Array

Path = tuple[str, ...]
Name = str | tuple[str, str]


class Rule(NamedTuple):
  """One array of ours and where it comes from.

  how: 'same'; 'linear', PyTorch's [out, in] as [in, out]; 'conv', [out, in,
    kernel ..] as [kernel .., in, out]; 'linear:0' to 'linear:2' and 'same:0' to
    'same:2', a third of what queries, keys and values share; 'positions:k', one
    vector per place, of which the first k are of no patch
  layer: 0 for the embeddings, then 1 .. L; what has no rule lies above them

  Of a pair of names, the first is of an array that gives directions alone, the
  second of their lengths: see `whole`.
  """

  path: Path  # in the variables: 'params', then modules
  names: tuple[Name, ...]  # in the file, without prefix; any of them will do
  how: str
  layer: int

  def among(self, names: Container[str], prefix: str = '') -> tuple[str, ...]:
    """The first of its names that is there, or pair of them; () if none is."""
    for name in self.names:
      parts = (name,) if isinstance(name, str) else name
      if all(prefix + part in names for part in parts):
        return parts
    return ()


class Layout(NamedTuple):
  """All of an encoder.

  prefixes: what may stand before every name of a file
  ignored: beginnings of names that an encoder has no use for: heads, poolers
  """

  rules: Sequence[Rule]
  prefixes: tuple[str, ...] = ('',)
  ignored: tuple[str, ...] = ()

  @property
  def layers(self) -> int:
    return max(rule.layer for rule in self.rules)


def linear(
  path: Path,
  name: str,
  layer: int,
  *,
  bias: bool = True,
  third: int | None = None,
) -> list[Rule]:
  """A Dense layer."""
  part = '' if third is None else f':{third}'
  found = [Rule((*path, 'kernel'), (f'{name}.weight',), f'linear{part}', layer)]
  if bias:
    found.append(Rule((*path, 'bias'), (f'{name}.bias',), f'same{part}', layer))
  return found


def conv(path: Path, name: str, layer: int, *, bias: bool = True) -> list[Rule]:
  """A convolution."""
  found = [Rule((*path, 'kernel'), (f'{name}.weight',), 'conv', layer)]
  if bias:
    found.append(Rule((*path, 'bias'), (f'{name}.bias',), 'same', layer))
  return found


def norm(path: Path, name: str, layer: int) -> list[Rule]:
  """A LayerNorm; files of TensorFlow's days say gamma and beta."""
  return [
    Rule((*path, 'scale'), (f'{name}.weight', f'{name}.gamma'), 'same', layer),
    Rule((*path, 'bias'), (f'{name}.bias', f'{name}.beta'), 'same', layer),
  ]


def batch_norm(path: Path, name: str, layer: int) -> list[Rule]:
  """A BatchNorm with its running statistics; `path` is of its parameters."""
  stats = ('batch_stats', *path[1:])
  return [
    Rule((*path, 'scale'), (f'{name}.weight',), 'same', layer),
    Rule((*path, 'bias'), (f'{name}.bias',), 'same', layer),
    Rule((*stats, 'mean'), (f'{name}.running_mean',), 'same', layer),
    Rule((*stats, 'var'), (f'{name}.running_var',), 'same', layer),
  ]


def embedding(path: Path, name: str) -> list[Rule]:
  """A table of vectors."""
  return [Rule((*path, 'embedding'), (f'{name}.weight',), 'same', 0)]


def whole(array: np.ndarray, length: np.ndarray | None = None) -> np.ndarray:
  """An array, or the one of two that weight norm makes f32[..].

  Salimans and Kingma 2016: `array` then gives directions. A vector is what
  shares an entry of `length`, which has a 1 for every axis that vectors run
  along. Raises ValueError where that does not fit.
  """
  if length is None:
    return array
  v, length = array.astype(np.float32), length.astype(np.float32)
  pairs = list(zip(v.shape, length.shape))
  if v.ndim != length.ndim or any(b not in (1, a) for a, b in pairs):
    raise ValueError(f'lengths {length.shape} are not of vectors in {v.shape}')
  along = tuple(axis for axis, (_, b) in enumerate(pairs) if b == 1)
  square = np.sum(v**2, axis=along, keepdims=True)
  return v * (length / np.sqrt(square))


def flat(tree: Mapping) -> dict[Path, Any]:
  """The arrays of nested dicts by their paths."""
  return traverse_util.flatten_dict(dict(tree))


def fill(variables: Mapping, weights: Mapping[str, Array]) -> dict:
  """The variables with what `pretrained.load` has read in place of what they held."""
  filled = flat(variables)
  for name, value in weights.items():
    path = tuple(name.split('/'))
    if path not in filled:  # it rests
      path = ('frozen', *path[1:])
    filled[path] = jnp.asarray(value, filled[path].dtype)
  return traverse_util.unflatten_dict(filled)
