"""Lines over epochs or rates, with their spread over seeds."""

import math
from collections.abc import Mapping, Sequence

import numpy as np

from mmjax import _report_html as html
from mmjax._report_canvas import DASHES, WIDTH, grid, picture, shown, weight

Series = tuple[np.ndarray, np.ndarray, np.ndarray]  # x, mean, std
STYLES = ('-', DASHES, ':')
FEW = 12  # points that are marked; more make a line by themselves


def curves(
  panels: Sequence[tuple[str, Mapping[str, Series], bool]],
  shades: Mapping[str, str],
  name: str,
  xlabel: str = 'epoch',
) -> str:
  """Draws lines with their spread over seeds, labelled where they end.

  Args:
    panels: (title, the series by name, whether to show percent), two a row.
    shades: the colour of each series.
    name: what the picture shows, for screen readers.
    xlabel: what the lines run over.
  """
  columns = min(2, len(panels))
  height = 3.1 * math.ceil(len(panels) / columns)
  with picture(WIDTH * columns / 2, height, name) as made:
    for axes, (title, lines, percent) in zip(
      grid(made.figure, len(panels), columns), panels
    ):
      scale = 100 if percent else 1
      lines = {
        name: (x, scale * mean, scale * std)
        for name, (x, mean, std) in lines.items()
        if np.isfinite(mean).any()
      }
      _lines(axes, lines, shades)
      if not percent:
        _from_zero(axes, lines)
      _end_labels(axes, lines, shades, 1 if percent else 2)
      axes.set_title(f'{title}, %' if percent else title)
      axes.set_xlabel(xlabel)
  return made.svg


def _lines(axes, lines, shades):
  used = []  # there are fewer colours than there may be lines
  for name, (x, mean, std) in lines.items():
    color, bold = html.color(shades[name]), shades[name] == 'ink'
    style: dict = {'color': color, 'lw': 2.2 if bold else 1.6}
    style |= {'ls': STYLES[used.count(color) % len(STYLES)]}
    used.append(color)
    axes.plot(x, mean, zorder=2 + bold, **style)
    if len(x) <= FEW:
      axes.scatter(x, mean, 16, color=color, lw=0, zorder=3)
    if np.any(std > 0):
      band = mean - std, mean + std
      axes.fill_between(x, *band, color=color, alpha=0.15, lw=0)
  axes.margins(x=0.01)


def _from_zero(axes, lines):
  """One diverged step must not flatten the rest."""
  every = np.concatenate([mean for _, mean, _ in lines.values()] or [[1.0]])
  top = np.percentile(every[np.isfinite(every)], 99.5)
  axes.set_ylim(0, 1.08 * top if top > 0 else 1)


def _end_labels(axes, lines, shades, digits):
  low, high = axes.get_ylim()
  last = {
    name: (x[-1], np.clip(mean[np.isfinite(mean)][-1], low, high))
    for name, (x, mean, _) in lines.items()
  }
  right = max((x for x, _ in last.values()), default=0)
  places = apart([y for _, y in last.values()], low, high)
  for (name, (_, y)), place in zip(last.items(), places):
    axes.annotate(
      f'{shown(name)}  {y:.{digits}f}',
      (right, place),
      (6, 0),
      textcoords='offset points',
      va='center',
      color=html.color(shades[name]),
      weight=weight(shades[name]),
      annotation_clip=False,
    )


def apart(values: Sequence[float], low: float, high: float) -> np.ndarray:
  """Moves labels apart between two bounds, keeping their order."""
  ys = np.asarray(values, float)
  order = np.argsort(ys, kind='stable')
  placed = ys[order]
  gap = (high - low) * min(0.065, 1 / max(len(ys) - 1, 1))
  for _ in range(100):  # about their own centre
    push = np.maximum(gap - np.diff(placed), 0) / 2
    placed[:-1] -= push
    placed[1:] += push
  rank = np.arange(len(ys))
  placed = np.maximum.accumulate(np.maximum(placed, low) - gap * rank)
  placed = placed + gap * rank  # up, where there is no room below
  back = np.minimum(placed, high)[::-1] + gap * rank
  placed = (np.minimum.accumulate(back) - gap * rank)[::-1]
  return placed[np.argsort(order)]
