"""Runs side by side, over fabricated run folders."""

import csv
import io
import json
import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from report_test import Page, simulate
from scipy import stats

from mmjax import (
  _report_compare,
  _report_cost,
  _report_curves,
  _report_doubts,
  _report_formats,
  _report_groups,
  _report_load,
  _report_significance,
  _report_tables,
  log,
  report,
)

UNEVEN = (0.90, 0.80, 0.95)


def cell(values):
  known = [v for v in values if v is not None]
  whole = len(known) == len(values)
  std = float(np.std(values, ddof=1)) if whole and len(values) > 1 else 0.0
  return {
    'mean': float(np.mean(known)) if whole else None,
    'std': std if whole else None,
    'values': list(values),
  }


def write(
  folder,
  fused=UNEVEN,
  method='mla',
  head='shared',
  data='digits',
  modalities=('a', 'b'),
  unis=None,
  labels=None,
  more=(),
  cost=None,
  classes=('x', 'y'),
  **config,
):
  """A run folder of a few numbers; `fused` None: it was never finished."""
  folder.mkdir(parents=True)
  config = {
    'data': {'name': data},
    'method': {'name': method},
    'head': {'name': head},
    'phases': [['p', 10]],
    'seed': 0,
    'num_seeds': len(fused or UNEVEN),
    'batch_size': 8,
    **config,
  }
  record = {
    'config': config,
    'modalities': list(modalities),
    'class_names': list(classes),
  }
  (folder / 'config.json').write_text(json.dumps(record))
  if fused is not None:
    test = {m: {'accuracy': cell(unis or fused)} for m in modalities}
    test['joint'] = {'accuracy': cell(fused)}
    for path, values in dict(more).items():
      *parents, last = path.split('/')
      place = test
      for key in parents:
        place = place.setdefault(key, {})
      place[last] = cell(values)
    (folder / 'results.json').write_text(json.dumps({'test': test}))
  if labels is not None:
    labels = np.asarray(labels, np.int32)
    S = len(fused or UNEVEN)
    logits = np.stack([np.eye(len(classes))[labels]] * S).astype(np.float32)
    np.savez(
      folder / 'predictions_classification.npz',
      label=labels,
      **{'logits/joint': logits},
    )
  if cost is not None:
    (folder / 'cost.json').write_text(json.dumps(cost))
  return folder


def told(*folders, metric='accuracy', against='best'):
  return _report_compare.comparison(report.load_all(folders), metric, against)


def results(found, group=0):
  return found.each[group]['results']


def rows(table):
  return {row[0]: row[1:] for row in table.rows}


# Tables


def test_one_data_set_is_one_table(tmp_path):
  found = told(
    write(tmp_path / 'x', (0.5, 0.6, 0.7), method='joint', head='sum'),
    write(tmp_path / 'y', (0.9, 0.8, 0.9), unis=(0.1, 0.2, 0.3)),
  )
  assert found.overall is None
  table = results(found)
  assert table.header == ['run', 'a', 'b', 'fused', 'p']
  assert [row[0] for row in table.rows] == ['joint/sum', 'mla/shared']
  assert rows(table)['mla/shared'][0] == '20.0 ± 10.0'
  assert table.best.tolist() == [
    [False, True, True, False, False],
    [False, False, False, True, False],
  ]


def test_data_sets_stand_apart_and_ranks_are_their_mean(tmp_path):
  fused = {
    'u': {'m': (0.9, 0.8), 'n': (0.5, 0.6), 'o': (0.7, 0.7)},
    'v': {'m': (0.9, 0.8), 'n': (0.9, 0.8), 'o': (0.1, 0.2)},
  }
  folders = [
    write(tmp_path / d / m, values, method=m, data=d)
    for d, runs in fused.items()
    for m, values in runs.items()
  ]
  found = told(*folders)
  assert [group.name for group in found.groups] == ['u', 'v']
  assert found.overall.header == ['run', 'u', 'v', 'mean rank']
  ranks = {name: row[-1] for name, row in rows(found.overall).items()}
  # 1 and shared 1.5; 3 and shared 1.5; 2 and 3.
  assert ranks == {'m/shared': '1.25', 'n/shared': '2.25', 'o/shared': '2.50'}
  assert found.overall.best[:, -1].tolist() == [True, False, False]
  titles = [t.title for t in _report_compare.in_order(found)]
  assert titles[1:] == [f'{d}: Accuracy on test, in percent' for d in 'uv']


