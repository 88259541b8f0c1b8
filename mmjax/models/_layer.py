"""The transformer layer in the forms that published encoders have it."""

from collections.abc import Callable, Mapping
from typing import Protocol

import flax.linen as nn
import jax
import jax.numpy as jnp

from mmjax.base import Array
from mmjax.models._layout import Rule, linear, norm

ACTIVATIONS: Mapping[str, Callable] = {
  'gelu': lambda x: jax.nn.gelu(x, approximate=False),
  'gelu_tanh': lambda x: jax.nn.gelu(x, approximate=True),
  'quick_gelu': lambda x: x * jax.nn.sigmoid(1.702 * x),
  'relu': jax.nn.relu,
  'swiglu': lambda x: _gated(x),
}


def _gated(x: Array) -> Array:
  """Shazeer 2020: one half of the channels opens and closes the other."""
  gate, value = jnp.split(x, 2, -1)
  return jax.nn.silu(gate) * value


class Layer(nn.Module):
  """Attention and an MLP, each with a residual; norms before them or after.

  'pre': x + s attention(norm(x)), x + s mlp(norm(x)) (Xiong et al. 2020), where
  s is a vector that is learnt if `scaled` (Touvron et al. 2021), else 1.
  'post': norm(x + attention(x)), norm(x + mlp(x)) (Vaswani et al. 2017).
  """

  heads: int
  hidden: int
  order: str = 'pre'
  activation: str = 'gelu'
  eps: float = 1e-6
  scaled: bool = False
  key_bias: bool = True
  dropout: float = 0.0
  dtype: str = 'float32'

  @nn.compact
  def __call__(self, x_BTD: Array, mask: Array | None, train: bool) -> Array:
    """mask bool, broadcast to [B, heads, T, T]: which may look at which."""

    def residual(x, name, f):
      scale = 1.0
      if self.scaled:
        ones = nn.initializers.ones
        scale = self.param(f'scale_{name}', ones, x.shape[-1:])[None, None]
      normed = nn.LayerNorm(self.eps, dtype=self.dtype, name=f'norm_{name}')
      drop = nn.Dropout(self.dropout, deterministic=not train)
      if self.order == 'pre':
        return x + scale * drop(f(normed(x)))
      return normed(x + drop(f(x)))

    x_BTD = residual(x_BTD, 'attention', lambda x: self._attend(x, mask))
    return residual(x_BTD, 'mlp', self._mlp)

  def _attend(self, x_BTD: Array, mask: Array | None) -> Array:
    B, T, D = x_BTD.shape
    split = (B, T, self.heads, D // self.heads)
    q, k, v = (
      nn.Dense(D, use_bias, dtype=self.dtype, name=name)(x_BTD).reshape(split)
      for name, use_bias in (
        ('query', True),
        ('key', self.key_bias),
        ('value', True),
      )
    )
    y = jax.nn.dot_product_attention(q, k, v, mask=mask)
    return nn.Dense(D, dtype=self.dtype, name='out')(y.reshape(B, T, D))

  def _mlp(self, x_BTD: Array) -> Array:
    hidden = self.hidden * (2 if self.activation == 'swiglu' else 1)
    h = nn.Dense(hidden, dtype=self.dtype, name='up')(x_BTD)
    h = ACTIVATIONS[self.activation](h)
    return nn.Dense(x_BTD.shape[-1], dtype=self.dtype, name='down')(h)


class Encoder(Protocol):
  """What `stack` reads of the module that calls it."""

  layers: int
  heads: int
  hidden: int
  activation: str
  eps: float
  dropout: float
  remat: bool
  dtype: str


def stack(
  encoder: Encoder,
  x_BTD: Array,
  mask: Array | None,
  train: bool,
  *,
  layers: int = 0,
  order: str = 'pre',
  scaled: bool = False,
  key_bias: bool = True,
) -> Array:
  """The layers of an encoder, called layer_0.., inside its compact method.

  `layers` is how many, where these are not `encoder.layers`. With
  `encoder.remat`, what a layer computes is computed again for its gradient.
  """
  # Whether it trains is no array: it decides what is traced.
  make = nn.remat(Layer, static_argnums=(3,)) if encoder.remat else Layer
  for i in range(layers or encoder.layers):
    x_BTD = make(
      heads=encoder.heads,
      hidden=encoder.hidden,
      order=order,
      activation=encoder.activation,
      eps=encoder.eps,
      scaled=scaled,
      key_bias=key_bias,
      dropout=encoder.dropout,
      dtype=encoder.dtype,
      name=f'layer_{i}',
    )(x_BTD, mask, train)
  return x_BTD


def keys(mask_BT: Array) -> Array:
  """Everyone may look at the tokens that are real."""
  return mask_BT[:, None, None, :]


def rules(
  layers: int,
  names: Mapping[str, str],
  *,
  key_bias: bool = True,
  scaled: bool = False,
) -> list[Rule]:
  """Those of `stack`, whose layers count from 1.

  `names` tells, of each part of a layer, what a file calls it, '{i}' for the
  layer's number. In place of 'query', 'key' and 'value' there may be 'qkv', all
  three in one matrix, in that order.
  """
  found = []
  for i in range(layers):
    at, layer = ('params', f'layer_{i}'), i + 1
    of = {part: name.format(i=i) for part, name in names.items()}
    for nth, part in enumerate(('query', 'key', 'value')):
      bias = key_bias or part != 'key'
      whole = 'qkv' in of
      name = of['qkv'] if whole else of[part]
      third = nth if whole else None
      found += linear((*at, part), name, layer, bias=bias, third=third)
    for part in ('out', 'up', 'down'):
      found += linear((*at, part), of[part], layer)
    for part in ('norm_attention', 'norm_mlp'):
      found += norm((*at, part), of[part], layer)
    for part in ('scale_attention', 'scale_mlp') if scaled else ():
      found.append(Rule((*at, part), (of[part],), 'same', layer))
  return found


def check(name: str, channels: int, heads: int, activation: str) -> None:
  """Raises ValueError for what cannot be built."""
  if channels % heads:
    raise ValueError(
      f'{name}.heads={heads} does not divide channels={channels}; take a divisor.'
    )
  if activation not in ACTIVATIONS:
    raise ValueError(
      f'{name}.activation={activation!r} is none of {", ".join(ACTIVATIONS)}.'
    )


def positions(T: int, D: int) -> Array:  # noqa: N803
  """Whisper's sinusoids f32[T, D]: sines, then cosines."""
  rate = jnp.exp(-jnp.log(10000.0) * jnp.arange(D // 2) / (D // 2 - 1))
  angle = jnp.arange(T)[:, None] * rate[None]
  return jnp.concatenate([jnp.sin(angle), jnp.cos(angle)], 1)
