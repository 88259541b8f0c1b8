"""The loop: whatever ends a run, starting it again gives the same numbers."""

import json
import math
import os
import shutil
import signal
import subprocess
import types

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import tiny

from mmjax import _train_watch, experiment, folder, log, train
from mmjax.base import NEVER, Phase
from mmjax.checkpoint import Checkpoints

FIRST, TOTAL = 14, 22  # steps of the first phase, and of both
RUN = dict(
  log_steps=2,
  eval_epochs=1.0,  # of 6 steps
  checkpoint_epochs=0.5,
  keep=2,
  select='best',
  watch='classification/joint/accuracy',
)
PLAN = (('lap', FIRST, 'steps'), ('turn', TOTAL - FIRST, 'steps'))


@pytest.fixture(scope='module')
def data(tmp_path_factory):
  return tiny.write(tmp_path_factory.mktemp('data'), ('audio', 'visual'))


def config(data, **sections):
  return tiny.config(
    data, ('audio', 'visual'), **{'run': RUN, 'phases': PLAN, **sections}
  )


@pytest.fixture(scope='module')
def exp(data):
  """Three seeds, two phases; entering the second turns the model around."""
  optim = dict(name='sgd', lr=0.03)
  built = experiment.build(config(data, num_seeds=3, optim=optim))
  phases = dict(built.method.phases)
  phases['turn'] = Phase(
    phases['turn'].step,
    lambda s: s.replace(params=jax.tree.map(jnp.negative, s.params)),
  )
  return built._replace(method=built.method._replace(phases=phases))


class Run:
  """What a run folder holds, as far as it may not depend on interruptions."""

  def __init__(self, exp, path):
    with Checkpoints(path / 'checkpoints', read_only=True) as checkpoints:
      self.steps = checkpoints.steps()
      self.step, state = checkpoints.restore(exp.seeds.abstract)
      self.best = checkpoints.restore(exp.seeds.abstract, 'best').step
    self.leaves = [
      np.asarray(
        jax.random.key_data(x) if x.dtype == jax.random.key(0).dtype else x
      )
      for x in jax.tree.leaves(state)
    ]
    self.lines = [{**line, 'time': 0} for line in log.read(path)]
    self.results = json.loads((path / folder.RESULTS).read_text())


@pytest.fixture(scope='module')
def whole(exp, tmp_path_factory):
  """The run that nothing interrupted."""
  path = tmp_path_factory.mktemp('whole') / 'run'
  returned = train.run(exp, path)
  run = Run(exp, path)
  assert run.results == json.loads(json.dumps(returned))
  run.path = path
  return run


def assert_same(run, whole):
  assert run.step == whole.step == TOTAL
  assert run.best == whole.best
  for got, want in zip(run.leaves, whole.leaves, strict=True):
    assert got.dtype == want.dtype and got.tobytes() == want.tobytes()
  assert run.lines == whole.lines
  assert run.results == whole.results


def at(exp, step, do):
  """The experiment, in which `do` happens during that step."""

  def wrap(lifted):
    def stepped(states, batch):
      now = exp.seeds.step(states)
      states, told = lifted(states, batch)
      return do(states, told) if now + 1 == step else (states, told)

    return stepped

  lifted = {name: wrap(fn) for name, fn in exp.lifted.items()}
  return exp._replace(lifted=lifted)


def test_a_run_leaves_all_that_was_promised(whole):
  lines = [line for line in whole.lines if line['split'] == 'train']
  assert [line['step'] for line in lines] == list(range(2, TOTAL + 1, 2))
  assert {line['phase'] for line in lines if line['step'] <= FIRST} == {'lap'}
  assert {line['phase'] for line in lines if line['step'] > FIRST} == {'turn'}
  evals = [line for line in whole.lines if line['split'] == 'validation']
  saved = {*range(3, TOTAL, 3), TOTAL}
  assert {line['step'] for line in evals} == saved | {6, 12, 18}
  assert set(whole.results) == {'validation', 'test'}
  joint = whole.results['test']['joint']['accuracy']
  assert len(joint['values']) == 3
  assert joint['mean'] == pytest.approx(np.mean(joint['values']))
  assert joint['std'] == pytest.approx(np.std(joint['values'], ddof=1))
  for name in ('report.html', 'predictions_classification.npz'):
    assert (whole.path / name).stat().st_size > 0
  # Three models, not one thrice.
  counts = len(whole.leaves) // 3
  assert any(
    (whole.leaves[i] != whole.leaves[i + counts]).any() for i in range(counts)
  )


