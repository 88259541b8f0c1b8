"""The RSA-CFN family of heads: released numbers, sizes, options, pictures."""

import functools

import flax
import hypothesis
import hypothesis.strategies as st
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.special
import tiny

from mmjax import _compose
from mmjax.base import Ragged
from mmjax.models import identity, net, steps
from mmjax.models.fusion import _rsa_attention

KEY = jax.random.key(0)
PAIR = ('wav', 'text')
WIDTH = {'wav': 6, 'text': 4, 'face': 5}
B, C = 3, 7

# Options of the shrunk heads that the released code was run with.
SMALL = {
  'early': {},
  'late': dict(normalize=True),
  'stack': {},
  'mlp_mixer': dict(max_steps=dict(wav=3, text=4), width=5, hidden=8),
  'residual': dict(hidden=6),
  'rsa': dict(hidden=6, attention=5),
  'rsa_cfn': dict(projection=5, attention=3, hidden=8),
  'hybrid': dict(residual_hidden=6, projection=5, attention=3, hidden=8),
}
HEADS = tuple(SMALL)
WHOLE = tuple(h for h in HEADS if h != 'late')
each = pytest.mark.parametrize('name', HEADS)

# Where the released weights go: {path below body: torch module}.
TOWER = {'tower/first': 'res_block.0', 'tower/second': 'res_block2.0'}
ENDS = {'norm': 'norm', 'classifier': 'classifier'}
CROSS = {
  'project_wav': 'wav_proj',
  'project_text': 'rnn_proj',
  'attention_wav': 'wave_attn',
  'attention_text': 'text_attn',
  'norm_wav': 'wav_norm',
  'norm_text': 'rnn_norm',
}
LATE = {'linear/wav': 'wave_classifier', 'linear/text': 'text_classifier'}
CROSS_TOP = {'hidden': 'classifier.0', 'classifier': 'classifier.3'}
MIXER = {
  'project_wav': 'audio_projection',
  'project_text': 'text_projection',
  'block_0/norm': 'm_blocks.0.ln',
  'block_0/channels/first': 'm_blocks.0.modal_mixing.fc',
  'block_0/channels/second': 'm_blocks.0.modal_mixing.fc2',
  'block_0/tokens/first': 'm_blocks.0.sequence_mixing.fc',
  'block_0/tokens/second': 'm_blocks.0.sequence_mixing.fc2',
  'norm': 'ln',
  'hidden': 'classifier.1',
  'classifier': 'classifier.4',
}


def under(path, names, prefix=''):
  return {f'{path}/{k}': prefix + v for k, v in names.items()}


RELEASED = {
  'early': ('early_fusion', ENDS),
  'late': ('late_fusion', LATE | {'norm': 'norm'}),
  'stack': ('stack', ENDS),
  'mlp_mixer': ('mlp_mixer', {k: f'mixer_layer.{v}' for k, v in MIXER.items()}),
  'residual': ('residual', ENDS | TOWER),
  'rsa': ('rsa', ENDS | TOWER | {'attention': 'attn'}),
  'rsa_cfn': ('rsa_cfn', CROSS | TOWER | CROSS_TOP),
  'hybrid': (
    'hybrid_fusion',
    under('early', ENDS, 'base_')
    | LATE
    | {'late_norm': 'lf_norm', 'norm': 'hybrid_norm'}
    | under('residual', ENDS | TOWER, 'res_')
    | under('residual', TOWER)
    | under('cross', CROSS)
    | under('cross', TOWER | CROSS_TOP, 'rac_'),
  ),
}


def head(name, modalities=PAIR, classes=C, **options):
  given = dict(modalities=modalities, num_classes=classes)
  return _compose.lookup(
    'models.fusion', dict(name=name, **options), 'config.head', given
  )(**given)


def small(name, modalities=PAIR, **options):
  options = SMALL[name] | options
  if 'max_steps' in options and len(modalities) > 2:
    options['max_steps'] = 4
  return head(name, modalities, **options)


def normal(seed, *shape):
  return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


def features(modalities=PAIR, batch=B):
  return {m: normal(i, batch, WIDTH[m]) for i, m in enumerate(modalities)}


def everybody(modalities=PAIR, batch=B):
  return {m: np.ones(batch, bool) for m in modalities}


