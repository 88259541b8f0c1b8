"""The lattice of subsets as a picture."""

import collections
import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from mmjax import _report_html as html
from mmjax import log
from mmjax._advise_pictures import short
from mmjax._advise_tables import (
  Found,
  digits,
  members,
  number,
)
from mmjax._report_canvas import (
  DASHES,
  INK,
  MUTED,
  PAPER,
  WIDTH,
  picture,
)


class Node(NamedTuple):
  """A subset as a box, in inches; '' is the empty one."""

  members: int
  lines: list[str]  # the names in it, then its numbers
  named: int  # lines that are names
  size: float  # of the text, in points
  x: float
  y: float  # of its middle
  width: float
  height: float


ROW = 10  # boxes that stand side by side
LINE = 1.45 / 72  # from line to line: inches by points of the text


def lattice(found: Found) -> str:
  """Draws the subsets, larger ones above; a line adds what they differ in."""
  worth, nodes = _worth(found), _nodes(found)
  edges = {(a, b): worth[b] - worth[a] for a, b in covers(list(nodes))}
  if is_cut(found):  # what is between them may be trained, and not drawn
    edges = {
      (a, b): gain
      for (a, b), gain in edges.items()
      if nodes[b].members == nodes[a].members + 1
    }
  most = max([abs(g) for g in edges.values() if math.isfinite(g)], default=0)
  deepest = max([w for w in worth.values() if w > 0], default=1.0)
  width = max(node.x + node.width / 2 for node in nodes.values()) + 0.06
  height = max(node.y + node.height / 2 for node in nodes.values()) + 0.06
  with picture(width, height, 'Lattice of subsets') as made:
    axes = made.figure.subplots()
    made.figure.set_layout_engine('none')
    axes.set_position((0, 0, 1, 1))
    axes.set_axis_off()
    axes.set(xlim=(0, width), ylim=(0, height))
    for (a, b), gain in edges.items():
      share = min(abs(np.nan_to_num(gain)) / (most or 1), 1)
      _line(axes, found, nodes[a], nodes[b], gain, share, len(edges) <= 12)
    for name, node in nodes.items():
      ringed = bool(name) and set(members(name)) == set(found['best'])
      _box(axes, node, worth[name] / deepest, ringed)
  return made.svg


def is_cut(found: Found) -> bool:
  """Whether the lattice has more subsets of one size than are drawn."""
  sizes = collections.Counter(len(members(name)) for name in found['curves'])
  return max(sizes.values(), default=0) > ROW


def covers(names: Sequence[str]) -> list[tuple[str, str]]:
  """Pairs (smaller, larger) of subsets with none of `names` between them."""
  sets = {name: frozenset(members(name)) - {''} for name in names}
  below = {b: [a for a in names if sets[a] < sets[b]] for b in names}
  return [
    (a, b)
    for b, inside in below.items()
    for a in inside
    if not any(sets[a] < sets[c] for c in inside)
  ]


def _worth(found: Found) -> dict[str, float]:
  """Of each subset at the largest sample; '' is the best constant."""
  constant = log.number(found['constant'])
  return {'': 0.0} | {
    name: constant - log.number(curve['risk'][-1].get('mean'))
    for name, curve in found['curves'].items()
  }


def _nodes(found: Found) -> dict[str, Node]:
  """Boxes in rows by size; of a wide row those that are worth most."""
  worth, rows = _worth(found), {0: ['']}
  for name in found['curves']:
    rows.setdefault(len(members(name)), []).append(name)
  for size, row in rows.items():
    rank = sorted(row, key=lambda s: -np.nan_to_num(worth[s], nan=-np.inf))
    best = [s for s in row if set(members(s)) == set(found['best'])]
    kept = list(dict.fromkeys(best + rank))[:ROW]
    rows[size] = [s for s in row if s in kept]
  widest = max(map(len, rows.values()))
  pitch = min(2.4, WIDTH / widest)
  size = 9 if pitch > 1.5 else 7.5
  wide, centre = 0.9 * pitch, max(pitch * widest, 3.6) / 2
  gap = 0.75 if widest < 4 else 0.45 + 0.07 * widest
  bottom, made = 0.06, {}
  for count, row in sorted(rows.items()):
    room = int((72 * wide - 8) / (0.7 * size))
    told = [_lines(found, name, worth[name], room) for name in row]
    height = LINE * size * max(len(a) + len(b) for a, b in told) + 0.14
    for i, (name, (names, numbers)) in enumerate(zip(row, told)):
      x = centre + pitch * (i - (len(row) - 1) / 2)
      y = bottom + height / 2
      text = count, names + numbers, len(names), size
      made[name] = Node(*text, x, y, wide, height)
    bottom += height + gap
  return made


