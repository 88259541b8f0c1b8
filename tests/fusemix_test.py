"""FuseMix: parity with the authors' code, the mixing, and what it refuses."""

import pathlib
import warnings

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import tiny
from hypothesis import given
from hypothesis import strategies as st

from mmjax import experiment, optim, train
from mmjax import kit as kits
from mmjax.base import Phase, Ragged
from mmjax.data import arrays, feed
from mmjax.methods import _mixing, fusemix
from mmjax.models import adapter, net
from mmjax.models.fusion import similarity
from mmjax.ops import contrastive, mixup

GOLDEN = (
  pathlib.Path(__file__).resolve().parents[2] / 'shared/golden/fusemix.npz'
)
golden = pytest.mark.skipif(
  not GOLDEN.exists(), reason='the golden files are not here'
)
SIDES = {'visual': ('vis', 2), 'text': ('text', 1)}
PAIR = ('audio', 'visual')
START = np.float32(0.07)


@pytest.fixture(scope='module')
def known():
  with np.load(GOLDEN) as file:
    return dict(file)


def published(known, prefix='param') -> dict:
  """Parameters, or gradients, of the authors' code in our blocks."""
  # The temperature in the file is what the last of its runs left behind.
  start = {'param': START}.get(prefix)
  start = known[f'{prefix}_temp'] if start is None else start
  blocks = {'head': {'temperature': start}}
  for m, (side, depth) in SIDES.items():
    at = f'{prefix}_{side}_proj'

    def dense(name, at=at):
      weight, bias = known[f'{at}.{name}.weight'], known[f'{at}.{name}.bias']
      return {'kernel': weight.T, 'bias': bias}

    def norm(name, at=at):
      weight, bias = known[f'{at}.{name}.weight'], known[f'{at}.{name}.bias']
      return {'scale': weight, 'bias': bias}

    blocks[m] = {
      f'Block_{i}': {
        'LayerNorm_0': norm(f'{i}.ln'),
        'Dense_0': dense(f'{i}.fn.0'),
        'Dense_1': dense(f'{i}.fn.3'),
      }
      for i in range(depth)
    }
    blocks[m]['LayerNorm_0'] = norm(f'{depth}')
    blocks[m]['Dense_0'] = dense(f'{depth + 1}')
  return jax.tree.map(jnp.asarray, blocks)


def world(known, **hyper):
  """(kit, method, source, init) on the latents of the golden file."""
  inputs = {'visual': known['vis_embed'], 'text': known['text_embed']}
  source = arrays.source(inputs, np.arange(6) % 2)
  modules = {
    m: adapter.make(width=4, blocks=depth, dropout=0.0)
    for m, (_, depth) in SIDES.items()
  }
  head = similarity.make(modalities=tuple(SIDES), num_classes=2)
  network = net.compose(modules, head)
  # Down the gradient by its own length: what moved is the gradient.
  optimizer = optim.sgd(lr=1.0, momentum=0.0, weight_decay=0.0)
  kit = kits.make(
    network,
    optimizer,
    optim.constant(1.0, optim.Clock(1, 1)),
    modalities=tuple(SIDES),
    class_names=source.class_names,
    num_examples=6,
    steps_per_epoch=1,
    head='similarity',
  )
  method = fusemix.make(kit, **hyper)
  batch = jax.tree.map(jnp.asarray, feed.load(source, np.arange(6), None))
  init = jax.jit(lambda key: kits.init(network, optimizer, method, batch, key))
  step = jax.jit(method.phases['align'].step)
  return kit, method._replace(phases={'align': Phase(step)}), batch, init


@golden
@pytest.mark.parametrize('block', [0, 4])
def test_loss_and_gradients_are_the_authors(known, block):
  _, method, batch, init = world(known, mixing='none', block=block)
  state = init(jax.random.key(0)).replace(params=published(known))
  after, metrics = method.phases['align'].step(state, batch)
  tiny.close(metrics['loss'], known['plain_loss'])
  out = method.predict(state, batch)
  for m, (side, _) in SIDES.items():
    tiny.close(out.feats[m], known[f'plain_{side}_proj'])
  grads = jax.tree.map(jnp.subtract, state.params, after.params)
  tiny.close(grads, published(known, 'plain_grad'), rtol=2e-4, atol=2e-5)


