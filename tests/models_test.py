"""The unimodal encoders: masks, padding, statistics, parity with PyTorch."""

import functools

import flax.linen as nn
import hypothesis
import hypothesis.strategies as st
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import AxisType, NamedSharding, PartitionSpec

from mmjax.base import Ragged
from mmjax.models import (
  ast,
  cav_mae,
  m3ae,
  mlp,
  patch,
  resnet,
  tcn,
  text,
  wav2vec2,
  whisper,
)
from mmjax.models._norm import BatchNorm

KEY = jax.random.key(0)
RESNET = dict(
  width=8,
  stages=(1, 1),
  channels=4,
  bottleneck=False,
  stem='small',
  dtype='float32',
)
PATCH = dict(width=8, channels=8, layers=1, heads=2)
TEXT = dict(width=8, vocab=9, max_length=12, channels=8, heads=2)
SMALL = dict(width=8, channels=8, layers=1, heads=2)


def normal(seed, *shape):
  return jax.random.normal(jax.random.key(seed), shape)


def ragged(seed, lengths, *shape):
  values = normal(seed, len(lengths), max(lengths), *shape)
  return Ragged(values, np.arange(max(lengths)) < np.array(lengths)[:, None])


def tokens(seed, *shape):
  return jax.random.randint(jax.random.key(seed), shape, 0, 9)


# name: (encoder, input of 4 examples); every norm, every kind of input.
CASES = {
  'resnet': (resnet.ResNet(**RESNET), normal(1, 4, 9, 8, 3)),
  'resnet audio': (
    resnet.ResNet(**RESNET | dict(stem='imagenet')),
    normal(1, 4, 33, 30),
  ),
  'resnet frames': (
    resnet.ResNet(**RESNET | dict(width=5, bottleneck=True)),
    ragged(1, [2, 1, 2, 1], 8, 8),
  ),
  'mlp plain': (mlp.make(width=8, hidden=(16,)), normal(1, 4, 3, 5)),
  'mlp batch': (
    mlp.make(width=8, hidden=(9, 7), norm='batch'),
    normal(1, 4, 6),
  ),
  'mlp layer': (
    mlp.make(width=8, norm='layer', activation='gelu', dropout=0.5),
    ragged(1, [3, 5, 1, 4], 6),
  ),
  'tcn layer': (
    tcn.make(width=8, channels=6, blocks=2, dropout=0.5),
    ragged(1, [3, 9, 1, 7], 4),
  ),
  'tcn batch': (
    tcn.make(width=8, channels=6, blocks=2, norm='batch'),
    ragged(1, [3, 9, 1, 7], 2, 3),
  ),
  'tcn video': (tcn.make(width=8, channels=6, blocks=1), normal(1, 4, 5, 3, 3)),
  'patch image': (patch.make(**PATCH), normal(1, 4, 9, 8)),
  'patch color': (patch.make(**PATCH, dropout=0.5), normal(1, 4, 8, 8, 3)),
  'patch frames': (patch.make(**PATCH, frames=True), normal(1, 4, 3, 8, 8)),
  'patch ragged': (patch.make(**PATCH), ragged(1, [3, 9, 1, 7], 6)),
  'text': (text.make(**TEXT, dropout=0.5), tokens(1, 4, 7)),
  'text bag': (text.make(**TEXT, layers=0), tokens(1, 4, 7)),
  'wav2vec2': (
    wav2vec2.make(
      **SMALL, conv_channels=4, kernels=(4, 3), strides=(2, 2), places_groups=2
    ),
    ragged(1, [30, 41, 12, 5]),
  ),
  'whisper': (whisper.make(**SMALL), ragged(1, [3, 9, 1, 8], 5)),
  'ast': (ast.make(**SMALL, frames=9, mels=8, patch=4), normal(1, 4, 9, 8)),
  'cav_mae': (
    cav_mae.make(**SMALL, frames=8, mels=4, patch=4),
    normal(1, 4, 8, 4, 1),
  ),
  'm3ae': (m3ae.make(**SMALL, image=8, patch=4), normal(1, 4, 8, 8, 3)),
  'm3ae text': (
    m3ae.make(**SMALL, branch='text', vocab=9),
    tokens(1, 4, 7),
  ),
}
STATEFUL = ('resnet', 'mlp batch', 'tcn batch')
cases = pytest.mark.parametrize('name', CASES)
ALL = jnp.ones(4, bool)


