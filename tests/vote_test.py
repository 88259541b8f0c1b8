"""The soft vote of runs that are finished."""

import json

import numpy as np
import pytest

from mmjax import _vote_members, folder, vote
from mmjax.evals import classification

NAMES = ('a', 'b', 'c')
N = 50
FILE = _vote_members.ROWS


def make(
  path, seed=0, *, modalities=('audio', 'text'), seeds=2, config=(), **rows
):
  """A run folder such as training leaves; returns its rows."""
  draw = np.random.default_rng(seed)
  label = np.arange(N) % 3
  made = {'label': label, 'index': np.arange(N)}
  for m in modalities:
    made[f'present/{m}'] = np.ones(N, bool)
  for name in (*modalities, 'joint'):
    noise = draw.normal(size=(seeds, N, 3))
    made[f'logits/{name}'] = (np.eye(3)[label][None] + noise).astype(np.float32)
  made |= rows
  path.mkdir()
  np.savez(path / FILE, **made)
  whole = {
    'data': {'name': 'arrays', 'path': 'x.npz'},
    'method': {'name': 'joint'},
    'head': {'name': f'head{seed}'},
    'seed': 0,
    'order_seed': 0,
    'num_seeds': seeds,
    **dict(config),
  }
  record = {
    'config': whole,
    'modalities': modalities,
    'class_names': NAMES,
  }
  folder.write_json(path / 'config.json', record)
  folder.write_json(
    path / 'results.json', {'validation': {}, 'test': {'joint': {}}}
  )
  return made


@pytest.fixture
def pair(tmp_path):
  """Two folders, their rows, and where the vote goes."""
  rows = make(tmp_path / 'one', 1), make(tmp_path / 'two', 2)
  return (tmp_path / 'one', tmp_path / 'two'), rows, tmp_path / 'vote'


def probs(rows, name='joint'):
  return np.stack(
    [classification.softmax(x_NC) for x_NC in rows[f'logits/{name}']]
  )


def voted(path):
  with np.load(path / FILE) as file:
    return dict(file)


def test_probabilities_are_averaged_seed_by_seed(pair):
  members, rows, out = pair
  results = vote.run(members, out)
  found = voted(out)
  assert set(found) == set(rows[0])
  for name in ('audio', 'text', 'joint'):
    want = (probs(rows[0], name) + probs(rows[1], name)) / 2
    np.testing.assert_allclose(probs(found, name), want, atol=1e-6)
    cell = results['test'][name]['accuracy']
    right = (want.argmax(-1) == rows[0]['label']).mean(1)
    np.testing.assert_allclose(cell['values'], right)
    assert cell['mean'] == pytest.approx(right.mean())
    assert cell['std'] == pytest.approx(right.std(ddof=1))


def test_a_folder_has_the_shape_of_a_run(pair):
  members, _, out = pair
  results = vote.run(members, out, weights=(3, 1))
  assert json.loads((out / 'results.json').read_text()) == results
  measures = classification.measures(np.eye(3), np.arange(3))
  assert set(results) == {'test'}
  assert set(results['test']) == {'audio', 'text', 'joint'}
  assert set(results['test']['audio']) == set(measures)
  config = folder.read_config(out)
  assert config['data']['path'] == 'x.npz' and config['num_seeds'] == 2
  assert config['method']['weights'] == (0.75, 0.25)
  heads = [c['head']['name'] for c in config['method']['members'].values()]
  assert heads == ['head1', 'head2']
  record = json.loads((out / 'config.json').read_text())
  assert record['class_names'] == [*NAMES] and record['versions']


def test_weights_weigh(pair):
  members, rows, out = pair
  vote.run(members, out, weights=(3, 1))
  want = 0.75 * probs(rows[0]) + 0.25 * probs(rows[1])
  np.testing.assert_allclose(probs(voted(out)), want, atol=1e-6)


def test_confident_votes_stay_finite_and_count():
  sure_SNC = np.array([[[9e3, 0, 0]]], np.float32)
  mean_SNC = vote.mean_vote([sure_SNC, -sure_SNC], np.ones((2, 1)))
  np.testing.assert_allclose(
    classification.softmax(mean_SNC[0]), [[0.5, 0.25, 0.25]], rtol=1e-6
  )


def test_pooled_seeds_give_one_vote(tmp_path):
  rows = [
    make(tmp_path / 'one', 1, seeds=2),
    make(tmp_path / 'two', 2, seeds=3, config={'seed': 5}),
  ]
  members = [tmp_path / 'one', tmp_path / 'two']
  with pytest.raises(
    ValueError, match='seeds: 2 from 0 against 3 from 5.*pool'
  ):
    vote.run(members, tmp_path / 'vote')
  vote.run(members, tmp_path / 'vote', seeds='pooled')
  want = (probs(rows[0]).mean(0) + probs(rows[1]).mean(0)) / 2
  np.testing.assert_allclose(
    probs(voted(tmp_path / 'vote')), want[None], atol=1e-6
  )
  assert 'seed' not in folder.read_config(tmp_path / 'vote')