def test_methods_that_share_no_data_set_have_no_rank(tmp_path):
  table = told(
    write(tmp_path / 'x', data='u'),
    write(tmp_path / 'y', data='v', method='joint'),
  ).overall
  assert table.rows[0] == ['mla/shared', log.spread(cell(UNEVEN)), '–', '–']
  assert table.notes[0].startswith('No mean rank') and not table.best.any()


def test_a_smaller_calibration_error_leads(tmp_path):
  folders = [
    write(
      tmp_path / data / name,
      data=data,
      method=name,
      more={'joint/ece': (level, level + 0.01, level)},
    )
    for name, level in (('good', 0.1), ('bad', 0.3))
    for data in 'uv'
  ]
  found = told(*folders, metric='ece')
  assert found.verdicts[0].reference == 'good/shared'
  assert rows(found.overall)['good/shared'][-1] == '1.00'
  assert results(found).best[:, -2].tolist() == [True, False]


# What runs and data sets are called


def test_runs_of_one_method_are_called_by_their_folders(tmp_path):
  folders = [
    write(tmp_path / d / f, method=m, data=d)
    for d in 'uv'
    for f, m in (('plain', 'mla'), ('other', 'mla'), ('third', 'joint'))
  ]
  for group in told(*folders).groups:
    assert [r.name for r in group.runs] == ['plain', 'other', 'joint/shared']


def test_equal_folder_names_take_their_parents(tmp_path):
  folders = [write(tmp_path / f / 'run') for f in 'xy']
  (group,) = told(*folders).groups
  assert [r.name for r in group.runs] == ['x/run', 'y/run']


def test_data_sets_of_one_name_say_what_differs(tmp_path):
  found = told(
    write(tmp_path / '1', data='arrays'),
    *(
      write(tmp_path / name, **{'data': 'd', 'missing': rates})
      for name, rates in (
        ('2', dict(train=0.2, validation=0.2, test=0.2, seed=0)),
        ('3', dict(train=0.2, validation=0.2, test=0.2, seed=1)),
        ('4', dict(train=0.4, validation=0.0, test=0.0, seed=0)),
        ('5', dict(train=0.0, validation=0.0, test=0.0, seed=3)),
        ('6', dict()),
      )
    ),
  )
  assert [group.name for group in found.groups] == [
    'arrays',
    'd, 20 % missing (missing.seed=0)',
    'd, 20 % missing (missing.seed=1)',
    'd, missing 40 % in training',
    'd',  # nothing is missing, so its seed does not matter
  ]
  assert len(found.groups[-1].runs) == 2


def test_arrays_are_called_by_their_file(tmp_path):
  section = {'name': 'arrays', 'path': '/some/where/cmu_mosi/data.npz'}
  found = [_report_load.load(write(tmp_path / 'x', **{'data': 'd'}))]
  found[0].config['data'] = section
  assert _report_groups.data_name(found[0]) == 'cmu_mosi'
  section['path'] = '/some/where/birds.npz'
  assert _report_groups.data_name(found[0]) == 'birds'


def test_a_study_is_the_runs_below_it(tmp_path, monkeypatch, capsys):
  for data in 'uv':
    write(tmp_path / 'study' / data / 'mla', data=data)
    write(tmp_path / 'study' / data / 'joint', method='joint', data=data)
  (tmp_path / 'study' / 'notes').mkdir()
  monkeypatch.chdir(tmp_path)
  report.main(['study', 'study/u/mla', '--markdown', '--tables=overall'])
  said = capsys.readouterr().out
  assert said.startswith('**Fused accuracy by data set, in percent**')
  assert len(re.findall(r'^\| (?:mla|joint)/shared', said, re.M)) == 2
  assert not (tmp_path / 'compare.html').exists()


