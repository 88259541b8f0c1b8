"""Runs side by side: their table, and what its differences are worth."""

import warnings
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from mmjax import _report_charts as charts
from mmjax import _report_html as html
from mmjax import _report_pictures as pictures
from mmjax import _report_runs as runs
from mmjax import log


class Comparison(NamedTuple):
  """A table of text; `best` marks the cells that lead their column."""

  title: str
  header: list[str]
  rows: list[list[str]]
  best: np.ndarray  # bool[rows, columns]
  notes: list[str]  # how to read it
  doubts: list[str]  # why it may not be fair


def comparison(
  found: Sequence[runs.Run], metric: str = 'accuracy', against: str = 'best'
) -> Comparison:
  """Returns run x (modalities, fused), tested against the best or first run.

  Raises:
    ValueError: a run is not finished, or none has the metric.
  """
  for run in found:
    if not run.results:
      raise ValueError(runs.how_to_resume(run.path))
  columns = [*dict.fromkeys(m for run in found for m in run.modalities)]
  columns.append('joint')
  cells = [[run.test.get(c, {}).get(metric) for c in columns] for run in found]
  means = np.array([[runs.values(c).mean() for c in row] for row in cells])
  if np.isnan(means).all():
    there = dict.fromkeys(m for run in found for m in run.test.get('joint', ()))
    raise ValueError(
      f'No run has the measure {metric!r} in its results.json; there are '
      f'{", ".join(there)}.'
    )
  merit = np.nan_to_num(-means if metric == 'ece' else means, nan=-np.inf)
  reference = 0 if against == 'first' else int(merit[:, -1].argmax())
  p, note = significance(found, metric, reference)
  known = np.isfinite(merit)
  best = (merit == merit.max(0)) & known & (known.sum(0) > 1)
  label = log.MEASURES.get(metric, metric)
  return Comparison(
    f'{label} on {found[0].split}, in percent',
    ['run', *map(charts.shown, columns), 'p'],
    [
      [run.name, *map(log.spread, row), tail]
      for run, row, tail in zip(found, cells, p)
    ],
    np.pad(best, ((0, 0), (1, 1))),
    [_spread_note(found), f'p: {note}'],
    doubts(found),
  )


def significance(
  found: Sequence[runs.Run], metric: str, reference: int
) -> tuple[list[str], str]:
  """Tests the fused measure of each run against that of one run.

  Two-sided, over seeds: paired t-test where both runs used the same seeds,
  Welch's t-test otherwise; Holm's correction over the comparisons.

  Returns:
    The last column of the table, and the sentence that explains it.
  """
  every = [runs.values(run.test.get('joint', {}).get(metric)) for run in found]
  base, name = every[reference], found[reference].name
  p, tests = {}, set()
  for i, value in enumerate(every):
    if i == reference or min(len(base), len(value)) < 2:
      continue
    paired = len(base) == len(value) and _seed(found[i]) == _seed(
      found[reference]
    )
    p[i] = p_value(value, base, paired)
    tests.add('paired t-test' if paired else "Welch's t-test (other seeds)")
  column = [_p_text(q) for q in holm([p.get(i) for i in range(len(found))])]
  column[reference] = 'reference'
  counts = sorted({len(value) for value in every})
  n = ' or '.join(map(str, counts))
  if not p:
    return column, (
      f'significance cannot be said: it takes at least 2 seeds a run (n = {n}); '
      'train with --config.num_seeds=5.'
    )
  return column, (
    f'{" and ".join(sorted(tests))} over seeds, two-sided, n = {n}, of the '
    f'fused measure against {name}'
    + (f'; Holm-corrected for {len(p)} comparisons.' if len(p) > 1 else '.')
  )


def p_value(x_S: np.ndarray, y_S: np.ndarray, paired: bool) -> float:
  """Returns p of a two-sided t-test over seeds; NaN without any spread."""
  from scipy import stats

  if np.array_equal(x_S, y_S):
    return 1.0
  if (np.ptp(x_S - y_S) if paired else np.ptp(x_S) + np.ptp(y_S)) < 1e-12:
    return np.nan
  with warnings.catch_warnings():
    warnings.simplefilter('ignore')  # of precision lost where spread is small
    if paired:
      found: Any = stats.ttest_rel(x_S, y_S)
    else:
      found = stats.ttest_ind(x_S, y_S, equal_var=False)
  return float(found.pvalue)


def holm(p: Sequence[float | None]) -> list[float | None]:
  """Holm's step-down correction; None and NaN pass and do not count."""
  known = sorted((q, i) for i, q in enumerate(p) if q is not None and q == q)
  out, floor = list(p), 0.0
  for rank, (q, i) in enumerate(known):
    floor = max(floor, min(1.0, (len(known) - rank) * q))
    out[i] = floor
  return out


