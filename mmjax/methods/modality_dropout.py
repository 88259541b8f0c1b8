"""Modality dropout: joint training in which examples lose modalities at random.

After ModDrop, Neverova, Wolf, Taylor, Nebout, TPAMI 2016,
https://arxiv.org/abs/1501.00102, which drops whole modalities before the fusion
layer. Here what is hidden is treated as if the example lacked it: by the
encoder's statistics, the head and the losses. Nothing is rescaled, and at test
time nothing is hidden.
"""

from collections.abc import Mapping

import jax
import jax.numpy as jnp

from mmjax.base import Array, Kit, Method, Phase
from mmjax.methods._descent import descent, per_modality
from mmjax.ops import batches, losses


def hide(
  key: Array, present: Mapping[str, Array], rate: float
) -> dict[str, Array]:
  """What is left of `present` {m: bool[B]}.

  Each modality that an example has is hidden with probability `rate`,
  independently; where that hides all of them, one of them, each as likely,
  stays. So a modality of an example that has k is hidden with probability
  rate - rate^k / k, and one of an example that has no other never is.
  """
  has_MB = jnp.stack(list(present.values()))
  # The highest draw is a uniformly drawn one where all are below the rate, and
  # is not below it where any is not.
  draw_MB = jnp.where(has_MB, jax.random.uniform(key, has_MB.shape), -1)
  best_B = jnp.max(draw_MB, axis=0)
  left_MB = has_MB & ((draw_MB >= rate) | (draw_MB == best_B[None]))
  return dict(zip(present, left_MB))


def make(
  kit: Kit, *, rate: float = 0.3, unimodal_weight: float = 0.0
) -> Method:
  """Joint training with modality dropout.

  Args:
    kit: with any head.
    rate: probability in [0, 1] that a modality of an example is hidden in a
      step, one always staying, see `hide`. 0 is the method 'joint'; 1 leaves
      each example with exactly one.
    unimodal_weight: weight of the sum of the modalities' cross-entropies, each
      over the examples that it was not hidden from.

  Raises ValueError for a rate outside [0, 1].
  """
  if not 0 <= rate <= 1:
    raise ValueError(
      f'config.method.rate={rate} is a probability and must be in [0, 1].'
    )

  def loss(state, out, batch):
    del state
    joint = losses.cross_entropy(out.joint, batch['label'], batch['mask'])
    unis = per_modality(out, batch)
    total = joint + unimodal_weight * sum(unis.values())
    parts = {f'loss/{m}': value for m, value in unis.items()}
    return total, {'loss/joint': joint, **parts}

  down = descent(kit, loss)

  def step(state, batch):
    present = {m: batch['present'][m] for m in kit.modalities}
    left = hide(kit.key(state, 'method'), present, rate)
    told = {}
    for m in kit.modalities:
      hidden_B = (present[m] & ~left[m]).astype(jnp.float32)
      share = losses.masked_mean(hidden_B, batches.valid(batch, m))
      told[f'hidden/{m}'] = share
    state, metrics = down(state, {**batch, 'present': left})
    return state, {**metrics, **told}

  def predict(state, batch):
    return kit.forward(state, {}, batch)[0]

  return Method(lambda *_: (), {'joint': Phase(step)}, predict)