def test_select_best_reports_the_best_checkpoint(whole):
  scores = {
    line['step']: np.mean(line['values']['joint/accuracy'])
    for line in whole.lines
    if line['split'] == 'validation' and line['step'] in {*range(3, 22, 3), 22}
  }
  top = max(scores.values())
  assert whole.best == max(step for step, s in scores.items() if s == top)
  assert scores[TOTAL] < top  # else this would show nothing
  reported = whole.results['validation']['joint']['accuracy']['mean']
  assert reported == pytest.approx(top)


def test_signals_at_any_step_change_nothing(exp, whole, tmp_path, capfd):
  """Also at the boundary of two phases, and inside the second."""

  def stop(states, told):
    os.kill(os.getpid(), signal.SIGTERM)
    return states, told

  before = signal.getsignal(signal.SIGTERM)
  for step in (1, 5, FIRST, FIRST + 1, TOTAL - 1):
    with pytest.raises(train.Stopped, match=f'SIGTERM at step {step}, saved'):
      train.run(at(exp, step, stop), tmp_path / 'run')
    assert signal.getsignal(signal.SIGTERM) is before
    with Checkpoints(tmp_path / 'run' / 'checkpoints', read_only=True) as saved:
      assert max(saved.steps()) == step
  train.run(exp, tmp_path / 'run')
  assert_same(Run(exp, tmp_path / 'run'), whole)
  told = capfd.readouterr()
  assert f'Resuming at step {TOTAL - 1} of {TOTAL}' in told.out
  assert 'Saving after this step' in told.err


class Crash(BaseException):
  pass


def crash(*_):
  raise Crash


def test_crashes_between_checkpoints_change_nothing(exp, whole, tmp_path):
  for step in (2, 5, 11, FIRST + 2, TOTAL):
    with pytest.raises(Crash):
      train.run(at(exp, step, crash), tmp_path / 'run')
  train.run(exp, tmp_path / 'run')
  assert_same(Run(exp, tmp_path / 'run'), whole)


def test_a_damaged_checkpoint_costs_steps_but_no_numbers(exp, whole, tmp_path):
  with pytest.raises(Crash):
    train.run(at(exp, 17, crash), tmp_path / 'run')
  damaged = tmp_path / 'run' / 'checkpoints' / '15' / 'meta' / 'metadata'
  damaged.write_bytes(damaged.read_bytes()[:-9])
  with pytest.warns(UserWarning, match='Checkpoint 15 is damaged: meta/meta'):
    train.run(exp, tmp_path / 'run')
  assert (tmp_path / 'run' / 'checkpoints_damaged' / '15').is_dir()
  assert_same(Run(exp, tmp_path / 'run'), whole)


def test_a_finished_run_is_evaluated_again_without_harm(exp, whole, capfd):
  before = sorted((whole.path / 'checkpoints').rglob('*'))
  train.run(exp, whole.path)
  assert 'Trained to the end, step 22, before' in capfd.readouterr().out
  assert sorted((whole.path / 'checkpoints').rglob('*')) == before
  assert_same(Run(exp, whole.path), whole)


def test_a_signal_after_the_last_step_ends_it_at_once(exp, whole, monkeypatch):
  def stop(*_, **__):
    os.kill(os.getpid(), signal.SIGINT)
    raise AssertionError('went on')

  monkeypatch.setattr(train.evaluate, 'run', stop)
  before = signal.getsignal(signal.SIGINT)
  with pytest.raises(train.Stopped, match='SIGINT after the last step'):
    train.run(exp, whole.path)
  assert signal.getsignal(signal.SIGINT) is before


