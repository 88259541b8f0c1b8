"""QMF: the authors' numbers, the ranking loss and its gradient, the history."""

import functools

import hypothesis.strategies as st
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import tiny
from hypothesis import given, settings

from mmjax import optim
from mmjax.base import Outputs
from mmjax.ops import confidence

PAIR = ('audio', 'text')
KEY = jax.random.key(3)
CLOSE = dict(rtol=1e-5, atol=1e-6)


@pytest.fixture(scope='module')
def golden(shared):
  path = shared / 'golden' / 'qmf_rank_loss.npz'
  if not path.exists():
    pytest.skip(f'needs {path}')
  with np.load(path, allow_pickle=False) as file:
    return dict(file)


def everybody(B):
  return jnp.ones(B, bool)


def entropies(logits_BC, label_B):
  """Cross-entropy per example, in double precision."""
  x_BC = np.float64(logits_BC)
  x_BC -= x_BC.max(-1, keepdims=True)
  log_p_BC = x_BC - np.log(np.exp(x_BC).sum(-1, keepdims=True))
  return -log_p_BC[np.arange(len(label_B)), label_B]


# The authors' numbers.


def test_four_steps_of_the_release(golden):
  history_N = jnp.zeros(int(golden['qmf_n_data']))

  @jax.jit
  @jax.value_and_grad
  def loss(logits_BC, history_N, index_B):
    c_B = confidence.confidence(logits_BC)
    return confidence.rank_loss(c_B, history_N, index_B, everybody(5))

  for t in range(4):
    g = {k[10:]: v for k, v in golden.items() if k.startswith(f'qmf_call{t}_')}
    index_B = jnp.asarray(g['idx'], jnp.int32)
    c_B = confidence.confidence(g['logits'])
    np.testing.assert_allclose(c_B, g['conf'][:, 0], **CLOSE)
    history_N = confidence.accumulate(history_N, index_B, g['ce'], everybody(5))
    np.testing.assert_allclose(history_N, g['history'], **CLOSE)
    target_B, margin_B = confidence.pairs(history_N, index_B)
    np.testing.assert_array_equal(target_B, g['target'])
    np.testing.assert_allclose(margin_B, g['margin'], **CLOSE)

    told, grad_BC = loss(g['logits'], history_N, index_B)
    np.testing.assert_allclose(told, g['loss'], **CLOSE)
    np.testing.assert_allclose(grad_BC, g['grad_logits'], **CLOSE)
    if t < 2:  # the copy that MLA compares with
      np.testing.assert_allclose(told, golden[f'mla_call{t}_loss'], **CLOSE)


def test_the_intended_margin_is_demanded_not_tolerated(golden):
  g = {k[10:]: v for k, v in golden.items() if k.startswith('qmf_call0_')}
  told = {
    sign: confidence.rank_loss(
      jnp.asarray(g['conf'][:, 0]),
      jnp.asarray(g['history'], jnp.float32),
      jnp.asarray(g['idx'], jnp.int32),
      everybody(5),
      sign,
    )
    for sign in confidence.SIGNS
  }
  gap_B = g['conf'][:, 0] - np.roll(g['conf'][:, 0], -1)
  want = np.maximum(g['target'] * gap_B + g['margin'], 0).mean()
  np.testing.assert_allclose(told['intended'], want, rtol=1e-5)
  np.testing.assert_allclose(told['intended'], 0.440, atol=5e-4)
  np.testing.assert_allclose(told['released'], 0.106, atol=5e-4)


def test_fusion_of_the_release(golden):
  logits_MBC = jnp.stack([golden[f'qmf_fuse_logits{m}'] for m in (1, 2)])
  c_MB = confidence.confidence(logits_MBC)
  joint_BC = confidence.fuse(logits_MBC, c_MB, jnp.ones((2, 5), bool))
  np.testing.assert_allclose(joint_BC, golden['qmf_fuse_out'], **CLOSE)


def test_a_history_without_a_past_is_finite_where_the_release_is_not(golden):
  assert np.isnan(golden['qmf_rgbd_fresh_history_loss'])

  def loss(c_B):
    return confidence.rank_loss(c_B, jnp.zeros(9), jnp.arange(3), everybody(3))

  told, grad_B = jax.value_and_grad(loss)(jnp.array([1.0, -2, 3]))
  assert told == 0 and not np.any(grad_B)


# The maths.


def test_confidence_does_not_overflow():
  c_B = confidence.confidence(jnp.array([[500.0, 500], [-3.0, -3]]), 5.0)
  np.testing.assert_allclose(
    c_B, [(500 + np.log(2)) / 5, (-3 + np.log(2)) / 5], rtol=1e-6
  )


