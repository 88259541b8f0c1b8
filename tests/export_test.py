"""An export: what a process of jax and numpy makes of it, and what it spares."""

import hashlib
import json
import os
import shutil
import subprocess
import sys

import jax
import jax.export
import jax.numpy as jnp
import main_test
import numpy as np
import pytest
import tiny
from safetensors.numpy import load_file

from mmjax import _export_files as files
from mmjax import _export_model as models
from mmjax import _export_program as programs
from mmjax import _export_serve as serve
from mmjax import experiment, export, folder, report, train
from mmjax.base import Ragged
from mmjax.checkpoint import Checkpoints
from mmjax.data import feed

pytestmark = main_test.pytestmark
NAMES = tiny.MODALITIES  # 'text' is ragged, 'audio' has statistics
SCALED = {'audio': dict(name='standardize', mean=0.5, std=2.0)}
# Imports of its own are jax and numpy; serve.py is a file of the folder.
ALONE = """
import sys
sys.path.insert(0, sys.argv[1])
import numpy as np
import serve
predict = serve.load()
for path in sys.argv[2:]:
  with np.load(path) as file:
    outputs = predict(dict(file))
  np.savez(path.replace('in.npz', 'out.npz'), **outputs)
foreign = {'mmjax', 'flax', 'optax', 'orbax', 'safetensors', 'ml_collections'}
assert not foreign & set(sys.modules), foreign & set(sys.modules)
"""


def config(data, **sections):
  return tiny.config(data, NAMES, phases=(('lap', 1),), num_seeds=2, **sections)


@pytest.fixture(scope='module')
def data(tmp_path_factory):
  return tiny.write(tmp_path_factory.mktemp('data'))


@pytest.fixture(scope='module')
def exp(data):
  return experiment.build(config(data, augment=SCALED))


@pytest.fixture(scope='module')
def workdir(exp, tmp_path_factory):
  path = tmp_path_factory.mktemp('run') / 'run'
  with pytest.MonkeyPatch.context() as patch:
    patch.setattr(report, 'write', lambda path: path)  # asked elsewhere
    train.run(exp, path)
  return path


@pytest.fixture(scope='module')
def state(exp, workdir):
  """Of the second model, as it was trained."""
  with Checkpoints(workdir / 'checkpoints', read_only=True) as checkpoints:
    return checkpoints.restore(exp.seeds.abstract).state[1]


@pytest.fixture(scope='module')
def exported(exp, workdir):
  """(folder, signature) of the second model."""
  return workdir / 'export', export.run(exp, workdir, model=1)


def rows(exp, count) -> dict:
  return feed.load(exp.sources['test'], np.arange(count), None)


def inputs(batch, *left_out) -> dict[str, np.ndarray]:
  """What a person gives who has these examples."""
  given = {}
  for m in NAMES:
    if isinstance(batch[m], Ragged):
      given |= {m: batch[m].values, f'{m}/mask': batch[m].mask}
    else:
      given[m] = batch[m]
    given[f'present/{m}'] = batch['present'][m]
  return {n: x for n, x in given.items() if not any(m in n for m in left_out)}


def predicted(exp, state, batch) -> dict[str, np.ndarray]:
  return jax.device_get(programs.told(exp.predict(state, batch)))


def same(got, want):
  assert set(got) == set(want)
  for name in want:
    np.testing.assert_allclose(
      got[name], want[name], rtol=0, atol=1e-5, err_msg=name
    )


def test_a_process_without_mmjax_predicts_the_same(
  exp, state, exported, tmp_path
):
  """One example, seven, some without text, nobody with audio."""
  one, seven = rows(exp, 1), rows(exp, 7)
  some = {**seven['present'], 'text': np.arange(7) % 2 == 0}
  some = {**seven, 'present': some}
  asked = {
    'one': (inputs(one), one),
    'seven': (inputs(seven), seven),
    'some': (inputs(some), some),
    'none': (inputs(seven, 'audio'), tiny.absent(seven, 'audio')),
  }
  for name, (given, _) in asked.items():
    np.savez(tmp_path / f'{name}_in.npz', **given)
  paths = [str(tmp_path / f'{name}_in.npz') for name in asked]
  environment = {k: v for k, v in os.environ.items() if k != 'PYTHONPATH'}
  done = subprocess.run(
    [sys.executable, '-c', ALONE, str(exported[0]), *paths],
    cwd=tmp_path,
    env=environment,
    capture_output=True,
    text=True,
  )
  assert done.returncode == 0, done.stderr
  for name, (_, batch) in asked.items():
    with np.load(tmp_path / f'{name}_out.npz') as got:
      same(dict(got), predicted(exp, state, batch))
  audio, text = (
    np.load(tmp_path / f'{n}_out.npz')['logits/joint'] for n in ('none', 'some')
  )
  assert np.abs(audio - text).max() > 1e-3  # an absence is seen


