"""Unimodal training of every modality, and late fusion of the results.

With the head `late` the modalities share no parameter, so this trains M
independent models in one program; `joint` fuses them at test time. Two things
still join their classifiers, which form the block 'head': `optim.clip_norm`
bounds their gradients together, and one whose modality a whole batch lacks
keeps its momentum.
"""

import jax
import jax.numpy as jnp

from mmjax.base import Kit, Method, Phase
from mmjax.methods._descent import descent, per_modality
from mmjax.ops import gating

FUSIONS = ('logits', 'probabilities', 'entropy')


def make(kit: Kit, *, fusion: str = 'logits') -> Method:
  """Unimodal models, fused late.

  Args:
    kit: with the head 'late'.
    fusion: mean of the 'logits', mean of the 'probabilities', or logits
      weighted by predictive 'entropy' (as MLA does).

  Raises ValueError for another head or an unknown fusion.
  """
  if kit.head != 'late':
    raise ValueError(
      "method 'unimodal' trains a classifier of its own for each modality; "
      f"config.head.name is {kit.head!r} (use 'late')."
    )
  if fusion not in FUSIONS:
    raise ValueError(
      f'config.method.fusion={fusion!r} is none of {", ".join(FUSIONS)}.'
    )

  def loss(state, out, batch):
    del state
    unis = per_modality(out, batch)
    total = jnp.sum(jnp.stack(list(unis.values())))
    return total, {f'loss/{m}': v for m, v in unis.items()}

  def predict(state, batch):
    out, _ = kit.forward(state, {}, batch)
    if fusion == 'logits':
      return out
    present_MB = jnp.stack([batch['present'][m] for m in kit.modalities])
    logits_MBC = jnp.stack([out.unis[m] for m in kit.modalities])
    if fusion == 'entropy':
      weights_MB = gating.entropy(logits_MBC, present_MB)
      return out._replace(joint=gating.fuse(weights_MB, logits_MBC))
    weights_MB = gating.fixed(jnp.ones(len(kit.modalities)), present_MB)
    probs_BC = gating.fuse(weights_MB, jax.nn.softmax(logits_MBC))
    return out._replace(joint=jnp.log(jnp.maximum(probs_BC, 1e-30)))

  phase = Phase(descent(kit, loss))
  return Method(lambda *_: (), {'unimodal': phase}, predict)
