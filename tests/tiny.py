"""A world small enough to build in a second, for tests of everything else."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from ml_collections import ConfigDict

from configs import common
from mmjax import _compose, optim
from mmjax import kit as kits
from mmjax.base import Batch, Kit, Method, Source
from mmjax.data import arrays, feed
from mmjax.models import net

MODALITIES = ('audio', 'visual', 'text')
CLASSES = 3
BATCH = 16
PER_EPOCH = 4

# A vector, a map and a sequence.
SHAPES = {'audio': (6,), 'visual': (3, 4), 'text': (5,)}
PLAIN = dict.fromkeys(MODALITIES, dict(name='mlp', hidden=()))
ENCODERS = PLAIN | {
  'audio': dict(name='mlp', hidden=(7,), norm='batch', dropout=0.1),
}


def raw(modalities=MODALITIES, count=160) -> tuple[dict[str, Any], np.ndarray]:
  """Classes that are easy to tell apart: ({m: values}, label i64[N]).

  'text' is ragged: (flat values, lengths).
  """
  rng = np.random.default_rng(0)
  label = np.arange(count) % CLASSES
  lengths = rng.integers(1, 4, count)
  inputs = {}
  for m in modalities:
    rows = np.repeat(label, lengths) if m == 'text' else label
    centers = rng.normal(size=(CLASSES, *SHAPES[m]))
    noise = 0.5 * rng.normal(size=(len(rows), *SHAPES[m]))
    values = (centers[rows] + noise).astype(np.float32)
    inputs[m] = (values, lengths) if m == 'text' else values
  return inputs, label


def source(modalities=MODALITIES) -> Source:
  return arrays.source(*raw(modalities))


def write(folder, modalities=MODALITIES) -> str:
  """The same as a `.npz`, with splits; returns its path."""
  inputs, label = raw(modalities)
  split = np.maximum(np.arange(len(label)) % 5 - 2, 0)
  fields = {'label': label, 'split': split, **inputs}
  if 'text' in inputs:
    fields['text'], fields['text_len'] = inputs['text']
  path = f'{folder}/{"_".join(modalities)}.npz'
  np.savez(path, **fields)
  return path


def config(path, modalities=MODALITIES, **sections) -> ConfigDict:
  """A whole config on one device; `sections` replace those of the default."""
  config = common.get_config()
  config.data = dict(name='arrays', path=path, modalities=modalities)
  config.encoders = {m: ENCODERS[m] for m in modalities}
  config.width = 8
  config.phases = (('lap', 2),)
  config.optim = dict(name='sgd', lr=0.1)
  config.schedule = dict(name='constant')
  config.batch_size = config.eval_batch_size = BATCH
  config.evals = dict(classification={})
  config.mesh = dict(data=1, seed=1)
  config.reader = dict(threads=0, ahead=1)
  for name, section in sections.items():
    config[name] = section
  return config


class World(NamedTuple):
  """A method on its net and data, without a config."""

  kit: Kit
  method: Method
  init: Callable  # key -> state
  source: Source

  def batch(self, step: int, size: int = BATCH) -> Batch:
    """A full batch, of other rows each step."""
    rows = (np.arange(size) + step * size) % self.source.size
    return jax.tree.map(jnp.asarray, feed.load(self.source, rows, size))


# Of the heads that are large as published; what a test asks of every head does
# not depend on it.
SMALL = {'mmin': dict(layers=(8,), hidden=(8,), blocks=2)}


def world(
  method: str,
  head: str = 'shared',
  modalities=MODALITIES,
  encoders=ENCODERS,
  optimizer: optim.Optimizer | None = None,
  per_epoch: int = PER_EPOCH,
  **hyper,
) -> World:
  """Nothing is compiled yet, so this takes no time."""
  optimizer = optimizer or optim.sgd(lr=0.1, weight_decay=1e-3)
  data = source(modalities)
  make_head = _compose.lookup(
    'models.fusion',
    dict(name=head, **SMALL.get(head, {})),
    'head',
    ('modalities', 'num_classes'),
  )
  modules = {
    m: _compose.lookup('models', {'width': 8, **encoders[m]}, m)()
    for m in modalities
  }
  network = net.compose(
    modules, make_head(modalities=modalities, num_classes=CLASSES)
  )
  kit = kits.make(
    network,
    optimizer,
    optim.constant(optimizer.lr, optim.Clock(per_epoch, 10 * per_epoch)),
    modalities=modalities,
    class_names=data.class_names,
    num_examples=data.size,
    steps_per_epoch=per_epoch,
    head=head,
  )
  made = _compose.lookup('methods', dict(name=method, **hyper), method)(kit)
  first = feed.load(data, np.arange(1), None)

  def init(key, weights={}):  # noqa: B006 (never written)
    return kits.init(network, optimizer, made, first, key, weights)

  return World(kit, made, init, data)


def absent(batch: Batch, *modalities: str) -> Batch:
  """The batch with nobody having these modalities."""
  has = dict(batch['present'])
  for m in modalities:
    has[m] = jnp.zeros_like(has[m])
  return {**batch, 'present': has}


def same(a, b) -> bool:
  """Whether two trees are equal bit for bit (NaN equals NaN)."""
  leaves = [jax.tree.leaves(_data(tree)) for tree in (a, b)]
  assert len(leaves[0]) == len(leaves[1])
  return all(
    np.asarray(x).tobytes() == np.asarray(y).tobytes() for x, y in zip(*leaves)
  )


def close(a, b, **tolerance) -> None:
  """Asserts that two trees of numbers agree."""
  tolerance = tolerance or dict(rtol=1e-5, atol=1e-5)
  jax.tree.map(
    lambda x, y: np.testing.assert_allclose(x, y, **tolerance),
    _data(a),
    _data(b),
  )


def finite(tree) -> bool:
  return all(np.isfinite(x).all() for x in jax.tree.leaves(_data(tree)))


def _data(tree):
  """PRNG keys as the numbers they are."""
  is_key = lambda x: jnp.issubdtype(x.dtype, jax.dtypes.prng_key)  # noqa: E731
  return jax.tree.map(
    lambda x: jax.random.key_data(x) if is_key(x) else x, tree
  )