def some(module, feats, present):
  """Parameters that are no longer those of init, made without compiling."""
  return fill(lambda: module.init(KEY, feats, present, False)['params'])


def fill(init):
  leaves, tree = jax.tree.flatten(jax.eval_shape(init))
  rng = np.random.default_rng(0)
  leaves = [0.5 * rng.normal(size=a.shape).astype('f4') for a in leaves]
  return tree.unflatten(leaves)


@functools.cache
def started(name, modalities=PAIR, **options):
  """A head and its parameters."""
  module = small(name, modalities, **options)
  return module, some(module, features(modalities), everybody(modalities))


def run(module, params, feats, present, train=False, key=KEY):
  """((unis, joint), extras); there is no key to draw from but in training."""
  told, shown = module.apply(
    {'params': params},
    feats,
    present,
    train,
    rngs={'dropout': key} if train else {},
    mutable=['extras'],
  )
  return told, {k: v for k, (v,) in shown.get('extras', {}).items()}


@functools.partial(jax.jit, static_argnums=0)
def apply(module, params, feats, present):
  return run(module, params, feats, present)


@functools.partial(jax.jit, static_argnums=(0, 4))
def joint_of(module, params, feats, present, train=False, key=KEY):
  """Fused logits alone, which compile sooner."""
  return run(module, params, feats, present, train, key)[0][1]


# The released numbers.


def released(golden, name):
  """(params, outputs) of the released head, as ours."""
  method, names = RELEASED[name]
  given = {
    k.removeprefix(f'{method}_param_'): golden[k]
    for k in golden.files
    if k.startswith(f'{method}_param_')
  }
  flat = {}

  def put(path, torch):
    weight, bias = given.pop(f'{torch}.weight'), given.pop(f'{torch}.bias')
    kind = 'kernel' if weight.ndim == 2 else 'scale'
    flat[f'{path}/{kind}'], flat[f'{path}/bias'] = weight.T, bias

  for path, torch in names.items():
    if f'{torch}.Q.weight' not in given:
      if f'{torch}.weight' in given:
        put(path, torch)
      continue
    for ours, theirs in {'query': 'Q', 'key': 'K', 'value': 'V'}.items():
      for kind, what in {'kernel': 'weight', 'bias': 'bias'}.items():
        value = given.pop(f'{torch}.{theirs}.{what}').ravel()
        value = value[0] if ours == 'value' else value
        flat[f'{path}/{ours}_{kind}'] = value
  assert not given, 'released weights that nothing takes'
  nested = flax.traverse_util.unflatten_dict(flat, sep='/')
  return nested if name == 'late' else {'body': nested}, golden[f'{method}_out']


@pytest.fixture(scope='module')
def golden(shared):
  return np.load(shared / 'golden/rsacfn_heads.npz', allow_pickle=False)


@each
def test_logits_are_those_of_the_released_code(golden, name):
  params, want = released(golden, name)
  modalities, feats = PAIR, {m: golden[m] for m in PAIR}
  if name == 'mlp_mixer':
    modalities = ('text', 'wav')  # the order of tokens
    feats = {
      m: Ragged(x, np.ones(x.shape[:2], bool))
      for m, x in ((m, golden[f'mlp_mixer_{m}']) for m in PAIR)
    }
  module = small(name, modalities)
  has = everybody(batch=len(want))
  shape = jax.eval_shape(lambda: module.init(KEY, feats, has, False)['params'])
  assert jax.tree.map(np.shape, params) == jax.tree.map(np.shape, shape)
  (_, joint), extras = apply(module, params, feats, has)
  tiny.close(joint, want, rtol=1e-5, atol=1e-6)
  if name == 'rsa':
    A = golden['rsa_attn']
    tiny.close(extras['received'], A.sum(1), rtol=1e-5, atol=1e-6)
    blocks = [A[:, i][:, :, j].mean((1, 2)) for i in PARTS for j in PARTS]
    want = 10 * np.stack(blocks, 1).reshape(-1, 2, 2)
    tiny.close(extras['attention'], want, rtol=1e-5, atol=1e-6)


PARTS = (slice(0, 6), slice(6, 10))  # of the released coordinates


# Sizes.


