"""The adviser from the command line to its files, on data it can be wrong on."""

import json
import pathlib

import commands
import jax.numpy as jnp
import main_test
import numpy as np
import pytest
import tiny

from mmjax import _advise_data, advise, experiment, train
from mmjax.base import Ragged
from mmjax.checkpoint import Checkpoints
from mmjax.data import arrays
from mmjax.lab import subsets

pytestmark = main_test.pytestmark
NAMES = ('audio', 'visual', 'text')
ASKED = dict(
  fractions=(0.2, 0.5, 1.0),
  num_seeds=2,
  learner=dict(width=8, steps=40, eval_steps=10),
)


@pytest.fixture(scope='module')
def world(tmp_path_factory):
  """'audio' says the class, 'visual' is a copy of it, 'text' is noise."""
  place = tmp_path_factory.mktemp('world')
  rng = np.random.default_rng(0)
  label = np.arange(300) % 3
  loud = np.eye(3)[label] + 0.5 * rng.normal(size=(300, 3))
  np.savez(
    place / 'world.npz',
    audio=loud,
    visual=loud @ rng.normal(size=(3, 3)),
    text=rng.normal(size=(300, 4)),
    label=label,
    split=rng.permutation(np.repeat([0, 1, 2], 100)),
  )
  return place / 'world.npz'


@pytest.fixture(scope='module')
def advised(world, tmp_path_factory):
  place = tmp_path_factory.mktemp('advised')
  made = commands.recipe(place, world, NAMES, advise=ASKED)
  workdir = place / 'out'
  told = main_test.cli(
    '--mode=advise', f'--config={made}', f'--workdir={workdir}'
  )
  assert told == ''
  return made, workdir, json.loads((workdir / 'advice.json').read_text())


def test_the_command_leaves_numbers_tables_and_a_page(advised):
  _, workdir, found = advised
  assert sorted(p.name for p in workdir.iterdir()) == [
    'advice.html',
    'advice.json',
    'advice.md',
  ]
  assert found['modalities'] == list(NAMES)
  assert found['counts'] == [20, 50, 100] and len(found['curves']) == 7
  assert found['constant'] == pytest.approx(np.log(3), abs=0.02)
  text = (workdir / 'advice.md').read_text()
  page = (workdir / 'advice.html').read_text()
  for sentence in found['recommendation']:
    assert sentence in text and sentence.split(':')[0] in page
  assert 'nan' not in text.lower() and page.count('<svg') >= 3


def test_it_knows_copies_and_noise(advised):
  found = advised[2]
  verdicts = {m: one['verdict'] for m, one in found['modality'].items()}
  assert verdicts['text'] != 'needed'
  shares = {m: one['shapley'] for m, one in found['modality'].items()}
  assert shares['text']['mean'] < 0.2 * shares['audio']['low']
  pairs = {p: one['interaction'] for p, one in found['pairs'].items()}
  assert min(pairs, key=lambda p: pairs[p]['mean']) == 'audio+visual'
  assert 'text' not in found['best']
  pays = found['modality']['text']['pays']
  assert pays['kind'] == 'not seen' or pays['share'] < 1


def test_advice_is_never_overwritten(advised):
  made, workdir, _ = advised
  before = (workdir / 'advice.json').read_bytes()
  told = main_test.cli(
    '--mode=advise', f'--config={made}', f'--workdir={workdir}'
  )
  assert 'holds advice already' in told and 'another --workdir' in told
  assert (workdir / 'advice.json').read_bytes() == before


def test_a_runs_latents_are_those_of_its_encoders(tmp_path):
  config = tiny.config(tiny.write(tmp_path), phases=(('lap', 2, 'steps'),))
  exp, path = experiment.build(config), tmp_path / 'run'
  train.run(exp, path)
  assert advise.is_run(path) and not advise.is_run(tmp_path)
  data = advise.of_run(path, advise.settings({}))
  with Checkpoints(path / 'checkpoints', read_only=True) as saved:
    found = saved.restore(exp.seeds.abstract, exp.run.select)
  assert found is not None
  state = found.state[0]
  batch = exp.batch(0, 'test')
  keep = np.asarray(batch['mask'])
  for m, z_BD in exp.predict(state, batch).feats.items():
    want, told = np.asarray(z_BD)[keep], data.test.inputs[m][: keep.sum()]
    has = np.asarray(batch['present'][m])[keep]
    # Standardised: the same up to one shift and scale per feature.
    for d in range(want.shape[1]):
      if want[has, d].std() > 1e-3:
        r = np.corrcoef(want[has, d], told[has, d])[0, 1]
        assert r == pytest.approx(1, abs=1e-3)
  assert data.modalities == exp.kit.modalities