@golden
def test_mixed_pairs_are_the_authors(known):
  kit, _, batch, init = world(known, mixing='none')
  state = init(jax.random.key(0)).replace(params=published(known))
  lam = jnp.float32(known['lam'])
  partner_B = _mixing._partners(jax.random.key(0), 6, 'halves')
  mixed = _mixing.mixed(batch, dict.fromkeys(SIDES, lam), partner_B)
  tiny.close(mixed['visual'], known['mix_vis_embed'])
  tiny.close(mixed['text'], known['mix_text_embed'])

  def loss(params):
    out, _ = kit.forward(state, params, mixed, train=True)
    t = out.extras['temperature']
    return contrastive.info_nce(out.feats['visual'], out.feats['text'], t)

  value, grads = jax.jit(jax.value_and_grad(loss))(dict(state.params))
  tiny.close(value, known['mix_loss'])
  tiny.close(grads, published(known, 'mix_grad'), rtol=2e-4, atol=2e-5)
  pair = mixup.fusemix(
    known['vis_embed'], known['text_embed'], lam, np.arange(3, 6)
  )
  tiny.close(
    pair[1], known['text_embed'][:3] * lam + known['text_embed'][3:] * (1 - lam)
  )


@golden
def test_the_temperature_is_clamped_before_it_is_used(known):
  _, method, batch, init = world(known, mixing='none')
  params = published(known)
  params['head'] = {'temperature': jnp.float32(0.9)}
  state = init(jax.random.key(0)).replace(params=params)
  after, metrics = method.phases['align'].step(state, batch)
  assert metrics['temperature'] == known['clamped_temp']
  tiny.close(metrics['loss'], known['clamped_loss'])
  # As there, it is stored as clamped, and moved from there.
  params['head'] = {'temperature': jnp.float32(0.5)}
  same, _ = method.phases['align'].step(state.replace(params=params), batch)
  tiny.close(after.params, same.params)
  assert int(after.method) == 1


@golden
def test_schedules_and_slerp_are_the_authors(known):
  done_T = np.arange(11) / 10
  for name, ours in (('cosine', 'cosine'), ('exp', 'exponential')):
    want = known[f'alpha_sched_{name}_init0.5_max2_T10']
    tiny.close(mixup.alpha(done_T, 0.5, 2.0, ours), want)
  out = mixup.slerp(known['slerp_a'], known['slerp_b'], 0.3)
  tiny.close(out, known['slerp_out'], rtol=1e-5, atol=1e-5)


# The mixing.


def batch_of(present=None, size=6):
  inputs, label = tiny.raw(PAIR, size)
  batch = feed.load(
    arrays.source(inputs, label, present), np.arange(size), None
  )
  return jax.tree.map(jnp.asarray, batch)


def test_a_partner_that_lacks_a_modality_is_not_mixed_in():
  has = {'visual': np.array([1, 1, 1, 1, 0, 1], bool)}
  batch = batch_of(has)
  batch['mask'] = jnp.array([1, 1, 1, 1, 1, 0], bool)
  lams = dict.fromkeys(PAIR, jnp.float32(0.25))
  mixed = _mixing.mixed(batch, lams, jnp.arange(3, 6))
  for m in PAIR:
    z = batch[m]
    tiny.close(mixed[m][0], 0.25 * z[0] + 0.75 * z[3])
    tiny.close(mixed[m][1:], z[1:3])  # partners 4 and 5 do not count
  assert len(mixed['label']) == len(mixed['mask']) == 3


@given(st.floats(0.0, 1.0), st.permutations(range(6)))
def test_mixing_is_the_same_line_in_all_modalities(lam, order):
  batch, partner_B = batch_of(), jnp.array(order)
  mixed = _mixing.mixed(batch, dict.fromkeys(PAIR, jnp.float32(lam)), partner_B)
  for m in PAIR:
    want = lam * batch[m] + (1 - lam) * batch[m][partner_B]
    tiny.close(mixed[m], want, rtol=1e-5, atol=1e-6)


def test_sequences_are_mixed_step_by_step():
  values = np.arange(12, dtype=np.float32).reshape(2, 3, 2)
  mask = np.array([[1, 1, 0], [1, 1, 1]], bool)
  batch = {
    'text': Ragged(jnp.asarray(values), jnp.asarray(mask)),
    'mask': jnp.ones(2, bool),
    'present': {'text': jnp.ones(2, bool)},
  }
  out = _mixing.mixed(batch, {'text': jnp.float32(0.5)}, jnp.array([1, 0]))
  real = values * mask[:, :, None]
  tiny.close(out['text'].values, (real + real[::-1]) / 2)
  assert np.asarray(out['text'].mask).all()
  ids = {**batch, 'text': jnp.ones((2, 3), jnp.int32)}
  with pytest.raises(
    ValueError, match="'text' holds int32, which cannot be mix"
  ):
    _mixing.mixed(ids, {'text': jnp.float32(0.5)}, jnp.array([1, 0]))


