"""What a comparison says about imbalance: of modalities, and of classes."""

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from mmjax import _report_predictions as predictions
from mmjax import _report_runs as runs
from mmjax import _report_significance as tests
from mmjax import log
from mmjax._report_groups import Group
from mmjax._report_tables import Table, plain

Cell = dict[str, Any]  # as an entry of results.json: mean, std, values
MANY = 20  # classes; of more there is no table


def numbers(run: runs.Run, group: Group) -> dict[str, Cell]:
  """Entries of results.json about imbalance, by path, and the probe gaps.

  '<m>/probe_gap' is the probe accuracy of the encoder that was trained alone,
  in a run of the method unimodal in the group, minus that of this run; seed by
  seed where both have the same.
  """
  found = {}
  for kind in ('shapley', 'gap'):
    for name, cell in run.test.get(kind, {}).items():
      found[f'{kind}/{name}'] = cell
  alone = unimodal(group)
  for m in run.modalities:
    here = run.test.get(m, {}).get('probe')
    if not here:
      continue
    found[f'{m}/probe'] = here
    there = alone.test.get(m, {}).get('probe') if alone else None
    if alone and there and alone.path != run.path:
      pairs = tests.same_seeds(alone, run)
      found[f'{m}/probe_gap'] = _difference(there, here, pairs)
  return found


def unimodal(group: Group) -> runs.Run | None:
  """The first run of encoders trained alone that has been probed."""
  for run in group.runs:
    probed = any('probe' in run.test.get(m, {}) for m in run.modalities)
    if probed and runs.kind(run.config.get('method', '')) == 'unimodal':
      return run
  return None


def _difference(a: Mapping, b: Mapping, paired: bool) -> Cell:
  x_S, y_S = runs.values(a), runs.values(b)
  if not paired:
    return {'mean': float(x_S.mean() - y_S.mean()), 'std': math.nan}
  d_S = x_S - y_S
  std = float(np.std(d_S, ddof=1)) if len(d_S) > 1 else 0.0
  return {'mean': float(d_S.mean()), 'std': std, 'values': d_S.tolist()}


def probe(group: Group) -> Table | None:
  """What encoders know, against encoders that were trained alone."""
  told = {run.name: numbers(run, group) for run in group.runs}
  paths = {f'{m}/probe': f'{m}' for m in group.modalities}
  paths |= {f'{m}/probe_gap': f'gap {m}' for m in group.modalities}
  if not any(
    f'{m}/probe' in n for n in told.values() for m in group.modalities
  ):
    return None
  alone = unimodal(group)
  note = (
    f'The gap is that of {alone.name}, where each encoder is trained by itself, '
    'minus that of the run: above 0, training together has left it behind.'
    if alone
    else 'The gap takes a run of the method unimodal with the eval probe on the '
    'same data; there is none.'
  )
  return _table(
    'Linear probe of the encoders: accuracy and gap, in percent',
    paths,
    told,
    ['Accuracy of a linear classifier on the features of a modality. ' + note],
  )


def contributions(group: Group) -> Table | None:
  """Shapley values and modality gaps."""
  told = {run.name: numbers(run, group) for run in group.runs}
  every = [*dict.fromkeys(path for n in told.values() for path in n)]
  shares = {p: p.split('/')[1] for p in every if p.startswith('shapley/')}
  gaps = {p: f'gap {p.split("/")[1]}' for p in every if p.startswith('gap/')}
  if not shares and not gaps:
    return None
  return _table(
    'Contribution of each modality to the accuracy, and modality gaps',
    shares | gaps,
    told,
    [
      'Shapley values in points of accuracy: with that of a uniform guess they '
      'sum to the accuracy. Gap: distance of the centres of two modalities’ '
      'features, each example scaled to length one.'
    ],
  )


def _table(title, paths, told, notes) -> Table:
  rows = [
    [name]
    + [
      log.spread(cells.get(path), 1 if path.startswith('gap/') else 100)
      for path in paths
    ]
    for name, cells in told.items()
  ]
  return plain(title, ['run', *paths.values()], rows, notes)


def classes(group: Group) -> Table | None:
  """How often each class is predicted; the first row is the truth."""
  told = {  # an unfinished run may have rows of an older evaluation
    run.name: predictions.counts(run).get('joint')
    for run in group.runs
    if run.results
  }
  told = {name: found for name, found in told.items() if found}
  truths = {tuple(true_C) for true_C, _ in told.values()}
  if len(truths) != 1:
    return None
  (true_C,) = truths
  if len(true_C) > MANY:
    return None
  names = predictions.class_names(group.runs[0], len(true_C))
  lines = {'true': np.array(true_C)}
  lines |= {name: predicted.mean(0) for name, (_, predicted) in told.items()}
  rows = [
    [name, *map(predictions.number, count_C)] for name, count_C in lines.items()
  ]
  note = 'How often the fused prediction is each class, mean over seeds.'
  return plain('Predictions per class', ['', *names], rows, [note])
