"""What the adviser found, as tables for the terminal, Markdown and the page.

`found` is what advice.json holds. A number that is not known is NaN or None
there, and a dash here.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from mmjax import log
from mmjax._report_runs import values
from mmjax._report_tables import Table, plain

Found = Mapping[str, Any]
Cell = Mapping[str, Any]  # mean, low, high, values


def tables(found: Found) -> list[Table]:
  """Returns all that has something to tell."""
  made = (
    subsets(found),
    modalities(found),
    pairs(found),
    gammas(found),
    qualities(found),
    principle(found),
  )
  return [table for table in made if table.rows]


def subsets(found: Found) -> Table:
  """Subsets x sample sizes: accuracy, or risk where there is none; worth."""
  curves, counts = found['curves'], found['counts']
  right = bool(curves) and all(c.get('accuracy') for c in curves.values())
  cells = [c['accuracy' if right else 'risk'] for c in curves.values()]
  scale, places = (100, 1) if right else (1, digits(found))
  rows = [
    [name, *(spread(e, places, scale) for e in line), worth]
    for name, line, worth in zip(curves, cells, _worths(found))
  ]
  mean = np.array([[log.number(e['mean']) for e in line] for line in cells])
  merit = np.nan_to_num(mean if right else -mean, nan=-np.inf)
  best = merit.size and (merit == merit.max(0)) & np.isfinite(merit)
  several = found['num_seeds'] > 1
  over = f'Mean ± standard deviation over {found["num_seeds"]} seeds'
  what = 'Accuracy, in percent,' if right else f'Risk, in {unit(found)},'
  note = (
    'Columns are training examples. '
    f'{over if several else "One seed"}, on {found["sizes"]["test"]:,} test '
    'examples; the best of each column is bold. worth: how far the risk falls '
    f'below that of the best constant, '
    f'{number(found["constant"], digits(found))} {found["unit"]}.'
  )
  return Table(
    f'{what} of each subset of modalities',
    ['subset', *(f'{count:,}' for count in counts), 'worth'],
    rows,
    np.pad(best, ((0, 0), (1, 1))) if rows else np.zeros((0, 0), bool),
    [note],
  )


def _worths(found: Found) -> list[str]:
  last = [curve['risk'][-1] for curve in found['curves'].values()]
  constant = found['constant']
  return [
    spread(
      {
        'mean': constant - log.number(e['mean']),
        'values': list(constant - values(e)),
      },
      digits(found),
    )
    for e in last
  ]


VERDICTS = {
  'needed': 'the others cannot replace it',
  'replaceable': 'it tells something, but the others tell it too',
  'useless': 'it tells nothing, in any company',
  'harmful': 'the others are better off without it',
  'unclear': 'the intervals do not decide',
}


def modalities(found: Found) -> Table:
  """What each modality is worth, and from how many examples on."""
  told, places = found.get('modality') or {}, digits(found)
  whole = any(one.get('shapley') for one in told.values())
  rows = []
  for name, one in told.items():
    worth = [one['alone'], *[one.get('shapley')] * whole, one['gain']]
    cells = [within(e, places) for e in worth]
    rows.append([name, *cells, one['verdict'], begins(found, one.get('pays'))])
  notes = [
    f'In {unit(found)}, at {found["counts"][-1]:,} training '
    f'examples{level(found)}. alone: worth by itself. '
    + 'Shapley: what it adds on average over all orders of adding. '
    * whole
    + 'gain: what it adds to all others. pays from: the training examples '
    f'from which on its gain is above {number(least(found), places + 1)}; '
    '†: extrapolated by a power law.',
    'Verdicts: '
    + '; '.join(f'{name}, {why}' for name, why in VERDICTS.items())
    + f'. Worth counts from {number(found.get("margin"), places + 1)} on.',
  ]
  header = ['modality', 'alone', *['Shapley'] * whole, 'gain']
  header += ['verdict', 'pays from']
  return plain('What each modality is worth', header, rows, notes)


def begins(found: Found, pays: Cell | None) -> str:
  """Returns '340 (180 to 720)': the sample size where a modality pays."""
  if not pays:
    return '–'
  if pays['kind'] == 'not seen':
    return f'not up to {number(pays["horizon"], 0)}'
  if pays['kind'] == 'always':
    return f'≤ {found["counts"][0]:,}'
  text = number(pays['count'], 0) + '†' * (pays['kind'] == 'extrapolated')
  if found['num_seeds'] < 2:
    return text
  high = log.number(pays['high'])
  end, sign = (high, '') if math.isfinite(high) else (pays['horizon'], '> ')
  return f'{text} ({number(pays["low"], 0)} to {sign}{number(end, 0)})'


def least(found: Found) -> float:
  """Returns the gain from which on a modality pays."""
  half = log.number(found.get('margin')) / 2
  return log.number(found.get('least', half))


def pairs(found: Found) -> Table:
  """Whether two modalities say the same, or need one another."""
  rows = [
    [name, within(pair['interaction'], digits(found)), pair['verdict']]
    for name, pair in (found.get('pairs') or {}).items()
  ]
  note = (
    f'interaction: what the two are worth together beyond what each is worth '
    f'alone, on average over the company of others, in {unit(found)}'
    f'{level(found)}. Below 0 they say the same (redundant), above 0 one '
    'needs the other (synergistic).'
  )
  header = ['pair', 'interaction', 'verdict']
  return plain('Pairs of modalities', header, rows, [note])


def gammas(found: Found) -> Table:
  """Latent quality gained by adding a modality, beside what the test says."""
  told, places = found.get('gamma') or [], digits(found)
  right = any(one.get('accuracy_gain') for one in told)
  rows, agree = [], []
  for one in told:
    gamma = {'mean': one['value'], 'low': one['low'], 'high': one['high']}
    row = [_step(one), within(gamma, places), number(one['gain'], places, True)]
    row.append(within(one['risk_gain'], places, sign=True))
    shift = one.get('accuracy_gain')
    row += [within(shift, 1, 100, sign=True)] * right
    rows.append(row)
    by = log.number((shift if right else one['risk_gain'] or {}).get('mean'))
    agree.append(log.number(one['gain']) * by > 0)
  header = ['adding', 'gamma', 'gain', 'risk falls by']
  header += ['accuracy rises by, points'] * right
  note = (
    'gamma: how much worse the latents of the larger set serve the best head '
    f'that can be put on them, in {_loss(found)}{level(found)}; below 0 the '
    'larger set is better. gain is −gamma, the sign that the paper prints. The '
    'other columns are what the trained models show. Gain and '
    f'{"accuracy" if right else "risk"} point the same way in {sum(agree)} of '
    f'{len(agree)} steps.'
  )
  title = 'Latent representation quality against results'
  return plain(title, header, rows, [note])


def qualities(found: Found) -> Table:
  """eta of each subset's encoder."""
  places = digits(found)
  rows = [
    [name, within({**one, 'mean': one['eta']}, places)]
    + [number(one['risk'], places)]
    for name, one in (found.get('quality') or {}).items()
  ]
  source = (
    'the least that any model can have'
    if found.get('oracle_known')
    else 'the least that any of these has, as the true one is not known'
  )
  note = (
    f'eta: risk of the best head on frozen latents less that of the oracle, '
    f'{number(found.get("oracle"), places)} {_loss(found)}, {source}; 0 is '
    f'best{level(found)}.'
  )
  header = ['subset', 'eta', 'risk of the best head']
  return plain('Latent representation quality', header, rows, [note])