@functools.cache
def start(name):
  """Encoder, input and variables that are no longer those of init."""
  module, x = CASES[name]
  keys = {'params': KEY, 'dropout': KEY}
  variables = jax.jit(functools.partial(module.init, train=False))(keys, x, ALL)
  leaves, tree = jax.tree.flatten(variables)
  leaves = [
    a + 0.1 * jnp.abs(normal(i, *a.shape)) for i, a in enumerate(leaves)
  ]
  return module, x, jax.tree.unflatten(tree, leaves)


@functools.partial(jax.jit, static_argnums=0)
def train(module, variables, x, valid_B, key=KEY):
  return module.apply(
    variables, x, valid_B, True, mutable=['batch_stats'], rngs={'dropout': key}
  )


@functools.partial(jax.jit, static_argnums=0)
def infer(module, variables, x, valid_B=ALL):
  return module.apply(variables, x, valid_B, False)


def replace(x, rows, value):
  """x with other content in some rows, its mask as it was."""
  if isinstance(x, Ragged):
    return Ragged(replace(x.values, rows, value), x.mask)
  return jnp.asarray(x).at[rows].set(value)


def same(a, b, **tolerance):
  a, b = jax.tree.leaves(a), jax.tree.leaves(b)
  assert len(a) == len(b)
  for x, y in zip(a, b):
    np.testing.assert_allclose(x, y, **(tolerance or dict(rtol=0, atol=0)))


@cases
def test_feature_width_and_dtype(name):
  module, x, variables = start(name)
  z_BD, _ = train(module, variables, x, ALL)
  assert z_BD.shape == (4, module.width)
  assert z_BD.dtype == jnp.float32
  assert np.ptp(np.asarray(z_BD), axis=0).max() > 1e-4  # rows differ
  dtypes = {a.dtype for a in jax.tree.leaves(variables)}
  assert dtypes == {jnp.dtype('float32')}


@cases
def test_rows_that_do_not_count_leave_no_trace_in_training(name):
  module, x, variables = start(name)
  valid_B = jnp.array([True, False, True, False])
  other = replace(x, np.array([1, 3]), 7)
  z, stats = train(module, variables, x, valid_B)
  z_other, stats_other = train(module, variables, other, valid_B)
  same(z[::2], z_other[::2], rtol=1e-5, atol=1e-6)
  same(stats, stats_other, rtol=1e-5, atol=1e-6)


@cases
def test_nothing_valid_is_finite_and_moves_no_statistics(name):
  module, x, variables = start(name)

  def loss(params):
    z, stats = train(module, {**variables, 'params': params}, x, ~ALL)
    return jnp.sum(z * z), stats

  (value, stats), grads = jax.value_and_grad(loss, has_aux=True)(
    variables['params']
  )
  assert np.isfinite(value)
  assert all(np.isfinite(g).all() for g in jax.tree.leaves(grads))
  old = variables.get('batch_stats', {})
  for a, b in zip(
    jax.tree.leaves(stats.get('batch_stats', {})), jax.tree.leaves(old)
  ):
    assert np.asarray(a).tobytes() == np.asarray(b).tobytes()


