"""Charts of results: subsets of modalities, Shapley values, runs compared."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from mmjax import _report_html as html
from mmjax import log
from mmjax._report_canvas import (
  DASHES,
  INK,
  LINE,
  MUTED,
  PAPER,
  WIDTH,
  grid,
  picture,
  shown,
  weight,
)
from mmjax._report_runs import values

Cells = Mapping[str, Mapping[str, Any]]  # entries of results.json by name


def subsets(
  cells: Cells,
  modalities: Sequence[str],
  shades: Mapping[str, str],
  chance: float,
) -> str:
  """Draws the accuracy of each subset beside a map of its members.

  Args:
    cells: accuracy per subset, named 'audio+visual'.
    modalities: the columns of the map.
    shades: the colour of each modality.
    chance: the accuracy of a uniform guess; NaN if unknown.
  """
  M = len(modalities)
  order = sorted(cells, key=lambda s: (-s.count('+'), -_mean(cells[s])))
  height = 0.7 + 0.3 * len(order)
  with picture(WIDTH * 0.8, height, 'Accuracy of each subset') as made:
    widths = 0.45 * M + 0.3, 8 - 0.45 * M
    left, right = made.figure.subplots(1, 2, sharey=True, width_ratios=widths)
    for row, subset in enumerate(order):
      members = subset.split('+')
      _members(left, row, members, modalities, shades)
      shade = 'ink' if len(members) == M else 'muted'
      shade = shades.get(subset, 'muted') if len(members) == 1 < M else shade
      _bar(right, row, cells[subset], shade)
    if math.isfinite(chance):
      right.axvline(100 * chance, color=MUTED, lw=0.8, ls=DASHES)
      right.text(100 * chance + 0.8, -0.62, 'chance', color=MUTED, size=8)
    left.set(xlim=(-0.6, M - 0.4), ylim=(len(order) - 0.45, -0.95))
    left.set_xticks(range(M), modalities, rotation=35, ha='right')
    left.set_yticks([])
    _tint(left.get_xticklabels(), [shades[name] for name in modalities])
    _bare(left)
    right.tick_params(labelleft=False)
    _percent_axis(right)
  return made.svg


def _mean(cell) -> float:
  return float(np.nan_to_num(np.mean(values(cell))))


def _members(axes, row, members, modalities, shades):
  inside = [i for i, name in enumerate(modalities) if name in members]
  axes.plot(inside, [row] * len(inside), color=MUTED, lw=1.2, zorder=2)
  for i, name in enumerate(modalities):
    color = html.color(shades[name]) if i in inside else LINE
    axes.scatter(i, row, 52, color=color, lw=0, zorder=3)


def _bar(axes, row, cell, shade):
  value = 100 * values(cell)
  color = html.color(shade)
  axes.barh(row, np.nan_to_num(value.mean()), 0.58, color=color, lw=0)
  if len(value) > 1:
    ring = {'color': PAPER, 'ec': INK, 'lw': 0.7}
    axes.scatter(value, np.full(len(value), row), 9, **ring, zorder=4)
  right = np.nan_to_num(value.max()) + 1.4
  axes.text(right, row, log.spread(cell), va='center', weight=weight(shade))


def _bare(axes):
  axes.grid(False)
  for spine in axes.spines.values():
    spine.set_visible(False)


def _percent_axis(axes):
  axes.set(xlabel='accuracy, %', xticks=range(0, 101, 20))
  axes.set_xlim(min(0, axes.get_xlim()[0]), 114)
  axes.grid(axis='y', visible=False)
  axes.spines['left'].set_visible(False)


def _tint(labels, shades):
  for label, shade in zip(labels, shades):
    label.set(color=html.color(shade), fontweight=weight(shade))


def shapley(shares: Cells, start: float, shades: Mapping[str, str]) -> str:
  """Draws how the modalities' shares add up from `start` to the accuracy."""
  names, last = ['chance', *shares, 'joint'], len(shares) + 1
  height = 0.75 + 0.36 * len(names)
  with picture(WIDTH * 0.8, height, 'Shapley values') as made:
    axes = made.figure.subplots()
    at = 100 * start
    axes.barh(0, at, 0.58, color=MUTED, lw=0)
    axes.text(at + 1.4, 0, f'{at:.1f}', va='center', color=MUTED)
    for row, (name, cell) in enumerate(shares.items(), 1):
      share, color = 100 * _mean(cell), html.color(shades[name])
      _step(axes, at, row)
      axes.barh(row, share, 0.58, at, color=color, lw=0)
      text = ('+' if share >= 0 else '') + log.spread(cell)
      right = max(at, at + share) + 1.4
      axes.text(right, row, text, va='center', color=color)
      at += share
    _step(axes, at, last)
    axes.barh(last, at, 0.58, color=INK, lw=0)
    axes.text(at + 1.4, last, f'{at:.1f}', va='center', weight='bold')
    axes.set_yticks(range(last + 1), map(shown, names))
    _tint(axes.get_yticklabels(), [shades.get(n, 'muted') for n in names])
    axes.set_ylim(last + 0.5, -0.6)
    _percent_axis(axes)
  return made.svg


def _step(axes, at, row):
  axes.plot([at, at], [row - 1.29, row + 0.29], color=MUTED, lw=0.7)


def runs(
  panels: Mapping[str, Cells], shades: Mapping[str, str], name: str
) -> str:
  """Draws a panel per question and a row per run: mean, spread, seeds.

  Args:
    panels: for each title the entry of results.json of each run.
    shades: the colour of each run; its order is that of the rows.
    name: what the picture shows, for screen readers.
  """
  columns = min(4, len(panels))
  height = math.ceil(len(panels) / columns) * (0.8 + 0.34 * len(shades))
  with picture(WIDTH, height, name) as made:
    for axes, (title, cells) in zip(
      grid(made.figure, len(panels), columns, sharey=True, sharex=True),
      panels.items(),
    ):
      for row, run in enumerate(shades):
        if math.isfinite(np.mean(values(cells.get(run)))):
          _dot(axes, row, cells[run], html.color(shades[run]))
      axes.set_title(f'{shown(title)}, %')
      axes.set_yticks(range(len(shades)), shades)
      _tint(axes.get_yticklabels(), shades.values())
      axes.set_ylim(len(shades) - 0.4, -0.75)
      axes.margins(x=0.12)
      axes.locator_params(axis='x', nbins=5)
      axes.tick_params(labelbottom=True)
      axes.spines['left'].set_visible(False)
  return made.svg


def _dot(axes, row, cell, color):
  value, std = 100 * values(cell), 100 * log.number(cell.get('std', 0))
  mean = value.mean()
  axes.plot([mean - std, mean + std], [row, row], color=color, lw=1.6)
  axes.scatter(value, np.full(len(value), row), 8, color=color, alpha=0.5, lw=0)
  axes.scatter(mean, row, 42, color=color, lw=0, zorder=3)
  axes.annotate(
    f'{mean:.1f}',
    (mean, row),
    (0, 6),
    textcoords='offset points',
    ha='center',
    size=7.5,
    color=color,
  )
