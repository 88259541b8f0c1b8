"""Augmentation: what it does to pictures and to sound, and on what it hangs."""

import functools

import chex
import jax
import jax.numpy as jnp
import numpy as np
import PIL.Image
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jax.sharding import AxisType, NamedSharding, PartitionSpec

from mmjax import base
from mmjax.data import _crops, _motion, augment


def batch_of(count=8, shape=(2, 20, 24, 3), seed=0):
  rng = np.random.default_rng(seed)
  return {
    'visual': rng.integers(0, 256, (count, *shape), dtype=np.uint8),
    'audio': rng.standard_normal((count, 12, 10, 1)).astype(np.float32),
    'label': np.zeros(count, np.int32),
    'index': np.arange(100, 100 + count, dtype=np.int32),
  }


def both(**image):
  return augment.compose(
    {
      'visual': dict(name='image', size=16, **image),
      'audio': dict(name='spec_augment', widths=(4, 4)),
    }
  )


def smooth(height, width):
  """A picture whose value is linear in the place: [H, W, 3] of 0..200."""
  y_H, x_W = np.linspace(0, 200, height), np.linspace(0, 200, width)
  channels = [
    np.broadcast_to(y_H[:, None], (height, width)),
    np.broadcast_to(x_W[None], (height, width)),
    np.full((height, width), 77.0),
  ]
  return np.stack(channels, -1).astype(np.uint8)


def test_modalities_without_section_and_other_entries_pass():
  batch = batch_of()
  transform = augment.compose({'audio': dict(name='standardize')})
  out = transform.train(jax.random.key(0), batch)
  assert set(out) == set(batch)
  assert out['visual'] is batch['visual']
  assert transform.eval(batch)['label'] is batch['label']


def test_eval_is_pil_resize_and_standardised():
  batch = {'visual': smooth(40, 60)[None], 'index': np.zeros(1, np.int32)}
  out = augment.compose({'visual': dict(name='image', size=16)}).eval(batch)
  pil = PIL.Image.fromarray(batch['visual'][0]).resize(
    (16, 16), PIL.Image.Resampling.BILINEAR
  )
  mean, std = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
  want = (np.asarray(pil) / 255 - mean) / std
  # PIL rounds to integers: half a grey level, twice.
  np.testing.assert_allclose(out['visual'][0], want, atol=1.5 / 255 / 0.22)
  assert out['visual'].dtype == jnp.float32


def test_train_without_freedom_is_eval():
  fixed = dict(scale=(1.0, 1.0), ratio=(1.0, 1.0), flip=0.0)
  batch = batch_of(shape=(24, 24, 3))
  transform = both(**fixed)
  chex.assert_trees_all_close(
    jax.jit(transform.train)(jax.random.key(3), batch)['visual'],
    transform.eval(batch)['visual'],
    atol=1e-5,
  )


def test_flip_mirrors():
  fixed = dict(scale=(1.0, 1.0), ratio=(1.0, 1.0))
  batch = batch_of(shape=(16, 16, 3))
  key = jax.random.key(0)
  still = jax.jit(both(**fixed, flip=0.0).train)(key, batch)['visual']
  turned = jax.jit(both(**fixed, flip=1.0).train)(key, batch)['visual']
  np.testing.assert_allclose(turned, still[:, :, ::-1], atol=1e-5)


@functools.cache
def draw_boxes(h, w, scale, ratio):
  return jax.jit(jax.vmap(lambda u_N: _crops.box(u_N, (h, w), scale, ratio)))