@cases
def test_evaluation_takes_every_example_by_itself(name):
  module, x, variables = start(name)
  whole = infer(module, variables, x)
  alone = infer(module, variables, jax.tree.map(lambda a: a[2:3], x), ALL[:1])
  same(alone, whole[2:3], rtol=1e-5, atol=1e-6)
  absent = infer(module, variables, replace(x, np.array([0]), 5))
  same(absent[1:], whole[1:], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
  'name', ['resnet', 'tcn batch', 'patch ragged', 'text']
)
def test_seeds_axis_is_the_single_runs(name):
  module, x, variables = start(name)
  many = jax.tree.map(lambda a: jnp.stack([a, a * 1.1]), variables)
  keys = jax.random.split(KEY, 2)
  batched = jax.vmap(lambda v, k: train(module, v, x, ALL, k))(many, keys)
  for seed in range(2):
    one = jax.tree.map(lambda a: a[seed], many)  # noqa: B023
    single = train(module, one, x, ALL, keys[seed])
    same(jax.tree.map(lambda a: a[seed], batched), single, rtol=1e-4, atol=1e-5)  # noqa: B023


@pytest.mark.parametrize('name', STATEFUL)
def test_running_statistics_move_in_training_only(name):
  module, x, variables = start(name)
  _, stats = train(module, variables, x, ALL)
  old = variables['batch_stats']
  for a, b in zip(jax.tree.leaves(stats['batch_stats']), jax.tree.leaves(old)):
    assert np.all(np.asarray(a) != np.asarray(b))
  _, still = module.apply(variables, x, ALL, False, mutable=['batch_stats'])
  same(still['batch_stats'], old)


@pytest.mark.parametrize('name', ['mlp layer', 'tcn layer', 'text'])
def test_dropout_follows_its_key_and_rests_in_evaluation(name):
  module, x, variables = start(name)
  first, again, other = (
    train(module, variables, x, ALL, jax.random.key(i))[0] for i in (1, 1, 2)
  )
  same(first, again)
  assert np.abs(first - other).max() > 1e-3
  resting = [
    module.apply(variables, x, ALL, False, rngs={'dropout': jax.random.key(i)})
    for i in (1, 2)
  ]
  same(*resting)


def test_batch_sharded_over_eight_devices_has_global_statistics():
  module, x, variables = start('mlp batch')
  x, valid_B = normal(3, 16, 6), jnp.arange(16) % 5 > 0
  mesh = jax.make_mesh((8,), ('data',), axis_types=(AxisType.Auto,))
  rows = NamedSharding(mesh, PartitionSpec('data'))
  placed = jax.device_put((x, valid_B), rows)
  sharded = train(module, variables, *placed)
  same(sharded, train(module, variables, x, valid_B), rtol=1e-5, atol=1e-6)


# BatchNorm


def norm(x, mask, dtype='float32', seed=0):
  module = BatchNorm(dtype=dtype)
  size = x.shape[-1:]
  variables = {
    'params': {
      'scale': 1 + normal(seed, *size),
      'bias': normal(seed + 1, *size),
    },
    'batch_stats': {
      'mean': normal(seed + 2, *size),
      'var': jnp.full(size, 2.0),
    },
  }
  return module.apply(variables, x, mask, True, mutable=['batch_stats'])


@hypothesis.settings(deadline=None, max_examples=20)
@hypothesis.given(
  mask=st.lists(st.booleans(), min_size=6, max_size=6).filter(any),
  scale=st.sampled_from([1e-2, 1.0, 1e2]),
)
def test_batch_norm_sees_the_valid_subset_alone(mask, scale):
  x, mask = 3 + scale * normal(5, 6, 4, 3), np.array(mask)
  y, stats = norm(x, jnp.array(mask))
  y_subset, stats_subset = norm(x[mask], jnp.ones(mask.sum(), bool))
  # A sum in another order moves the mean, 3, by its rounding: 1e-5 standard
  # deviations of the smallest scale, or a few.
  same(y[mask], y_subset, rtol=1e-3, atol=5e-4)
  same(stats, stats_subset, rtol=1e-5)


