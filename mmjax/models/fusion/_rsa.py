"""What the heads of the RSA-CFN family share: frame, layers, residual tower.

The family: residual self-attention cross fusion network and its rivals for
emotion recognition from speech and text (KEMDy20); layers, sizes and
initialisation are those of the released code.
"""

from collections.abc import Mapping
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from mmjax.base import Array, Ragged
from mmjax.models.fusion import _whole
from mmjax.models.fusion._alone import alone


class Whole(nn.Module):
  """A head whose classifier does not split into modalities.

  Unimodal logits are those of the head with all other modalities missing; a
  program that does not ask for them does not compute them.

  Attributes:
    kind: name of the head, for messages.
    body: module (feats, present, train) -> (logits_BC, {name: shown [B, ...]});
      what it shows goes to the extras.
    takes_steps: whether the body takes `Ragged` steps.
  """

  kind: str
  modalities: tuple[str, ...]
  body: Any
  takes_steps: bool = False

  def __call__(
    self, feats: Mapping[str, Any], present: Mapping[str, Array], train: bool
  ):
    """z_BD per modality -> (logits_BC of each by itself, of all), logits_BC."""
    _whole.require_all(self.kind, self.modalities, feats)

    def fused(feats, present):
      seen = {m: _hide(feats[m], present[m]) for m in self.modalities}
      return self.body(seen, present, train)

    joint, shown = fused(feats, present)
    for name, value in shown.items():
      self.sow('extras', name, value)
    return alone(lambda *given: fused(*given)[0], feats, present), joint


def _hide(z: Any, has_B: Array) -> Any:
  """Zero where the modality is missing, whatever stood there."""
  if not isinstance(z, Ragged):
    return jnp.where(has_B[:, None], z, 0)
  mask_BT = z.mask & has_B[:, None]
  return Ragged(jnp.where(mask_BT[:, :, None], z.values, 0), mask_BT)


def linear(x: Array, width: int, name: str) -> Array:
  """Dense layer of the module that calls, uniform in +-1/sqrt(fan-in)."""
  bound = x.shape[-1] ** -0.5
  layer = nn.Dense(
    width, kernel_init=uniform(bound), bias_init=uniform(bound), name=name
  )
  return layer(x)


def uniform(bound: float):
  """Initialiser: uniform in [-bound, bound)."""

  def init(key, shape, dtype=jnp.float32):
    return jax.random.uniform(key, shape, dtype, -bound, bound)

  return init


def norm(name: str) -> nn.LayerNorm:
  """LayerNorm with the epsilon that the released weights know."""
  return nn.LayerNorm(epsilon=1e-5, use_fast_variance=False, name=name)


def side_by_side(feats: Mapping[str, Array]) -> Array:
  """z_BD per modality -> x_BN, N the sum of their widths."""
  return jnp.concatenate(list(feats.values()), axis=1)


class Tower(nn.Module):
  """Two layers, of which the second sees the input of the first again.

  r = drop ReLU(h W_1 + b_1); returns drop ReLU([h; r] W_2 + b_2), as wide as h.
  """

  hidden: int
  dropout: float

  @nn.compact
  def __call__(self, h_BN: Array, train: bool) -> Array:
    drop = nn.Dropout(self.dropout, deterministic=not train)
    r_BD = drop(nn.relu(linear(h_BN, self.hidden, 'first')))
    both = jnp.concatenate([h_BN, r_BD], axis=1)
    return drop(nn.relu(linear(both, h_BN.shape[-1], 'second')))


class Early(nn.Module):
  """LN(x) W + b with x the features side by side."""

  num_classes: int

  @nn.compact
  def __call__(self, feats, present, train):
    del present, train
    u_BN = norm('norm')(side_by_side(feats))
    return linear(u_BN, self.num_classes, 'classifier'), {}


class Residual(nn.Module):
  """(u + tower(u)) W + b with u = LN(x); with skip='input' x + tower(u)."""

  num_classes: int
  hidden: int
  dropout: float
  skip: str

  @nn.compact
  def __call__(self, feats, present, train):
    del present
    x_BN = side_by_side(feats)
    u_BN = norm('norm')(x_BN)
    r_BN = Tower(self.hidden, self.dropout, name='tower')(u_BN, train)
    skip_BN = x_BN if self.skip == 'input' else u_BN
    return linear(skip_BN + r_BN, self.num_classes, 'classifier'), {}


def check_sizes(**sizes: int) -> None:
  """Raises ValueError for a size below 1."""
  for name, size in sizes.items():
    if size < 1:
      raise ValueError(f'config.head.{name}={size} must be at least 1.')


def check_dropout(rate: float) -> None:
  """Raises ValueError for a rate that is none."""
  if not 0 <= rate < 1:
    raise ValueError(
      f'config.head.dropout={rate} must be in [0, 1); 0 drops nothing.'
    )


def check_choice(name: str, value: str, choices: tuple[str, ...]) -> None:
  """Raises ValueError for an option that does not exist."""
  if value not in choices:
    raise ValueError(
      f'config.head.{name}={value!r} is none of {", ".join(choices)}.'
    )