@pytest.mark.parametrize(
  'name, want',
  [
    ('early', 16_135),
    ('late', 12_572),
    ('stack', 16_135),
    ('mlp_mixer', 1_344_207),
    ('residual', 5_064_711),
    ('rsa', 5_065_737),
    ('rsa_cfn', 328_300_813),
    ('hybrid', 333_394_245),
  ],
)
def test_default_sizes_are_the_published_ones(name, want):
  options = {
    'late': dict(normalize=True),
    'mlp_mixer': dict(max_steps=dict(wav=299, text=256)),
  }
  module = head(name, **options.get(name, {}))
  feats = {'wav': np.ones((2, 1024), 'f4'), 'text': np.ones((2, 768), 'f4')}
  if name == 'mlp_mixer':
    feats = {m: Ragged(z[:, None], z[:, :1] > 0) for m, z in feats.items()}
  params = jax.eval_shape(
    lambda: module.init(KEY, feats, everybody(batch=2), False)['params']
  )
  assert sum(p.size for p in jax.tree.leaves(params)) == want


def test_a_stack_of_separate_classifiers_has_each_of_them():
  _, shared = started('stack')
  _, separate = started('stack', classifiers='separate')
  assert len(shared['body']) == 2 and len(separate['body']) == 6


def test_the_late_head_as_it_was_has_no_norm():
  _, params = started('late', normalize=False)
  assert set(params) == {'linear'}
  _, params = started('late')
  assert set(params) == {'linear', 'norm'}


def test_layers_start_as_the_released_ones():
  module = head('residual', hidden=60)
  feats = {'wav': np.ones((1, 50), 'f4'), 'text': np.ones((1, 50), 'f4')}
  init = jax.jit(module.init, static_argnums=3)
  params = init(KEY, feats, everybody(batch=1), False)['params']['body']
  for name, fan_in in {'first': 100, 'second': 160}.items():
    layer = params['tower'][name]
    for value in layer.values():
      largest = fan_in**0.5 * np.abs(value).max()
      assert 0.9 < largest <= 1


# What every one of them does.


@each
@pytest.mark.parametrize('modalities', [('wav',), ('wav', 'text', 'face')])
def test_there_may_be_any_number_of_modalities(name, modalities):
  options = {'max_steps': 4} if name == 'mlp_mixer' else {}
  init = small(name, modalities, **options).init_with_output
  given = (features(modalities), everybody(modalities))
  (unis, joint), _ = jax.eval_shape(lambda *g: init(KEY, *g, False), *given)
  assert set(unis) == set(modalities)
  for logits in (*unis.values(), joint):
    assert logits.shape == (B, C) and logits.dtype == jnp.float32


@each
def test_a_missing_modality_is_as_if_it_had_never_been_looked_at(name):
  module, params = started(name)
  feats = features()
  has = {**everybody(), 'text': np.array([True, False, True])}
  (unis, joint), _ = apply(module, params, feats, has)
  (_, full), _ = apply(module, params, feats, everybody())
  tiny.close(joint[::2], full[::2])
  assert np.abs(joint[1] - full[1]).max() > 1e-3
  tiny.close(joint[1], unis['wav'][1])
  other = {**feats, 'text': feats['text'] + 9 * ~has['text'][:, None]}
  assert tiny.same(apply(module, params, other, has)[0][1], joint)
  nobody = jax.tree.map(np.zeros_like, (feats, everybody()))
  assert tiny.finite(apply(module, params, *nobody))


@each
def test_dropout_is_active_in_training_only(name):
  module, params = started(name)
  given = (params, features(), everybody())
  (_, still), _ = apply(module, *given)
  one = joint_of(module, *given, True)
  assert tiny.same(one, joint_of(module, *given, True))
  other = joint_of(module, *given, True, jax.random.key(1))
  if name in ('early', 'late'):
    tiny.close((one, other), (still, still))
  else:
    assert not np.allclose(one, other) and not np.allclose(one, still)


@each
def test_gradients_reach_all_parameters_that_can_matter(name):
  module, params = started(name)

  def energy(params, has):
    joint = joint_of(module, params, features(batch=9), has)
    return jnp.sum(joint**2)

  grads = jax.jit(jax.grad(energy))(params, everybody(batch=9))
  got = flax.traverse_util.flatten_dict(grads)
  for path, value in got.items():
    # What all keys share does not move the softmax.
    assert np.any(value) != (path[-1] == 'key_bias'), path


