"""The HTML page of a comparison."""

from collections.abc import Mapping, Sequence

from mmjax import _report_charts as charts
from mmjax import _report_curves as curves
from mmjax import _report_html as html
from mmjax import _report_missing as missing
from mmjax import _report_runs as runs
from mmjax import log
from mmjax._report_compare import Comparison
from mmjax._report_doubts import seeds_text, state
from mmjax._report_groups import Group
from mmjax._report_groups import missing as rates
from mmjax._report_tables import Table


def page(found: Comparison) -> str:
  """Returns the whole document."""
  every = [run for group in found.groups for run in group.runs]
  shades = _shades([run.name for run in every])
  body = ''
  if found.overall:
    body += html.section('All data sets', _table(found.overall, shades))
  if found.panels:
    body += html.section('Missing modalities', _missing(found))
  folded = ''
  for group, tables in zip(found.groups, found.each):
    inside = _group(group, tables, found.metric, shades)
    if found.panels and rates(group.runs[0]):  # the curves tell the most of it
      folded += html.folded(group.name, inside)
    else:
      body += html.section(group.name, inside)
  body += html.section('Each rate by itself', folded) if folded else ''
  body += html.section('The runs', _runs(found))
  sets = ' · '.join(group.name for group in found.groups)
  label = log.title(found.metric)
  return html.page(f'{len(every)} runs side by side', f'{label} · {sets}', body)


def _shades(names: Sequence[str]) -> dict[str, str]:
  """A colour for each method, the same on every data set."""
  series = html.SERIES
  return {
    name: series[i % len(series)] for i, name in enumerate(dict.fromkeys(names))
  }


def _table(table: Table, shades: Mapping[str, str]) -> str:
  body = ''.join(html.paragraph(doubt, 'warning') for doubt in table.doubts)
  dots = [shades.get(row[0], 'muted') for row in table.rows]
  body += html.table(table.header, table.rows, dots, table.best.tolist())
  body += ''.join(html.paragraph(note, 'note') for note in table.notes)
  return html.part(table.title, body)


def _group(
  group: Group,
  tables: Mapping[str, Table],
  metric: str,
  shades: Mapping[str, str],
) -> str:
  here = {run.name: shades[run.name] for run in group.runs}
  first, *others = tables.values()
  body = _table(first, here) + _measure(group, metric, here)
  body += ''.join(_table(table, here) for table in others)
  body += html.folded('Under every subset of modalities', _subsets(group, here))
  return body + html.folded('Learning curves', _learning(group, here))


def _measure(group: Group, metric: str, shades: Mapping[str, str]) -> str:
  """The table as a picture: means, spread, seeds."""
  done = [run for run in group.runs if not state(run, metric)]
  if not done:
    return ''
  panels = {}
  for name in ('joint', *group.measured(metric)):
    cells = {run.name: run.test.get(name, {}).get(metric) for run in done}
    title = log.fused(metric) if name == 'joint' else name
    panels[title] = {run: cell for run, cell in cells.items() if cell}
  shades = {run.name: shades[run.name] for run in done}
  label = log.title(metric)
  return html.figure(
    charts.runs({k: v for k, v in panels.items() if v}, shades, label),
    f'{label}: mean and standard deviation; small dots are seeds.',
  )


def _learning(group: Group, shades: Mapping[str, str]) -> str:
  panels = []
  for name in ('joint', *group.modalities):
    lines = {
      run.name: runs.series(run, 'validation', f'{name}/accuracy')
      for run in group.runs
    }
    lines = {k: v for k, v in lines.items() if v is not None}
    if lines:
      title = f'Validation accuracy, {charts.shown(name)}'
      panels.append((title, lines, True))
  if not panels:
    return html.missing('No run logged a validation accuracy.')
  picture = curves.curves(panels, shades, 'Learning curves')
  return html.figure(picture, 'The number at a line is its last value.')


def _subsets(group: Group, shades: Mapping[str, str]) -> str:
  panels: dict[str, dict] = {}
  for run in group.runs:
    for subset, cell in run.test.get('subsets', {}).items():
      panels.setdefault(subset, {})[run.name] = cell['accuracy']
  if not panels:
    return html.missing('No run has the eval subsets.')
  panels = dict(sorted(panels.items(), key=lambda item: -item[0].count('+')))
  picture = charts.runs(panels, shades, 'Accuracy under subsets')
  return html.figure(
    picture,
    'Fused accuracy when only these modalities are given; small dots are '
    'seeds.',
  )


def _missing(found: Comparison) -> str:
  names = [name for panel in found.panels for name in panel.lines]
  shades = _shades(names)
  label = log.title(found.metric)
  drawn = [
    (f'{panel.title}: {label}', missing.series(panel, found.metric), True)
    for panel in found.panels
  ]
  body = html.figure(
    curves.curves(
      drawn, shades, 'Curves over missing modalities', 'entries missing, %'
    ),
    f'Fused {label} against the share of entries (examples x modalities) made '
    'missing; the band is one standard deviation over seeds. The number at a '
    'line is its last value.',
  )
  return body + ''.join(_table(table, shades) for table in found.missing)


def _runs(found: Comparison) -> str:
  rows = [
    [
      run.name,
      group.name,
      *(runs.kind(run.config.get(key, '')) for key in ('method', 'head')),
      seeds_text(run) if run.results else '–',
      state(run, found.metric) or 'done',
      str(run.path),
    ]
    for group in found.groups
    for run in group.runs
  ]
  header = ['run', 'data', 'method', 'head', 'seeds', 'state', 'folder']
  return html.folded('Folders', html.table(header, rows, kind='plain'))
