"""The sections of one run's report: a Run in, HTML out.

Each says in a sentence what is missing rather than fail.
"""

from collections.abc import Callable, Mapping

import numpy as np

from mmjax import _report_charts as charts
from mmjax import _report_curves as curves
from mmjax import _report_features as features
from mmjax import _report_html as html
from mmjax import _report_predictions as predictions
from mmjax import _report_retrieval as retrieval
from mmjax import _report_runs as runs
from mmjax import log

NO_RESULTS = 'There are no results yet.'


def headline(run: runs.Run) -> str:
  if not run.test:
    return html.missing(NO_RESULTS)
  shades, joint = html.palette(run.modalities), ['joint']
  tiles = [
    (charts.shown(name), log.spread(run.test[name]['accuracy']), shade)
    for name, shade in ((n, shades[n]) for n in joint + run.modalities)
    if 'accuracy' in run.test.get(name, {})
  ]
  tiles = tiles or retrieval.tiles(run)
  body = html.tiles(tiles) if tiles else ''
  body += _measures(run, run.split)
  for split in run.results:
    if split != run.split and _measures(run, split):
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
  if not columns:
    return ''
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
  zero_shots = {m: f'{m}/zero_shot' for m in run.modalities}
  ways = retrieval.paths(run)
  panels = []
  for title, split, names, percent in (
    ('Training loss', 'train', losses, False),
    ('Validation accuracy', 'validation', accuracies, True),
    ('Validation zero-shot accuracy', 'validation', zero_shots, True),
    ('Validation R@1', 'validation', ways, True),
  ):
    found = {k: runs.series(run, split, path) for k, path in names.items()}
    found = {k: v for k, v in found.items() if v is not None}
    if found:
      panels.append((title, found, percent))
  if not panels:
    return html.missing('Nothing is logged yet: metrics.jsonl holds no curves.')
  shades = html.palette(run.modalities) | {'total': 'ink'}
  shades |= {way: retrieval.shade(run, way) for way in ways}
  return html.figure(
    curves.curves(panels, shades, 'Learning curves'),
    'The number at a line is its last value'
    + (
      '; the band is one standard deviation over seeds.'
      if run.num_seeds > 1
      else '.'
    ),
  )


def subsets(run: runs.Run) -> str:
  """Accuracy without each modality, and under every subset."""
  cells = {
    name: cell['accuracy'] for name, cell in run.test.get('subsets', {}).items()
  }
  if not cells:
    return html.missing('The eval subsets was not part of this run.')
  full = '+'.join(run.modalities)
  rows = [['all modalities', log.spread(cells[full]), '']]
  for m in run.modalities if len(run.modalities) > 1 else ():
    rest = '+'.join(n for n in run.modalities if n != m)
    drop = runs.values(cells[rest]) - runs.values(cells[full])
    change = f'{100 * drop.mean():+.1f}'.replace('-', '−')
    rows.append([f'without {m}', log.spread(cells[rest]), change])
  found = predictions.of(run)
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
    return html.missing('The eval subsets was not part of this run.')
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


def provenance(run: runs.Run) -> str:
  if not run.record:
    return html.missing('There is no config.json.')
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


def _of_classifiers(section: Callable) -> Callable:
  """The section; left out for a run with results of anything but classes."""

  def told(run: runs.Run) -> str:
    return '' if run.test and not runs.classifies(run) else section(run)

  return told


def gap(run: runs.Run) -> str:
  """The modality gap; left out where neither it nor a classifier was asked."""
  asked = 'gap' in run.test or 'gap' in run.rows
  return features.gap(run) if asked else _of_classifiers(features.gap)(run)


SECTIONS: Mapping[str, Callable[[runs.Run], str]] = {
  'Results': headline,
  'Learning curves': learning,
  'Retrieval': retrieval.recall,
  'Similarity of pairs': retrieval.similarity,
  'When modalities are dropped': _of_classifiers(subsets),
  'Contribution of each modality': _of_classifiers(shapley),
  'Predictions per class': _of_classifiers(predictions.per_class),
  'Confusion': _of_classifiers(predictions.confusion),
  'Calibration': _of_classifiers(predictions.calibration),
  'Modality gap': gap,
  'Attention between modalities': features.attention,
  'Config and provenance': provenance,
}