@pytest.mark.parametrize('name', ['rsa_cfn', 'late'])
def test_the_layers_of_a_modality_that_nobody_has_rest(name):
  module, params = started(name)
  has = {**everybody(), 'text': np.zeros(B, bool)}

  def energy(params):
    return jnp.sum(joint_of(module, params, features(), has) ** 2)

  grads = jax.jit(jax.grad(energy))(params)
  got = flax.traverse_util.flatten_dict(grads, sep='/')
  for path, value in got.items():
    if 'text' in path:
      assert not np.any(value), path
    if 'project_wav' in path or 'linear/wav' in path:
      assert np.any(value), path


def test_what_is_not_asked_for_is_not_computed():
  module, params = started('rsa')
  given = (params, features(), everybody())

  def flops(ask):
    lowered = jax.jit(lambda *g: ask(*run(module, *g))).lower(*given)
    return lowered.compile().cost_analysis()['flops']

  joint = flops(lambda told, _: told[1])
  assert flops(lambda told, extras: (told[1], extras)) > joint
  assert flops(lambda told, _: told) > 2.5 * joint  # of 3 forward passes


# Attention.


def explicit(params, u_BN):
  """Self-attention with queries, keys and values written out."""
  q, k, v = (
    u_BN[:, :, None] * jnp.reshape(params[f'{n}_kernel'], (1, 1, -1))
    + jnp.reshape(params[f'{n}_bias'], (1, 1, -1))
    for n in ('query', 'key', 'value')
  )
  score = jnp.einsum('bid,bjd->bij', q, k) / q.shape[-1] ** 0.5
  A = jnp.exp(score) / jnp.sum(jnp.exp(score), -1, keepdims=True)
  return (A @ v)[:, :, 0], A


def test_attention_is_that_of_queries_and_keys():
  module = _rsa_attention.ScalarAttention(5)
  u_BN = normal(3, 4, 8)
  shapes = jax.eval_shape(module.init, KEY, u_BN)['params']
  params = {k: normal(i, *v.shape) for i, (k, v) in enumerate(shapes.items())}

  @functools.partial(jax.jit, static_argnums=0)
  def pull(f):
    def energy(params, u_BN):
      o_BN, A = f(params, u_BN)
      return jnp.sum(o_BN**3), (o_BN, A)

    return jax.value_and_grad(energy, (0, 1), has_aux=True)(params, u_BN)

  got = pull(lambda p, u: module.apply({'params': p}, u))
  tiny.close(got, pull(explicit), rtol=1e-4, atol=1e-4)


picture = jax.jit(_rsa_attention.between_blocks, static_argnums=1)


@hypothesis.settings(deadline=None, max_examples=20)
@hypothesis.given(
  widths=st.sampled_from([(6, 4), (1, 3, 2), (5,)]),
  seed=st.integers(0, 2**31 - 1),
)
def test_the_picture_is_a_mean_with_one_as_uniform(widths, seed):
  N = sum(widths)
  A = np.random.default_rng(seed).dirichlet(np.ones(N), (2, N)).astype('f4')
  shown = np.asarray(picture(A, widths))
  share = np.array(widths) / N
  np.testing.assert_allclose(shown @ share, 1, rtol=1e-4)
  received = np.asarray(_rsa_attention.received(A))
  np.testing.assert_allclose(received.mean(1), 1, rtol=1e-4)
  starts = np.cumsum((0, *widths))[:-1]
  by_block = np.add.reduceat(received, starts, axis=1) / np.array(widths)
  np.testing.assert_allclose(share @ shown, by_block, rtol=1e-4)
  even = np.full((2, N, N), 1 / N, 'f4')
  np.testing.assert_allclose(picture(even, widths), 1, rtol=1e-4)


def test_heads_show_what_they_say():
  three = ('wav', 'text', 'face')
  want = {
    'rsa': {'attention': (B, 3, 3), 'received': (B, 15)},
    'rsa_cfn': {'received': (B, 3, 5)},
    'hybrid': {'branches': (B, 4, C)},
    'early': {},
  }
  for name, shapes in want.items():
    module, params = started(name, three)
    given = (params, features(three), everybody(three))
    _, extras = jax.eval_shape(functools.partial(run, module), *given)
    assert {k: v.shape for k, v in extras.items()} == shapes
  module, params = started('rsa_cfn')
  _, extras = apply(module, params, features(), everybody())
  tiny.close(np.mean(extras['received'], 2), np.ones((B, 2)))


