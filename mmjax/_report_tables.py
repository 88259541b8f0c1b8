"""The tables of a comparison: results by data set, and all together."""

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from mmjax import _report_runs as runs
from mmjax import _report_significance as tests
from mmjax import log
from mmjax._report_doubts import doubts, seeds_text, state, text
from mmjax._report_groups import Group

LEVEL = 0.05  # of significance


class Table(NamedTuple):
  """A table of text; `best` marks the cells that lead their column."""

  title: str
  header: list[str]
  rows: list[list[str]]
  best: np.ndarray  # bool[rows, columns]
  notes: list[str] = []  # how to read it
  doubts: list[str] = []  # why it may not be fair


def results(
  group: Group, metric: str, verdict: tests.Verdict, count: int
) -> Table:
  """Runs x (modalities, fused, p); what is partial stands there as a word.

  Args:
    group: the runs of one data set.
    metric: the measure.
    verdict: the tests of their fused measure.
    count: comparisons that p is corrected for.
  """
  columns = [*group.measured(metric), 'joint']
  states = [state(run, metric) for run in group.runs]
  cells = [[r.test.get(c, {}).get(metric) for c in columns] for r in group.runs]
  rows = []
  for run, word, line in zip(group.runs, states, cells):
    fused = word or text(line[-1])
    p = _p_cell(run, verdict, word)
    rows.append([run.name, *map(text, line[:-1]), fused, p])
  header = ['run', *columns[:-1], log.fused(metric), 'p']
  best = leads(cells, states, metric)
  done = [run for run, word in zip(group.runs, states) if not word]
  if len({seeds_text(run) for run in done}) > 1:
    header.append('seeds')
    for run, word, row in zip(group.runs, states, rows):
      row.append('–' if word else seeds_text(run))
  label = log.title(metric)
  split = done[0].split if done else 'test'
  notes = [_spread_note(done), f'p: {_p_note(verdict, count, done, metric)}']
  return Table(
    f'{label[:1].upper()}{label[1:]} on {split}, in percent',
    header,
    rows,
    np.pad(best, ((0, 0), (1, len(header) - 1 - len(columns)))),
    list(filter(None, [*notes, _partial_note(group, states)])),
    doubts(group.runs, metric),
  )


def leads(cells, states: Sequence[str], metric: str) -> np.ndarray:
  """bool[rows, columns]: the best mean of each column, of runs that count."""
  means = np.array([[runs.values(c).mean() for c in row] for row in cells])
  merit = np.nan_to_num(-means if metric == 'ece' else means, nan=-np.inf)
  merit[[bool(word) for word in states]] = -np.inf
  known = np.isfinite(merit)
  return (merit == merit.max(0)) & known & (known.sum(0) > 1)


def _p_cell(run, verdict: tests.Verdict, word: str) -> str:
  if word or run.name not in verdict.p:
    return 'reference' if run.name == verdict.reference else '–'
  mark = ' †' if run.name in verdict.unpaired else ''
  return tests.p_text(verdict.p[run.name]) + mark


def _p_note(verdict, count, done, metric) -> str:
  if not verdict.reference:
    return f'not tested, {verdict.why}.'
  n = ' or '.join(map(str, sorted({run.num_seeds for run in done})))
  if not verdict.p:
    if len(done) < 2:
      return 'not tested, there is nothing to compare with.'
    return (
      f'significance cannot be said: it takes at least 2 seeds a run (n = {n}); '
      'train with --config.num_seeds=5.'
    )
  paired = len(verdict.unpaired) < len(verdict.p)
  kinds = ['paired t-test'] * paired
  kinds += ["Welch's t-test (†: other seeds)"] * bool(verdict.unpaired)
  every = ', all data sets together' if count > len(verdict.p) else ''
  return (
    f'{" and ".join(kinds)} over seeds, two-sided, n = {n}, of the '
    f'{log.fused(metric)} measure against {verdict.reference}'
    + (
      f'; Holm-corrected for {count} comparisons{every}.' if count > 1 else '.'
    )
  )


