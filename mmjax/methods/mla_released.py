"""MLA as its authors' released code runs it, for comparison with the paper's.

Cecile-hi/Multimodal-Learning-with-Alternating-Unimodal-Adaptation. It departs
from the paper (`mla`) in four places:
- The projection never applies: a parameter is looked up under a name that it
  does not have. `projection=True` is what was meant to run: a matrix for a
  denominator, a P of unit norm, and an alpha that falls within each epoch.
- P is updated with the current batch before it projects.
- `coasting`: with the PyTorch the authors pin, encoders that had their turn
  keep moving by momentum and weight decay during the later turns of the batch.
- At test time one weight per modality, fixed or by an entropy over the batch.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from mmjax.base import Array, Kit, Method, Phase
from mmjax.methods import _alternation as alternation
from mmjax.ops import batches, rls, trees


class Memory(NamedTuple):
  P_DD: Array  # projection of the head's gradient; starts at I
  turn: Array  # i32[], turns taken so far


def make(
  kit: Kit,
  *,
  projection: bool = False,
  coasting: bool = True,
  fusion: str = 'fixed',
  weights: tuple[float, ...] = (),
) -> Method:
  """The released variants, with the phase 'lap'.

  Args:
    kit: with the head 'shared'; turns are in the order of its modalities.
    projection: make the released projection apply.
    coasting: idle encoders keep momentum and weight decay, as in torch 1.8;
      without it they rest, as in torch 2.
    fusion: 'fixed', 'entropy_released' or 'entropy'.
    weights: of the modalities' logits if fusion is 'fixed'; () is the same
      for each. The release has .55 and .45 for audio and visual, and .35, .25,
      .4 for audio, visual and text.

  Raises ValueError for another head, an unknown fusion, or wrong weights.
  """
  alternation.require_shared(kit, 'mla_released')
  alternation.check_fusion(fusion)
  weights_M = alternation.check_weights(kit, weights)

  def init(params, stats):
    del stats
    return Memory(alternation.first_projection(params), jnp.int32(0))

  def take(m, state, batch):
    turn = alternation.turn(kit, m, state, batch)
    memory, grads = state.method, turn.grads
    if projection:
      alpha = 0.1 ** (1 + kit.epoch(state) % 1)
      new_DD = rls.update_released(memory.P_DD, turn.z_D, alpha)
      # The first turn of all is skipped by the release; so is an empty one.
      P_DD = jnp.where(turn.any & (memory.turn > 0), new_DD, memory.P_DD)
      memory = memory._replace(P_DD=P_DD)
      grads = alternation.project(P_DD, grads)
    memory = memory._replace(turn=memory.turn + 1)
    when = {m: turn.any, 'head': turn.any}
    state = kit.descend(
      state, grads, when=when, stats=turn.stats, method=memory
    )
    return state, turn

  def lap(state, batch):
    metrics = {}
    seen = batches.seen(batch, kit.modalities)
    for i, m in enumerate(kit.modalities):
      state, turn = take(m, state, batch)
      metrics[f'loss/{m}'] = turn.loss
      metrics[f'grad_norm/{m}'] = trees.global_norm(turn.grads[m])
      if coasting:
        still = {
          idle: jax.tree.map(jnp.zeros_like, state.params[idle])
          for idle in kit.modalities[:i]
        }
        state = kit.descend(state, still, when=seen)
    losses = [metrics[f'loss/{m}'] for m in kit.modalities]
    return kit.tick(state), {'loss': sum(losses) / len(losses), **metrics}

  def predict(state, batch):
    return alternation.fuse(kit, fusion, weights_M, state, batch)

  return Method(init, {'lap': Phase(lap)}, predict)