# Forms in which paper and release differ.


def dense(params, x):
  return x @ params['kernel'] + params['bias'][None]


def layer_norm(params, x):
  x = np.asarray(x, np.float64)
  x = x - x.mean(-1, keepdims=True)
  x = x / np.sqrt((x**2).mean(-1, keepdims=True) + 1e-5)
  shape = (1,) * (x.ndim - 1) + (-1,)
  scale, bias = (params[k].reshape(shape) for k in ('scale', 'bias'))
  return (x * scale + bias).astype('f4')


def normed(params):
  feats = features()
  x_BN = np.concatenate([feats[m] for m in PAIR], 1)
  return x_BN, layer_norm(params['norm'], x_BN)


def test_a_stack_of_shared_classifiers_is_early_fusion_without_dropout():
  _, params = started('stack')
  given = (params, features(), everybody())
  early, _ = apply(small('early'), *given)
  tiny.close(apply(small('stack'), *given)[0], early)


def test_a_stack_of_separate_classifiers_is_their_mean():
  module, params = started('stack', classifiers='separate')
  joint = joint_of(module, params, features(), everybody())
  body = params['body']
  _, u_BN = normed(body)
  logits = [dense(body[f'classifier_{s}'], u_BN) for s in range(5)]
  tiny.close(joint, sum(logits) / 5)
  assert np.abs(logits[0] - logits[1]).max() > 0.1


@pytest.mark.parametrize('classifiers', ['shared', 'separate'])
def test_samples_of_dropout_are_averaged(classifiers):
  """The spread over masks shrinks with their number, around no dropout."""
  feats = {m: np.tile(z[:1], (4000, 1)) for m, z in features().items()}
  has = everybody(batch=4000)
  _, params = started('stack', classifiers=classifiers)
  if classifiers == 'separate':  # all alike, or the mean itself would differ
    one = params['body']['classifier_0']
    params = {
      'body': {k: v if k == 'norm' else one for k, v in params['body'].items()}
    }
  spread = {}
  for samples in (1, 5):
    module = small('stack', samples=samples, classifiers=classifiers)
    joint = joint_of(module, params, feats, has, True)
    still = joint_of(module, params, feats, has)
    spread[samples] = joint.var(0)
    error = np.abs(joint.mean(0) - still[0])
    assert np.all(error < 5 * joint.std(0) / 4000**0.5)
  np.testing.assert_allclose(spread[1] / spread[5], 5, rtol=0.2)


def test_what_skips_the_tower_can_be_chosen():
  for name, skip in {'residual': 'input', 'rsa': 'attention'}.items():
    _, params = started(name)
    given = (params, features(), everybody())
    joint = joint_of(small(name), *given)
    other = joint_of(small(name, skip=skip), *given)
    body = params['body']
    x_BN, u_BN = normed(body)
    if skip == 'attention':
      x_BN, _ = explicit(body['attention'], u_BN)
    want = joint + (x_BN - u_BN) @ body['classifier']['kernel']
    tiny.close(other, want)
    assert np.abs(other - joint).max() > 0.1


def test_a_vote_is_of_normed_logits_or_of_probabilities():
  module, params = started('hybrid')
  given = (params, features(), everybody())
  (_, joint), extras = apply(module, *given)
  branches = np.asarray(extras['branches'])
  want = layer_norm(params['body']['norm'], branches).mean(1)
  tiny.close(joint, want)
  (_, joint), extras = apply(small('hybrid', vote='probability'), *given)
  assert tiny.same(extras['branches'], branches)
  tiny.close(np.exp(joint), scipy.special.softmax(branches, -1).mean(1))


def test_branches_of_the_hybrid_are_the_heads_of_their_names():
  module, params = started('hybrid')
  given = (features(), everybody())
  _, extras = apply(module, params, *given)
  branches = np.asarray(extras['branches'])
  body = params['body']
  late = {'linear': body['linear'], 'norm': body['late_norm']}
  parts = {
    'early': {'body': body['early']},
    'late': late,
    'residual': {'body': body['residual']},
    'rsa_cfn': {'body': body['cross']},
  }
  for i, (name, part) in enumerate(parts.items()):
    (_, logits), _ = apply(small(name), part, *given)
    tiny.close(branches[:, i], logits)


# The mixer and its steps.

