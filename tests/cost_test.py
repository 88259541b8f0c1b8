"""What a run costs, counted by hand where that can be done."""

import json

import jax
import numpy as np
import pytest
import tiny

from mmjax import cost, experiment, train
from mmjax.plan import Segment

WIDTH, HIDDEN, C = 8, 512, tiny.CLASSES
MODALITIES = ('audio', 'visual')
KEYS = {
  *('parameters', 'flops_per_example', 'train_s', 'device'),
  *('examples_per_s', 'examples_per_s_per_model', 'phases', 'saved'),
}


@pytest.fixture(scope='module')
def data(tmp_path_factory):
  return tiny.write(tmp_path_factory.mktemp('data'), MODALITIES)


def build(data, **sections):
  """Two wide encoders of one hidden layer; nearly all work is products."""
  wide = dict(name='mlp', hidden=(HIDDEN, HIDDEN))
  plain = dict(
    encoders=dict.fromkeys(MODALITIES, wide),
    head=dict(name='concat'),
    method=dict(name='joint'),
    phases=(('joint', 12, 'steps'),),
  )
  return experiment.build(tiny.config(data, MODALITIES, **plain | sections))


def sizes():
  """Entries of all kernels, and of those whose inputs need no gradient."""
  inputs = [int(np.prod(tiny.SHAPES[m])) for m in MODALITIES]
  first = sum(inputs) * HIDDEN
  rest = 2 * (HIDDEN * HIDDEN + HIDDEN * WIDTH) + 2 * WIDTH * C
  return first, rest


def read(path):
  return json.loads((path / cost.COST).read_text())


@pytest.mark.parametrize('how', ['loop', 'vmap'])
def test_parameters_are_those_of_one_model(data, how):
  exp = build(data, num_seeds=3, seeds_how=how)
  biases = 2 * (2 * HIDDEN + WIDTH) + C
  assert cost.parameters(exp) == sum(sizes()) + biases


@pytest.mark.parametrize('how', ['loop', 'vmap'])
def test_flops_are_those_of_the_products(data, how):
  """Two for a multiplication and an addition; forward, and two gradients.

  The rest, as what the optimizer does, is a small part.
  """
  exp = build(data, num_seeds=3, seeds_how=how)
  first, rest = sizes()
  want = 2 * (2 * first + 3 * rest)
  for ran in (False, True):
    assert want < cost.flops(exp, 'joint', ran) < 1.2 * want


def test_flops_are_of_all_devices(data):
  """Of which two do the same to the parameters that they share."""
  one = build(data, num_seeds=2, seeds_how='vmap')
  mesh = dict(data=2, seed=2)
  four = build(data, num_seeds=2, seeds_how='vmap', mesh=mesh)
  assert cost.flops(four, 'joint', ran=True) == pytest.approx(
    cost.flops(one, 'joint', ran=True), rel=0.25
  )


def test_the_mean_is_over_the_steps_of_all_phases(data):
  exp = build(data)
  exp = exp._replace(plan=(Segment('a', 0, 3), Segment('b', 3, 12)))
  found = cost.of(exp, None, per_phase={'a': 4.0, 'b': 8.0})
  assert found['flops_per_example'] == (3 * 4 + 9 * 8) / 12
  assert cost.of(exp, None, per_phase={'b': 8.0})['flops_per_example'] == 8
  assert cost.of(exp, None, per_phase={})['flops_per_example'] is None


class Clock:
  """A clock that is moved by hand."""

  def __init__(self, monkeypatch):
    self.now = 0.0
    monkeypatch.setattr(cost.time, 'perf_counter', lambda: self.now)

  def step(self, meter, seconds):
    self.now += seconds
    meter.step({})

  def save(self, meter, step, *kept):
    meter.rest()
    self.now += 100  # validation
    meter.write(step, None, kept)
    self.now += 1000  # the checkpoint itself
    meter.go()


@pytest.fixture
def clock(monkeypatch):
  monkeypatch.setattr(cost, 'flops', lambda *_, **__: 5.0)
  return Clock(monkeypatch)


def begun(exp, path, clock, step):
  """A loop that went on at `step` and did the first steps of its phase."""
  meter = cost.Meter(exp, path, enabled=True)
  meter.start(step)
  meter.enter('joint')
  for _ in range(cost.WARM):
    clock.step(meter, 50)
  return meter


def test_the_speed_is_that_of_steady_steps_and_the_time_is_all(
  data, tmp_path, clock
):
  exp = build(data, num_seeds=3)
  meter = begun(exp, tmp_path, clock, 0)
  for _ in range(4):
    clock.step(meter, 2)
  clock.save(meter, 7)
  for _ in range(6):
    clock.step(meter, 4)
  clock.save(meter, 13, 7)
  found = read(tmp_path)
  assert set(found) == KEYS
  per_model = 10 * tiny.BATCH / (4 * 2 + 6 * 4)
  assert found['examples_per_s_per_model'] == pytest.approx(per_model)
  assert found['examples_per_s'] == pytest.approx(3 * per_model)
  assert found['train_s'] == 3 * 50 + 4 * 2 + 100 + 1000 + 6 * 4 + 100
  assert found['flops_per_example'] == 5
  assert found['device'] == cost.device()