def test_a_folder_without_a_run_is_left_out_among_others(tmp_path):
  (tmp_path / 'empty').mkdir()
  run = write(tmp_path / 'x')
  with pytest.warns(UserWarning, match='empty holds no run and is left out'):
    assert len(report.load_all([run, tmp_path / 'empty'])) == 1
  with pytest.raises(ValueError, match='There is no run folder'):
    report.load_all([run, tmp_path / 'typo'])
  with pytest.raises(ValueError, match='holds no run'):
    report.load_all([tmp_path / 'empty'])


# Tests over seeds


def test_p_is_holms_over_all_data_sets(tmp_path):
  base = (0.90, 0.80, 0.95, 0.85)
  others = [(0.7, 0.75, 0.8, 0.7), (0.85, 0.7, 0.9, 0.9), (0.5, 0.2, 0.4, 0.1)]
  folders = [
    write(tmp_path / d / f'm{i}', values, method=f'm{i}', data=d)
    for d, some in (('u', others[:1]), ('v', others[1:]))
    for i, values in enumerate([base, *some])
  ]
  found = told(*folders, against='first')
  raw = [stats.ttest_rel(other, base).pvalue for other in others]
  order = np.argsort(raw)
  by_hand, floor = {}, 0.0
  for rank, i in enumerate(order):
    floor = max(floor, min(1.0, (3 - rank) * raw[i]))
    by_hand[i] = floor
  got = [p for verdict in found.verdicts for p in verdict.p.values()]
  np.testing.assert_allclose(got, [by_hand[i] for i in range(3)], rtol=1e-12)
  assert 'Holm-corrected for 3 comparisons' in results(found).notes[1]


def test_correction_leaves_out_what_is_unknown():
  got = _report_significance.corrected([0.01, np.nan, 0.04, 0.03])
  np.testing.assert_allclose(got, [0.03, np.nan, 0.06, 0.06])
  assert np.isnan(_report_significance.corrected([np.nan])).all()
  assert _report_significance.corrected([]) == []


def test_p_values_are_scipys_and_honest_without_spread():
  x_S, y_S = np.array(UNEVEN), np.array([0.7, 0.75, 0.8])
  p_value = _report_significance.p_value
  assert p_value(x_S, y_S, True) == stats.ttest_rel(x_S, y_S).pvalue
  welch = stats.ttest_ind(x_S, y_S, equal_var=False).pvalue
  assert p_value(x_S, y_S, False) == welch
  assert p_value(x_S, x_S, True) == 1
  assert np.isnan(p_value(x_S, x_S + 0.1, True))


@pytest.mark.parametrize(
  ('other', 'title'),
  [
    (dict(seed=7), 'Seeds differ'),
    (dict(order_seed=3), 'Seeds differ'),
    (dict(fused=(0.5, 0.2)), 'The numbers of seeds differ'),
  ],
)
def test_other_seeds_are_named_and_tested_unpaired(tmp_path, other, title):
  fused = other.pop('fused', (0.5, 0.6, 0.8))
  x = write(tmp_path / 'x')
  y = write(tmp_path / 'y', fused, method='joint', **other)
  found = told(x, y)
  table = results(found)
  welch = stats.ttest_ind(fused, UNEVEN, equal_var=False).pvalue
  assert rows(table)['joint/shared'][3] == f'{welch:.3f} †'
  assert "Welch's t-test (†: other seeds)" in table.notes[1]
  (doubt,) = table.doubts
  assert doubt.startswith(title) and '0–2 (mla/shared)' in doubt
  seeds = [_report_doubts.seeds_text(run) for run in report.load_all([x, y])]
  assert [row[-1] for row in table.rows] == seeds
  assert f'{seeds[1]} (joint/shared)' in doubt
  assert table.header[-1] == 'seeds' and len(table.best[0]) == 6


def test_one_seed_has_no_significance(tmp_path):
  found = told(*(write(tmp_path / x, (0.5,)) for x in 'xy'), against='first')
  assert [row[-1] for row in results(found).rows] == ['reference', '–']
  assert 'at least 2 seeds' in results(found).notes[1]


def test_against_a_run_by_label_or_folder(tmp_path):
  folders = [
    write(tmp_path / d / f, method=m, data=d)
    for d, f, m in (('u', 'x', 'mla'), ('u', 'y', 'joint'), ('v', 'z', 'ogm'))
  ]
  for name in ('joint/shared', 'y'):
    first, second = told(*folders, against=name).verdicts
    assert first.reference == 'joint/shared' and set(first.p) == {'mla/shared'}
    assert not second.reference and f'no run {name}' in second.why
  with pytest.raises(ValueError, match='--against=nobody: .*mla/shared'):
    told(*folders, against='nobody')