MIX = dict(max_steps=4, width=5, hidden=8)


def sequences(*lengths, total=None, seed=0):
  """`Ragged` per modality of these lengths, with rubbish in the padding."""
  total = total or max(lengths)
  mask = np.arange(total) < np.array(lengths)[:, None]
  feats = {}
  for m in PAIR:
    real = normal(seed + len(m), len(lengths), 9, WIDTH[m])[:, :total]
    feats[m] = Ragged(np.where(mask[:, :, None], real, np.float32(77)), mask)
  return feats


@functools.cache
def mixer(**options):
  module = head('mlp_mixer', **MIX | options)
  return module, some(module, sequences(4, 4, 4), everybody())


def gelu(x):
  return x * (1 + scipy.special.erf(x / 2**0.5)) / 2


def mixed(params, x, mask, second_norm, pool):
  """Block, norm, mean and MLP of the mixer from zero-padded tokens."""
  body, block = params['body'], params['body']['block_0']

  def mlp(p, x):
    flat = x.reshape(-1, x.shape[-1])
    h = gelu(dense(p['first'], flat))
    return dense(p['second'], h).reshape(x.shape)

  y = mlp(block['tokens'], layer_norm(block['norm'], x).swapaxes(1, 2))
  y = y.swapaxes(1, 2)
  if second_norm == 'released':
    z = x + y + mlp(block['channels'], layer_norm(block['norm'], y))
  else:
    seen = layer_norm(block['second_norm'], x + y)
    z = x + y + mlp(block['channels'], seen)
  z = layer_norm(body['norm'], z)
  weight = mask if pool == 'real' else np.ones_like(mask)
  weight = weight / weight.sum(1, keepdims=True)
  h = dense(body['hidden'], (z * weight[:, :, None]).sum(1))
  return dense(body['classifier'], gelu(h))


@pytest.mark.parametrize('second_norm', ['released', 'standard'])
@pytest.mark.parametrize('pool', ['all', 'real'])
def test_mixers_follow_their_formula(second_norm, pool):
  module, params = mixer(second_norm=second_norm, pool=pool)
  feats = sequences(2, 3, 1)
  joint = joint_of(module, params, feats, everybody())
  tokens, masks = [], []
  for m in PAIR:
    x = np.stack(
      [
        dense(params['body'][f'project_{m}'], np.asarray(z))
        for z in feats[m][0]
      ]
    )
    pad = ((0, 0), (0, 1))
    mask = np.pad(feats[m].mask, pad)
    tokens.append(np.where(mask[:, :, None], np.pad(x, (*pad, (0, 0))), 0))
    masks.append(mask)
  x, mask = np.concatenate(tokens, 1), np.concatenate(masks, 1)
  want = mixed(params, x, mask, second_norm, pool)
  tiny.close(joint, want, rtol=1e-4, atol=1e-4)


def test_the_length_to_which_a_batch_is_padded_does_not_show():
  module, params = mixer()
  short, long = (
    joint_of(module, params, sequences(2, 3, 1, total=total), everybody())
    for total in (3, 7)
  )
  tiny.close(short, long)


def test_steps_beyond_the_count_are_cut_off():
  module, params = mixer()
  cut, long, less = (
    joint_of(module, params, sequences(*lengths, total=7), everybody())
    for lengths in ((4, 4, 4), (7, 4, 6), (3, 4, 4))
  )
  tiny.close(cut, long)
  assert np.abs(less[0] - cut[0]).max() > 1e-3


def test_a_vector_is_one_token():
  module, params = started('mlp_mixer')
  feats = features()
  steps = {
    m: Ragged(z[:, None], np.ones((B, 1), bool)) for m, z in feats.items()
  }
  vector = joint_of(module, params, feats, everybody())
  module = small('mlp_mixer', max_steps=1)
  tiny.close(vector, joint_of(module, params, steps, everybody()))


@pytest.mark.parametrize('pool', ['all', 'real'])
def test_steps_of_a_missing_modality_leave_no_trace(pool):
  module, params = mixer(pool=pool)
  feats = sequences(2, 3, 1)
  has = {**everybody(), 'wav': np.zeros(B, bool)}
  (unis, joint), _ = apply(module, params, feats, has)
  empty = Ragged(np.zeros_like(feats['wav'].values), feats['wav'].mask & False)
  other, _ = apply(module, params, {**feats, 'wav': empty}, everybody())
  tiny.close((unis['text'], joint), (other[0]['text'], other[1]))
  tiny.close(joint, unis['text'])


