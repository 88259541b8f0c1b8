"""Aligned modalities: sections of one run's report, and their comparison.

They are empty for a run that has not asked for it.
"""

import itertools
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from mmjax import _report_html as html
from mmjax import _report_pictures as pictures
from mmjax import _report_runs as runs
from mmjax import log
from mmjax._report_groups import Group
from mmjax._report_tables import Table, plain
from mmjax.ops import retrieval as ops

EXAMPLES = 2000  # whose similarities are drawn: more is the same picture


def tiles(run: runs.Run) -> list[tuple[str, str, str]]:
  """What a run without accuracies is told by: zero-shot and R@1."""
  shades = html.palette(run.modalities)
  told = [
    (f'{m}, zero-shot', log.spread(run.test[m]['zero_shot']), shades[m])
    for m in run.modalities
    if 'zero_shot' in run.test.get(m, {})
  ]
  ways = run.test.get('retrieval', {})
  ways = {way: cells['r1'] for way, cells in ways.items() if 'r1' in cells}
  if len(ways) > 3:  # of one pair and their mean; more are in the table
    ways = {'mean': ways['mean']}
  return told + [
    (f'{_said(way)}, R@1', log.spread(cell), shade(run, way))
    for way, cell in ways.items()
  ]


def _said(direction: str) -> str:
  return direction.replace('-to-', ' to ')


def recall(run: runs.Run) -> str:
  """A row per direction of retrieval."""
  body = _recall(run, run.split)
  if not body:
    return ''
  for split in run.results:
    if split != run.split:
      body += html.folded(f'The same on {split}', _recall(run, split))
  options = run.config.get('evals', {}).get('retrieval', {})
  own = 'one that some example shows together with it'
  if options.get('relevant') == 'label':
    own = 'one of its class'
  several = f', mean ± standard deviation over {run.num_seeds} seeds'
  return body + html.paragraph(
    f'On {run.split}, in percent{several if run.num_seeds > 1 else ""}. R@k: '
    'the share of entries of the first modality that find a relevant entry of '
    f'the second, {own}, among the k most similar of all candidates. Median '
    'rank: of the first one that is relevant; 1 is best.',
    'note',
  )


def _recall(run, split) -> str:
  found = run.results.get(split, {})
  table = log.retrieval(found)
  if not table:
    return ''
  return html.table(*table, [shade(run, way) for way in found['retrieval']])


def paths(run: runs.Run) -> dict[str, str]:
  """Where R@1 of each direction stands in the log of a run."""
  names = dict.fromkeys(name for line in run.lines for name in line['values'])
  found = [name.split('/') for name in names]
  return {
    parts[1]: '/'.join(parts)
    for parts in found
    if parts[0] == 'retrieval' and parts[2:] == ['r1']
  }


def shade(run: runs.Run, direction: str) -> str:
  """The colour of the modality of the anchors; ink for the mean."""
  return html.palette(run.modalities).get(direction.split('-to-')[0], 'ink')


class Similarity(NamedTuple):
  """Cosines between two modalities."""

  pairs_P: np.ndarray
  others_O: np.ndarray


def similarity(run: runs.Run) -> str:
  """Histograms of the cosines of pairs and others; alignment, uniformity."""
  numbers = _geometry(run)
  rows = run.rows.get('geometry') or run.rows.get('retrieval') or {}
  found = {
    f'{a}–{b}': cosines(rows, a, b)
    for a, b in itertools.combinations(run.modalities, 2)
    if _comparable(rows, a, b)
  }
  drawn = {k: v for k, v in found.items() if v and len(v.others_O)}
  if not drawn:
    return numbers
  cut = max(len(v.pairs_P) for v in drawn.values()) >= EXAMPLES
  return numbers + html.figure(
    pictures.similarities(drawn),
    'Cosine similarity between two modalities: of entries that belong to one '
    'example, and of all others. Each histogram sums to 100 percent; what of '
    'them overlaps is what retrieval confuses.'
    + f' Of {EXAMPLES:,} examples.' * cut
    + ' First seed.' * (run.num_seeds > 1),
  )


