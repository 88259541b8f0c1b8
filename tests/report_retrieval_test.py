"""What is said of aligned modalities: at the end of a run, in its report."""

import csv
import io
import json

import numpy as np
import pytest
import rich.console
import tiny
from report_compare_test import cell, rows, told, write
from report_test import Page

from mmjax import (
  _report_compare,
  _report_load,
  _report_retrieval,
  _report_sections,
  experiment,
  log,
  report,
  train,
)

PAIR = ('audio', 'text')
OF_CLASSIFIERS = (
  'When modalities are dropped',
  'Contribution of each modality',
  'Predictions per class',
  'Confusion',
  'Calibration',
  'Modality gap',
)


def said(results, width=80):
  console = rich.console.Console(file=io.StringIO(), width=width)
  console.print(log.table(results))
  text = console.file.getvalue()
  assert max(map(len, text.splitlines()), default=0) <= width
  return text


# A run from end to end.


@pytest.fixture(scope='module')
def folder(tmp_path_factory):
  path = tmp_path_factory.mktemp('aligned')
  config = tiny.config(
    tiny.write(path, PAIR),
    PAIR,
    method=dict(name='curriculum'),
    head=dict(name='late'),
    phases=(('align', 2),),
    encoders={m: tiny.PLAIN[m] for m in PAIR},
    num_seeds=2,
    evals=dict(retrieval=dict(ks=(1, 5)), zeroshot={}, geometry={}),
  )
  config.run.watch = 'retrieval/retrieval/mean/r1'
  config.run.log_steps, config.run.checkpoint_epochs = 2, 2.0
  train.run(experiment.build(config), path / 'run')
  return path / 'run'


def test_a_run_without_accuracies_has_a_table(folder):
  results = json.loads((folder / 'results.json').read_text())
  text = said(results)
  zero_shot = results['test']['audio']['zero_shot']
  assert f'audio {log.spread(zero_shot)}' in ' '.join(text.split())
  assert 'retrieval on test, in percent' in text and 'R@5' in text
  ways = results['test']['retrieval']
  assert len(ways) == 3
  found = [line.split() for line in text.splitlines() if ' to ' in line]
  assert len(found) == 2 and found[0][:3] == ['audio', 'to', 'text']
  way = ways['audio-to-text']
  assert ' '.join(found[0][3:6]) == log.spread(way['r1'])
  assert found[0][-1] == '32'


def test_its_report_holds_what_it_has_and_nothing_else(folder):
  page = page_about(folder)
  for title in _report_sections.SECTIONS:
    left_out = (*OF_CLASSIFIERS, 'Attention between modalities')
    assert (title in page.words) == (title not in left_out)
  assert 'could not be drawn' not in page.text
  assert 'was not part' not in page.text and 'no predictions' not in page.text
  assert '2 seeds · 32 test examples' in page.text
  assert page.tags.count('svg') == 2
  results = json.loads((folder / 'results.json').read_text())['test']
  for found in (
    results['retrieval']['mean']['r1'],
    results['audio']['zero_shot'],
  ):
    assert log.spread(found) in page.text
  alignment = results['geometry']['audio-text']['alignment']
  assert f'audio-text {log.spread(alignment, 1)}' in page.text
  assert 'Validation R@1, %' in page.text


def test_its_own_rows_give_its_histogram(folder):
  run = _report_load.load(folder)
  found = _report_retrieval.cosines(run.rows['geometry'], 'audio', 'text')
  assert found.pairs_P.shape == (32,) and found.others_O.shape == (32 * 31,)
  cells = run.test['geometry']['audio-text']
  for part, name in ((found.pairs_P, 'pairs'), (found.others_O, 'others')):
    first = cells[f'similarity_{name}']['values'][0]
    assert part.mean() == pytest.approx(first, abs=1e-5)


def test_the_command_prints_it(folder, capsys):
  report.main([str(folder)])
  assert 'retrieval on test' in capsys.readouterr().out


def test_runs_are_compared_by_r_at_1(folder):
  found = _report_compare.comparison(report.load_all([folder, folder.parent]))
  assert found.metric == 'r1'
  table = found.each[0]['results']
  assert table.title == 'R@1 on test, in percent'
  assert table.header[1:3] == ['audio-to-text', 'text-to-audio']
  assert table.header[-2:] == ['mean', 'p']


# Tables and sections of numbers that are made up.