@settings(deadline=None, max_examples=15)
@given(st.integers(0, 2**30), st.sampled_from([(24, 24), (20, 28), (40, 9)]))
def test_boxes_lie_inside_with_the_area_and_ratio_asked_for(seed, shape):
  (h, w), scale, ratio = shape, (0.2, 0.6), (0.75, 1.5)
  u_BN = np.random.default_rng(seed).random((64, _crops.DRAWS), np.float32)
  boxes = draw_boxes(h, w, scale, ratio)(u_BN)
  top, left, height, width = np.asarray(boxes).T
  assert (top >= 0).all() and (left >= 0).all()
  assert (top + height <= h).all() and (left + width <= w).all()
  # Sides are whole pixels: each is off by at most a half.
  fits = h / w < 1.5 and w / h < 1.5  # else the central fallback may come
  if fits:
    assert ((height + 0.5) * (width + 0.5) >= 0.2 * h * w).all()
    assert ((height - 0.5) * (width - 0.5) <= 0.6 * h * w).all()
  assert ((width - 0.5) / (height + 0.5) <= 1.5).all()
  assert ((width + 0.5) / (height - 0.5) >= 0.75).all()


def test_box_falls_back_to_the_centre():
  # No crop of the whole area of a 4:1 picture has a ratio near 1.
  u_N = jnp.full(_crops.DRAWS, 0.5)
  box = _crops.box(u_N, (10, 40), (1.0, 1.0), (0.9, 1.1))
  np.testing.assert_array_equal(box, [0, 14, 10, 11])


def test_boxes_reach_everywhere():
  u_BN = np.random.default_rng(0).random((500, _crops.DRAWS), np.float32)
  boxes = draw_boxes(9, 9, (0.1, 0.1), (1.0, 1.0))(u_BN)
  assert set(np.asarray(boxes)[:, 0]) == set(range(7))
  np.testing.assert_array_equal(boxes[:, 2:], 3)


def test_whole_numbers_stay_below_the_bound():
  almost_one = np.nextafter(np.float32(1), np.float32(0))
  for bound in (1, 3, 7, 100, 1000):
    assert _crops.below(almost_one, bound) == bound - 1
  u = np.random.default_rng(0).random(3000, np.float32)
  counts = np.bincount(np.asarray(_crops.below(u, 3.0)).astype(int))
  np.testing.assert_allclose(counts, 1000, atol=100)


def test_cut_of_whole_pixels_is_a_slice():
  x = jax.random.uniform(jax.random.key(0), (20, 24, 3))
  got = _crops.cut(x, jnp.array([3.0, 5.0, 8.0, 8.0]), 8)
  np.testing.assert_allclose(got, x[3:11, 5:13], atol=1e-5)


def test_crop_shows_the_part_it_says():
  # In a picture linear in the place, pixels tell where they are from.
  x = jnp.asarray(smooth(41, 41), jnp.float32)
  got = _crops.cut(x, jnp.array([10.0, 20.0, 20.0, 10.0]), 10)
  want_y = 10 + (np.arange(10) + 0.5) * 2 - 0.5
  want_x = 20 + np.arange(10)
  np.testing.assert_allclose(got[:, 5, 0] / 5, want_y, atol=0.2)
  np.testing.assert_allclose(got[5, :, 1] / 5, want_x, atol=0.2)


def test_frames_are_cropped_each_for_itself_unless_told():
  frame = batch_of(count=2, shape=(1, 20, 24, 3))['visual']
  batch = {'visual': np.repeat(frame, 3, 1), 'index': np.arange(2)}
  section = dict(name='image', size=8)
  key = jax.random.key(0)
  train = jax.jit(augment.compose({'visual': section}).train)
  apart = train(key, batch)['visual']
  assert not np.allclose(apart[:, 0], apart[:, 1])
  same = dict(section, same_crop=True)
  alike = jax.jit(augment.compose({'visual': same}).train)(key, batch)['visual']
  np.testing.assert_allclose(alike[:, 0], alike[:, 2], atol=1e-6)
  assert not np.allclose(alike[0], alike[1])


