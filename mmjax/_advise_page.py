"""The page of the adviser: what to use, why, and everything behind it."""

import math

from mmjax import _advise_lattice as lattices
from mmjax import _advise_pictures as pictures
from mmjax import _report_html as html
from mmjax import log
from mmjax._advise_tables import (
  Found,
  digits,
  least,
  level,
  number,
  spread,
  tables,
  unit,
)
from mmjax._report_tables import Table

TITLE = 'Is one more modality worth it?'
LONG = 12  # rows; more are folded
FIRST = (
  'font-size:1.4rem;line-height:1.35;font-weight:650;margin:1.6rem 0 .6rem'
)


def page(found: Found) -> str:
  """Returns the whole document."""
  body = _recommendation(found)
  for title, part in (
    ('Every subset', _lattice(found)),
    ('With more examples', _curves(found)),
    ('Where a modality begins to pay', _crossings(found)),
    ('What each modality is worth', _worths(found)),
    ('The numbers', ''.join(_table(t, found) for t in tables(found))),
    ('Notes', ''.join(html.paragraph(n) for n in found.get('notes') or [])),
  ):
    body += html.section(title, part) if part else ''
  return html.page(TITLE, _facts(found), body)


def _facts(found: Found) -> str:
  """What was asked of which data."""
  classes = found.get('num_classes')
  sizes = (f'{n:,} {split}' for split, n in found['sizes'].items() if n)
  several = 's' if found['num_seeds'] > 1 else ''
  return ' · '.join(
    [
      found['name'],
      ', '.join(found['modalities']),
      f'{classes} classes' if classes else 'regression',
      f'{", ".join(sizes)} examples',
      f'{found["num_seeds"]} seed{several}',
    ]
  )


def _recommendation(found: Found) -> str:
  said = list(found.get('recommendation') or [])
  if not said:
    return html.missing(
      'There is no recommendation: it takes models of each modality alone and '
      f'of all together. Trained were {", ".join(found["curves"])}.'
    )
  first = f'<p style="{FIRST}">{html.text(said[0])}</p>'
  rest = ''.join(html.paragraph(sentence) for sentence in said[1:])
  return first + rest + html.tiles(_tiles(found))


def _tiles(found: Found) -> list[tuple[str, str, str]]:
  """The advice in numbers: what to use, and how much it explains."""
  best, full = '+'.join(found['best']), '+'.join(found['modalities'])
  made = [('use', best, 'c2')] if best and found.get('informative') else []
  explained = log.number((found.get('explained') or {}).get('mean'))
  constant = log.number(found['constant'])
  if math.isfinite(explained) and constant > 0:
    share = f'{number(100 * explained / constant, 0)} %'
    made.append(('of the risk explained at best', share, 'c0'))
  for subset, what in {best: 'with it', full: 'with all'}.items():
    right = found['curves'].get(subset, {}).get('accuracy')
    if right:
      name = f'accuracy {what}, %'
      made.append((name, spread(right[-1], 1, 100), 'ink'))
  return made


def _lattice(found: Found) -> str:
  return html.figure(
    lattices.lattice(found),
    f'Subsets at {found["counts"][-1]:,} training examples. worth: how far the '
    f'test risk falls below that of the best constant, in {unit(found)}; the '
    'deeper the blue, the more, and orange is worse than the constant. A line '
    'adds a modality; dashed, it adds several, as the subsets between were not '
    'trained. Green lowers the risk, orange raises it, grey changes it by no '
    'more than what counts; the thicker, the more. Ringed is the smallest '
    'subset that is as good as the best.'
    + (
      f' Of each size the {lattices.ROW} subsets that are worth most.'
      if lattices.is_cut(found)
      else ''
    ),
  )


def _curves(found: Found) -> str:
  if len(found['counts']) < 2:
    return html.missing('One sample size makes no curve.')
  crowded = len(found['curves']) > pictures.FEW
  body = html.figure(
    pictures.curves(found),
    'On the test examples; the number at a line is its last value'
    f'{level(found)}.'
    + (
      f' Of each size the best {pictures.NAMED} have a colour, and all '
      'modalities together are in ink.'
      if crowded
      else ''
    ),
  )
  right = all(curve.get('accuracy') for curve in found['curves'].values())
  if crowded and right:
    picture = pictures.curves(found, ['accuracy'])
    body += html.folded('The same in accuracy', picture)
  return body


def _crossings(found: Found) -> str:
  told = found.get('modality') or {}
  if len(found['counts']) < 2 or not any(m.get('gains') for m in told.values()):
    return ''
  return html.figure(
    pictures.crossings(found),
    'How far adding the modality to all others lowers the test risk'
    f'{level(found)}. Each panel has its own scale. The dashed line is the '
    f'least that counts as paying, {number(least(found), digits(found) + 1)} '
    f'{found["unit"]}, the ring where the gain begins to stay above it. Where '
    'it is shaded there are no measurements: a power law goes on from those '
    'that there are.',
  )


def _worths(found: Found) -> str:
  if not found.get('modality'):
    return ''
  return html.figure(
    pictures.worths(found),
    f'At {found["counts"][-1]:,} training examples{level(found)}. Alone: the '
    'modality by itself. Shapley value: what it adds on average over all '
    'orders of adding. Gain: what it adds to all others.',
  )


def _table(table: Table, found: Found) -> str:
  shades = pictures.shades(found)
  known = all(row[0] in shades for row in table.rows)
  dots = [shades[row[0]] for row in table.rows] if known else []
  dots = ['muted' if dot == 'ink' else dot for dot in dots]  # nor is it bold
  body = html.table(table.header, table.rows, dots, table.best.tolist())
  body += ''.join(html.paragraph(note, 'note') for note in table.notes)
  if len(table.rows) > LONG:
    return html.folded(f'{table.title} ({len(table.rows)} rows)', body)
  return html.part(table.title, body)