def aligned(path, r1=(0.5, 0.7), method='fusemix', **more):
  """A run folder of two modalities without accuracies."""
  write(path, r1, method=method, modalities=('speech', 'text'))
  record = json.loads((path / 'results.json').read_text())
  ways = {
    way: {
      'r1': cell(r1),
      'r5': cell([1 - (1 - v) / 2 for v in r1]),
      'median_rank': cell([1.0, 2.5][: len(r1)]),
      'candidates': cell([40.0] * len(r1)),
    }
    for way in ('speech-to-text', 'text-to-speech')
  }
  ways['mean'] = {'r1': cell(r1), 'r5': cell(r1), 'r_mean': cell(r1)}
  test = {'speech': {'zero_shot': cell(r1)}, 'retrieval': ways, **more}
  (path / 'results.json').write_text(json.dumps({**record, 'test': test}))
  return path


def page_about(path):
  return Page(report.write(path).read_text())


def test_tables_fit_where_everything_is_measured():
  wide = {m: cell((0.98765, 0.91234)) for m in log.MEASURES}
  results = {'test': {'accelero': wide, 'inertial': wide, 'joint': wide}}
  text = said(results)
  assert text.count('fused') == 2 and 'zero-shot' in text and '…' not in text
  assert log.spread(wide['probe']) in text


def test_nothing_measured_is_nothing_said():
  assert said({'test': {'gap': {'a-b': cell((0.5,))}}}) == ''


def test_retrieval_as_rows():
  header, rows = log.retrieval(
    {
      'retrieval': {
        'a-to-b': {
          'r1': cell((0.5, 0.6)),
          'r50': cell((1.0,)),
          'map': cell((0.25,)),
          'median_rank': cell((1.0, 4.0)),
          'candidates': cell((31783.0, 31783.0)),
        },
        'mean': {'r1': cell((None,)), 'r_mean': cell((0.75,))},
      }
    }
  )
  assert header == ['', 'R@1', 'R@50', 'mAP', 'median rank', 'candidates']
  assert rows[0] == [
    'a to b',
    '55.0 ± 7.1',
    '100.0',
    '25.0',
    '2.5 ± 2.1',
    '31783',
  ]
  assert rows[1] == ['mean', *5 * ['–']]
  assert log.retrieval({'joint': {}}) is None
  assert [log.title(m) for m in ('r10', 'accuracy', 'r_mean', 'x')] == [
    *('R@10', 'accuracy', 'mean recall', 'x')
  ]


def test_classes_that_are_relevant_are_said_to_be(tmp_path):
  page = page_about(aligned(tmp_path / 'a'))
  assert 'one that some example shows together with it' in page.text
  assert '50.0 ± ' not in page.text and 'speech to text, R@1' in page.text
  aligned(tmp_path / 'b')
  record = json.loads((tmp_path / 'b' / 'config.json').read_text())
  record['config']['evals'] = {'retrieval': {'relevant': 'label'}}
  (tmp_path / 'b' / 'config.json').write_text(json.dumps(record))
  assert 'one of its class' in page_about(tmp_path / 'b').text


def test_a_run_with_other_evals_keeps_what_it_has(tmp_path):
  page = page_about(aligned(tmp_path / 'a', gap={'speech-text': cell((1.2,))}))
  assert 'Modality gap' in page.text and '1.200' in page.text
  assert 'Confusion' not in page.text
  # A probe has a number of all features together, and is no classifier.
  page = page_about(
    aligned(tmp_path / 'b', joint={'probe': cell((0.812, 0.8))})
  )
  assert 'fused 80.6 ± 0.8' in page.text and 'Confusion' not in page.text


def test_a_run_that_classifies_too_has_both(tmp_path):
  path = write(tmp_path / 'a', (0.9, 0.8))
  results = json.loads((path / 'results.json').read_text())
  results['test']['retrieval'] = {'a-to-b': {'r1': cell((0.5, 0.7))}}
  (path / 'results.json').write_text(json.dumps(results))
  page = page_about(path)
  for title in (*OF_CLASSIFIERS, 'Retrieval'):
    assert title in page.words
  assert 'a to b 60.0 ± 14.1' in page.text
  assert 'a to b, R@1' not in page.text  # accuracies are the headline


