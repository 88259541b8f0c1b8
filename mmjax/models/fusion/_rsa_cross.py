"""Cross fusion: the outer product of all modalities, then a residual tower."""

import functools
from collections.abc import Mapping

import flax.linen as nn
import jax.numpy as jnp

from mmjax.base import Array
from mmjax.models.fusion import _rsa, _rsa_attention

PUBLISHED = 128  # width of a projection


class CrossFusion(nn.Module):
  """Outer product of all modalities, then a residual tower.

  p_m = z_m W_m + b_m; g_m = LN(attention(p_m) + p_m); f = [1; g_1] x .. x
  [1; g_M]; logits = MLP(f + tower(f)). A missing modality is [1; 0], which
  leaves of f the product of the others.
  """

  num_classes: int
  projection: int | None
  attention: int
  hidden: int
  dropout: float
  max_parameters: int

  @nn.compact
  def __call__(
    self, feats: Mapping[str, Array], present: Mapping[str, Array], train: bool
  ):
    P = self.projection or _narrowest(feats)
    _check_parameters(P, len(feats), self.hidden, self.max_parameters)
    factors, gets = [], []
    for m, z_BD in feats.items():
      p_BP = _rsa.linear(z_BD, P, f'project_{m}')
      o_BP, A = self._attend(m, p_BP)
      g_BP = _rsa.norm(f'norm_{m}')(o_BP + p_BP)
      g_BP = jnp.where(present[m][:, None], g_BP, 0)
      factors.append(jnp.pad(g_BP, ((0, 0), (1, 0)), constant_values=1))
      gets.append(_rsa_attention.received(A))
    f_BN = functools.reduce(_outer, factors)
    f_BN += _rsa.Tower(self.hidden, self.dropout, name='tower')(f_BN, train)
    h_BD = nn.relu(_rsa.linear(f_BN, self.hidden, 'hidden'))
    h_BD = nn.Dropout(self.dropout, deterministic=not train)(h_BD)
    logits_BC = _rsa.linear(h_BD, self.num_classes, 'classifier')
    return logits_BC, {'received': jnp.stack(gets, axis=1)}

  def _attend(self, m: str, p_BP: Array):
    name = f'attention_{m}'
    return _rsa_attention.ScalarAttention(self.attention, name=name)(p_BP)


def make(
  modalities: tuple[str, ...],
  num_classes: int,
  *,
  projection: int | None,
  attention: int,
  hidden: int,
  dropout: float,
  max_parameters: int,
) -> CrossFusion:
  """The body, its options checked as far as they are known."""
  _rsa.check_sizes(attention=attention, hidden=hidden)
  _rsa.check_dropout(dropout)
  if projection is not None:
    _rsa.check_sizes(projection=projection)
    _check_parameters(projection, len(modalities), hidden, max_parameters)
  return CrossFusion(
    num_classes, projection, attention, hidden, dropout, max_parameters
  )


def _outer(x: Array, y: Array) -> Array:
  """[B, I], [B, J] -> [B, I * J], j running fastest."""
  return (x[:, :, None] * y[:, None, :]).reshape(x.shape[0], -1)


def _narrowest(feats: Mapping[str, Array]) -> int:
  """The published projection, or the least feature width if that is less."""
  return min(PUBLISHED, *(z.shape[-1] for z in feats.values()))


def _check_parameters(P: int, M: int, hidden: int, limit: int) -> None:
  """Raises ValueError if the second layer of the tower would be too big."""

  def second(P):
    N = (P + 1) ** M
    return (N + hidden + 1) * N

  if second(P) > limit:
    fits = max((p for p in range(1, P) if second(p) <= limit), default=None)
    way = f'projection={fits} or less' if fits else 'fewer modalities'
    raise ValueError(
      f'config.head.projection={P} and {M} modalities make an outer product of '
      f'{(P + 1) ** M:,} numbers and {second(P):,} parameters in the second '
      f'residual layer, above max_parameters={limit:,}. Take {way}, or raise '
      'max_parameters.'
    )
