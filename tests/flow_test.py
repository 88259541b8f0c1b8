"""Flow matching against closed forms; the velocity net against its promises."""

import hypothesis
import hypothesis.extra.numpy as arrays
import hypothesis.strategies as st
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.test_util import check_grads

from mmjax import _compose
from mmjax.models import velocity
from mmjax.ops import flow

few = hypothesis.settings(deadline=None, max_examples=25)
MEAN, STD = 1.5, 0.3  # of the data, in each coordinate


def gaussian(x_BD, time_B):
  """The velocity from N(0, 1) to N(MEAN, STD^2): E[data - noise | x_t = x].

  x_t has the variance v = (1 - t)^2 + t^2 STD^2, and Cov(data - noise, x_t) =
  t STD^2 - (1 - t), which is v' / 2.
  """
  t = time_B[:, None]
  var = (1 - t) ** 2 + (t * STD) ** 2
  return MEAN + (t * STD**2 - (1 - t)) / var * (x_BD - t * MEAN)


def number(low, high):
  return st.floats(low, high, width=32, allow_subnormal=False)


def rows(count, width=3, seed=0):
  return jax.random.normal(jax.random.key(seed), (count, width))


@few
@hypothesis.given(
  arrays.arrays(np.float32, (2, 4, 3), elements=number(-4, 4)),
  arrays.arrays(np.float32, 4, elements=number(0, 1)),
)
def test_lines_begin_in_noise_end_in_data_and_have_their_slope(ends, time_B):
  noise, data = ends
  zero, one = jnp.zeros(4), jnp.ones(4)
  np.testing.assert_array_equal(flow.interpolate(noise, data, zero)[0], noise)
  np.testing.assert_array_equal(flow.interpolate(noise, data, one)[0], data)
  _, target = flow.interpolate(noise, data, time_B)
  _, slope = jax.jvp(
    lambda t: flow.interpolate(noise, data, t)[0], (time_B,), (one,)
  )
  np.testing.assert_allclose(target, slope, atol=1e-6)


def test_lines_refuse_what_does_not_pair():
  with pytest.raises(ValueError, match=r'\(4, 3\), \(5, 3\) and \(4,\)'):
    flow.interpolate(rows(4), rows(5), jnp.zeros(4))
  with pytest.raises(ValueError, match=r'\(3,\)'):
    flow.interpolate(rows(4), rows(4), jnp.zeros(3))


def test_the_loss_of_a_point_is_zero_for_its_velocity_and_no_other():
  """All lines end in one point m: v(x, t) = (m - x) / (1 - t)."""
  noise, data = rows(64), jnp.full((64, 3), MEAN)
  time_B = 0.95 * flow.times(jax.random.key(1), 64)

  def to_point(x, t):
    return (data - x) / (1 - t[:, None])

  assert flow.loss(to_point, noise, data, time_B) < 1e-8
  off = flow.loss(lambda x, t: to_point(x, t) + 0.5, noise, data, time_B)
  np.testing.assert_allclose(off, 0.25, rtol=1e-4)


def test_the_loss_is_least_at_the_mean_velocity():
  """Its gradient in any direction vanishes, up to the sample's error."""
  count = 200_000
  noise, data = rows(count, 1), MEAN + STD * rows(count, 1, seed=1)
  time_B = flow.times(jax.random.key(2), count)

  @jax.jit
  def loss(w):
    def field(x, t):
      return gaussian(x, t) + w[0] + w[1] * x + w[2] * t[:, None] * x

    return flow.loss(field, noise, data, time_B)

  assert jnp.abs(jax.grad(loss)(jnp.zeros(3))).max() < 0.02
  assert jnp.abs(jax.grad(loss)(jnp.full(3, 0.1))).max() > 0.2


def test_the_gradient_of_the_loss_against_finite_differences():
  noise, data = rows(8), rows(8, seed=1)
  time_B = flow.times(jax.random.key(2), 8)

  def loss(w_DD):
    def field(x, t):
      return jnp.tanh(x @ w_DD) * t[:, None]

    return flow.loss(field, noise, data, time_B)

  check_grads(
    jax.jit(loss), (rows(3, seed=3),), 1, ('rev',), atol=1e-2, rtol=1e-2
  )


@pytest.mark.parametrize('method, order', [('euler', 1), ('heun', 2)])
def test_order_of_convergence_to_the_exact_flow(method, order):
  """x_1 = MEAN + STD x_0; half the step, 2^order times less error."""
  with jax.enable_x64(True):
    noise = jnp.linspace(-2.0, 2.0, 8).reshape(4, 2)
    exact = MEAN + STD * noise
    error = [
      float(jnp.abs(flow.integrate(gaussian, noise, n, method) - exact).max())
      for n in (64, 128, 256)
    ]
  rate = np.log2(np.array(error[:-1]) / error[1:])
  np.testing.assert_allclose(rate, order, atol=0.1)