def test_a_folder_belongs_to_one_config(exp, whole):
  before = sorted(whole.path.rglob('*'))
  other = {**exp.config, 'optim': {**exp.config['optim'], 'lr': 0.25}}
  with pytest.raises(
    ValueError, match=r'config.optim.lr: 0.03 -> 0.25'
  ) as error:
    train.run(exp._replace(config=other), whole.path)
  assert '--workdir' in str(error.value)
  assert sorted(whole.path.rglob('*')) == before
  moved = {**exp.config, 'mesh': dict(data=4, seed=2), 'seeds_how': 'loop'}
  moved['reader'] = dict(threads=3, ahead=1)
  with folder.claimed(whole.path, moved):
    pass
  with pytest.raises(ValueError, match="seeds_how: 'loop' -> 'vmap'"):
    with folder.claimed(whole.path, {**moved, 'seeds_how': 'vmap'}):
      pass


def test_a_folder_belongs_to_one_process(exp, tmp_path):
  config = {**exp.config, 'seeds_how': 'loop'}
  with folder.claimed(tmp_path / 'run', config):
    with pytest.raises(ValueError, match='Another process is training in'):
      train.run(exp, tmp_path / 'run')
  names = sorted(p.name for p in (tmp_path / 'run').iterdir())
  assert names == ['.lock', 'config.json']


def test_a_folder_with_other_things_in_it_is_left_alone(exp, tmp_path):
  (tmp_path / 'thesis.tex').write_text('')
  with pytest.raises(ValueError, match='no run folder .it holds thesis.tex'):
    train.run(exp, tmp_path)
  assert [p.name for p in tmp_path.iterdir()] == ['thesis.tex']
  with pytest.raises(OSError):
    train.run(exp, tmp_path / 'thesis.tex' / 'run')
  (tmp_path / 'thesis.tex').unlink()
  (tmp_path / 'config.json').write_text('{"config": ')
  with pytest.raises(ValueError, match='config.json cannot be read'):
    train.run(exp, tmp_path)


def test_nan_in_the_data_stops_it_and_the_run_can_go_on(exp, whole, tmp_path):
  clean = exp.sources['train']
  row = exp.train_rows(7)[3]  # of step 8

  def take(rows):
    batch = clean.take(rows)
    values = np.where((rows == row)[:, None, None], np.nan, batch['visual'])
    return {**batch, 'visual': values.astype(np.float32)}

  assert row not in exp.train_rows(6)
  bad = exp._replace(
    sources={**exp.sources, 'train': clean._replace(take=take)}
  )
  with pytest.raises(FloatingPointError) as error:
    train.run(bad, tmp_path / 'run')
  epoch = next(s for s in range(TOTAL) if row in exp.train_rows(s)) + 1
  for part in (
    f'NaN or infinite at step {epoch} ',
    f'visual in training rows [{row}]',
    f'last good checkpoint is step {(epoch - 1) // 3 * 3}',
  ):
    assert part in str(error.value)
  train.run(exp, tmp_path / 'run')
  assert_same(Run(exp, tmp_path / 'run'), whole)


@pytest.mark.parametrize('lr, decay, steps', [(3e38, 99.0, 1), (1e9, 0.0, 9)])
def test_divergence_is_told_and_never_saved(data, tmp_path, lr, decay, steps):
  """The last update may ruin a model whose every metric was finite."""
  sections = dict(
    optim=dict(name='sgd', lr=lr, weight_decay=decay),
    head=dict(name='sum'),
    method=dict(name='joint'),
    phases=(('joint', steps, 'steps'),),
  )
  built = experiment.build(config(data, **sections))
  with pytest.raises(FloatingPointError) as error:
    train.run(built, tmp_path / 'run')
  text = str(error.value)
  assert f'at a learning rate of {lr:.3g}' in text
  assert 'clip_norm' in text and '--workdir' in text
  if steps == 1:
    assert 'params/' in text and 'at step 1 ' in text and 'loss' not in text
    assert 'no checkpoint yet' in text
  with Checkpoints(tmp_path / 'run' / 'checkpoints', read_only=True) as saved:
    found = saved.restore(built.seeds.abstract)
  assert found is None or all(
    jnp.isfinite(x).all() for x in jax.tree.leaves(found.state[0].params)
  )


