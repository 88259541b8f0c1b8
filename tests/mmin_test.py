"""The imagination of missing modalities: its network, its two phases."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import tiny
from hypothesis import given, settings
from hypothesis import strategies as st

from mmjax import experiment, optim
from mmjax.data import feed
from mmjax.methods import mmin
from mmjax.models.fusion import mmin as head
from mmjax.ops import trees

KEY = jax.random.key(1)
NAMES = tiny.MODALITIES
PAIR = ('audio', 'text')
SMALL = dict(name='mmin', hidden=(16,), layers=(16, 8), blocks=2, dropout=0.0)
OTHER = dict(
  imagine_weight=3.0, cycle_weight=0.5, freeze_encoders=True, clip_norm=1e-3
)


@pytest.fixture(scope='module')
def made(tmp_path_factory):
  """(options of the method) -> a small experiment, made once."""
  path = tiny.write(tmp_path_factory.mktemp('mmin'))

  @functools.cache
  def made(**options):
    config = tiny.config(
      path,
      head=SMALL,
      method=dict(name='mmin', **options),
      phases=(('imagine', 1),),
    )
    return experiment.build(config)

  return made


def take(exp, step=0, rows=None):
  """A batch as plain arrays: a sharded one would compile all steps twice."""
  rows = exp.train_rows(step) if rows is None else rows
  loaded = feed.load(exp.sources['train'], rows, len(rows))
  return jax.tree.map(jnp.asarray, loaded)


BEGUN = {}


def start(exp, phase, steps=1):
  """A state that has entered a phase and made some of its steps."""
  key = (id(exp.kit), phase, steps)
  if key not in BEGUN:
    state = exp.method.phases[phase].enter(exp.init(KEY))
    for t in range(steps):
      state, _ = exp.steps[phase](state, take(exp, t))
    BEGUN[key] = state
  return BEGUN[key]


# The network.


def test_the_autoencoder_is_the_published_one(shared):
  golden = np.load(shared / 'golden/mmin_residual_ae.npz')
  linear = lambda name: {  # noqa: E731
    'kernel': golden[f'param_{name}.weight'].T,
    'bias': golden[f'param_{name}.bias'],
  }
  stack = lambda *blocks: jax.tree.map(lambda *x: np.stack(x), *blocks)  # noqa: E731
  params = {f'transition_{i}': linear(f'transition.{2 * i}') for i in range(2)}
  params['blocks'] = {
    f'{part}_{i}': stack(*[linear(f'{part}_{b}.{3 * i}') for b in range(3)])
    for part in ('encoder', 'decoder')
    for i in range(3)
  }
  net = head.ResidualAutoencoder((6, 4, 2), 3, 0.0)
  x = jnp.asarray(golden['x'])
  drawn = jax.eval_shape(lambda: net.init(KEY, x, False)['params'])
  assert jax.tree.map(jnp.shape, drawn) == jax.tree.map(jnp.shape, params)
  out, latents = net.apply({'params': params}, x, False)
  np.testing.assert_allclose(out, golden['out'], rtol=1e-5, atol=1e-6)
  np.testing.assert_allclose(latents, golden['latents'], rtol=1e-5, atol=1e-6)


def test_the_head_has_the_published_sizes_and_bears_narrow_features():
  module = head.make(modalities=NAMES, num_classes=4)
  feats = {m: jnp.ones((2, 3)) for m in NAMES}
  present = {m: jnp.ones(2, bool) for m in NAMES}
  params = jax.eval_shape(
    lambda: module.init(KEY, feats, present, False)['params']
  )
  width = lambda part, layer: params[part][layer]['kernel'].shape  # noqa: E731
  assert width('stage_1', 'Dense_0') == (9, 128)
  assert width('stage_1', 'Dense_1') == (128, 128)
  assert width('stage_1', 'Dense_2') == (128, 4)
  assert width('stage_2', 'Dense_0') == (5 * 64, 128)
  for part in ('imagine', 'backward'):
    blocks = {k: v['kernel'].shape for k, v in params[part]['blocks'].items()}
    assert blocks['encoder_0'] == (5, 9, 256)
    assert blocks['encoder_2'] == (5, 128, 64)
    assert blocks['decoder_2'] == (5, 256, 9)
    assert width(part, 'transition_1') == (9, 9)


def test_the_head_shows_what_it_imagines_and_ignores_what_is_absent():
  options = {k: v for k, v in SMALL.items() if k != 'name'}
  module = head.make(modalities=NAMES, num_classes=3, **options)
  feats = {
    m: jax.random.normal(jax.random.key(i), (4, 2 + i))
    for i, m in enumerate(NAMES)
  }
  present = {m: jnp.arange(4) != i for i, m in enumerate(NAMES)}
  params = jax.jit(lambda: module.init(KEY, feats, present, False))()
  params = {'params': params['params']}

  @jax.jit
  def run(feats, has):
    return module.apply(params, feats, has, False, mutable=['extras'])

  (unis, joint), shown = run(feats, present)
  shown = {k: v for k, (v,) in shown['extras'].items()}
  assert shown['imagined'].shape == shown['cycle'].shape == (4, 2 + 3 + 4)
  junk = {m: jnp.where(present[m][:, None], z, 7.0) for m, z in feats.items()}
  tiny.close(run(junk, present)[0][1], joint)
  for i, m in enumerate(NAMES):
    # An example that has nothing else says what the modality says alone.
    only = {k: jnp.full(4, k == m) for k in NAMES}
    (_, alone), extras = run(feats, only)
    tiny.close(unis[m], alone)
    tiny.close(shown['full_unis'][:, i], extras['extras']['full'][0])
  with pytest.raises(ValueError, match=r"at once, but got none of \['text'\]"):
    module.apply(params, {m: feats[m] for m in NAMES[:2]}, present, False)


# What is hidden, and what the errors are over.


@settings(deadline=None, max_examples=30)
@given(seed=st.integers(0, 99), step=st.integers(0, 9))
def test_what_is_kept_is_part_of_what_there_was_but_never_nothing(seed, step):
  kit, state = tiny_kit(NAMES), Clock(jax.random.key(seed), step)
  has = np.random.default_rng(seed).random((3, 40)) < 0.6
  kept = mmin.hide(kit, state, {'present': dict(zip(NAMES, jnp.asarray(has)))})
  kept = np.stack([kept[m] for m in NAMES])
  assert not (kept & ~has).any()
  had, left = has.sum(axis=0), kept.sum(axis=0)
  np.testing.assert_array_equal(left[had < 2], had[had < 2])
  assert ((0 < left) & (left < had))[had > 1].all()


@pytest.mark.parametrize('names, patterns', [(NAMES[:2], 2), (NAMES, 6)])
def test_each_pattern_is_as_likely(names, patterns):
  size = 6000
  present = {m: jnp.ones(size, bool) for m in names}
  kept = mmin.hide(tiny_kit(names), Clock(KEY, 0), {'present': present})
  number = sum(2**i * np.asarray(kept[m]) for i, m in enumerate(names))
  found, counts = np.unique(number, return_counts=True)
  assert len(found) == patterns
  # Five standard deviations of a count.
  np.testing.assert_allclose(
    counts, size / patterns, atol=5 * (size / patterns) ** 0.5
  )


def test_another_step_hides_something_else():
  present = {m: jnp.ones(64, bool) for m in NAMES}

  def draw(step):
    return mmin.hide(tiny_kit(NAMES), Clock(KEY, step), {'present': present})

  assert tiny.same(draw(1), draw(1)) and not tiny.same(draw(1), draw(2))


def test_the_error_is_over_the_entries_that_count():
  values_BD = jnp.arange(10.0).reshape(2, 5)
  targets = {'text': jnp.zeros((2, 2)), 'audio': jnp.ones((2, 3))}
  valid = {'audio': jnp.array([True, False]), 'text': jnp.array([False, True])}
  told = mmin.squared_error(tiny_kit(PAIR), values_BD, targets, valid)
  want = [(0 - 1) ** 2, (1 - 1) ** 2, (2 - 1) ** 2, 8**2, 9**2]
  np.testing.assert_allclose(told, np.mean(want))
  nobody = {m: jnp.zeros(2, bool) for m in PAIR}
  assert mmin.squared_error(tiny_kit(PAIR), values_BD, targets, nobody) == 0


class Clock:
  """As much of a state as `hide` looks at."""

  def __init__(self, key, step):
    self.key, self.step = key, step


def tiny_kit(names):
  return tiny.world('joint', 'late', names).kit


# The phases.


def test_the_loss_of_imagining_is_the_sum_of_its_parts(made):
  """With encoders at rest and without dropout every part has a closed form."""
  exp = made(**OTHER)
  state, batch = start(exp, 'imagine'), take(exp, 1)
  _, told = exp.steps['imagine'](state, batch)
  kept = mmin.hide(exp.kit, state, batch)
  see = jax.jit(lambda batch: exp.kit.forward(state, {}, batch)[0])
  out, whole = see(batch | {'present': kept}), see(batch)
  log_p = np.asarray(jax.nn.log_softmax(out.joint))
  joint = -np.mean(log_p[np.arange(tiny.BATCH), batch['label']])
  there, back = [], []
  for i, m in enumerate(NAMES):
    part = slice(8 * i, 8 * i + 8)
    has = np.asarray(kept[m])
    there.append((out.extras['imagined'][:, part] - whole.feats[m])[~has] ** 2)
    back.append((out.extras['cycle'][:, part] - out.feats[m])[has] ** 2)
  there, back = (np.mean(np.concatenate(x)) for x in (there, back))
  want = {
    'loss': joint + 3 * there + back / 2,
    'loss/joint': joint,
    'loss/imagined': there,
    'loss/cycle': back,
  }
  tiny.close({k: told[k] for k in want}, want, rtol=1e-4)


def test_a_phase_leaves_the_rest_of_the_head_alone(made):
  exp = made()
  for phase, moving in mmin.PARTS.items():
    before = start(exp, phase)
    after, _ = exp.steps[phase](before, take(exp, 1))
    assert set(before.params['head']) == {
      part for parts in mmin.PARTS.values() for part in parts
    }
    for part in before.params['head']:
      still = tiny.same(before.params['head'][part], after.params['head'][part])
      assert still == (part not in moving), part
    # Momentum, too, which weight decay would feed.
    fresh = jax.tree.leaves(jax.tree.map(jnp.any, after.opt['head']))
    count = len(jax.tree.leaves({p: after.params['head'][p] for p in moving}))
    assert sum(map(bool, fresh)) == count


def test_the_teacher_stays_and_the_encoders_move(made):
  exp = made()
  before = exp.method.phases['imagine'].enter(start(exp, 'pretrain'))
  assert before.method.imagine
  for m in NAMES:
    assert tiny.same(before.method.teacher[m], before.params[m])
  state = before
  for t in range(3):
    state, _ = exp.steps['imagine'](state, take(exp, t))
  assert tiny.same(state.method, before.method)
  for m in NAMES:
    assert not tiny.same(state.params[m], before.params[m])
  assert not tiny.same(state.stats['audio'], before.stats['audio'])


def test_the_teacher_keeps_its_running_statistics(made):
  exp = made()
  state = start(exp, 'pretrain')
  told = exp.method.init(state.params, state.stats)
  entered = exp.method.phases['imagine'].enter(state.replace(method=told))
  assert tiny.same(entered.method.stats['audio'], state.stats['audio'])
  after, _ = exp.steps['imagine'](entered, take(exp, 1))
  assert not tiny.same(after.stats['audio'], state.stats['audio'])
  assert tiny.same(after.method, entered.method)


def test_frozen_encoders_rest(made):
  exp = made(**OTHER)
  before = start(exp, 'imagine')
  after, _ = exp.steps['imagine'](before, take(exp, 1))
  for m in NAMES:
    for name in ('params', 'opt', 'stats'):
      assert tiny.same(getattr(before, name)[m], getattr(after, name)[m])
  assert not tiny.same(before.params['head'], after.params['head'])


def test_statistics_know_nothing_of_what_is_hidden(made):
  exp = made()
  state, batch = start(exp, 'imagine'), take(exp, 1)
  kept = mmin.hide(exp.kit, state, batch)['audio']
  other = jnp.where(kept[:, None], batch['audio'], 9.0)
  runs = [
    exp.steps['imagine'](state, batch | {'audio': x})
    for x in (batch['audio'], other)
  ]
  (a, told), (b, also) = runs
  tiny.close(a.stats['audio'], b.stats['audio'])
  assert not np.isclose(told['loss/imagined'], also['loss/imagined'])
  tiny.close(told['loss/joint'], also['loss/joint'])


def test_what_an_example_lacks_is_no_target(made):
  exp = made()
  batch = take(exp, 1)
  has = {m: jnp.arange(tiny.BATCH) % 3 == i for i, m in enumerate(NAMES)}
  _, told = exp.steps['imagine'](
    start(exp, 'imagine'), batch | {'present': has}
  )
  assert told['loss/imagined'] == 0 < told['loss/cycle']
  assert told['grad_norm/audio'] > 0  # by the label


def test_gradients_are_clipped_part_by_part(made):
  exp = made(**OTHER)
  before = exp.method.phases['imagine'].enter(start(exp, 'imagine'))
  after, told = exp.steps['imagine'](before, take(exp, 0))
  assert told['grad_norm/head'] > 0.1
  # Momentum starts at zero: the first step's is the gradient and weight decay.
  moved = jax.tree.map(
    lambda p, q: (p - q) / 0.1 - 1e-4 * p, before.params, after.params
  )
  for part in mmin.PARTS['imagine']:
    norm = trees.global_norm(moved['head'][part])
    np.testing.assert_allclose(norm, OTHER['clip_norm'], rtol=0.05)


def test_clipping_is_of_the_norm_and_has_a_gradient_at_zero():
  tree = {'a': jnp.array([3.0]), 'b': jnp.array([4.0])}
  tiny.close(mmin._clip(tree, 1.0), {k: 0.2 * v for k, v in tree.items()})
  tiny.close(mmin._clip(tree, 6.0), tree)
  slope = jax.jacobian(lambda x: mmin._clip(x, 2.0))(jnp.zeros(2))
  tiny.close(slope, jnp.eye(2))


@pytest.mark.parametrize('name', optim.OPTIMIZERS)
def test_optimizers_start_at_zero(name):
  """Entering 'imagine' counts on that."""
  begun = optim.OPTIMIZERS[name]().direction.init({'w': jnp.ones(3)})
  assert not any(np.any(x) for x in jax.tree.leaves(begun))


def test_each_phase_predicts_by_its_own_classifier(made):
  exp = made()
  batch = take(exp, 0)
  for phase in ('pretrain', 'imagine'):
    state = start(exp, phase)
    told = exp.predict(state, batch)
    out, _ = jax.jit(exp.kit.forward)(state, {}, batch)
    joint = out.joint if phase == 'imagine' else out.extras['full']
    tiny.close(told.joint, joint)
    for m in NAMES:
      lone = tiny.absent(batch, *(k for k in NAMES if k != m))
      tiny.close(told.unis[m], exp.predict(state, lone).joint)


def test_imagination_helps_where_a_modality_is_missing(made):
  exp = made()
  state = start(exp, 'pretrain', 18)
  state = exp.method.phases['imagine'].enter(state)
  before, told = state, []
  for t in range(72):
    state, metrics = exp.steps['imagine'](state, take(exp, t))
    told.append(metrics['loss/imagined'])
  batch = take(exp, rows=np.arange(exp.sources['train'].size))
  feats = exp.kit.forward(before, {}, batch)[0].feats
  for m in NAMES:
    without = tiny.absent(batch, m)
    out = exp.predict(state, without)
    accuracy = np.mean(out.joint.argmax(1) == batch['label'])
    assert accuracy > 2 / tiny.CLASSES, m
    # Nearer to what the teacher sees there than the best constant.
    i = 8 * NAMES.index(m)
    error = np.mean((out.extras['imagined'][:, i : i + 8] - feats[m]) ** 2)
    assert error < 0.8 * np.mean(np.var(feats[m], axis=0)), m


@pytest.mark.parametrize(
  'options, message',
  [
    (dict(imagine_weight=-1.0), 'config.method.imagine_weight=-1.0 must not'),
    (dict(cycle_weight=float('nan')), 'config.method.cycle_weight=nan'),
    (dict(clip_norm=-1.0), 'config.method.clip_norm=-1.0'),
    (dict(head='late'), "config.head.name is 'late' \\(use 'mmin'\\)"),
    (dict(modalities=('audio',)), 'config.data has only audio'),
  ],
)
def test_the_method_checks_its_options(options, message):
  with pytest.raises(ValueError, match=message):
    tiny.world('mmin', **{'head': 'mmin', **options})


@pytest.mark.parametrize(
  'options, message',
  [
    (dict(blocks=0), 'blocks=0 must all be at least 1'),
    (dict(layers=()), 'layers must not be empty'),
    (dict(hidden=(8, 0)), r'hidden=\(8, 0\)'),
    (dict(dropout=1.0), r'config.head.dropout=1.0 must be in \[0, 1\)'),
    (dict(dropout_imagination=-0.1), 'config.head.dropout_imagination=-0.1'),
  ],
)
def test_the_head_checks_its_options(options, message):
  with pytest.raises(ValueError, match=message):
    head.make(modalities=PAIR, num_classes=2, **options)
