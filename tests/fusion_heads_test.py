"""The baseline heads: FiLM, gates, tensors, attention bottlenecks."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import tiny
from hypothesis import given, settings
from hypothesis import strategies as st

from mmjax import _compose, optim
from mmjax.base import Ragged
from mmjax.models.fusion.bottleneck import places

KEY = jax.random.key(0)
B, C = 5, 3
PAIR, THREE = ('audio', 'text'), ('audio', 'visual', 'text')
# How many modalities each is tried with, and options that keep it small.
MODALITIES = {
  'film': PAIR,
  'gated': PAIR,
  'bifilm': THREE,
  'bigated': THREE,
  'low_rank': THREE,
  'tensor': THREE,
  'bottleneck': PAIR,
}
SMALL = {
  'tensor': dict(width=3),
  'bottleneck': dict(width=8, heads=2, bottlenecks=2),
}
WIDTHS = {'audio': 4, 'visual': 6, 'text': 5}

each_head = pytest.mark.parametrize('name', MODALITIES)


def head_of(name, modalities=None, num_classes=C, **options):
  facts = dict(
    modalities=modalities or MODALITIES[name], num_classes=num_classes
  )
  section = dict(name=name, **{**SMALL.get(name, {}), **options})
  return _compose.lookup('models.fusion', section, 'head', facts)(**facts)


def features(names, widths=WIDTHS):
  rng = np.random.default_rng(0)
  return {m: noise(rng, B, widths[m]) for m in names}


def noise(rng, *shape):
  return rng.normal(size=shape).astype(np.float32)


def everybody(names):
  return {m: np.ones(B, bool) for m in names}


def nobody(names):
  return {m: np.zeros(B, bool) for m in names}


@functools.partial(jax.jit, static_argnums=0)
def fresh(module, feats):
  return module.init(KEY, feats, everybody(feats), False)['params']


def shaken(params):
  """With no zeros, so that biases are seen too."""
  rng = np.random.default_rng(9)
  params = jax.device_get(params)
  return jax.tree.map(lambda p: p + 0.3 * noise(rng, *p.shape), params)


@functools.partial(jax.jit, static_argnums=0)
def applied(module, params, feats, present):
  return module.apply({'params': params}, feats, present, False)


def apply(module, params, feats, present=None):
  """Jitted; everybody is present unless it is told who."""
  return applied(module, params, feats, present or everybody(feats))


@functools.cache
def case(name):
  """(module, parameters, features) of a head, for the tests of all heads."""
  names = MODALITIES[name]
  module, feats = head_of(name), features(names)
  return module, shaken(fresh(module, feats)), feats


# Parity with the reference modules, whose inputs are called x and y.

GOLDEN = ('x', 'y')


@pytest.fixture(scope='module')
def golden(shared):
  return dict(np.load(shared / 'golden' / 'fusion_modules.npz'))


def linear(golden, tag, name):
  """A torch layer as (kernel, bias)."""
  weight = golden[f'{tag}_param_{name}.weight']
  return weight.T, golden[f'{tag}_param_{name}.bias']


def dense(golden, tag, name):
  return dict(zip(('kernel', 'bias'), linear(golden, tag, name)))


def golden_params(golden, tag):
  """Our parameters from theirs."""
  layer = functools.partial(dense, golden, tag)
  if tag == 'sum':
    return {'linear': {m: layer(f'fc_{m}') for m in GOLDEN}}
  if tag == 'concat':
    kernel, bias = linear(golden, tag, 'fc_out')
    slices = dict(zip(('kernel_x', 'kernel_y'), np.split(kernel, 2)))
    return {'bias': bias, **slices}
  out = {'out': layer('fc_out')}
  if tag.startswith('film'):
    return {'film': layer('fc'), **out}
  if tag == 'bifilm':  # theirs are named after who speaks, ours who is changed
    return {'film_x': layer('fc_y'), 'film_y': layer('fc_x'), **out}
  return {**{f'project_{m}': layer(f'fc_{m}') for m in GOLDEN}, **out}


def golden_head(tag, num_classes=C):
  name, _, side = tag.partition('_')
  option = {'film': 'conditioner', 'gated': 'gate'}.get(name)
  options = {option: side} if option else {}
  return head_of(name, GOLDEN, num_classes, **options)


def golden_run(golden, tag):
  feats, params = {m: golden[m] for m in GOLDEN}, golden_params(golden, tag)
  present = {m: np.ones(len(z), bool) for m, z in feats.items()}
  return apply(golden_head(tag), params, feats, present)


def sigmoid(x):
  return 1 / (1 + np.exp(-x))


def close_to_golden(got, want):
  np.testing.assert_allclose(got, want, rtol=1e-5, atol=1e-6)


TAGS = ['sum', 'concat', 'film_x', 'film_y', 'gated_x', 'gated_y', 'bifilm']
TAGS += ['bigated']


@pytest.mark.parametrize('tag', TAGS)
def test_joint_logits_are_those_of_the_reference(golden, tag):
  _, joint = golden_run(golden, tag)
  close_to_golden(joint, golden[f'{tag}_out'])


@pytest.mark.parametrize('tag', TAGS[:6])
def test_unimodal_logits_follow_from_what_the_reference_returns(golden, tag):
  """The reference returns two tensors beside the output, and no logits.

  Of sum, concat and FiLM they are the inputs; of the gated module what became
  of them in the projections. OGM-GE makes logits of them with slices of the
  classifier, which exist for sum and concat; for FiLM and gates we say what the
  head says where the other input is zero.
  """
  unis, _ = golden_run(golden, tag)
  back = dict(zip(GOLDEN, (golden[f'{tag}_ret0'], golden[f'{tag}_ret1'])))
  if tag == 'sum':
    maps = {m: linear(golden, tag, f'fc_{m}') for m in GOLDEN}
    want = {m: z @ maps[m][0] + maps[m][1] for m, z in back.items()}
  else:
    kernel, bias = linear(golden, tag, 'fc_out')
  if tag == 'concat':
    halves = zip(back, np.split(kernel, 2))
    want = {m: back[m] @ half + bias / 2 for m, half in halves}
  speaks, other = GOLDEN if tag.endswith('x') else GOLDEN[::-1]
  if tag.startswith('film'):
    film, shift = linear(golden, tag, 'fc')
    beta = np.split(back[speaks] @ film + shift, 2, axis=1)[1]
    still, add = np.split(shift, 2)
    want = {speaks: beta, other: still * back[other] + add}
  if tag.startswith('gated'):
    rest = {m: linear(golden, tag, f'fc_{m}')[1] for m in GOLDEN}
    want = {
      speaks: sigmoid(back[speaks]) * rest[other],
      other: sigmoid(rest[speaks]) * back[other],
    }
  if tag not in ('sum', 'concat'):
    want = {m: h @ kernel + bias for m, h in want.items()}
  for m in GOLDEN:
    close_to_golden(unis[m], want[m])


@pytest.mark.parametrize('tag', ['bifilm', 'bigated'])
def test_what_is_classified_is_what_the_reference_returns(golden, tag):
  """Here the reference returns x and y as the other one has changed them.

  A classifier that is the identity shows ours. They are no unimodal features,
  so our unimodal logits are the head's where the other input is zero.
  """
  feats = {m: golden[m] for m in GOLDEN}
  params = golden_params(golden, tag)
  params['out'] = {'kernel': np.eye(8, dtype='f4'), 'bias': np.zeros(8, 'f4')}
  present = {m: np.ones(len(z), bool) for m, z in feats.items()}
  _, shown = apply(golden_head(tag, 8), params, feats, present)
  want = np.concatenate([golden[f'{tag}_ret0'], golden[f'{tag}_ret1']], axis=1)
  close_to_golden(shown, want)


# What holds for all of them.


@functools.partial(jax.jit, static_argnums=0)
def joint_and_gradient(module, params, feats, present):
  """Joint logits, and the gradient of a function of them by the features."""

  def total(feats):
    _, joint = apply(module, params, feats, present)
    return jnp.sum(jnp.sin(joint)), joint

  grads, joint = jax.grad(total, has_aux=True, allow_int=True)(feats)
  return joint, grads


@each_head
def test_an_absent_modality_has_no_effect_and_no_gradient(name):
  module, params, feats = case(name)
  run = functools.partial(joint_and_gradient, module, params)
  full, _ = run(feats, everybody(feats))
  for m in feats:
    has = np.arange(B) < 2
    present = {**everybody(feats), m: has}
    joint, grads = run(feats, present)
    for other in (0, feats[m] + 7):
      swapped = np.where(has[:, None], feats[m], other).astype('f4')
      told, _ = run({**feats, m: swapped}, present)
      tiny.close(told, joint, rtol=1e-6, atol=1e-6)
    assert not np.any(grads[m][2:])
    assert all(np.any(g[:2]) for g in grads.values())
    tiny.close(joint[:2], full[:2])
    assert not np.isclose(joint[2:], full[2:]).all(axis=1).any()


@each_head
def test_unimodal_logits_are_the_heads_with_the_others_absent(name):
  module, params, feats = case(name)
  unis, _ = apply(module, params, feats)
  for m in feats:
    present = {**nobody(feats), m: np.ones(B, bool)}
    tiny.close(apply(module, params, feats, present)[1], unis[m])
    others = {k: z if k == m else z + 1 for k, z in feats.items()}
    tiny.close(apply(module, params, others)[0][m], unis[m])
  assert tiny.finite(apply(module, params, feats, nobody(feats)))


@each_head
def test_every_parameter_has_a_gradient_from_the_start(name):
  module, _, feats = case(name)

  @jax.jit
  @jax.grad
  def gradient(params):
    _, joint = apply(module, params, feats)
    return jnp.sum(jax.nn.log_softmax(joint)[:, 0])

  grads = gradient(fresh(module, feats))
  assert tiny.finite(grads)
  paths = jax.tree_util.tree_leaves_with_path(grads)
  assert [path for path, g in paths if not np.any(g)] == []


@each_head
@settings(max_examples=5, deadline=None)
@given(order=st.permutations(range(B)))
def test_examples_do_not_see_each_other(name, order):
  module, params, feats = case(name)
  order = np.asarray(order)
  shuffled = {m: z[order] for m, z in feats.items()}
  told = jax.device_get(apply(module, params, feats))
  want = jax.tree.map(lambda x: x[order], told)
  tiny.close(apply(module, params, shuffled), want)


def axes_of(tensor_kernel, order):
  """The kernel of a tensor head for modalities in another order."""
  size = round(tensor_kernel.shape[0] ** (1 / len(order)))
  tensor = tensor_kernel.reshape(*(size,) * len(order), -1)
  return np.moveaxis(tensor, order, range(len(order))).reshape(
    tensor_kernel.shape
  )


@each_head
def test_the_order_of_the_modalities_is_a_matter_of_bookkeeping(name):
  module, params, feats = case(name)
  names = MODALITIES[name]
  order = [1, 0] if len(names) == 2 else [2, 0, 1]
  moved = tuple(names[i] for i in order)
  options = {
    'film': dict(conditioner='audio'),
    'gated': dict(gate='audio'),
  }.get(name, {})
  params = jax.tree.map(lambda p: p, params)  # a copy
  if name in ('bifilm', 'bigated'):
    width = WIDTHS if name == 'bifilm' else dict.fromkeys(names, 6)
    params['out']['kernel'] = blocks(params['out']['kernel'], width, moved)
  if name == 'bifilm':
    for m in names:
      rest = {k: WIDTHS[k] for k in names if k != m}
      film = params[f'film_{m}']
      film['kernel'] = blocks(
        film['kernel'], rest, [k for k in moved if k != m]
      )
  if name == 'tensor':
    params['out']['kernel'] = axes_of(params['out']['kernel'], order)
  want = apply(module, case(name)[1], feats)
  other = head_of(name, moved, **options)
  tiny.close(apply(other, params, feats), want)


def blocks(kernel, widths, order):
  """Rows of a kernel, one block per modality, in another order."""
  stops = np.cumsum([widths[m] for m in widths])[:-1]
  parts = dict(zip(widths, np.split(kernel, stops)))
  return np.concatenate([parts[m] for m in order])


@pytest.mark.parametrize(
  'name, option', [('film', 'conditioner'), ('gated', 'gate')]
)
def test_which_modality_conditions_is_an_option(name, option):
  feats = features(PAIR, {'audio': 4, 'text': 4})
  params = shaken(fresh(head_of(name), feats))
  default, first, second = (
    apply(head_of(name, **{option: m}), params, feats)[1] for m in ('', *PAIR)
  )
  assert tiny.same(default, first)
  assert not np.allclose(default, second)


@functools.cache
def trained(name):
  """(world, state, losses) of joint training; the text comes in steps."""
  made = tiny.world(
    'joint',
    name,
    PAIR,
    encoders={**tiny.PLAIN, 'text': dict(name='steps')},
    optimizer=optim.sgd(lr=0.01),  # products of features ask for small steps
  )
  step = jax.jit(made.method.phases['joint'].step)
  state, told = jax.jit(made.init)(KEY), []
  for t in range(30):
    state, metrics = step(state, made.batch(t))
    told.append(float(metrics['loss/joint']))
  return made, state, told


@each_head
def test_joint_training_learns(name):
  _, _, told = trained(name)
  assert np.mean(told[-4:]) < 0.6 * np.mean(told[:4]), told


# Closed forms.


def with_ones(z):
  return np.concatenate([np.ones((len(z), 1), 'f4'), z], axis=1)


def outer(rows):
  """[1; z_1] x [1; z_2] x [1; z_3], in NumPy."""
  return np.einsum('bi,bj,bk->bijk', *rows)


def test_low_rank_is_a_tensor_of_that_rank():
  module = head_of('low_rank', rank=2)
  feats = features(THREE)
  params = shaken(fresh(module, feats))
  factors = [
    np.concatenate([params[f'one_{m}'][:, None], params[f'kernel_{m}']], axis=1)
    for m in THREE
  ]
  weight = np.einsum('ric,rjc,rkc->ijkc', *factors)
  tensor = outer([with_ones(feats[m]) for m in THREE])
  want = np.einsum('bijk,ijkc->bc', tensor, weight) + params['bias'][None]
  tiny.close(apply(module, params, feats)[1], want)


def test_tensor_classifies_all_products():
  module, params, feats = case('tensor')
  rows = [feats[m] @ params[f'project_{m}']['kernel'] for m in THREE]
  tensor = outer([with_ones(p) for p in rows]).reshape(B, -1)
  assert tensor.shape == (B, 4**3)
  want = tensor @ params['out']['kernel'] + params['out']['bias'][None]
  tiny.close(apply(module, params, feats)[1], want)


@pytest.mark.parametrize('names', [('audio',), PAIR, THREE])
def test_a_tensor_head_of_low_rank_is_the_low_rank_head(names):
  feats = features(names, dict.fromkeys(names, 4))
  small = head_of('low_rank', names, rank=3)
  params = shaken(fresh(small, feats))
  weight = np.ones((3, 1, C), 'f4')
  for m in names:
    factor = np.concatenate(
      [params[f'one_{m}'][:, None], params[f'kernel_{m}']], axis=1
    )
    weight = np.einsum('rec,ric->reic', weight, factor).reshape(3, -1, C)
  full = {
    **{f'project_{m}': {'kernel': np.eye(4, dtype='f4')} for m in names},
    'out': {'kernel': weight.sum(0), 'bias': params['bias']},
  }
  want = apply(small, params, feats)
  tiny.close(apply(head_of('tensor', names, width=4), full, feats), want)


def test_low_rank_starts_near_a_sum():
  module = head_of('low_rank')
  feats = jax.tree.map(lambda z: 1e-3 * z, features(THREE))
  params = fresh(module, feats)
  _, joint = apply(module, params, feats)
  maps = {m: params[f'kernel_{m}'].sum(0) for m in THREE}
  want = sum(feats[m] @ maps[m] for m in THREE)
  tiny.close(joint - 4, want, atol=2e-5)  # one per rank, alike for all classes


def test_gates_of_three_are_linear_in_the_others_side_by_side():
  module, params, feats = case('bigated')
  p = {
    m: feats[m] @ params[f'project_{m}']['kernel']
    + params[f'project_{m}']['bias'][None]
    for m in THREE
  }
  h = [jax.nn.sigmoid(sum(p[k] for k in THREE if k != m)) * p[m] for m in THREE]
  want = np.concatenate(h, axis=1) @ params['out']['kernel']
  want = want + params['out']['bias'][None]
  tiny.close(apply(module, params, feats)[1], want)


def test_films_of_three_are_linear_in_the_others_side_by_side():
  module, params, feats = case('bifilm')
  h = []
  for m in THREE:
    rest = np.concatenate([feats[k] for k in THREE if k != m], axis=1)
    film = params[f'film_{m}']
    both = rest @ film['kernel'] + film['bias'][None]
    gamma, beta = np.split(both, 2, axis=1)
    h.append(gamma * feats[m] + beta)
  want = np.concatenate(h, axis=1) @ params['out']['kernel']
  want = want + params['out']['bias'][None]
  tiny.close(apply(module, params, feats)[1], want)


# Attention bottlenecks.

STEPS = {'audio': 3, 'text': 4}


def ragged():
  rng, lengths = np.random.default_rng(1), np.array([4, 1, 2, 3, 4])[:, None]
  return {
    m: Ragged(
      noise(rng, B, STEPS[m], WIDTHS[m]),
      np.arange(STEPS[m]) < lengths,
    )
    for m in PAIR
  }


@functools.cache
def step_case():
  module, params, _ = case('bottleneck')  # features of the same widths
  return module, params, ragged()


def test_padding_steps_never_show():
  module, params, feats = step_case()
  want = apply(module, params, feats)
  text = feats['text']
  junk = np.where(text.mask[:, :, None], text.values, np.float32(1e6))
  more = np.full((B, 2, WIDTHS['text']), -1e6, 'f4')
  off = np.zeros((B, 2), bool)
  paddings = {
    'other values': Ragged(junk, text.mask),
    'behind': Ragged(
      np.concatenate([junk, more], 1), np.concatenate([text.mask, off], 1)
    ),
    'before': Ragged(
      np.concatenate([more, junk], 1), np.concatenate([off, text.mask], 1)
    ),
  }
  for padded in paddings.values():
    tiny.close(apply(module, params, {**feats, 'text': padded}), want)


def test_steps_and_their_order_show():
  module, params, feats = step_case()
  _, joint = apply(module, params, feats)
  values, mask = feats['text']
  turned = np.concatenate([values[:, 1::-1], values[:, 2:]], axis=1)
  swapped = Ragged(turned, mask)
  _, other = apply(module, params, {**feats, 'text': swapped})
  same = np.isclose(other, joint).all(axis=1)
  assert not same[[0, 2, 3, 4]].any()


def test_tokens_of_an_absent_modality_never_show():
  """Not theirs, and not those that their bottlenecks would bring."""
  module, params, feats = step_case()
  for m in PAIR:
    _, want = apply(module, params, {k: feats[k] for k in PAIR if k != m})
    present = {**everybody(PAIR), m: np.zeros(B, bool)}
    tiny.close(apply(module, params, feats, present)[1], want)


def test_a_feature_vector_is_one_step():
  module, params, feats = case('bottleneck')
  one = {m: Ragged(z[:, None], np.ones((B, 1), bool)) for m, z in feats.items()}
  assert tiny.same(apply(module, params, one), apply(module, params, feats))


def test_modalities_that_say_the_same_are_as_one():
  """The mean of equal bottlenecks and of equal logits changes nothing."""
  _, params, feats = step_case()
  twins = ('one', 'two')
  params = {
    key.replace('text', twin): p
    for key, p in params.items()
    if 'audio' not in key
    for twin in twins
  }
  feats = dict.fromkeys(twins, feats['text'])
  unis, joint = apply(head_of('bottleneck', twins), params, feats)
  tiny.close(unis['two'], unis['one'])
  tiny.close(joint, unis['one'])


def test_modalities_exchange_by_the_bottlenecks():
  module, params, feats = step_case()
  unis, joint = apply(module, params, feats)
  late = sum(unis.values()) / 2
  assert not np.isclose(joint, late).all(axis=1).any()


def test_dropout_is_for_training():
  plain, params, feats = step_case()
  module = head_of('bottleneck', dropout=0.5)

  @functools.partial(jax.jit, static_argnums=1)
  def joint(key, train):
    return module.apply(
      {'params': params}, feats, everybody(PAIR), train, rngs={'dropout': key}
    )[1]

  keys = [jax.random.key(seed) for seed in (0, 0, 1)]
  tiny.close(joint(keys[0], False), apply(plain, params, feats)[1])
  drawn = [joint(key, True) for key in keys]
  assert tiny.same(drawn[0], drawn[1])
  assert not np.allclose(drawn[0], drawn[2])


def test_places_count_real_steps():
  mask = jnp.asarray([[True, True, True], [False, True, True]])
  waves = places(mask, 5)
  assert waves.shape == (2, 3, 5)
  tiny.close(waves[0, :2], waves[1, 1:])
  tiny.close(waves[0, 2, 0], np.sin(2.0))
  tiny.close(waves[0, 2, 4], np.cos(2 * 10000 ** (-1 / 3)))


def test_steps_of_an_encoder_reach_the_bottleneck_head():
  made, state, _ = trained('bottleneck')
  batch, predict = made.batch(0), jax.jit(made.method.predict)
  joint = predict(state, batch).joint
  values, mask = jax.device_get(batch['text'])
  # The mean over steps stays, their order does not.
  turned = Ragged(values[:, ::-1], mask[:, ::-1])
  other = predict(state, {**batch, 'text': turned}).joint
  longer = np.sum(mask, axis=1) > 1
  same = np.isclose(other, joint, rtol=1e-4).all(axis=1)
  assert longer.any() and not same[longer].any() and same[~longer].all()


# Bad input.


@pytest.mark.parametrize(
  'name, many', [('film', 'bifilm'), ('gated', 'bigated')]
)
@pytest.mark.parametrize('names', [('audio',), THREE])
def test_heads_of_two_name_the_head_of_any_number(name, many, names):
  with pytest.raises(ValueError, match=f"exactly two.*the head '{many}'"):
    head_of(name, names)
  if len(names) > 2:
    head_of(many, names)


@pytest.mark.parametrize('name', ['bifilm', 'bigated'])
def test_one_modality_has_no_other(name):
  with pytest.raises(ValueError, match='two modalities or more.*only audio'):
    head_of(name, ('audio',))


@pytest.mark.parametrize(
  'name, options, says',
  [
    ('film', dict(conditioner='smell'), "conditioner='smell' is none of the"),
    ('gated', dict(gate='smell'), "head.gate='smell' is none of the mod"),
    ('gated', dict(width=-1), r'head.width=-1 must be positive, or 0'),
    ('bigated', dict(width=-1), r'head.width=-1 must be positive, or 0'),
    ('low_rank', dict(rank=0), 'head.rank=0 must be at least 1'),
    ('tensor', dict(width=0), 'head.width=0 must be at least 1'),
    ('bottleneck', dict(layers=1), 'layers=1 must be at least 2: one layer'),
    ('bottleneck', dict(bottlenecks=0), "bottlenecks=0 .* the head 'late'"),
    ('bottleneck', dict(heads=3), 'config.head.heads=3 does not divide'),
    ('bottleneck', dict(heads=0), 'heads=0 and .* at least 1'),
    ('bottleneck', dict(dropout=1.0), 'dropout=1.0 must be at least 0 and'),
    ('bifilm', dict(conditioner='audio'), 'head.conditioner does not exist'),
  ],
)
def test_options_that_make_no_sense(name, options, says):
  with pytest.raises(ValueError, match=says):
    head_of(name, **options)


def test_a_tensor_that_is_too_large_says_what_fits():
  names = tuple('abcd')
  with pytest.raises(ValueError, match='32.*1185921 entries.*width=18 or less'):
    head_of('tensor', names, width=32)
  head_of('tensor', names, width=18)
  with pytest.raises(ValueError, match='entries'):
    head_of('tensor', names, width=19)
  with pytest.raises(ValueError, match="131072. Take the head 'low_rank'"):
    head_of('tensor', tuple('abcdefghijklmnopqr'), width=1)


@pytest.mark.parametrize('name', [n for n in MODALITIES if n != 'bottleneck'])
def test_heads_that_need_all_say_who_is_missing(name):
  module, params, feats = case(name)
  some = {'audio': feats['audio']}
  with pytest.raises(ValueError, match=f"head '{name}' needs.*none of .*text"):
    apply(module, params, some)
