"""The grid of generated pictures."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from mmjax import _report_html as html
from mmjax._report_canvas import PAPER, picture

VOICES = 8  # columns generated from the source
ROWS = 16  # classes that are shown
PIXELS, GAP = 64, 0.14  # of a picture at least, and of its side between two
CELL = 0.62  # inches


class Column(NamedTuple):
  """Pictures of one kind, a row per class."""

  title: str
  images: np.ndarray  # f[R, H, W, C] in 0..1
  recognised: np.ndarray  # i[R], what the judge saw
  shown: np.ndarray  # bool[R], False where there is no picture


def columns(
  made: Mapping[str, np.ndarray], names: Mapping[str, str]
) -> tuple[np.ndarray, list[Column]]:
  """The classes of the rows, and the columns: real, condition, sources.

  Examples that share what is in their source are shown once.

  Args:
    made: as generated.npz.
    names: of the roles 'condition' and 'source'.
  """
  label_N, entry_N = made['label'], made['entry']
  classes = np.unique(label_N)[:ROWS]
  _, first = np.unique(entry_N, return_index=True)
  alone_N = np.isin(np.arange(len(label_N)), first)
  kinds = [('real', 'real', 0), ('condition', f'from {names["condition"]}', 0)]
  kinds += [('source', '', i) for i in range(VOICES)]
  told = []
  for role, title, nth in kinds:
    at = [
      np.flatnonzero((label_N == c) & (alone_N | (role != 'source')))
      for c in classes
    ]
    has = np.array([nth < len(rows) for rows in at])
    rows = np.array([r[nth] if ok else 0 for r, ok in zip(at, has)])
    images = made[f'{role}/images'][rows]
    told.append(Column(title, images, made[f'{role}/recognised'][rows], has))
  told = [c for c in told if c.shown.any()]
  return classes, told


def grid(
  classes: np.ndarray,
  told: Sequence[Column],
  class_names: Sequence[str],
  source: str,
  path: Any = None,
) -> str:
  """Draws rows of a class each; returns the SVG, and writes a PNG to `path`.

  Framed is what the judge takes for another class, whose name stands below.
  """
  R, spots = len(classes), _spots(told)
  width, height = CELL * (spots[-1] + 1) * (1 + GAP), CELL * R * (1 + 2 * GAP)
  with picture(width + 0.9, height + 0.5, 'Generated pictures') as made:
    axes = made.figure.subplots()
    axes.grid(False)
    axes.tick_params(top=False, labeltop=True, labelbottom=False)
    for spine in axes.spines.values():
      spine.set_visible(False)
    for x, column in zip(spots, told):
      for y in np.flatnonzero(column.shown).tolist():
        box = _draw(axes, column.images[y], x, y)
        if column.recognised[y] != classes[y]:
          _wrong(axes, box, class_names[int(column.recognised[y])])
    axes.set_xlim(-0.1, spots[-1] * (1 + GAP) + 1.1)
    axes.set_ylim(R * (1 + 2 * GAP), -0.1)
    axes.set_aspect('equal')
    middle = (1 + 2 * GAP) * np.arange(R) + 0.5
    axes.set_yticks(middle, [class_names[c] for c in classes], size=10)
    ticks, titles = _titles(told, spots, source)
    axes.set_xticks(ticks, titles, size=10)
    if path is not None:
      made.figure.savefig(path, format='png', dpi=150, facecolor=PAPER)
  return made.svg


def _spots(told: Sequence[Column]) -> list[float]:
  """Where columns stand; a space divides the three kinds."""
  kinds = np.cumsum([bool(c.title) or i == 2 for i, c in enumerate(told)])
  return [i + 0.25 * (k - 1) for i, k in enumerate(kinds)]


def _titles(told, spots, source: str):
  centre = (1 + GAP) * np.asarray(spots) + 0.5
  ticks = [x for x, c in zip(centre, told) if c.title]
  titles = [c.title for c in told if c.title]
  voices = [x for x, c in zip(centre, told) if not c.title]
  if voices:
    ticks.append(float(np.mean(voices)))
    titles.append(f'from {source}, held out')
  return ticks, titles


def _draw(axes, image_HWC: np.ndarray, x: float, y: float) -> tuple:
  H, W, C = image_HWC.shape
  times = -(-PIXELS // max(H, W))
  shown = np.kron(image_HWC, np.ones((times, times, 1)))  # no browser blurs it
  left, top = x * (1 + GAP), y * (1 + 2 * GAP)
  tall, wide = H / max(H, W), W / max(H, W)
  box = (left, left + wide, top + tall, top)
  if C != 3:
    shown = 1 - shown.mean(axis=-1, keepdims=True).repeat(3, axis=-1)
  axes.imshow(shown, extent=box, interpolation='none', vmin=0, vmax=1)
  return box


def _wrong(axes, box, name: str) -> None:
  from matplotlib.patches import Rectangle

  left, right, bottom, top = box
  size = right - left, bottom - top
  color = html.color('c1')
  frame = Rectangle((left, top), *size, fill=False, ec=color, lw=1.8, zorder=3)
  axes.add_patch(frame)
  at = (left + right) / 2, bottom + 0.02
  style = {'ha': 'center', 'va': 'top', 'color': color}
  axes.text(*at, name, size=6.5, **style)