def test_times_of_a_resumed_run_add_up_without_what_was_lost(
  data, tmp_path, clock
):
  exp = build(data)
  meter = begun(exp, tmp_path, clock, 0)
  clock.step(meter, 2)
  clock.save(meter, 4)
  clock.step(meter, 7)
  clock.save(meter, 5, 4)  # of which the checkpoint never came to be
  clock.step(meter, 7)
  clock.now += 1e6
  meter = begun(exp, tmp_path, clock, 4)
  clock.step(meter, 3)
  clock.save(meter, 8, 4)
  found = read(tmp_path)
  assert found['train_s'] == (150 + 2 + 100) + (150 + 3 + 100)
  speed = 2 * tiny.BATCH / (2 + 3)
  assert found['examples_per_s'] == pytest.approx(speed)
  assert set(found['saved']) == {'4', '8'}


def test_times_that_nobody_noted_are_null(data, tmp_path, clock):
  meter = begun(build(data), tmp_path, clock, 4)
  clock.step(meter, 2)
  clock.save(meter, 8)
  found = read(tmp_path)
  assert found['train_s'] is None
  assert found['examples_per_s'] == pytest.approx(tiny.BATCH / 2)


def test_a_phase_that_comes_again_does_not_count_what_lies_between(
  data, tmp_path, clock
):
  meter = begun(build(data), tmp_path, clock, 0)
  clock.step(meter, 2)
  meter.enter('other')  # as one that is entered for long, and compiled
  clock.now += 500
  for _ in range(cost.WARM):
    clock.step(meter, 50)
  clock.step(meter, 2)
  meter.enter('joint')
  clock.step(meter, 50)
  clock.step(meter, 2)
  clock.save(meter, 9)
  assert read(tmp_path)['saved']['9']['steady_s'] == 6
  assert read(tmp_path)['saved']['9']['steady_steps'] == 3


def test_devices_of_all_starts_are_named(data, tmp_path, clock, monkeypatch):
  for step, name in ((0, 'tortoise'), (4, 'hare'), (8, 'hare')):
    monkeypatch.setattr(cost, 'device', lambda name=name: name)
    clock.save(begun(build(data), tmp_path, clock, step), step + 4, step)
  assert read(tmp_path)['device'] == 'tortoise + hare'


@pytest.fixture
def unreported(monkeypatch):
  """Runs without their pages, which take longer than these runs."""
  monkeypatch.setattr(train.report, 'write', lambda path: path / 'report.html')


@pytest.fixture
def compiled():
  """A list that grows with each program that is compiled."""
  names, count = [], [True]

  def hear(name, seconds, **kwargs):  # noqa: ARG001
    if count[0] and 'backend_compile' in name:
      names.append(name)

  jax.monitoring.register_event_duration_secs_listener(hear)
  yield names
  count[0] = False


@pytest.mark.usefixtures('unreported')
@pytest.mark.parametrize('how', ['loop', 'vmap'])
def test_a_run_leaves_its_cost_and_compiles_nothing_for_it(
  data, tmp_path, how, compiled
):
  exp = build(data, num_seeds=2, seeds_how=how)
  train.run(exp, tmp_path / 'run')
  found = read(tmp_path / 'run')
  assert set(found) == KEYS and None not in found.values()
  assert found['parameters'] == cost.parameters(exp)
  assert 0 < found['train_s'] < 600
  assert set(found['phases']) == {'joint'}
  assert len(compiled) > 0
  del compiled[:]
  again = cost.flops(exp, 'joint', ran=True)
  assert again == found['flops_per_example'] and not compiled
  train.run(exp, tmp_path / 'run')  # nothing is left to do, or to measure
  assert read(tmp_path / 'run') == found


@pytest.mark.usefixtures('unreported')
def test_what_cannot_be_measured_costs_no_run(data, tmp_path, monkeypatch):
  def broken(*_, **__):
    raise RuntimeError('no such counter')

  monkeypatch.setattr(cost, 'flops', broken)
  with pytest.warns(UserWarning, match='cost.json could not be made .Runtime'):
    results = train.run(build(data), tmp_path / 'run')
  assert 'joint' in results['test']
  assert not (tmp_path / 'run' / cost.COST).exists()


def test_a_damaged_file_is_said_and_replaced(data, tmp_path, clock):
  (tmp_path / cost.COST).write_text('{"saved": ')
  with pytest.warns(UserWarning, match='cost.json could not be read'):
    meter = begun(build(data), tmp_path, clock, 4)
  clock.save(meter, 8)
  assert read(tmp_path)['train_s'] is None
