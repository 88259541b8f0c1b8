"""What the report's pictures share: a style, and the way to SVG.

matplotlib draws in the page's light colours and leaves text as text; the page
swaps the colours for variables, so that a picture follows its theme and fonts.
"""

import contextlib
import io
import math
import re
from collections.abc import Iterator
from typing import Any

from mmjax import _report_html as html

INK, MUTED, LINE, PAPER = map(html.color, ('ink', 'muted', 'line', 'paper'))
WIDTH = 10.4  # inches; the page's column
DASHES = (0, (3, 3))
STYLE: Any = {
  'font.family': 'sans-serif',
  'font.size': 9,
  'text.color': INK,
  'text.parse_math': False,  # a '$' in a name is a '$'
  'svg.fonttype': 'none',
  'svg.hashsalt': 'mmjax',
  'figure.facecolor': 'none',
  'axes.facecolor': 'none',
  'axes.edgecolor': LINE,
  'axes.labelcolor': MUTED,
  'axes.titlelocation': 'left',
  'axes.titlesize': 9.5,
  'axes.titleweight': 'bold',
  'axes.spines.top': False,
  'axes.spines.right': False,
  'axes.grid': True,
  'axes.axisbelow': True,
  'grid.color': LINE,
  'grid.linewidth': 0.6,
  'xtick.color': LINE,
  'ytick.color': LINE,
  'xtick.labelcolor': MUTED,
  'ytick.labelcolor': MUTED,
  'xtick.major.size': 0,
  'ytick.major.size': 0,
  'lines.solid_capstyle': 'round',
}


class Picture:
  """A matplotlib figure; its `svg` is there once the block is left."""

  figure: Any
  svg: str = ''


@contextlib.contextmanager
def picture(width: float, height: float, name: str) -> Iterator[Picture]:
  """Opens a picture of a size in inches; `name` is for screen readers."""
  import matplotlib
  from matplotlib.figure import Figure

  made = Picture()
  with matplotlib.rc_context(STYLE):
    made.figure = Figure((width, height), layout='constrained')
    yield made
    raw = io.StringIO()
    nothing = dict.fromkeys(('Creator', 'Date', 'Format', 'Type'))
    made.figure.savefig(raw, format='svg', metadata=nothing)
  made.svg = _embedded(raw.getvalue(), name)


def _embedded(svg: str, name: str) -> str:
  """Returns the element alone, without declarations or repeated ids."""
  svg = svg[svg.index('<svg') :].strip()
  svg = re.sub(r'<g id="[A-Za-z]+_[\d_]+"', '<g', svg)
  svg = re.sub(r' xmlns(:\w+)?="[^"]*"', '', svg)
  label = f'<svg role="img" aria-label="{html.text(name)}"'
  return html.inline(svg.replace('<svg', label, 1))


def grid(figure, count: int, columns: int, **kwargs) -> list:
  """Returns `count` axes, row by row; what is left of the last row is blank."""
  rows = math.ceil(count / columns)
  axes = figure.subplots(rows, columns, squeeze=False, **kwargs).ravel()
  for spare in axes[count:]:
    spare.set_axis_off()
  return list(axes[:count])


def shown(name: str) -> str:
  return 'fused' if name == 'joint' else name


def weight(shade: str) -> str:
  return 'bold' if shade == 'ink' else 'normal'
