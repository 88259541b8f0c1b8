"""Optimizers and schedules against PyTorch, the plan, the order, the feed."""

import functools
import math
import threading

import hypothesis
import hypothesis.strategies as st
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import tiny

from mmjax import optim, plan
from mmjax.data import feed, order

few = hypothesis.settings(deadline=None, max_examples=20)
CLOCK = optim.Clock(steps_per_epoch=5, total_steps=40)


# Optimizers.


def trajectory(optimizer, schedule, steps=12):
  """A parameter [3] and its gradients under our descent: f32[steps, 3]."""
  grad = jax.grad(lambda p: jnp.sum(jnp.cos(2 * p) + p**2))
  param, told = jnp.array([0.3, -1.0, 2.0]), []
  memory = optimizer.direction.init(param)
  update = jax.jit(optimizer.direction.update)
  for t in range(steps):
    step, memory = update(grad(param), memory, param)
    param = param - schedule(jnp.int32(t)) * step
    told.append(param)
  return np.stack(told)


def torchs(make_optimizer, make_schedule, steps=12):
  """The same in PyTorch, whose scheduler steps once per epoch."""
  torch = pytest.importorskip('torch')
  param = torch.tensor([0.3, -1.0, 2.0], requires_grad=True)
  optimizer, told = make_optimizer(torch, [param]), []
  scheduler = make_schedule(torch, optimizer)
  for t in range(steps):
    optimizer.zero_grad()
    (torch.cos(2 * param) + param**2).sum().backward()
    optimizer.step()
    if (t + 1) % CLOCK.steps_per_epoch == 0:
      scheduler.step()
    told.append(param.detach().numpy().copy())
  return np.stack(told)


@pytest.mark.parametrize(
  'options',
  [
    dict(momentum=0.0, weight_decay=0.0),
    dict(momentum=0.9, weight_decay=0.01),
    dict(momentum=0.9, weight_decay=0.01, nesterov=True),
  ],
)
def test_sgd_under_a_staircase_is_pytorchs(options):
  sgd = optim.sgd(lr=0.05, **options)
  schedule = optim.staircase(sgd.lr, CLOCK, every_epochs=1, factor=0.3)
  want = torchs(
    lambda torch, params: torch.optim.SGD(params, lr=0.05, **options),
    lambda torch, o: torch.optim.lr_scheduler.StepLR(o, 1, 0.3),
  )
  told = trajectory(sgd, schedule)
  np.testing.assert_allclose(told, want, rtol=1e-5, atol=1e-6)