def drawn(hyper, steps=40):
  """Shares of the row itself, [steps, B', M], that a method draws."""
  made = tiny.world('fusemix', 'similarity', PAIR)
  hyper = dict(
    dict(partner='halves', lam='batch', noise=0.1, levels=16), **hyper
  )
  alpha = _mixing.Alpha(hyper.pop('alpha', 1.0), 1.0, 'constant', 0.0)
  change = _mixing.mixer(made.kit, alpha=alpha, **hyper)
  state = made.init(jax.random.key(0))
  batch = made.batch(0)
  half = tiny.BATCH // 2
  zeros = jnp.arange(tiny.BATCH) < half  # 1 in the first half, 0 in the second
  flat = {m: jnp.ones_like(batch[m]) for m in PAIR}
  for m in PAIR:
    shape = (-1,) + (1,) * (flat[m].ndim - 1)
    flat[m] = flat[m] * zeros.reshape(shape)
  run = jax.jit(lambda s: change(s, {**batch, **flat}))
  told = [run(state.replace(step=jnp.int32(t))) for t in range(steps)]
  return np.stack(
    [[np.reshape(t[m], (half, -1))[:, 0] for m in PAIR] for t in told]
  ).transpose(0, 2, 1)


def test_lambda_is_shared_as_it_is_said_to_be():
  one = drawn(dict(mixing='fusemix'))
  assert np.ptp(one, axis=(1, 2)).max() == 0 and np.ptp(one) > 0.8
  each = drawn(dict(mixing='fusemix', lam='example'))
  assert np.ptp(each, axis=2).max() == 0 and np.ptp(each, axis=1).min() > 0.1
  apart = drawn(dict(mixing='separate'))
  assert np.ptp(apart, axis=1).max() == 0
  assert np.median(np.ptp(apart, axis=2)) > 0.1


def test_lambda_is_of_the_beta_distribution():
  for alpha in (0.4, 1.0, 4.0):
    lam = drawn(dict(mixing='fusemix', lam='example', alpha=alpha), 100)[..., 0]
    # Beta(a, a): mean 1/2, variance 1 / (4 (2 a + 1)); 800 draws.
    assert abs(lam.mean() - 0.5) < 0.05
    np.testing.assert_allclose(lam.var(), 1 / (8 * alpha + 4), rtol=0.15)


def test_noise_and_quantisation():
  key = jax.random.key(0)
  z_BD = jax.random.normal(key, (500, 3)) * jnp.array([[1.0, 5.0, 0.1]])
  moved = mixup.noise(z_BD, key, 0.2) - z_BD
  np.testing.assert_allclose(moved.std(0), 0.2 * z_BD.std(0), rtol=0.1)
  for levels in (2, 5):
    out = np.asarray(mixup.quantize(z_BD, key, levels))
    for d in range(3):
      value, x = out[:, d], np.asarray(z_BD[:, d])
      assert 1 < len(np.unique(value)) <= levels
      assert (np.diff(value[np.argsort(x)]) >= 0).all()  # bins keep the order
      assert x.min() <= value.min() and value.max() <= x.max()


def test_slerp_of_parallel_latents_is_a_line():
  z_BD = jnp.array([[1.0, 2.0], [3.0, 0.0]])
  tiny.close(mixup.slerp(z_BD, 2 * z_BD, 0.5), 1.5 * z_BD)
  right = mixup.slerp(jnp.eye(2), jnp.eye(2)[::-1], jnp.array([0.5, 0.0]))
  tiny.close(right, jnp.array([[0.5**0.5, 0.5**0.5], [0.0, 1.0]]), atol=1e-6)


# The method.


@pytest.mark.parametrize('mixing', _mixing.MIXINGS)
def test_every_mixing_makes_a_step(mixing):
  encoders = {m: dict(name='adapter', blocks=1) for m in ('audio', 'visual')}
  flat = {m: dict(e) for m, e in encoders.items()}
  made = tiny.world('fusemix', 'similarity', PAIR, flat, mixing=mixing)
  batch = made.batch(0)
  batch['visual'] = batch['visual'].reshape(tiny.BATCH, -1)
  state = made.init(jax.random.key(0))
  after, metrics = jax.jit(made.method.phases['align'].step)(state, batch)
  assert tiny.finite(metrics) and metrics['loss'] > 0
  assert not tiny.same(after.params['audio'], state.params['audio'])