def test_every_kind_of_modality_becomes_a_vector():
  mask = jnp.array([[True, True, False], [True, False, False]])
  values = jnp.arange(12.0).reshape(2, 3, 2)
  steps = _advise_data._vector(Ragged(values, mask), None, 'x')
  np.testing.assert_allclose(steps, [[1, 2, 1, 1], [6, 7, 0, 0]])
  ids = Ragged(np.array([[1, 1, 3], [2, 0, 0]]), np.asarray(mask))
  counts = _advise_data._vector(ids, 4, 'x')
  np.testing.assert_array_equal(counts, [[0, 2, 0, 0], [0, 0, 1, 0]])
  picture = _advise_data._vector(np.ones((2, 4, 4, 3)), None, 'x')
  assert picture.shape == (2, 48)
  with pytest.raises(ValueError, match="'x' has 30,000 numbers"):
    _advise_data._vector(np.ones((1, 100, 100, 3)), None, 'x')


def test_missing_parts_are_drawn_and_training_scales_all():
  rng = np.random.default_rng(0)
  x = 5 + 3 * rng.normal(size=(90, 2)).astype(np.float32)
  has = np.arange(90) % 4 > 0
  table = ({'a': x}, np.arange(90) % 3, {'a': has})
  none = _advise_data._none_of(table)
  tables = dict(train=table, validation=none, test=table)
  data = _advise_data._gathered(tables, 3, 0.2)
  assert (data.train.size, data.validation.size) == (72, 18)
  assert set(np.bincount(data.validation.target)) == {6}
  seen = data.train.inputs['a'][data.train.present['a'] > 0]
  np.testing.assert_allclose(seen.mean(0), 0, atol=1e-5)
  np.testing.assert_allclose(seen.std(0), 1, atol=1e-5)


def test_absent_modalities_say_nothing():
  source = arrays.source(
    {'a': np.ones((6, 2)), 'b': np.ones((6, 1))},
    np.arange(6) % 2,
    {'a': np.arange(6) > 2},
  )
  inputs, label, present = _advise_data._read(source, {})
  assert inputs['a'].shape == (6, 2) and label.tolist() == [0, 1] * 3
  assert present['a'].tolist() == [False] * 3 + [True] * 3


def test_a_synthetic_world_has_a_known_oracle(tmp_path):
  world = dict(name='overlap', w=0.5, num_modalities=2, width=3)
  asked = advise.settings(
    ASKED
    | dict(world=world | dict(train=200, validation=100, test=300))
    | dict(learner=dict(width=8, lr=0.05, steps=200))
  )
  data, name = advise.of_config({}, asked)
  found = advise.run(data, name, asked, tmp_path / 'out', lambda _: None)
  assert name == 'overlap' and found['unit'] == 'squared units'
  assert found['oracle'] == 0 and found['oracle_known']
  assert found['quality']['m1+m2']['eta'] < 0.1
  assert found['quality']['m1']['eta'] > 0.3
  assert found['best'] == ['m1', 'm2']
  assert all(g['accuracy_gain'] is None for g in found['gamma'])


@pytest.mark.parametrize(
  'section, told',
  [
    (dict(fraction=(1.0,)), "Did you mean 'fractions'"),
    (dict(learner=dict(with_=3)), 'config.advise.learner.with_'),
    (dict(learner=dict(lr=-1.0)), 'learner.lr=-1.0'),
    (dict(held_out=0.0), r'held_out=0.0 must lie in \(0, 1\)'),
    (dict(num_seeds=0), 'num_seeds=0'),
    (dict(measure='f1'), "measure='f1'"),
  ],
)
def test_options_that_do_not_exist_or_fit_are_named(section, told):
  with pytest.raises(ValueError, match=told):
    advise.settings(section)


def test_too_many_modalities_and_empty_classes_are_said(world, tmp_path):
  asked = advise.settings(ASKED | dict(limit=3))
  config = {'data': _section(world), 'missing': _missing()}
  data, _ = advise.of_config(config, asked)
  with pytest.raises(ValueError, match='3 modalities have 7 subsets'):
    advise.run(data, 'x', asked, tmp_path / 'a', lambda _: None)
  asked = advise.settings(ASKED | dict(fractions=(0.01, 1.0)))
  with pytest.raises(ValueError, match=r'leave class \d empty'):
    advise.run(data, 'x', asked, tmp_path / 'b', lambda _: None)


def _section(world: pathlib.Path) -> dict:
  return dict(name='arrays', path=str(world), modalities=NAMES)


def _missing() -> dict:
  return dict(train=0.0, validation=0.0, test=0.0, seed=0, sampler='exact')


def test_worth_in_points_of_accuracy(world):
  asked = advise.settings(ASKED | dict(measure='accuracy', fractions=(1.0,)))
  config = {'data': _section(world), 'missing': _missing()}
  data, _ = advise.of_config(config, asked)
  lattice = subsets.lattice(data.modalities)
  cube = subsets.train(data, lattice, (100,), 2, asked.learner)
  found = advise.judge(data, cube, asked, 'x', lambda _: None)
  accuracy = cube.accuracy_LSK
  assert accuracy is not None
  best = 100 * accuracy[0].mean(0).max()
  rate = 100 * np.bincount(data.test.target).max() / 100
  assert found['explained']['mean'] == pytest.approx(best - rate)
  assert found['unit'] == 'points' and found['risk_unit'] == 'nats'
