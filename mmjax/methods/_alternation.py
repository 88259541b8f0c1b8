"""A unimodal turn at a shared head, which the variants of MLA have in common."""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from mmjax.base import Array, Batch, Blocks, Kit, TrainState
from mmjax.ops import batches, gating, losses


class Turn(NamedTuple):
  """What one modality's loss says about its encoder and the head."""

  grads: Blocks  # of the encoder and the head
  z_D: Array  # mean feature of the examples that have the modality
  stats: Blocks
  loss: Array
  any: Array  # bool[], whether any example has the modality


def require_shared(kit: Kit, method: str) -> None:
  """Raises ValueError unless the modalities share one linear head."""
  if kit.head != 'shared':
    raise ValueError(
      f'method {method!r} needs a shared head; config.head.name is '
      f"{kit.head!r} (use 'shared')."
    )


def turn(kit: Kit, m: str, state: TrainState, batch: Batch) -> Turn:
  """Loss and gradients of modality m alone."""
  valid_B = batches.valid(batch, m)

  def loss_fn(blocks):
    out, stats = kit.forward(state, blocks, batch, only=(m,), train=True)
    loss = losses.cross_entropy(out.unis[m], batch['label'], valid_B)
    return loss, (out.feats[m], stats)

  blocks = {m: state.params[m], 'head': state.params['head']}
  (loss, (z_BD, stats)), grads = jax.value_and_grad(loss_fn, has_aux=True)(
    blocks
  )
  z_D = jax.vmap(losses.masked_mean, (1, None))(z_BD, valid_B)
  return Turn(grads, z_D, stats, loss, jnp.any(valid_B))


def project(P_DD: Array, grads: Blocks) -> Blocks:
  """Multiplies the head kernel's gradient [D, C] by P; the bias is free."""
  head = dict(grads['head'])
  head['kernel'] = P_DD @ head['kernel']
  return {**grads, 'head': head}


def first_projection(params: Blocks) -> Array:
  """P_0 = I, as wide as the head's input."""
  return jnp.eye(params['head']['kernel'].shape[0], dtype=jnp.float32)


def check_weights(kit: Kit, weights: tuple[float, ...]) -> Array:
  """Weights of the modalities as weights_M; () is the same for each.

  Raises ValueError for a wrong number of them, or none above zero.
  """
  if not weights:
    return jnp.ones(len(kit.modalities)) / len(kit.modalities)
  if (
    len(weights) != len(kit.modalities) or min(weights) < 0 or not any(weights)
  ):
    raise ValueError(
      f'config.method.weights={weights} must hold one weight >= 0 for each of '
      f'the modalities {kit.modalities}, and one of them above 0.'
    )
  return jnp.asarray(weights, jnp.float32) / sum(weights)


def fuse(kit: Kit, fusion: str, weights_M: Array, state, batch):
  """Forward pass with the modalities' logits fused at test time.

  Args:
    fusion: 'entropy' (per example), 'entropy_released' (one weight per
      modality and batch) or 'fixed'.
    weights_M: of 'fixed'.
  """
  out, _ = kit.forward(state, {}, batch)
  logits_MBC = jnp.stack([out.unis[m] for m in kit.modalities])
  present_MB = jnp.stack([batch['present'][m] for m in kit.modalities])
  if fusion == 'entropy':
    weights_MB = gating.entropy(logits_MBC, present_MB)
  elif fusion == 'entropy_released':
    weights_M = gating.entropy_released(logits_MBC, batch['mask'])
    weights_MB = gating.fixed(weights_M, present_MB)
  else:
    weights_MB = gating.fixed(weights_M, present_MB)
  return out._replace(joint=gating.fuse(weights_MB, logits_MBC))


def check_fusion(fusion: str) -> None:
  """Raises ValueError for an unknown test-time fusion."""
  known = ('entropy', 'fixed', 'entropy_released')
  if fusion not in known:
    raise ValueError(
      f'config.method.fusion={fusion!r} is none of {", ".join(known)}.'
    )