def test_batch_norm_of_steps_sees_the_real_steps_alone():
  x, mask = normal(5, 3, 4, 2), np.tril(np.ones((3, 4), bool))
  y, stats = norm(x, jnp.array(mask))
  y_flat, stats_flat = norm(x[mask], jnp.ones(mask.sum(), bool))
  same(y[mask], y_flat, rtol=1e-5, atol=1e-6)
  same(stats, stats_flat, rtol=1e-5)


def test_batch_norm_gradient_is_flaxs():
  x, g = 2 + normal(5, 6, 4, 3), normal(6, 6, 4, 3)
  reference = nn.BatchNorm(use_running_average=False, momentum=0.9)
  params = {'scale': normal(7, 3), 'bias': normal(8, 3)}
  stats = {'mean': jnp.zeros(3), 'var': jnp.ones(3)}

  def loss(apply, params, x):
    variables = {'params': params, 'batch_stats': stats}
    return jnp.vdot(apply(variables, x, mutable=['batch_stats'])[0], g)

  def apply(variables, x, mutable):
    mask = jnp.ones(6, bool)
    return BatchNorm().apply(variables, x, mask, True, mutable=mutable)

  own = jax.grad(loss, (1, 2))(apply, params, x)
  expected = jax.grad(loss, (1, 2))(reference.apply, params, x)
  same(own, expected, rtol=1e-4, atol=1e-5)


def test_batch_norm_running_statistics_are_pytorchs():
  torch = pytest.importorskip('torch', reason='parity with PyTorch needs torch')
  layer = torch.nn.BatchNorm1d(3)  # momentum .1, unbiased running variance
  module, mask = BatchNorm(), jnp.ones(5, bool)
  variables = module.init(KEY, normal(0, 5, 3), mask, False)
  for seed in range(3):
    x = 1 + 2 * normal(seed, 5, 3)
    y, stats = module.apply(variables, x, mask, True, mutable=['batch_stats'])
    variables = {**variables, **stats}
    same(y, layer(torch.tensor(np.array(x))).detach(), rtol=1e-4, atol=1e-5)
  mine = variables['batch_stats']
  same(mine['mean'], layer.running_mean, rtol=1e-5)
  same(mine['var'], layer.running_var, rtol=1e-5)


# ResNet


def torch_resnet(torch, stages, channels):
  """A ResNet of basic blocks in torch.nn, without classifier."""
  F = torch.nn.functional

  def unit(inputs, outputs, kernel, stride):
    return torch.nn.Sequential(
      torch.nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, bias=False),
      torch.nn.BatchNorm2d(outputs),
    )

  class Basic(torch.nn.Module):
    def __init__(self, inputs, outputs, stride):
      super().__init__()
      self.units = torch.nn.ModuleList(
        [unit(inputs, outputs, 3, stride), unit(outputs, outputs, 3, 1)]
      )
      if stride != 1 or inputs != outputs:
        self.units.append(unit(inputs, outputs, 1, stride))

    def forward(self, x):
      y = self.units[1](F.relu(self.units[0](x)))
      return F.relu(y + (self.units[2](x) if len(self.units) > 2 else x))

  layers = [
    unit(3, channels, 7, 2),
    torch.nn.ReLU(),
    torch.nn.MaxPool2d(3, 2, 1),
  ]
  inputs = channels
  for i, blocks in enumerate(stages):
    for j in range(blocks):
      outputs = channels * 2**i
      layers.append(Basic(inputs, outputs, 2 if i and not j else 1))
      inputs = outputs
  layers += [torch.nn.AdaptiveAvgPool2d(1), torch.nn.Flatten()]
  return torch.nn.Sequential(*layers)


