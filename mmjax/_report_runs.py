"""Run folders as the report sees them."""

import math
import pathlib
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import numpy as np

from mmjax import log


class Run(NamedTuple):
  """What is left of a run; a missing piece is empty."""

  name: str
  path: pathlib.Path
  record: dict[str, Any]  # config.json: the config with its provenance
  lines: list[dict]  # metrics.jsonl
  results: dict[str, Any]  # results.json
  rows: dict[str, dict[str, np.ndarray]]  # predictions_<eval>.npz by eval
  cost: dict[str, Any] = {}  # cost.json

  @property
  def config(self) -> dict[str, Any]:
    return self.record.get('config', self.record)

  @property
  def split(self) -> str:
    """The split that the results are about: test, if there is one."""
    return 'test' if 'test' in self.results else next(iter(self.results), '')

  @property
  def test(self) -> dict[str, Any]:
    return self.results.get(self.split, {})

  @property
  def modalities(self) -> list[str]:
    """In the order of the config, else of the results, else of the rows."""
    listed = self.record.get('modalities') or [
      name
      for name, cells in self.test.items()
      if log.is_modality(name) and 'accuracy' in cells
    ]
    logits = self.rows.get('classification', {})
    found = [key.split('/', 1)[1] for key in logits if key.startswith('logits')]
    return list(listed) or [name for name in found if log.is_modality(name)]

  @property
  def num_seeds(self) -> int:
    accuracy = self.test.get('joint', {}).get('accuracy') or {}
    cells = (accuracy, *_cells(self.test))
    return next((len(c['values']) for c in cells if c.get('values')), 1)

  @property
  def seeds(self) -> tuple[int, ...]:
    """Of its models; () if the config does not tell."""
    first = self.config.get('seed')
    if not isinstance(first, int):
      return ()
    return tuple(range(first, first + self.num_seeds))

  @property
  def last_step(self) -> int:
    return max((line['step'] for line in self.lines), default=0)

  @property
  def total_steps(self) -> int | None:
    """The length of training, if what is logged tells it for certain."""
    line = max(self.lines, key=lambda line: line['step'], default={})
    epoch, half = line.get('epoch', 0), 0.5e-4  # an epoch has four decimals
    if not epoch > half:
      return None
    low, high = line['step'] / (epoch + half), line['step'] / (epoch - half)
    per_epoch = round(line['step'] / epoch)
    if math.ceil(low) != math.floor(high):
      return None
    return _planned(self.config.get('phases'), per_epoch)


def _cells(tree: Any) -> Iterator[dict[str, Any]]:
  """The entries of results.json, at any depth."""
  if isinstance(tree, dict):
    if isinstance(tree.get('values'), list):
      yield tree
    for inner in tree.values():
      yield from _cells(inner)


def classifies(run: Run) -> bool:
  """Whether the results hold a fused accuracy, of all or some modalities."""
  return 'accuracy' in run.test.get('joint', {}) or 'subsets' in run.test


def _planned(phases: Any, per_epoch: int) -> int | None:
  """The steps of config.phases; None if it cannot be read."""
  total = 0
  try:
    for _, amount, *unit in phases:
      scale = 1 if unit == ['steps'] else per_epoch
      total += math.floor(float(amount) * scale + 0.5)
  except (TypeError, ValueError):
    return None
  return total


def how_to_resume(path: pathlib.Path) -> str:
  """Returns the sentence for a run without results."""
  return (
    f'The run {path} is not finished: it has no results.json. Start the '
    f'command that began it again with --workdir={path}; it goes on from the '
    'last checkpoint.'
  )


def seeds(array: np.ndarray, ndim: int) -> np.ndarray:
  """Returns [S, ...] from an array of `ndim` axes, or with a seeds axis."""
  return array if array.ndim > ndim else array[None]


def values(cell: Mapping[str, Any] | None) -> np.ndarray:
  """Returns f64[S], the value of each seed, for an entry of results.json."""
  cell = cell or {}
  listed = cell.get('values') or [cell.get('mean')]
  return np.array([log.number(value) for value in listed])


def kind(section: Any) -> str:
  """Returns the name in a config section such as dict(name='mla', ...)."""
  return str(section.get('name', '') if isinstance(section, dict) else section)


def flat(tree: Any, path: str = '') -> dict[str, Any]:
  """Returns {'a.b': leaf} of nested dicts."""
  if not isinstance(tree, dict) or not tree:
    return {path: tree}
  return {
    name: leaf
    for key, value in tree.items()
    for name, leaf in flat(value, f'{path}.{key}' if path else key).items()
  }


def series(run: Run, split: str, name: str, points: int = 150):
  """Returns (epoch, mean, std) over seeds, averaged down to `points`.

  None where nothing is logged; std is 0 for one seed.
  """
  found = [
    (line.get('epoch', line['step']), np.atleast_1d(line['values'][name]))
    for line in run.lines
    if line['split'] == split and name in line['values']
  ]
  if not found:
    return None
  width = max(len(value) for _, value in found)
  epoch = np.array([epoch for epoch, _ in found], float)
  value = np.stack([np.resize(value, width) for _, value in found])
  parts = math.ceil(len(epoch) / points)
  cut = np.arange(0, len(epoch), parts)
  count = np.diff(np.append(cut, len(epoch)))
  epoch = np.add.reduceat(epoch, cut) / count
  value = np.add.reduceat(value, cut) / count[:, None]
  return epoch, value.mean(1), value.std(1, ddof=min(1, width - 1))
