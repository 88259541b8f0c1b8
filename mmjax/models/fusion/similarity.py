"""No fusion: modalities meet by the similarity of their embeddings.

Its parameters are those of a contrastive loss, a temperature and a bias. There
is no classifier, so logits are zero; `evals/retrieval.py`, `evals/zeroshot.py`
and `evals/probe.py` measure what such a model has learnt.
"""

from collections.abc import Mapping

import flax.linen as nn
import jax.numpy as jnp

from mmjax.base import Array


class Similarity(nn.Module):
  """Holds the temperature, and the bias of a sigmoid loss."""

  num_classes: int
  temperature: float
  bias: float | None

  @nn.compact
  def __call__(
    self, feats: Mapping[str, Array], present: Mapping[str, Array], train: bool
  ):
    """z_BD per modality -> (zeros_BC per modality, zeros_BC)."""
    del present, train
    for name in ('temperature', 'bias'):
      start = getattr(self, name)
      if start is not None:
        value = self.param(name, nn.initializers.constant(start), ())
        self.sow('extras', name, value)
    size = next(iter(feats.values())).shape[0]
    zeros_BC = jnp.zeros((size, self.num_classes))
    return dict.fromkeys(feats, zeros_BC), zeros_BC


def make(
  *,
  modalities: tuple[str, ...],
  num_classes: int,
  temperature: float = 0.07,
  bias: float | None = None,
) -> nn.Module:
  """The learned parameters of a contrastive loss.

  Args:
    modalities: of any number.
    num_classes: C, of the zeros that stand for logits.
    temperature: at the start; it divides the cosine similarities.
    bias: at the start, of the sigmoid loss (about -log B); None has none.

  Raises:
    ValueError: a temperature that is not above 0.
  """
  del modalities
  if not temperature > 0:
    raise ValueError(
      f'config.head.temperature={temperature} divides the similarities and must '
      'be above 0; 0.07 is usual.'
    )
  return Similarity(num_classes, temperature, bias)
