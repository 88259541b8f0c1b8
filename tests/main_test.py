"""The command line: what it says, and that it never shows a traceback."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys

import commands
import jax
import numpy as np
import pytest
import tiny
from absl import flags, logging

from mmjax import experiment, folder, log, main, train
from mmjax.checkpoint import Checkpoints

MODALITIES = ('audio', 'visual', 'text')
# As ml_collections reads recipes.
pytestmark = pytest.mark.filterwarnings(
  'ignore:the load_module:DeprecationWarning'
)


@pytest.fixture(scope='module')
def recipe(tmp_path_factory):
  """A tiny recipe: two seeds, two epochs, all evals."""
  place = tmp_path_factory.mktemp('recipe')
  return commands.recipe(
    place,
    tiny.write(place, MODALITIES),
    MODALITIES,
    phases=(('lap', 2),),
    num_seeds=2,
    evals=dict(classification={}, subsets={}, gap={}),
  )


def cli(*arguments) -> str:
  """Runs the command in this process; what it exits with, '' at the end."""
  for name in list(flags.FLAGS):
    if name == 'config' or name.startswith('config.'):
      delattr(flags.FLAGS, name)
  flags.FLAGS.unparse_flags()
  before = logging.get_verbosity()
  argv, sys.argv = sys.argv, ['mmjax', *map(str, arguments)]
  try:
    main.main(main._parse(sys.argv))
  except SystemExit as ended:
    return str(ended.code)
  finally:
    sys.argv = argv
    logging.set_verbosity(before)
    flags.FLAGS.unparse_flags()
  return ''


@pytest.fixture(scope='module')
def ran(recipe, tmp_path_factory):
  """A run folder that the command left."""
  workdir = tmp_path_factory.mktemp('ran') / 'run'
  assert cli(f'--config={recipe}', f'--workdir={workdir}') == ''
  return workdir


def test_the_folder_tells_what_was_run(ran, recipe):
  record = json.loads((ran / 'config.json').read_text())
  assert record['config']['data']['path'].startswith(str(recipe.parent))
  assert record['config']['phases'] == [['lap', 2]]
  assert record['config']['seeds_how'] == 'loop'  # and no longer 'auto'
  assert record['modalities'] == list(MODALITIES)
  assert record['versions']['jax'] == jax.__version__


def evaluated(workdir, name):
  return json.loads((workdir / f'eval_{name}.json').read_text())


@pytest.mark.parametrize('split', ['test', 'validation'])
def test_eval_gives_the_very_numbers_from_the_checkpoint_alone(
  ran, tmp_path, split, capfd
):
  copied = tmp_path / 'elsewhere'
  copied.mkdir()
  shutil.copy(ran / 'config.json', copied)
  shutil.copytree(ran / 'checkpoints', copied / 'checkpoints')
  assert cli('--mode=eval', f'--workdir={copied}', f'--split={split}') == ''
  results = json.loads((ran / 'results.json').read_text())
  found = evaluated(copied, split)
  assert found['step'] == 12
  assert found[split] == results[split]
  assert f'{split}, in percent' in capfd.readouterr().out


def test_eval_without_a_modality(ran):
  """Hiding text is what the subset of the other two is about."""
  assert cli('--mode=eval', f'--workdir={ran}', '--drop=text') == ''
  found = evaluated(ran, 'test_without_text')['test']
  results = json.loads((ran / 'results.json').read_text())['test']
  assert (
    found['joint']['accuracy'] == results['subsets']['audio+visual']['accuracy']
  )
  assert found['audio'] == results['audio']
  assert found['joint']['ece'] != results['joint']['ece']


def test_eval_may_move_to_other_devices_but_not_to_another_config(ran):
  here = '--mode=eval', f'--workdir={ran}', '--split=validation'
  assert cli(*here, '--config.mesh.data=4', '--config.reader.threads=2') == ''
  found = evaluated(ran, 'validation')['validation']['joint']
  results = json.loads((ran / 'results.json').read_text())
  want = results['validation']['joint']
  assert found['accuracy'] == want['accuracy']
  np.testing.assert_allclose(
    found['ece']['values'], want['ece']['values'], atol=1e-5
  )
  told = cli(*here, '--config.optim.lr=0.5')
  assert '--config.optim.lr: --mode=eval takes the config of the run' in told


def test_eval_from_another_directory(ran, tmp_path):
  workdir = os.path.relpath(ran, tmp_path)
  process = commands.start(
    '--mode=eval', f'--workdir={workdir}', '--drop=audio,text', cwd=tmp_path
  )
  code, text = commands.end(process)
  assert code == 0, text
  assert 'Traceback' not in text and 'Warning' not in text
  found = evaluated(ran, 'test_without_audio_text')['test']['joint']
  results = json.loads((ran / 'results.json').read_text())['test']
  assert found['accuracy'] == results['subsets']['visual']['accuracy']


def test_help_is_quick_and_names_every_flag():
  process = subprocess.run(
    [sys.executable, '-X', 'importtime', '-m', 'mmjax.main', '--help'],
    cwd=commands.ROOT,
    capture_output=True,
    text=True,
  )
  for name in ('config', 'mode', 'workdir', 'split', 'drop', 'coordinator'):
    assert f'--{name}:' in process.stdout
  assert 'configs/mla_digits.py' in process.stdout
  assert '--config.optim.lr=' in process.stdout
  assert 'ml_collections' in process.stderr
  slow = re.findall(r'\| +(jax|flax|numpy|orbax)\b', process.stderr)
  assert set(slow) <= {'numpy'}


WRONG = {
  '--config.optm.lr=1': 'no section .optm.*Did you mean "optim"',
  '--config.batchsize=8': r'config.batchsize does not.*mean .batch_size',
  '--config.optim.lrr=1': r'config.optim.lrr does not exist.*mean .lr',
  '--config.encoders.foo.name=mlp': "no section 'foo'.*given whole",
  '--config.batch_size=many': r'batch_size=many: invalid literal',
  '--config.batch_size=3.5': r'batch_size=3.5: invalid literal',
  '--config.batch_size=0': 'config.batch_size=0',
  '--config.method=joint': 'method=joint: this is a section.*name=',
  '--config.method.name=mlaa': "method.name='mlaa' is no file.*mean 'mla'",
  "--config.method.alpha='x'": 'a type that does not fit',
  '--config.run.watch=acc': "watch='acc' must read",
  '--config.data.path=no.npz': 'no.npz',
  '--config.mesh.data=7': 'mesh asks for seed=1 x data=7 devices',
  "--config.phases=(('lop',1),)": "names 'lop'.*mean 'lap'",
  '--mode=trian': 'mode=trian: value should be one of <train|eval|prepare>',
  '--split=': 'split=: value should be one of <train|validation|test>',
  '--wrkdir=x': 'wrkdir.*Did you mean: workdir',
  'train': 'train: flags begin with --',
  '--num_processes=two': 'num_processes=two',
  '--coordinator=127.0.0.1:1': 'need --coordinator, --num_processes',
  '--process_id=0': 'need --coordinator, --num_processes',
  '--mode=prepare': "'arrays' needs no preparation",
  '--workdir=/dev/null/run': 'Not a directory: ./dev/null/run',
  '--workdir=/': 'not empty and no run folder',
}


@pytest.mark.parametrize('argument', WRONG)
def test_bad_input_is_told_in_a_paragraph(
  recipe, tmp_path, argument, monkeypatch
):
  monkeypatch.chdir(tmp_path)
  told = cli(f'--config={recipe}', argument)
  assert re.search(WRONG[argument], told, re.DOTALL), told
  assert told.strip().startswith('mmjax: ')
  assert 'Traceback' not in told and len(told) < 1000
  assert not (tmp_path / 'runs').exists()


RECIPES = {
  'nope.py': (None, 'nope.py is no file. .*configs/mla_digits.py'),
  'configs/mla_digit.py': (None, 'mean configs/mla_digits.py'),
  'plain.py:big': ('def get_config():\n  return {}', 'takes no argument after'),
  'more.py': ('def get_config(size):\n  return {}', 'needs an argument'),
  'typo.py': (
    'def get_config():\n  return confg',
    'typo.py, line 2: NameError',
  ),
  'broken.py': ('def get_config(:', 'broken.py, line 1: '),
  'picky.py:x': (
    'def get_config(v):\n  raise ValueError(f"{v}: take small or big")',
    'x: take small or big',
  ),
}


@pytest.mark.parametrize('name', RECIPES)
def test_a_wrong_recipe_is_told_in_a_paragraph(tmp_path, monkeypatch, name):
  monkeypatch.chdir(tmp_path)
  text, want = RECIPES[name]
  if text:
    (tmp_path / name.split(':')[0]).write_text(text)
  told = cli('--config', name)
  assert re.search(want, told), told
  assert 'Traceback' not in told and 'mmjax: ' in told


def test_wrong_folders_to_evaluate(ran, tmp_path):
  assert 'needs the --workdir of a run' in cli('--mode=eval')
  for empty in (tmp_path, tmp_path / 'none'):
    told = cli('--mode=eval', f'--workdir={empty}')
    assert 'is no run folder: it has no config.json' in told
  assert not (tmp_path / 'none').exists()
  shutil.copy(ran / 'config.json', tmp_path)
  told = cli('--mode=eval', f'--workdir={tmp_path}')
  assert 'has no checkpoint yet' in told
  assert [path.name for path in tmp_path.iterdir()] == ['config.json']
  told = cli('--mode=eval', f'--workdir={ran}', '--drop=txt')
  assert (
    '--drop=txt: the modalities of this run are audio, visual, text' in told
  )


def test_an_exit_code_and_the_message_of_a_whole_process(recipe, tmp_path):
  (tmp_path / 'file').write_text('')
  process = commands.start(f'--config={recipe}', f'--workdir={tmp_path}')
  code, text = commands.end(process)
  assert code == 1
  assert f'mmjax: {tmp_path} is not empty and no run folder' in text
  assert 'Traceback' not in text


def test_a_run_gets_a_folder_of_its_own(recipe, tmp_path, monkeypatch):
  monkeypatch.chdir(tmp_path)
  given = []
  monkeypatch.setattr(train, 'run', lambda _, workdir: given.append(workdir))
  for _ in range(3):
    assert cli(f'--config={recipe}') == ''
  assert len(set(given)) == 3 and all(path.is_dir() for path in given)
  pattern = r'runs/tiny_recipe-\d{8}-\d{6}(-\d)?'
  assert all(re.fullmatch(pattern, str(path)) for path in given)


def test_real_signals_change_no_bit(tmp_path):
  """SIGTERM, then kill -9, then to the end: as if nothing had happened."""
  steps, data = 400, tiny.write(tmp_path, ('audio', 'visual'))
  run = dict(
    log_steps=1,
    eval_epochs=40.0,
    checkpoint_epochs=4.0,  # of 6 steps
    keep=2,
    select='latest',
    watch='classification/joint/accuracy',
  )
  sections = dict(phases=(('lap', steps, 'steps'),), run=run)
  recipe = commands.recipe(tmp_path, data, ('audio', 'visual'), **sections)
  workdir = tmp_path / 'run'

  def start():
    return commands.start(
      f'--config={recipe}', f'--workdir={workdir}', devices=8
    )

  process = start()
  commands.wait_for_step(process, workdir, 30)
  process.send_signal(signal.SIGTERM)
  code, text = commands.end(process)
  assert code == 0, text
  step = int(re.search(r'SIGTERM at step (\d+), saved at step \1', text)[1])
  assert step >= 30 and f'--workdir={workdir}' in text
  assert (workdir / 'checkpoints' / str(step)).is_dir()

  process = start()
  commands.wait_for_step(process, workdir, step + 100)
  process.kill()
  code, text = commands.end(process)
  assert code == -signal.SIGKILL and f'Resuming at step {step}' in text

  code, text = commands.end(start())
  assert code == 0, text
  resumed = int(re.search(r'Resuming at step (\d+)', text)[1])
  assert resumed > step and resumed % 24 == 0

  exp = experiment.build(tiny.config(data, ('audio', 'visual'), **sections))
  train.run(exp, tmp_path / 'whole')
  assert_equal_runs(exp, workdir, tmp_path / 'whole')


def assert_equal_runs(exp, *paths):
  """Parameters, optimizer state, memory, keys, lines and results."""
  sums, lines, results = [], [], []
  for path in paths:
    with Checkpoints(path / 'checkpoints', read_only=True) as checkpoints:
      step, state = checkpoints.restore(exp.seeds.abstract)
    leaves = [
      jax.random.key_data(x) if x.dtype == jax.random.key(0).dtype else x
      for x in jax.tree.leaves(state)
    ]
    sums.append((step, [np.asarray(x).tobytes() for x in leaves]))
    lines.append([{**line, 'time': 0} for line in log.read(path)])
    results.append(json.loads((path / folder.RESULTS).read_text()))
  for first, *others in (sums, lines, results):
    assert all(other == first for other in others)
