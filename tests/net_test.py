"""The net: blocks, heads (every file of models/fusion), automatic encoders."""

import functools

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import tiny

from mmjax import _compose
from mmjax.base import Ragged
from mmjax.models import auto, identity, mlp, net, steps
from mmjax.models.fusion import concat, late, shared
from mmjax.models.fusion import sum as sums

KEY = jax.random.key(0)
HEADS = _compose.available('models.fusion')
WIDTH = {'audio': 4, 'visual': 4, 'text': 4}
NAMES = tuple(WIDTH)
B, C = 5, 3

each_head = pytest.mark.parametrize('name', HEADS)


def normal(seed, *shape):
  return jax.random.normal(jax.random.key(seed), shape)


def names_of(name):
  """All modalities, or the first two for a head that takes no more."""
  try:
    head_of(name)
  except ValueError as error:
    assert 'exactly two' in str(error)
    return NAMES[:2]
  return NAMES


def head_of(name, modalities=NAMES):
  facts = dict(modalities=modalities, num_classes=C)
  section = dict(name=name, **tiny.SMALL.get(name, {}))
  make = _compose.lookup('models.fusion', section, 'head', facts)
  return make(**facts)


def features(widths=WIDTH, seed=0):
  return {m: normal(seed + i, B, d) for i, (m, d) in enumerate(widths.items())}


def everybody(modalities=NAMES):
  return {m: jnp.ones(B, bool) for m in modalities}


def initialised(module, feats, present):
  """Parameters with no zeros, so that biases are seen too."""
  params = module.init(KEY, feats, present, False)['params']
  return jax.tree.map(lambda p: p + 0.1 * normal(9, *p.shape), params)


def apply(module, params, feats, present):
  return jax.jit(functools.partial(module.apply, train=False))(
    {'params': params}, feats, present
  )


# Heads.


def test_there_are_heads():
  assert {'shared', 'late', 'sum', 'concat'} <= set(HEADS)


@each_head
def test_heads_tell_logits_of_each_and_of_all(name):
  names = names_of(name)
  module, feats = head_of(name, names), features({m: 4 for m in names})
  params = initialised(module, feats, everybody(names))
  unis, joint = apply(module, params, feats, everybody(names))
  assert set(unis) == set(names)
  for logits in (*unis.values(), joint):
    assert logits.shape == (B, C) and logits.dtype == jnp.float32
    assert np.isfinite(logits).all()


@each_head
def test_an_absence_concerns_its_example_alone(name):
  names = names_of(name)
  module, feats = head_of(name, names), features({m: 4 for m in names})
  params = initialised(module, feats, everybody(names))
  has = jnp.arange(B) < 2
  present = {**everybody(names), 'visual': has}
  blank = {**feats, 'visual': jnp.where(has[:, None], feats['visual'], 0)}
  _, joint = apply(module, params, blank, present)
  _, full = apply(module, params, feats, everybody(names))
  tiny.close(joint[:2], full[:2])
  if name == 'similarity':  # no classifier
    assert not np.any(full) and not np.any(joint)
    return
  assert not np.isclose(joint[2:], full[2:]).all(axis=1).any()
  nobody = {m: jnp.zeros(B, bool) for m in names}
  zeros = jax.tree.map(jnp.zeros_like, feats)
  assert tiny.finite(apply(module, params, zeros, nobody))


@pytest.mark.parametrize(
  'name, whole',
  [('sum', sum), ('concat', sum), ('late', None), ('shared', None)],
)
def test_joint_logits_are_the_sum_or_the_mean(name, whole):
  module, feats = head_of(name), features()
  params = initialised(module, feats, everybody())
  unis, joint = apply(module, params, feats, everybody())
  total = sum(unis.values())
  tiny.close(joint, total if whole else total / 3)
  # Among those who are there only.
  present = {**everybody(), 'text': jnp.zeros(B, bool)}
  unis, joint = apply(module, params, feats, present)
  if name in ('late', 'shared'):
    tiny.close(joint, (unis['audio'] + unis['visual']) / 2)
  if name == 'sum':
    tiny.close(joint, unis['audio'] + unis['visual'])


