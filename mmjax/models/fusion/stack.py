"""Stack: the mean of classifiers that look through different dropout masks."""

import flax.linen as nn
import jax.numpy as jnp

from mmjax.models.fusion import _rsa


class Stack(nn.Module):
  """mean_s (drop_s(LN(x)) W_s + b_s); one W and b for all s if shared."""

  num_classes: int
  samples: int
  dropout: float
  classifiers: str

  @nn.compact
  def __call__(self, feats, present, train):
    del present
    u_BN = _rsa.norm('norm')(_rsa.side_by_side(feats))
    drop = nn.Dropout(self.dropout, deterministic=not train)
    C = self.num_classes
    if self.classifiers == 'shared':
      # A mean of linear maps by one matrix is that map of the mean.
      shape = (self.samples, *u_BN.shape)
      u_BN = jnp.mean(drop(jnp.broadcast_to(u_BN, shape)), axis=0)
      return _rsa.linear(u_BN, C, 'classifier'), {}
    logits = [
      _rsa.linear(drop(u_BN), C, f'classifier_{s}') for s in range(self.samples)
    ]
    return jnp.mean(jnp.stack(logits), axis=0), {}


def make(
  *,
  modalities: tuple[str, ...],
  num_classes: int,
  samples: int = 5,
  dropout: float = 0.5,
  classifiers: str = 'shared',
) -> nn.Module:
  """The stack head of the RSA-CFN work: multi-sample dropout.

  Without dropout, as at test time, the shared form is early fusion. Unimodal
  logits are those of the head with the others missing.

  Args:
    modalities: in the order in which they stand side by side.
    num_classes: C.
    samples: how many masks are averaged.
    dropout: rate of each mask.
    classifiers: 'shared' is one for all masks, as released; 'separate' has one
      for each, as the paper describes it.

  Raises:
    ValueError: for an option out of range.
  """
  _rsa.check_sizes(samples=samples)
  _rsa.check_dropout(dropout)
  _rsa.check_choice('classifiers', classifiers, ('shared', 'separate'))
  body = Stack(num_classes, samples, dropout, classifiers)
  return _rsa.Whole('stack', modalities, body)