def without_validation(exp):
  empty = exp.sources['validation']._replace(size=0)
  return exp._replace(sources={**exp.sources, 'validation': empty})


def test_without_validation_examples(exp, tmp_path):
  blind = without_validation(exp)
  with pytest.raises(ValueError, match="select='best' needs validation"):
    train.run(blind, tmp_path / 'best')
  latest = blind._replace(run=exp.run._replace(select='latest'))
  results = train.run(latest, tmp_path / 'latest')
  assert set(results) == {'test'}
  assert {line['split'] for line in log.read(tmp_path / 'latest')} == {'train'}


def test_a_number_to_watch_that_is_none_is_said_at_once(exp, tmp_path):
  run = exp.run._replace(watch='classification/joint/acuracy')
  with pytest.raises(ValueError, match='There are: classification/audio/acc'):
    train.run(exp._replace(run=run), tmp_path / 'run')
  assert not list((tmp_path / 'run' / 'checkpoints').iterdir())


# A phase that is enough before its stop.

EARLY = 12  # steps, two epochs


@pytest.fixture(scope='module')
def early(exp):
  """Of three seeds the last one has enough at step 12, the others before."""

  def until(state):
    mine = EARLY - 6 * (jax.random.key_data(state.key)[-1] < 2)
    return jnp.where(state.step >= mine, mine, NEVER).astype(jnp.int32)

  return exp._replace(until={'lap': exp.seeds.ask(until)})


@pytest.fixture(scope='module')
def early_whole(early, tmp_path_factory):
  path = tmp_path_factory.mktemp('early') / 'run'
  train.run(early, path)
  return Run(early, path)


def test_the_next_phase_takes_over_what_is_left(early_whole, whole):
  phase = {
    line['step']: line['phase']
    for line in early_whole.lines
    if line['split'] == 'train'
  }
  assert {phase[t] for t in phase if t <= EARLY} == {'lap'}
  assert {phase[t] for t in phase if t > EARLY} == {'turn'}
  assert early_whole.step == TOTAL  # the length of training stays
  rates = [
    [x['values']['lr'] for x in run.lines if x['split'] == 'train']
    for run in (early_whole, whole)
  ]
  assert rates[0] == rates[1]  # and so does the schedule


@pytest.mark.parametrize('step, resumed', [(EARLY + 1, 12), (EARLY + 5, 15)])
def test_the_next_phase_is_entered_once(early, tmp_path, step, resumed):
  """And again after a restart only if nothing of it was saved."""
  entered, turn = [], early.method.phases['turn']

  def enter(state):
    jax.debug.callback(lambda at: entered.append(int(at)), state.step)
    return turn.enter(state)

  phases = {**early.method.phases, 'turn': turn._replace(enter=enter)}
  told = early._replace(method=early.method._replace(phases=phases))
  once = [EARLY] * 3  # one for each seed
  with pytest.raises(Crash):
    train.run(at(told, step, crash), tmp_path / 'run')
  jax.effects_barrier()
  assert entered == once
  with Checkpoints(tmp_path / 'run' / 'checkpoints', read_only=True) as saved:
    assert saved.steps()[-1] == resumed
  train.run(told, tmp_path / 'run')
  jax.effects_barrier()
  assert entered == (once if resumed > EARLY else 2 * once)


@pytest.mark.parametrize('step', [EARLY, EARLY + 1, EARLY + 3, FIRST + 2])
def test_an_early_end_survives_a_crash(early, early_whole, tmp_path, step):
  """Whether it comes just before the next phase is entered, or later."""
  with pytest.raises(Crash):
    train.run(at(early, step, crash), tmp_path / 'run')
  train.run(early, tmp_path / 'run')
  assert_same(Run(early, tmp_path / 'run'), early_whole)