def similar(N=40, seeds=2, **rows):
  """Rows of two modalities; examples 2i and 2i + 1 show one text."""
  draw = np.random.default_rng(0)
  text_ND = draw.normal(size=(N // 2, 4)).repeat(2, axis=0)
  speech_SND = text_ND + 0.1 * draw.normal(size=(seeds, N, 4))
  entry_N = (np.arange(N) // 2).astype(np.int32)
  return {
    'feats/speech': speech_SND,
    'feats/text': np.stack([text_ND] * seeds),
    'present/speech': np.ones(N, bool),
    'present/text': np.arange(N) > 3,
    'entry/speech': np.stack([np.arange(N)] * seeds),
    'entry/text': np.stack([entry_N] * seeds),
    'label': np.zeros(N, int),
    **rows,
  }


def test_similarities_are_of_entries():
  found = _report_retrieval.cosines(similar(), 'speech', 'text')
  assert len(found.pairs_P) == 36  # two speeches for each of 18 texts
  assert len(found.others_O) == 36 * 18 - 36
  assert found.pairs_P.min() > 0.9 > 0.1 > found.others_O.mean()
  one = {k: v[0] if v.ndim > 1 else v for k, v in similar().items()}
  again = _report_retrieval.cosines(one, 'speech', 'text')
  np.testing.assert_array_equal(again.pairs_P, found.pairs_P)


def test_similarities_of_a_bounded_sample():
  found = _report_retrieval.cosines(similar(5000), 'speech', 'text')
  assert len(found.pairs_P) == _report_retrieval.EXAMPLES


def test_similarities_that_do_not_exist(tmp_path):
  nobody = similar(**{'present/text': np.zeros(40, bool)})
  assert _report_retrieval.cosines(nobody, 'speech', 'text') is None
  lost = similar(**{'feats/text': np.full((2, 40, 4), np.inf)})
  assert _report_retrieval.cosines(lost, 'speech', 'text') is None
  path = aligned(tmp_path / 'a')
  np.savez(path / 'predictions_retrieval.npz', **lost)
  page = page_about(path)
  assert 'Similarity of pairs' not in page.text and 'svg' not in page.tags
  uneven = similar(**{'feats/text': np.ones((2, 40, 7))})
  np.savez(path / 'predictions_retrieval.npz', **uneven)
  assert 'could not be drawn' not in page_about(path).text
  np.savez(path / 'predictions_retrieval.npz', **similar())
  page = page_about(path)
  assert 'Similarity of pairs' in page.text and page.tags.count('svg') == 1
  assert 'pairs, n = 36' in page.text and 'First seed.' in page.text


def test_a_comparison_tests_the_mean_over_directions(tmp_path):
  folders = (
    aligned(tmp_path / 'x', (0.5, 0.6), method='plain'),
    aligned(tmp_path / 'y', (0.8, 0.7), method='fusemix'),
  )
  found = told(*folders, metric='')
  table = found.each[0]['results']
  assert table.header == [
    'run',
    'speech-to-text',
    'text-to-speech',
    'mean',
    'p',
  ]
  assert rows(table)['fusemix/shared'][2] == log.spread(cell((0.8, 0.7)))
  assert table.best[1, 1:4].all() and not table.best[0].any()
  assert rows(table)['fusemix/shared'][-1] == 'reference'
  assert 'of the mean measure' in table.notes[1]
  recall = found.each[0]['retrieval']
  assert recall.header == [
    *('run', 'R@1', 'R@5', 'mean recall', 'speech zero-shot')
  ]
  page = tmp_path / 'all.html'
  report.compare(folders, page)
  assert 'speech-to-text, %' in Page(page.read_text()).text
  lines = list(csv.DictReader(io.StringIO(_report_compare.as_csv(found))))
  assert float(lines[0]['joint/r1/mean']) == pytest.approx(0.55)
  assert float(lines[1]['retrieval/speech-to-text/r5/mean']) == pytest.approx(
    0.875
  )
  assert float(lines[1]['speech/zero_shot/mean']) == pytest.approx(0.75)


def test_other_measures_of_a_comparison(tmp_path):
  path = aligned(tmp_path / 'x', (0.5, 0.6))
  table = told(path, metric='r5').each[0]['results']
  assert table.title == 'R@5 on test, in percent'
  assert rows(table)['fusemix/shared'][0] == log.spread(cell((0.75, 0.8)))
  with pytest.raises(ValueError, match="'auroc'.*there are r1, r5, r_mean"):
    told(path, metric='auroc')
  # One run that classifies is enough for accuracy.
  found = told(path, write(tmp_path / 'y', (0.9, 0.8)), metric='')
  assert found.metric == 'accuracy'
  words = [table[-2] for group in found.each for table in group['results'].rows]
  assert words == ['no results', log.spread(cell((0.9, 0.8)))]