def test_adamw_is_pytorchs():
  adamw = optim.adamw(lr=0.05, weight_decay=0.1)
  want = torchs(
    lambda torch, p: torch.optim.AdamW(p, lr=0.05, weight_decay=0.1),
    lambda torch, o: torch.optim.lr_scheduler.StepLR(o, 100),
  )
  told = trajectory(adamw, optim.constant(adamw.lr, CLOCK))
  np.testing.assert_allclose(told, want, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize('make', optim.OPTIMIZERS.values())
def test_clipping_bounds_the_gradient_before_all_else(make):
  grad = {'a': jnp.array([30.0, 0.0]), 'b': jnp.array([40.0])}
  param = jax.tree.map(jnp.zeros_like, grad)
  clipped = make(clip_norm=5.0).direction
  plain = make().direction
  small = jax.tree.map(lambda g: g / 10, grad)  # of norm 5
  told, _ = clipped.update(grad, clipped.init(param), param)
  want, _ = plain.update(small, plain.init(param), param)
  tiny.close(told, want, rtol=1e-6)
  told, _ = clipped.update(small, clipped.init(param), param)
  tiny.close(told, want, rtol=1e-6)


@pytest.mark.parametrize('make', optim.OPTIMIZERS.values())
def test_a_learning_rate_must_be_positive(make):
  with pytest.raises(ValueError, match='config.optim.lr=0 must be above 0'):
    make(lr=0)
  with pytest.raises(ValueError, match='clip_norm=-1 .*must not be negative'):
    make(clip_norm=-1)


# Schedules.


def rates(schedule, steps=CLOCK.total_steps + 1):
  return np.array([schedule(jnp.int32(t)) for t in range(steps)])


def test_constant():
  told = rates(optim.constant(0.3, CLOCK))
  np.testing.assert_allclose(told, 0.3, rtol=1e-6)
  assert optim.constant(0.3, CLOCK)(jnp.int32(2)).dtype == jnp.float32


def test_staircase_falls_at_whole_epochs():
  told = rates(optim.staircase(1.0, CLOCK, every_epochs=2, factor=0.1))
  want = 0.1 ** (np.arange(41) // 10)
  np.testing.assert_allclose(told, want, rtol=1e-5)


def test_cosine_goes_from_top_to_end():
  told = rates(optim.cosine(2.0, CLOCK, final=0.1))
  np.testing.assert_allclose(told[[0, 20, 40]], [2.0, 1.1, 0.2], rtol=1e-5)
  assert (np.diff(told) <= 0).all()
  beyond = optim.cosine(2.0, CLOCK, final=0.1)(jnp.int32(400))
  np.testing.assert_allclose(beyond, 0.2, rtol=1e-5)
  wave = 1 + np.cos(np.pi * np.arange(41) / 40)
  np.testing.assert_allclose(rates(optim.cosine(2.0, CLOCK)), wave, atol=1e-6)


@pytest.mark.parametrize('name', optim.SCHEDULES)
def test_warmup_climbs_in_equal_steps(name):
  warm = rates(optim.SCHEDULES[name](1.0, CLOCK, warmup_epochs=2))
  np.testing.assert_allclose(warm[:10], np.arange(1, 11) / 10, rtol=1e-6)
  assert warm.max() == 1
  if name == 'cosine':  # what is left of training is for the wave
    np.testing.assert_allclose(warm[10 + 15], 0.5, rtol=1e-5)
    np.testing.assert_allclose(warm[-1], 0, atol=1e-6)


def test_schedules_check_their_periods():
  with pytest.raises(ValueError, match='every_epochs=0 must be above 0'):
    optim.staircase(1.0, CLOCK, every_epochs=0)
  for make in optim.SCHEDULES.values():
    with pytest.raises(ValueError, match='warmup_epochs must not be negative'):
      make(1.0, CLOCK, warmup_epochs=-1)


# The plan.


def test_phases_are_laid_end_to_end():
  told = plan.make(
    (('lap', 2), ('turn', 7, 'steps'), ('lap', 0.5, 'epochs')),
    steps_per_epoch=5,
    menu=('lap', 'turn'),
  )
  assert told == (('lap', 0, 10), ('turn', 10, 17), ('lap', 17, 20))


def test_what_remains_of_a_plan():
  whole = plan.make((('a', 3, 'steps'), ('b', 4, 'steps')), 5, ('a', 'b'))
  assert plan.remaining(whole, 0) == whole
  assert plan.remaining(whole, 2) == (('a', 2, 3), ('b', 3, 7))
  assert plan.remaining(whole, 3) == whole[1:]  # as if it had not been entered
  assert plan.remaining(whole, 5) == (('b', 5, 7),)
  assert plan.remaining(whole, 7) == ()


def test_a_phase_that_was_enough_leaves_its_steps_to_the_next():
  phases = (('a', 6, 'steps'), ('b', 4, 'steps'), ('c', 5, 'steps'))
  whole = plan.make(phases, 5, 'abc')
  assert plan.shortened(whole, {}) == whole
  assert plan.shortened(whole, {'a': 9}) == whole  # never longer
  moved = plan.shortened(whole, {'a': 2})
  assert moved == (('a', 0, 2), ('b', 2, 10), ('c', 10, 15))
  assert plan.shortened(whole, {'a': 2, 'b': 7})[1:] == (
    ('b', 2, 7),
    ('c', 7, 15),
  )
  assert plan.shortened(whole, {'c': 12}) == whole  # the last runs to its end
  assert plan.remaining(moved, 2)[0] in moved  # to be entered
  assert plan.remaining(moved, 3)[0] not in moved
  again = plan.make((*phases[:2], phases[0], phases[2]), 5, 'abc')
  assert plan.shortened(again, {'a': 2}) == (
    ('a', 0, 2),
    ('b', 2, 10),
    ('a', 10, 10),
    ('c', 10, 21),
  )
  assert [
    s.phase for s in plan.remaining(plan.shortened(again, {'a': 2}), 10)
  ] == ['c']


@few
@hypothesis.given(
  st.lists(st.tuples(st.sampled_from('ab'), st.integers(1, 9)), min_size=1),
  st.integers(0, 60),
)
def test_every_step_belongs_to_one_segment(phases, done):
  phases = [(name, amount, 'steps') for name, amount in phases]
  whole = plan.make(phases, 5, 'ab')
  names = [s.phase for s in whole for _ in range(s.start, s.stop)]
  assert names == [name for name, amount, _ in phases for _ in range(amount)]
  left = plan.remaining(whole, done)
  steps = [t for s in left for t in range(s.start, s.stop)]
  assert steps == list(range(done, len(names)))


@pytest.mark.parametrize(
  'phases, says',
  [
    ((), 'config.phases is empty'),
    ((('lab', 1),), "names 'lab'.* lap, turn. Did you mean 'lap'?"),
    ((('zzz', 1),), "names 'zzz', but the method has the phases lap, turn"),
    ((('lap', 1, 'hours'),), "counts in 'hours'; 'epochs' or 'steps' it is"),
    (('lap', 30), r"'lap' must be .name, epochs.*comma.*\(\('lap', 30\),\)"),
    ((('lap', 1, 'steps', 2),), 'must be .name, epochs'),
    ((('lap', 0),), 'is shorter than one step'),
    ((('lap', 0.05),), 'is shorter than one step'),
  ],
)
def test_a_bad_plan_says_what_would_be_good(phases, says):
  with pytest.raises(ValueError, match=says):
    plan.make(phases, 5, ('lap', 'turn'))


def test_periods():
  assert plan.every(0, 10) == 0
  assert plan.every(0.001, 10) == 1
  assert plan.every(2.5, 10) == 25


# The order.


@few
@hypothesis.given(st.integers(1, 50), st.integers(1, 20), st.integers(0, 99))
def test_no_row_comes_twice_in_an_epoch(size, batch_size, seed):
  steps = order.steps_per_epoch(size, batch_size)
  rows = functools.partial(order.rows, size, batch_size, seed)
  epochs = [
    np.concatenate([rows(e * steps + t) for t in range(steps)])
    for e in range(2)
  ]
  for told in epochs:
    assert len(set(told.tolist())) == len(told) == min(size, steps * batch_size)
    assert told.min() >= 0 and told.max() < size
  if len(epochs[0]) > 12:
    assert (epochs[0] != epochs[1]).any()
  if size < batch_size:
    assert steps == 1 and sorted(rows(0)) == list(range(size))


def test_rows_are_a_function_of_seed_and_step_alone():
  rows = functools.partial(order.rows, 40, 8)
  forwards = [rows(3, t) for t in range(15)]
  backwards = [rows(3, t) for t in reversed(range(15))][::-1]
  np.testing.assert_array_equal(forwards, backwards)
  assert any((rows(4, t) != forwards[t]).any() for t in range(5))


# The feed.

SOURCE = tiny.source()


def test_a_short_batch_is_padded_with_rows_that_exist():
  batch = feed.load(SOURCE, np.array([5, 9, 2]), 8)
  assert batch['mask'].tolist() == [True] * 3 + [False] * 5
  assert batch['index'].tolist() == [5, 9, 2] + [5] * 5
  assert batch['index'].dtype == np.int32 == batch['label'].dtype
  want = SOURCE.take(np.array([5, 9, 2]))
  for m in tiny.MODALITIES:
    real = jax.tree.map(lambda x: x[:3], batch[m])
    assert tiny.same(real, want[m])
    assert batch['present'][m].shape == (8,)
  whole = feed.load(SOURCE, np.array([5, 9, 2]), None)
  assert whole['mask'].all() and len(whole['mask']) == 3


def test_a_process_reads_its_part_of_the_batch_only():
  rows, asked = np.arange(6), []
  spy = SOURCE._replace(take=lambda r: asked.append(r) or SOURCE.take(r))
  whole = feed.load(SOURCE, rows, 8)
  part = feed.load(spy, rows, 8, slice(4, 8))
  assert asked[0].tolist() == [4, 5, 0, 0]
  assert tiny.same(part, jax.tree.map(lambda x: x[4:8], whole))


@pytest.mark.parametrize('threads', [1, 3])
def test_threads_change_nothing_but_the_time(threads):
  readers = set()

  def take(rows):
    readers.add(threading.current_thread().name)
    return SOURCE.take(rows)

  spy = SOURCE._replace(take=take)
  rows = functools.partial(order.rows, SOURCE.size, 16, 0)
  plain = list(feed.stream(SOURCE, rows, 3, 19, 16, threads=0))
  told = list(feed.stream(spy, rows, 3, 19, 16, threads=threads, ahead=2))
  assert len(told) == 16
  assert tiny.same(told, plain)
  assert threading.current_thread().name not in readers
  assert tiny.same(plain[0]['index'], rows(3).astype(np.int32))


def test_a_stream_may_be_left_early():
  rows = functools.partial(order.rows, SOURCE.size, 16, 0)
  stream = feed.stream(SOURCE, rows, 0, 1000, 16, threads=1)
  next(stream)
  stream.close()


@few
@hypothesis.given(st.integers(1, 70))
def test_in_order_sees_every_row_once(batch_size):
  rows, steps = feed.in_order(SOURCE, batch_size)
  assert steps == math.ceil(SOURCE.size / batch_size)
  told = np.concatenate([rows(t) for t in range(steps)])
  np.testing.assert_array_equal(told, np.arange(SOURCE.size))


def test_nonfinite_names_the_modalities():
  batch = feed.load(SOURCE, np.arange(4), None)
  assert feed.nonfinite(batch, tiny.MODALITIES) == []
  batch['audio'] = batch['audio'].copy()
  batch['audio'][2, 1] = np.nan
  values = batch['text'].values.copy()
  values[0, 0, 0] = np.inf
  batch['text'] = batch['text']._replace(values=values)
  batch['visual'] = np.zeros((4, 2), np.int32)
  assert feed.nonfinite(batch, tiny.MODALITIES) == ['audio', 'text']