def _spread_note(done) -> str:
  counts = sorted({run.num_seeds for run in done})
  if not counts:
    return ''
  if counts == [1]:
    return 'One seed a run.'
  return (
    f'Mean ± standard deviation over {" or ".join(map(str, counts))} seeds.'
  )


def _partial_note(group: Group, states: Sequence[str]) -> str:
  """Says what is not counted, and how to finish it."""
  partial = [run for run, word in zip(group.runs, states) if word]
  if not partial:
    return ''
  note = (
    f'Not counted in tests, ranks and bold figures: '
    f'{", ".join(run.name for run in partial)}.'
  )
  open_ends = [run for run in partial if not run.results]
  if open_ends:
    note += ' ' + runs.how_to_resume(open_ends[0].path)
  return note


def overall(
  found: Sequence[Group], metric: str, verdicts: Sequence[tests.Verdict]
) -> Table:
  """Methods x data sets: the fused measure, and the mean rank.

  Ranks are of the runs that have results on every data set.
  """
  names = [*dict.fromkeys(run.name for group in found for run in group.runs)]
  at = [{run.name: run for run in group.runs} for group in found]
  cells, texts = [], []
  for name in names:
    here = [group.get(name) for group in at]
    words = ['–' if run is None else state(run, metric) for run in here]
    line = [
      None if word or not run else run.test['joint'][metric]
      for run, word in zip(here, words)
    ]
    stars = [' *' * (verdict.p.get(name, 1) < LEVEL) for verdict in verdicts]
    cells.append(line)
    texts.append([w or text(c) + s for w, c, s in zip(words, line, stars)])
  rank = _mean_ranks(cells, metric)
  first = rank == min(rank[np.isfinite(rank)], default=np.nan)
  best = leads(cells, [''] * len(names), metric)
  return Table(
    f'{log.fused(metric).title()} {log.title(metric)} by data set, in percent',
    ['run', *(group.name for group in found), 'mean rank'],
    [
      [name, *line, '–' if math.isnan(r) else f'{r:.2f}']
      for name, line, r in zip(names, texts, rank)
    ],
    np.pad(np.concatenate([best, first[:, None]], 1), ((0, 0), (1, 0))),
    [_rank_note(names, rank, len(found)), *_stars_note(verdicts)],
  )


def _mean_ranks(cells, metric: str) -> np.ndarray:
  """f64[rows], among the rows with a value in every column; else NaN."""
  from scipy import stats

  mean = np.array([[runs.values(c).mean() for c in row] for row in cells])
  whole = np.array(np.isfinite(mean).all(1))
  rank = np.full(len(cells), np.nan)
  if whole.sum() > 1:
    sign = 1 if metric == 'ece' else -1
    rank[whole] = stats.rankdata(sign * mean[whole], axis=0).mean(1)
  return rank


def _rank_note(names, rank: np.ndarray, count: int) -> str:
  left = [name for name, r in zip(names, rank) if math.isnan(r)]
  if len(left) == len(names):
    return 'No mean rank: it takes two methods with results on all data sets.'
  return (
    f'Mean rank over the {count} data sets, 1 is best, ties share; of the '
    f'{len(names) - len(left)} methods with results on all of them'
    + (f', so not of {", ".join(left)}.' if left else '.')
  )


def _stars_note(verdicts: Sequence[tests.Verdict]) -> list[str]:
  if not any(p == p for verdict in verdicts for p in verdict.p.values()):
    return []
  names = dict.fromkeys(v.reference for v in verdicts if v.reference)
  return [
    f'*: p < {LEVEL} (corrected) against the reference of the data set, '
    f'{" or ".join(names)}.'
  ]


def plain(title: str, header, rows, notes=(), doubts=()) -> Table:
  """A table in which nothing leads."""
  best = np.zeros((len(rows), len(header)), bool)
  return Table(title, list(header), rows, best, list(notes), list(doubts))
