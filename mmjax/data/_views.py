"""Augmentation that makes views of small pictures, voices and spelled words."""

import jax
import jax.numpy as jnp

from mmjax import base
from mmjax.data import _motion


def voice(
  key, x: base.Ragged, speed, bands: float, tilt: float, noise: float
) -> base.Ragged:
  """One log-mel sequence [T, F], as `augment.voice` says."""
  warp_key, voice_key, noise_key = jax.random.split(key, 3)
  x = _motion.moved(warp_key, x, speed, 0.0, 0.0, 0.0, 0.1)
  move, level, slope = jax.random.uniform(voice_key, (3,), minval=-1.0)
  F = x.values.shape[-1]
  place_F = jnp.clip(jnp.arange(F) + bands * move, 0, F - 1)
  low_F = jnp.floor(place_F).astype(jnp.int32)
  part_1F = (place_F - low_F)[None]
  high_F = jnp.minimum(low_F + 1, F - 1)
  values = (1 - part_1F) * x.values[:, low_F] + part_1F * x.values[:, high_F]
  values = values + tilt * (level + slope * jnp.linspace(-1, 1, F))[None]
  values = values + noise * jax.random.normal(noise_key, values.shape)
  return base.Ragged(jnp.where(x.mask[:, None], values, 0), x.mask)


def picture(
  key, x_HWC: base.Array, pixels: float, contrast: float, noise: float
):
  """One float picture, as `augment.picture` says."""
  move_key, noise_key = jax.random.split(key)
  u_4 = jax.random.uniform(move_key, (4,), minval=-1.0)
  zoom_2 = jnp.exp(0.1 * pixels * u_4[:2])
  middle_2 = (jnp.array(x_HWC.shape[:2]) - 1) / 2
  shift_2 = pixels * u_4[2:] + middle_2 * (1 - zoom_2)
  x_HWC = jax.image.scale_and_translate(
    x_HWC, x_HWC.shape, (0, 1), zoom_2, shift_2, 'linear', antialias=False
  )
  gain_key, noise_key = jax.random.split(noise_key)
  gain = jnp.exp(contrast * jax.random.normal(gain_key))
  return gain * x_HWC + noise * jax.random.normal(noise_key, x_HWC.shape)


def tokens(key, ids_L: base.Array, replace: float, vocab: int) -> base.Array:
  """Some ids that are no padding replaced by others, uniform over 1..vocab-1."""
  pick_key, draw_key = jax.random.split(key)
  swap_L = (jax.random.uniform(pick_key, ids_L.shape) < replace) & (ids_L > 0)
  other_L = jax.random.randint(draw_key, ids_L.shape, 1, vocab, ids_L.dtype)
  return jnp.where(swap_L, other_L, ids_L)
