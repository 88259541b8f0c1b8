"""OGM: the authors' numbers, the coefficients' algebra, noise, windows."""

import functools

import hypothesis.strategies as st
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import tiny
from hypothesis import given, settings

from mmjax import kit as kits
from mmjax import optim
from mmjax.base import TrainState
from mmjax.methods import ogm
from mmjax.models import net
from mmjax.models.fusion import concat
from mmjax.models.fusion import sum as sum_head
from mmjax.ops import modulation

PAIR = ('audio', 'text')
AV = ('audio', 'visual')
KEY = jax.random.key(3)
PLAIN = ('concat_vdom_OGM', 'concat_adom_OGM', 'sum_vdom_OGM', 'sum_adom_OGM')
NOISY = tuple(f'{tag}_GE' for tag in PLAIN)
CLOSE = dict(rtol=1e-5, atol=1e-6)


@pytest.fixture(scope='module')
def golden(shared):
  def load(name):
    path = shared / 'golden' / f'{name}.npz'
    if not path.exists():
      pytest.skip(f'needs {path}')
    with np.load(path, allow_pickle=False) as file:
      return dict(file)

  return load


def strengths(logits, label, alpha, variant='ogm', valid_MB=None):
  """(rho_M, k_M) of logits_BC per modality."""
  logits_MBC = np.stack(list(logits))
  if valid_MB is None:
    valid_MB = np.ones(logits_MBC.shape[:2], bool)
  return compare(logits_MBC, np.int32(label), valid_MB, alpha, variant)


@functools.partial(jax.jit, static_argnums=4)
def compare(logits_MBC, label_B, valid_MB, alpha, variant):
  s_M = modulation.scores(logits_MBC, label_B, valid_MB, variant)
  rho_M = modulation.ratios(s_M, jnp.any(valid_MB, axis=1), variant)
  return rho_M, modulation.coefficients(rho_M, alpha, variant)


# The authors' numbers.


@pytest.mark.parametrize('tag', PLAIN + NOISY)
@pytest.mark.parametrize('variant', ['ogm', 'mla'])
def test_ratios_and_coefficients_of_the_release(golden, tag, variant):
  g = golden('ogm_train_step')
  outs = g[f'{tag}_out_a'], g[f'{tag}_out_v']
  rho_M, k_M = strengths(outs, g[f'{tag}_label'], 0.8, variant)
  ratio_v, want_M = g[f'{tag}_ratio_v'], [g[f'{tag}_coeff_{m}'] for m in 'av']
  np.testing.assert_allclose(rho_M, [1 / ratio_v, ratio_v], rtol=1e-5)
  np.testing.assert_allclose(k_M, want_M, rtol=1e-5)


@pytest.mark.parametrize('names', [AV, (*AV, 'text')])
@pytest.mark.parametrize('variant', ['bb', 'bb3'])
def test_ratios_and_coefficients_of_balancebenchmark(golden, names, variant):
  how = {'bb': 'OGM_GE', 'bb3': 'OGM_GE3'}[variant]
  tag, g = f'ogm{len(names)}_{how}', golden('bb_ogm')
  logits = [g[f'{tag}_logits_{m}'] for m in names]
  rho_M, k_M = strengths(logits, g[f'{tag}_in_label'], 0.3, variant)
  for i, m in enumerate(names):
    np.testing.assert_allclose(rho_M[i], g[f'{tag}_r_{m}'], rtol=1e-5)
    np.testing.assert_allclose(k_M[i], g[f'{tag}_c_{m}'], rtol=1e-5)


class Conv:
  """The encoder of the recorded steps: convolution, ReLU, average pool."""

  def init(self, rngs, x, valid_B, train):  # noqa: ARG002
    return {'params': {}}

  def apply(self, variables, x, valid_B, train, rngs, mutable):  # noqa: ARG002
    p = variables['params']
    layout = ('NHWC', 'HWIO', 'NHWC')
    h = jax.lax.conv_general_dilated(
      x, p['kernel'], (1, 1), 'SAME', dimension_numbers=layout
    )
    h = jax.nn.relu(h + p['bias'][None, None, None])
    return jnp.mean(h, axis=(1, 2)), {}


