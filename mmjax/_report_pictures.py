"""Pictures of a run: confusion, calibration, features, attention."""

import math
from collections.abc import Mapping, Sequence

import numpy as np

from mmjax import _report_html as html
from mmjax._report_canvas import (
  DASHES,
  INK,
  MUTED,
  PAPER,
  WIDTH,
  grid,
  picture,
  shown,
)


def confusion(
  counts: Mapping[str, np.ndarray],
  class_names: Sequence[str],
  shades: Mapping[str, str],
) -> str:
  """Draws one matrix per name: a row is a true class and sums to 100."""
  columns = 2 if len(counts) == 4 else min(3, len(counts))
  height = 3.75 * math.ceil(len(counts) / columns)
  with picture(WIDTH * columns / 3, height, 'Confusion matrices') as made:
    for axes, (name, count_CC) in zip(
      grid(made.figure, len(counts), columns), counts.items()
    ):
      rate_CC = count_CC / np.maximum(count_CC.sum(1, keepdims=True), 1)
      _matrix(axes, rate_CC, shades[name])
      _class_ticks(axes, class_names)
      axes.set_title(shown(name), color=html.color(shades[name]))
  return made.svg


def _matrix(axes, rate_CC, shade):
  from matplotlib.colors import to_rgb

  # Ink turns over with the theme, but the pixels of an image do not.
  color = to_rgb('#5f6a78' if shade == 'ink' else html.color(shade))
  cell_CC4 = np.empty((*rate_CC.shape, 4))
  cell_CC4[..., :3], cell_CC4[..., 3] = color, rate_CC**0.7
  axes.imshow(cell_CC4, interpolation='none')
  axes.grid(False)
  if len(rate_CC) > 12:
    return
  for i, j in zip(*np.nonzero(rate_CC >= 0.005)):
    number, tint = f'{100 * rate_CC[i, j]:.0f}', rate_CC[i, j] > 0.45
    style = {'ha': 'center', 'va': 'center', 'size': 7}
    axes.text(j, i, number, color='#ffffff' if tint else INK, **style)


def _class_ticks(axes, class_names):
  axes.set(xlabel='predicted', ylabel='true')
  for spine in axes.spines.values():
    spine.set_visible(False)
  if len(class_names) > 40:
    axes.set(xticks=[], yticks=[])
    return
  short = [name if len(name) <= 12 else name[:11] + '…' for name in class_names]
  upright = all(len(name) <= 2 for name in short)
  size, places = 7.5 if len(short) <= 20 else 5, range(len(short))
  axes.set_xticks(places, short, size=size, rotation=0 if upright else 90)
  axes.set_yticks(places, short, size=size)


def calibration(
  bins: Mapping[str, tuple],
  errors: Mapping[str, str],
  shades: Mapping[str, str],
) -> str:
  """Draws reliability diagrams: a dot per bin, as large as its share.

  Args:
    bins: `scores.Reliability` by name.
    errors: the calibration error of each, as text.
    shades: the colour of each.
  """
  columns = min(4, len(bins))
  height = 2.85 * math.ceil(len(bins) / columns)
  with picture(WIDTH * columns / 4, height, 'Calibration') as made:
    panels = grid(made.figure, len(bins), columns)
    for axes, (name, (confidence, accuracy, count)) in zip(
      panels, bins.items()
    ):
      color, has = html.color(shades[name]), count > 0
      x, y = 100 * confidence[has], 100 * accuracy[has]
      axes.plot([0, 100], [0, 100], color=MUTED, lw=0.8, ls=DASHES)
      axes.vlines(x, np.minimum(x, y), np.maximum(x, y), color, lw=1, alpha=0.5)
      area = 8 + 120 * count[has] / max(count.sum(), 1)
      axes.scatter(x, y, area, color=color, lw=0, zorder=3)
      ticks = range(0, 101, 25)
      axes.set(xlim=(-3, 104), ylim=(-3, 104), xticks=ticks, yticks=ticks)
      axes.set(xlabel='confidence, %', aspect='equal')
      axes.set_title(shown(name), color=color)
      axes.text(1, 99, f'ECE {errors[name]}', va='top', color=MUTED)
    panels[0].set_ylabel('accuracy, %')
  return made.svg


