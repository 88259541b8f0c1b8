"""Residual self-attention (RSA) among the coordinates of all features."""

import flax.linen as nn

from mmjax.models.fusion import _rsa, _rsa_attention


class Rsa(nn.Module):
  """o = attention(LN(x)); logits = (LN(x) + tower(o)) W + b."""

  num_classes: int
  attention: int
  hidden: int
  dropout: float
  skip: str

  @nn.compact
  def __call__(self, feats, present, train):
    del present
    u_BN = _rsa.norm('norm')(_rsa.side_by_side(feats))
    attend = _rsa_attention.ScalarAttention(self.attention, name='attention')
    o_BN, A = attend(u_BN)
    r_BN = _rsa.Tower(self.hidden, self.dropout, name='tower')(o_BN, train)
    skip_BN = o_BN if self.skip == 'attention' else u_BN
    logits_BC = _rsa.linear(skip_BN + r_BN, self.num_classes, 'classifier')
    widths = tuple(z.shape[-1] for z in feats.values())
    return logits_BC, {
      'attention': _rsa_attention.between_blocks(A, widths),
      'received': _rsa_attention.received(A),
    }


def make(
  *,
  modalities: tuple[str, ...],
  num_classes: int,
  attention: int = 256,
  hidden: int = 512,
  dropout: float = 0.3,
  skip: str = 'norm',
) -> nn.Module:
  """The RSA head of the RSA-CFN work.

  With u = LN([z_1; ..; z_M]) of N coordinates, each a token of one number:
  A = softmax(Q K' / sqrt(attention)), o = A V, r = drop ReLU(o W_1 + b_1),
  r' = drop ReLU([o; r] W_2 + b_2), logits = (u + r') W + b. A takes N * N
  floats per example, 12.8 MB at the published N of 1024 + 768; a gradient step
  holds about five such at once. Unimodal logits are those of the head with the
  others missing; features of a missing modality are zeros, before the norm.

  Extras, means of A that are 1 where attention is uniform:
    attention [B, M, M]: N times the mean of A over the coordinates of modality
      q (rows) and k (columns), in the order of `modalities`. Weighted by the
      share of k among the coordinates, rows sum to 1.
    received [B, N]: N times the mean of A over all queries, per coordinate.
  Both are of use for examples that have all modalities.

  Args:
    modalities: in the order in which they stand side by side.
    num_classes: C.
    attention: width of queries and keys.
    hidden: width of r.
    dropout: rate after both layers of the tower.
    skip: what goes around the tower: 'norm' is u, as released; 'attention' is
      o, what the tower sees.

  Raises:
    ValueError: for an option out of range.
  """
  _rsa.check_sizes(attention=attention, hidden=hidden)
  _rsa.check_dropout(dropout)
  _rsa.check_choice('skip', skip, ('norm', 'attention'))
  body = Rsa(num_classes, attention, hidden, dropout, skip)
  return _rsa.Whole('rsa', modalities, body)