def test_stars_mark_what_the_tests_tell_apart(tmp_path):
  folders = [
    write(tmp_path / d / m, fused, method=m, data=d)
    for d in 'uv'
    for m, fused in (
      ('good', (0.90, 0.91, 0.92, 0.91)),
      ('near', (0.90, 0.92, 0.91, 0.90)),
      ('bad', (0.10, 0.12, 0.13, 0.10)),
    )
  ]
  table = told(*folders).overall
  stars = {name: row[0].endswith(' *') for name, row in rows(table).items()}
  assert stars == {
    'good/shared': False,
    'near/shared': False,
    'bad/shared': True,
  }


# What is partial


def test_an_unfinished_run_is_listed_and_counts_nowhere(tmp_path):
  folders = [
    write(tmp_path / d / m, fused, method=m, data=d)
    for d in 'uv'
    for m, fused in (('x', UNEVEN), ('y', (0.5, 0.6, 0.7)))
  ]
  late = write(tmp_path / 'u' / 'late', None, method='late', data='u')
  write(tmp_path / 'v' / 'late', (0.99, 0.98, 0.99), method='late', data='v')
  with log.Logger(late, 200, 20, 8) as logger:
    logger.metrics(40, 'p', {'loss': 1.0})
  found = told(*folders, late, tmp_path / 'v' / 'late')
  row = rows(results(found))['late/shared']
  assert row == ['–', '–', 'unfinished (step 40 of 200)', '–']
  assert found.verdicts[0].reference == 'x/shared'
  assert 'late/shared' not in found.verdicts[0].p
  note = results(found).notes[-1]
  assert note.startswith('Not counted') and f'--workdir={late}' in note
  ranks = {name: row[-1] for name, row in rows(found.overall).items()}
  assert ranks == {'x/shared': '1.00', 'y/shared': '2.00', 'late/shared': '–'}
  assert 'so not of late/shared' in found.overall.notes[0]


def test_a_run_without_a_line_has_no_results(tmp_path):
  found = told(write(tmp_path / 'x'), write(tmp_path / 'y', None, method='j'))
  assert rows(results(found))['j/shared'][2] == 'no results'


def test_all_runs_may_be_unfinished(tmp_path):
  found = told(write(tmp_path / 'x', None), write(tmp_path / 'y', None))
  assert not found.verdicts[0].reference
  assert [row[3] for row in results(found).rows] == ['no results'] * 2
  assert 'not tested' in results(found).notes[0]
  assert Page(_page(found)).text


def _page(found):
  return report.writers.WRITERS['html'](found, ())


def test_seeds_that_diverged_are_never_averaged_over(tmp_path):
  found = told(
    write(tmp_path / 'x', (0.99, None, 0.98), unis=(0.9, 0.9, 0.9)),
    write(tmp_path / 'y', (0.5, 0.6, 0.7), method='joint'),
    write(tmp_path / 'z', (0.4, 0.6, 0.3), method='ogm'),
  )
  table = results(found)
  assert rows(table)['mla/shared'][2] == 'NaN (1 of 3 seeds)'
  assert table.best[:, 3].tolist() == [False, True, False]
  assert set(found.verdicts[0].p) == {'ogm/shared'}
  assert rows(table)['mla/shared'][0] == '90.0 ± 0.0'
  assert not table.best[0].any()


def test_a_run_of_fewer_seeds_than_planned_is_said(tmp_path):
  found = told(write(tmp_path / 'x', num_seeds=5), write(tmp_path / 'y'))
  assert 'x holds 3 of 5 seeds.' in results(found).doubts[0]


def test_total_steps_are_told_only_when_certain(tmp_path):
  run = _report_load.load(write(tmp_path / 'x', None))
  line = {'split': 'train', 'values': {}}
  early = run._replace(lines=[{**line, 'step': 20, 'epoch': 0.002}])
  assert early.total_steps is None  # 9756 to 10256 steps an epoch
  later = run._replace(lines=[{**line, 'step': 20_000, 'epoch': 2.0}])
  assert later.total_steps == 100_000
  run.config['phases'] = [['p', 0.5], ['q', 7, 'steps']]
  assert later.total_steps == 5007
  run.config['phases'] = 'nonsense'
  assert later.total_steps is None


