"""The sections of one run's report: a Run in, HTML out.

Each says in a sentence what is missing rather than fail.
"""

from collections.abc import Callable, Mapping

import numpy as np

from mmjax import _report_charts as charts
from mmjax import _report_html as html
from mmjax import _report_pictures as pictures
from mmjax import _report_runs as runs
from mmjax import log
from mmjax.evals import classification
from mmjax.ops import scores

POINTS = 600  # of one modality in the projection: more is a blot
NO_RESULTS = 'There are no results yet.'
NO_PREDICTIONS = (
  'There are no predictions to draw from: predictions_classification.npz is '
  'written at the end of a run that has the eval classification.'
)


def missing(sentence: str) -> str:
  return html.paragraph(sentence, 'missing')


def headline(run: runs.Run) -> str:
  if not run.test:
    return missing(NO_RESULTS)
  shades, joint = html.palette(run.modalities), ['joint']
  tiles = [
    (charts.shown(name), log.spread(run.test[name].get('accuracy')), shade)
    for name, shade in ((n, shades[n]) for n in joint + run.modalities)
    if name in run.test
  ]
  body = html.tiles(tiles) + _measures(run, run.split)
  others = [split for split in run.results if split != run.split]
  for split in others:
    body += html.folded(f'The same on {split}', _measures(run, split))
  several = f', mean ± standard deviation over {run.num_seeds} seeds'
  return body + html.paragraph(
    f'On {run.split}, in percent{several if run.num_seeds > 1 else ""}. A '
    'modality is measured on the examples that have it.',
    'note',
  )


def _measures(run, split):
  found, shades = run.results[split], html.palette(run.modalities)
  names = [n for n in (*run.modalities, 'joint') if n in found]
  columns = [m for m in log.MEASURES if any(m in found[n] for n in names)]
  return html.table(
    ['', *(log.MEASURES[m] for m in columns)],
    [
      [charts.shown(n), *(log.spread(found[n].get(m)) for m in columns)]
      for n in names
    ],
    [shades[n] for n in names],
  )


def learning(run: runs.Run) -> str:
  """Training loss and validation accuracy per modality."""
  losses = {m: f'loss/{m}' for m in run.modalities} | {'total': 'loss'}
  accuracies = {m: f'{m}/accuracy' for m in (*run.modalities, 'joint')}
  panels = []
  for title, split, names, percent in (
    ('Training loss', 'train', losses, False),
    ('Validation accuracy', 'validation', accuracies, True),
  ):
    found = {k: runs.series(run, split, path) for k, path in names.items()}
    found = {k: v for k, v in found.items() if v is not None}
    if found:
      panels.append((title, found, percent))
  if not panels:
    return missing('Nothing is logged yet: metrics.jsonl holds no curves.')
  shades = html.palette(run.modalities) | {'total': 'ink'}
  return html.figure(
    pictures.curves(panels, shades, 'Learning curves'),
    'The number at a line is its last value'
    + ('; the band is one standard deviation over seeds.' * _many(run)),
  )


def _many(run) -> bool:
  return run.num_seeds > 1


def _predictions(run) -> dict[str, tuple[np.ndarray, np.ndarray]]:
  """Returns (logits f32[S, N, C], labels i32[N]) by modality and 'joint'."""
  rows, found = run.rows.get('classification', {}), {}
  if 'label' not in rows:
    return found
  for name in ('joint', *run.modalities):
    if f'logits/{name}' in rows:
      has_N = rows.get(f'present/{name}', np.ones(len(rows['label']), bool))
      logits_SNC = runs.seeds(rows[f'logits/{name}'], 2)[:, has_N]
      found[name] = logits_SNC, rows['label'][has_N]
  return {k: v for k, v in found.items() if len(v[1])}


def confusion(run: runs.Run) -> str:
  found = _predictions(run)
  if not found:
    return missing(NO_PREDICTIONS)
  from sklearn import metrics

  C = found['joint'][0].shape[-1]
  counts = {
    name: metrics.confusion_matrix(
      np.tile(label_N, len(logits_SNC)),
      logits_SNC.argmax(-1).ravel(),
      labels=range(C),
    )
    for name, (logits_SNC, label_N) in found.items()
  }
  names = run.record.get('class_names') or [str(c) for c in range(C)]
  shades = html.palette(run.modalities)
  return html.figure(
    pictures.confusion(counts, [str(name) for name in names], shades),
    'A row is a true class and sums to 100 percent'
    + (f'; {run.num_seeds} seeds together.' if _many(run) else '.'),
  )


