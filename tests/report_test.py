"""The report over simulated run folders: what is there, missing or hostile."""

import html.parser
import itertools
import json
import re
import types

import numpy as np
import pytest

from mmjax import (
  _report_features,
  _report_load,
  _report_predictions,
  _report_runs,
  _report_sections,
  log,
  report,
)
from mmjax.evals import classification, gap, subsets

QUALITY = {'audio': 1.4, 'visual': 0.7, 'text': 1.0, 'depth': 0.5}
NOT_ASKED = (
  *('Attention between modalities', 'Retrieval', 'Similarity of pairs'),
)
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
  **sections,
):
  """Writes a run folder such as training leaves; returns its results.

  `sections` are those of the config; the test labels follow from data and size.
  """
  workdir.mkdir(parents=True, exist_ok=True)
  truth = np.random.default_rng(len(data))
  label_N = truth.integers(len(class_names), size=size)
  draw = np.random.default_rng(sum(map(ord, str((method, lift, sections)))))
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
    **sections,
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
    assert (title in page.text) == (title not in NOT_ASKED)
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
  plane, share = _report_features.principal_plane({'a': 3 * flat_ND})
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


def test_series_are_averaged_down_over_seeds(tmp_path):
  simulate(tmp_path, size=60)
  run = _report_load.load(tmp_path)
  lines = [r for r in run.lines if r['split'] == 'train']
  every = np.array([line['values']['loss/audio'] for line in lines])
  epoch, mean, std = _report_runs.series(run, 'train', 'loss/audio', points=50)
  assert len(epoch) == len(mean) == len(std) == 50
  np.testing.assert_allclose(mean[0], every[:3].mean())
  np.testing.assert_allclose(std[0], every[:3].mean(0).std(ddof=1))
  assert _report_runs.series(run, 'train', 'loss/smell') is None


def test_predictions_per_class_are_means_over_seeds(tmp_path):
  simulate(tmp_path, size=60)
  told = _report_predictions.counts(_report_load.load(tmp_path))
  rows = np.load(tmp_path / 'predictions_classification.npz')
  true_C, predicted_SC = told['joint']
  np.testing.assert_array_equal(true_C, np.bincount(rows['label'], minlength=6))
  np.testing.assert_array_equal(predicted_SC.sum(1), 3 * [60])
  guess_SN = rows['logits/joint'].argmax(-1)
  np.testing.assert_array_equal(predicted_SC[:, 2], (guess_SN == 2).sum(1))
  run, mean = _report_load.load(tmp_path), predicted_SC.mean(0)[0]
  page = Page(_report_predictions.per_class(run))
  first = f'anger {true_C[0]} {_report_predictions.number(mean)}'
  assert first in page.text and 'fused says' in page.text


def test_a_diverged_predictor_is_not_counted(tmp_path):
  simulate(tmp_path, size=60)
  path = tmp_path / 'predictions_classification.npz'
  rows = dict(np.load(path))
  rows['logits/audio'][0, 1] = np.nan
  np.savez(path, **rows)
  told = _report_predictions.counts(_report_load.load(tmp_path))
  assert set(told) == {'joint', 'visual'}


def attended(weight_SNMM, modalities=('audio', 'visual'), **rows):
  N = weight_SNMM.shape[1]
  rows = {'label': np.arange(N) % 3, **rows}
  rows['attention'] = weight_SNMM.astype(np.float32)
  record = {'config': {}, 'modalities': modalities, 'class_names': 'xyz'}
  run = _report_runs.Run('x', None, record, [], {}, {'attention': rows})
  return Page(_report_features.attention(run))


def test_attention_is_split_by_one_class():
  neutral_N = np.arange(60) % 3 == 1
  weight_SNMM = np.zeros((2, 60, 2, 2))
  weight_SNMM[:, neutral_N] = [[0.5, 1.5], [0.75, 1.25]]
  weight_SNMM[:, ~neutral_N] = [[1.2, 0.8], [1.0, 1.0]]
  weight_SNMM[1, neutral_N, 0, 0] += 0.2
  weight_SNMM[0, 1] = np.nan
  page = attended(weight_SNMM, neutral=np.stack([neutral_N] * 2))
  assert page.tags.count('svg') == 1
  assert 'audio → audio audio → visual visual → audio' in page.text
  assert 'y (n = 19) 0.600 ± 0.141 1.500 ± 0.000 0.750' in page.text
  assert 'not y (n = 40) 1.200 ± 0.000 0.800 ± 0.000 1.000' in page.text
  assert '1 examples lack a modality' in page.text


def test_attention_without_that_class_is_split_by_all():
  page = attended(np.ones((1, 60, 2, 2)))
  for name in 'xyz':
    assert f'{name} (n = 20) 1.000 1.000 1.000 1.000' in page.text


def test_attention_of_other_blocks_is_a_sentence():
  page = attended(np.ones((1, 60, 3, 3)))
  assert 'between 3 blocks, for 2 modalities' in page.text
  assert 'svg' not in page.tags


def test_attention_stands_in_the_report_of_a_run_that_has_it(tmp_path):
  simulate(tmp_path, num_seeds=1, size=40)
  weight_SNMM = np.full((1, 40, 2, 2), 0.5, np.float32)
  label_N = np.arange(40) % 2
  path = tmp_path / 'predictions_attention.npz'
  np.savez(path, attention=weight_SNMM, label=label_N)
  page = page_of(tmp_path)
  assert 'Attention between modalities' in page.text
  assert 'could not be drawn' not in page.text and page.tags.count('svg') == 7
