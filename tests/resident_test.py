"""A source in memory lies on the devices, and its batches are the same."""

import jax
import numpy as np
import pytest
import tiny

from mmjax import _experiment_feed as feeds
from mmjax import sharding
from mmjax.data import arrays, order, pairs

N, B = 21, 8


def source():
  rng = np.random.default_rng(0)
  image = rng.normal(size=(N, 3)).astype(np.float32)
  word = rng.normal(size=(4, 2)).astype(np.float32)
  label = np.arange(N, dtype=np.int32) % 4
  made = arrays.source({'image': image, 'word': word[label]}, label)
  return made._replace(
    pools={'image': image, 'word': word}, entries={'word': label}, labels=label
  )


def streamed(data, mesh, resident_gb, batch_size=B):
  run = feeds.stream(mesh=mesh, threads=0, ahead=1, resident_gb=resident_gb)
  rows = lambda step: order.rows(data.size, batch_size, 0, step)  # noqa: E731
  return list(run(data, rows, 0, 4, batch_size))


@pytest.mark.parametrize('devices', [1, 8])
@pytest.mark.parametrize('chosen', [False, True])
def test_batches_are_the_same_bit_for_bit(devices, chosen):
  mesh, data = sharding.make_mesh(data=devices), source()
  if chosen:
    data = pairs.keep(data, fraction=0.5, mismatched=0.5)
  held, read = streamed(data, mesh, 1.0), streamed(data, mesh, 0.0)
  assert len(held) == 4
  for a, b in zip(held, read):
    assert jax.tree.structure(a) == jax.tree.structure(b)
    assert tiny.same(a, b)
    assert a['image'].sharding == b['image'].sharding


def test_only_row_numbers_travel():
  taken, data = [], source()

  def take(rows):
    taken.append(len(rows))
    return source().take(rows)

  data = data._replace(take=take)
  mesh = sharding.make_mesh(data=1)
  streamed(data, mesh, 1.0)
  assert not taken
  streamed(data, mesh, 1e-9)  # too large for the devices
  assert taken
  taken.clear()
  streamed(data._replace(labels=None), mesh, 1.0)
  assert taken


def test_a_size_that_cannot_be():
  with pytest.raises(ValueError, match='resident_gb=-1.0 must be 0 or more'):
    feeds.stream(
      mesh=sharding.make_mesh(data=1), threads=0, ahead=1, resident_gb=-1.0
    )
