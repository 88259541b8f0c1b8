"""The adviser's tables and page, over fabricated findings."""

import itertools
import json
import math
import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from report_test import Page

from mmjax import (
  _advise_lattice,
  _advise_page,
  _advise_pictures,
  _advise_tables,
  _report_formats,
)

NAMES = ('text', 'audio', 'video', 'depth', 'gaze', 'pulse')
COUNTS = (13, 40, 121, 400, 1209)


def estimate(values):
  """As the adviser writes it, of values over seeds."""
  values = [float(v) for v in values]
  mean, half = float(np.mean(values)), math.nan
  if len(values) > 1:
    half = 2.3 * float(np.std(values, ddof=1)) / math.sqrt(len(values))
  return dict(mean=mean, low=mean - half, high=mean + half, values=values)


def lattice(names, kind):
  every = [
    subset
    for size in range(1, len(names) + 1)
    for subset in itertools.combinations(names, size)
  ]
  prefixes = [names[:k] for k in range(1, len(names) + 1)]
  ends = [s for s in every if len(s) in (1, len(names) - 1, len(names))]
  kept = {'all': every, 'prefixes': prefixes, 'ends': ends}[kind]
  return kept + [(m,) for m in names if (m,) not in kept] * (kind != 'prefixes')


def findings(
  names=NAMES[:3], seeds=10, kind='all', counts=COUNTS, classes=2, scale=1.0
):
  """Findings of modalities that are worth ever less, and take more data."""
  rng = np.random.default_rng(len(names))
  constant = scale * (0.66 if classes else 1.0)
  share = {m: 0.5 ** (2 * i) for i, m in enumerate(names)}

  def risk(subset, n):
    left = np.prod([1 - 0.45 * share[m] for m in subset])
    cost = sum(0.25 + 0.3 * (1 - share[m]) for m in subset)
    mean = constant * (left + 1.3 * cost * n**-0.55)
    return mean + 0.006 * scale * rng.normal(size=seeds)

  risks = {
    s: np.array([risk(s, n) for n in counts]) for s in lattice(names, kind)
  }
  worth = {s: constant - r[-1] for s, r in risks.items()}
  curves = {
    '+'.join(s): dict(
      risk=[estimate(x) for x in r_LS],
      accuracy=[estimate(1 - 0.7 * x / scale) for x in r_LS]
      if classes
      else None,
    )
    for s, r_LS in risks.items()
  }
  whole, full = kind == 'all', tuple(names)
  pays = [
    dict(kind='always', count=13.0, low=13.0, high=13.0, share=1.0),
    dict(kind='measured', count=310.0, low=180.0, high=720.0, share=1.0),
    dict(
      kind='extrapolated', count=2400.0, low=990.0, high=math.inf, share=0.9
    ),
    dict(kind='not seen', count=math.nan, low=8800.0, high=math.inf, share=0.2),
  ]
  verdicts = ('needed', 'replaceable', 'unclear', 'useless', 'harmful')
  modality = {}
  for i, m in enumerate(names if kind != 'prefixes' else ()):
    rest = tuple(n for n in names if n != m)
    gain_LS = risks[rest] - risks[full] if rest else None
    modality[m] = dict(
      alone=estimate(worth[(m,)]),
      gain=estimate(gain_LS[-1] if rest else worth[full]),
      shapley=estimate(0.6 * worth[(m,)]) if whole else None,
      verdict=verdicts[i % 5],
      gains=[estimate(x) for x in gain_LS] if rest else [],
      pays={**pays[i % 4], 'horizon': 10.0 * counts[-1]} if rest else None,
    )
  edges = [
    (a, b)
    for a, b in itertools.product(risks, repeat=2)
    if set(b) < set(a)
    if len(a) == len(b) + 1
  ][:40]
  steps = [dict(of='+'.join(a), minus='+'.join(b)) for a, b in edges]
  return dict(
    name='cmu_mosi',
    loss='cross_entropy' if classes else 'squared_error',
    unit='nats' if classes else 'squared units',
    level=0.95,
    modalities=list(names),
    num_seeds=seeds,
    counts=list(counts),
    sizes=dict(train=counts[-1], validation=238, test=752),
    num_classes=classes,
    constant=constant,
    curves=curves,
    modality=modality,
    pairs={
      f'{a}+{b}': dict(
        interaction=estimate(scale * rng.normal(-0.03, 0.01, seeds)),
        verdict='redundant',
      )
      for a, b in itertools.combinations(names, 2)
      if whole
    },
    best=list(names[:1]),
    margin=0.004 * scale,
    informative=True,
    explained=estimate(worth[full]),
    quality={
      name: dict(
        eta=0.012 * i, low=0.010 * i, high=0.015 * i, risk=0.4 + i / 90
      )
      for i, name in enumerate(curves)
    },
    oracle=0.3871,
    oracle_known=False,
    gamma=[
      dict(
        step,
        value=-0.021 * scale,
        low=-0.034 * scale,
        high=0.002 * scale,
        gain=0.021 * scale,
        risk_gain=estimate(risks[b][-1] - risks[a][-1]),
        accuracy_gain=estimate(0.7 * (risks[b][-1] - risks[a][-1]))
        if classes
        else None,
      )
      for step, (a, b) in zip(steps, edges)
    ],
    principle=[
      dict(
        step,
        gain=[estimate(0.4 * x) for x in risks[b] - risks[a] + 0.05],
        price=[estimate(np.full(seeds, 3.0 / n**0.5)) for n in counts],
        prefers=[3.0 / n**0.5 < 0.1 for n in counts],
        helps=[bool(x.mean() > 0) for x in risks[b] - risks[a]],
      )
      for step, (a, b) in zip(steps, edges)
    ],
    recommendation=[
      'With 1,209 examples use text alone: adding audio to all others changes '
      'the risk by −0.0021 nats (95 % interval −0.0048 to 0.0007).',
      'audio begins to pay at about 310 examples (95 % interval 180 to 720).',
    ],
    notes=[
      '12 % of the models were still improving when their steps were over.'
    ],
  )