def test_no_evaluation_where_none_is_asked_for(exp, tmp_path):
  run = exp.run._replace(eval_epochs=0, select='latest')
  with pytest.raises(Crash):
    train.run(at(exp._replace(run=run), 8, crash), tmp_path / 'run')
  assert {line['split'] for line in log.read(tmp_path / 'run')} == {'train'}


@pytest.fixture
def small_disk(tmp_path):
  place = tmp_path / 'disk'
  place.mkdir()
  mount = ['mount', '-t', 'tmpfs', '-o', 'size=4m', 'tmpfs', str(place)]
  try:
    subprocess.run(mount, check=True, capture_output=True)
  except (OSError, subprocess.CalledProcessError) as error:
    pytest.skip(f'needs the right to mount a small file system: {error}')
  yield place
  subprocess.run(['umount', str(place)], check=True)


def fill(disk):
  try:  # a disk that is full already may refuse the name, too
    with open(disk / 'filler', 'ab') as file:
      file.write(b'x' * shutil.disk_usage(disk).free)
  except OSError:
    pass


def test_a_full_disk_costs_files_but_not_the_run(exp, whole, small_disk):
  def full(states, told):
    fill(small_disk)
    return states, told

  class Filling(dict):  # from step 10 on, at every step
    def __getitem__(self, phase):
      step = super().__getitem__(phase)
      return lambda states, batch: (
        full(*step(states, batch))
        if exp.seeds.step(states) >= 9
        else step(states, batch)
      )

  with pytest.warns(UserWarning) as told:
    train.run(exp._replace(lifted=Filling(exp.lifted)), small_disk / 'run')
  texts = [str(w.message) for w in told]
  for part in (
    'Checkpoint 12 could not be written',
    'metrics.jsonl and of TensorBoard are being lost',
  ):
    assert any(part in text for text in texts), (part, texts)
  with Checkpoints(small_disk / 'run' / 'checkpoints', read_only=True) as saved:
    assert saved.restore(exp.seeds.abstract).step in (6, 9)
  (small_disk / 'filler').unlink()
  train.run(exp, small_disk / 'run')
  assert_same(Run(exp, small_disk / 'run'), whole)


def test_a_full_disk_leaves_the_table(exp, whole, small_disk, capfd):
  path = small_disk / 'run'
  shutil.copytree(whole.path, path)
  names = ('predictions_classification.npz', 'results.json', 'report.html')
  for name in names:
    (path / name).unlink()
  fill(small_disk)
  with pytest.warns(UserWarning) as told:
    train.run(exp, path)
  texts = [str(w.message) for w in told]
  for name in names:
    assert any(f'{name} could not' in text for text in texts), (name, texts)
  assert 'fused' in capfd.readouterr().out
  assert not list(path.rglob('*.tmp*'))
  (small_disk / 'filler').unlink()
  train.run(exp, path)
  assert_same(Run(exp, path), whole)


def test_the_results_are_finite(whole):
  def numbers(node):
    for value in node.values():
      yield from numbers(value) if isinstance(value, dict) else [value]

  assert all(
    math.isfinite(x) for v in numbers(whole.results) for x in np.ravel(v)
  )


class Late(np.ndarray):
  """A metric that is still being computed when it is asked."""

  def is_ready(self):
    return False


def test_metrics_that_come_together_are_progress_once():
  """Else the first of many seems to have taken the time of all."""
  said = []
  watch = object.__new__(_train_watch.Watch)
  watch.exp = types.SimpleNamespace(
    seeds=types.SimpleNamespace(stack=lambda told: told),
    run=types.SimpleNamespace(log_steps=100),
  )
  watch.logger = types.SimpleNamespace(
    progress=lambda step, *_: said.append(step)
  )
  watch.total = 100
  here, late = jnp.ones(2), np.ones(2).view(Late)
  jax.block_until_ready(here)
  watch.waiting = [
    (step, 'joint', {'loss': loss})
    for step, loss in enumerate([here, here, late, here, here, here], 1)
  ]
  watch.settle(but=1)
  assert said == [2, 5]
  assert [step for step, _, _ in watch.waiting] == [6]