def test_an_example_hangs_on_its_index_not_on_its_place():
  batch, train = batch_of(), jax.jit(both().train)
  key = jax.random.key(7)
  whole = train(key, batch)
  order = np.array([5, 2, 7])
  part = train(key, {k: v[order] for k, v in batch.items()})
  for modality in ('visual', 'audio'):
    np.testing.assert_allclose(
      part[modality], whole[modality][order], atol=1e-5
    )
  moved = train(key, batch | {'index': batch['index'] + 1})
  assert not np.allclose(moved['visual'], whole['visual'])


def test_a_modality_does_not_hang_on_the_others():
  batch, key = batch_of(), jax.random.key(7)
  alone = augment.compose({'audio': dict(name='spec_augment', widths=(4, 4))})
  np.testing.assert_array_equal(
    jax.jit(alone.train)(key, batch)['audio'],
    jax.jit(both().train)(key, batch)['audio'],
  )


def test_sharded_equals_one_device():
  devices = jax.devices()
  assert len(devices) == 8
  mesh = jax.make_mesh((8,), ('data',), axis_types=(AxisType.Auto,))
  sharding = NamedSharding(mesh, PartitionSpec('data'))
  batch, transform = batch_of(count=16), both()
  key = jax.random.key(1)
  one = jax.jit(transform.train)(key, batch)
  many = jax.jit(transform.train)(key, jax.device_put(batch, sharding))
  assert many['visual'].sharding.is_equivalent_to(sharding, 5)
  chex.assert_trees_all_close(one, many, atol=2e-6)


def test_seeds_axis_equals_separate_seeds():
  batch, transform = batch_of(count=4), both()
  keys = jax.random.split(jax.random.key(0), 2)
  together = jax.jit(jax.vmap(transform.train, (0, None)))(keys, batch)
  train = jax.jit(transform.train)
  for i in range(2):
    alone = train(keys[i], batch)
    chex.assert_trees_all_close(
      alone, jax.tree.map(lambda x, i=i: x[i], together), atol=1e-5
    )


def test_spec_augment_masks_stripes_and_keeps_the_rest():
  batch, key = batch_of(count=64), jax.random.key(0)
  section = dict(name='spec_augment', widths=(4, 3), masks=(1, 2), fill=9.0)
  out = augment.compose({'audio': section}).train(key, batch)['audio'][..., 0]
  x, hit = batch['audio'][..., 0], np.asarray(out) == 9.0
  np.testing.assert_array_equal(np.asarray(out)[~hit], x[~hit])
  rows, columns = hit.all(2), hit.all(1)  # whole stripes
  np.testing.assert_array_equal(hit, rows[:, :, None] | columns[:, None])
  assert set(rows.sum(1)) == {0, 1, 2, 3, 4}
  assert columns.sum(1).max() <= 6
  edges = np.abs(np.diff(np.pad(rows, ((0, 0), (1, 1))).astype(int))).sum(1)
  assert set(edges) <= {0, 2}  # one stripe, in one piece


def test_spec_augment_fills_with_the_mean_by_default():
  batch = batch_of(count=4)
  section = dict(name='spec_augment', widths=(12, 0), masks=(5, 0))
  out = augment.compose({'audio': section}).train(jax.random.key(2), batch)
  x, y = batch['audio'], np.asarray(out['audio'])
  mean = np.broadcast_to(x.mean((1, 2, 3), keepdims=True), x.shape)
  assert (y != x).any()
  np.testing.assert_allclose(y[y != x], mean[y != x], atol=1e-6)


def test_standardize_and_its_gradient():
  section = dict(name='standardize', mean=(1.0, 2.0), std=(2.0, 4.0))
  transform = augment.compose({'x': section})
  batch = {'x': jnp.array([[3.0, 2.0], [1.0, 10.0]]), 'index': jnp.arange(2)}
  np.testing.assert_array_equal(transform.eval(batch)['x'], [[1, 0], [0, 2]])
  key = jax.random.key(0)
  grad = jax.grad(lambda x: transform.train(key, batch | {'x': x})['x'].sum())
  np.testing.assert_array_equal(grad(batch['x']), [[0.5, 0.25]] * 2)


