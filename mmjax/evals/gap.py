"""How far apart do the modalities lie in feature space?

Rows: 'feats/<modality>' f32[B, D], 'present/<modality>', 'label'. Numbers:
'gap/<a>-<b>' for each pair of modalities (`scores.modality_gap`), on the
examples that have both; NaN if none has. A pair of different widths lies in
different spaces and is left out.
"""

import itertools

import jax.numpy as jnp
import numpy as np

from mmjax.base import Array, Batch, Eval, Kit, Method, TrainState
from mmjax.ops import scores


def make(kit: Kit, method: Method) -> Eval:
  """The modality gap of every pair; the rows feed the report's projection."""

  def observe(state: TrainState, batch: Batch) -> dict[str, Array]:
    feats = method.predict(state, batch).feats
    rows = {f'feats/{m}': z_BD.astype(jnp.float32) for m, z_BD in feats.items()}
    rows |= {f'present/{m}': batch['present'][m] for m in kit.modalities}
    return rows | {'label': batch['label']}

  def report(rows: dict[str, np.ndarray]) -> dict[str, float]:
    names = [m for m in kit.modalities if f'feats/{m}' in rows]
    numbers = {}
    for a, b in itertools.combinations(names, 2):
      x_ND, y_ND = rows[f'feats/{a}'], rows[f'feats/{b}']
      both_N = rows[f'present/{a}'] & rows[f'present/{b}']
      if x_ND.shape[1:] == y_ND.shape[1:]:
        numbers[f'gap/{a}-{b}'] = (
          float(_gap(x_ND[both_N], y_ND[both_N])) if both_N.any() else np.nan
        )
    return numbers

  return Eval(observe, report)


def _gap(x_ND: np.ndarray, y_ND: np.ndarray) -> Array:
  return scores.modality_gap(jnp.asarray(x_ND), jnp.asarray(y_ND))
