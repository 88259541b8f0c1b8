"""Streaming: what a push predicts is what the model says of that window."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import tiny

from mmjax import streaming
from mmjax.base import Outputs, Ragged

RATE = {'inertial': 3, 'depth': 2}  # steps that a push brings
W = {'inertial': 7, 'depth': 4}
SHAPE = {'inertial': (2,), 'depth': (3, 3)}
S = 2


def batch():
  rng = np.random.default_rng(0)
  values = {m: rng.normal(size=(S, W[m], *SHAPE[m])) for m in W}
  values = {m: v.astype(np.float32) for m, v in values.items()}
  values['inertial'] = Ragged(values['inertial'], np.ones((S, 7), bool))
  everyone = {m: np.ones(S, bool) for m in W}
  return {**values, 'label': np.zeros(S, int), 'present': everyone}


def predict(state, batch):
  """Order and place in a window, and what is missing, all show."""
  x, mask = batch['inertial']
  weight = jnp.arange(1, x.shape[1] + 1)[None] * mask
  z = {
    'inertial': jnp.einsum('sw,swd->sd', weight, x),
    'depth': jnp.einsum('w,swij->si', 1.0 + jnp.arange(4), batch['depth']),
  }
  z = {m: jnp.where(batch['present'][m][:, None], v, 0) for m, v in z.items()}
  joint = state * (z['inertial'].sum(1) + z['depth'].sum(1))[:, None]
  return Outputs(z, z, joint)


def record(count, seed=1):
  rng = np.random.default_rng(seed)
  return {m: rng.normal(size=(S, count, *SHAPE[m])).astype('f') for m in W}


def offline(told, upto):
  """The last window of each modality, as a data set would give it."""
  made = {'present': {}}
  for m in W:
    part = told[m][:, max(0, upto[m] - W[m]) : upto[m]]
    full = np.zeros((S, W[m], *SHAPE[m]), np.float32)
    full[:, : part.shape[1]] = part
    mask = np.broadcast_to(np.arange(W[m]) < part.shape[1], (S, W[m]))
    made[m] = Ragged(full, mask) if m == 'inertial' else full
    enough = mask.any() if m == 'inertial' else mask.all()
    made['present'][m] = np.full(S, enough)
  return made


def test_every_push_is_the_model_on_its_window():
  live = streaming.make(predict, streaming.windows(batch()))
  told, buffers = record(40), live.init(S)
  for n in range(10):
    chunks = {m: told[m][:, n * r : (n + 1) * r] for m, r in RATE.items()}
    buffers, out = live.push(jnp.float32(2), buffers, chunks)
    want = offline(told, {m: (n + 1) * r for m, r in RATE.items()})
    tiny.close(out.joint, predict(2.0, want).joint, rtol=1e-4, atol=1e-4)


def test_a_modality_that_stops_is_missing_and_starts_anew():
  live = streaming.make(predict, streaming.windows(batch()))
  told, buffers = record(40), live.init(S)
  whole = {m: told[m][:, :8] for m in W}
  buffers, _ = live.push(jnp.float32(1), buffers, whole)
  buffers, out = live.push(
    jnp.float32(1), buffers, {'depth': told['depth'][:, 8:10]}
  )
  assert not out.feats['inertial'].any() and out.feats['depth'].all()
  buffers, out = live.push(
    jnp.float32(1), buffers, {'inertial': told['inertial'][:, 20:22]}
  )
  assert not out.feats['depth'].any()
  x = told['inertial'][:, 20:22]
  tiny.close(out.feats['inertial'], x[:, 0] + 2 * x[:, 1])


def test_a_chunk_longer_than_the_window_leaves_its_end():
  live = streaming.make(predict, streaming.windows(batch()))
  told = record(40)
  _, out = live.push(jnp.float32(1), live.init(S), told)
  want = offline(told, dict.fromkeys(W, 40))
  tiny.close(out.joint, predict(1.0, want).joint, rtol=1e-4, atol=1e-4)


def test_pushes_of_one_size_are_one_program():
  traced = []

  def counted(state, batch):
    traced.append(1)
    return predict(state, batch)

  live = streaming.make(counted, streaming.windows(batch(), {'inertial': 5}))
  buffers, told = live.init(S), record(3)
  for _ in range(4):
    buffers, _ = live.push(jnp.float32(1), buffers, told)
  assert len(traced) == 1 and buffers['inertial'].values.shape[1] == 5


def test_a_trained_model_streams():
  """Through a real net: a full window is what its predict says of it."""
  made = tiny.world('unimodal', 'late', ('text',))
  state = jax.jit(made.init)(jax.random.key(0))
  seen = made.batch(0, size=1)
  live = streaming.make(made.method.predict, streaming.windows(seen))
  values, mask = seen['text']
  buffers, out = live.init(1), None
  for n in range(int(mask.sum())):
    part = {'text': values[:, n : n + 1]}
    buffers, out = live.push(state, buffers, part)
  tiny.close(out.joint, made.method.predict(state, seen).joint)


def test_what_cannot_be_streamed_is_said():
  with pytest.raises(
    ValueError, match=r"'audio' .* \(6,\).*cannot be streamed"
  ):
    streaming.windows({'audio': np.zeros((2, 6)), 'label': np.zeros(2)})
  with pytest.raises(ValueError, match=r"steps\['depth'\]=3.* no more"):
    streaming.windows(batch(), {'depth': 3})
  with pytest.raises(ValueError, match=r"steps names \['dpeth'\]"):
    streaming.windows(batch(), {'dpeth': 3})
  live = streaming.make(predict, streaming.windows(batch()))
  with pytest.raises(ValueError, match='brings sonar; .* inertial, depth'):
    live.push(1.0, live.init(S), {'sonar': np.zeros((S, 1, 2))})
  with pytest.raises(ValueError, match=r'shape \(2, 2\); it takes \[2, n, 2\]'):
    live.push(1.0, live.init(S), {'inertial': np.zeros((S, 2))})
