"""results.json as text: its tables, and how a number is written."""

import math
import re
from collections.abc import Mapping
from typing import Any

import rich.box
import rich.console
import rich.table
import rich.text

MEASURES = {
  'accuracy': 'accuracy',
  'macro_f1': 'macro F1',
  'weighted_f1': 'weighted F1',
  'auroc': 'AUROC',
  'ece': 'ECE',
  'probe': 'probe',
  'zero_shot': 'zero-shot',
}
NOT_MODALITIES = (
  *('joint', 'subsets', 'shapley', 'gap', 'attention', 'retrieval', 'geometry'),
)
WIDE = 5  # measures with their spread that 80 columns hold


def table(
  results: Mapping[str, Any], split: str = 'test'
) -> rich.console.Group:
  """Returns the tables of results.json, those that have anything to say.

  Measures, with a row per modality, the fused last; then retrieval, with a row
  per direction.
  """
  found = results.get(split, {})
  rows = [(name, cells) for name, cells in found.items() if is_modality(name)]
  rows += [('fused', found['joint'])] if 'joint' in found else []
  columns = [m for m in MEASURES if any(m in cells for _, cells in rows)]
  made = []
  for start in range(0, len(columns), WIDE):
    part = columns[start : start + WIDE]
    lines = [
      [name, *(spread(cells.get(measure)) for measure in part)]
      for name, cells in rows
    ]
    header = ['', *(MEASURES[measure] for measure in part)]
    made.append(_table(f'{split}, in percent', header, lines, 'fused'))
  ways = retrieval(found)
  if ways:
    made.append(_table(f'retrieval on {split}, in percent', *ways, 'mean'))
  return rich.console.Group(*made)


def _table(title, header, rows, strong) -> rich.table.Table:
  made = rich.table.Table(
    title=rich.text.Text(title),
    box=rich.box.SIMPLE_HEAD,
    padding=(0, 1, 0, 0),
    pad_edge=False,
  )
  made.add_column('')
  for name in header[1:]:
    made.add_column(name, justify='right', no_wrap=True)
  for name, *texts in rows:
    style = 'bold' if name == strong else None
    made.add_row(rich.text.Text(name), *texts, style=style)
  return made


def retrieval(
  found: Mapping[str, Any],
) -> tuple[list[str], list[list[str]]] | None:
  """(header, rows) of retrieval in a split of results.json, the mean last.

  R@k and mAP in percent, the median rank from 1; None without any.
  """
  ways = found.get('retrieval', {})
  keys = dict.fromkeys(key for cells in ways.values() for key in cells)
  titles = {k: title(k) for k in keys if fused(k) == 'mean' and k != 'r_mean'}
  if not titles:
    return None
  rows = [
    [
      way.replace('-to-', ' to '),
      *(spread(cells.get(key)) for key in titles),
      spread(cells.get('median_rank'), 1, 1),
      spread(cells.get('candidates'), 1, 0).split(' ')[0],
    ]
    for way, cells in ways.items()
  ]
  return ['', *titles.values(), 'median rank', 'candidates'], rows


def title(measure: str) -> str:
  """What a measure is called."""
  names = MEASURES | {'r_mean': 'mean recall', 'map': 'mAP'}
  return names.get(measure, re.sub(r'^r(?=\d+$)', 'R@', measure))


def fused(measure: str) -> str:
  """What stands under 'joint': 'fused', of retrieval the 'mean'."""
  return 'mean' if re.fullmatch(r'r\d+|r_mean|map', measure) else 'fused'


def is_modality(name: str) -> bool:
  """Whether a key under a split of results.json names a modality."""
  return name not in NOT_MODALITIES


def spread(
  cell: Mapping[str, Any] | None, scale: float = 100, digits: int | None = None
) -> str:
  """Returns '97.1 ± 0.3' for an entry of results.json, '–' for none."""
  mean, std = (number((cell or {}).get(key)) for key in ('mean', 'std'))
  if not math.isfinite(mean):
    return '–'
  if digits is None:
    digits = 1 if scale == 100 else 3
  text = f'{scale * mean:.{digits}f}'
  several = cell and len(cell.get('values') or ()) > 1
  return f'{text} ± {scale * std:.{digits}f}' if several else text


def number(value: Any) -> float:
  """Returns a number of results.json as a float; null is NaN."""
  return math.nan if value is None else float(value)
