"""The convolution of our own against the library's."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import AxisType, NamedSharding, PartitionSpec

from mmjax.models import _conv

# (height, width, channels, kernel, stride, out): stems, 3x3 with and without
# stride, downsampling; large enough for the scan, odd sizes among them.
LARGE = [
  (61, 58, 1, 7, 2, 4),
  (56, 57, 3, 7, 2, 4),
  (28, 28, 5, 3, 1, 3),
  (29, 31, 4, 3, 1, 6),
  (57, 56, 4, 3, 2, 6),
  (56, 57, 4, 1, 2, 6),
  (28, 28, 4, 1, 1, 6),
]
SMALL = [(27, 29, 4, 3, 1, 5), (9, 8, 4, 3, 2, 5), (7, 7, 4, 1, 2, 5)]


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


@pytest.mark.parametrize('shape', LARGE + SMALL)
def test_values_and_gradients_are_the_librarys(shape):
  x, w, g = draw(shape)
  stride = shape[4]
  close(_conv.conv(x, w, stride), library(x, w, stride), 1e-6)
  own = jax.jit(grads, static_argnums=(0, 4))(_conv.conv, x, w, g, stride)
  for a, b in zip(own, grads(library, x, w, g, stride)):
    close(a, b)


def test_weight_gradient_is_the_directional_derivative():
  x, w, g = draw(LARGE[2])
  step = jax.random.normal(jax.random.key(9), w.shape)
  dw = grads(_conv.conv, x, w, g, 1)[1]
  # The convolution is linear in its weights, so the difference is exact.
  expected = jnp.vdot(g, library(x, step, 1))
  np.testing.assert_allclose(jnp.vdot(dw, step), expected, rtol=1e-4)


def lowered(shape, platform):
  x, w, g = draw(shape)
  dw = jax.jit(lambda x, w, g: grads(_conv.conv, x, w, g, shape[4])[1])
  traced = dw.trace(x, w, g)
  return traced.lower(lowering_platforms=(platform,)).as_text()


@pytest.mark.parametrize(
  'shape, platform, scan',
  [
    (LARGE[2], 'cpu', True),
    (SMALL[0], 'cpu', False),
    (LARGE[2], 'cuda', False),
    (LARGE[2], 'tpu', False),
  ],
)
def test_scan_is_for_large_images_on_cpu_only(shape, platform, scan):
  assert ('stablehlo.while' in lowered(shape, platform)) == scan


def test_one_weight_gradient_per_seed_under_vmap():
  x, w, g = draw(LARGE[3])
  xs, ws, gs = (jnp.stack([a, 2 * a + 1]) for a in (x, w, g))
  batched = jax.vmap(lambda x, w, g: grads(_conv.conv, x, w, g, 1))(xs, ws, gs)
  for seed in range(2):
    single = grads(library, xs[seed], ws[seed], gs[seed], 1)
    for a, b in zip(batched, single):
      close(a[seed], b)


def test_batch_sharded_over_eight_devices():
  mesh = jax.make_mesh((8,), ('data',), axis_types=(AxisType.Auto,))
  rows = NamedSharding(mesh, PartitionSpec('data'))
  whole = NamedSharding(mesh, PartitionSpec())
  x, w, g = draw(LARGE[2], batch=8)
  own = jax.jit(
    lambda x, w, g: grads(_conv.conv, x, w, g, 1),
    in_shardings=(rows, whole, rows),
    out_shardings=(rows, whole),
  )(x, w, g)
  for a, b in zip(own, grads(library, x, w, g, 1)):
    close(a, b)


def test_bfloat16_gradient_keeps_its_dtype_and_sums_in_float32():
  x, w, g = draw(LARGE[2])
  low = [a.astype(jnp.bfloat16) for a in (x, w, g)]
  dw = grads(_conv.conv, *low, 1)[1]
  assert dw.dtype == jnp.bfloat16
  exact = grads(library, *(a.astype(jnp.float32) for a in low), 1)[1]
  close(dw, exact, 0.01)


@pytest.mark.parametrize('height, width', [(8, 8), (9, 6), (1, 5)])
def test_max_pool_is_the_librarys(height, width):
  x = jax.random.normal(jax.random.key(0), (2, height, width, 3))

  def reference(x):
    return nn.max_pool(x, (3, 3), (2, 2), ((1, 1), (1, 1)))

  y, vjp = jax.vjp(_conv.max_pool, x)
  expected, expected_vjp = jax.vjp(reference, x)
  np.testing.assert_array_equal(y, expected)
  g = jax.random.normal(jax.random.key(1), y.shape)
  np.testing.assert_allclose(vjp(g)[0], expected_vjp(g)[0], atol=1e-6)