def _p_text(p: float | None) -> str:
  if p is None or p != p:
    return '–'
  return '<0.001' if p < 0.001 else f'{p:.3f}'


def _seed(run: runs.Run) -> Any:
  return run.config.get('seed'), run.config.get('order_seed')


def _spread_note(found) -> str:
  counts = sorted({run.num_seeds for run in found})
  if counts == [1]:
    return 'One seed a run.'
  return (
    f'Mean ± standard deviation over {" or ".join(map(str, counts))} seeds.'
  )


def doubts(found: Sequence[runs.Run]) -> list[str]:
  """Returns what makes the runs hard to compare: data, splits."""
  said, first = [], found[0]
  for run in found[1:]:
    ours, theirs = _data(first), _data(run)
    keys = [k for k in {**ours, **theirs} if ours.get(k) != theirs.get(k)]
    if keys:
      differ = '; '.join(
        f'{k}: {ours.get(k, "not set")} against {theirs.get(k, "not set")}'
        for k in keys
      )
      said.append(
        f'{first.name} and {run.name} differ in their data, so their numbers '
        f'may not be comparable ({differ}).'
      )
    if first.split != run.split:
      said.append(
        f'{first.name} is measured on {first.split}, {run.name} on {run.split}.'
      )
  return said


def _data(run: runs.Run) -> dict[str, Any]:
  config = run.config
  return runs.flat({k: config[k] for k in ('data', 'missing') if k in config})


def markdown(table: Comparison) -> str:
  """Returns the table in Markdown, the best of each column in bold."""
  lines = [table.header, [':--'] + ['--:'] * (len(table.header) - 1)]
  for row, best in zip(table.rows, table.best):
    cells = [cell.replace('|', '\\|') for cell in row]
    lines.append([f'**{c}**' if b else c for c, b in zip(cells, best)])
  body = '\n'.join(f'| {" | ".join(line)} |' for line in lines)
  return '\n\n'.join([body, *table.notes, *table.doubts]) + '\n'


def console(table: Comparison):
  """Returns the table for the terminal."""
  import rich.table
  import rich.text

  made = rich.table.Table(title=table.title)
  for i, title in enumerate(table.header):
    made.add_column(rich.text.Text(title), justify='right' if i else 'left')
  for row, best in zip(table.rows, table.best):
    made.add_row(
      *(
        rich.text.Text(cell, 'bold' if lead else '')
        for cell, lead in zip(row, best)
      )
    )
  return made


def page(found: Sequence[runs.Run], table: Comparison) -> str:
  """Returns the whole HTML page of a comparison."""
  shades = _shades(found)
  body = ''.join(html.paragraph(doubt, 'warning') for doubt in table.doubts)
  body += html.table(
    table.header, table.rows, [*shades.values()], table.best.tolist()
  )
  body += ''.join(html.paragraph(note, 'note') for note in table.notes)
  methods = {run.name: runs.kind(run.config.get('method', '')) for run in found}
  lead = ', '.join(
    f'{name} ({method})' if method not in ('', name) else name
    for name, method in methods.items()
  )
  modalities = [*dict.fromkeys(m for run in found for m in run.modalities)]
  sections = {
    'Learning curves': _learning(found, modalities, shades),
    'Under every subset of modalities': _subsets(found, shades),
  }
  body = html.section(table.title.capitalize(), body)
  for title, inside in sections.items():
    body += html.section(title, inside)
  return html.page(f'{len(found)} runs side by side', lead, body)


def _shades(found) -> dict[str, str]:
  shades = html.palette([run.name for run in found])
  return {run.name: shades[run.name] for run in found}


def _learning(found, modalities, shades) -> str:
  panels = []
  for name in ('joint', *modalities):
    lines = {
      run.name: runs.series(run, 'validation', f'{name}/accuracy')
      for run in found
    }
    lines = {k: v for k, v in lines.items() if v is not None}
    if lines:
      title = f'Validation accuracy, {charts.shown(name)}'
      panels.append((title, lines, True))
  if not panels:
    return html.paragraph('No run logged a validation accuracy.', 'missing')
  picture = pictures.curves(panels, shades, 'Learning curves')
  return html.figure(picture, 'The number at a line is its last value.')


def _subsets(found, shades) -> str:
  panels = {}
  for run in found:
    for subset, cell in run.test.get('subsets', {}).items():
      panels.setdefault(subset, {})[run.name] = cell['accuracy']
  if not panels:
    return html.paragraph('No run has the eval subsets.', 'missing')
  panels = dict(sorted(panels.items(), key=lambda item: -item[0].count('+')))
  picture = charts.runs(panels, shades, 'Accuracy under subsets')
  return html.figure(
    picture,
    'Fused accuracy when only these modalities are given; small dots are '
    'seeds.',
  )