def principle(found: Found) -> Table:
  """Steps x sample sizes: both sides of the selection principle."""
  told, places = found.get('principle') or [], digits(found)
  rows, right = [], []
  for one in told:
    agree = [a == b for a, b in zip(one['prefers'], one['helps'])]
    right += agree
    sides = zip(one['gain'], one['price'], one['prefers'], agree)
    rows.append(
      [
        _step(one),
        *(
          f'{_over_seeds(gain, places)} {"≥" if prefers else "<"} '
          f'{_over_seeds(price, places)} {"✓" if agrees else "✗"}'
          for gain, price, prefers, agrees in sides
        ),
      ]
    )
  note = (
    f'Columns are training examples, sides in {_loss(found)}. Left: how far '
    'the training risk falls when '
    'the modality is added. Right: the price of the richer class of models. '
    'Both with the standard deviation over seeds. '
    'The principle adds the modality where the left side is at least the '
    'right. ✓: the test risk agrees, ✗: it does not; it agrees in '
    f'{sum(right)} of {len(right)} cases.'
  )
  header = ['adding', *(f'{count:,}' for count in found['counts'])]
  return plain('The selection principle', header, rows, [note])


def _over_seeds(one: Cell, places: int) -> str:
  values, text = one['values'], number(one['mean'], places)
  if len(values) < 2:
    return text
  return f'{text} ± {number(float(np.std(values, ddof=1)), places)}'