def test_the_weights_are_those_of_the_state(state, exported):
  path, signature = exported
  weights = load_file(path / 'model.safetensors')
  want = {'params': state.params, 'stats': state.stats}
  want = models.named(jax.device_get(want))
  assert set(weights) == set(want) == set(signature['weights'])
  assert 'params/audio/Dense_0/kernel' in weights
  assert any(name.startswith('stats/audio/') for name in weights)
  read = serve.read(path / 'model.safetensors')
  for name, value in want.items():
    for got in (weights, read):
      assert got[name].dtype == value.dtype and got[name].shape == value.shape
      assert got[name].tobytes() == value.tobytes()


def test_the_artefact_is_for_all_platforms_and_holds_no_weights(exported):
  path, signature = exported
  data = (path / 'model.jaxexport').read_bytes()
  program = jax.export.deserialize(bytearray(data))
  assert program.platforms == ('cpu', 'cuda', 'tpu')
  assert signature['platforms'] == ['cpu', 'cuda', 'tpu']
  inputs = program.in_avals[len(signature['weights']) :]
  assert {str(x.shape[0]) for x in inputs} == {'b'}
  weights = load_file(path / 'model.safetensors')
  assert not any(x.tobytes() in data for x in weights.values() if x.size > 8)


def test_the_signature_tells_all(exp, exported):
  path, signature = exported
  on_disk = json.loads((path / 'signature.json').read_text())
  assert on_disk['inputs'] == signature['inputs']
  assert on_disk['inputs']['text/mask'] == {
    'shape': ['b', 3],
    'dtype': 'bool',
    'modality': 'text',
  }
  assert on_disk['modalities']['text'] == {'ragged': True}
  assert on_disk['outputs']['probabilities/joint']['shape'] == ['b', 3]
  assert on_disk['class_names'] == list(exp.kit.class_names)
  assert on_disk['preprocessing'] == SCALED
  assert on_disk['origin']['step'] == 6 and on_disk['origin']['seed'] == 1
  for name, about in on_disk['files'].items():
    digest = hashlib.sha256((path / name).read_bytes()).hexdigest()
    assert about['sha256'] == digest


def test_the_card_has_numbers_with_their_spread_and_code_that_runs(
  workdir, exported, monkeypatch
):
  path, _ = exported
  card = (path / 'README.md').read_text('utf8')
  results = json.loads((workdir / 'results.json').read_text())
  cell = results['test']['joint']['ece']
  numbers = f'{cell["mean"]:.4f} ± {cell["std"]:.4f} | {cell["values"][1]:.4f}'
  assert f'| {numbers} |' in card
  assert 'MLA: modalities take turns' in card and 'Not stated yet' in card
  code = card.split('```python\n')[1].split('```')[0]
  monkeypatch.syspath_prepend(str(path))
  names: dict = {}
  exec(compile(code, 'README.md', 'exec'), names)
  assert names['outputs']['probabilities/joint'].shape == (2, 3)
  sys.modules.pop('serve')


def test_wrong_inputs_are_told(exp, exported):
  predict, given = serve.load(exported[0]), inputs(rows(exp, 2))
  for wrong, why in (
    ({'audoi': given['audio']}, 'audoi.*unknown'),
    ({'present/audio': np.ones(2, bool)}, 'modality that is not given'),
    ({'audio': given['audio'][:, :3]}, r'audio is float32\[2, 3\], not'),
    ({'audio': given['audio'] + 1j}, 'audio is complex64'),
  ):
    with pytest.raises(ValueError, match=why):
      predict(wrong)


def contents(path) -> dict[str, bytes]:
  return {p.name: p.read_bytes() for p in path.iterdir() if p.is_file()}


def test_nothing_there_is_overwritten(exp, workdir, exported, tmp_path):
  path, said = tmp_path / 'out', []
  shutil.copytree(exported[0], path)
  (path / 'README.md').write_text('a licence')
  before = contents(path)
  export.run(exp, workdir, path, model=1, told=said.append)
  assert 'There already' in said[0] and contents(path) == before
  with pytest.raises(ValueError, match='another model.*\n  model: 1 -> 0'):
    export.run(exp, workdir, path)
  assert contents(path) == before
  (path / 'notes.txt').write_text('mine')
  with pytest.raises(ValueError, match='more than an export: notes.txt'):
    export.run(exp, workdir, path, overwrite=True)
  with pytest.raises(ValueError, match='is no export: .lock, checkp'):
    export.run(exp, workdir, workdir, overwrite=True)
  (path / 'notes.txt').unlink()
  found = export.run(exp, workdir, path, overwrite=True, told=said.append)
  assert found['origin']['model'] == 0 and 'Exported' in said[-1]
  assert contents(path)['model.safetensors'] != before['model.safetensors']
  assert [p.name for p in tmp_path.iterdir()] == ['out']


