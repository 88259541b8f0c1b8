"""What encoders of pictures share: their input, one picture or several frames."""

from typing import Any

from mmjax import base
from mmjax.base import Array
from mmjax.models import _sequence


def frames(encoder: str, x: Any) -> tuple[Array, Array]:
  """Any accepted input as frames [B, T, H, W, C] and their mask [B, T]."""
  ragged = isinstance(x, base.Ragged)
  shape = x.values.shape if ragged else x.shape
  if len(shape) not in ((4, 5) if ragged else (3, 4, 5)):
    raise ValueError(
      f'{encoder} got a {"ragged " if ragged else ""}input of shape {shape}: it '
      'takes [B, H, W], [B, H, W, C] or frames [B, T, H, W, C], and ragged '
      'frames [B, T, H, W] or [B, T, H, W, C]. For sequences of vectors use '
      "the encoders 'tcn' or 'patch', or pad them to a fixed length."
    )
  if not ragged:
    x = x[:, None] if len(shape) < 5 else x
  values, mask_BT = _sequence.unpack(x)
  return values[..., None] if values.ndim == 4 else values, mask_BT