def blocks(g, tag, kind):
  """Parameters or gradients of a recorded step as ours."""
  get = lambda name: jnp.asarray(g[f'{tag}_{kind}_{name}'])  # noqa: E731
  made = {
    m: {
      'kernel': get(f'{m}_net.0.weight').transpose(2, 3, 1, 0),
      'bias': get(f'{m}_net.0.bias'),
    }
    for m in AV
  }
  if tag.startswith('sum'):
    layers = {'audio': 'fc_x', 'visual': 'fc_y'}
    head = {
      m: {
        'kernel': get(f'fusion_module.{fc}.weight').T,
        'bias': get(f'fusion_module.{fc}.bias'),
      }
      for m, fc in layers.items()
    }
    return made | {'head': {'linear': head}}
  weight_DC = get('fusion_module.fc_out.weight').T
  half = len(weight_DC) // 2
  return made | {
    'head': {
      'kernel_audio': weight_DC[:half],
      'kernel_visual': weight_DC[half:],
      'bias': get('fusion_module.fc_out.bias'),
    }
  }


@functools.cache
def recorded(head, which):
  """(step, init) at learning rate one, so that it subtracts its gradients."""
  module = {'concat': concat, 'sum': sum_head}[head]
  network = net.compose(
    {m: Conv() for m in AV}, module.make(modalities=AV, num_classes=3)
  )
  sgd = optim.sgd(lr=1.0, momentum=0.0, weight_decay=0.0)
  kit = kits.make(
    network,
    sgd,
    lambda step: jnp.float32(1),  # noqa: ARG005
    modalities=AV,
    class_names=('a', 'b', 'c'),
    num_examples=6,
    steps_per_epoch=1,
    head=head,
  )
  method = ogm.make(kit, alpha=0.8, which=which)

  def begin(params):
    return TrainState(
      step=jnp.int32(0),
      params=params,
      stats={block: {} for block in params},
      opt={block: sgd.direction.init(p) for block, p in params.items()},
      method=method.init(params, {}),
      key=KEY,
    )

  return jax.jit(method.phases['joint'].step), begin


@pytest.mark.parametrize('tag', PLAIN)
@pytest.mark.parametrize('which', ['convolutions', 'kernels'])
def test_a_whole_step_of_the_release(golden, tag, which):
  g = golden('ogm_train_step')
  batch = {
    'audio': jnp.asarray(g[f'{tag}_spec'])[..., None],
    'visual': jnp.asarray(g[f'{tag}_image']).transpose(0, 2, 3, 1),
    'label': jnp.asarray(g[f'{tag}_label'], jnp.int32),
    'index': jnp.arange(6, dtype=jnp.int32),
    'mask': jnp.ones(6, bool),
    'present': {m: jnp.ones(6, bool) for m in AV},
  }
  step, begin = recorded(tag.split('_')[0], which)
  params = blocks(g, tag, 'param')
  after, metrics = step(begin(params), batch)
  grads = jax.tree.map(jnp.subtract, params, after.params)
  tiny.close(grads, blocks(g, tag, 'gradafter'), **CLOSE)
  told = [metrics[f'loss/{m}'] for m in ('joint', *AV)]
  np.testing.assert_allclose(told, g[f'{tag}_loss'], rtol=1e-5)
  told = [metrics[f'coefficient/{m}'] for m in AV]
  want = [g[f'{tag}_coeff_{m[0]}'] for m in AV]
  np.testing.assert_allclose(told, want, rtol=1e-5)