def test_euler_is_exact_on_straight_lines_at_any_number_of_steps():
  noise, point = rows(5), jnp.full((5, 3), MEAN)

  def to_point(x, t):
    return (point - x) / (1 - t[:, None])

  for steps in (1, 3):
    end = flow.integrate(to_point, noise, steps, 'euler')
    np.testing.assert_allclose(end, point, rtol=1e-5)


def test_the_solver_refuses_no_steps_and_unknown_methods():
  with pytest.raises(ValueError, match='steps=0'):
    flow.integrate(gaussian, rows(2), 0)
  with pytest.raises(ValueError, match="method='rk4'.*euler and heun"):
    flow.integrate(gaussian, rows(2), 4, 'rk4')


@few
@hypothesis.given(
  arrays.arrays(np.float32, (2, 4, 3), elements=number(-9, 9)),
  st.floats(0, 5, width=32),
)
def test_guidance_goes_on_from_the_unconditional_velocity(pair, weight):
  c, u = pair
  np.testing.assert_array_equal(flow.guided(c, u, 1.0), c)
  np.testing.assert_allclose(flow.guided(c, u, 0.0), u, atol=1e-5)
  line = u + weight * (c - u)
  np.testing.assert_allclose(flow.guided(c, u, weight), line, atol=1e-4)


@few
@hypothesis.given(st.integers(0, 2**31 - 1))
def test_times_cover_every_part_once(seed):
  time_B = np.sort(flow.times(jax.random.key(seed), 10))
  assert time_B.min() >= 0 and time_B.max() < 1
  np.testing.assert_allclose(np.diff(time_B), 0.1, atol=1e-6)


def library(x_BHWC, kernel_HWIO):
  dims = ('NHWC', 'HWIO', 'NHWC')
  return jax.lax.conv_general_dilated(
    x_BHWC, kernel_HWIO, (1, 1), 'SAME', dimension_numbers=dims
  )


def test_the_convolution_and_its_gradients_are_the_library_s():
  keys = jax.random.split(jax.random.key(0), 3)
  x = jax.random.normal(keys[0], (2, 4, 6, 3))
  kernel = jax.random.normal(keys[1], (3, 3, 3, 5))
  g = jax.random.normal(keys[2], (2, 4, 6, 5))
  told = [jax.vjp(f, x, kernel) for f in (velocity.conv3, library)]
  np.testing.assert_allclose(told[0][0], told[1][0], rtol=1e-6)
  for own, other in zip(told[0][1](g), told[1][1](g)):
    np.testing.assert_allclose(own, other, atol=1e-4)


def net_and_inputs():
  net = velocity.network(channels=8)
  inputs = (
    jax.random.normal(jax.random.key(0), (3, 4, 6, 2)),
    jnp.array([0.0, 0.4, 1.0]),
    rows(3, 5),
    jnp.array([False, True, False]),
  )
  params = jax.jit(net.init)(jax.random.key(1), *inputs)
  return net, params, inputs


def test_the_net_begins_as_the_zero_field():
  net, params, inputs = net_and_inputs()
  out = net.apply(params, *inputs)
  assert out.shape == inputs[0].shape and out.dtype == jnp.float32
  assert not out.any()


def stirred(params):
  """As after training: no layer is zero."""
  leaves, tree = jax.tree.flatten(params)
  keys = jax.random.split(jax.random.key(5), len(leaves))
  return tree.unflatten(
    [x + 0.3 * jax.random.normal(k, x.shape) for x, k in zip(leaves, keys)]
  )


def test_a_null_condition_is_not_looked_at_and_others_are():
  net, params, (x, time_B, condition_BD, null_B) = net_and_inputs()
  params = stirred(params)
  one = net.apply(params, x, time_B, condition_BD, null_B)
  other = net.apply(params, x, time_B, condition_BD + 1, null_B)
  np.testing.assert_array_equal(one[1], other[1])
  assert jnp.abs(one - other)[jnp.array([0, 2])].max(axis=(1, 2, 3)).min() > 0.1
  later = net.apply(params, x, time_B + 0.3, condition_BD, null_B)
  assert jnp.abs(one - later).max(axis=(1, 2, 3)).min() > 0.1


def test_halving_and_doubling_are_inverse_and_keep_neighbours_together():
  x = jnp.arange(2 * 4 * 6 * 3.0).reshape(2, 4, 6, 3)
  half = velocity._gather(x)
  assert half.shape == (2, 2, 3, 12)
  np.testing.assert_array_equal(
    np.sort(half[0, 0, 0]), np.sort(x[0, :2, :2].ravel())
  )
  np.testing.assert_array_equal(velocity._scatter(half), x)


def test_the_net_says_what_it_cannot_be():
  with pytest.raises(ValueError, match='channels=12 must be a multiple of 8'):
    velocity.network(channels=12)
  with pytest.raises(ValueError, match='blocks=0'):
    velocity.network(blocks=0)


def test_the_net_is_no_encoder():
  assert 'velocity' not in _compose.available('models')