def test_concat_is_one_matrix_in_slices():
  widths = {'audio': 3, 'visual': 5}
  feats = features(widths)
  module = concat.make(modalities=('audio', 'visual'), num_classes=C)
  params = initialised(module, feats, everybody(widths))
  kernel_DC = jnp.concatenate([params[f'kernel_{m}'] for m in widths])
  _, joint = apply(module, params, feats, everybody(widths))
  want = jnp.concatenate(list(feats.values()), 1) @ kernel_DC
  tiny.close(joint, want + params['bias'][None])


def test_concat_starts_with_the_spread_of_one_big_matrix():
  widths = {'audio': 300, 'visual': 100}
  module = concat.make(modalities=('audio', 'visual'), num_classes=50)
  feats = features(widths)
  params = module.init(KEY, feats, everybody(widths), False)['params']
  whole = jax.nn.initializers.xavier_normal()(KEY, (400, 50))
  for m in widths:
    spread = float(params[f'kernel_{m}'].std())
    assert abs(spread / float(whole.std()) - 1) < 0.04  # two standard errors
  narrow = jax.nn.initializers.xavier_normal()(KEY, (100, 50))
  assert abs(spread / float(narrow.std()) - 1) > 0.2


def test_shared_head_is_the_same_for_all():
  feats = features()
  module = head_of('shared')
  params = initialised(module, feats, everybody())
  unis, _ = apply(module, params, feats, everybody())
  for m in NAMES:
    want = feats[m] @ params['kernel'] + params['bias'][None]
    tiny.close(unis[m], want)
  assert params['kernel'].shape == (4, C)


def test_shared_head_says_whose_width_does_not_fit():
  feats = features({'audio': 4, 'visual': 6})
  with pytest.raises(ValueError, match="one width, but has.*'visual': 6"):
    shared.make(modalities=('audio', 'visual'), num_classes=C).init(
      KEY, feats, everybody(), False
    )


@pytest.mark.parametrize('make', [late.make, sums.make, concat.make])
def test_other_heads_take_features_of_any_width(make):
  widths = {'audio': 4, 'visual': 6}
  module = make(modalities=('audio', 'visual'), num_classes=C)
  module.init(KEY, features(widths), everybody(widths), False)


def test_concat_says_who_is_missing():
  module = head_of('concat')
  with pytest.raises(ValueError, match=r"none of \['text'\]. Take another"):
    module.init(KEY, features({'audio': 4, 'visual': 4}), everybody(), False)


# The net.


@functools.cache
def made(head='shared', encoders='norm'):
  kinds = {
    'norm': dict(hidden=(6,), norm='batch'),
    'plain': dict(hidden=()),
    'dropout': dict(hidden=(64,), dropout=0.5),
  }
  modules = {m: mlp.make(width=4, **kinds[encoders]) for m in NAMES}
  return net.compose(modules, head_of(head))


def batch(size=8):
  return {
    **{m: normal(i, size, 3 + i) for i, m in enumerate(NAMES)},
    'label': jnp.zeros(size, jnp.int32),
    'index': jnp.arange(size),
    'mask': jnp.ones(size, bool),
    'present': {m: jnp.ones(size, bool) for m in NAMES},
  }


@functools.cache
def started(head='shared', encoders='norm'):
  return jax.jit(made(head, encoders).init)(KEY, batch())


def forward(head='shared', encoders='norm', key=KEY, given=None, **options):
  params, stats = started(head, encoders)
  run = made(head, encoders).forward
  run = jax.jit(functools.partial(run, **options))
  return run(params, stats, given or batch(), key)


def test_there_is_a_block_for_each_modality_and_the_head():
  params, stats = started()
  assert set(params) == set(stats) == {*NAMES, 'head'}
  assert stats['head'] == {} and 'batch_stats' in stats['audio']
  again = made().init(KEY, batch())
  assert tiny.same(again, (params, stats))
  other, _ = made().init(jax.random.key(1), batch())
  assert not tiny.same(other, params)
  kernels = [params[m]['Dense_1']['kernel'] for m in NAMES]  # of one shape
  assert not np.allclose(kernels[0], kernels[1])