def projection(
  points: Mapping[str, np.ndarray], shades: Mapping[str, str]
) -> str:
  """Draws each modality's examples [N, 2] on two axes, with their centres."""
  with picture(WIDTH * 0.62, 4.4, 'Features of the modalities') as made:
    axes = made.figure.subplots()
    for name, point_N2 in points.items():
      color = html.color(shades[name])
      axes.scatter(*point_N2.T, 8, color=color, alpha=0.4, lw=0)
      centre = point_N2.mean(0)
      axes.scatter(*centre, 110, color=color, ec=PAPER, lw=1.6, zorder=4)
      axes.annotate(
        name,
        centre,
        (0, 11),
        textcoords='offset points',
        ha='center',
        weight='bold',
        color=color,
        zorder=5,
        bbox={'fc': PAPER, 'ec': 'none', 'alpha': 0.8, 'pad': 1.5},
      )
    axes.set_aspect('equal', adjustable='datalim')
    axes.set(xlabel='first principal axis', ylabel='second principal axis')
    axes.tick_params(labelleft=False, labelbottom=False)
  return made.svg


def attention(
  blocks: Mapping[str, np.ndarray], modalities: Sequence[str]
) -> str:
  """Draws attention between modalities, a matrix [M, M] for each group.

  Blue is more than 1 and orange less, as deep as it is far in any group.
  """
  from matplotlib.colors import to_rgb

  columns = min(3, len(blocks))
  height = 3.0 * math.ceil(len(blocks) / columns)
  far = max(np.abs(weight_MM - 1).max() for weight_MM in blocks.values())
  more, less = (to_rgb(html.color(shade)) for shade in ('c0', 'c1'))
  with picture(WIDTH * 0.3 * columns, height, 'Attention') as made:
    for axes, (name, weight_MM) in zip(
      grid(made.figure, len(blocks), columns), blocks.items()
    ):
      cell_MM4 = np.empty((*weight_MM.shape, 4))
      cell_MM4[..., :3] = np.where(weight_MM[..., None] > 1, more, less)
      cell_MM4[..., 3] = 0.6 * np.abs(weight_MM - 1) / max(far, 1e-9)
      axes.imshow(cell_MM4, interpolation='none')
      axes.grid(False)
      for i, j in np.ndindex(weight_MM.shape):
        number = f'{weight_MM[i, j]:.3f}'
        axes.text(j, i, number, ha='center', va='center', size=9)
      _class_ticks(axes, modalities)
      axes.set(xlabel='to', ylabel='from')
      axes.set_title(name)
  return made.svg


def similarities(found: Mapping[str, tuple]) -> str:
  """Draws histograms of cosines, (of pairs, of all others) by name.

  Each sums to 100 percent, and all share their axes.
  """
  columns = 2 if len(found) in (2, 4) else min(3, len(found))
  height = 2.7 * math.ceil(len(found) / columns)
  every = np.concatenate([part for both in found.values() for part in both])
  few = min(len(pairs) for pairs, _ in found.values())
  bins = int(np.clip(2 * few**0.5, 15, 60))
  edges = np.linspace(every.min() - 1e-6, every.max() + 1e-6, bins + 1)
  width, top = WIDTH * max(columns, 1.8) / 3, 0.0
  with picture(width, height, 'Similarity of pairs and of others') as made:
    panels = grid(made.figure, len(found), columns, sharex=True, sharey=True)
    for axes, (name, both) in zip(panels, found.items()):
      for row, (part, label, shade) in enumerate(
        zip(both, ('pairs', 'others'), ('c0', 'muted'))
      ):
        share = 100 * np.histogram(part, edges)[0] / len(part)
        color, top = html.color(shade), max(top, share.max())
        axes.stairs(share, edges, fill=True, color=color, alpha=0.25, lw=0)
        axes.stairs(share, edges, color=color, lw=1.4)
        text = f'{label}, n = {len(part):,}, mean {part.mean():.2f}'
        place = {'transform': axes.transAxes, 'va': 'top', 'size': 8}
        axes.text(0.01, 0.99 - 0.09 * row, text, color=color, **place)
      axes.set_title(name)
      axes.tick_params(labelbottom=True)
      axes.set(xlabel='cosine similarity', ylim=(0, 1.3 * top))
      axes.locator_params(axis='x', nbins=5)
    panels[0].set_ylabel('share, %')
  return made.svg
