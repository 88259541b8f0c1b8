"""Random crops of pictures, drawn and cut at fixed shapes."""

import jax
import jax.numpy as jnp
import numpy as np

from mmjax import base

_TRIES = 10  # draws until one fits, as in torchvision


def box(
  key: base.Array,
  shape: tuple[int, int],
  scale: tuple[float, float],
  ratio: tuple[float, float],
) -> base.Array:
  """Draws a crop: f32[4], (top, left, height, width) in whole pixels.

  torchvision's RandomResizedCrop: log-uniform ratio, the first of ten draws
  that fits, else the largest central crop of the nearest allowed ratio.
  """
  height, width = shape
  key_area, key_ratio, key_place = jax.random.split(key, 3)
  area_K = (
    height
    * width
    * jax.random.uniform(key_area, (_TRIES,), minval=scale[0], maxval=scale[1])
  )
  low, high = np.log(ratio[0]), np.log(ratio[1])
  ratio_K = jnp.exp(
    jax.random.uniform(key_ratio, (_TRIES,), minval=low, maxval=high)
  )
  size_K2 = jnp.round(
    jnp.stack([jnp.sqrt(area_K / ratio_K), jnp.sqrt(area_K * ratio_K)], 1)
  )
  whole_2 = jnp.asarray([height, width], jnp.float32)
  fits_K = ((size_K2 >= 1) & (size_K2 <= whole_2[None])).all(1)
  nearest = float(np.clip(width / height, *ratio))
  central_2 = jnp.asarray(
    [min(height, round(width / nearest)), min(width, round(height * nearest))],
    jnp.float32,
  )
  size_2 = jnp.where(fits_K.any(), size_K2[fits_K.argmax()], central_2)
  room_2 = (whole_2 - size_2).astype(jnp.int32)
  drawn_2 = jax.random.randint(key_place, (2,), 0, room_2 + 1)
  corner_2 = jnp.where(fits_K.any(), drawn_2, room_2 // 2)
  return jnp.concatenate([corner_2.astype(jnp.float32), size_2])


def cut(x_HWC: base.Array, box: base.Array, size: int) -> base.Array:
  """Cuts a box out and resizes it: f32[H, W, C] -> f32[size, size, C]."""
  zoom_2 = size / box[2:]
  return jax.image.scale_and_translate(
    x_HWC,
    (size, size, x_HWC.shape[-1]),
    (0, 1),
    zoom_2,
    -box[:2] * zoom_2,
    'linear',
  )
