"""Curves over the rate of missing modalities: which runs lie on one line."""

import json
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from mmjax import _report_runs as runs
from mmjax import log
from mmjax._report_curves import Series
from mmjax._report_doubts import seeds_text, state, text
from mmjax._report_groups import Group, data, missing, percent, titles
from mmjax._report_tables import Table, leads

# What may differ between the runs of one line, besides the rates.
ASIDE = (
  *('data', 'missing', 'evals', 'eval_batch_size', 'mesh', 'reader', 'run'),
  *('seed', 'order_seed', 'num_seeds', 'seeds_how'),
)
DRAWN = ('missing.seed', 'missing.sampler')  # of what is missing


class Panel(NamedTuple):
  """Lines of one data set over the rate of missing modalities."""

  title: str
  lines: dict[str, dict[float, runs.Run]]  # by name, then by rate
  doubts: list[str]


def panels(found: Sequence[Group]) -> list[Panel]:
  """Lines of runs that differ in their rates alone, two runs or more on each.

  A rate is that of training and test, or of one of them while the other stays.
  A run without any missing belongs to the lines of every draw.
  """
  every = [run for group in found for run in group.runs if run.record]
  draws: dict[str, set[str]] = {}
  for run in filter(missing, every):
    draws.setdefault(_data(run), set()).add(_draw(run))
  made: dict[tuple, list[tuple[float, runs.Run]]] = {}
  for run in every:
    here = [_draw(run)] if missing(run) else sorted(draws.get(_data(run), ()))
    for draw in here:
      for kind, rate in _places(run):
        made.setdefault((_data(run), kind, draw), []).append((rate, run))
  names = _names(every)
  told = []
  for (place, kind, draw), points in made.items():
    lines, doubts = _lines(points)
    if lines:
      drawn = f' ({draw})' if len(draws[place]) > 1 else ''
      told.append(Panel(f'{names[place]}, {kind}{drawn}', lines, doubts))
  return told


def _places(run: runs.Run) -> list[tuple[str, float]]:
  """The kinds of panel that a run belongs to, with its rate there."""
  train, test = (missing(run).get(split, 0.0) for split in ('train', 'test'))
  fixed = f', {percent(train)} in training' if train else ' only'
  places = [(f'missing in test{fixed}', test)]
  if train == test:
    places.append(('missing in training and test', train))
  if not test:
    places.append(('missing in training only', train))
  return places


def _data(run: runs.Run) -> str:
  kept = {k: v for k, v in data(run).items() if not k.startswith('missing.')}
  return json.dumps(kept, default=str)


def _draw(run: runs.Run) -> str:
  told = data(run)
  return ', '.join(f'{key}={told[key]}' for key in DRAWN)


def _names(every: Sequence[runs.Run]) -> dict[str, str]:
  """A name for the data of each run, leaving out what is missing there."""
  firsts = {}
  for run in every:
    config = {k: v for k, v in run.config.items() if k != 'missing'}
    whole = run._replace(record={**run.record, 'config': config})
    firsts.setdefault(_data(run), whole)
  return dict(zip(firsts, titles(list(firsts.values()))))


def _rest(run: runs.Run) -> dict[str, Any]:
  return runs.flat({k: v for k, v in run.config.items() if k not in ASIDE})


def _lines(points) -> tuple[dict[str, dict[float, runs.Run]], list[str]]:
  """Returns lines by name, and sentences about what is on none."""
  by_config: dict[str, list] = {}
  for rate, run in points:
    key = json.dumps(_rest(run), sort_keys=True, default=str)
    by_config.setdefault(key, []).append((rate, run))
  parts = []
  for line in by_config.values():
    if len({rate for rate, _ in line}) == len(line):
      parts.append(dict(sorted(line, key=lambda point: point[0])))
      continue
    by_seed: dict[tuple, dict] = {}  # the same rate twice: other seeds
    for rate, run in sorted(line, key=lambda point: point[0]):
      by_seed.setdefault(run.seeds[:1], {})[rate] = run
    parts += by_seed.values()
  lines, doubts = {}, _strays(parts)
  for part in parts:
    if len(part) > 1:
      name = _name(part)
      lines[f'{name} ({len(lines) + 1})' if name in lines else name] = part
      seeds = dict.fromkeys(map(seeds_text, part.values()))
      if len(seeds) > 1:
        doubts.append(
          f'{name}: its points are of other seeds ({", ".join(seeds)}).'
        )
  return lines, doubts


def _name(part: Mapping[float, runs.Run]) -> str:
  names = {run.name for run in part.values()}
  return names.pop() if len(names) == 1 else part[min(part)].name


def _strays(parts: Sequence[Mapping[float, runs.Run]]) -> list[str]:
  """Says of runs of one name why they are not on one line."""
  alone: dict[str, list[runs.Run]] = {}
  for part in parts:
    if len(part) == 1:
      (run,) = part.values()
      alone.setdefault(run.name, []).append(run)
  said = []
  for name, found in alone.items():
    rests = [_rest(run) for run in found]
    keys = dict.fromkeys(key for rest in rests for key in rest)
    differ = [k for k in keys if len({str(rest.get(k)) for rest in rests}) > 1]
    if differ:
      said.append(
        f'{name}: no line, as its runs differ in {", ".join(differ[:5])} too.'
      )
  return said


def table(panel: Panel, metric: str) -> Table:
  """Lines x rates; a run that cannot be counted stands there as a word."""
  rates = sorted({rate for line in panel.lines.values() for rate in line})
  cells, texts = [], []
  for line in panel.lines.values():
    here = [line.get(rate) for rate in rates]
    words = [state(run, metric) if run else '–' for run in here]
    cells.append(
      [
        run.test['joint'][metric] if run and not word else None
        for run, word in zip(here, words)
      ]
    )
    texts.append([word or text(cell) for word, cell in zip(words, cells[-1])])
  best = leads(cells, [''] * len(cells), metric)
  return Table(
    f'{panel.title}: {log.fused(metric)} {log.title(metric)}, in percent',
    ['run', *map(percent, rates)],
    [[name, *row] for name, row in zip(panel.lines, texts)],
    np.pad(best, ((0, 0), (1, 0))),
    ['A column is the share of entries (examples x modalities) made missing.'],
    panel.doubts,
  )


def series(panel: Panel, metric: str) -> dict[str, Series]:
  """(rate in percent, mean, std over seeds) of each line, of what counts."""
  told = {}
  for name, line in panel.lines.items():
    done = {rate: r for rate, r in line.items() if not state(r, metric)}
    values = [runs.values(r.test['joint'][metric]) for r in done.values()]
    if done:
      told[name] = (
        np.array([100 * rate for rate in done]),
        np.array([value.mean() for value in values]),
        np.array([value.std(ddof=min(1, len(value) - 1)) for value in values]),
      )
  return told
