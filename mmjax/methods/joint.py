"""Joint training: one loss on the fused logits, every block moves together.

The baseline that all works on imbalanced multimodal learning start from; with
the heads `sum` and `concat` it is theirs. `unimodal_weight` adds each
modality's own cross-entropy, the control that a reviewer asks for.
"""

from mmjax.base import Kit, Method, Phase
from mmjax.methods._descent import descent, per_modality
from mmjax.ops import losses


def make(kit: Kit, *, unimodal_weight: float = 0.0) -> Method:
  """Joint training.

  Args:
    kit: with any head.
    unimodal_weight: weight of the sum of the modalities' cross-entropies.
  """

  def loss(state, out, batch):
    del state
    joint = losses.cross_entropy(out.joint, batch['label'], batch['mask'])
    unis = per_modality(out, batch)
    total = joint + unimodal_weight * sum(unis.values())
    parts = {f'loss/{m}': value for m, value in unis.items()}
    return total, {'loss/joint': joint, **parts}

  def predict(state, batch):
    return kit.forward(state, {}, batch)[0]

  phase = Phase(descent(kit, loss))
  return Method(lambda *_: (), {'joint': phase}, predict)