def rows(table):
  return {row[0]: row[1:] for row in table.rows}


def unknown(tree):
  """As read back from advice.json: what is not finite is null."""
  if isinstance(tree, dict):
    return {key: unknown(value) for key, value in tree.items()}
  if isinstance(tree, list):
    return [unknown(value) for value in tree]
  bad = isinstance(tree, float) and not math.isfinite(tree)
  return None if bad else tree


def drawn(found):
  """The page, checked for what no reader should see."""
  page = Page(_advise_page.page(found))
  words = set(page.text.replace('(', ' ').replace(')', ' ').split())
  assert not words & {'nan', 'None', 'inf', 'NaN', '−inf', '−nan'}
  assert all(link.startswith(('#', 'data:')) for link in page.links)
  return page


# Tables


def test_subsets_are_means_and_deviations_over_seeds():
  found = findings(NAMES[:2], seeds=2, counts=(20, 100))
  found['curves']['text']['accuracy'] = [estimate([0.7, 0.8]), estimate([1, 1])]
  found['curves']['text']['risk'][-1] = estimate([0.25, 0.35])
  table = _advise_tables.subsets(found)
  assert table.header == ['subset', '20', '100', 'worth']
  assert rows(table)['text'] == ['75.0 ± 7.1', '100.0 ± 0.0', '0.360 ± 0.071']
  assert table.title.startswith('Accuracy') and '752 test' in table.notes[0]


def test_the_best_of_each_column_leads():
  for classes in (2, 0):
    found = findings(NAMES[:3], classes=classes)
    table = _advise_tables.subsets(found)
    kind = 'accuracy' if classes else 'risk'
    for column in range(len(COUNTS)):
      mean = [c[kind][column]['mean'] for c in found['curves'].values()]
      best = np.argmax(mean) if classes else np.argmin(mean)
      assert np.flatnonzero(table.best[:, 1 + column]) == [best]
    assert not table.best[:, [0, -1]].any()


def test_a_column_without_any_number_has_no_best():
  found = findings(NAMES[:2])
  for curve in found['curves'].values():
    curve['accuracy'][0] = dict(mean=None, low=None, high=None, values=[None])
  table = _advise_tables.subsets(found)
  assert not table.best[:, 1].any() and table.best[:, 2].any()
  assert {row[1] for row in table.rows} == {'–'}


def test_modalities_are_told_with_intervals_and_verdicts():
  found = findings(NAMES[:4])
  found['modality']['audio']['gain'] = dict(
    mean=0.0314, low=-0.0012, high=0.064, values=[0.03, 0.0328]
  )
  told = rows(_advise_tables.modalities(found))
  assert told['audio'][2:4] == ['0.031 (−0.001 to 0.064)', 'replaceable']
  assert [line[-1] for line in told.values()] == [
    '≤ 13',
    '310 (180 to 720)',
    '2,400† (990 to > 12,090)',
    'not up to 12,090',
  ]


