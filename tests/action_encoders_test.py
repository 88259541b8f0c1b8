"""Encoders of action recognition: skeleton, video, a projection head."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from models_test import infer, normal, padded, ragged, replace, same, train

from mmjax.base import Ragged
from mmjax.models import resnet, skeleton, tcn, video
from mmjax.models._temporal import differences, joined

KEY = jax.random.key(0)
ALL = jnp.ones(4, bool)
LENGTHS = [3, 6, 1, 5]
CHAIN = (0, 0, 1, 2, 3)  # five joints in a row
SMALL = dict(width=8, channels=6, blocks=1)
FRAMES = dict(**SMALL, patch=2, stages=(3, 4))

# name: (encoder, input of 4 examples)
CASES = {
  'skeleton': (
    skeleton.make(**SMALL, parents=CHAIN),
    ragged(1, LENGTHS, 5, 3),
  ),
  'skeleton flat': (
    skeleton.make(**SMALL, centre='first', norm='batch', stride=2),
    ragged(1, LENGTHS, 5, 2),
  ),
  'video depth': (video.make(**FRAMES), ragged(1, LENGTHS, 9, 8)),
  'video color': (
    video.make(**FRAMES, difference=True, norm='layer', pool=True),
    ragged(1, LENGTHS, 8, 8, 3),
  ),
}
cases = pytest.mark.parametrize('name', CASES)


@functools.partial(jax.jit, static_argnums=0)
def init(module, x):
  return module.init(KEY, x, ALL, False)


@functools.cache
def start(name):
  """Encoder, input and variables that are no longer those of init."""
  module, x = CASES[name]
  variables = init(module, x)
  rng = np.random.default_rng(0)
  variables = jax.tree.map(
    lambda a: a + np.float32(0.1 * np.abs(rng.normal(size=a.shape))), variables
  )
  return module, x, variables


@cases
def test_feature_width_and_dtype(name):
  module, x, variables = start(name)
  z_BD, _ = train(module, variables, x, ALL)
  assert z_BD.shape == (4, 8) and z_BD.dtype == jnp.float32
  assert np.ptp(np.asarray(z_BD), axis=0).max() > 1e-4  # rows differ
  assert {a.dtype for a in jax.tree.leaves(variables)} == {jnp.dtype('float32')}


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
  x = jax.tree.map(jnp.zeros_like, x)  # as examples that lack the modality
  old = variables.get('batch_stats', {})

  @jax.jit
  @functools.partial(jax.value_and_grad, has_aux=True)
  def loss(params):
    given = {'params': params, **({'batch_stats': old} if old else {})}
    z, stats = train(module, given, x, ~ALL)
    return jnp.sum(z * z), stats

  (value, stats), grads = loss(variables['params'])
  assert np.isfinite(value)
  assert all(np.isfinite(g).all() for g in jax.tree.leaves(grads))
  same(stats.get('batch_stats', {}), old)


@cases
def test_other_examples_never_show_in_evaluation(name):
  module, x, variables = start(name)
  whole = infer(module, variables, x)
  absent = infer(module, variables, replace(x, np.array([0]), 5))
  same(absent[1:], whole[1:], rtol=1e-5, atol=1e-6)


@cases
def test_length_of_the_padding_never_shows(name):
  module, x, variables = start(name)
  longer = padded(x, 5)
  a, b = (train(module, variables, v, ALL) for v in (x, longer))
  same(a, b, rtol=1e-4, atol=1e-5)
  a, b = (infer(module, variables, v) for v in (x, longer))
  same(a, b, rtol=1e-5, atol=1e-6)


@cases
def test_the_order_of_steps_counts(name):
  module, x, variables = start(name)
  all_BT, values = np.ones((4, 6), bool), (x.values, x.values[:, ::-1])
  a, b = (infer(module, variables, Ragged(v, all_BT)) for v in values)
  assert np.abs(a - b).max() > 1e-4


@pytest.mark.parametrize('name', ['video depth'])
def test_bfloat16_computes_and_returns_float32(name):
  module, x, variables = start(name)
  exact = infer(module, variables, x)
  z_BD = infer(module.clone(dtype='bfloat16'), variables, x)
  assert z_BD.dtype == jnp.float32
  assert np.abs(z_BD - exact).max() > 0
  same(z_BD, exact, rtol=0.1, atol=0.05 * np.abs(exact).max())


def test_differences_are_between_steps_that_are_real():
  x, mask = np.asarray(normal(0, 2, 5, 3)), np.ones((2, 5), bool)
  mask[1, 2] = False
  got = differences(jnp.array(x), jnp.array(mask))
  want = np.concatenate([np.zeros((2, 1, 3)), np.diff(x, axis=1)], axis=1)
  want[1, 2:4] = 0
  same(got, want, rtol=1e-6)


def test_joined_steps_stand_side_by_side():
  x, mask = np.asarray(normal(0, 2, 5, 3)), np.arange(5) < [[5], [3]]
  x = np.where(mask[:, :, None], x, 0)
  got, some = joined(jnp.array(x), jnp.array(mask), 2)
  assert got.shape == (2, 3, 6)
  for t in range(3):
    same(got[:, t, :3], x[:, 2 * t])
    same(got[:, t, 3:], x[:, 2 * t + 1] if t < 2 else np.zeros((2, 3)))
  same(some, np.array([[True, True, True], [True, True, False]]))


# Skeleton


def test_streams_are_joints_bones_and_velocities():
  """What the convolutions see, made by hand and given to a 'tcn'."""
  x = ragged(3, LENGTHS, 5, 3)
  module = skeleton.make(**SMALL, root=1, parents=CHAIN, velocity=3.0)
  variables = init(module, x)
  h = np.zeros((4, 6, 15, 3), np.float32)
  for i, length in enumerate(LENGTHS):
    joints = np.asarray(x.values[i, :length])
    middle = joints.mean(axis=1, keepdims=True)
    joints = joints / np.sqrt(((joints - middle) ** 2).sum(2).mean())
    joints = joints - joints[:, 1:2]
    bones = joints - joints[:, list(CHAIN)]
    moved = 3 * np.diff(joints, axis=0, prepend=joints[:1])
    h[i, :length] = np.concatenate([joints, bones, moved], axis=1)
  inner = {'params': variables['params']['TCN_0']}
  want = infer(tcn.make(**SMALL), inner, Ragged(h, x.mask))
  same(infer(module, variables, x), want, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize('centre', skeleton.CENTRES)
def test_where_the_body_stands_and_how_large_it_is(centre):
  x = ragged(3, LENGTHS, 5, 3)
  module = skeleton.make(**SMALL, centre=centre)
  variables = init(skeleton.make(**SMALL), x)
  z = infer(module, variables, x)

  def moves(values):
    other = infer(module, variables, Ragged(values, x.mask))
    return np.abs(other - z).max() > 1e-3

  away = normal(4, 4, 1, 1, 3)  # another place for each example
  on_the_way = away * jnp.arange(6)[None, :, None, None]
  assert moves(x.values + away) == (centre == 'none')
  assert moves(x.values + on_the_way) == (centre != 'frame')
  assert not moves(x.values * 2.5)


def test_without_its_options_a_skeleton_is_a_tcn():
  x = ragged(3, LENGTHS, 5, 3)
  off = dict(centre='none', scale=False, velocity=0.0)
  module = skeleton.make(**SMALL, **off)
  variables = init(module, x)
  inner = {'params': variables['params']['TCN_0']}
  same(infer(module, variables, x), infer(tcn.make(**SMALL), inner, x))


def test_a_body_of_no_size_is_finite():
  module, x, variables = start('skeleton')
  still = x._replace(values=jnp.ones_like(x.values))

  @jax.jit
  @jax.value_and_grad
  def loss(values):
    return jnp.sum(infer(module, variables, Ragged(values, x.mask)) ** 2)

  value, grad = loss(still.values)
  assert np.isfinite(value) and np.isfinite(grad).all()


# Video


def test_patches_are_cut_without_overlap():
  x = np.asarray(normal(0, 2, 7, 5, 3))
  got = video._patches(jnp.array(x), 3)
  whole = np.pad(x, ((0, 0), (0, 2), (0, 1), (0, 0)))
  for i in range(3):
    for j in range(2):
      cut = whole[:, 3 * i : 3 * i + 3, 3 * j : 3 * j + 3].reshape(2, -1)
      same(got[:, i, j], cut)


@pytest.mark.parametrize('pool', [True, False])
def test_only_without_pooling_it_counts_where_something_is(pool):
  """A shift by the stride of all, away from the edges."""
  module = video.make(**FRAMES, pool=pool, norm='layer')
  x = np.zeros((4, 2, 40, 40), np.float32)
  x[:, :, 9:12, 9:12] = normal(0, 4, 2, 3, 3)
  variables = init(module, x)
  a, b = (infer(module, variables, v) for v in (x, np.roll(x, 8, axis=2)))
  assert (np.abs(a - b).max() < 1e-5) == pool


def test_frames_of_one_channel_need_no_axis_for_it():
  module, x, variables = start('video depth')
  more = x._replace(values=x.values[..., None])
  same(infer(module, variables, x), infer(module, variables, more))


def test_differences_of_frames_see_what_moves():
  module, x, variables = start('video color')
  kernel = variables['params']['Conv_0']['kernel']  # patches 2 x 2 of 6
  moved = (np.arange(24) % 6 >= 3)[None, None, :, None]
  other = jax.tree.map(lambda a: a, variables)
  changed = kernel + moved * normal(2, *kernel.shape)
  other['params']['Conv_0'] = {'kernel': changed}
  still = x._replace(values=jnp.repeat(x.values[:, :1], 6, axis=1))
  same(infer(module, variables, still), infer(module, other, still), rtol=1e-6)
  a, b = (infer(module, v, x) for v in (variables, other))
  assert np.abs(a - b).max() > 1e-3


# ResNet's projection head


def test_a_projection_head_has_two_layers():
  x = normal(0, 4, 8, 8)
  small = dict(channels=4, stem='small')
  plain, headed = (
    resnet.ResNet(8, (1,), 8, False, 'small', 'float32', projection)
    for projection in (0, 5)
  )
  variables = init(headed, x)
  params = dict(variables['params'])
  first, second = params.pop('hidden'), params.pop('projection')
  z_BD = infer(plain, {**variables, 'params': params}, x)
  h = jnp.maximum(z_BD @ first['kernel'] + first['bias'][None], 0)
  want = h @ second['kernel'] + second['bias'][None]
  same(infer(headed, variables, x), want, rtol=1e-5, atol=1e-6)
  assert h.shape == (4, 5)
  made = resnet.make(width=32, projection=5, **small)
  assert made.projection == 5 and resnet.make(**small).projection == 0


# Bad input


@pytest.mark.parametrize(
  'call, word',
  [
    (lambda: skeleton.make(kernel=4), 'skeleton.kernel=4 .*odd'),
    (lambda: skeleton.make(norm='none'), 'batch'),
    (lambda: skeleton.make(stride=0), 'stride=0'),
    (lambda: skeleton.make(centre='hip'), "'hip' is none of none, frame"),
    (lambda: video.make(kernel=2), 'video.kernel=2 .*odd'),
    (lambda: video.make(norm='group'), 'layer'),
    (lambda: video.make(stages=()), '32, 64'),
    (lambda: video.make(patch=0), 'video.patch=0'),
    (lambda: resnet.make(projection=-1), 'projection=-1'),
  ],
)
def test_bad_hyperparameters_name_the_way_out(call, word):
  with pytest.raises(ValueError, match=word):
    call()


@pytest.mark.parametrize(
  'module, x, word',
  [
    (skeleton.make(), jnp.zeros((4, 6, 15)), "'tcn'"),
    (skeleton.make(), jnp.zeros((4, 6, 5, 4)), r'\[B, T, J, 3\]'),
    (skeleton.make(root=5), jnp.zeros((4, 6, 5, 3)), 'root=5 .*5 joints'),
    (skeleton.make(parents=(0,)), jnp.zeros((4, 6, 5, 3)), 'for each of them'),
    (
      skeleton.make(parents=(0, 5, 1, 2, 3)),
      jnp.zeros((4, 6, 5, 3)),
      'one of the 5 joints',
    ),
    (video.make(), jnp.zeros((4, 8, 8)), 'resnet'),
    (video.make(), ragged(0, LENGTHS, 6), 'tcn'),
  ],
)
def test_bad_input_names_the_way_out(module, x, word):
  with pytest.raises(ValueError, match=word):
    module.init(KEY, x, ALL, False)
