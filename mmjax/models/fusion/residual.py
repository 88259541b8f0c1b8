"""Residual fusion: a tower of two layers around which the features skip."""

import flax.linen as nn

from mmjax.models.fusion import _rsa


def make(
  *,
  modalities: tuple[str, ...],
  num_classes: int,
  hidden: int = 512,
  dropout: float = 0.3,
  skip: str = 'norm',
) -> nn.Module:
  """The residual head of the RSA-CFN work.

  With x = [z_1; ..; z_M] and u = LN(x): r = drop ReLU(u W_1 + b_1),
  r' = drop ReLU([u; r] W_2 + b_2), logits = (u + r') W + b. Unimodal logits are
  those of the head with the others missing.

  Args:
    modalities: in the order in which they stand side by side.
    num_classes: C.
    hidden: width of r.
    dropout: rate after both layers of the tower.
    skip: what goes around the tower: 'norm' is u, as released; 'input' is x.

  Raises:
    ValueError: for an option out of range.
  """
  _rsa.check_sizes(hidden=hidden)
  _rsa.check_dropout(dropout)
  _rsa.check_choice('skip', skip, ('norm', 'input'))
  body = _rsa.Residual(num_classes, hidden, dropout, skip)
  return _rsa.Whole('residual', modalities, body)