# What makes a comparison doubtful


def test_other_classes_sizes_and_labels_are_doubts(tmp_path):
  x = write(tmp_path / 'x', labels=[0, 1, 1])
  for other, doubt in (
    (dict(labels=[0, 1, 1]), None),
    (dict(labels=[0, 1, 1, 0]), 'test examples differ: 3 (mla/shared); 4 (j'),
    (dict(labels=[0, 0, 1]), 'The test labels differ'),
    (dict(classes=('x', 'z')), 'classes differ: 2: x, y (mla/shared); 2: x, z'),
  ):
    y = write(tmp_path / f'y{doubt}'[:9], method='joint', **other)
    doubts = results(told(x, y)).doubts
    assert len(doubts) == bool(doubt)
    assert not doubt or doubt in doubts[0]


def test_other_splits_are_a_doubt(tmp_path):
  x, y = write(tmp_path / 'x'), write(tmp_path / 'y', method='joint')
  found = json.loads((y / 'results.json').read_text())
  (y / 'results.json').write_text(json.dumps({'validation': found['test']}))
  (doubt,) = results(told(x, y)).doubts
  assert 'test (mla/shared); validation (joint/shared)' in doubt


def test_a_run_without_a_config_is_a_doubt(tmp_path):
  x, y = write(tmp_path / 'x'), write(tmp_path / 'y')
  (y / 'config.json').unlink()
  found = told(x, y)
  assert [group.name for group in found.groups] == ['digits', 'unknown data']
  assert 'y has no config.json' in results(found, 1).doubts[0]


# Imbalance and cost


def test_probe_gap_is_alone_minus_together_seed_by_seed(tmp_path):
  alone, here = (0.9, 0.8, 0.7), (0.5, 0.6, 0.2)
  folders = [
    write(tmp_path / m, method=m, more={'a/probe': probe}, seed=seed)
    for m, probe, seed in (
      ('unimodal', alone, 0),
      ('joint', here, 0),
      ('other', here, 5),
    )
  ]
  table = told(*folders).each[0]['probe']
  assert table.header == ['run', 'a', 'b', 'gap a', 'gap b']
  gap = cell(np.subtract(alone, here).tolist())
  assert rows(table)['joint/shared'] == [
    *(log.spread(cell(here)), '–', log.spread(gap), '–')
  ]
  assert rows(table)['unimodal/shared'][2] == '–'
  assert rows(table)['other/shared'][2] == f'{100 * gap["mean"]:.1f}'
  table = told(*folders[1:]).each[0]['probe']
  assert [row[3] for row in table.rows] == ['–', '–']
  assert 'there is none' in table.notes[0]
  plain = told(write(tmp_path / 'plain'))
  assert 'probe' not in plain.each[0]


def test_shapley_and_gap_stand_in_one_table(tmp_path):
  more = {'shapley/a': (0.2, 0.3), 'gap/a-b': (0.5, 0.6)}
  x = write(tmp_path / 'x', (0.5, 0.6), more=more)
  table = told(x, write(tmp_path / 'y', (0.5, 0.6))).each[0]['contributions']
  assert table.header == ['run', 'a', 'gap a-b']
  assert rows(table)['x'] == ['25.0 ± 7.1', '0.550 ± 0.071']
  assert rows(table)['y'] == ['–', '–']


def test_predictions_per_class_are_counted(tmp_path):
  x = write(tmp_path / 'x', labels=[0, 1, 1])
  rows_x = dict(np.load(x / 'predictions_classification.npz'))
  rows_x['logits/joint'][0, 0] = (0.0, 1.0)  # one of three seeds errs once
  np.savez(x / 'predictions_classification.npz', **rows_x)
  stale = write(tmp_path / 'stale', None, method='joint', labels=[0, 1, 1])
  table = told(x, stale).each[0]['classes']
  assert table.rows == [['true', '1', '2'], ['mla/shared', '0.7', '2.3']]
  other = write(tmp_path / 'other', method='ogm', labels=[0, 0, 1])
  assert 'classes' not in told(x, other).each[0]