def test_standardize_leaves_padding_zero():
  x = base.Ragged(jnp.ones((2, 3, 4)), jnp.array([[1, 1, 0], [1, 0, 0]], bool))
  transform = augment.compose({'x': dict(name='standardize', mean=3.0)})
  out = transform.eval({'x': x})['x']
  np.testing.assert_array_equal(out.values[..., 0], [[-2, -2, 0], [-2, 0, 0]])


def test_gradient_passes_masks():
  batch, key = batch_of(count=2), jax.random.key(0)
  section = dict(name='spec_augment', widths=(4, 4), fill=0.0)
  train = augment.compose({'audio': section}).train
  x = jnp.asarray(batch['audio'])
  grad = jax.grad(lambda x: train(key, batch | {'audio': x})['audio'].sum())(x)
  hit = np.asarray(train(key, batch)['audio']) == 0.0
  np.testing.assert_array_equal(grad, np.where(hit, 0.0, 1.0))


@pytest.mark.parametrize(
  'sections, text',
  [
    ({'audio': dict(name='nois')}, "'nois' is not one of .*spec_augment"),
    ({'audio': dict(name='image', sizes=3)}, 'has no sizes; it has size'),
    ({'audio': dict(name='standardize', std=0.0)}, 'above 0'),
    ({'audio': dict(name='image', scale=(1.0, 0.5))}, 'least, most'),
    ({'audio': dict(name='spec_augment', masks=(-1, 0))}, 'at least 0'),
  ],
)
def test_bad_sections_are_named(sections, text):
  with pytest.raises(ValueError, match=text):
    augment.compose(sections)


@pytest.mark.parametrize(
  'sections, text',
  [
    ({'vidual': dict(name='image')}, 'vidual; .* are audio, visual'),
    ({'audio': dict(name='image')}, 'wants uint8'),
    ({'visual': dict(name='spec_augment')}, 'wants spectrograms'),
    ({'visual': dict(name='image', mean=(0.0, 0.0))}, '2 entries'),
  ],
)
def test_sections_that_do_not_fit_the_batch_are_named(sections, text):
  with pytest.raises(ValueError, match=text):
    augment.compose(sections).train(jax.random.key(0), batch_of())


# Sequences and frames.


def sequences(count=6, T=20, J=2, seed=0):
  rng = np.random.default_rng(seed)
  length = np.array([20, 13, 7, 2, 1, 0])[:count]
  mask = np.arange(T)[None] < length[:, None]
  values = rng.standard_normal((count, T, J, 3)).astype(np.float32)
  return {
    'pose': base.Ragged(np.where(mask[:, :, None, None], values, 0), mask),
    'index': np.arange(count, dtype=np.int32),
  }


def player(**options):
  options = dict(speed=(1.0, 1.0), scale=0.0) | options
  transform = augment.compose({'pose': dict(name='sequence', **options)})
  return jax.jit(transform.train)


def played(key=0, batch=None, **options):
  return player(**options)(jax.random.key(key), batch or sequences())


def test_a_sequence_without_freedom_is_itself():
  batch = sequences()
  for out in (
    played(batch=batch),
    augment.compose({'pose': dict(name='sequence')}).eval(batch),
  ):
    chex.assert_trees_all_close(out['pose'], batch['pose'], atol=1e-6)