def from_torch(net):
  """Weights of `torch_resnet` under our names: both count units in order."""
  params, stats = {}, {}
  units = [net[0]] + [u for layer in net for u in getattr(layer, 'units', [])]
  owners = [()] + [
    (f'Block_{i}',)
    for i, layer in enumerate([m for m in net if hasattr(m, 'units')])
    for _ in layer.units
  ]
  seen = {}
  for owner, (conv, bn) in zip(owners, units):
    i = seen[owner] = seen.get(owner, -1) + 1
    p, s = params, stats
    for name in owner:
      p, s = p.setdefault(name, {}), s.setdefault(name, {})
    weight = conv.weight.detach().permute(2, 3, 1, 0)
    p[f'Conv_{i}'] = {'kernel': jnp.array(weight.numpy())}
    get = lambda t: jnp.array(t.detach().numpy())  # noqa: E731
    p[f'BatchNorm_{i}'] = {'scale': get(bn.weight), 'bias': get(bn.bias)}
    s[f'BatchNorm_{i}'] = {
      'mean': get(bn.running_mean),
      'var': get(bn.running_var),
    }
  return {'params': params, 'batch_stats': stats}


def test_resnet18_is_pytorchs_in_training_and_evaluation():
  torch = pytest.importorskip('torch', reason='parity with PyTorch needs torch')
  torch.manual_seed(0)
  net = torch_resnet(torch, (2, 2, 2, 2), 8)
  for layer in net.modules():
    if isinstance(layer, torch.nn.BatchNorm2d):
      torch.nn.init.uniform_(layer.weight, 0.5, 1.5)
      torch.nn.init.normal_(layer.bias, std=0.2)
  module = resnet.make(width=64, channels=8)
  variables = from_torch(net)
  x, g = normal(1, 4, 65, 62, 3), normal(2, 4, 64)
  x_torch = torch.tensor(np.array(x)).permute(0, 3, 1, 2)

  def loss(params):
    z, stats = train(module, {**variables, 'params': params}, x, ALL)
    return jnp.vdot(z, g), (z, stats)

  (_, (z, stats)), grads = jax.value_and_grad(loss, has_aux=True)(
    variables['params']
  )
  z_torch = net(x_torch)
  same(z, z_torch.detach(), rtol=1e-4, atol=1e-4)
  (z_torch * torch.tensor(np.array(g))).sum().backward()
  first = net[0][0].weight.grad.permute(2, 3, 1, 0)
  scale = float(first.abs().max())
  same(grads['Conv_0']['kernel'] / scale, first / scale, atol=1e-4)

  moved = from_torch(net)  # its running statistics after one batch
  same(stats['batch_stats'], moved['batch_stats'], rtol=1e-4, atol=1e-5)
  z = infer(module, {**variables, **stats}, x)
  same(z, net.eval()(x_torch).detach(), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
  'depth, width, count',
  # torchvision's 11,689,512, 21,797,672 and 25,557,032 less the classifier
  [(18, 512, 11_176_512), (34, 512, 21_284_672), (50, 2048, 23_508_032)],
)
def test_resnet_parameter_counts(depth, width, count):
  module = resnet.make(width=width, depth=depth)
  x = jax.ShapeDtypeStruct((2, 64, 64, 3), jnp.float32)
  init = functools.partial(module.init, train=False)
  variables = jax.eval_shape(init, KEY, x, jnp.ones(2, bool))
  assert sum(a.size for a in jax.tree.leaves(variables['params'])) == count


def test_resnet_projects_onto_another_width_only():
  for width, projected in ((32, False), (20, True)):
    module = resnet.make(width=width, channels=4, stem='small')
    init = functools.partial(module.init, train=False)
    variables = jax.eval_shape(init, KEY, normal(0, 4, 8, 8), ALL)
    assert ('projection' in variables['params']) == projected


def test_resnet_averages_frames():
  module, _, variables = start('resnet frames')
  x = normal(2, 4, 2, 8, 8, 1)
  each = [infer(module, variables, x[:, t]) for t in range(2)]
  same(infer(module, variables, x), sum(each) / 2, rtol=1e-5, atol=1e-6)
  part = Ragged(x, jnp.array([[True, False]] * 4))
  same(infer(module, variables, part), each[0], rtol=1e-5, atol=1e-6)