def test_cost_is_of_a_step(tmp_path):
  whole = dict(
    parameters=1_234_567,
    flops_per_example=2.5e6,
    examples_per_s=812.4,
    train_s=3723.2,
    device='cpu',
  )
  null = dict(whole, flops_per_example=None, device='gpu')
  found = told(
    write(tmp_path / 'x', cost=whole),
    write(tmp_path / 'y', cost=null),
    write(tmp_path / 'z'),
  )
  table = found.each[0]['cost']
  assert rows(table) == {
    'x': ['1.23M', '20M', '812', '1:02:03', 'cpu'],
    'y': ['1.23M', '–', '812', '1:02:03', 'gpu'],
    'z': ['–'] * 5,
  }
  assert 'different devices' in table.doubts[0]
  assert 'cost' not in told(write(tmp_path / 'w')).each[0]


@given(st.floats(1, 1e14))
def test_short_numbers_are_right_to_three_digits(number):
  text = _report_cost.short(number)
  scale = {'k': 1e3, 'M': 1e6, 'G': 1e9, 'T': 1e12}.get(text[-1], 1)
  assert float(text.rstrip('kMGT')) * scale == pytest.approx(number, rel=0.006)
  assert 'e' not in text


# Curves over missing modalities


def rates(train, test):
  return dict(train=train, validation=train, test=test, seed=0)


def curve(folder, points, **config):
  return [
    write(
      folder / f'{train}_{test}', fused, missing=rates(train, test), **config
    )
    for (train, test), fused in points.items()
  ]


def panels(*folders):
  return {panel.title: panel for panel in told(*folders).panels}


def test_runs_that_differ_in_their_rates_are_a_line(tmp_path):
  level = {0.0: (0.9, 0.8), 0.2: (0.7, 0.8), 0.6: (0.3, 0.5)}
  both = {(r, r): fused for r, fused in level.items()}
  folders = curve(tmp_path / 'm', both)
  folders += curve(tmp_path / 'j', both, method='joint')
  found = told(*folders)
  (panel,) = found.panels
  assert panel.title == 'digits, missing in training and test'
  (table,) = found.missing
  assert table.header == ['run', '0 %', '20 %', '60 %']
  assert rows(table)['mla/shared'] == [
    log.spread(cell(fused)) for fused in level.values()
  ]
  line = _report_compare.missing.series(panel, 'accuracy')['joint/shared']
  np.testing.assert_allclose(line[0], [0, 20, 60])
  np.testing.assert_allclose(line[1], [np.mean(v) for v in level.values()])
  spread = [np.std(v, ddof=1) for v in level.values()]
  np.testing.assert_allclose(line[2], spread)


def test_rates_of_test_alone_have_their_own_panel(tmp_path):
  points = dict.fromkeys([(0, 0), (0, 0.2), (0.4, 0.4), (0.4, 0.6)], UNEVEN)
  told_panels = panels(*curve(tmp_path, points))
  assert {t: list(*p.lines.values()) for t, p in told_panels.items()} == {
    'digits, missing in test only': [0, 0.2],
    'digits, missing in test, 40 % in training': [0.4, 0.6],
    'digits, missing in training and test': [0, 0.4],
  }


def test_runs_that_differ_in_more_are_no_line(tmp_path):
  points = {(r, r): UNEVEN for r in (0.0, 0.2)}
  x = curve(tmp_path / 'x', points)
  y = curve(tmp_path / 'y', {(0.0, 0.0): UNEVEN}, method='joint', width=8)
  y += curve(tmp_path / 'z', {(0.2, 0.2): UNEVEN}, method='joint', width=9)
  (panel,) = panels(*x, *y).values()
  assert list(panel.lines) == ['mla/shared']
  assert panel.doubts == [
    'joint/shared: no line, as its runs differ in width too.'
  ]


def test_a_point_that_is_partial_is_left_open(tmp_path):
  points = {(0, 0): UNEVEN, (0.2, 0.2): None, (0.4, 0.4): (0.5, None, 0.6)}
  points[0.6, 0.6] = (0.5, 0.4, 0.6)
  found = told(*curve(tmp_path, points))
  (table,) = found.missing
  assert table.rows[0][2:4] == ['no results', 'NaN (1 of 3 seeds)']
  line = _report_compare.missing.series(found.panels[0], 'accuracy')
  np.testing.assert_allclose(line['mla/shared'][0], [0, 60])