def test_without_the_whole_lattice_there_is_no_shapley_value():
  found = findings(NAMES[:4], kind='ends')
  table = _advise_tables.modalities(found)
  assert table.header == ['modality', 'alone', 'gain', 'verdict', 'pays from']
  assert not any('Shapley' in note for note in table.notes)
  assert 'Pairs' not in ' '.join(t.title for t in _advise_tables.tables(found))


def test_one_seed_has_neither_deviations_nor_intervals():
  found = findings(NAMES[:3], seeds=1)
  made = [_advise_tables.subsets(found), _advise_tables.modalities(found)]
  assert not [c for t in made for row in t.rows for c in row if '±' in c]
  assert not [c for row in made[1].rows for c in row if ' to ' in c]
  assert 'without intervals' in made[1].notes[0]


def test_gamma_counts_the_steps_that_agree_with_accuracy():
  found = findings(NAMES[:2])
  first, second = found['gamma']
  first |= dict(gain=0.02)
  first['accuracy_gain'] = dict(mean=0.045, low=-0.004, high=0.053, values=[])
  second |= dict(gain=-0.02, accuracy_gain=estimate([0.01, 0.02]))
  table = _advise_tables.gammas(found)
  assert rows(table)['audio to text'] == [
    '−0.021 (−0.034 to 0.002)',
    '+0.020',
    _advise_tables.within(first['risk_gain'], 3, sign=True),
    '+4.5 (−0.4 to 5.3)',
  ]
  assert 'Gain and accuracy point the same way in 1 of 2' in table.notes[0]


def test_the_principle_shows_both_sides_and_whether_the_test_agrees():
  found = findings(NAMES[:2], counts=(20, 100, 500))
  found['principle'] = [
    dict(
      of='text+audio',
      minus='text',
      gain=[estimate([x, x]) for x in (0.1, 0.2, 0.3)],
      price=[estimate([x, x]) for x in (0.4, 0.2, 0.1)],
      prefers=[False, True, True],
      helps=[True, True, False],
    )
  ]
  table = _advise_tables.principle(found)
  assert table.rows == [
    [
      'audio to text',
      '0.100 ± 0.000 < 0.400 ± 0.000 ✗',
      '0.200 ± 0.000 ≥ 0.200 ± 0.000 ✓',
      '0.300 ± 0.000 ≥ 0.100 ± 0.000 ✗',
    ]
  ]
  assert 'agrees in 1 of 3 cases' in table.notes[0]


def test_what_is_empty_is_left_out():
  found = findings(NAMES[:2], classes=0)
  found |= dict(modality={}, pairs={}, gamma=[], principle=[], quality=None)
  assert [t.title for t in _advise_tables.tables(found)] == [
    'Risk, in squared units, of each subset of modalities'
  ]


def test_tables_go_to_the_terminal_and_to_markdown():
  made = _advise_tables.tables(findings(NAMES[:3]))
  text = _report_formats.markdown(made)
  for table in made:
    assert table.best.shape == (len(table.rows), len(table.header))
    assert {len(row) for row in table.rows} == {len(table.header)}
    assert _report_formats.console(table).row_count == len(table.rows)
    assert all(cell in text for row in table.rows for cell in row)


@given(
  st.floats(-1e6, 1e6),
  st.integers(0, 6),
  st.booleans(),
)
def test_numbers_are_rounded_not_changed(value, places, sign):
  text = _advise_tables.number(value, places, sign)
  assert '-' not in text and not (set(text) <= set('−+0.,') and text[0] in '−+')
  read = float(text.replace('−', '-').replace(',', ''))
  assert abs(read - value) <= 0.5001 * 10**-places
  assert sign <= (text[0] in '+−' or read == 0)


@pytest.mark.parametrize('value', [None, math.nan, math.inf, -math.inf])
def test_what_is_not_known_is_a_dash(value):
  assert _advise_tables.number(value, 3) == '–'
  e = dict(mean=0.5, low=value, high=0.7, values=[0.5])
  assert _advise_tables.within(e, 2) == _advise_tables.spread(e, 2) == '0.50'


# Pictures


