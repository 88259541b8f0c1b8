"""RSA-CFN: self-attention within, outer product between the modalities."""

import flax.linen as nn

from mmjax.models.fusion import _rsa, _rsa_cross


def make(
  *,
  modalities: tuple[str, ...],
  num_classes: int,
  projection: int | None = None,
  attention: int = 96,
  hidden: int = 1024,
  dropout: float = 0.3,
  max_parameters: int = 300_000_000,
) -> nn.Module:
  """The residual self-attention cross fusion network.

  p_m = z_m W_m + b_m; g_m = LN(attention_m(p_m) + p_m), attention among the
  coordinates of p_m; f = [1; g_1] x .. x [1; g_M], all products of coordinates;
  r = drop ReLU(f V_1 + c_1), r' = drop ReLU([f; r] V_2 + c_2); then a hidden
  layer with ReLU and dropout and a classifier on f + r'. f has
  (projection + 1)^M numbers and V_2 about the square of that: of the 328
  million parameters at the published sizes, 294 million.

  A missing modality's factor is [1; 0], which leaves the product of the others.
  Unimodal logits are those of the head with the others missing. Extras:
  received [B, M, projection], the attention that each coordinate gets within
  its modality, 1 where attention is uniform.

  Args:
    modalities: the factors, in this order.
    num_classes: C.
    projection: width of p_m; None is 128, as published, or the width of the
      narrowest features where that is less.
    attention: width of queries and keys.
    hidden: width of r and of the hidden layer of the classifier.
    dropout: rate after each layer but the last.
    max_parameters: that V_2 and its bias may have.

  Raises:
    ValueError: for an option out of range; for a second residual layer above
      `max_parameters`, here or, with projection=None, once widths are known.
  """
  body = _rsa_cross.make(
    modalities,
    num_classes,
    projection=projection,
    attention=attention,
    hidden=hidden,
    dropout=dropout,
    max_parameters=max_parameters,
  )
  return _rsa.Whole('rsa_cfn', modalities, body)
