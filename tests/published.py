"""What the tests of published encoders share: goldens, files made of them."""

import functools
import pathlib
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import safetensors.numpy
from flax import traverse_util

from mmjax.base import Ragged
from mmjax.models import _layout, pretrained

GOLDEN = pathlib.Path(__file__).parent / 'golden'
KEY = jax.random.key(0)


class Golden(NamedTuple):
  """What `tests/golden` holds of an encoder with random weights."""

  weights: dict[str, np.ndarray]
  inputs: dict[str, np.ndarray]
  output: np.ndarray
  gradients: dict[str, np.ndarray]  # of its sum of squares, by weight


@functools.cache
def golden(name) -> Golden:
  with np.load(GOLDEN / f'{name}.npz') as file:
    stored = dict(file)
  output = stored.pop('output')
  parts = {}
  for part in ('input/', 'gradient/'):
    names = [n for n in stored if n.startswith(part)]
    parts[part] = {n.removeprefix(part): stored.pop(n) for n in names}
  return Golden(stored, parts['input/'], output, parts['gradient/'])


def shapes(module, x):
  return jax.eval_shape(lambda: module.init(KEY, x, np.ones(2, bool), False))


def filled(module, weights, x, folder):
  """Variables with the weights, by way of a file."""
  path = folder / 'weights.safetensors'
  weights = {n: np.ascontiguousarray(w) for n, w in weights.items()}
  safetensors.numpy.save_file(weights, path)
  variables = shapes(module, x)
  read = pretrained.load(str(path), module.layout(), variables, 'encoders.m')
  blank = jax.tree.map(lambda s: jnp.zeros(s.shape, s.dtype), variables)
  return _layout.fill(blank, read)


@functools.partial(jax.jit, static_argnums=0)
def run(module, variables, x):
  count = len(jax.tree.leaves(x)[0])
  return module.apply(variables, x, jnp.ones(count, bool), False)


def close(z, want, atol=1e-5):
  if isinstance(z, Ragged):
    z, want = (np.where(z.mask[..., None], v, 0) for v in (z.values, want))
  np.testing.assert_allclose(z, want, atol=atol)


def check_gradients(module, weights, gradients, x, folder):
  """Gradients, put where weights were, are read as these are."""
  assert gradients and not set(gradients) - set(weights)
  variables = filled(module, weights, x, folder)
  read = filled(module, {**weights, **gradients}, x, folder)

  def loss(variables):
    z = run(module, variables, x)
    if isinstance(z, Ragged):
      z = jnp.where(z.mask[..., None], z.values, 0)
    return jnp.sum(z**2)

  before, want, got = (
    traverse_util.flatten_dict(tree)
    for tree in (variables, read, jax.jit(jax.grad(loss))(variables))
  )
  changed = [path for path in want if (want[path] != before[path]).any()]
  assert changed
  for path in changed:
    atol = 1e-5 * np.abs(want[path]).max()
    np.testing.assert_allclose(got[path], want[path], atol=atol)