def test_the_noise_of_the_release(golden):
  """All four records have one seed: the draws of one give the others."""
  g, drawn = golden('ogm_train_step'), {}
  for tag in NOISY:
    before, after = (blocks(g, tag, f'grad{t}') for t in ('before', 'after'))
    for m, k in zip(AV, (g[f'{tag}_coeff_a'], g[f'{tag}_coeff_v'])):
      x, y = before[m]['kernel'], after[m]['kernel']
      noise = np.float64(y) - k * np.float64(x)
      normal = noise / (np.std(np.float64(x), ddof=1) + 1e-8)
      normal = drawn.setdefault(m, normal)
      told = modulation.enhance(x, jnp.float32(k), jnp.float32(normal))
      np.testing.assert_allclose(told, y, **CLOSE)
      np.testing.assert_array_equal(before[m]['bias'], after[m]['bias'])
    tiny.close(before['head'], after['head'], rtol=0)
  normal = np.concatenate([x.ravel() for x in drawn.values()])
  assert abs(normal.mean()) < 4 / np.sqrt(len(normal))
  assert abs(normal.std() - 1) < 4 / np.sqrt(2 * len(normal))


# What holds for any logits.

logit = st.floats(-8, 8, width=32)


@st.composite
def examples(draw, M):
  flat = draw(st.lists(logit, min_size=9 * M, max_size=9 * M))
  label = draw(st.lists(st.integers(0, 2), min_size=3, max_size=3))
  return np.float32(flat).reshape(M, 3, 3), np.int32(label)


@settings(max_examples=40, deadline=None)
@given(examples(2), st.floats(0.01, 1))
def test_one_of_two_modalities_is_held_back(drawn, alpha):
  logits_MBC, label_B = drawn
  rho_M, k_M = strengths(logits_MBC, label_B, alpha)
  assert np.all((k_M >= 0) & (k_M <= 1))
  np.testing.assert_allclose(rho_M[0] * rho_M[1], 1, rtol=1e-5)
  assert np.sum(k_M < 1) == 1
  back = int(np.argmin(k_M))
  assert rho_M[back] >= 1 - 1e-6
  want = 1 - np.tanh(alpha * np.float64(rho_M[back]))
  np.testing.assert_allclose(k_M[back], want, atol=1e-6)
  swapped_M, swapped_k_M = strengths(logits_MBC[::-1], label_B, alpha)
  np.testing.assert_allclose(swapped_M, rho_M[::-1], rtol=1e-6)
  if abs(rho_M[0] - 1) > 1e-5:
    np.testing.assert_allclose(swapped_k_M, k_M[::-1], rtol=1e-5, atol=1e-6)


@settings(max_examples=40, deadline=None)
@given(examples(3), st.permutations(range(3)))
def test_three_modalities_have_the_mean_of_their_ratios(drawn, order):
  logits_MBC, label_B = drawn
  rho_M, k_M = strengths(logits_MBC, label_B, 0.3)
  x = np.float64(logits_MBC)
  p_MBC = np.exp(x) / np.exp(x).sum(-1, keepdims=True)
  a, v, t = p_MBC[:, np.arange(len(label_B)), label_B].sum(1)
  want_M = [(a / v + a / t) / 2, (v / a + v / t) / 2, (t / a + t / v) / 2]
  np.testing.assert_allclose(rho_M, want_M, rtol=1e-4)
  assert np.all((k_M >= 0) & (k_M <= 1))
  ahead_M = rho_M > 1
  np.testing.assert_array_equal(k_M < 1, ahead_M)
  assert k_M[np.argmin([a, v, t])] == 1 or np.min(rho_M) > 0.9999
  again_M, again_k_M = strengths(logits_MBC[order], label_B, 0.3)
  np.testing.assert_allclose(again_M, rho_M[np.array(order)], rtol=1e-5)
  if np.all(np.abs(rho_M - 1) > 1e-5):
    np.testing.assert_allclose(again_k_M, k_M[np.array(order)], atol=1e-5)


def test_at_a_tie_the_first_is_held_back_as_released():
  k_M = modulation.coefficients(jnp.ones(2), 0.8)
  np.testing.assert_allclose(k_M, [1 - np.tanh(0.8), 1], rtol=1e-6)
  np.testing.assert_array_equal(modulation.coefficients(jnp.ones(3), 0.8), 1)


