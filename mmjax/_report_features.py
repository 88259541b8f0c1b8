"""Sections of one run's report about what happens inside: a Run in, HTML out."""

from collections.abc import Mapping

import numpy as np

from mmjax import _report_html as html
from mmjax import _report_pictures as pictures
from mmjax import _report_runs as runs
from mmjax import log

POINTS = 600  # of one modality in the projection: more is a blot


def gap(run: runs.Run) -> str:
  """The modality gap, and the features it is about on two axes."""
  cells, rows = run.test.get('gap', {}), run.rows.get('gap', {})
  body = ''
  if cells:
    lines = [[pair, log.spread(cell, 1)] for pair, cell in cells.items()]
    body = html.table(['pair', 'modality gap'], lines)
  points = {
    m: runs.seeds(rows[f'feats/{m}'], 2)[0][rows[f'present/{m}']]
    for m in run.modalities
    if f'feats/{m}' in rows
  }
  points = {m: z_ND for m, z_ND in points.items() if len(z_ND)}
  widths = {z_ND.shape[1] for z_ND in points.values()}
  if not points:
    return body + html.missing('The eval gap was not part of this run.')
  if len(widths) > 1 or any(~np.isfinite(z).all() for z in points.values()):
    sizes = ', '.join(f'{m} {z.shape[1]}' for m, z in points.items())
    return body + html.missing(
      'There is no common projection: it needs finite features of one width '
      f'(here: {sizes}).'
    )
  plane, share = principal_plane(points)
  return body + html.figure(
    pictures.projection(plane, html.palette(run.modalities)),
    'Features of the test examples, each scaled to length one, on the first '
    f'two principal axes of all modalities together ({share:.0%} of the '
    'variance); large dots are the centres, whose distance before projection '
    f'is the modality gap.{" First seed." * (run.num_seeds > 1)}',
  )


def principal_plane(
  points: Mapping[str, np.ndarray],
) -> tuple[dict[str, np.ndarray], float]:
  """Projects L2-normalised features [N, D] of all modalities to [N, 2].

  Returns:
    At most POINTS per modality, and the share of variance on the two axes.
  """
  unit = {
    name: z_ND / np.maximum(np.linalg.norm(z_ND, axis=1, keepdims=True), 1e-12)
    for name, z_ND in points.items()
  }
  every_ND = np.concatenate(list(unit.values())).astype(np.float64)
  centre_D = every_ND.mean(0)
  power_D, axes_DD = np.linalg.eigh(np.atleast_2d(np.cov(every_ND.T)))
  axes_D2 = np.pad(axes_DD[:, ::-1][:, :2], ((0, 0), (0, 2)))[:, :2]
  share = power_D[::-1][:2].sum() / max(power_D.sum(), 1e-12)
  few = {
    name: u_ND[np.unique(np.linspace(0, len(u_ND) - 1, POINTS).astype(int))]
    for name, u_ND in unit.items()
  }
  return {k: (u_ND - centre_D) @ axes_D2 for k, u_ND in few.items()}, share


def attention(run: runs.Run) -> str:
  """Mean attention between modalities by group; '' for a run without any.

  The rows are those of the eval attention: 1 is uniform attention.
  """
  rows = run.rows.get('attention', {})
  if 'attention' not in rows:
    return ''
  weight_SNMM = runs.seeds(rows['attention'], 3).astype(np.float64)
  M, finite_N = weight_SNMM.shape[-1], np.isfinite(weight_SNMM).all((0, 2, 3))
  if M != len(run.modalities) or not finite_N.any():
    return html.missing(
      f'The attention of {finite_N.sum()} examples is finite, between {M} '
      f'blocks, for {len(run.modalities)} modalities; no picture of it.'
    )
  groups = {k: v & finite_N for k, v in _groups(rows, run).items()}
  groups = {
    f'{name} (n = {has_N.sum():,})': weight_SNMM[:, has_N]
    for name, has_N in groups.items()
    if has_N.any()
  }
  pairs = [(i, j) for i in range(M) for j in range(M)]
  table = html.table(
    ['', *(f'{run.modalities[i]} → {run.modalities[j]}' for i, j in pairs)],
    [
      [name, *(_mean(w_SNMM[..., i, j]) for i, j in pairs)]
      for name, w_SNMM in groups.items()
    ],
  )
  pictured = {name: w_SNMM.mean((0, 1)) for name, w_SNMM in groups.items()}
  left_out = int((~finite_N).sum())
  return table + html.figure(
    pictures.attention(pictured, run.modalities),
    'Mean attention from the modality of the row to that of the column; 1 is '
    'uniform, blue is more and orange less.'
    + f' ±: standard deviation over {run.num_seeds} seeds.' * _several(groups)
    + f' {left_out} examples lack a modality and are left out.'
    * bool(left_out),
  )


def _several(groups: Mapping[str, np.ndarray]) -> bool:
  return len(next(iter(groups.values()))) > 1


def _groups(rows: Mapping, run: runs.Run) -> dict[str, np.ndarray]:
  """bool[N] by name: one class against all others, or each class."""
  label_N = rows['label']
  listed = dict(enumerate(map(str, run.record.get('class_names') or ())))
  if 'neutral' not in rows:
    return {
      listed.get(c, str(c)): label_N == c for c in np.unique(label_N).tolist()
    }
  neutral_N = runs.seeds(rows['neutral'], 1)[0].astype(bool)
  classes = np.unique(label_N[neutral_N]).tolist()
  name = listed.get(classes[0], 'neutral') if len(classes) == 1 else 'neutral'
  return {name: neutral_N, f'not {name}': ~neutral_N}


def _mean(value_SN: np.ndarray) -> str:
  mean_S = value_SN.mean(1)
  spread = f' ± {mean_S.std(ddof=1):.3f}' if len(mean_S) > 1 else ''
  return f'{mean_S.mean():.3f}{spread}'