def test_lines_of_other_seeds_are_a_doubt(tmp_path):
  x = curve(tmp_path / 'x', {(0, 0): UNEVEN})
  x += curve(tmp_path / 'y', {(0.2, 0.2): UNEVEN}, seed=7)
  (panel,) = panels(*x).values()
  assert panel.doubts == [
    'mla/shared: its points are of other seeds (0–2, 7–9).'
  ]


def test_runs_without_rates_have_no_curves(tmp_path):
  assert not told(write(tmp_path / 'x'), write(tmp_path / 'y')).panels


# Formats


def test_csv_holds_the_numbers_as_they_are(tmp_path):
  x = write(tmp_path / 'x', cost=dict(parameters=12), more={'a/probe': UNEVEN})
  y = write(tmp_path / 'y', (0.5, None, 0.1), method='joint')
  lines = list(csv.DictReader(io.StringIO(_csv(told(x, y)))))
  saved = json.loads((x / 'results.json').read_text())['test']
  assert (
    float(lines[0]['joint/accuracy/mean']) == saved['joint']['accuracy']['mean']
  )
  assert float(lines[0]['a/probe/std']) == saved['a']['probe']['std']
  assert lines[0]['parameters'] == '12' and lines[0]['state'] == 'done'
  assert lines[1]['joint/accuracy/mean'] == lines[1]['p'] == ''
  assert lines[1]['state'] == 'NaN (1 of 3 seeds)'


def _csv(found):
  return report.writers.WRITERS['csv'](found, ())


SIGNS = st.sampled_from('|\\&%#{}[*\n') | st.characters()
HOSTILE = st.text(SIGNS, min_size=1, max_size=12)


def table_of(names, title='t'):
  rows = [[name, '1.0 ± 0.1'] for name in names]
  best = np.ones((len(names), 2), bool)
  return _report_tables.Table(title, ['run', names[0]], rows, best, [names[0]])


@given(st.lists(HOSTILE, min_size=1, max_size=4))
def test_latex_keeps_its_columns_whatever_the_names(names):
  text = _report_formats.latex([table_of(names)])
  body = text.split('\\midrule\n')[1].split('\\bottomrule')[0].splitlines()
  assert len(body) == len(names)
  for line in body:
    bare = re.sub(r'\\[&%$#_{}]', '', line)
    assert bare.count('&') == 1 and '%' not in bare and '#' not in bare
    assert bare.count('{') == bare.count('}') and line.endswith(r' \\')


def test_latex_shows_signs_as_they_are():
  assert _report_formats.tex('a_b & 5 % ± {x}\\') == (
    r'a\_b \& 5 \% $\pm$ \{x\}\textbackslash{}'
  )
  assert '\\toprule' in _report_formats.latex([table_of(['x'])])
  assert '\n{}[x]' in _report_formats.latex(
    [table_of(['[x]'])._replace(best=np.zeros((1, 2), bool))]
  )


@given(st.lists(HOSTILE, min_size=1, max_size=4))
def test_markdown_keeps_its_columns_whatever_the_names(names):
  text = _report_formats.markdown([table_of(names)], titled=False)
  lines = text.split('\n\n')[0].split('\n')
  assert len(lines) == 2 + len(names)
  for line in lines:
    assert len(re.findall(r'(?<!\\)\|', line)) == 3


@given(st.lists(st.floats(0, 1), min_size=1, max_size=40), st.floats(0, 1))
def test_labels_keep_their_order_their_room_and_their_distance(values, low):
  values = [low + v for v in values]
  placed = _report_curves.apart(values, low, low + 1)
  assert placed.min() >= low - 1e-9 and placed.max() <= low + 1 + 1e-9
  order = np.argsort(values, kind='stable')
  gap = min(0.065, 1 / max(len(values) - 1, 1))
  assert (np.diff(placed[order]) >= gap - 1e-9).all()


# The command


