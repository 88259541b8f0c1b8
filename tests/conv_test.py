"""The convolution and the max-pooling of our own against the library's."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import AxisType, NamedSharding, PartitionSpec

from mmjax.models import _conv, _pool

# (height, width, channels, kernel, stride, out): stems, 3x3 with and without
# stride, downsampling; odd sizes among them; one image or several at a time.
SHAPES = [
  (61, 58, 1, 7, 2, 4),
  (56, 57, 3, 7, 2, 4),
  (28, 28, 5, 3, 1, 3),
  (33, 37, 4, 3, 1, 6),
  (9, 8, 4, 3, 2, 5),
  (57, 56, 4, 1, 2, 6),
  (7, 7, 4, 1, 1, 5),
]


@pytest.fixture(autouse=True)
def own_gradient_for_every_size(monkeypatch):
  monkeypatch.setattr(_conv, 'WORK', 0)


def library(x, kernel, stride):
  pad = kernel.shape[0] // 2
  return jax.lax.conv_general_dilated(
    x,
    kernel,
    (stride, stride),
    ((pad, pad), (pad, pad)),
    dimension_numbers=('NHWC', 'HWIO', 'NHWC'),
  )


def draw(shape, batch=3):
  height, width, channels, kernel, stride, out = shape
  keys = jax.random.split(jax.random.key(0), 3)
  x = jax.random.normal(keys[0], (batch, height, width, channels))
  w = jax.random.normal(keys[1], (kernel, kernel, channels, out))
  y = jax.eval_shape(lambda x, w: library(x, w, stride), x, w)
  return x, w, jax.random.normal(keys[2], y.shape)


def grads(function, x, w, g, stride):
  return jax.vjp(lambda x, w: function(x, w, stride), x, w)[1](g)


def close(actual, expected, tolerance=1e-4):
  """Within the tolerance relative to the largest entry."""
  expected = np.asarray(expected, np.float32)
  np.testing.assert_allclose(
    np.asarray(actual, np.float32) / np.abs(expected).max(),
    expected / np.abs(expected).max(),
    atol=tolerance,
  )


@pytest.mark.parametrize('shape', SHAPES)
def test_values_and_gradients_are_the_librarys(shape):
  x, w, g = draw(shape)
  stride = shape[4]
  close(_conv.conv(x, w, stride), library(x, w, stride), 1e-6)
  own = jax.jit(grads, static_argnums=(0, 4))(_conv.conv, x, w, g, stride)
  for a, b in zip(own, grads(library, x, w, g, stride)):
    close(a, b)


def test_weight_gradient_is_the_directional_derivative():
  x, w, g = draw(SHAPES[2])
  step = jax.random.normal(jax.random.key(9), w.shape)
  dw = grads(_conv.conv, x, w, g, 1)[1]
  # The convolution is linear in its weights, so the difference is exact.
  expected = jnp.vdot(g, library(x, step, 1))
  np.testing.assert_allclose(jnp.vdot(dw, step), expected, rtol=1e-4)


@pytest.mark.parametrize('positions', [1, 30, 200, 10**6])
def test_number_of_images_at_a_time_does_not_matter(monkeypatch, positions):
  monkeypatch.setattr(_conv, 'POSITIONS', positions)
  x, w, g = draw((7, 5, 4, 3, 1, 5), batch=6)
  close(grads(_conv.conv, x, w, g, 1)[1], grads(library, x, w, g, 1)[1])


@pytest.mark.parametrize(
  'channels, platform, scan',
  [
    (64, 'cpu', True),
    (16, 'cpu', False),
    (64, 'cuda', False),
    (64, 'tpu', False),
  ],
)
def test_scan_is_for_large_work_on_cpu_only(
  monkeypatch, channels, platform, scan
):
  monkeypatch.undo()
  x = jax.ShapeDtypeStruct((8, 56, 56, channels), jnp.float32)
  w = jax.ShapeDtypeStruct((3, 3, channels, channels), jnp.float32)
  dw = jax.jit(lambda x, w, g: grads(_conv.conv, x, w, g, 1)[1])
  lowered = dw.trace(x, w, x).lower(lowering_platforms=(platform,))
  assert ('stablehlo.while' in lowered.as_text()) == scan


def test_one_weight_gradient_per_seed_under_vmap():
  x, w, g = draw(SHAPES[3])
  xs, ws, gs = (jnp.stack([a, 2 * a + 1]) for a in (x, w, g))
  batched = jax.vmap(lambda x, w, g: grads(_conv.conv, x, w, g, 1))(xs, ws, gs)
  for seed in range(2):
    single = grads(library, xs[seed], ws[seed], gs[seed], 1)
    for a, b in zip(batched, single):
      close(a[seed], b)


@pytest.mark.parametrize('shape', [SHAPES[2], (7, 9, 4, 3, 1, 5)])
def test_batch_sharded_over_eight_devices(shape):
  mesh = jax.make_mesh((8,), ('data',), axis_types=(AxisType.Auto,))
  rows = NamedSharding(mesh, PartitionSpec('data'))
  whole = NamedSharding(mesh, PartitionSpec())
  x, w, g = draw(shape, batch=16)
  own = jax.jit(
    lambda x, w, g: grads(_conv.conv, x, w, g, 1),
    in_shardings=(rows, whole, rows),
    out_shardings=(rows, whole),
  )(x, w, g)
  for a, b in zip(own, grads(library, x, w, g, 1)):
    close(a, b)


def test_bfloat16_gradient_keeps_its_dtype_and_sums_in_float32():
  x, w, g = draw(SHAPES[2])
  low = [a.astype(jnp.bfloat16) for a in (x, w, g)]
  dw = grads(_conv.conv, *low, 1)[1]
  assert dw.dtype == jnp.bfloat16
  exact = grads(library, *(a.astype(jnp.float32) for a in low), 1)[1]
  close(dw, exact, 0.01)


def reference_pool(x):
  return nn.max_pool(x, (3, 3), (2, 2), ((1, 1), (1, 1)))


@pytest.mark.parametrize('height, width', [(8, 8), (9, 6), (1, 5)])
def test_max_pool_is_the_librarys(height, width):
  x = jax.random.normal(jax.random.key(0), (2, height, width, 3))
  y, vjp = jax.vjp(_pool.max_pool, x)
  expected, expected_vjp = jax.vjp(reference_pool, x)
  np.testing.assert_array_equal(y, expected)
  g = jax.random.normal(jax.random.key(1), y.shape)
  np.testing.assert_allclose(vjp(g)[0], expected_vjp(g)[0], atol=1e-6)


def test_max_pool_shares_the_gradient_among_ties():
  x = jnp.asarray(np.random.default_rng(0).integers(0, 3, (2, 7, 8, 3)), float)
  y, vjp = jax.vjp(_pool.max_pool, x)
  np.testing.assert_array_equal(y, reference_pool(x))
  (dx,) = vjp(jnp.ones_like(y))
  # Each window gives 1 in all, and in equal parts to its maxima.
  expected = np.zeros((2, 9, 10, 3))
  padded = np.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)), constant_values=-1)
  for i in range(y.shape[1]):
    for j in range(y.shape[2]):
      at = (slice(None), slice(2 * i, 2 * i + 3), slice(2 * j, 2 * j + 3))
      top = padded[at] == np.asarray(y)[:, i, None, j, None]
      expected[at] += top / top.sum((1, 2), keepdims=True)
  np.testing.assert_allclose(dx, expected[:, 1:-1, 1:-1], atol=1e-6)
