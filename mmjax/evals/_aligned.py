"""What the evals of aligned modalities share: their rows, and how to read them.

Rows: 'feats/<modality>' f32[B, D], 'present/<modality>', 'label', and
'entry/<modality>' i32[B], which entry of the modality an example shows: those
with one number show the same (a picture with several captions). Where the data
do not say, every example is an entry.
"""

from collections.abc import Sequence

import jax.numpy as jnp
import numpy as np

from mmjax.base import Array, Batch, Kit, Method, TrainState
from mmjax.ops import retrieval


def observe(
  kit: Kit, method: Method, state: TrainState, batch: Batch
) -> dict[str, Array]:
  """The rows of a batch, features of the modalities that the method shows."""
  feats = method.predict(state, batch).feats
  rows = {f'feats/{m}': z_BD.astype(jnp.float32) for m, z_BD in feats.items()}
  rows |= {f'present/{m}': batch['present'][m] for m in kit.modalities}
  entries = batch.get('entry', {})
  for m in kit.modalities:
    rows[f'entry/{m}'] = entries.get(m, batch['index'])
  return rows | {'label': batch['label']}


def check_widths(rows, names: Sequence[str], place: str) -> None:
  """ValueError unless all of these modalities have features of one width."""
  lost = [m for m in names if f'feats/{m}' not in rows]
  if lost:
    raise ValueError(
      f'{place} compares features of {", ".join(names)}, but the method shows '
      f'none of {", ".join(lost)}. Take a method that does, or leave the eval '
      'out.'
    )
  widths = {m: rows[f'feats/{m}'].shape[1] for m in names}
  if len(set(widths.values())) > 1:
    told = ', '.join(f'{m} {width}' for m, width in widths.items())
    raise ValueError(
      f'{place} compares features of one width, but they are {told}. Give all '
      'encoders (adapters) one: config.width, and no config.encoders.*.width '
      'that differs.'
    )


def paired(
  rows, a: str, b: str
) -> tuple[np.ndarray, np.ndarray, retrieval.Paired]:
  """Distinct entries of two modalities, over the examples that have both.

  Returns:
    Features [N, D] of a's entries, [K, D] of b's, and which are pairs; its
    rows are those of the split.
  """
  both_E = np.flatnonzero(rows[f'present/{a}'] & rows[f'present/{b}'])
  found = retrieval.paired(
    rows[f'entry/{a}'][both_E], rows[f'entry/{b}'][both_E]
  )
  found = found._replace(row_N=both_E[found.row_N], row_K=both_E[found.row_K])
  return rows[f'feats/{a}'][found.row_N], rows[f'feats/{b}'][found.row_K], found
