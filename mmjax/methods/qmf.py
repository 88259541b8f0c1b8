"""QMF: late fusion weighted by confidences that are trained to be honest.

"Provable Dynamic Fusion for Low-Quality Multimodal Data", Zhang, Wu, Zhang, Hu,
Fu, Zhou, Peng, ICML 2023, https://arxiv.org/abs/2306.02050, after the authors'
code. Each modality's logits are weighted by their own negative free energy, and
a ranking loss asks that examples with the higher losses so far have the lower
confidence (`ops/confidence.py`). Confidences learn from the ranking alone.

The memory is {modality: f32[N]}: for each training example the sum of its
losses so far, brought up to date before each step's ranking. An example that
lacks a modality neither adds to that history nor is ranked.
"""

import jax
import jax.numpy as jnp
import optax

from mmjax.base import Kit, Method, Phase
from mmjax.methods._descent import descent, per_modality
from mmjax.ops import batches, confidence, losses


def make(
  kit: Kit,
  *,
  rank_weight: float = 1.0,
  margin_sign: str = 'released',
  scale: float = 10.0,
  stop_gradient: bool = True,
) -> Method:
  """Quality-aware multimodal fusion.

  Args:
    kit: with the head 'late'.
    rank_weight: of the ranking losses beside the cross-entropies of the fused
      and of each modality's logits. 1 in the authors' code, 0.1 in the copy
      that MLA compares with; 0 leaves them out.
    margin_sign: of the ranking loss, 'released' or 'intended', see
      `ops.confidence.rank_loss`.
    scale: confidences are logsumexp(logits) / scale.
    stop_gradient: whether the fused loss leaves the confidences alone, as
      released.

  Raises ValueError for another head or an option out of range.
  """
  _check(kit, rank_weight, margin_sign, scale)
  names = kit.modalities

  def fused(out, batch):
    logits_MBC = jnp.stack([out.unis[m] for m in names])
    present_MB = jnp.stack([batch['present'][m] for m in names])
    c_MB = confidence.confidence(logits_MBC, scale)
    weights_MB = jax.lax.stop_gradient(c_MB) if stop_gradient else c_MB
    joint_BC = confidence.fuse(logits_MBC, weights_MB, present_MB)
    return joint_BC, dict(zip(names, c_MB))

  def remember(state, out, batch):
    new = {}
    for m in names:
      loss_B = optax.softmax_cross_entropy_with_integer_labels(
        jax.lax.stop_gradient(out.unis[m]), batch['label']
      )
      new[m] = confidence.accumulate(
        state.method[m], batch['index'], loss_B, batches.valid(batch, m)
      )
    return new

  def loss(state, out, batch):
    joint_BC, sure = fused(out, batch)
    joint = losses.cross_entropy(joint_BC, batch['label'], batch['mask'])
    unis, ranks, told = per_modality(out, batch), {}, {}
    history = remember(state, out, batch)
    for m in names:
      valid_B = batches.valid(batch, m)
      ranks[m] = confidence.rank_loss(
        sure[m], history[m], batch['index'], valid_B, margin_sign
      )
      told[f'loss/{m}'], told[f'rank/{m}'] = unis[m], ranks[m]
      told[f'confidence/{m}'] = losses.masked_mean(sure[m], valid_B)
    total = joint + sum(unis.values()) + rank_weight * sum(ranks.values())
    return total, {'loss/joint': joint, **told}

  def predict(state, batch):
    out, _ = kit.forward(state, {}, batch)
    return out._replace(joint=fused(out, batch)[0])

  def init(params, stats):
    del params, stats
    return {m: jnp.zeros(kit.num_examples, jnp.float32) for m in names}

  phase = Phase(descent(kit, loss, remember=remember))
  return Method(init, {'joint': phase}, predict)


def _check(kit: Kit, rank_weight, margin_sign, scale) -> None:
  if kit.head != 'late':
    raise ValueError(
      "method 'qmf' needs a classifier of its own for each modality; "
      f"config.head.name is {kit.head!r} (use 'late')."
    )
  if margin_sign not in confidence.SIGNS:
    raise ValueError(
      f'config.method.margin_sign={margin_sign!r} is none of '
      f'{", ".join(confidence.SIGNS)}.'
    )
  if not scale > 0:
    raise ValueError(f'config.method.scale={scale} must be above 0.')
  if not rank_weight >= 0:
    raise ValueError(
      f'config.method.rank_weight={rank_weight} must not be negative.'
    )