# In a net.


def test_in_a_net_the_mixer_sees_steps_and_others_their_mean():
  encoders = {'wav': steps.make(width=6), 'text': identity.make(width=4)}
  data = {
    'wav': Ragged(normal(0, B, 4, 9), np.arange(4) < np.array([[4], [2], [1]])),
    'text': normal(1, B, 4),
    'mask': np.ones(B, bool),
    'present': everybody(),
  }
  turned = {
    **data,
    'wav': data['wav']._replace(values=data['wav'].values[:, ::-1]),
  }
  turned['wav'] = turned['wav']._replace(mask=data['wav'].mask[:, ::-1])
  for name in ('mlp_mixer', 'rsa'):
    network = net.compose(encoders, small(name))
    params = fill(lambda n=network: n.init(KEY, data)[0])

    @jax.jit
    def forward(data, network=network, params=params):
      out, _ = network.forward(params, dict.fromkeys(params, {}), data, KEY)
      return out._replace(unis={})

    out, other = forward(data), forward(turned)
    assert out.feats['wav'].shape == (B, 6)
    tiny.close(out.feats, other.feats)
    same = np.allclose(out.joint, other.joint, atol=1e-5)
    assert same == (name == 'rsa')
    if name == 'rsa':
      assert out.extras['attention'].shape == (B, 2, 2)
      share = np.array([0.6, 0.4], 'f4')
      shown = np.asarray(out.extras['attention'])
      tiny.close(shown @ share, np.ones((B, 2)))


# Bad input.


@pytest.mark.parametrize(
  'name, options, message',
  [
    ('stack', dict(samples=0), r'config.head.samples=0 must be at least 1'),
    ('stack', dict(dropout=1), r'config.head.dropout=1 must be in \[0, 1\)'),
    ('stack', dict(classifiers='own'), "'own' is none of shared, separate"),
    ('residual', dict(hidden=0), 'config.head.hidden=0'),
    ('residual', dict(skip='attention'), 'is none of norm, input'),
    ('rsa', dict(attention=0), 'config.head.attention=0'),
    ('rsa', dict(skip='input'), 'is none of norm, attention'),
    ('rsa_cfn', dict(projection=0), 'config.head.projection=0'),
    ('rsa_cfn', dict(dropout=-1), 'config.head.dropout=-1'),
    ('hybrid', dict(vote='hard'), 'is none of norm, probability'),
    ('hybrid', dict(residual_hidden=0), 'config.head.residual_hidden=0'),
    ('mlp_mixer', dict(max_steps=0), 'config.head.max_steps.wav=0'),
    ('mlp_mixer', dict(max_steps=dict(wav=3)), 'is of wav; it must be of wav,'),
    ('mlp_mixer', dict(pool='some'), 'is none of all, real'),
    ('mlp_mixer', dict(second_norm='no'), 'is none of released, standard'),
  ],
)
def test_options_out_of_range_are_named(name, options, message):
  with pytest.raises(ValueError, match=message):
    head(name, **options)


@pytest.mark.parametrize('name', ['rsa_cfn', 'hybrid'])
def test_a_cross_fusion_too_big_for_memory_is_refused_with_a_way_out(name):
  three = ('wav', 'text', 'face')
  with pytest.raises(ValueError, match='Take projection=24 or less') as told:
    head(name, three, projection=128)
  assert '2,146,689 numbers' in str(told.value)
  head(name, three, projection=24)
  with pytest.raises(ValueError, match='fewer modalities, or raise'):
    head(name, projection=5, max_parameters=1000)
  # Without a projection it shows with the widths of the features.
  feats = {m: np.ones((B, 30), 'f4') for m in three}
  with pytest.raises(ValueError, match='projection=30 and 3 modalities'):
    jax.eval_shape(
      lambda: head(name, three).init(KEY, feats, everybody(three), False)
    )


@pytest.mark.parametrize('name', WHOLE)
def test_a_subset_of_the_modalities_is_refused(name):
  module, params = started(name)
  feats = {'wav': features()['wav']}
  with pytest.raises(ValueError, match=r"none of \['text'\]. Take another"):
    apply(module, params, feats, everybody())
