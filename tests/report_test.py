"""The report over simulated run folders: what is there, missing or hostile."""

import html.parser
import itertools
import json
import re
import types

import numpy as np
import pytest
from scipy import stats

from mmjax import _report_compare, _report_runs, _report_sections, log, report
from mmjax.evals import classification, gap, subsets

QUALITY = {'audio': 1.4, 'visual': 0.7, 'text': 1.0, 'depth': 0.5}
CLASSES = ('anger', 'disgust', 'fear', 'happy', 'neutral', 'sad')


def simulate(
  workdir,
  modalities=('audio', 'visual'),
  class_names=CLASSES,
  num_seeds=3,
  size=300,
  method='mla',
  data='cremad',
  lift=0.0,
):
  """Writes a run folder such as training leaves; returns its results."""
  draw = np.random.default_rng(len(method))
  label_N = draw.integers(len(class_names), size=size)
  seeds = [
    _rows(draw, label_N, modalities, class_names, lift)
    for _ in range(num_seeds)
  ]
  kit = types.SimpleNamespace(
    modalities=tuple(modalities),
    class_names=class_names,
    num_classes=len(class_names),
  )
  results = {}
  for number, module in enumerate((classification, subsets, gap)):
    name, made = module.__name__.split('.')[-1], module.make(kit, None)
    numbers = [made.report(rows[number]) for rows in seeds]
    for path in numbers[0]:
      _put(results, path.split('/'), [float(n[path]) for n in numbers])
    np.savez(workdir / f'predictions_{name}.npz', **_stack(seeds, number))
  (workdir / 'results.json').write_text(
    json.dumps({'test': results, 'validation': {'joint': results['joint']}})
  )
  config = {
    'method': {'name': method, 'decay': 0.1},
    'data': {'name': data, 'noise': {m: 0.1 for m in modalities}},
    'seed': 0,
    'num_seeds': num_seeds,
  }
  record = {
    'config': config,
    'versions': {'jax': '0.10.2'},
    'devices': ['cpu'],
    'modalities': list(modalities),
    'class_names': list(class_names),
  }
  (workdir / 'config.json').write_text(json.dumps(record))
  _log(workdir, draw, modalities, results, num_seeds)
  return results


def _rows(draw, label_N, modalities, class_names, lift):
  """Returns the rows of the three evals for one seed."""
  N, C, D = len(label_N), len(class_names), 32
  truth_NC, prior = np.eye(C)[label_N], np.random.default_rng(0)
  logits, feats, present = {}, {}, {}
  for i, m in enumerate(modalities):
    noise_NC = draw.normal(size=(N, C))
    scale = 2.2 * (QUALITY.get(m, 1) + lift * (i > 0))
    logits[m] = (scale * truth_NC + 1.2 * noise_NC).astype(np.float32)
    centre_CD = prior.normal(size=(C, D))
    feats[m] = centre_CD[label_N] + 2 * prior.normal(size=D)
    feats[m] = (feats[m] + 0.8 * draw.normal(size=(N, D))).astype(np.float32)
    present[m] = np.arange(N) % 10 != i  # some examples lack a modality
  logits['joint'] = sum(
    logits[m] * present[m][:, None] for m in modalities
  ).astype(np.float32)
  facts = {f'present/{m}': present[m] for m in modalities}
  facts |= {'label': label_N.astype(np.int32)}
  guess = {}
  for k in range(1, len(modalities) + 1):
    for s in itertools.combinations(modalities, k):
      fused_NC = sum(logits[m] * present[m][:, None] for m in s)
      any_N = np.any([present[m] for m in s], axis=0)
      guess['guess/' + '+'.join(s)] = np.where(any_N, fused_NC.argmax(1), -1)
  return (
    {f'logits/{m}': value for m, value in logits.items()} | facts,
    guess | {'label': facts['label']},
    {f'feats/{m}': value for m, value in feats.items()} | facts,
  )


def _stack(seeds, number):
  shared = ('label', 'index', 'present')
  return {
    key: seeds[0][number][key]
    if key.split('/')[0] in shared
    else np.stack([rows[number][key] for rows in seeds])
    for key in seeds[0][number]
  }


def _put(tree, path, values):
  *parents, last = path
  for key in parents:
    tree = tree.setdefault(key, {})
  std = np.std(values, ddof=1) if len(values) > 1 else 0.0
  spread = {'mean': np.mean(values), 'std': std, 'values': values}
  tree[last] = spread


def _log(workdir, draw, modalities, results, num_seeds):
  with log.Logger(workdir, 600, 20, 64) as logger:
    for step in range(4, 601, 4):
      fall = {
        f'loss/{m}': (1.8 - QUALITY.get(m, 1)) / 3
        + 1.4 * np.exp(-step * QUALITY.get(m, 1) / 150)
        + 0.05 * draw.normal(size=num_seeds)
        for m in modalities
      }
      logger.metrics(step, 'lap', {'loss': sum(fall.values()), **fall})
      if step % 20:
        continue
      logger.evaluation(
        step,
        'validation',
        {
          f'{m}/accuracy': results[m]['accuracy']['mean']
          * (1 - 0.8 * np.exp(-step / 90))
          + 0.01 * draw.normal(size=num_seeds)
          for m in (*modalities, 'joint')
        },
      )