def test_an_anchor_leaves_out_the_other_pairs():
  made = tiny.world('fusemix', 'similarity', anchor='text')
  _, told = jax.eval_shape(
    made.method.phases['align'].step,
    jax.eval_shape(made.init, jax.random.key(0)),
    made.batch(0),
  )
  pairs = {name for name in told if name.startswith('loss/')}
  assert pairs == {'loss/text-audio', 'loss/text-visual'}


def test_the_sigmoid_loss_learns_its_bias():
  with pytest.raises(ValueError, match='learns a bias: give config.head.bias'):
    made = tiny.world('fusemix', 'similarity', loss='sigmoid')
    jax.eval_shape(made.init, jax.random.key(0))
  config = tiny.config(
    '', head=dict(name='similarity', bias=-3.0), method=dict(name='fusemix')
  )
  assert config.head.bias == -3.0
  params, _ = jax.eval_shape(
    lambda key: net.compose(
      {m: adapter.make(width=4) for m in PAIR},
      similarity.make(modalities=PAIR, num_classes=2, bias=-3.0),
    ).init(key, batch_of()),
    jax.random.key(0),
  )
  assert set(params['head']) == {'temperature', 'bias'}


WRONG = [
  (dict(mixing='mixup'), "mixing='mixup' is none of 'fusemix', 'separate'"),
  (dict(partner='next'), "partner='next' is none of 'halves', 'permutation'"),
  (dict(lam='row'), "lam='row' is none of"),
  (dict(loss='triplet'), "loss='triplet' is none of"),
  (dict(anchor='image'), "anchor='image' is none of"),
  (dict(alpha=0.0), 'alpha=0.0 and alpha_final=1.0 are parameters of a Beta'),
  (dict(alpha_schedule='cosine'), 'alpha_epochs=0.0 must be above 0'),
  (dict(noise=-1.0), 'noise=-1.0 must not be negative'),
  (dict(levels=1), 'levels=1 must be at least 2'),
  (dict(block=-1), 'block=-1 must not be negative'),
  (dict(clamp=(0.5, 0.1)), r'clamp=\(0.5, 0.1\) must be the least'),
]


@pytest.mark.parametrize('hyper, told', WRONG)
def test_values_that_cannot_be(hyper, told):
  with pytest.raises(ValueError, match=told):
    tiny.world('fusemix', 'similarity', **hyper)


def test_heads_and_data_that_cannot_be():
  with pytest.raises(ValueError, match=r"is 'late' \(use 'similarity'\)"):
    tiny.world('fusemix', 'late')
  with pytest.raises(ValueError, match='aligns modalities with each other'):
    tiny.world('fusemix', 'similarity', ('audio',))
  with pytest.raises(
    ValueError, match='temperature=0 divides the similarities'
  ):
    similarity.make(modalities=PAIR, num_classes=2, temperature=0)


def test_a_batch_larger_than_the_data_is_refused(tmp_path):
  config = recipe(tmp_path, batch_size=400)
  with pytest.raises(
    ValueError, match='batch_size=400 is more than the 96 tra'
  ):
    train.run(experiment.build(config), tmp_path / 'run')


def recipe(folder, **sections):
  config = tiny.config(
    tiny.write(folder, PAIR),
    PAIR,
    head=dict(name='similarity'),
    method=dict(name='fusemix', patience=2),
    phases=(('align', 1),),
    evals=dict(gap={}),
    **sections,
  )
  config.run.watch = 'gap/gap/audio-visual'
  return config


def test_a_temperature_that_stays_at_its_clamp_is_said_once(tmp_path):
  config = recipe(tmp_path)
  config.head.temperature = 9.0
  config.optim.lr = 1e-5
  with warnings.catch_warnings(record=True) as told:
    warnings.simplefilter('always')
    train.run(experiment.build(config), tmp_path / 'run')
  told = [str(w.message) for w in told]
  told = [t for t in told if 'at its clamp (0.001, 0.5) for 2 steps' in t]
  assert len(told) == 1 and told[0].startswith('Step 3: ')
  lines = (tmp_path / 'run/metrics.jsonl').read_text()
  assert 'warn/' not in lines and '"temperature"' in lines