@pytest.mark.parametrize('count', [1, 2, 3, 4, 5])
def test_the_full_lattice_has_a_line_for_each_modality_added(count):
  names = ['+'.join(s) for s in lattice(NAMES[:count], 'all')]
  edges = _advise_lattice.covers(['', *names])
  assert len(edges) == count * 2 ** (count - 1)
  for a, b in edges:
    above, below = set(b.split('+')), set(a.split('+')) - {''}
    assert below < above and len(above - below) == 1


def test_lines_pass_over_subsets_that_were_not_trained():
  edges = _advise_lattice.covers(['', 'a', 'b', 'c', 'b+c', 'a+b+c'])
  assert set(edges) == {
    *(('', m) for m in 'abc'),
    *(('b', 'b+c'), ('c', 'b+c'), ('a', 'a+b+c'), ('b+c', 'a+b+c')),
  }
  found = findings(NAMES[:3], kind='prefixes')
  assert 'stroke-dasharray' not in _advise_lattice.lattice(found)
  del found['curves']['text+audio']
  assert 'stroke-dasharray' in _advise_lattice.lattice(found)


def test_lines_are_green_up_orange_down_and_grey_within_the_margin():
  found = findings(NAMES[:1])
  found['best'] = []
  risk = found['curves']['text']['risk'][-1]
  for gain, color in ((0.1, 'c2'), (-0.1, 'c1'), (0.003, 'muted')):
    risk['mean'] = found['constant'] - gain
    svg = _advise_lattice.lattice(found)
    assert re.findall(r'stroke: var\(--(\w+)\); stroke-opac', svg) == [color]


def test_the_best_subset_has_a_ring():
  found = findings(NAMES[:3])
  ring = 'stroke: var(--ink); stroke-width: 2.2'
  for best, rings in ([['audio', 'text'], 1], [[], 0]):
    found['best'] = best
    assert _advise_lattice.lattice(found).count(ring) == rings


@pytest.mark.parametrize('count', [2, 3, 5, 6])
def test_boxes_stand_apart_and_hold_their_text(count):
  from matplotlib.font_manager import FontProperties
  from matplotlib.textpath import TextPath

  long = (
    'gyroscope',
    'accelerometer',
    'microphone',
    'heart rate',
    'gps',
    'eda',
  )
  found = findings(long[:count], kind='ends' if count > 5 else 'all', seeds=1)
  nodes = _advise_lattice._nodes(found)
  for a, b in itertools.combinations(nodes.values(), 2):
    beside = abs(a.x - b.x) >= (a.width + b.width) / 2 + 0.02
    assert beside or abs(a.y - b.y) >= (a.height + b.height) / 2 + 0.3
  for node in nodes.values():
    assert 0 <= node.x - node.width / 2
    assert node.x + node.width / 2 <= _advise_lattice.WIDTH
  bold = FontProperties(weight='bold')
  for line in {line for node in nodes.values() for line in node.lines}:
    drawn = TextPath((0, 0), line, node.size, prop=bold).get_extents()
    assert drawn.width / 72 <= node.width, line


def test_of_a_wide_row_those_worth_most_are_drawn():
  found = findings(NAMES, seeds=1)
  last = {n: c['risk'][-1]['mean'] for n, c in found['curves'].items()}
  pairs = sorted((n for n in last if n.count('+') == 1), key=last.get)
  assert len(pairs) == 15 and _advise_lattice.is_cut(found)
  for best, others in (pairs[0], pairs[1:10]), (pairs[-1], pairs[:9]):
    found['best'] = best.split('+')[::-1]
    nodes = _advise_lattice._nodes(found)
    drawn = {name for name in nodes if name.count('+') == 1}
    assert drawn == {best, *others}
  assert not _advise_lattice.is_cut(findings(NAMES[:5], seeds=1))


@given(st.integers(16, 30), st.data())
def test_short_names_fit_and_stay_apart(width, data):
  size = data.draw(st.integers(2, 5))
  long = ('accelerometer', 'accelerator', 'video', 'heart rate', 'a')[:size]
  told = [
    _advise_pictures.short('+'.join(subset), long, width)
    for subset in lattice(long, 'all')
  ]
  assert all(len(name) <= width for name in told)
  if width > 20:
    assert len(set(told)) == len(told)


