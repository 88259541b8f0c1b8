"""Tables of the model card, in Markdown."""

import math
from collections.abc import Iterator, Mapping
from typing import Any

from mmjax import log
from mmjax.experiment import Experiment


def numbers(
  exp: Experiment, signature: Mapping[str, Any], results: Mapping[str, Any]
) -> str:
  """All of results.json: every model's mean and spread, and this model's."""
  origin = signature['origin']
  if not results:
    return 'The run had not ended when this was exported: nothing is measured.'
  splits = list(results)
  flat = {split: dict(_flat(found)) for split, found in results.items()}
  rows = [
    [path]
    + [log.spread(flat[split].get(path), 1, 4) for split in splits]
    + [_own(flat[splits[-1]].get(path), origin['model'])]
    for path in dict.fromkeys(p for found in flat.values() for p in found)
  ]
  sizes = [f'{s} (n = {exp.sources[s].size:,})' for s in splits]
  header = ['measure', *sizes, f'this model, {splits[-1]}']
  models = origin['models']
  spread = (
    f'Mean and standard deviation of {models} models that differ in their '
    'seeds alone.'
    if models > 1
    else 'Of one model, so without a spread.'
  )
  if exp.run.select == 'latest' and origin['step'] != exp.plan[-1].stop:
    spread += (
      f' They are of the end of training, step {exp.plan[-1].stop}, and this '
      f'is checkpoint {origin["step"]}.'
    )
  return f'{spread}\n\n{table(header, rows)}'


def _own(cell: Mapping[str, Any] | None, index: int) -> str:
  values = (cell or {}).get('values') or ()
  value = log.number(values[index]) if index < len(values) else math.nan
  return f'{value:.4f}' if math.isfinite(value) else '–'


def _flat(tree: Mapping[str, Any], path: str = '') -> Iterator[tuple[str, Any]]:
  for name, inner in tree.items():
    if 'mean' in inner and not isinstance(inner['mean'], Mapping):
      yield path + name, inner
    else:
      yield from _flat(inner, f'{path}{name}/')


def table(header: list[str], rows: list[list[str]]) -> str:
  """In Markdown."""
  lines = [header, ['---'] * len(header), *rows]
  return '\n'.join(f'| {" | ".join(_cell(c) for c in x)} |' for x in lines)


def _cell(text: str) -> str:
  return text.replace('|', '\\|').replace('\n', ' ')