@pytest.mark.parametrize(
  'rho, back',
  [((0.2, 1.4, 1.1), 1), ((0.2, 0.4, 1.1), 2), ((3.0, 0.1, 0.2), 0)],
)
def test_mla_holds_back_one_in_its_order(rho, back):
  want = np.ones(3)
  want[back] -= np.tanh(0.3 * rho[back])
  k_M = modulation.coefficients(jnp.array(rho), 0.3, 'mla')
  np.testing.assert_allclose(k_M, want, rtol=1e-6)


def test_mla_compares_with_the_sum_of_the_others():
  rho_M = modulation.ratios(jnp.array([1.0, 2, 5]), jnp.ones(3, bool), 'mla')
  np.testing.assert_allclose(rho_M, [1 / 7, 2 / 6, 5 / 3], rtol=1e-6)


@pytest.mark.parametrize('variant', modulation.VARIANTS)
@pytest.mark.parametrize('has', [(1, 1, 0), (0, 1, 1), (0, 1, 0), (0, 0, 0)])
def test_who_is_not_there_is_not_compared(variant, has):
  logits_MBC = 3 * np.random.default_rng(0).normal(size=(3, 5, 4))
  valid_MB = np.array(has, bool)[:, None] & np.ones((3, 5), bool)
  label = [0, 1, 2, 3, 0]
  rho_M, k_M = strengths(logits_MBC, label, 0.5, variant, valid_MB)
  gone_M = np.logical_not(has)
  assert np.all(np.isfinite(rho_M)) and np.all((k_M >= 0) & (k_M <= 1))
  np.testing.assert_array_equal(rho_M[gone_M], 0)
  np.testing.assert_array_equal(k_M[gone_M], 1)
  if sum(has) < 2:
    np.testing.assert_array_equal(k_M, 1)
  elif variant in ('ogm', 'mla'):
    two_M = np.flatnonzero(has)
    pair_M, _ = strengths(logits_MBC[two_M], label, 0.5, variant)
    np.testing.assert_allclose(rho_M[two_M], pair_M, rtol=1e-5)


def test_lacking_a_modality_is_not_being_wrong():
  logits_BC = np.random.default_rng(0).normal(size=(4, 3))
  twice_MBC = np.stack([np.tile(logits_BC, (2, 1))] * 2)
  half_MB = np.array([[True] * 8, [True] * 4 + [False] * 4])
  rho_M, _ = strengths(twice_MBC, [0, 1, 2, 0] * 2, 0.5, valid_MB=half_MB)
  np.testing.assert_allclose(rho_M, 1, rtol=1e-6)


def test_scores_that_underflow_leave_finite_ratios():
  logits_MBC = np.array([[[0.0, 300]], [[300.0, 0]]])
  for variant in modulation.VARIANTS:
    rho_M, k_M = strengths(logits_MBC, [0], 0.8, variant)
    assert np.all(np.isfinite(rho_M))
    np.testing.assert_allclose(k_M, [1, 0], atol=1e-6)


# The gradients.


def test_noise_is_as_large_as_the_gradient_was():
  grads = {
    'big': 0.2 + 3.0 * jax.random.normal(KEY, (100, 80)),
    'same': jnp.ones((50, 60)),
    'one': jnp.full((1, 1), 2.0),
    'bias': jnp.arange(4.0),
  }
  modulate = jax.jit(modulation.modulate)
  told = modulate(grads, jnp.float32(0.25), key=KEY)
  noise = told['big'] - 0.25 * grads['big']
  want = np.std(grads['big'], ddof=1)
  np.testing.assert_allclose(modulation.spread(grads['big']), want, rtol=1e-5)
  np.testing.assert_allclose(noise.std(), want, rtol=0.05)
  assert abs(noise.mean()) < 5 * want / np.sqrt(noise.size)
  assert abs(np.corrcoef(noise.ravel(), grads['big'].ravel())[0, 1]) < 0.05
  np.testing.assert_allclose(told['same'], 0.25, atol=1e-6)
  np.testing.assert_allclose(told['one'], 0.5, atol=1e-6)  # torch has NaN here
  np.testing.assert_array_equal(told['bias'], grads['bias'])
  plain = modulate(grads, jnp.float32(0.25))
  np.testing.assert_array_equal(plain['big'], 0.25 * grads['big'])


