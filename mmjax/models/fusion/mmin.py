"""MMIN: imagines the features of missing modalities, and classifies by that.

"Missing Modality Imagination Network for Emotion Recognition with Uncertain
Missing Modalities", Zhao, Li, Jin, ACL 2021,
https://aclanthology.org/2021.acl-long.203; sizes are those of the authors'
training script. What each part is trained for is in `methods/mmin.py`.
"""

from collections.abc import Mapping, Sequence

import flax.linen as nn
import jax
import jax.numpy as jnp

from mmjax.base import Array
from mmjax.models.fusion import _whole
from mmjax.models.fusion._alone import alone


def _dense(x: Array, width: int, name: str | None = None) -> Array:
  """A linear layer that starts like PyTorch's, within +-1/sqrt(fan-in).

  The authors start from He-normal weights: each autoencoder then multiplies
  what it gets, and the first errors are in the millions.
  """
  bound = x.shape[-1] ** -0.5

  def init(key, shape, dtype=jnp.float32):
    return jax.random.uniform(key, shape, dtype, -bound, bound)

  return nn.Dense(width, kernel_init=init, bias_init=init, name=name)(x)


class Classifier(nn.Module):
  """Hidden layers with ReLU and dropout, then logits."""

  hidden: Sequence[int]
  num_classes: int
  dropout: float

  @nn.compact
  def __call__(self, z_BD: Array, train: bool) -> Array:
    """z_BD -> logits_BC."""
    for width in self.hidden:
      z_BD = nn.relu(_dense(z_BD, width))
      z_BD = nn.Dropout(self.dropout, deterministic=not train)(z_BD)
    return _dense(z_BD, self.num_classes)


class Autoencoder(nn.Module):
  """One of a cascade: LeakyReLU (.01) on the way down, ReLU on the way up."""

  layers: Sequence[int]
  dropout: float
  train: bool

  @nn.compact
  def __call__(self, x_BD: Array, _) -> tuple[Array, Array]:
    """x_BD -> (x_BD and what comes out, latent [B, layers[-1]])."""
    up = (*self.layers[-2::-1], x_BD.shape[-1])
    latent = self._stack('encoder', self.layers, nn.leaky_relu, x_BD)
    return x_BD + self._stack('decoder', up, nn.relu, latent), latent

  def _stack(self, name, widths, activation, x):
    """Dense layers with something between, but nothing behind the last."""
    for i, width in enumerate(widths):
      x = _dense(x, width, f'{name}_{i}')
      if i < len(widths) - 1:
        x = activation(x)
        x = nn.Dropout(self.dropout, deterministic=not self.train)(x)
    return x


class ResidualAutoencoder(nn.Module):
  """A cascade of autoencoders, each of the sum of all that came before.

  x_1 = x, x_{b+1} = x_b + dec_b(enc_b(x_b)); after the last, two layers of
  transition. The parameters of all blocks are stacked, or they would take
  minutes to compile.
  """

  layers: Sequence[int]
  blocks: int
  dropout: float

  @nn.compact
  def __call__(self, x_BD: Array, train: bool) -> tuple[Array, Array]:
    """x_BD -> (out_BD, the latents of all blocks side by side)."""
    size, width = x_BD.shape
    cascade = nn.scan(
      Autoencoder,
      variable_axes={'params': 0},
      split_rngs={'params': True, 'dropout': True},
      length=self.blocks,
    )(self.layers, self.dropout, train, name='blocks')
    x_BD, latents = cascade(x_BD, None)  # latents [blocks, B, layers[-1]]
    h_BD = nn.relu(_dense(x_BD, width, 'transition_0'))
    out_BD = _dense(h_BD, width, 'transition_1')
    return out_BD, jnp.moveaxis(latents, 0, 1).reshape(size, -1)


class MMIN(nn.Module):
  """joint = stage_2(latents of imagine([z_1; ..; z_M])), absent z_m = 0.

  Shows 'full', the logits of the first stage's classifier on the features
  themselves, and 'full_unis' [B, M, C], its logits for each modality alone;
  'imagined', what `imagine` makes of the features of all modalities side by
  side, and 'cycle', what the backward autoencoder makes of that.
  """

  modalities: tuple[str, ...]
  num_classes: int
  hidden: Sequence[int]
  layers: Sequence[int]
  blocks: int
  dropout: float
  dropout_imagination: float

  def setup(self):
    classifier = (self.hidden, self.num_classes, self.dropout)
    autoencoder = (self.layers, self.blocks, self.dropout_imagination)
    self.stage_1 = Classifier(*classifier)
    self.imagine = ResidualAutoencoder(*autoencoder)
    self.backward = ResidualAutoencoder(*autoencoder)
    self.stage_2 = Classifier(*classifier)

  def __call__(
    self, feats: Mapping[str, Array], present: Mapping[str, Array], train: bool
  ):
    """z_BD per modality -> (logits_BC of each alone, of all)."""
    _whole.require_all('mmin', self.modalities, feats)

    def full(feats, present):
      return self.stage_1(self._join(feats, present), train)

    def imagined(feats, present):
      out, latents = self.imagine(self._join(feats, present), train)
      return self.stage_2(latents, train), out

    joint_BC, out_BD = imagined(feats, present)
    full_unis = alone(full, feats, present)
    self.sow('extras', 'full', full(feats, present))
    self.sow(
      'extras',
      'full_unis',
      jnp.stack([full_unis[m] for m in self.modalities], axis=1),
    )
    self.sow('extras', 'imagined', out_BD)
    self.sow('extras', 'cycle', self.backward(out_BD, train)[0])
    return alone(lambda *given: imagined(*given)[0], feats, present), joint_BC

  def _join(self, feats, present):
    return jnp.concatenate(
      [jnp.where(present[m][:, None], feats[m], 0) for m in self.modalities],
      axis=-1,
    )


def make(
  *,
  modalities: tuple[str, ...],
  num_classes: int,
  hidden: Sequence[int] = (128, 128),
  layers: Sequence[int] = (256, 128, 64),
  blocks: int = 5,
  dropout: float = 0.5,
  dropout_imagination: float = 0.0,
) -> nn.Module:
  """The imagination network, for the method 'mmin'.

  Args:
    modalities: names, in the order of the features.
    num_classes: C.
    hidden: widths of the hidden layers of both classifiers; () is a linear one.
    layers: widths of an autoencoder's encoder; the decoder mirrors them.
    blocks: autoencoders in a cascade.
    dropout: rate in the classifiers.
    dropout_imagination: rate in the autoencoders; the authors have none.

  Raises ValueError for sizes below 1 and rates outside [0, 1).
  """
  if blocks < 1 or not layers or min((*hidden, *layers)) < 1:
    raise ValueError(
      f'config.head: hidden={hidden}, layers={layers} and blocks={blocks} must '
      'all be at least 1, and layers must not be empty.'
    )
  for name, rate in (
    ('dropout', dropout),
    ('dropout_imagination', dropout_imagination),
  ):
    if not 0 <= rate < 1:
      raise ValueError(f'config.head.{name}={rate} must be in [0, 1).')
  return MMIN(
    modalities,
    num_classes,
    tuple(hidden),
    tuple(layers),
    blocks,
    dropout,
    dropout_imagination,
  )
