"""Modality dropout: how much is hidden, from whom, and that nothing else is."""

import functools
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import tiny

from mmjax.methods import modality_dropout

KEY = jax.random.key(3)
PAIR = ('audio', 'text')
B = 40_000

hide = jax.jit(modality_dropout.hide)


@pytest.mark.parametrize('rate', [0.0, 0.3, 0.8, 1.0])
def test_modalities_are_hidden_as_told(rate):
  """Each combination of what is left is as frequent as it is likely."""
  for had in itertools.product((False, True), repeat=3):
    k = sum(had)
    present = {m: jnp.full(B, h) for m, h in zip(tiny.MODALITIES, had)}
    left = hide(KEY, present, rate)
    left_BM = np.stack([left[m] for m in tiny.MODALITIES], axis=1)
    assert not np.any(left_BM & ~np.array(had)[None])
    assert np.all(left_BM.any(1) == (k > 0))
    counted = 0
    for mask in itertools.product((False, True), repeat=3):
      n = sum(mask)
      if k and n and all(h or not x for h, x in zip(had, mask)):
        want = (1 - rate) ** n * rate ** (k - n) + (n == 1) * rate**k / k
        told = np.mean(np.all(left_BM == np.array(mask)[None], axis=1))
        assert abs(told - want) < 5 * np.sqrt(want * (1 - want) / B) + 1e-9
        counted += told
    assert counted == (pytest.approx(1) if k else 0)
    for m, h in zip(tiny.MODALITIES, had):
      if h:
        want = rate - rate**k / k
        assert abs(np.mean(~left[m]) - want) < 5 * np.sqrt(0.25 / B)


def test_examples_and_steps_are_drawn_independently():
  present = {m: jnp.ones(B, bool) for m in PAIR}
  keys = jax.random.split(KEY, 2)
  one, two = (hide(k, present, 0.5)['audio'] for k in keys)
  for a, b in [(one, two), (one[1:], one[:-1])]:
    assert abs(np.corrcoef(a, b)[0, 1]) < 5 / np.sqrt(B)


def world(method, **hyper):
  return tiny.world(method, 'sum', PAIR, tiny.PLAIN, **hyper)


@functools.cache
def init():
  return jax.jit(world('joint').init)(KEY)


def run(method, **hyper):
  """(state, metrics) after three steps with padding and absent modalities."""
  made, state = world(method, **hyper), init()
  step = jax.jit(made.method.phases['joint'].step)
  for t in range(3):
    has = {m: np.arange(tiny.BATCH) % 4 != i for i, m in enumerate(PAIR)}
    pad = {'present': has, 'mask': np.arange(tiny.BATCH) < 14}
    state, told = step(state, {**made.batch(t), **pad})
  return state, told


def test_a_rate_of_zero_is_joint_training():
  state, told = run('modality_dropout', rate=0.0, unimodal_weight=0.5)
  same_state, same_told = run('joint', unimodal_weight=0.5)
  tiny.close(state, same_state)
  assert all(told.pop(f'hidden/{m}') == 0 for m in PAIR)
  tiny.close(told, same_told)


def test_a_step_is_one_of_joint_training_on_what_is_left():
  ours, joint = world('modality_dropout', rate=0.6), world('joint')
  state, batch = init().replace(step=jnp.int32(5)), joint.batch(0)
  left = hide(joint.kit.key(state, 'method'), batch['present'], 0.6)
  shares = [np.mean(~left[m]) for m in PAIR]
  assert 0 < min(shares) and max(shares) < 1
  told, want = (
    jax.jit(made.method.phases['joint'].step)(state, b)
    for made, b in ((ours, batch), (joint, {**batch, 'present': left}))
  )
  tiny.close(told[0].params, want[0].params)
  hidden = [told[1][f'hidden/{m}'] for m in PAIR]
  np.testing.assert_allclose(hidden, shares, rtol=1e-6)
  out, same = (w.method.predict(state, batch) for w in (ours, joint))
  assert tiny.same(out, same)  # nothing is hidden at test time


@pytest.mark.parametrize('rate', [-0.1, 1.5, float('nan')])
def test_a_rate_is_a_probability(rate):
  with pytest.raises(ValueError, match='is a probability and must be in'):
    tiny.world('modality_dropout', 'sum', PAIR, rate=rate)