def test_who_sees_nothing_abstains(tmp_path):
  has = {m: np.ones(N, bool) for m in ('audio', 'text')}
  has['audio'][:3] = has['text'][2:5] = False
  rows = [
    make(tmp_path / m, i, modalities=(m,), **{f'present/{m}': has[m]})
    for i, m in enumerate(has)
  ]
  results = vote.run([tmp_path / m for m in has], tmp_path / 'vote')
  found, audio, text = map(probs, (voted(tmp_path / 'vote'), *rows))
  np.testing.assert_allclose(found[:, :2], text[:, :2], atol=1e-6)
  np.testing.assert_allclose(found[:, 3:5], audio[:, 3:5], atol=1e-6)
  np.testing.assert_allclose(
    found[:, 2], (audio[:, 2] + text[:, 2]) / 2, atol=1e-6
  )
  # Row 2 has nothing, and only what both members tell is voted on.
  assert set(results['test']) == {'joint'}
  seen = np.arange(N) != 2
  right = (found.argmax(-1) == rows[0]['label'])[:, seen].mean(1)
  assert results['test']['joint']['accuracy']['values'] == pytest.approx(right)


def test_nothing_is_overwritten(pair):
  members, _, out = pair
  vote.run(members, out)
  before = (out / FILE).read_bytes(), (out / 'results.json').read_bytes()
  with pytest.raises(ValueError, match='holds this very vote'):
    vote.run(members, out)
  with pytest.raises(ValueError, match='another config'):
    vote.run(members, out, weights=(2, 1))
  with pytest.raises(ValueError, match='another config'):
    vote.run(members, members[0])
  assert before == (
    (out / FILE).read_bytes(),
    (out / 'results.json').read_bytes(),
  )


def other(tmp_path, **changes):
  """The message of a vote whose second member differs in something."""
  make(tmp_path / 'one', 1)
  make(tmp_path / 'two', 2, **changes)
  with pytest.raises(ValueError) as caught:
    vote.run([tmp_path / 'one', tmp_path / 'two'], tmp_path / 'vote')
  assert not (tmp_path / 'vote').exists()
  return str(caught.value)


def test_other_examples_are_refused(tmp_path):
  label = np.arange(N) % 3
  label[[4, 9]] = (label[[4, 9]] + 1) % 3
  told = other(tmp_path, label=label)
  assert "differ in 'label' of 2 examples, the first 4" in told


def test_other_missing_entries_are_refused(tmp_path):
  told = other(tmp_path, **{'present/text': np.arange(N) > 0})
  assert "differ in 'present/text' of 1 examples" in told


def test_predictions_that_are_not_finite_are_refused(tmp_path):
  told = other(tmp_path, **{'logits/joint': np.full((2, N, 3), np.nan)})
  assert 'two has predictions that are not finite' in told


def edit(path, **changes):
  record = json.loads(path.read_text())
  path.write_text(json.dumps({**record, **changes}))


def test_members_that_cannot_vote_are_named(pair):
  (one, two), _, out = pair

  def told(*members, **options):
    with pytest.raises(ValueError) as caught:
      vote.run(members, out, **options)
    return str(caught.value)

  assert 'one is named twice' in told(one, two, one)
  assert 'two runs or more' in told(one)
  assert '2 runs and 3 weights' in told(one, two, weights=(1, 1, 1))
  assert '--weights=1,0' in told(one, two, weights=(1, 0))
  assert 'paired or pooled' in told(one, two, seeds='some')
  assert 'is no run folder' in told(one, one.parent)
  edit(two / 'config.json', class_names=['a', 'b', 'd'])
  assert "class names: ('a', 'b', 'c') against" in told(one, two)
  edit(two / 'config.json', class_names=[*NAMES])
  (two / 'results.json').write_text('{"validation": {}}')
  assert 'split that they predict: test against validation' in told(one, two)
  (two / FILE).write_bytes(b'PK')
  assert 'two is damaged' in told(one, two)
  (two / FILE).unlink()
  assert 'config.evals lacks classification' in told(one, two)
  (two / 'results.json').unlink()
  assert 'two is not finished' in told(one, two)


def test_other_data_with_the_same_labels_are_doubted(tmp_path):
  make(tmp_path / 'one', 1)
  data = {'name': 'arrays', 'path': 'y.npz'}
  make(tmp_path / 'two', 2, config={'data': data})
  with pytest.warns(UserWarning, match="data.path: 'x.npz' -> 'y.npz'"):
    vote.run([tmp_path / 'one', tmp_path / 'two'], tmp_path / 'vote')
  assert 'data' not in folder.read_config(tmp_path / 'vote')


def test_the_command_tells_and_draws(pair, capsys):
  members, _, out = pair
  vote.main([*map(str, members), f'--workdir={out}', '--weights=1,2'])
  assert (out / 'report.html').read_text().count('fused') > 0
  assert 'fused' in capsys.readouterr().out
  for arguments in (['--weights=1,x'], []):
    with pytest.raises(SystemExit):
      vote.main([*map(str, members), f'--workdir={out}', *arguments])
  assert 'config' in capsys.readouterr().err