def test_what_was_not_measured_is_dashed_and_says_so():
  found = findings(NAMES[:2])
  for kind, said in (
    ('measured', 'pays from 310 (180 to 720)'),
    ('extrapolated', 'may pay from 2,400'),
    ('not seen', 'not seen to pay up to 12,090'),
    ('always', 'pays from the smallest sample on'),
  ):
    one = findings(NAMES[:4])['modality']
    pays = next(m['pays'] for m in one.values() if m['pays']['kind'] == kind)
    found['modality'] = {'text': {**found['modality']['text'], 'pays': pays}}
    svg = _advise_pictures.crossings(found)
    beyond = kind in ('extrapolated', 'not seen')
    assert ('extrapolation' in svg) == beyond and said in svg
    assert ('>12,090<' in svg) == beyond


def test_few_subsets_share_a_panel_and_many_are_parted_by_size():
  few = _advise_pictures.curves(findings(NAMES[:3]))
  assert 'Risk, nats' in few and 'Accuracy, %' in few
  found = findings(NAMES[:4])
  many = _advise_pictures.curves(found, ['accuracy'])
  for title in ('1 modality', '2 modalities', '3 modalities'):
    assert f'Accuracy, {title}, %' in many
  last = {n: c['accuracy'][-1]['mean'] for n, c in found['curves'].items()}
  worst, *others = sorted((n for n in last if n.count('+') == 1), key=last.get)
  assert all(f'>{name} ' in many for name in others)
  assert f'>{worst} ' not in many


def test_a_risk_far_above_chance_does_not_flatten_the_rest():
  found = findings(NAMES[:2])
  found['curves']['audio']['risk'][0] = estimate([1e9, 3e9])
  found['curves']['audio']['risk'][1] = dict.fromkeys(('mean', 'low', 'high'))
  svg = _advise_pictures.curves(found, ['risk'])
  ticks = [float(t) for t in re.findall(r'>(\d+\.\d+)</text>', svg)]
  assert ticks and max(ticks) < 2


# The page


def test_the_page_holds_every_number_of_the_tables():
  found = findings(NAMES[:3])
  page = drawn(found)
  for table in _advise_tables.tables(found):
    assert table.title in page.text
    for cell in [*table.header, *itertools.chain(*table.rows), *table.notes]:
      assert ' '.join(cell.split()) in page.text, cell
  assert page.tags.count('svg') == 4 and page.tags.count('h1') == 1
  for sentence in found['recommendation'] + found['notes']:
    assert sentence in page.text
  first = page.text.index(found['recommendation'][0])
  assert first < page.text.index('Every subset')
  assert '1,209 train, 238 validation, 752 test examples' in page.text


def test_read_back_from_json_it_says_the_same():
  found = findings(NAMES[:2], seeds=1)
  found['modality']['audio']['pays'] |= dict(high=math.inf)
  again = json.loads(json.dumps(unknown(found), allow_nan=False))
  text = drawn(again).text
  for table in _advise_tables.tables(found):
    for cell in [*itertools.chain(*table.rows), *table.notes]:
      assert ' '.join(cell.split()) in text, cell


def test_names_are_text_never_markup():
  evil = ('<u>$x_{1}$&"', "</table><script>'")
  found = findings(evil)
  found |= dict(name='<b>', recommendation=['<em>'], notes=['<kbd>'])
  page = drawn(found)
  assert all(word in page.text for word in (*evil, '<b>', '<em>', '<kbd>'))
  assert not {'u', 'script', 'em', 'kbd'} & set(page.tags)


@pytest.mark.parametrize(
  ('pictures', 'options'),
  [
    (3, dict(names=NAMES[:1])),
    (4, dict(names=NAMES[:3], seeds=2, classes=0, scale=300.0)),
    (2, dict(names=NAMES[:4], kind='prefixes')),
    (5, dict(names=NAMES[:5], kind='ends', counts=(50, 60))),
    (2, dict(names=NAMES[:2], counts=(1209,))),
  ],
)
def test_every_kind_of_findings_is_drawn(pictures, options):
  found = findings(**options)
  if not found['modality']:
    found['best'] = []
    for key in ('recommendation', 'margin', 'informative', 'explained'):
      del found[key]
  page = drawn(found)
  assert page.tags.count('svg') == pictures
  said = 'There is no recommendation' in page.text
  assert said == ('recommendation' not in found)


def test_data_that_say_nothing_are_not_told_to_be_used():
  found = findings(NAMES[:2])
  found |= dict(informative=False, margin=0.0)
  found['explained'] = dict(mean=-0.01, low=-0.02, high=0.0, values=[])
  page = drawn(found)
  assert 'text use' not in page.text and '−2 %' in page.text