@pytest.mark.parametrize('speed', [0.5, 2.0])
def test_a_sequence_is_played_faster_and_slower(speed):
  batch = sequences()
  time = np.arange(20, dtype=np.float32)[None, :, None, None]
  ramp = np.broadcast_to(time, batch['pose'].values.shape)
  mask = batch['pose'].mask
  batch['pose'] = base.Ragged(np.where(mask[..., None, None], ramp, 0), mask)
  out = played(batch=batch, speed=(speed, speed))['pose']
  length = mask.sum(1)
  want = np.minimum(20, np.maximum(length - 1, 0) // speed + (length > 0))
  np.testing.assert_array_equal(out.mask.sum(1), want)
  inside = np.asarray(out.mask)[..., None, None]
  np.testing.assert_allclose(
    out.values, np.where(inside, speed * ramp, 0), rtol=1e-5
  )


def test_a_sequence_is_turned_as_a_body():
  batch, out = sequences(), played(rotate=180.0)
  before, after = batch['pose'].values, np.asarray(out['pose'].values)
  assert not np.allclose(before[0], after[0], atol=0.1)

  def angles(x):  # of all vectors with each other, and their lengths
    flat = x.reshape(len(x), -1, 3)
    return np.einsum('nik,njk->nij', flat, flat)

  np.testing.assert_allclose(angles(before), angles(after), atol=1e-4)
  turn = _motion.rotation(jnp.array([0.0, 0.0, 2.0]), jnp.pi / 2)
  np.testing.assert_allclose(
    turn @ jnp.array([1.0, 0, 0]), [0, 1, 0], atol=1e-6
  )


def test_a_sequence_loses_its_ends_and_never_all():
  batch, play = sequences(), player(cut=0.5)
  length = batch['pose'].mask.sum(1)
  outs = [play(jax.random.key(k), batch) for k in range(30)]
  seen = np.stack([out['pose'].mask.sum(1) for out in outs])
  assert (seen <= length).all() and (seen[:, :4] >= length[:4] // 2).all()
  assert seen[:, 0].std() > 1
  assert (seen[:, length > 0] > 0).all()


def test_padding_of_a_sequence_stays_zero():
  out = played(noise=1.0, rotate=30.0, scale=0.3, cut=0.3, speed=(0.5, 2.0))
  outside = ~np.asarray(out['pose'].mask)
  assert (np.asarray(out['pose'].values)[outside] == 0).all()
  assert np.isfinite(out['pose'].values).all()


def test_frames_are_shifted_together():
  x = np.zeros((30, 3, 9, 9, 1), np.float32)
  x[:, :, 4, 4] = np.arange(1, 4)[None, :, None]
  batch = {'depth': x, 'index': np.arange(30, dtype=np.int32)}
  transform = augment.compose({'depth': dict(name='shift', pixels=2)})
  out = np.asarray(transform.train(jax.random.key(0), batch)['depth'])
  places = set()
  for one in out:
    t, h, w, _ = np.nonzero(one)
    assert (one[t, h, w, 0] == [1, 2, 3]).all() and len(set(zip(h, w))) == 1
    places.add((int(h[0]), int(w[0])))
  assert {h for h, _ in places} == {w for _, w in places} == {2, 3, 4, 5, 6}
  assert (np.asarray(transform.eval(batch)['depth']) == x).all()


@pytest.mark.parametrize(
  'section, told',
  [
    (dict(name='sequence', speed=(2.0, 1.0)), r'speed=\(2.0, 1.0\)'),
    (dict(name='sequence', cut=1.0), 'cut is below 1'),
    (dict(name='shift', pixels=-1), 'at least 0'),
  ],
)
def test_motion_options_out_of_range_are_named(section, told):
  with pytest.raises(ValueError, match=told):
    augment.compose({'pose': section})


def test_motion_wants_sequences_and_frames():
  batch = sequences()
  flat = {**batch, 'pose': batch['pose'].values}
  with pytest.raises(ValueError, match='ragged float sequences'):
    played(batch=flat)
  two = batch['pose']._replace(values=batch['pose'].values[..., :2])
  with pytest.raises(ValueError, match='three axes; the last .* has 2'):
    played(batch={**batch, 'pose': two}, rotate=5.0)
  with pytest.raises(ValueError, match='shift wants frames'):
    augment.compose({'pose': dict(name='shift')}).train(
      jax.random.key(0), batch
    )
