"""Conditional flow matching on straight paths: from noise to data by an ODE.

A velocity field v(x, t) carries noise at t = 0 to data at t = 1. It is fitted
to the velocities of straight lines between independent draws of the two, and
so becomes their mean among all lines through (x, t), which is the field whose
flow has the data as its law at t = 1 (Lipman et al. 2023, "Flow matching for
generative modeling", theorems 1 and 2 with sigma_min = 0; Liu et al. 2023,
"Flow straight and fast", equation 1).
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp

from mmjax.base import Array

Velocity = Callable[[Array, Array], Array]
"""(x [B, ...], time f32[B]) -> dx/dt [B, ...]."""

METHODS = ('euler', 'heun')


def times(key: Array, count: int) -> Array:
  """f32[B] in [0, 1), uniform, one in each of B equal parts.

  Against independent draws the loss has less variance and the same mean
  (Kingma et al. 2021, "Variational diffusion models", appendix I.1).
  """
  offset = jax.random.uniform(key)
  return jnp.mod(jnp.arange(count) / count + offset, 1.0)


def interpolate(
  noise: Array, data: Array, time_B: Array
) -> tuple[Array, Array]:
  """The point (1 - t) noise + t data of each line, and its velocity.

  Args:
    noise: [B, ...].
    data: [B, ...].
    time_B: t in [0, 1].

  Returns:
    x [B, ...] and data - noise [B, ...].

  Raises:
    ValueError: shapes that do not fit each other.
  """
  if noise.shape != data.shape or time_B.shape != data.shape[:1]:
    raise ValueError(
      'interpolate takes noise and data of one shape [B, ...] and times [B], '
      f'but got {noise.shape}, {data.shape} and {time_B.shape}.'
    )
  t = time_B.reshape(time_B.shape + (1,) * (data.ndim - 1))
  return (1 - t) * noise + t * data, data - noise


def loss(velocity: Velocity, noise: Array, data: Array, time_B: Array) -> Array:
  """f32[], the mean squared error of the velocity on its lines.

  Lipman et al. 2023, equation 23, as a mean over elements and not their sum.
  """
  x, target = interpolate(noise, data, time_B)
  return jnp.mean(jnp.square(velocity(x, time_B) - target))


def guided(conditional: Array, unconditional: Array, weight: float) -> Array:
  """Velocity with classifier-free guidance (Ho and Salimans 2022, equation 6).

  c + (weight - 1) (c - u): weight 1 is the conditional velocity, bit for bit,
  0 the unconditional one; above 1 the condition counts for more, at the price
  of diversity. In the paper's letters weight is 1 + w.
  """
  return conditional + (weight - 1) * (conditional - unconditional)


def integrate(
  velocity: Velocity, noise: Array, steps: int, method: str = 'heun'
) -> Array:
  """Solves dx/dt = v(x, t) from t = 0 to 1 in equal steps.

  Args:
    velocity: asked once a step by 'euler' and twice by 'heun', which asks at
      t = 1 as well.
    noise: x at t = 0, [B, ...].
    steps: 1 or more.
    method: 'euler', of order 1, or 'heun', of order 2.

  Returns:
    x at t = 1, [B, ...].

  Raises:
    ValueError: no step, or an unknown method.
  """
  if steps < 1:
    raise ValueError(f'steps={steps}: it takes one at least.')
  if method not in METHODS:
    raise ValueError(f'method={method!r}: there are {" and ".join(METHODS)}.')
  size = 1 / steps

  def at(time):
    return jnp.full(noise.shape[:1], time, noise.dtype)

  def step(x, i):
    slope = velocity(x, at(i * size))
    if method == 'heun':
      after = velocity(x + size * slope, at((i + 1) * size))
      slope = (slope + after) / 2
    return x + size * slope, None

  return jax.lax.scan(step, noise, jnp.arange(steps))[0]