def _lines(found: Found, name: str, worth: float, room: int):
  """The names in a box, and its numbers, as lines."""
  places = digits(found)
  if not name:
    return ['nothing'], [f'risk {number(found["constant"], places)}']
  names, inside = [''], members(name)
  out = [m for m in found['modalities'] if m not in inside]
  brief = [short(m, [m], room - 1) for m in inside]
  if len(brief) > 4 and len(out) < 2:  # there is no room for all of them
    brief = ['all but ', short(out[0], out, room - 1)] if out else ['all']
  for i, word in enumerate(brief):
    word += '+' if i + 1 < len(brief) and brief[0] != 'all but ' else ''
    if names[-1] and len(names[-1] + word) > room:
      names.append('')
    names[-1] += word
  numbers = [f'worth {number(worth, places)}']
  right = found['curves'][name].get('accuracy')
  if right:
    share = number(100 * log.number(right[-1].get('mean')), 1)
    numbers.insert(0, f'{share} %')
  return names, numbers


def _box(axes, node: Node, share: float, ringed: bool) -> None:
  """Blue as deep as it is worth; orange below the constant."""
  from matplotlib.patches import FancyBboxPatch

  corner = node.x - node.width / 2 + 0.05, node.y - node.height / 2 + 0.05
  size = node.width - 0.1, node.height - 0.1
  share = np.nan_to_num(share)
  tint = html.color('c0' if share >= 0 else 'c1')
  depth = 0.42 * min(abs(share), 1) if share >= 0 else 0.2
  edge = {'ec': INK, 'lw': 2.2} if ringed else {'ec': MUTED, 'lw': 0.7}
  layers: list[dict] = [
    {'fc': PAPER, 'ec': 'none'},
    {'fc': tint, 'ec': 'none', 'alpha': depth},
    {'fc': 'none', **edge},
  ]
  for style in layers:
    style |= {'boxstyle': 'round,pad=0.05', 'zorder': 3}
    axes.add_patch(FancyBboxPatch(corner, *size, **style))
  step = LINE * node.size
  top = node.y + step * (len(node.lines) - 1) / 2
  for i, line in enumerate(node.lines):
    heavy = 'bold' if i < node.named else 'normal'
    style = {'size': node.size, 'weight': heavy, 'color': INK, 'zorder': 4}
    style |= {'ha': 'center', 'va': 'center'}
    axes.text(node.x, top - step * i, line, **style)


def _line(
  axes, found: Found, low: Node, high: Node, gain: float, share: float, told
) -> None:
  """From a smaller subset up to a larger one."""
  x, y0, y1 = (low.x, high.x), low.y + low.height / 2, high.y - high.height / 2
  color, thick = MUTED, 0.7 + 4 * math.sqrt(share)
  if abs(gain) > np.nan_to_num(log.number(found.get('margin'))):
    color = html.color('c2' if gain > 0 else 'c1')
  style: dict = {'color': color, 'lw': thick, 'alpha': 0.7, 'zorder': thick / 9}
  if high.members - low.members > 1:
    style |= {'lw': 0.9, 'ls': DASHES, 'zorder': 0}
  axes.plot(x, (y0, y1), **style)
  if told:
    at = 0.33  # lines that cross are still apart here
    axes.text(
      x[0] + at * (x[1] - x[0]),
      y0 + at * (y1 - y0),
      number(gain, digits(found), True),
      ha='center',
      va='center',
      size=7.5,
      color=color,
      zorder=2,
      bbox={'fc': PAPER, 'ec': 'none', 'alpha': 0.9, 'pad': 0.8},
    )
