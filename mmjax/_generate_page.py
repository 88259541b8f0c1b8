"""The page: what was generated, and who recognised it."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from mmjax import _report_html as html
from mmjax import _report_pictures as reports
from mmjax._report_tables import Table, plain

Found = Mapping[str, Any]
ROLES = ('condition', 'source', 'shuffled')
TITLE = 'Pictures from another modality'
MOST = 40  # classes of a confusion matrix


def page(found: Found, made: Mapping[str, np.ndarray], svg: str) -> str:
  """Returns the whole document."""
  body = html.tiles(_tiles(found))
  body += html.paragraph(_what(found))
  for title, part in (
    ('Generated', html.figure(svg, _caption(found))),
    ('Class by class', _shown(classes(found))),
    ('Asked for and recognised', _confusion(found, made)),
    ('Are they many, are they new?', _shown(varieties(found))),
    ('Settings', _settings(found)),
  ):
    body += html.section(title, part) if part else ''
  return html.page(TITLE, _facts(found), body)


def tables(found: Found) -> list[Table]:
  """What the terminal shows."""
  return [classes(found), varieties(found)]


def names(found: Found) -> dict[str, str]:
  """What each role is called."""
  return {
    'real': 'real',
    'condition': f'from {found["condition"]}',
    'source': f'from {found["source"]}',
    'shuffled': f'{found["source"]} of others',
  }


def classes(found: Found) -> Table:
  """Classes x (real, condition, source, shuffled): percent recognised."""
  called = names(found)
  told = {'real': found['judge'], **found['recognised']}
  rows = [
    [name, *(percent(told[role]['classes'].get(name)) for role in called)]
    for name in found['class_names']
  ]
  rows = [row for row in rows if any(cell != '–' for cell in row[1:])]
  rows.append(['all', *(percent(told[role]['mean']) for role in called)])
  test = found['sizes']['test']
  note = (
    f'Percent of pictures in which a classifier of real pictures (a support '
    f'vector machine on {found["sizes"]["train"]:,} training pictures) sees the '
    f'class asked for; {test:,} examples of test, {found["entries"]:,} of them '
    f'different in {found["source"]}. real: the pictures of test themselves. '
    f'{called["shuffled"]}: a control, each picture judged by the class of '
    'another example than the one it was made from.'
  )
  header = ['class', *called.values()]
  return plain('Recognised, in percent', header, rows, [note])


def varieties(found: Found) -> Table:
  """Spread within classes and distance to training, generated and real."""
  called = names(found)
  rows = [
    [called[role], f'{told["spread"]:.3f}', f'{told["nearest"]:.2f}']
    for role, told in found['variety'].items()
  ]
  note = (
    'spread: standard deviation of a pixel among pictures of one class, mean '
    'over pixels and classes; far less than that of real pictures means that '
    'they repeat. to the nearest: distance to the nearest training picture, '
    'mean; far less than that of real pictures means that they copy.'
  )
  header = ['pictures', 'spread', 'to the nearest']
  return plain('Variety', header, rows, [note])


def percent(value: float | None) -> str:
  return '–' if value is None else f'{100 * value:.1f}'


def _facts(found: Found) -> str:
  return ' · '.join(
    [
      found['name'],
      f'trained on {found["condition"]}, asked with {found["source"]}',
      f'{len(found["class_names"])} classes',
      f'{found["sizes"]["train"]:,} training examples',
    ]
  )


def _tiles(found: Found) -> list[tuple[str, str, str]]:
  told = found['recognised']
  return [
    (name, f'{percent(value)} %', shade)
    for name, value, shade in (
      (f'recognised, from {found["source"]}', told['source']['mean'], 'c2'),
      (f'from {found["condition"]}', told['condition']['mean'], 'c0'),
      ('control', told['shuffled']['mean'], 'c1'),
      ('real pictures', found['judge']['mean'], 'ink'),
    )
  ]


def _what(found: Found) -> str:
  interval = found['recognised']['source']
  return (
    f'The generator has seen embeddings of {found["condition"]} only. Asked with '
    f'embeddings of {found["source"]} from held-out examples, aligned to those '
    f'of {found["condition"]}, it draws pictures of which '
    f'{percent(interval["mean"])} % are recognised as what was asked for (95 % '
    f'interval {percent(interval["low"])} to {percent(interval["high"])}, as if '
    f'only the {found["entries"]:,} different ones had been asked). Of these '
    f'embeddings {percent(found["aligned"])} % are nearest to '
    f'{found["condition"]} of their own class; their cosine with that of their '
    f'own example is {found["cosine"]:.2f} on average.'
  )


def _caption(found: Found) -> str:
  return (
    f'A class in each row. First a real picture of test, then one generated from '
    f'{found["condition"]}, then from {found["source"]}, the first different '
    'ones of test, not chosen. Framed: the classifier sees what stands below.'
  )


def _confusion(found: Found, made: Mapping[str, np.ndarray]) -> str:
  kinds = found['class_names']
  if len(kinds) > MOST:
    return ''
  called, counts = names(found), {}
  for role in ('condition', 'source'):
    count_CC = np.zeros((len(kinds), len(kinds)), int)
    np.add.at(count_CC, (_labels(made), made[f'{role}/recognised']), 1)
    counts[called[role]] = count_CC
  shades = html.palette(list(counts))
  short = kinds if len(kinds) <= 12 else [str(i) for i in range(len(kinds))]
  return html.figure(
    reports.confusion(counts, short, shades),
    'True is the class asked for, predicted the one recognised; percent of each '
    'row.',
  )


def _labels(made: Mapping[str, np.ndarray]) -> np.ndarray:
  """Of generated pictures: several may be of one example."""
  label_N = made['label']
  return np.tile(label_N, len(made['source/recognised']) // len(label_N))


def _settings(found: Found) -> str:
  rows = [(name, _plain(value)) for name, value in found['settings'].items()]
  rows += [
    ('parameters', f'{found["parameters"]:,}'),
    *((f'seconds, {k}', f'{v:.0f}') for k, v in found['seconds'].items()),
  ]
  table = html.table(['setting', 'value'], rows, kind='plain')
  return html.folded('What was asked for', table)


def _plain(value: Any) -> str:
  if isinstance(value, Mapping):
    return ', '.join(f'{k}={v!r}' for k, v in value.items())
  return str(value)


def _shown(table: Table) -> str:
  notes: Sequence[str] = table.notes
  body = html.table(table.header, table.rows)
  return body + ''.join(html.paragraph(note, 'note') for note in notes)
