"""Which runs stand in one table: data sets, and names for both."""

import json
import pathlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from mmjax import _report_runs as runs

RATES = ('train', 'validation', 'test')  # of config.missing


class Group(NamedTuple):
  """Runs on the same data, under names that tell them apart."""

  name: str
  runs: list[runs.Run]

  @property
  def modalities(self) -> list[str]:
    return [*dict.fromkeys(m for run in self.runs for m in run.modalities)]

  def measured(self, metric: str) -> list[str]:
    """What a measure is of besides the fusion: modalities, or directions."""
    ways = [
      way
      for run in self.runs
      for way in run.test.get('retrieval', {})
      if metric in run.test.get(way, {})
    ]
    return list(dict.fromkeys(ways)) or self.modalities


def groups(found: Sequence[runs.Run]) -> list[Group]:
  """Sorts runs by their data, in the order of their first run.

  A run is called by its method and head; where two of one data set share
  these, by its folder, which then goes for all data sets.
  """
  parts: dict[str, list[int]] = {}
  for i, run in enumerate(found):
    parts.setdefault(json.dumps(data(run), default=str), []).append(i)
  labels = _labels(found, list(parts.values()))
  names = titles([found[part[0]] for part in parts.values()])
  return [
    Group(title, [found[i]._replace(name=labels[i]) for i in part])
    for title, part in zip(names, parts.values())
  ]


def data(run: runs.Run) -> dict[str, Any]:
  """What makes the data of a run, as {'data.name': .., 'missing.test': ..}."""
  section, rates = run.config.get('data', {}), missing(run)
  if isinstance(section, Mapping):
    section = {k: v for k, v in section.items() if k != 'modalities'}
  parts = {'data': section, 'modalities': sorted(run.modalities)}
  flat = runs.flat(parts | ({'missing': rates} if rates else {}))
  return dict(sorted(flat.items()))


def missing(run: runs.Run) -> dict[str, Any]:
  """config.missing with its defaults; {} where nothing is made missing."""
  section = run.config.get('missing')
  section = dict(section) if isinstance(section, Mapping) else {}
  if not any(section.get(split) for split in RATES):
    return {}
  return {**dict.fromkeys(RATES, 0.0), 'seed': 0, 'sampler': 'exact', **section}


def data_name(run: runs.Run) -> str:
  """The data set's name; of arrays that of their file, or of its folder."""
  section = run.config.get('data', '')
  name = runs.kind(section)
  path = section.get('path') if isinstance(section, Mapping) else None
  if name == 'arrays' and path:
    file = pathlib.PurePath(str(path))
    name = file.parent.name if file.stem in ('data', '') else file.stem
  return name or 'unknown data'


def titles(firsts: Sequence[runs.Run]) -> list[str]:
  """Names of data sets, with what tells those of one name apart."""
  names = [data_name(run) + _rates_text(missing(run)) for run in firsts]
  told = []
  for name, run in zip(names, firsts):
    others = [data(r) for n, r in zip(names, firsts) if n == name]
    keys = dict.fromkeys(k for other in others for k in other)
    differ = [k for k in keys if len({str(o.get(k)) for o in others}) > 1]
    rest = ', '.join(f'{k}={_plain(data(run).get(k))}' for k in differ)
    told.append(f'{name} ({rest})' if rest else name)
  return told


def _plain(value: Any) -> str:
  if isinstance(value, (list, tuple)):
    return '+'.join(map(str, value))
  return 'not set' if value is None else str(value)


def _rates_text(rates: Mapping[str, Any]) -> str:
  if not rates:
    return ''
  train, test = rates['train'], rates['test']
  if train == test:
    return f', {percent(train)} missing'
  parts = [
    f'{percent(rate)} in {where}'
    for rate, where in ((train, 'training'), (test, 'test'))
    if rate
  ]
  return f', missing {" and ".join(parts)}' if parts else ''


def percent(rate: float) -> str:
  return f'{100 * rate:.3g} %'


def _labels(
  found: Sequence[runs.Run], parts: Sequence[Sequence[int]]
) -> list[str]:
  """The shortest kind of name that no two runs of one part share."""
  ways = [list(_names(run)) for run in found]
  level = dict.fromkeys(range(len(found)), 0)

  def name(i):
    return ways[i][level[i]]

  while True:
    twice = {
      name(i)
      for part in parts
      for i in part
      if sum(name(j) == name(i) for j in part) > 1
    }
    movable = [
      i for i in level if name(i) in twice and level[i] + 1 < len(ways[i])
    ]
    if not movable:
      return [name(i) for i in level]
    for i in movable:
      level[i] += 1


def _names(run: runs.Run) -> Iterator[str]:
  method, head = (runs.kind(run.config.get(k, '')) for k in ('method', 'head'))
  if method:
    yield f'{method}/{head}' if head else method
  path = run.path.resolve()
  yield path.name
  yield f'{path.parent.name}/{path.name}'
  yield str(run.path)
