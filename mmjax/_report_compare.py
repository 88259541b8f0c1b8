"""Runs side by side: all that is said about them, for every format."""

import csv
import io
import math
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

from mmjax import _report_cost as cost
from mmjax import _report_imbalance as imbalance
from mmjax import _report_missing as missing
from mmjax import _report_retrieval as retrieval
from mmjax import _report_runs as runs
from mmjax import _report_significance as tests
from mmjax import _report_tables as tables
from mmjax._report_doubts import doubts, seeds_text, state
from mmjax._report_groups import Group, groups
from mmjax._report_tables import Table

KINDS = (
  *('overall', 'results', 'retrieval', 'probe', 'contributions', 'classes'),
  *('cost', 'missing'),
)

FACTS = (  # columns of the CSV about what a run is
  *('data', 'run', 'folder', 'method', 'head', 'state', 'split', 'seeds'),
)


class Comparison(NamedTuple):
  """Runs by data set, with their tests and tables."""

  metric: str
  groups: list[Group]
  verdicts: list[tests.Verdict]  # one for each group
  overall: Table | None  # where there are several data sets
  each: list[dict[str, Table]]  # for each group, by kind
  panels: list[missing.Panel]
  missing: list[Table]  # one for each panel


def comparison(
  found: Sequence[runs.Run], metric: str = '', against: str = 'best'
) -> Comparison:
  """Compares runs, tested against the best, the first or a named run.

  The measure '' is accuracy, or R@1 where no run has one.

  Raises:
    ValueError: no run has the metric, or is called `against`.
  """
  metric, found = retrieval.measured(found, metric)
  _check(found, metric)
  parts = groups(found)
  verdicts, count = tests.verdicts(parts, metric, against)
  each = []
  for group, verdict in zip(parts, verdicts):
    made = {
      'results': tables.results(group, metric, verdict, count),
      'retrieval': retrieval.table(group),
      'probe': imbalance.probe(group),
      'contributions': imbalance.contributions(group),
      'classes': imbalance.classes(group),
      'cost': cost.table(group),
    }
    each.append({kind: table for kind, table in made.items() if table})
  panels = missing.panels(parts)
  return Comparison(
    metric,
    parts,
    verdicts,
    tables.overall(parts, metric, verdicts) if len(parts) > 1 else None,
    each,
    panels,
    [missing.table(panel, metric) for panel in panels],
  )


def _check(found: Sequence[runs.Run], metric: str) -> None:
  done = [run for run in found if run.results]
  there = dict.fromkeys(
    name
    for run in done
    for name, cell in run.test.get('joint', {}).items()
    if isinstance(cell, dict)
  )
  if done and metric not in there:
    raise ValueError(
      f'No run has the measure {metric!r} in its results.json; there are '
      f'{", ".join(there)}.'
    )


def in_order(found: Comparison, kinds: Iterable[str] = KINDS) -> list[Table]:
  """All tables of some kinds, data set after data set."""
  kinds, several = set(kinds), len(found.groups) > 1
  told = [found.overall] if found.overall and 'overall' in kinds else []
  for group, made in zip(found.groups, found.each):
    for kind, table in made.items():
      if kind in kinds:
        title = f'{group.name}: {table.title}' if several else table.title
        told.append(table._replace(title=title))
  return told + (found.missing if 'missing' in kinds else [])


def as_csv(found: Comparison) -> str:
  """One line per run, numbers as in results.json and cost.json, unrounded.

  Columns are paths such as 'joint/accuracy/mean'; what a run lacks is empty.
  """
  lines = []
  for group, verdict in zip(found.groups, found.verdicts):
    said = ' '.join(doubts(group.runs, found.metric))
    lines += [
      _line(run, group, verdict, found.metric, said) for run in group.runs
    ]
  keys = dict.fromkeys(key for line in lines for key in line)
  first = [key for key in keys if key in FACTS]
  paths = [key for key in keys if '/' in key and key not in FACTS]
  header = first + paths + [k for k in keys if k not in {*first, *paths}]
  text = io.StringIO()
  writer = csv.DictWriter(text, header, restval='', lineterminator='\n')
  writer.writeheader()
  writer.writerows(
    {key: '' if _is_nan(value) else value for key, value in line.items()}
    for line in lines
  )
  return text.getvalue()


def _line(run, group, verdict: tests.Verdict, metric, said) -> dict[str, Any]:
  partial = state(run, metric)
  cells = {
    f'{name}/{metric}': run.test[name][metric]
    for name in ('joint', *group.modalities)
    if run.test.get(name, {}).get(metric)
  }
  line = {
    'data': group.name,
    'run': run.name,
    'folder': str(run.path),
    'method': runs.kind(run.config.get('method', '')),
    'head': runs.kind(run.config.get('head', '')),
    'state': partial or 'done',
    'split': run.split,
    'seeds': seeds_text(run) if not partial else '',
  }
  cells |= imbalance.numbers(run, group) | retrieval.numbers(run)
  for path, cell in cells.items():
    line |= {f'{path}/{key}': cell.get(key) for key in ('mean', 'std')}
  tested = run.name in verdict.p
  test = 'Welch' if run.name in verdict.unpaired else 'paired'
  line |= {
    'p': verdict.p.get(run.name),
    'against': verdict.reference if tested else None,
    'test': test if tested else None,
  }
  return line | cost.numbers(run) | {'doubts': said}


def _is_nan(value: Any) -> bool:
  return value is None or (isinstance(value, float) and math.isnan(value))