def calibration(run: runs.Run) -> str:
  found = _predictions(run)
  found = {k: v for k, v in found.items() if np.isfinite(v[0]).all()}
  if not found:
    return missing(NO_PREDICTIONS)
  bins, errors = {}, {}
  for name, (logits_SNC, label_N) in found.items():
    probs_SNC = [classification.softmax(logits_NC) for logits_NC in logits_SNC]
    labels = np.tile(label_N, len(probs_SNC))
    bins[name] = scores.reliability(np.concatenate(probs_SNC), labels)
    error = np.mean([scores.ece(p_NC, label_N) for p_NC in probs_SNC])
    errors[name] = f'{100 * error:.1f}'
  picture = pictures.calibration(bins, errors, html.palette(run.modalities))
  return html.figure(
    picture,
    'Confidence of the predicted class against how often it is right; a dot is '
    'as large as the share of examples in its bin. Below the dashed line the '
    'model is overconfident. ECE: expected calibration error, in percent, 15 '
    'equal bins.',
  )


def subsets(run: runs.Run) -> str:
  """Accuracy without each modality, and under every subset."""
  cells = {
    name: cell['accuracy'] for name, cell in run.test.get('subsets', {}).items()
  }
  if not cells:
    return missing('The eval subsets was not part of this run.')
  full = '+'.join(run.modalities)
  rows = [['all modalities', log.spread(cells[full]), '']]
  for m in run.modalities if len(run.modalities) > 1 else ():
    rest = '+'.join(n for n in run.modalities if n != m)
    drop = runs.values(cells[rest]) - runs.values(cells[full])
    change = f'{100 * drop.mean():+.1f}'.replace('-', '−')
    rows.append([f'without {m}', log.spread(cells[rest]), change])
  found = _predictions(run)
  chance = 1 / found['joint'][0].shape[-1] if found else np.nan
  shades = html.palette(run.modalities)
  return html.table(['', 'accuracy, %', 'change'], rows) + html.figure(
    charts.subsets(cells, run.modalities, shades, chance),
    'Fused accuracy when only the marked modalities are given. An example that '
    'has none of them counts as a uniform guess.',
  )


def shapley(run: runs.Run) -> str:
  shares = run.test.get('shapley', {})
  if not shares:
    return missing('The eval subsets was not part of this run.')
  shares = {m: shares[m] for m in run.modalities}
  total = run.test['subsets']['+'.join(run.modalities)]['accuracy']
  parts = [runs.values(cell).mean() for cell in shares.values()]
  start = float(runs.values(total).mean() - sum(parts))
  return html.figure(
    charts.shapley(shares, start, html.palette(run.modalities)),
    'The Shapley value of a modality is the accuracy that it adds, averaged '
    'over all orders of adding modalities. Together with chance the values sum '
    'to the accuracy with all of them.',
  )


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
    return body + missing('The eval gap was not part of this run.')
  if len(widths) > 1 or any(~np.isfinite(z).all() for z in points.values()):
    sizes = ', '.join(f'{m} {z.shape[1]}' for m, z in points.items())
    return body + missing(
      'There is no common projection: it needs finite features of one width '
      f'(here: {sizes}).'
    )
  plane, share = principal_plane(points)
  return body + html.figure(
    pictures.projection(plane, html.palette(run.modalities)),
    'Features of the test examples, each scaled to length one, on the first '
    f'two principal axes of all modalities together ({share:.0%} of the '
    'variance); large dots are the centres, whose distance before projection '
    f'is the modality gap.{" First seed." * _many(run)}',
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


def provenance(run: runs.Run) -> str:
  if not run.record:
    return missing('There is no config.json.')
  tables = {'Config': run.config}
  if run.config is not run.record:
    rest = {k: v for k, v in run.record.items() if k != 'config'}
    tables['Where and with what'] = rest
  return ''.join(
    html.folded(
      title,
      html.table(['', ''], list(runs.flat(tree).items()), kind='plain'),
    )
    for title, tree in reversed(tables.items())
  )


SECTIONS: Mapping[str, Callable[[runs.Run], str]] = {
  'Results': headline,
  'Learning curves': learning,
  'When modalities are dropped': subsets,
  'Contribution of each modality': shapley,
  'Confusion': confusion,
  'Calibration': calibration,
  'Modality gap': gap,
  'Config and provenance': provenance,
}
