"""Hybrid: early, late, residual and cross fusion in one head vote together."""

import flax.linen as nn
import jax
import jax.numpy as jnp

from mmjax.models.fusion import _linear, _rsa, _rsa_cross


class Hybrid(nn.Module):
  """The vote of four branches on the same features."""

  modalities: tuple[str, ...]
  num_classes: int
  residual: nn.Module
  cross: nn.Module
  vote: str

  @nn.compact
  def __call__(self, feats, present, train):
    early_BC, _ = _rsa.Early(self.num_classes, name='early')(
      feats, present, train
    )
    linear = _linear.PerModality(
      self.modalities, self.num_classes, name='linear'
    )
    late_norm = _rsa.norm('late_norm')
    each = {m: late_norm(logits_BC) for m, logits_BC in linear(feats).items()}
    late_BC = _linear.mean_present(each, present)
    residual_BC, _ = self.residual(feats, present, train)
    cross_BC, _ = self.cross(feats, present, train)
    logits = jnp.stack([early_BC, late_BC, residual_BC, cross_BC], axis=1)
    if self.vote == 'norm':
      joint_BC = jnp.mean(_rsa.norm('norm')(logits), axis=1)
    else:
      joint_BC = jax.nn.logsumexp(jax.nn.log_softmax(logits), axis=1)
      joint_BC -= jnp.log(logits.shape[1])
    return joint_BC, {'branches': logits}


def make(
  *,
  modalities: tuple[str, ...],
  num_classes: int,
  vote: str = 'norm',
  residual_hidden: int = 512,
  projection: int | None = None,
  attention: int = 96,
  hidden: int = 1024,
  dropout: float = 0.3,
  max_parameters: int = 300_000_000,
) -> nn.Module:
  """The hybrid head of the RSA-CFN work, its four branches trained as one.

  Branches are the heads early, late (normalised), residual and rsa_cfn, on the
  same features. In the paper models vote that were trained apart: that is four
  runs and `python -m mmjax.vote`. Unimodal logits are those of the head with
  the others missing. Extras: branches [B, 4, C], the logits of each, before the
  vote.

  Args:
    modalities: in the order in which they stand side by side.
    num_classes: C.
    vote: 'norm' is the mean of LN(logits), one LN for all, as released;
      'probability' the log of the mean of the branches' probabilities, as soft
      voting is defined.
    residual_hidden: option `hidden` of the residual branch.
    projection: of the RSA-CFN branch, see there; so all below.
    attention: width of queries and keys.
    hidden: width of its hidden layers.
    dropout: rate in both branches that have one.
    max_parameters: of the second residual layer.

  Raises:
    ValueError: as rsa_cfn does.
  """
  _rsa.check_choice('vote', vote, ('norm', 'probability'))
  _rsa.check_sizes(residual_hidden=residual_hidden)
  cross = _rsa_cross.make(
    modalities,
    num_classes,
    projection=projection,
    attention=attention,
    hidden=hidden,
    dropout=dropout,
    max_parameters=max_parameters,
  )
  residual = _rsa.Residual(num_classes, residual_hidden, dropout, 'norm')
  body = Hybrid(modalities, num_classes, residual, cross, vote)
  return _rsa.Whole('hybrid', modalities, body)