class Page(html.parser.HTMLParser):
  """Checks that tags nest, and collects text, tags and links."""

  VOID = ('meta', 'br', 'img', 'link', 'input', 'hr')

  def __init__(self, text):
    super().__init__()
    self.open, self.tags, self.words, self.links = [], [], [], []
    self.feed(text)
    assert not self.open, self.open

  def handle_starttag(self, tag, attrs):
    self.tags.append(tag)
    self.links += [v for k, v in attrs if k in ('src', 'href', 'xlink:href')]
    if tag not in self.VOID:
      self.open.append(tag)

  def handle_startendtag(self, tag, attrs):
    self.tags.append(tag)
    self.links += [v for k, v in attrs if k in ('src', 'href', 'xlink:href')]

  def handle_endtag(self, tag):
    assert self.open.pop() == tag

  def handle_data(self, data):
    self.words.append(data)

  @property
  def text(self):
    return ' '.join(' '.join(self.words).split())


def page_of(workdir):
  return Page(report.write(workdir).read_text())


def test_report_holds_every_section(tmp_path):
  results = simulate(tmp_path)
  page = page_of(tmp_path)
  for title in _report_sections.SECTIONS:
    assert title in page.text
  assert page.tags.count('svg') == 6
  assert 'could not be drawn' not in page.text
  assert log.spread(results['joint']['auroc']) in page.text
  assert log.spread(results['audio']['accuracy']) in page.text
  assert log.spread(results['gap']['audio-visual'], 1) in page.text
  assert 'method.decay' in page.text and '0.10.2' in page.text
  without = results['subsets']['visual']['accuracy']
  assert f'without audio {log.spread(without)}' in page.text


def test_report_is_self_contained_and_without_repeated_ids(tmp_path):
  simulate(tmp_path)
  text = report.write(tmp_path).read_text()
  assert all(link.startswith(('#', 'data:')) for link in Page(text).links)
  assert '://' not in text and '<script' not in text
  assert not re.findall(r'<g id="(?:figure|axes|text|patch)_', text)
  assert 'var(--c0)' in text  # the pictures follow the theme


def test_one_seed_one_modality_and_two_classes(tmp_path):
  simulate(tmp_path, ('audio',), ('no', 'yes'), num_seeds=1, size=60)
  page = page_of(tmp_path)
  assert '±' not in page.text and 'could not be drawn' not in page.text
  assert page.tags.count('svg') == 6


def test_four_modalities_and_many_classes(tmp_path):
  names = tuple(f'class number {c}' for c in range(45))
  simulate(tmp_path, tuple(QUALITY), names, num_seeds=2, size=150)
  page = page_of(tmp_path)
  assert 'could not be drawn' not in page.text
  assert 'without depth' in page.text


def test_names_are_text_never_markup(tmp_path):
  evil = '<u>$x_{1}$&"'
  simulate(tmp_path, (evil, 'visual'), ('<em>', '$\\frac{'), size=60)
  (tmp_path / 'config.json').write_text(
    json.dumps({'config': {'note': '</table><script>x</script>'}})
  )
  page = page_of(tmp_path)
  assert evil in page.text and '</table><script>' in page.text
  assert not {'u', 'em', 'script'} & set(page.tags)


@pytest.mark.parametrize(
  ('piece', 'sentence'),
  [
    ('results.json', 'is not finished'),
    ('config.json', 'There is no config.json'),
    ('metrics.jsonl', 'holds no curves'),
    ('predictions_classification.npz', 'no predictions to draw from'),
    ('predictions_gap.npz', 'eval gap was not part'),
  ],
)
def test_a_missing_piece_is_a_sentence(tmp_path, piece, sentence):
  simulate(tmp_path, num_seeds=2, size=60)
  (tmp_path / piece).unlink()
  page = page_of(tmp_path)
  assert sentence in page.text
  assert 'could not be drawn' not in page.text


