"""What is left when modalities are dropped, and what does each contribute?

Rows: 'guess/<subset>' i32[B], the class predicted from that subset of
modalities, -1 where the example has none of them; 'label'. Numbers:
'subsets/audio+visual/accuracy' for every non-empty subset, and
'shapley/<modality>': that modality's Shapley share of the accuracy.

An example with nothing to look at counts as a uniform guess, 1/C. The same
holds for the empty subset, v(empty) = 1/C, whatever the class frequencies: no
modality, no knowledge of the split. So the Shapley values sum to the accuracy
with all modalities minus 1/C.
"""

import itertools

import jax.numpy as jnp
import numpy as np

from mmjax.base import Array, Batch, Eval, Kit, Method, TrainState
from mmjax.ops import scores


def make(kit: Kit, method: Method, *, max_modalities: int = 6) -> Eval:
  """Accuracy of the fused prediction under all 2^M - 1 subsets, in one pass.

  Raises:
    ValueError: more than `max_modalities` modalities, or a '+' in a name.
  """
  M = len(kit.modalities)
  if M > max_modalities:
    raise ValueError(
      f'The eval subsets would predict {2**M - 1} times per batch for the '
      f'{M} modalities {", ".join(kit.modalities)}; its limit is '
      f'max_modalities={max_modalities}. Leave the eval out of config.evals, '
      'or raise the limit.'
    )
  for name in kit.modalities:
    if '+' in name:
      raise ValueError(
        f"The eval subsets joins names by '+', so the modality {name!r} needs "
        'a name without one.'
      )
  subsets = {
    '+'.join(subset): subset
    for size in range(1, M + 1)
    for subset in itertools.combinations(kit.modalities, size)
  }

  def observe(state: TrainState, batch: Batch) -> dict[str, Array]:
    rows = {'label': batch['label']}
    for path, subset in subsets.items():
      present = {
        m: has_B if m in subset else jnp.zeros_like(has_B)
        for m, has_B in batch['present'].items()
      }
      joint_BC = method.predict(state, {**batch, 'present': present}).joint
      any_B = jnp.any(jnp.stack([present[m] for m in subset]), axis=0)
      guess_B = jnp.argmax(joint_BC, axis=-1).astype(jnp.int32)
      rows[f'guess/{path}'] = jnp.where(any_B, guess_B, -1)
    return rows

  def report(rows: dict[str, np.ndarray]) -> dict[str, float]:
    chance = 1 / kit.num_classes
    accuracy: dict[scores.Subset, float] = {(): chance}
    for path, subset in subsets.items():
      guess_N = rows[f'guess/{path}']
      right_N = np.where(guess_N < 0, chance, guess_N == rows['label'])
      accuracy[subset] = float(np.mean(right_N))
    numbers = {f'subsets/{p}/accuracy': accuracy[s] for p, s in subsets.items()}
    share = scores.shapley(accuracy)
    return numbers | {f'shapley/{m}': share[m] for m in kit.modalities}

  return Eval(observe, report)
