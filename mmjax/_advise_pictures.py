"""Pictures of what the adviser found; `found` is what advice.json holds."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from mmjax import _report_html as html
from mmjax import log
from mmjax._advise_tables import (
  Found,
  begins,
  digits,
  least,
  members,
  number,
  unit,
)
from mmjax._report_canvas import (
  DASHES,
  INK,
  MUTED,
  PAPER,
  WIDTH,
  grid,
  picture,
  weight,
)
from mmjax._report_curves import apart
from mmjax.lab import curves as laws

FEW = 8  # subsets that share a panel, each in its colour
NAMED = 5  # lines of a crowded panel that have a colour and a name


def shades(found: Found) -> dict[str, str]:
  """A colour for each subset: modalities first, all of them together in ink."""
  names, full = found['modalities'], '+'.join(found['modalities'])
  others = [name for name in found['curves'] if name not in (*names, full)]
  crowded = len(found['curves']) > FEW
  made = {**html.palette(names), full: 'ink'}
  free = html.SERIES[len(names) :] or html.SERIES
  return made | {
    name: 'muted' if crowded else free[i % len(free)]
    for i, name in enumerate(others)
  }


def short(subset: str, names: Sequence[str], width: int = 20) -> str:
  """A name for a subset that is no longer than `width` characters."""
  inside = members(subset)
  out = [name for name in names if name not in inside]
  if len(names) > 2 and not out:
    return 'all'
  if len(names) > 3 and len(out) == 1:
    return f'all but {short(out[0], names, width - 8)}'
  if len(subset) <= width:
    return subset
  for keep in range(width, 1, -1):
    for cut in (lambda s, n: f'{s[:n]}.', lambda s, n: f'.{s[-n:]}'):
      brief = {s: s if len(s) <= keep + 1 else cut(s, keep) for s in names}
      text = '+'.join(brief.get(s, s) for s in inside)
      if len(text) <= width and len(set(brief.values())) == len(names):
        return text
  return f'{subset[: width - 1]}…'


def series(cells: Sequence[Mapping[str, Any]], scale: float = 1) -> np.ndarray:
  """f64[3, L]: mean, low and high of each; without an interval the mean."""
  told_3L = scale * np.array(
    [[log.number(e.get(key)) for e in cells] for key in ('mean', 'low', 'high')]
  )
  unknown_L = ~np.isfinite(told_3L).all(0)
  return np.where(unknown_L, told_3L[:1], told_3L)


def curves(found: Found, measures: Sequence[str] = ('risk', 'accuracy')) -> str:
  """Draws learning curves; many subsets get a panel for each size.

  Args:
    found: with two sample sizes or more.
    measures: of which each has its panel, or only the first if there are many
      subsets.
  """
  shade, names = shades(found), list(found['curves'])
  panels = [
    (measure.capitalize(), measure, names)
    for measure in measures
    if all(curve.get(measure) for curve in found['curves'].values())
  ]
  if len(names) > FEW:
    panels = _by_size(found, measures[0])
  columns = min(3 if len(panels) % 3 == 0 else 2, len(panels))
  height = 3.3 * math.ceil(len(panels) / columns)
  with picture(WIDTH, height, 'Learning curves') as made:
    made.figure.get_layout_engine().set(h_pad=0.1)
    axes_P = grid(made.figure, len(panels), columns)
    for axes, (title, measure, inside) in zip(axes_P, panels):
      _panel(axes, found, measure, inside, shade)
      axes.set_title(f'{title}, {_unit(found, measure)}')
  return made.svg


def _unit(found: Found, measure: str) -> str:
  return unit(found) if measure == 'risk' else '%'


def _by_size(found: Found, measure: str) -> list[tuple[str, str, list[str]]]:
  """Panels by the number of modalities; all together stand in each."""
  full, panels = '+'.join(found['modalities']), {}
  for name in found['curves']:
    if name != full:
      panels.setdefault(len(members(name)), []).append(name)
  several = {size: f'{size} modalities' for size in panels} | {1: '1 modality'}
  last = [full] if full in found['curves'] else []
  return [
    (f'{measure.capitalize()}, {several[size]}', measure, names + last)
    for size, names in sorted(panels.items())
  ]


def _panel(axes, found: Found, measure: str, names, shade) -> None:
  counts, scale = found['counts'], 1 if measure == 'risk' else 100
  line = {name: series(found['curves'][name][measure], scale) for name in names}
  line = {k: v for k, v in line.items() if np.isfinite(v[0]).any()}
  final = {k: v[0][np.isfinite(v[0])][-1] for k, v in line.items()}
  best = sorted(final, key=lambda k: final[k] if scale == 1 else -final[k])
  tint, told = _tints(best, shade)
  _frame(axes, found, measure, [v[0] for v in line.values()])
  for name, (mean_L, low_L, high_L) in line.items():
    front, color = name in told, html.color(tint[name])
    style: dict = {'color': color, 'alpha': 1 if front else 0.45}
    style |= {'zorder': 2 + front, 'lw': 2 if tint[name] == 'ink' else 1.5}
    axes.plot(counts, mean_L, marker='o', ms=3, **style)
    if front:
      axes.fill_between(counts, low_L, high_L, color=color, alpha=0.12, lw=0)
  ends = {k: (short(k, found['modalities']), final[k], tint[k]) for k in told}
  if scale == 1:
    ends[''] = 'constant', log.number(found['constant']), 'muted'
  _ends(
    axes, counts[-1], list(ends.values()), 1 if scale > 1 else digits(found)
  )
  _sizes(axes, counts, counts[-1])


def _tints(best: Sequence[str], shade: Mapping[str, str]):
  """Colours, and the names that are told, of lines from the best on."""
  if all(shade[name] != 'muted' for name in best):
    return shade, list(best)
  alone = [name for name in best if shade[name] == 'ink']
  front = [name for name in best if name not in alone][:NAMED]
  free = html.SERIES[: len(front)]
  return {**shade, **dict(zip(front, free))}, alone + front


def _frame(axes, found: Found, measure: str, means) -> None:
  """Bounds that neither wide bands nor a risk far above chance can stretch."""
  flat = np.concatenate([*means, []])
  flat = flat[np.isfinite(flat)]
  low, high = (flat.min(), flat.max()) if len(flat) else (0.0, 1.0)
  if measure == 'risk':
    constant = log.number(found['constant'])
    reach = constant + 1.5 * max(constant - low, 0.05 * abs(constant))
    high = max(constant, min(high, reach))
    axes.axhline(constant, color=MUTED, lw=0.9, ls=DASHES)
  room = 0.12 * max(high - low, 1e-3 * max(abs(high), 1e-9))
  axes.set_ylim(low - room, high + room)


def _ends(axes, x: float, ends, places: int) -> None:
  """Names and numbers (name, value, shade) where the lines end."""
  low, high = axes.get_ylim()
  bounds = low + 0.05 * (high - low), high
  values = np.clip([value for _, value, _ in ends], *bounds)
  for (name, value, shade), y in zip(ends, apart(values.tolist(), *bounds)):
    axes.annotate(
      f'{name}  {number(value, places)}',
      (x, y),
      (7, 0),
      textcoords='offset points',
      va='center',
      size=8,
      color=html.color(shade),
      weight=weight(shade),
      annotation_clip=False,
    )


def _sizes(axes, counts: Sequence[float], end: float) -> None:
  """A logarithmic axis with the sample sizes that there were."""
  from matplotlib.ticker import NullLocator

  start = counts[0]
  span = math.log(end / start) or 1.0
  kept = [end]
  for count in reversed(counts):
    if math.log(kept[-1] / count) > 0.11 * span:
      kept.append(count)
  axes.set_xscale('log')
  axes.set_xlim(start * math.exp(-0.02 * span), end * math.exp(0.02 * span))
  axes.set_xticks(kept, [f'{count:,.0f}' for count in kept])
  axes.xaxis.set_minor_locator(NullLocator())
  axes.set_xlabel('training examples')


def crossings(found: Found) -> str:
  """Draws what each modality adds to all others over the sample sizes.

  Beyond the largest sample speaks the power law of `lab.curves`, dashed.
  """
  told = {m: one for m, one in found['modality'].items() if one.get('gains')}
  columns = min(3 if len(told) % 3 in (0, 2) else 2, len(told))
  rows = math.ceil(len(told) / columns)
  shade = shades(found)
  with picture(WIDTH * max(columns, 2) / 3, 2.9 * rows, 'Gains') as made:
    made.figure.get_layout_engine().set(h_pad=0.1)
    axes_P = grid(made.figure, len(told), columns)
    for axes, (m, one) in zip(axes_P, told.items()):
      title, color = f'{short(m, [m])}: {one["verdict"]}', html.color(shade[m])
      _gain(axes, found, one, color)
      axes.set_title(title, pad=17, color=color)
      text = _when(found, one.get('pays'))
      style: dict = {'size': 8, 'color': MUTED, 'va': 'bottom'}
      axes.text(0, 1.02, text, transform=axes.transAxes, **style)
    axes_P[0].set_ylabel(f'gain, {unit(found)}')
  return made.svg


def _when(found: Found, pays: Mapping[str, Any] | None) -> str:
  kind, at = (pays or {}).get('kind', ''), begins(found, pays)
  said = {
    'always': 'pays from the smallest sample on',
    'not seen': f'not seen to pay{at.removeprefix("not")}',
    'extrapolated': f'may pay from {at.replace("†", "")}',
  }
  return said.get(kind, f'pays from {at}' if pays else '')


def _gain(axes, found: Found, one: Mapping[str, Any], color: str) -> None:
  counts, pays = found['counts'], one.get('pays') or {}
  mean_L, low_L, high_L = series(one['gains'])
  beyond, law = _law(counts, mean_L, pays)
  end = beyond[-1] if len(beyond) else counts[-1]
  axes.axhline(0, color=MUTED, lw=0.8)
  axes.axhline(least(found), color=MUTED, lw=0.9, ls=DASHES)
  axes.fill_between(counts, low_L, high_L, color=color, alpha=0.15, lw=0)
  axes.plot(counts, mean_L, color=color, lw=1.8, marker='o', ms=3.5, zorder=3)
  if len(beyond):
    axes.axvspan(counts[-1], end, color=MUTED, alpha=0.09, lw=0)
    axes.plot(beyond, law, color=color, lw=1.8, ls=DASHES, zorder=3)
    axes.annotate(
      'extrapolation',
      (math.sqrt(counts[-1] * end), 1),
      (0, -4),
      xycoords=('data', 'axes fraction'),
      textcoords='offset points',
      ha='center',
      va='top',
      size=8,
      color=MUTED,
    )
  _bounds(axes, found, np.concatenate([mean_L, law]))
  _sizes(axes, counts, end)
  _point(axes, found, pays, end)


def _law(counts, mean_L: np.ndarray, pays: Mapping[str, Any]):
  """Sample sizes beyond the largest, and the gain that is expected there."""
  high, horizon = (log.number(pays.get(k)) for k in ('high', 'horizon'))
  if high <= counts[-1] or not horizon > counts[-1] or len(counts) < 3:
    return np.zeros(0), np.zeros(0)
  beyond = np.geomspace(counts[-1], horizon, 60)
  if not np.isfinite(mean_L).all():
    return beyond, np.full(60, np.nan)
  return beyond, laws.power_law(counts, mean_L)(beyond)


def _bounds(axes, found: Found, gain: np.ndarray) -> None:
  """Bounds in which what happens near `least` can be seen."""
  gain = np.append(gain[np.isfinite(gain)], 0.0)
  floor = np.nan_to_num(least(found))
  high = max(gain.max(), 3 * floor, 0.2 * -gain.min(), 1e-9)
  low = max(gain.min(), -2.5 * high)
  room = 0.12 * (high - low)
  axes.set_ylim(min(low, 0) - room, high + 1.6 * room)
  axes.locator_params(axis='y', nbins=6)


def _point(axes, found: Found, pays: Mapping[str, Any], end: float) -> None:
  """Where it begins to pay, with the interval as a bar."""
  at, low, high = (log.number(pays.get(k)) for k in ('count', 'low', 'high'))
  if pays.get('kind') == 'always' or not math.isfinite(at + least(found)):
    return
  y, ring = least(found), {'color': PAPER, 'ec': INK, 'lw': 1.6}
  if found['num_seeds'] > 1 and math.isfinite(low):
    stop = high if math.isfinite(high) else end
    axes.plot([low, stop], [y, y], color=INK, lw=2.4, zorder=4, alpha=0.8)
    if not math.isfinite(high):
      axes.plot(stop, y, marker='>', color=INK, ms=6, zorder=4, clip_on=False)
  axes.scatter(at, y, 44, **ring, zorder=5)


def worths(found: Found) -> str:
  """Draws what each modality is worth: alone, shared out, and added last."""
  told, shade = found['modality'], shades(found)
  titles = {
    'alone': 'Alone',
    'shapley': 'Shapley value',
    'gain': 'Gain over all others',
  }
  panels = {
    key: {m: one[key] for m, one in told.items()}
    for key in titles
    if all(one.get(key) for one in told.values())
  }
  tall = series([e for cells in panels.values() for e in cells.values()])
  mean = np.append(tall[0][np.isfinite(tall[0])], 0.0)
  reach = 0.6 * max(np.ptp(mean), 1e-9)
  low = max(min(np.nan_to_num(tall[1]).min(), 0), mean.min() - reach)
  high = min(np.nan_to_num(tall[2]).max(), mean.max() + reach)
  with picture(WIDTH, 0.85 + 0.42 * len(told), 'Worth') as made:
    axes_P = grid(made.figure, len(panels), len(panels), sharey=True)
    for axes, (key, cells) in zip(axes_P, panels.items()):
      for row, (m, e) in enumerate(cells.items()):
        _bar(axes, row, e, html.color(shade[m]), (low, high), digits(found))
      axes.axvline(0, color=MUTED, lw=0.8)
      axes.set_title(f'{titles[key]}, {unit(found)}')
      axes.set_xlim(low, high + 0.55 * (high - low))
      axes.grid(axis='y', visible=False)
      axes.spines['left'].set_visible(False)
      axes.locator_params(axis='x', nbins=5)
    axes_P[0].set_yticks(range(len(told)), [short(m, [m]) for m in told])
    axes_P[0].set_ylim(len(told) - 0.5, -0.5)
  return made.svg


def _bar(axes, row: int, e, color: str, bounds, places: int) -> None:
  (mean,), (low,), (high,) = series([e])
  if not math.isfinite(mean):
    return
  axes.barh(row, mean, 0.56, color=color, lw=0)
  low, high = np.clip([low, high], *bounds)
  axes.plot([low, high], [row, row], color=INK, lw=1.4)
  axes.annotate(
    number(mean, places),
    (max(high, 0), row),
    (5, 0),
    textcoords='offset points',
    va='center',
    size=8,
  )