def test_only_the_modality_that_runs_moves_its_statistics():
  _, before = started()
  out, after = forward(only=('audio',), train=True)
  assert set(out.feats) == set(out.unis) == {'audio'}
  assert not tiny.same(after['audio'], before['audio'])
  for block in ('visual', 'text', 'head'):
    assert tiny.same(after[block], before[block])
  _, after = forward(train=False)
  assert tiny.same(after, before)
  _, after = forward(train=True)
  assert all(not tiny.same(after[m], before[m]) for m in NAMES)


def test_alone_a_modality_looks_as_in_company():
  alone, _ = forward(only=('visual',))
  together, _ = forward()
  tiny.close(alone.feats['visual'], together.feats['visual'])
  tiny.close(alone.unis['visual'], together.unis['visual'])


def test_edit_comes_between_encoders_and_head():
  def edit(feats):
    return {**feats, 'audio': feats['visual'] * 2}

  plain, _ = forward()
  out, _ = forward(edit=edit)
  tiny.close(out.feats['audio'], 2 * plain.feats['visual'])
  bias = started()[0]['head']['bias'][None]
  tiny.close(out.unis['audio'] - bias, 2 * (plain.unis['visual'] - bias))
  tiny.close(out.unis['visual'], plain.unis['visual'])


def test_features_of_the_absent_are_zero_and_have_no_gradient():
  has = jnp.arange(8) < 3
  given = {**batch(), 'mask': jnp.arange(8) < 7}
  given['present'] = {**given['present'], 'text': has}
  out, _ = forward(encoders='plain', given=given)
  assert not np.any(out.feats['text'][3:]) and np.all(out.feats['text'][:3])
  assert not np.any(out.feats['audio'][7:])  # padding

  params, stats = started('shared', 'plain')

  def energy(x):
    told, _ = made('shared', 'plain').forward(
      params, stats, {**given, 'text': x}, KEY
    )
    return jnp.sum(told.joint**2) + jnp.sum(told.feats['text'])

  grad = jax.jit(jax.grad(energy))(given['text'])
  assert np.any(grad[:3]) and not np.any(grad[3:])


def test_dropout_differs_by_key_and_only_in_training():
  dropped, _ = forward(encoders='dropout', train=True)
  again, _ = forward(encoders='dropout', train=True)
  assert tiny.same(dropped, again)
  other, _ = forward(encoders='dropout', train=True, key=jax.random.key(1))
  for m in NAMES:
    assert not np.allclose(dropped.feats[m], other.feats[m])
  still, _ = forward(encoders='dropout')
  other, _ = forward(encoders='dropout', key=jax.random.key(1))
  assert tiny.same(still, other)


def test_modalities_do_not_share_their_dropout():
  twins = {m: mlp.make(width=2, hidden=(64,), dropout=0.5) for m in NAMES[:2]}
  pair = net.compose(twins, head_of('late', NAMES[:2]))
  given = batch()
  given['visual'] = given['audio']
  params, stats = pair.init(KEY, given)
  params['visual'] = params['audio']
  out, _ = pair.forward(params, stats, given, KEY, train=True)
  assert not np.allclose(out.feats['audio'], out.feats['visual'])
  out, _ = pair.forward(params, stats, given, KEY)
  tiny.close(out.feats['audio'], out.feats['visual'])


# Encoders by the shape of the examples.


