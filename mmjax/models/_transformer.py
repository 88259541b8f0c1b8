"""A pre-LN transformer block over tokens of which some are padding."""

import flax.linen as nn
import jax
import jax.numpy as jnp

from mmjax.base import Array


class Block(nn.Module):
  """x + attention(LN(x)), then x + MLP(LN(x)); see Xiong et al. 2020.

  With `heads=0` there is no attention, and tokens do not see each other.
  """

  heads: int
  dropout: float
  dtype: str

  @nn.compact
  def __call__(self, x_BTD: Array, mask_BT: Array, train: bool) -> Array:
    D = x_BTD.shape[-1]
    drop = nn.Dropout(self.dropout, deterministic=not train)
    if self.heads:
      h_BTD = nn.LayerNorm(dtype=self.dtype)(x_BTD)
      x_BTD = x_BTD + drop(self._attend(h_BTD, mask_BT))
    h_BTD = nn.LayerNorm(dtype=self.dtype)(x_BTD)
    h_BTD = nn.gelu(nn.Dense(4 * D, dtype=self.dtype, name='up')(h_BTD))
    return x_BTD + drop(nn.Dense(D, dtype=self.dtype, name='down')(h_BTD))

  def _attend(self, h_BTD, mask_BT):
    D, H = h_BTD.shape[-1], self.heads
    qkv = nn.DenseGeneral((3, H, D // H), dtype=self.dtype, name='qkv')(h_BTD)
    q, k, v = jnp.moveaxis(qkv, 2, 0)
    mask = mask_BT[:, None, None, :]
    y_BTHE = jax.nn.dot_product_attention(q, k, v, mask=mask)
    return nn.DenseGeneral(D, (-2, -1), dtype=self.dtype, name='out')(y_BTHE)


def check_heads(name: str, width: int, heads: int) -> None:
  """Raises ValueError where the heads do not divide the width."""
  if heads and width % heads:
    raise ValueError(
      f'{name}.heads={heads} does not divide its inner width {width}; choose '
      'a divisor.'
    )
