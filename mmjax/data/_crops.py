"""Random crops of pictures, drawn and cut at fixed shapes."""

import jax
import jax.numpy as jnp
import numpy as np

from mmjax import base

_TRIES = 10  # boxes drawn until one fits, as in torchvision
DRAWS = 2 * _TRIES + 2


def box(
  u_N: base.Array,
  shape: tuple[int, int],
  scale: tuple[float, float],
  ratio: tuple[float, float],
) -> base.Array:
  """Makes a crop of `DRAWS` uniform numbers in [0, 1).

  Returns f32[4], (top, left, height, width) in whole pixels, as torchvision's
  RandomResizedCrop draws it: log-uniform ratio, the first of ten boxes that
  fits, else the largest central one of the nearest allowed ratio.
  """
  height, width = shape
  area_K = _between(u_N[:_TRIES], *scale) * height * width
  ratio_K = jnp.exp(_between(u_N[_TRIES:-2], *np.log(ratio)))
  size_K2 = jnp.stack([jnp.sqrt(area_K / ratio_K), jnp.sqrt(area_K * ratio_K)])
  size_K2 = jnp.round(size_K2).T
  whole_2 = jnp.asarray([height, width], jnp.float32)
  fits_K = ((size_K2 >= 1) & (size_K2 <= whole_2[None])).all(1)
  nearest = float(np.clip(width / height, *ratio))
  central_2 = jnp.asarray(
    [min(height, round(width / nearest)), min(width, round(height * nearest))],
    jnp.float32,
  )
  size_2 = jnp.where(fits_K.any(), size_K2[fits_K.argmax()], central_2)
  room_2 = whole_2 - size_2
  drawn_2 = below(u_N[-2:], room_2 + 1)
  corner_2 = jnp.where(fits_K.any(), drawn_2, jnp.floor(room_2 / 2))
  return jnp.concatenate([corner_2, size_2])


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


def below(u: base.Array, bound: base.Array | float) -> base.Array:
  """Uniform whole numbers 0..bound - 1, as floats, of uniform ones."""
  # u * bound may round up to bound itself.
  return jnp.minimum(jnp.floor(u * bound), bound - 1)


def _between(u: base.Array, low: float, high: float) -> base.Array:
  return low + u * (high - low)