@pytest.mark.parametrize(
  'value, want',
  [
    (np.zeros((4, 7), 'f4'), dict(name='mlp')),
    (np.zeros((4, 7), 'i4'), dict(name='text')),
    (
      Ragged(np.zeros((4, 9), 'i4'), np.ones((4, 9), '?')),
      dict(name='text'),
    ),
    (Ragged(np.zeros((4, 9, 5), 'f4'), np.ones((4, 9), '?')), dict(name='tcn')),
    (np.zeros((4, 28, 28), 'f4'), dict(name='patch', frames=False)),
    (np.zeros((4, 8, 8, 1), 'f4'), dict(name='patch', frames=False)),
    (np.zeros((4, 6, 8, 8), 'f4'), dict(name='patch', frames=True)),
    (np.zeros((4, 3, 8, 8, 3), 'f4'), dict(name='patch', frames=False)),
    (np.zeros((2, 129, 130), 'f4'), dict(name='resnet')),
    (np.zeros((2, 128, 128, 3), 'f4'), dict(name='resnet')),
    (np.zeros((1, 2, 128, 128, 3), 'f4'), dict(name='resnet')),
    (np.zeros((2, 128, 64, 3), 'f4'), dict(name='patch', frames=False)),
  ],
)
def test_auto_finds_an_encoder_that_reads_the_shape(value, want):
  section = auto.section('m', value, 16)
  assert section == {'width': 16, **want}
  module = _compose.lookup('models', section, 'config.encoders.m')()
  size = len(value.mask if isinstance(value, Ragged) else value)
  valid_B = np.ones(size, bool)
  z_BD, _ = jax.eval_shape(
    lambda x: module.init_with_output(KEY, x, valid_B, False), value
  )
  assert z_BD.shape == (size, 16) and z_BD.dtype == jnp.float32


def test_auto_says_what_to_do_about_other_shapes():
  for shape in ((4,), (4, 1, 2, 3, 4, 5)):
    with pytest.raises(ValueError, match='Name one: config.encoders.m.name'):
      auto.section('m', np.zeros(shape, 'f4'), 16)


# Heads that show, heads that draw, encoders of steps.


class Shows(nn.Module):
  """Dropout on the features, and what it saw."""

  takes_steps: bool

  @nn.compact
  def __call__(self, feats, present, train):
    del present
    self.sow('extras', 'seen', jnp.ones((B, 2)))
    if self.takes_steps:
      assert isinstance(feats['text'], Ragged)
      feats = {**feats, 'text': feats['text'].values.sum(1)}
    z_BD = nn.Dropout(0.5, deterministic=not train)(feats['text'])
    return {'text': z_BD}, z_BD


def step_batch():
  values = normal(1, B, 4, 3)
  mask = jnp.arange(4)[None] < jnp.asarray([4, 2, 1, 3, 4])[:, None]
  one = batch(B)
  has = jnp.arange(B) < 4
  return {**one, 'text': Ragged(values, mask), 'present': {'text': has}}


@pytest.mark.parametrize('takes_steps', [True, False])
def test_steps_reach_the_heads_that_take_them(takes_steps):
  network = net.compose({'text': identity.make()}, Shows(takes_steps))
  given = step_batch()
  params, stats = network.init(KEY, given)
  out, _ = network.forward(params, stats, given, KEY)
  real = jnp.where(given['text'].mask[:, :, None], given['text'].values, 0)
  total = real.sum(1)
  mean = total / given['text'].mask.sum(1)[:, None]
  total, mean = total.at[4].set(0), mean.at[4].set(0)  # has no text
  tiny.close(out.feats['text'], mean)
  tiny.close(out.joint, total if takes_steps else mean)
  assert out.extras['seen'].shape == (B, 2)


def test_a_head_draws_in_training_alone():
  network = net.compose({'text': identity.make()}, Shows(False))
  given = step_batch()
  params, stats = network.init(KEY, given)

  def joint(key, train):
    out, _ = network.forward(
      params, stats, given, jax.random.key(key), train=train
    )
    return out.joint

  assert tiny.same(joint(0, False), joint(1, False))
  assert tiny.same(joint(0, True), joint(0, True))
  assert not tiny.same(joint(0, True), joint(1, True))


def test_steps_are_projected_one_by_one():
  module, given = steps.make(width=5), step_batch()['text']
  everyone = jnp.ones(B, bool)
  variables = module.init(KEY, given, everyone, False)
  out = module.apply(variables, given, everyone, False)
  assert out.values.shape == (B, 4, 5) and tiny.same(out.mask, given.mask)
  later = Ragged(given.values.at[:, 2].add(1), given.mask)
  moved = module.apply(variables, later, everyone, False)
  tiny.close(moved.values[:, :2], out.values[:, :2])