def test_a_full_disk_leaves_what_was_there(
  exp, workdir, exported, tmp_path, monkeypatch
):
  path = tmp_path / 'out'
  shutil.copytree(exported[0], path)
  before = contents(path)

  def full(*_):
    raise OSError(28, 'No space left on device')

  monkeypatch.setattr(folder, 'write_json', full)
  with pytest.raises(OSError, match='No space'):
    export.run(exp, workdir, path, overwrite=True)
  assert contents(path) == before
  assert [p.name for p in tmp_path.iterdir()] == ['out']
  path.rename(tmp_path / '.out.replaced')  # killed before the second renaming
  with files.alone(path):
    assert contents(path) == before


def test_the_command(workdir, exported, tmp_path, capfd):
  out = tmp_path / 'deep' / 'out'
  here = '--mode=export', f'--workdir={workdir}'
  assert main_test.cli(*here, f'--out={out}', '--model=1') == ''
  assert 'Exported checkpoint 6, model 1 of 2' in capfd.readouterr().out
  paths = [path / 'model.safetensors' for path in (out, exported[0])]
  assert tiny.same(*map(load_file, paths))
  assert paths[0].stat().st_mode == (out / 'serve.py').stat().st_mode
  assert '--model=2: this run has 2 models, 0 to 1' in main_test.cli(
    *here, '--model=2'
  )
  shutil.copy(workdir / 'config.json', tmp_path)
  told = main_test.cli('--mode=export', f'--workdir={tmp_path}')
  assert 'has no checkpoint yet' in told
  assert not (tmp_path / 'export').exists()
  assert 'needs the --workdir of a run' in main_test.cli('--mode=export')


def test_a_missing_library_is_named(exp, workdir, monkeypatch):
  monkeypatch.setitem(files.NEEDED, 'no_such_library', 'pip install it')
  with pytest.raises(ValueError, match='no_such_library.*pip install it'):
    export.run(exp, workdir)


@pytest.fixture(scope='module')
def model(state):
  parts = {n: getattr(state, n) for n in ('params', 'stats', 'method')}
  key = np.asarray(jax.random.key_data(state.key))
  origin = {'step': 6}
  return models.Model(jax.device_get(parts), key, 'threefry2x32', origin)


def called(program, given, size):
  made = jax.export.deserialize(bytearray(program.artefact))
  specs = {
    n: {
      'shape': ['b', *x.shape],
      'dtype': str(x.dtype),
      'modality': n.split('/')[n.startswith('present/')],
    }
    for n, x in program.inputs.items()
  }
  assert len(given['audio']) == size
  return made.call(program.weights, serve.complete(specs, given))


def test_a_net_that_counts_its_examples_is_exported(exp, state, model):
  """len() of an array has no answer where the batch has any size."""

  def counting(state, batch):
    out = exp.predict(state, batch)
    return out._replace(joint=out.joint + jnp.zeros((len(out.joint), 1)))

  program = programs.make(exp._replace(predict=counting), model, exp.batch())
  for size in (1, 5):
    batch = rows(exp, size)
    got = called(program, inputs(batch), size)
    same(jax.device_get(got), predicted(exp, state, batch))


def test_memory_goes_along_if_predict_reads_it(exp, model):
  def remembering(state, batch):
    out = exp.predict(state, batch)
    first = jax.tree.leaves(state.method)[0].sum().astype(jnp.float32)
    return out._replace(joint=out.joint + first)

  program = programs.make(exp._replace(predict=remembering), model, exp.batch())
  kept = [n for n in program.weights if n.startswith('method/')]
  assert len(kept) == 1 < len(jax.tree.leaves(model.parts['method']))


def test_a_platform_without_a_rule_is_left_out_and_said(exp, model):
  def local(state, batch):
    out = exp.predict(state, batch)
    foreign = jax.ffi.ffi_call(
      'nobody', jax.ShapeDtypeStruct(out.joint.shape, jnp.float32)
    )
    joint = jax.lax.platform_dependent(
      out.joint, cpu=lambda x: x, cuda=lambda x: x, default=foreign
    )
    return out._replace(joint=joint)

  with pytest.warns(UserWarning, match='tpu is left out.*nobody'):
    program = programs.make(exp._replace(predict=local), model, exp.batch())
  assert program.platforms == ('cpu', 'cuda')
  assert list(program.left_out) == ['tpu']


def test_each_of_several_models_can_be_had(exp, data):
  """Also where they are held as one."""
  apart = exp.seeds.init()
  other = experiment.build(config(data, seeds_how='vmap'))
  stacked = other.seeds.init()
  for i, want in enumerate(apart):
    for each, states in ((exp, apart), (other, stacked)):
      parts, key, _ = models._picked(each, states, i)
      tiny.close(parts['params'], want.params)
      tiny.close(parts['method'], want.method)
      assert tiny.same(key, jax.random.key_data(want.key))