def _step(one: Cell) -> str:
  """Returns 'video to text+audio'."""
  inside = members(one['minus'])
  added = [name for name in members(one['of']) if name not in inside]
  return f'{"+".join(added)} to {one["minus"]}'


def unit(found: Found) -> str:
  """Returns 'nats', 'squared units', 'error rate': what worth is counted in."""
  return found['unit'].removeprefix('of the ')


def _loss(found: Found) -> str:
  return 'nats' if found['loss'] == 'cross_entropy' else 'squared units'


def level(found: Found) -> str:
  """Returns ', with 95 % intervals' where there are any."""
  cells = [curve['risk'][-1] for curve in found['curves'].values()]
  if not any(math.isfinite(log.number(e.get('low'))) for e in cells):
    return ', without intervals, which one seed has none of'
  return f', with {100 * found["level"]:g} % intervals'


def digits(found: Found) -> int:
  """Decimals that tell some thousandths of what can be explained."""
  constant = log.number(found['constant'])
  explained = log.number((found.get('explained') or {}).get('mean'))
  scale = constant if constant > 0 else 1.0
  if explained > 0.01 * scale:
    scale = explained
  return min(max(3 - math.ceil(math.log10(scale / 2)), 1), 9)


def number(value: Any, places: int, sign: bool = False) -> str:
  """Returns '−1,234.5', '–' for what is not known or not finite."""
  value = log.number(value)
  if not math.isfinite(value):
    return '–'
  huge = abs(value) >= 1e7
  text = f'{value:{"+" * sign}{".3g" if huge else f",.{places}f"}}'
  if not any(digit in '123456789' for digit in text):
    text = text.lstrip('+-')
  return text.replace('-', '−')


def spread(e: Cell | None, places: int, scale: float = 1) -> str:
  """Returns 'mean ± std' over seeds; of one seed the number alone."""
  value_S = scale * values(e)
  text = number(scale * log.number((e or {}).get('mean')), places)
  if len(value_S) < 2 or not np.isfinite(value_S).all():
    return text
  return f'{text} ± {number(value_S.std(ddof=1), places)}'


def within(
  e: Cell | None, places: int, scale: float = 1, sign: bool = False
) -> str:
  """Returns 'mean (low to high)'; without an interval the mean alone."""
  mean, low, high = (
    scale * log.number((e or {}).get(key)) for key in ('mean', 'low', 'high')
  )
  text = number(mean, places, sign)
  if not (math.isfinite(low) and math.isfinite(high)):
    return text
  return f'{text} ({number(low, places)} to {number(high, places)})'


def members(subset: str) -> Sequence[str]:
  return tuple(subset.split('+'))