def test_damaged_pieces_are_warnings(tmp_path):
  simulate(tmp_path, num_seeds=2, size=60)
  for piece in ('results.json', 'predictions_gap.npz'):
    data = (tmp_path / piece).read_bytes()
    (tmp_path / piece).write_bytes(data[: len(data) // 2])
  with pytest.warns(UserWarning, match='cannot be read') as caught:
    page = page_of(tmp_path)
  assert len(caught) == 2
  assert 'is not finished' in page.text


def test_a_section_that_fails_costs_only_itself(tmp_path):
  results = simulate(tmp_path, num_seeds=2, size=60)
  del results['subsets']['visual']
  (tmp_path / 'results.json').write_text(json.dumps({'test': results}))
  with pytest.warns(UserWarning, match="'When modalities are dropped'"):
    page = page_of(tmp_path)
  assert 'KeyError' in page.text and page.tags.count('svg') == 5


def test_widths_that_differ_have_no_projection(tmp_path):
  simulate(tmp_path, num_seeds=1, size=60)
  path = tmp_path / 'predictions_gap.npz'
  rows = dict(np.load(path))
  rows['feats/audio'] = rows['feats/audio'][..., :5]
  np.savez(path, **rows)
  assert 'no common projection' in page_of(tmp_path).text


def test_principal_plane_keeps_what_lies_in_a_plane():
  angle_N = np.linspace(0, 5, 50)
  flat_ND = np.stack([np.cos(angle_N), 0 * angle_N, np.sin(angle_N)], 1)
  plane, share = _report_sections.principal_plane({'a': 3 * flat_ND})
  assert share == pytest.approx(1)

  def distances(x_ND):
    return np.linalg.norm(x_ND[:, None] - x_ND[None], axis=-1)

  np.testing.assert_allclose(
    distances(plane['a']), distances(flat_ND), atol=1e-7
  )


def test_not_a_run(tmp_path):
  (tmp_path / 'real').mkdir()
  simulate(tmp_path / 'real', num_seeds=1, size=60)
  with pytest.raises(ValueError, match='no run folder .*beside it: real'):
    report.write(tmp_path / 'rael')
  with pytest.raises(ValueError, match='holds no run'):
    report.write(tmp_path)


@pytest.fixture
def pair(tmp_path):
  """Two runs of one data set: 'mla' and a worse 'sum'."""
  for method, lift in (('sum', 0.0), ('mla', 1.0)):
    (tmp_path / method).mkdir()
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
  assert page.tags.count('svg') == 2 and 'Warning' not in said


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


def test_other_data_and_seeds_are_said(pair):
  path = pair[1] / 'config.json'
  record = json.loads(path.read_text())
  record['config']['data']['name'] = 'digits'
  record['config']['seed'] = 7
  path.write_text(json.dumps(record))
  found = _report_compare.comparison(report.load_all(pair))
  assert 'data.name: cremad against digits' in found.doubts[0]
  assert "Welch's t-test" in found.notes[1]


def test_one_seed_has_no_significance(tmp_path):
  folders = [tmp_path / name for name in 'ab']
  for folder in folders:
    folder.mkdir()
    simulate(folder, num_seeds=1, size=60)
  found = _report_compare.comparison(report.load_all(folders), against='first')
  assert [row[-1] for row in found.rows] == ['reference', '–']
  assert 'at least 2 seeds' in found.notes[1]


def test_compare_refuses_what_is_not_there(pair, capsys):
  with pytest.raises(ValueError, match='There are|there are accuracy'):
    _report_compare.comparison(report.load_all(pair), 'acuracy')
  (pair[1] / 'results.json').unlink()
  with pytest.raises(SystemExit):
    report.main([*map(str, pair)])
  said = ' '.join(capsys.readouterr().err.split())
  assert f'{pair[1]} is not finished' in said
  assert f'--workdir={pair[1]}' in said


def test_runs_of_one_name_are_told_apart(tmp_path):
  folders = [tmp_path / a / 'run' for a in 'ab']
  for folder in folders:
    folder.mkdir(parents=True)
    simulate(folder, num_seeds=1, size=60)
  assert [r.name for r in report.load_all(folders)] == list(map(str, folders))


def test_p_values_are_scipys_and_honest_without_spread():
  x_S, y_S = np.array([0.9, 0.8, 0.95]), np.array([0.7, 0.75, 0.8])
  p_value = _report_compare.p_value
  assert p_value(x_S, y_S, True) == stats.ttest_rel(x_S, y_S).pvalue
  welch = stats.ttest_ind(x_S, y_S, equal_var=False).pvalue
  assert p_value(x_S, y_S, False) == welch
  assert p_value(x_S, x_S, True) == 1
  assert np.isnan(p_value(x_S, x_S + 0.1, True))


def test_holm_by_hand():
  assert _report_compare.holm([0.01, None, 0.04, 0.03]) == [
    pytest.approx(0.03),
    None,
    pytest.approx(0.06),
    pytest.approx(0.06),
  ]


def test_series_are_averaged_down_over_seeds(tmp_path):
  simulate(tmp_path, size=60)
  run = _report_runs.load(tmp_path)
  lines = [r for r in run.lines if r['split'] == 'train']
  every = np.array([line['values']['loss/audio'] for line in lines])
  epoch, mean, std = _report_runs.series(run, 'train', 'loss/audio', points=50)
  assert len(epoch) == len(mean) == len(std) == 50
  np.testing.assert_allclose(mean[0], every[:3].mean())
  np.testing.assert_allclose(std[0], every[:3].mean(0).std(ddof=1))
  assert _report_runs.series(run, 'train', 'loss/smell') is None