def ranked(c_B, past_N, index_B, valid_B, sign):
  """The ranking loss pair by pair, and whether a hinge is near its kink."""
  span = past_N.max() - past_N.min()
  past_N = (past_N - past_N.min()) / (span if span > 0 else 1)
  terms, edge = [], False
  for i, j in zip(range(len(c_B)), np.roll(range(len(c_B)), -1)):
    if valid_B[i] and valid_B[j]:
      gap = past_N[index_B[i]] - past_N[index_B[j]]
      hinge = np.sign(gap) * (c_B[i] - c_B[j]) + sign * abs(gap)
      terms.append(max(0.0, hinge))
      edge |= abs(hinge) < 1e-3 or abs(gap) < 1e-3
  return float(np.mean(terms)) if terms else 0.0, edge


rank_loss = jax.jit(
  jax.value_and_grad(confidence.rank_loss), static_argnames='margin_sign'
)


@st.composite
def rankings(draw):
  B, N = 6, 8
  # XLA takes subnormal numbers for 0, NumPy does not.
  number = st.floats(-2, 2, width=32, allow_subnormal=False)
  past = st.floats(0, 4, width=32, allow_subnormal=False)
  c = draw(st.lists(number, min_size=B, max_size=B))
  before = draw(st.lists(past, min_size=N, max_size=N))
  index = draw(st.permutations(range(N)))[:B]
  valid = draw(st.lists(st.booleans(), min_size=B, max_size=B))
  arrays = np.float64(c), np.float64(before), np.array(index), np.array(valid)
  return *arrays, draw(st.sampled_from(list(confidence.SIGNS)))


@settings(max_examples=40, deadline=None)
@given(rankings())
def test_the_ranking_loss_is_over_pairs_that_count(drawn):
  c_B, past_N, index_B, valid_B, name = drawn
  sign = confidence.SIGNS[name]

  want, edge = ranked(c_B, past_N, index_B, valid_B, sign)
  arrays = np.float32(past_N), np.int32(index_B), valid_B
  told, grad_B = rank_loss(np.float32(c_B), *arrays, name)
  np.testing.assert_allclose(told, want, rtol=1e-5, atol=1e-6)
  if edge:
    return
  for i in range(len(c_B)):  # central differences, exact between kinks
    step = np.eye(len(c_B))[i] * 1e-4
    up, _ = ranked(c_B + step, past_N, index_B, valid_B, sign)
    down, _ = ranked(c_B - step, past_N, index_B, valid_B, sign)
    np.testing.assert_allclose(grad_B[i], (up - down) / 2e-4, atol=1e-5)


def test_gradient_of_the_ranking_loss_in_closed_form():
  logits_BC = 3 * jax.random.normal(KEY, (6, 4))
  past_N, index_B = jnp.array([4.0, 1, 3, 0, 2, 6]), jnp.arange(6)

  def loss(logits_BC):
    c_B = confidence.confidence(logits_BC, 2.0)
    return confidence.rank_loss(c_B, past_N, index_B, everybody(6))

  target_B, margin_B = confidence.pairs(past_N, index_B)
  c_B = jax.nn.logsumexp(logits_BC, axis=1) / 2
  on_B = target_B * (c_B - jnp.roll(c_B, -1)) > margin_B
  pull_B = jnp.where(on_B, target_B, 0)
  assert 0 < on_B.sum() < 6
  dc_B = (pull_B - jnp.roll(pull_B, 1)) / 6
  want_BC = dc_B[:, None] * jax.nn.softmax(logits_BC) / 2
  told_BC = jax.jit(jax.grad(loss))(logits_BC)
  np.testing.assert_allclose(told_BC, want_BC, **CLOSE)


# The method.


SGD = optim.sgd(lr=0.1, momentum=0.0, weight_decay=0.0)


def world(**hyper):
  return tiny.world('qmf', 'late', PAIR, tiny.PLAIN, SGD, **hyper)


@functools.cache
def init():
  return jax.jit(world().init)(KEY)


@jax.jit
def logits_of(state, batch):
  return world().kit.forward(state, {}, batch)[0].unis


def partly(batch):
  """The batch with padding, and some who lack something."""
  has = {
    'audio': np.arange(tiny.BATCH) % 5 != 0,
    'text': np.arange(tiny.BATCH) % 3 != 1,
  }
  return {**batch, 'mask': np.arange(tiny.BATCH) < 13, 'present': has}


