"""Joints of a body over time."""

from collections.abc import Sequence
from typing import Any

import flax.linen as nn
import jax.numpy as jnp

from mmjax.base import Array, Ragged
from mmjax.models import _sequence
from mmjax.models._temporal import TCN, check, differences

CENTRES = ('none', 'frame', 'first')


class Skeleton(nn.Module):
  """Joints, bones and velocities side by side, then temporal convolutions."""

  width: int
  root: int
  centre: str
  scale: bool
  parents: Sequence[int]
  velocity: float
  stride: int
  channels: int
  blocks: int
  kernel: int
  norm: str
  dropout: float
  dtype: str

  @nn.compact
  def __call__(self, x: Any, valid_B: Array, train: bool) -> Array:
    """Joints [B, T, J, 3], or [B, T, J, 2], or `Ragged` of these -> z_BD."""
    x_BTJK, mask_BT = _sequence.unpack(x)
    _check_joints(x_BTJK.shape, self.root, self.parents)
    if self.scale:
      x_BTJK = x_BTJK / _size(x_BTJK, mask_BT)[:, None, None, None]
    x_BTJK = _centred(x_BTJK, mask_BT, self.centre, self.root)
    streams = [x_BTJK]
    if self.parents:
      streams.append(x_BTJK - x_BTJK[:, :, list(self.parents)])
    if self.velocity:
      step_BTJK = differences(x_BTJK, mask_BT)
      streams.append(self.velocity * step_BTJK)
    tcn = TCN(
      self.width,
      self.stride,
      self.channels,
      self.blocks,
      self.kernel,
      self.norm,
      self.dropout,
      self.dtype,
    )
    h = jnp.concatenate(streams, axis=2)
    return tcn(Ragged(h, mask_BT), valid_B, train)


def _size(x_BTJK: Array, mask_BT: Array) -> Array:
  """Body size [B]: how far joints are from their middle, root mean square."""
  x_BTJK = x_BTJK - jnp.mean(x_BTJK, axis=2, keepdims=True)
  square_BT = jnp.mean(jnp.sum(jnp.square(x_BTJK), axis=3), axis=2)
  square_B = _sequence.mean(square_BT[:, :, None], mask_BT)[:, 0]
  return jnp.sqrt(jnp.where(square_B > 1e-12, square_B, 1))


def _centred(x_BTJK: Array, mask_BT: Array, centre: str, root: int) -> Array:
  root_BTK = x_BTJK[:, :, root]
  if centre == 'none':
    return x_BTJK
  if centre == 'first':
    first_B1 = jnp.argmax(mask_BT, axis=1)[:, None]
    root_BTK = jnp.take_along_axis(root_BTK, first_B1[:, :, None], axis=1)
  return x_BTJK - root_BTK[:, :, None]


def _check_joints(shape, root, parents):
  if len(shape) != 4 or shape[3] not in (2, 3):
    raise ValueError(
      f'skeleton got an input of shape {shape}: it takes joints [B, T, J, 3] '
      "or [B, T, J, 2]. For flat vectors over time use the encoder 'tcn'."
    )
  joints = shape[2]
  if not -joints <= root < joints:
    raise ValueError(
      f'skeleton.root={root} is none of the {joints} joints; count from 0.'
    )
  wrong = [p for p in parents if not 0 <= p < joints]
  if parents and (len(parents) != joints or wrong):
    raise ValueError(
      f'skeleton.parents={tuple(parents)} must name one of the {joints} joints '
      'for each of them, counted from 0; that of a root is itself.'
    )


def make(
  *,
  width: int = 128,
  root: int = 0,
  centre: str = 'frame',
  scale: bool = True,
  parents: Sequence[int] = (),
  velocity: float = 10.0,
  stride: int = 1,
  channels: int = 64,
  blocks: int = 4,
  kernel: int = 3,
  norm: str = 'layer',
  dropout: float = 0.0,
  dtype: str = 'float32',
) -> nn.Module:
  """Skeleton encoder: where joints are and how they move, then the 'tcn'.

  How far a sequence is padded never shows in its feature.

  Args:
    width: feature width D.
    root: joint in the middle of the body, such as the hip.
    centre: what the root is moved to zero of: each 'frame', the 'first' one (so
      that the way of the body stays) or 'none'.
    scale: divide by the body's size, the root mean square distance of joints
      from their middle over the whole sequence.
    parents: of each joint, the joint at the other end of its bone, itself for
      a root; adds the bones as vectors. () leaves them out.
    velocity: factor of the differences from step to step, which at a camera's
      frame rate are small; 0 leaves them out.
    stride: steps that are joined into one before the convolutions.
    channels: of the convolutions.
    blocks: residual blocks; block i has dilation 2^i.
    kernel: steps that a convolution sees; odd.
    norm: 'layer' (each step by itself) or 'batch' (over all real steps).
    dropout: rate inside the blocks.
    dtype: of the convolutions; parameters stay float32.

  Returns:
    Module: (x, valid_B, train) -> z_BD float32.

  Raises:
    ValueError: an even kernel, an unknown norm or centre; when called, a root
      or parents that the skeleton does not have.
  """
  check('skeleton', kernel, norm, stride)
  if centre not in CENTRES:
    raise ValueError(
      f'skeleton.centre={centre!r} is none of {", ".join(CENTRES)}.'
    )
  return Skeleton(
    width,
    root,
    centre,
    scale,
    tuple(parents),
    velocity,
    stride,
    channels,
    blocks,
    kernel,
    norm,
    dropout,
    dtype,
  )
