"""Augmentation of what moves: sensor and skeleton sequences, and frames."""

import jax
import jax.numpy as jnp

from mmjax import base


def check_sequence(speed, scale, noise, rotate, cut) -> None:
  """Raises ValueError for values out of range."""
  if not 0 < speed[0] <= speed[1]:
    raise ValueError(f'augment: sequence has speed={speed}; give (slow, fast)')
  if min(scale, noise, rotate) < 0 or not 0 <= cut < 1:
    raise ValueError(
      f'augment: sequence has scale={scale}, noise={noise}, rotate={rotate}, '
      f'cut={cut}; none may be negative, and cut is below 1'
    )


def check_axes(x, rotate: float) -> None:
  if not isinstance(x, base.Ragged) or not jnp.issubdtype(
    x.values.dtype, jnp.floating
  ):
    raise ValueError(
      'augment: sequence wants ragged float sequences; this modality is '
      f'{type(x).__name__}'
    )
  if rotate and x.values.shape[-1] % 3:
    raise ValueError(
      'augment: sequence can rotate vectors of three axes; the last axis of '
      f'this modality has {x.values.shape[-1]} entries (take rotate=0)'
    )


def resample(x: base.Ragged, start: base.Array, speed: base.Array):
  """The sequence from step `start` on, `speed` steps at a time, interpolated.

  As long as the real steps last, or the padded length allows.
  """
  T = x.mask.shape[0]
  count = jnp.sum(x.mask).astype(jnp.float32)
  place_T = start + speed * jnp.arange(T, dtype=jnp.float32)
  last = jnp.maximum(count - 1, 0)
  mask_T = (place_T <= last) & (count > 0)
  place_T = jnp.clip(place_T, 0, last)
  low_T = jnp.floor(place_T).astype(jnp.int32)
  part_T = place_T - low_T
  shape = (T,) + (1,) * (x.values.ndim - 1)
  part = part_T.reshape(shape)
  high_T = jnp.minimum(low_T + 1, last.astype(jnp.int32))
  values = (1 - part) * x.values[low_T] + part * x.values[high_T]
  return base.Ragged(jnp.where(mask_T.reshape(shape), values, 0), mask_T)


def rotation(axis_3: base.Array, angle: base.Array) -> base.Array:
  """Rodrigues' matrix [3, 3] about an axis of any length above 0."""
  x, y, z = axis_3 / jnp.linalg.norm(axis_3)
  cross_33 = jnp.array([[0, -z, y], [z, 0, -x], [-y, x, 0]])
  turn_33 = jnp.sin(angle) * cross_33
  return jnp.eye(3) + turn_33 + (1 - jnp.cos(angle)) * cross_33 @ cross_33


def moved(key, x: base.Ragged, speed, scale, noise, rotate, cut):
  """One sequence, changed as `augment.sequence` says."""
  warp_key, turn_key, scale_key, noise_key = jax.random.split(key, 4)
  u_3 = jax.random.uniform(warp_key, (3,))
  lost = cut * u_3[0] * jnp.sum(x.mask)
  low, high = jnp.log(speed[0]), jnp.log(speed[1])
  count = jnp.sum(x.mask)
  whole_T = jnp.arange(x.mask.shape[0]) < count - jnp.round(lost * (1 - u_3[1]))
  x = resample(
    x._replace(mask=x.mask & whole_T),
    jnp.round(lost * u_3[1]),
    jnp.exp(low + (high - low) * u_3[2]),
  )
  values = x.values
  if rotate:
    axis_3 = jax.random.normal(turn_key, (3,))
    u = jax.random.uniform(jax.random.fold_in(turn_key, 1), (), minval=-1.0)
    turn_33 = rotation(axis_3, u * jnp.deg2rad(rotate))
    shape = values.shape
    values = (values.reshape(-1, 3) @ turn_33.T).reshape(shape)
  values = values * jnp.exp(scale * jax.random.normal(scale_key))
  values = values + noise * jax.random.normal(noise_key, values.shape)
  mask = x.mask.reshape((-1,) + (1,) * (values.ndim - 1))
  return base.Ragged(jnp.where(mask, values, 0), x.mask)


def shifted(key, x: base.Array, pixels: int, frames: int) -> base.Array:
  """Frames [T, H, W, ...] moved together, zeros coming in."""
  pad = ((frames, frames), (pixels, pixels), (pixels, pixels))
  pad += ((0, 0),) * (x.ndim - 3)
  edge = jnp.pad(x, pad)
  most = jnp.array([frames, pixels, pixels])
  start_3 = jnp.floor(
    jax.random.uniform(key, (3,)) * (2 * most + 1).astype(jnp.float32)
  ).astype(jnp.int32)
  start = (*start_3, *(0,) * (x.ndim - 3))
  return jax.lax.dynamic_slice(edge, start, x.shape)
