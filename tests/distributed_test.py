"""Many devices and many processes: the same run as on one."""

import functools
import importlib
import json
import shutil
import signal

import commands
import jax
import numpy as np
import pytest
import tiny

from mmjax import experiment, folder, log, train
from mmjax.checkpoint import Checkpoints

MODALITIES = ('audio', 'visual')
STEPS = 30
SECTIONS = dict(
  phases=(('lap', STEPS, 'steps'),),
  optim=dict(name='sgd', lr=0.02),
  num_seeds=2,
  run=dict(
    log_steps=1,
    eval_epochs=1.0,  # of 6 steps
    checkpoint_epochs=1.0,
    keep=2,
    select='latest',
    watch='classification/joint/accuracy',
  ),
)


def assert_close(lines, want):
  """Every metric of every step, whatever the floating-point order."""
  place = [(line['step'], line['split'], line['phase']) for line in want]
  assert [(x['step'], x['split'], x['phase']) for x in lines] == place
  for line, wanted in zip(lines, want):
    assert line['values'].keys() == wanted['values'].keys()
    for name, value in wanted['values'].items():
      np.testing.assert_allclose(
        line['values'][name],
        value,
        rtol=1e-5,
        atol=1e-5,
        err_msg=f'{name} at step {line["step"]}',
      )


class Pair:
  """Two processes of two devices each."""

  def __init__(self, *arguments):
    port = commands.free_port()
    self.processes = [
      commands.start(
        *arguments,
        f'--coordinator=127.0.0.1:{port}',
        '--num_processes=2',
        f'--process_id={i}',
        devices=2,
      )
      for i in range(2)
    ]

  def end(self):
    """[(exit code, text)] of both."""
    try:
      return [commands.end(process, 180) for process in self.processes]
    finally:
      for process in self.processes:
        process.kill()


@pytest.fixture(scope='module')
def data(tmp_path_factory):
  return tiny.write(tmp_path_factory.mktemp('data'), MODALITIES)


@pytest.fixture(scope='module')
def single(data, tmp_path_factory):
  """The experiment on one device, and the folder of its run."""
  exp = experiment.build(tiny.config(data, MODALITIES, **SECTIONS))
  path = tmp_path_factory.mktemp('single') / 'run'
  train.run(exp, path)
  return exp, path


@pytest.fixture(scope='module')
def recipe(data, tmp_path_factory):
  return commands.recipe(
    tmp_path_factory.mktemp('recipe'),
    data,
    MODALITIES,
    mesh=dict(data=-1, seed=1),
    reader=dict(threads=1, ahead=2),
    **SECTIONS,
  )


def test_two_processes_are_one_run_also_after_a_signal(
  single, recipe, tmp_path
):
  """SIGTERM to one, a damaged file, the rest by two, the end read by one."""
  exp, whole = single
  workdir = tmp_path / 'run'
  arguments = f'--config={recipe}', f'--workdir={workdir}'

  pair = Pair(*arguments)
  commands.wait_for_step(pair.processes[0], workdir, 3)
  pair.processes[1].send_signal(signal.SIGTERM)
  (first, second) = pair.end()
  assert (first[0], second[0]) == (0, 0), (first, second)
  with Checkpoints(workdir / 'checkpoints', read_only=True) as checkpoints:
    saved = checkpoints.steps()
  step = saved[-1]
  assert step % train.AGREE_STEPS == 0 and 3 < step < STEPS
  assert f'Stopped by SIGTERM at step {step}, saved at step' in second[1]
  assert f'a signal to another process at step {step}, saved' in first[1]

  damaged = workdir / 'checkpoints' / str(step) / 'state' / 'manifest.ocdbt'
  damaged.write_bytes(damaged.read_bytes()[:-1])
  for code, text in Pair(*arguments).end():
    assert code == 0, text
    assert f'Checkpoint {step} is damaged: state/manifest.ocdbt' in text
    assert 'Traceback' not in text
  assert_close(log.read(workdir), log.read(whole))

  train.run(exp, workdir)  # trained before: this only reads and evaluates
  found, want = (
    json.loads((path / folder.RESULTS).read_text())['test']['joint']
    for path in (workdir, whole)
  )
  assert found['accuracy'] == want['accuracy']
  np.testing.assert_allclose(found['ece']['mean'], want['ece']['mean'], 1e-4)


def test_all_processes_stop_where_one_must(single, recipe, tmp_path):
  """Only process 0 looks at the folder; the other must not wait for ever."""
  workdir = tmp_path / 'run'
  workdir.mkdir()
  shutil.copy(single[1] / 'config.json', workdir)
  arguments = f'--config={recipe}', f'--workdir={workdir}'
  first, second = Pair(*arguments, '--config.width=9').end()
  assert (first[0], second[0]) == (1, 1)
  assert 'config.width: 8 -> 9' in first[1]
  assert 'Process 0 cannot use' in second[1]
  assert 'Traceback' not in first[1] + second[1]


def test_processes_need_one_folder_and_a_full_address(recipe):
  first, second = Pair(f'--config={recipe}').end()
  assert (first[0], second[0]) == (1, 1)
  assert 'Several processes need a --workdir' in first[1]
  alone = commands.start(
    '--coordinator=localhost', '--num_processes=1', '--process_id=0'
  )
  assert '--coordinator=localhost must read host:port' in commands.end(alone)[1]


def eight_steps(devices, shard):
  """(metrics of every step, parameters) of the default recipe, shrunk."""
  config = importlib.import_module('configs.mla_digits').get_config()
  config.num_seeds = 1
  config.phases = (('lap', 8, 'steps'),)
  config.encoders.speech.update(channels=8, blocks=1)
  config.mesh = dict(data=devices, seed=1)
  config.shard_state = shard
  exp = experiment.build(config)
  states, told = exp.seeds.init(), []
  for i in range(8):
    states, metrics = exp.lifted['lap'](states, exp.batch(i))
    told.append(exp.seeds.stack(metrics))
  assert 'loss' in told[0]
  return told, states[0].params


@pytest.fixture(scope='module')
def one_device():
  return eight_steps(1, False)


@pytest.mark.parametrize('shard', [False, True])
def test_eight_devices_give_the_losses_of_one(one_device, shard):
  """With the state replicated, or split."""
  told, params = eight_steps(8, shard)
  leaves = jax.tree.leaves(params)
  assert {len(x.sharding.device_set) for x in leaves} == {8}
  assert shard == any(not x.sharding.is_fully_replicated for x in leaves)
  close = functools.partial(np.testing.assert_allclose, rtol=1e-5, atol=1e-5)
  jax.tree.map(close, told, one_device[0])
  jax.tree.map(close, params, one_device[1])
