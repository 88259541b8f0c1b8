"""What encoders of sequences end in: convolutions over time, masked."""

from typing import Any

import flax.linen as nn
import jax.numpy as jnp

from mmjax.base import Array
from mmjax.models import _sequence
from mmjax.models._norm import BatchNorm


class Block(nn.Module):
  """x + conv(drop(relu(norm(conv(relu(norm(x))))))), both of one dilation."""

  kernel: int
  dilation: int
  norm: str
  dropout: float
  dtype: str

  @nn.compact
  def __call__(
    self, x_BTD: Array, mask_BT: Array, valid_B: Array, train: bool
  ) -> Array:
    def conv(h_BTD):
      if self.norm == 'layer':
        h_BTD = nn.LayerNorm(dtype=self.dtype)(h_BTD)
      else:
        count_BT = mask_BT & valid_B[:, None]
        h_BTD = BatchNorm(dtype=self.dtype)(h_BTD, count_BT, train)
      # Padding must look like the zeros beyond the end, or its length shows.
      h_BTD = jnp.where(mask_BT[:, :, None], nn.relu(h_BTD), 0)
      return nn.Conv(
        x_BTD.shape[-1],
        (self.kernel,),
        kernel_dilation=(self.dilation,),
        dtype=self.dtype,
      )(h_BTD)

    h_BTD = nn.Dropout(self.dropout, deterministic=not train)(conv(x_BTD))
    return x_BTD + conv(h_BTD)


class TCN(nn.Module):
  """Dense, residual blocks with dilations 1, 2, 4, ..., mean, Dense."""

  width: int
  stride: int
  channels: int
  blocks: int
  kernel: int
  norm: str
  dropout: float
  dtype: str

  @nn.compact
  def __call__(self, x: Any, valid_B: Array, train: bool) -> Array:
    """x [B, T, ...] or `Ragged` -> z_BD."""
    values, mask_BT = _sequence.unpack(x)
    h_BTD = values.reshape(mask_BT.shape + (-1,))
    h_BTD, mask_BT = joined(h_BTD, mask_BT, self.stride)
    h_BTD = nn.Dense(self.channels, dtype=self.dtype)(h_BTD)
    for i in range(self.blocks):
      block = Block(self.kernel, 2**i, self.norm, self.dropout, self.dtype)
      h_BTD = block(h_BTD, mask_BT, valid_B, train)
    h_BTD = nn.relu(nn.LayerNorm()(h_BTD))
    return nn.Dense(self.width)(_sequence.mean(h_BTD, mask_BT))


def joined(x_BTD: Array, mask_BT: Array, stride: int) -> tuple[Array, Array]:
  """Each `stride` steps side by side as one: [B, ceil(T / stride), stride D].

  One that is real in part is real; the rest of it is zeros.
  """
  if stride == 1:
    return x_BTD, mask_BT
  B, T, D = x_BTD.shape
  more = -T % stride
  x_BTD = jnp.pad(x_BTD, ((0, 0), (0, more), (0, 0)))
  mask_BT = jnp.pad(mask_BT, ((0, 0), (0, more)))
  steps = (T + more) // stride
  whole_BT = mask_BT.reshape(B, steps, stride).any(axis=2)
  return x_BTD.reshape(B, steps, stride * D), whole_BT


def differences(x: Array, mask_BT: Array) -> Array:
  """x[t] - x[t - 1] of [B, T, ...]; zero where one of the two is not real."""
  both_BT = mask_BT[:, 1:] & mask_BT[:, :-1]
  both = both_BT.reshape(both_BT.shape + (1,) * (x.ndim - 2))
  moved = jnp.where(both, x[:, 1:] - x[:, :-1], 0)
  return jnp.concatenate([jnp.zeros_like(x[:, :1]), moved], axis=1)


def check(encoder: str, kernel: int, norm: str, stride: int = 1) -> None:
  """Raises ValueError for an even kernel, an unknown norm or no stride."""
  if stride < 1:
    raise ValueError(f'{encoder}.stride={stride} must be at least 1.')
  if kernel % 2 == 0:
    raise ValueError(
      f'{encoder}.kernel={kernel} is even, so a step would have no middle; '
      'choose an odd one.'
    )
  if norm not in ('layer', 'batch'):
    raise ValueError(
      f"{encoder} has no norm {norm!r}; choose 'layer' or 'batch'."
    )
