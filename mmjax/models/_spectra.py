"""What encoders of log mel spectrograms share: their input and its scale."""

from typing import Any

import jax.numpy as jnp

from mmjax import base
from mmjax.base import Array


def picture(
  encoder: str, x: Any, frames: int, mels: int, mean: float, std: float
) -> Array:
  """Spectrograms [B, T, M] or [B, T, M, 1] -> f32[B, M, T, 1], standardised.

  Raises ValueError for another shape than `frames` x `mels`.
  """
  shape = () if isinstance(x, base.Ragged) else x.shape
  if shape[1:] not in ((frames, mels), (frames, mels, 1)):
    got = f'of shape {shape}' if shape else 'that is ragged'
    raise ValueError(
      f'{encoder} got an input {got} and is for [B, {frames}, {mels}] or '
      f"[B, {frames}, {mels}, 1], as audio='fbank' of the data sets gives it."
    )
  x_BTM = jnp.asarray(x, jnp.float32).reshape(-1, frames, mels)
  return (jnp.swapaxes(x_BTM, 1, 2)[..., None] - mean) / std
