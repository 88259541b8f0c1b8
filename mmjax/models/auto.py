"""A fitting encoder for a modality, by the shape of its examples."""

from typing import Any

import numpy as np

from mmjax.base import Ragged

LARGE = 112  # pixels a side from which a residual network pays


def section(modality: str, value: Any, width: int) -> dict[str, Any]:
  """The config section of an encoder for values [N, ...] of a modality.

  Feature vectors get an mlp, token ids a text encoder, ragged sequences a
  tcn, small images and clips patches, large images a resnet.

  Raises ValueError for a shape that none of them reads.
  """
  if isinstance(value, Ragged):
    if np.issubdtype(value.values.dtype, np.integer) and value.values.ndim == 2:
      return dict(name='text', width=width)
    return dict(name='tcn', width=width)
  shape, integer = value.shape[1:], np.issubdtype(value.dtype, np.integer)
  if integer and len(shape) == 1:
    return dict(name='text', width=width)
  if len(shape) == 1:
    return dict(name='mlp', width=width)
  if len(shape) in (2, 3, 4):
    channels = shape[-1] if len(shape) > 2 and shape[-1] <= 4 else 0
    side = min(shape[-3:-1] if channels else shape[-2:])
    if side >= LARGE and (channels or len(shape) == 2):
      return dict(name='resnet', width=width)
    frames = len(shape) == 3 and not channels
    return dict(name='patch', width=width, frames=frames)
  raise ValueError(
    f'modality {modality!r} has examples of shape {shape}; no encoder is '
    f'chosen for that by itself. Name one: config.encoders.{modality}.name.'
  )