def test_resnet_initial_weights_are_kaiming_normal_over_the_fan_out():
  module = resnet.ResNet(**RESNET | dict(channels=128))
  variables = module.init(KEY, normal(0, 1, 4, 4, 1), ALL[:1], False)
  kernel = variables['params']['Block_1']['Conv_0']['kernel']  # 128 to 256
  np.testing.assert_allclose(kernel.std(), (2 / (9 * 256)) ** 0.5, rtol=0.01)
  assert abs(kernel).max() > 4 * kernel.std()  # not truncated


# Sequences


def padded(x, extra):
  """The same examples, padded further and with rubbish."""
  B, T = x.mask.shape
  shape = (B, extra) + x.values.shape[2:]
  values = jnp.concatenate([x.values, 9 + normal(extra, *shape)], 1)
  mask = np.concatenate([x.mask, np.zeros((B, extra), bool)], 1)
  return Ragged(values, mask)


@pytest.mark.parametrize('name', ['tcn layer', 'tcn batch', 'patch ragged'])
def test_length_of_the_padding_never_shows(name):
  module, x, variables = start(name)
  module = module.clone(dropout=0.0)  # its mask is drawn for the padded shape
  longer = padded(x, 5)
  a, b = (train(module, variables, v, ALL) for v in (x, longer))
  same(a, b, rtol=1e-5, atol=1e-6)
  a, b = (infer(module, variables, v) for v in (x, longer))
  same(a, b, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize('name', ['text', 'text bag'])
def test_padding_tokens_never_show(name):
  module, x, variables = start(name)
  x = jnp.maximum(x, 1)
  longer = jnp.pad(x, ((0, 0), (0, 4)))
  a, b = infer(module, variables, x), infer(module, variables, longer)
  same(a, b, rtol=1e-5, atol=1e-6)
  mask = jnp.arange(11)[None] < jnp.full(4, 7)[:, None]
  c = infer(module, variables, Ragged(longer + 3 * ~mask, mask))
  same(a, c, rtol=1e-5, atol=1e-6)


def test_tcn_sees_as_far_as_its_dilations():
  module = tcn.make(width=4, channels=4, blocks=3)  # reach 2 (1 + 2 + 4) = 14
  x = normal(0, 1, 40, 2)
  variables = module.init(KEY, x, ALL[:1], False)

  def last(x):
    """Feature of the sequence whose last step alone is pooled."""
    _, state = module.apply(
      variables, x, ALL[:1], False, capture_intermediates=True
    )
    return state['intermediates']['Block_2']['__call__'][0][0, -1].sum()

  reach = np.flatnonzero(np.abs(jax.grad(last)(x)[0]).sum(-1))
  assert reach.min() == 40 - 1 - 14


def test_sequences_of_arrays_flatten_their_frames():
  module, x, variables = start('tcn video')
  flat = x.reshape(4, 5, 9)
  same(infer(module, variables, x), infer(module, variables, flat))


def test_mlp_without_hidden_layers_is_dense_and_activation():
  module = mlp.make(width=3, hidden=(), activation_out='relu')
  x = normal(0, 4, 2, 5)
  variables = module.init(KEY, x, ALL, False)
  dense = variables['params']['Dense_0']
  expected = jnp.maximum(x.reshape(4, 10) @ dense['kernel'], 0)
  same(infer(module, variables, x), expected, rtol=1e-6)


def test_mlp_averages_the_real_steps():
  module = mlp.make(width=3, hidden=(4,))
  x = ragged(1, [2, 3, 1, 3], 2, 2)
  variables = module.init(KEY, x, ALL, False)
  values = [np.asarray(x.values[i][x.mask[i]]).mean(0) for i in range(4)]
  same(
    infer(module, variables, x),
    infer(module, variables, np.stack(values)),
    rtol=1e-5,
  )


@pytest.mark.parametrize('shape', [(8, 12, 2), (7, 10, 1)])
def test_patches_are_cut_without_overlap(shape):
  H, W, C = shape
  x = np.asarray(normal(0, 2, 3, *shape))
  cut = patch._patches(jnp.array(x), (4, 3))
  x = np.pad(x, ((0, 0), (0, 0), (0, -H % 4), (0, -W % 3), (0, 0)))
  expected = [
    x[:, :, i : i + 4, j : j + 3].reshape(2, 3, -1)
    for i in range(0, H, 4)
    for j in range(0, W, 3)
  ]
  np.testing.assert_array_equal(cut, np.stack(expected, 2))


@pytest.mark.parametrize(
  'name, axis',
  [('patch image', 1), ('patch frames', 1), ('patch frames', 2), ('text', 1)],
)
def test_position_counts(name, axis):
  module, x, variables = start(name)
  turned = jnp.flip(x, axis)
  a, b = infer(module, variables, x), infer(module, variables, turned)
  assert np.abs(a - b).max() > 1e-4


def test_bag_of_words_has_no_order():
  module, x, variables = start('text bag')
  a, b = infer(module, variables, x), infer(module, variables, x[:, ::-1])
  same(a, b, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize('name', ['text', 'text bag'])
def test_text_of_padding_alone_is_finite(name):
  module, x, variables = start(name)
  x = x.at[1].set(0)

  def loss(params):
    return jnp.sum(infer(module, {'params': params}, x) ** 2)

  value, grads = jax.value_and_grad(loss)(variables['params'])
  assert np.isfinite(value)
  assert all(np.isfinite(g).all() for g in jax.tree.leaves(grads))


@pytest.mark.parametrize(
  'name', ['resnet', 'mlp batch', 'tcn layer', 'patch color', 'text bag']
)
def test_bfloat16_computes_and_returns_float32(name):
  module, x, variables = start(name)
  module = module.clone(dtype='bfloat16')
  exact = infer(CASES[name][0], variables, x)
  z_BD = infer(module, variables, x)
  assert z_BD.dtype == jnp.float32
  assert np.abs(z_BD - exact).max() > 0
  same(z_BD, exact, rtol=0.1, atol=0.05 * np.abs(exact).max())


# Bad input


@pytest.mark.parametrize(
  'call, word',
  [
    (lambda: resnet.make(depth=20), '18, 34, 50'),
    (lambda: resnet.make(stem='tiny'), 'small'),
    (lambda: mlp.make(activation='swish'), 'gelu'),
    (lambda: mlp.make(activation_out='softmax'), 'relu'),
    (lambda: mlp.make(norm='group'), 'layer'),
    (lambda: tcn.make(kernel=4), 'odd'),
    (lambda: tcn.make(norm='none'), 'batch'),
    (lambda: patch.make(patch=(4,)), 'pair'),
    (lambda: patch.make(channels=30, heads=4), 'divisor'),
    (lambda: text.make(channels=30, heads=4), 'divisor'),
  ],
)
def test_bad_hyperparameters_name_the_way_out(call, word):
  with pytest.raises(ValueError, match=word):
    call()


@pytest.mark.parametrize(
  'module, x, word',
  [
    (resnet.make(), jnp.zeros((4, 9)), 'frames'),
    (resnet.make(), ragged(0, [1, 2, 3, 4], 6), 'tcn'),
    (patch.make(), jnp.zeros((4, 9)), 'mlp'),
    (tcn.make(), jnp.zeros(4), 'sequence'),
    (text.make(max_length=5), jnp.zeros((4, 6), int), 'max_length'),
    (text.make(), jnp.zeros((4, 6)), 'integer'),
  ],
)
def test_bad_input_names_the_way_out(module, x, word):
  with pytest.raises(ValueError, match=word):
    module.init(KEY, x, ALL, False)
