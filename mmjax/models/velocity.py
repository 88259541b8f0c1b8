"""A velocity field for small pictures under a condition: a residual conv net.

A U of two resolutions (Ronneberger et al. 2015) with pre-activation residual
blocks; time and condition scale and shift the normalised channels of every
block (FiLM, Perez et al. 2018; "adaptive group normalisation" of Dhariwal and
Nichol 2021). The last layer begins at zero, and so does each block's second
convolution: the net begins as the zero field.
"""

import flax.linen as nn
import jax
import jax.numpy as jnp

from mmjax.base import Array

DIVISOR = 2  # of height and width: there are two resolutions
GROUP = 8  # channels that are normalised together
FREQUENCIES, FASTEST = 32, 1000.0  # of the embedding of time in [0, 1]


@jax.custom_vjp
def conv3(x_BHWC: Array, kernel_HWIO: Array) -> Array:
  """3x3 convolution with zero padding whose gradients are quick under scan.

  On CPU the library's gradients of convolutions take up to a hundred times as
  long inside a loop as outside. Here the gradient of the input is a
  convolution forwards, and that of the kernel nine matrix products.
  """
  return jax.lax.conv_general_dilated(
    x_BHWC,
    kernel_HWIO,
    (1, 1),
    'SAME',
    dimension_numbers=('NHWC', 'HWIO', 'NHWC'),
  )


def _forward(x_BHWC, kernel_HWIO):
  return conv3(x_BHWC, kernel_HWIO), (x_BHWC, kernel_HWIO)


def _backward(residuals, g_BHWO):
  x_BHWC, kernel_HWIO = residuals
  _, H, W, _ = x_BHWC.shape
  padded = jnp.pad(x_BHWC, ((0, 0), (1, 1), (1, 1), (0, 0)))
  dk = [
    [
      jnp.einsum('bhwi,bhwo->io', padded[:, i : i + H, j : j + W], g_BHWO)
      for j in range(3)
    ]
    for i in range(3)
  ]
  dx = conv3(g_BHWO, kernel_HWIO[::-1, ::-1].swapaxes(2, 3))
  return dx, jnp.stack([jnp.stack(row) for row in dk])


conv3.defvjp(_forward, _backward)


class Conv(nn.Module):
  """`conv3` with its weights and a bias."""

  features: int
  start: nn.initializers.Initializer = nn.initializers.lecun_normal()

  @nn.compact
  def __call__(self, x_BHWC: Array) -> Array:
    shape = (3, 3, x_BHWC.shape[-1], self.features)
    kernel_HWIO = self.param('kernel', self.start, shape)
    bias = self.param('bias', nn.initializers.zeros, (self.features,))
    return conv3(x_BHWC, kernel_HWIO) + bias.reshape(1, 1, 1, -1)


class Block(nn.Module):
  """x + conv(FiLM(conv(x))), each after normalisation and SiLU."""

  channels: int

  @nn.compact
  def __call__(self, x_BHWC: Array, told_BD: Array) -> Array:
    h = nn.silu(_norm()(x_BHWC))
    h = _norm()(Conv(self.channels)(h))
    film = nn.Dense(2 * self.channels)(told_BD)[:, None, None]
    scale, shift = jnp.split(film, 2, -1)
    h = nn.silu((1 + scale) * h + shift)
    h = Conv(self.channels, nn.initializers.zeros)(h)
    if x_BHWC.shape[-1] != self.channels:
      x_BHWC = nn.Dense(self.channels)(x_BHWC)
    return x_BHWC + h


class Velocity(nn.Module):
  """(x_BHWC, time_B, condition_BD, null_B) -> velocity_BHWC, all float32."""

  channels: int
  blocks: int

  @nn.compact
  def __call__(
    self, x_BHWC: Array, time_B: Array, condition_BD: Array, null_B: Array
  ) -> Array:
    """Where `null_B`, a learned vector stands for the condition."""
    told_BD = self._told(time_B, condition_BD, null_B)
    h = Conv(self.channels)(x_BHWC)
    for _ in range(self.blocks):
      h = Block(self.channels)(h, told_BD)
    fine = h
    h = nn.Dense(2 * self.channels)(_gather(h))
    for _ in range(self.blocks):
      h = Block(2 * self.channels)(h, told_BD)
    h = _scatter(nn.Dense(4 * self.channels)(h))
    h = jnp.concatenate([h, fine], axis=-1)
    for _ in range(self.blocks):
      h = Block(self.channels)(h, told_BD)
    h = nn.silu(_norm()(h))
    return Conv(x_BHWC.shape[-1], nn.initializers.zeros)(h)

  def _told(self, time_B, condition_BD, null_B):
    width = 4 * self.channels
    null_D = self.param(
      'null', nn.initializers.normal(0.1), condition_BD.shape[1:]
    )
    condition_BD = jnp.where(null_B[:, None], null_D[None], condition_BD)
    h_BD = nn.Dense(width, name='time')(_waves(time_B))
    h_BD = h_BD + nn.Dense(width, name='condition')(condition_BD)
    return nn.silu(nn.Dense(width, name='told')(nn.silu(h_BD)))


def _norm() -> nn.Module:
  return nn.GroupNorm(num_groups=None, group_size=GROUP)


def _waves(time_B: Array) -> Array:
  """Sines and cosines of t at frequencies from 1 to `FASTEST`, [B, 64]."""
  rates = jnp.exp(jnp.linspace(0.0, jnp.log(FASTEST), FREQUENCIES))
  angle = time_B[:, None] * rates[None, :]
  return jnp.concatenate([jnp.sin(angle), jnp.cos(angle)], axis=-1)


def _gather(x_BHWC: Array) -> Array:
  """Half the resolution, four times the channels."""
  B, H, W, C = x_BHWC.shape
  x = x_BHWC.reshape(B, H // 2, 2, W // 2, 2, C).transpose(0, 1, 3, 2, 4, 5)
  return x.reshape(B, H // 2, W // 2, 4 * C)


def _scatter(x_BHWC: Array) -> Array:
  """The inverse of `_gather`."""
  B, H, W, C = x_BHWC.shape
  x = x_BHWC.reshape(B, H, W, 2, 2, C // 4).transpose(0, 1, 3, 2, 4, 5)
  return x.reshape(B, 2 * H, 2 * W, C // 4)


def network(*, channels: int = 32, blocks: int = 1) -> Velocity:
  """The net.

  Args:
    channels: at full resolution, twice that at half; a multiple of 8.
    blocks: residual blocks on the way down, at half resolution, and on the way
      up, each.

  Raises:
    ValueError: channels that do not divide into groups, or no block.
  """
  if channels < GROUP or channels % GROUP:
    raise ValueError(f'channels={channels} must be a multiple of {GROUP}.')
  if blocks < 1:
    raise ValueError(f'blocks={blocks} must be 1 or more.')
  return Velocity(channels, blocks)
