"""SimCLR for each modality by itself: encoders that never see a label.

Chen, Kornblith, Norouzi, Hinton, ICML 2020, "A Simple Framework for Contrastive
Learning of Visual Representations". Two augmented views of an example
(config.augment) are told from the views of all other examples in the batch. The
modalities share nothing, so this pretrains as many unimodal encoders in one
program; the loss is on the features themselves, without a projection head, as
small nets have no layers to spare.
"""

import jax.numpy as jnp

from mmjax.base import Kit, Method, Phase
from mmjax.methods._descent import descent, encoders_only
from mmjax.ops import batches, contrastive


def make(kit: Kit, *, temperature: float = 0.2) -> Method:
  """Self-supervised encoders; the head is left as it is.

  Args:
    kit: with any head.
    temperature: of the cosine similarities, above 0.
  """
  if not 0 < temperature < float('inf'):
    raise ValueError(
      f'config.method.temperature={temperature} divides the similarities and '
      'must be above 0; 0.1 to 0.5 is usual.'
    )

  def loss(state, out, batch):
    del state
    told = {}
    for m in kit.modalities:
      first, second = jnp.split(out.feats[m], 2)
      valid_B = jnp.split(batches.valid(batch, m), 2)[0]
      told[f'loss/{m}'] = contrastive.nt_xent(
        first, second, temperature, valid_B=valid_B
      )
    return jnp.sum(jnp.stack(list(told.values()))), told

  def predict(state, batch):
    return kit.forward(state, {}, batch)[0]

  step = descent(kit, loss, modulate=encoders_only(kit))
  return Method(lambda *_: (), {'pretrain': Phase(step, views=2)}, predict)