def test_only_convolutions_may_be_modulated():
  grads = {'conv': jnp.ones((3, 3, 2, 4)), 'dense': jnp.ones((5, 4))}
  told = modulation.modulate(grads, jnp.float32(0.5), which='convolutions')
  assert np.all(told['conv'] == 0.5) and np.all(told['dense'] == 1)


SGD = optim.sgd(lr=0.1, momentum=0.0, weight_decay=0.0)


def world(name='ogm', **hyper):
  return tiny.world(name, 'sum', PAIR, tiny.PLAIN, SGD, per_epoch=2, **hyper)


@functools.cache
def begin():
  return jax.jit(world().init)(KEY), world().batch(0)


def step_of(made):
  return jax.jit(made.method.phases['joint'].step)


def test_outside_its_epochs_it_is_joint_training():
  init, batch = begin()
  ours = step_of(world(enhance=True, start_epoch=1, end_epoch=2))
  joint = step_of(world('joint'))
  for t, active in enumerate([0, 0, 1, 1, 0]):
    state = init.replace(step=jnp.int32(t))
    (told, metrics), (want, _) = ours(state, batch), joint(state, batch)
    tiny.close(told.params['head'], want.params['head'], rtol=1e-6, atol=1e-7)
    ks = [float(metrics[f'coefficient/{m}']) for m in PAIR]
    assert (min(ks) < 1) == bool(active)
    for m in PAIR:
      moved = [s.params[m]['Dense_0'] for s in (told, want)]
      tiny.close(moved[0]['bias'], moved[1]['bias'], rtol=1e-6, atol=1e-7)
      gap = np.abs(moved[0]['kernel'] - moved[1]['kernel']).max()
      assert (gap > 1e-4) == bool(active)  # noise on both


def test_noise_is_new_each_step_and_of_each_modality():
  state, batch = begin()
  runs = [step_of(world(enhance=e, alpha=0.0)) for e in (True, False)]
  noise = {}
  for t in range(2):
    now = state.replace(step=jnp.int32(t))
    a, b = (run(now, batch)[0].params for run in runs)
    for m in PAIR:
      difference = a[m]['Dense_0']['kernel'] - b[m]['Dense_0']['kernel']
      noise[m, t] = np.ravel(difference / np.std(difference))[:40]
  keys = list(noise)
  for i, one in enumerate(keys):
    for other in keys[i + 1 :]:
      assert abs(np.mean(noise[one] * noise[other])) < 0.6


def test_a_modality_that_nobody_has_rests_under_noise():
  state, batch = begin()
  run = step_of(world(enhance=True, alpha=0.0))
  after, told = run(state, tiny.absent(batch, 'text'))
  assert tiny.same(after.params['text'], state.params['text'])
  assert tiny.finite((after, told)) and told['ratio/text'] == 0


def test_ogm_checks_its_options():
  for hyper, match in [
    (dict(variant='ge'), "variant='ge' is none of ogm, mla, bb, bb3"),
    (dict(which='bias'), "which='bias' is none of kernels, convolutions"),
    (dict(alpha=-0.1), r'alpha=-0\.1 must not be negative'),
    (dict(start_epoch=3, end_epoch=3), 'leave no epoch with modulation'),
  ]:
    with pytest.raises(ValueError, match=match):
      tiny.world('ogm', 'sum', PAIR, **hyper)
  with pytest.raises(ValueError, match='only audio'):
    tiny.world('ogm', 'sum', ('audio',))
  made = world(which='convolutions')
  with pytest.raises(ValueError, match='no encoder has convolutions'):
    jax.eval_shape(made.init, KEY)
