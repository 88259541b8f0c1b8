"""Augmentation that makes views for self-supervised learning."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import tiny

from mmjax import experiment
from mmjax.base import Ragged
from mmjax.data import augment

KEY = jax.random.key(0)


def speech(size=4, longest=12, bands=6):
  rng = np.random.default_rng(0)
  values = rng.normal(size=(size, longest, bands)).astype(np.float32)
  mask = np.arange(longest) < np.array([12, 9, 5, 1])[:, None]
  return Ragged(jnp.asarray(values * mask[:, :, None]), jnp.asarray(mask))


def viewed(section, x, key=KEY):
  made = augment.compose({'x': section})
  batch = {'x': x, 'index': jnp.arange(len(jax.tree.leaves(x)[0]))}
  assert tiny.same(made.eval(batch)['x'], x)
  return jax.jit(made.train)(key, batch)['x']


def test_a_voice_at_rest_is_itself():
  x = speech()
  out = viewed(dict(name='voice', speed=(1, 1), bands=0, tilt=0, noise=0), x)
  # Up to a tenth may be cut off its ends: what is left is a part of it.
  for before, after in zip(x.values, out.values):
    rows = {tuple(r) for r in np.asarray(before).round(4)}
    kept = [tuple(r) for r in np.asarray(after).round(4) if np.any(r)]
    assert kept and set(kept) <= rows


def test_a_voice_moves_its_bands_and_keeps_its_mask():
  x = speech()
  ramp = x._replace(
    values=jnp.where(x.mask[:, :, None], jnp.arange(6.0)[None, None], 0)
  )
  still = dict(name='voice', speed=(1, 1), tilt=0, noise=0)
  out = viewed(dict(still, bands=2.0), ramp)
  moved = np.asarray(out.values[:, 0]) - np.arange(6)
  inside = moved[:, 2:4]  # away from the edges a ramp moves by one number
  assert np.ptp(inside, axis=1).max() < 1e-5
  assert 0 < np.abs(inside).max() <= 2
  loud = viewed(dict(still, bands=0.0, tilt=0.5), ramp)
  change = np.asarray(loud.values[:, 0]) - np.arange(6)
  assert np.abs(np.diff(change, 2, axis=1)).max() < 1e-5  # a line over bands
  assert 0 < np.abs(change).max() <= 1.0
  noisy = viewed(dict(still, bands=0.0, noise=1.0), ramp)
  assert not np.any(np.where(noisy.mask[:, :, None], 0, noisy.values))


def test_a_picture_moves_by_pixels():
  x = jnp.zeros((64, 9, 9, 1)).at[:, 4, 4].set(1.0)
  still = viewed(dict(name='picture', pixels=0, contrast=0, noise=0), x)
  tiny.close(still, x)
  moved = np.asarray(viewed(dict(name='picture', pixels=2, noise=0), x))
  place = np.arange(9)
  weight = moved[..., 0] / moved[..., 0].sum((1, 2), keepdims=True)
  centre = np.stack(
    [(weight.sum(2) * place).sum(1), (weight.sum(1) * place).sum(1)]
  )
  assert np.abs(centre - 4).max() <= 2.01
  assert np.abs(centre - 4).max(1).min() > 1  # both ways, some far
  assert np.std(moved.sum((1, 2, 3))) > 0.05  # the contrast


def test_tokens_are_replaced_and_padding_is_not():
  ids = jnp.tile(jnp.array([[3, 4, 5, 0, 0]]), (400, 1))
  out = np.asarray(viewed(dict(name='tokens', replace=0.25, vocab=9), ids))
  assert not out[:, 3:].any()
  assert out[:, :3].min() >= 1 and out[:, :3].max() <= 8
  changed = np.mean(out[:, :3] != np.asarray(ids)[:, :3])
  assert abs(changed - 0.25 * 7 / 8) < 0.04
  same = viewed(dict(name='tokens', replace=0.0), ids)
  assert tiny.same(same, ids)


WRONG = [
  (dict(name='voice', noise=-1.0), speech(), 'none may be negative'),
  (dict(name='picture', pixels=-1), jnp.zeros((2, 4, 4, 1)), 'none may be neg'),
  (dict(name='picture'), jnp.zeros((2, 4)), r'wants floats \[B, H, W, C\]'),
  (dict(name='tokens', replace=2.0), jnp.ones((2, 4), int), 'a probability'),
  (dict(name='tokens'), jnp.ones((2, 4)), r'wants ids, integers \[B, L\]'),
  (dict(name='voice'), jnp.ones((2, 4)), 'wants ragged float sequences'),
]


@pytest.mark.parametrize('section, x, told', WRONG)
def test_what_cannot_be(section, x, told):
  with pytest.raises(ValueError, match=told):
    viewed(section, x)


def test_a_phase_sees_as_many_views_as_it_asks_for(tmp_path):
  """Two views of a step differ, and row i of both is of one example."""
  pair = ('audio', 'visual')
  config = tiny.config(
    tiny.write(tmp_path, pair),
    pair,
    head=dict(name='late'),
    method=dict(name='simclr'),
    phases=(('pretrain', 1),),
    augment=dict(audio=dict(name='standardize')),
    evals=dict(gap={}),
  )
  config.run.watch = 'gap/gap/audio-visual'
  exp, seen = experiment.build(config), []
  phase = exp.method.phases['pretrain']
  assert phase.views == 2

  def look(state, batch):
    seen.append(batch)
    return jax.jit(phase.step)(state, batch)

  watched = phase._replace(step=look)

  def noisy(key, batch):
    moved = batch['audio'] + jax.random.normal(key, batch['audio'].shape)
    return {**batch, 'audio': moved}

  transform = augment.Transform(noisy, lambda batch: batch)
  step = experiment._augmented(exp.kit, watched, transform)
  batch = exp.batch()
  state, metrics = step(exp.init(KEY), batch)
  (both,) = seen
  first, second = np.split(np.asarray(both['audio']), 2)
  assert len(first) == tiny.BATCH and not np.allclose(first, second)
  np.testing.assert_array_equal(*np.split(np.asarray(both['index']), 2))
  np.testing.assert_array_equal(*np.split(np.asarray(both['visual']), 2))
  assert np.isfinite(metrics['loss']) and int(state.step) == 1
  assert tiny.same(state.params['head'], exp.init(KEY).params['head'])