@pytest.mark.parametrize(
  'rank_weight, sign', [(1.0, 'released'), (0.1, 'intended')]
)
def test_the_loss_is_that_of_the_paper(rank_weight, sign):
  made = world(rank_weight=rank_weight, margin_sign=sign, scale=4.0)
  state, batch = init(), partly(made.batch(0))
  # One is far from all others, so that these have small margins.
  past = {m: np.zeros(made.source.size) for m in PAIR}
  for m in PAIR:
    past[m][-1] = 300.0
  state = state.replace(method=jax.tree.map(jnp.float32, past))
  unis = logits_of(state, batch)
  joint_BC, rest = 0, 0.0
  for m in PAIR:
    valid_B = batch['mask'] & batch['present'][m]
    ce_B = entropies(unis[m], batch['label'])
    c_B = np.log(np.exp(np.float64(unis[m])).sum(1)) / 4
    np.add.at(past[m], batch['index'][valid_B], ce_B[valid_B])
    rows = c_B, past[m], batch['index'], valid_B
    rank, _ = ranked(*rows, confidence.SIGNS[sign])
    assert rank > 1e-3
    rest += ce_B[valid_B].mean() + rank_weight * rank
    joint_BC += unis[m] * (c_B * batch['present'][m])[:, None]
  want = rest + entropies(joint_BC, batch['label'])[batch['mask']].mean()
  after, told = jax.jit(made.method.phases['joint'].step)(state, batch)
  np.testing.assert_allclose(told['loss'], want, rtol=1e-5)
  tiny.close(after.method, past)
  out = jax.jit(made.method.predict)(state, batch)
  np.testing.assert_allclose(out.joint, joint_BC, **CLOSE)


def test_the_history_is_the_sum_of_the_losses_of_who_was_there():
  made = world()
  state = init()
  run, want = jax.jit(made.method.phases['joint'].step), {}
  for m in PAIR:
    want[m] = np.zeros(made.source.size)
    np.testing.assert_array_equal(state.method[m], want[m])
  for t in (0, 1, 0):
    batch = partly(made.batch(t))
    unis = logits_of(state, batch)
    for m in PAIR:
      valid_B = batch['mask'] & batch['present'][m]
      rows = batch['index'][valid_B]
      want[m][rows] += entropies(unis[m], batch['label'])[valid_B]
    state, _ = run(state, batch)
  tiny.close(state.method, want)
  assert 0 < np.count_nonzero(want['audio']) < 2 * tiny.BATCH


@pytest.mark.parametrize('stop_gradient', [True, False])
def test_confidences_learn_from_the_ranking_alone(stop_gradient):
  made = world(rank_weight=0.0, stop_gradient=stop_gradient)
  state, batch = init(), made.batch(0)
  fixed = {
    m: jax.nn.logsumexp(x, axis=1) / 10
    for m, x in logits_of(state, batch).items()
  }

  def loss(params):
    out: Outputs = made.kit.forward(state, params, batch)[0]
    label_B = batch['label']
    joint_BC = 0

    def nll(x_BC):
      return -jnp.mean(
        jax.nn.log_softmax(x_BC)[jnp.arange(tiny.BATCH), label_B]
      )

    for m, x in out.unis.items():
      c_B = fixed[m] if stop_gradient else jax.nn.logsumexp(x, axis=1) / 10
      joint_BC += c_B[:, None] * x
    return nll(joint_BC) + sum(nll(x) for x in out.unis.values())

  grads = jax.jit(jax.grad(loss))(state.params)
  after, _ = jax.jit(made.method.phases['joint'].step)(state, batch)
  want = jax.tree.map(lambda p, g: p - 0.1 * g, state.params, grads)
  tiny.close(after.params, want, rtol=1e-5, atol=1e-6)


def test_who_lacks_a_modality_is_told_by_the_others():
  made = world()
  state, batch = init(), made.batch(0)
  predict = jax.jit(made.method.predict)
  out = predict(state, tiny.absent(batch, 'text'))
  c_B = jax.nn.logsumexp(out.unis['audio'], axis=1) / 10
  tiny.close(out.joint, c_B[:, None] * out.unis['audio'])


def test_qmf_checks_its_options():
  with pytest.raises(ValueError, match=r"head.name is 'sum' \(use 'late'\)"):
    tiny.world('qmf', 'sum')
  for hyper, match in [
    (dict(margin_sign=-1), 'margin_sign=-1 is none of released, intended'),
    (dict(scale=0), 'scale=0 must be above 0'),
    (dict(rank_weight=-1.0), r'rank_weight=-1\.0 must not be negative'),
  ]:
    with pytest.raises(ValueError, match=match):
      tiny.world('qmf', 'late', **hyper)