def _geometry(run) -> str:
  cells = run.test.get('geometry', {})
  pairs = {k: v for k, v in cells.items() if 'alignment' in v}
  each = {k: v for k, v in cells.items() if 'uniformity' in v}
  body = ''
  keys = ('alignment', 'similarity_pairs', 'similarity_others')
  if pairs:
    body += html.table(
      ['', 'alignment', 'cosine of pairs', 'cosine of others'],
      [
        [name, *(log.spread(cell.get(key), 1) for key in keys)]
        for name, cell in pairs.items()
      ],
    )
  if each:
    shades = html.palette(run.modalities)
    body += html.table(
      ['', 'uniformity'],
      [[m, log.spread(cell['uniformity'], 1)] for m, cell in each.items()],
      [shades.get(m, 'muted') for m in each],
    )
  return body + bool(body) * html.paragraph(
    'Features scaled to length one. Alignment: mean squared distance of pairs, '
    '0 if they coincide. Uniformity: log mean exp(−2 · squared distance) of any '
    'two entries, 0 if all coincide, lower where they spread over the sphere.',
    'note',
  )


def _comparable(rows: Mapping[str, np.ndarray], a: str, b: str) -> bool:
  if not all(f'feats/{m}' in rows for m in (a, b)):
    return False
  return rows[f'feats/{a}'].shape[-1] == rows[f'feats/{b}'].shape[-1]


def cosines(
  rows: Mapping[str, np.ndarray], a: str, b: str
) -> Similarity | None:
  """Of the first seed, over at most EXAMPLES examples that have both.

  None if nobody has, or a feature is not finite.
  """
  both_E = np.flatnonzero(rows[f'present/{a}'] & rows[f'present/{b}'])
  few = np.linspace(0, len(both_E) - 1, min(len(both_E), EXAMPLES))
  both_E = both_E[few.round().astype(int)]
  x_ED, y_ED = (
    ops.unit(runs.seeds(rows[f'feats/{m}'], 2)[0][both_E]) for m in (a, b)
  )
  if not len(both_E) or not all(np.isfinite(z).all() for z in (x_ED, y_ED)):
    return None
  entry_E, other_E = (
    runs.seeds(rows[f'entry/{m}'], 1)[0][both_E] for m in (a, b)
  )
  found = ops.paired(entry_E, other_E)
  cosine_NK = x_ED[found.row_N] @ y_ED[found.row_K].T
  own_NK = np.zeros(cosine_NK.shape, bool)
  own_NK[found.anchor_P, found.candidate_P] = True
  return Similarity(cosine_NK[own_NK], cosine_NK[~own_NK])


def numbers(run: runs.Run) -> dict[str, Any]:
  """Entries of results.json about retrieval and zero-shot, by path."""
  told = {
    f'retrieval/{way}/{key}': cell
    for way, cells in run.test.get('retrieval', {}).items()
    for key, cell in cells.items()
    if log.fused(key) == 'mean'
  }
  for m in run.modalities:
    cell = run.test.get(m, {}).get('zero_shot')
    told |= {f'{m}/zero_shot': cell} if cell else {}
  return told


def table(group: Group) -> Table | None:
  """Recall, mean over the directions, and zero-shot accuracy of each run."""
  told = {run.name: numbers(run) for run in group.runs}
  paths = dict.fromkeys(path for cells in told.values() for path in cells)
  titles = {
    path: log.title(path.split('/')[-1])
    for path in paths
    if path.startswith('retrieval/mean/')
  }
  titles |= {
    path: f'{path.split("/")[0]} zero-shot'
    for path in paths
    if path.endswith('/zero_shot')
  }
  if not titles:
    return None
  rows = [
    [name, *(log.spread(cells.get(path)) for path in titles)]
    for name, cells in told.items()
  ]
  return plain(
    'Retrieval and zero-shot accuracy, in percent',
    ['run', *titles.values()],
    rows,
    [
      'R@k: share of anchors that find their own among the k most similar, mean '
      'over the directions; mean recall: the mean of all R@k.'
    ],
  )


def measured(found: Sequence[runs.Run], metric: str) -> tuple[str, list]:
  """The measure to compare by, and the runs as its tables see them.

  Args:
    found: runs.
    metric: '' is accuracy, and R@1 where no run has one. A measure of
      retrieval stands where others have modalities and their fusion: one
      column for each direction, and the mean of these.
  """
  if not metric:
    every = [name for run in found for name in run.test.get('joint', {})]
    ways = [run.test.get('retrieval', {}).get('mean', {}) for run in found]
    alone = 'accuracy' not in every and any('r1' in cells for cells in ways)
    metric = 'r1' if alone else 'accuracy'
  return metric, [_as_measured(run) for run in found]


def _as_measured(run: runs.Run) -> runs.Run:
  ways = dict(run.test.get('retrieval', {}))
  joint = {**run.test.get('joint', {}), **ways.pop('mean', {})}
  results = {**run.results, run.split: {**run.test, **ways, 'joint': joint}}
  return run._replace(results=results) if ways else run