@pytest.fixture
def pair(tmp_path):
  """Two runs of one data set: 'mla' and a worse 'sum'."""
  for method, lift in (('sum', 0.0), ('mla', 1.0)):
    simulate(tmp_path / method, method=method, lift=lift, size=120)
  return tmp_path / 'sum', tmp_path / 'mla'


def fused(workdir):
  found = json.loads((workdir / 'results.json').read_text())
  return found['test']['joint']['accuracy']


def test_compare_writes_a_page_and_a_table(pair, tmp_path, capsys):
  out = tmp_path / 'both.html'
  report.main([*map(str, pair), f'--out={out}'])
  said = capsys.readouterr().out
  page = Page(out.read_text())
  for folder in pair:
    assert folder.name in said and log.spread(fused(folder)) in said
    assert log.spread(fused(folder)) in page.text
  assert 'paired t-test' in said and 'n = 3' in said
  assert page.tags.count('svg') == 3 and 'Warning' not in said
  assert all(link.startswith(('#', 'data:')) for link in page.links)


def test_markdown_is_bold_at_the_best_and_says_the_p_value(pair, capsys):
  report.main([*map(str, pair), '--markdown', '--against=first'])
  said = capsys.readouterr().out.splitlines()
  assert said[0] == '| run | audio | visual | fused | p |'
  assert said[2].endswith('| reference |')
  assert f'**{log.spread(fused(pair[1]))}**' in said[3]
  samples = [fused(folder)['values'] for folder in reversed(pair)]
  p = stats.ttest_rel(*samples).pvalue
  assert said[3].endswith(f'| {p:.3f} |' if p >= 0.001 else '| <0.001 |')
  assert not (pair[0].parent / 'compare.html').exists()


def test_the_page_draws_the_curves(tmp_path):
  points = {(r, r): UNEVEN for r in (0.0, 0.2)}
  page = Page(_page(told(*curve(tmp_path, points))))
  assert page.text.count('entries missing, %') == 1
  assert 'digits, missing in training and test: accuracy, %' in page.text
  assert 'Each rate by itself' in page.text


def test_names_are_text_never_markup(tmp_path):
  evil = '<u>$x_{1}$&"'
  page = Page(_page(told(write(tmp_path / 'x', method=evil, data=evil))))
  assert evil in page.text and 'u' not in page.tags


def test_the_ending_says_the_format(tmp_path, capsys):
  runs = [str(write(tmp_path / x, method=x)) for x in 'mn']
  outs = [tmp_path / f'x.{ending}' for ending in ('html', 'csv', 'md', 'tex')]
  report.main([*runs, *(f'--out={out}' for out in outs), '--tables=results'])
  starts = ('<!doctype html>', 'data,run,', '| run |', '% \\usepackage')
  for out, start in zip(outs, starts):
    assert out.read_text().startswith(start)
    assert f'Wrote {out}' in capsys.readouterr().out or out is not outs[0]
  for flag, out in zip(('--csv', '--markdown', '--latex'), outs[1:]):
    report.main([*runs, flag, '--tables=results'])
    assert capsys.readouterr().out.strip() == out.read_text().strip()
  path = report.compare(runs, tmp_path / 'plain')
  assert path.read_text().startswith('<!doctype html>')


@pytest.mark.parametrize(
  ('flags', 'sentence'),
  [
    (['--out=x.pdf'], '--out=x.pdf: the ending says the format'),
    (['--tables=costs'], 'there is no costs; there are overall'),
    (['--metric=acuracy'], "No run has the measure 'acuracy'"),
    (['--against=nobody'], '--against=nobody: no run is called so'),
    (['--csv', '--latex'], 'not allowed with'),
  ],
)
def test_bad_flags_say_what_there_is(tmp_path, capsys, flags, sentence):
  runs = [str(write(tmp_path / x, method=x)) for x in 'mn']
  with pytest.raises(SystemExit):
    report.main([*runs, *flags])
  assert sentence in ' '.join(capsys.readouterr().err.split())


def test_an_unfinished_run_does_not_stop_the_command(tmp_path, capsys):
  runs = [write(tmp_path / 'x'), write(tmp_path / 'y', None, method='joint')]
  report.main([*map(str, runs), '--markdown'])
  said = capsys.readouterr().out
  assert '| joint/shared | – | – | no results | – |' in said
