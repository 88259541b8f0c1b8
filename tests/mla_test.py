"""MLA: turns, laps, schedules, the projection, fusion at test time."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import tiny

from mmjax import optim
from mmjax.ops import gating, losses, rls

KEY = jax.random.key(0)
PAIR = ('audio', 'visual')
LR = 0.1
sgd = functools.partial(optim.sgd, lr=LR, momentum=0.0, weight_decay=0.0)


def linear(modalities=PAIR, **hyper) -> tiny.World:
  """Linear encoders without dropout: what a step does can be written down."""
  hyper = dict(encoders=tiny.PLAIN, optimizer=sgd()) | hyper
  return tiny.world('mla', 'shared', modalities, **hyper)


def run(world: tiny.World, phase: str, steps: int, key=KEY, state=None):
  """[(state, metrics)] after each step."""
  step = jax.jit(world.method.phases[phase].step)
  state, told = state or jax.jit(world.init)(key), []
  for t in range(steps):
    state, metrics = step(state, world.batch(t))
    told.append((state, jax.device_get(metrics)))
  return told


def turns(metrics) -> dict[str, int]:
  names = [name for name in metrics if name.startswith('turns/')]
  return {name.removeprefix('turns/'): int(metrics[name]) for name in names}


def whose(metrics) -> str:
  """The modality whose turn it was."""
  (m,) = [m for m, count in turns(metrics).items() if count]
  return m


# Turns and laps.


def test_in_a_turn_everybody_else_rests():
  world = tiny.world('mla')  # with momentum, weight decay and statistics
  told = run(world, 'turn', 7)
  before = told[2][0]  # after a whole round: all have momentum
  for state, metrics in told[3:]:
    active = whose(metrics)
    for m in tiny.MODALITIES:
      for name in ('params', 'opt', 'stats'):
        old, new = getattr(before, name)[m], getattr(state, name)[m]
        still = m != active or not jax.tree.leaves(new)
        assert tiny.same(old, new) == still, f'{name} of {m} in {active}'
    assert not tiny.same(before.params['head'], state.params['head'])
    before = state


def test_turns_on_one_batch_are_a_lap():
  world = linear(tiny.MODALITIES, optimizer=optim.sgd(lr=LR))
  ((lap, told),) = run(world, 'lap', 1)
  step = jax.jit(world.method.phases['turn'].step)
  state, heard = jax.jit(world.init)(KEY), []
  for _ in tiny.MODALITIES:
    state, metrics = step(state, world.batch(0))
    heard.append(metrics)
  close = dict(rtol=1e-6, atol=1e-6)
  tiny.close(state.replace(step=lap.step), lap, **close)
  assert int(state.step) == 3 and int(lap.step) == 1
  summed = jax.tree.map(lambda *x: sum(x), *heard)
  for m in tiny.MODALITIES:
    for name in (f'loss/{m}', f'grad_norm/{m}', f'turns/{m}'):
      tiny.close(told[name], summed[name], **close)
  for name in ('loss', 'grad_norm/head'):  # a mean over the turns
    tiny.close(told[name], summed[name] / 3, **close)


def test_a_modality_nobody_has_leaves_the_projection_alone():
  world = linear(PAIR)
  state = jax.jit(world.init)(KEY)
  step = jax.jit(world.method.phases['lap'].step)
  batch = world.batch(0)
  after, _ = step(state, tiny.absent(batch, 'audio'))
  z_D = mean_feature(world, state, batch, 'visual')
  want = rls.update(jnp.eye(8), z_D, 0.1)
  tiny.close(after.method.P_DD, want, atol=1e-5)


@pytest.mark.parametrize('projection', ['rls', 'released'])
def test_a_batch_of_nobody_changes_nothing(projection):
  world = linear(PAIR, projection=projection)
  ((state, _),) = run(world, 'lap', 1)
  step = jax.jit(world.method.phases['lap'].step)
  after, _ = step(state, tiny.absent(world.batch(1), *PAIR))
  assert tiny.same(after.params, state.params)
  assert tiny.same(after.opt, state.opt)
  assert tiny.same(after.method.P_DD, state.method.P_DD)


# The projection, written down again with NumPy from gradients alone.


def mean_feature(world, state, batch, m):
  return world.kit.forward(state, {}, batch, only=(m,))[0].feats[m].mean(0)


def head_grad(world, state, batch, m):
  """Plain gradient [D, C] of the head's kernel for one modality's loss."""

  def loss(head):
    out, _ = world.kit.forward(state, {'head': head}, batch, only=(m,))
    return losses.cross_entropy(out.unis[m], batch['label'], batch['mask'])

  return jax.grad(loss)(state.params['head'])


@pytest.mark.parametrize('project_with', ['previous', 'current'])
def test_the_head_moves_down_the_projected_gradient(project_with):
  world = linear(project_with=project_with, alpha=0.3)
  before, P_DD = jax.jit(world.init)(KEY), np.eye(8)
  for t, (state, metrics) in enumerate(run(world, 'turn', 4)):
    m, batch = whose(metrics), world.batch(t)
    assert m == PAIR[t % 2]
    z_D = np.asarray(mean_feature(world, before, batch, m), float)
    q_D = P_DD @ z_D / (0.3 + z_D @ P_DD @ z_D)
    new_DD = P_DD - np.outer(q_D, z_D) @ P_DD
    with_DD = new_DD if project_with == 'current' and t else P_DD
    grad = head_grad(world, before, batch, m)
    old, new = before.params['head'], state.params['head']
    want = old['kernel'] - LR * with_DD @ np.asarray(grad['kernel'], float)
    np.testing.assert_allclose(new['kernel'], want, atol=1e-5)
    free = old['bias'] - LR * grad['bias']
    np.testing.assert_allclose(new['bias'], free, atol=1e-6)
    np.testing.assert_allclose(state.method.P_DD, new_DD, atol=1e-5)
    before, P_DD = state, new_DD


def test_the_head_forgets_less_of_the_modality_before():
  """What the projection is for: logits of the earlier mean feature stay."""
  moved = {}
  for projection in ('rls', 'none'):
    world = linear(projection=projection, alpha=1e-4)
    (first, _), (second, _) = run(world, 'turn', 2)
    z_D = mean_feature(world, jax.jit(world.init)(KEY), world.batch(0), 'audio')
    change = second.params['head']['kernel'] - first.params['head']['kernel']
    moved[projection] = float(jnp.linalg.norm(z_D @ change))
  assert moved['rls'] < 0.01 * moved['none']


def test_switches_change_what_they_should():
  ways = {
    'paper': {},
    'none': dict(projection='none'),
    'released': dict(projection='released'),
    'current': dict(project_with='current'),
    'alpha': dict(alpha=10.0),
    'fixed': dict(fusion='fixed'),
  }
  state = jax.jit(linear().init)(KEY)
  told = {
    name: run(linear(**how), 'turn', 2, state=state)
    for name, how in ways.items()
  }
  first = {name: states[0][0] for name, states in told.items()}
  last = {name: states[1][0] for name, states in told.items()}
  for name in ways:  # the very first turn is plain, whatever comes later
    assert tiny.same(first[name].params, first['paper'].params), name
  for name in ('none', 'released', 'current', 'alpha'):
    head, want = last[name].params['head'], last['paper'].params['head']
    assert not np.allclose(head['kernel'], want['kernel'], atol=1e-5), name
  assert tiny.same(last['fixed'], last['paper'])  # a matter of the test time
  np.testing.assert_array_equal(last['none'].method.P_DD, np.eye(8))
  norm = jnp.linalg.norm(last['released'].method.P_DD)
  np.testing.assert_allclose(norm, 1, rtol=1e-5)


# Schedules.


def test_round_robin_goes_through_the_order_with_repeats():
  order = ('text', 'audio', 'text', 'visual')
  world = linear(tiny.MODALITIES, order=order)
  seen = [whose(metrics) for _, metrics in run(world, 'turn', 9)]
  assert seen == [order[t % 4] for t in range(9)]
  ((_, metrics),) = run(world, 'lap', 1)
  assert turns(metrics) == {'audio': 1, 'visual': 1, 'text': 2}


def schedules(steps: int, phase: str = 'turn', **hyper):
  """key -> the schedule [steps, K] and whose turns [steps, M] in each step."""
  hyper = dict(encoders=tiny.PLAIN, optimizer=sgd()) | hyper
  world = tiny.world('mla', **hyper)
  step = world.method.phases[phase].step

  def body(state, _):
    state, metrics = step(state, world.batch(0))
    told = jnp.stack([metrics[f'turns/{m}'] for m in tiny.MODALITIES])
    return state, (state.method.schedule, told)

  scan = jax.jit(lambda k: jax.lax.scan(body, world.init(k), None, steps)[1])
  return lambda key: jax.tree.map(np.asarray, scan(key))


def test_shuffled_is_a_new_permutation_each_epoch():
  shuffled = schedules(36, schedule='shuffled', per_epoch=3)
  used, told = shuffled(KEY)
  assert (np.sort(used, axis=1) == np.arange(3)).all()
  epochs = used.reshape(12, 3, 3)
  assert (epochs == epochs[:, :1]).all()
  assert len({tuple(k) for k in epochs[:, 0]}) > 2
  # Three turns to an epoch: each modality has one, in the order drawn.
  np.testing.assert_array_equal(told.argmax(1), epochs[:, 0].ravel())
  np.testing.assert_array_equal(shuffled(KEY)[0], used)
  assert (shuffled(jax.random.key(1))[0] != used).any()


def test_weighted_draws_by_the_weights():
  weights = (0.6, 0.3, 0.1)
  weighted = schedules(150, 'lap', schedule='weighted', weights=weights)
  _, told = weighted(KEY)
  assert (told.sum(1) == 3).all()
  share, n = told.mean(0) / 3, told.size
  spread = np.sqrt(np.multiply(weights, np.subtract(1, weights)) / n)
  assert (np.abs(share - weights) < 4 * spread).all(), share
  _, told = schedules(20, schedule='weighted', weights=(0.0, 2.0, 0.0))(KEY)
  assert (told == [0, 1, 0]).all()


# Test time.


def test_fusions_at_test_time():
  state, logits = jax.jit(tiny.world('mla').init)(KEY), {}
  for fusion in ('entropy', 'entropy_released', 'fixed'):
    world = tiny.world('mla', fusion=fusion, weights=(0.5, 0.3, 0.2))
    out = jax.jit(world.method.predict)(state, world.batch(0))
    logits[fusion] = out.joint
  logits_MBC = jnp.stack([out.unis[m] for m in tiny.MODALITIES])
  fixed = jnp.einsum('m,mbc->bc', jnp.array([0.5, 0.3, 0.2]), logits_MBC)
  tiny.close(logits['fixed'], fixed)
  want = gating.fuse(gating.entropy(logits_MBC), logits_MBC)
  tiny.close(logits['entropy'], want)
  weights_M = gating.entropy_released(logits_MBC)
  tiny.close(
    logits['entropy_released'],
    jnp.einsum('m,mbc->bc', weights_M, logits_MBC),
  )


def test_what_an_example_lacks_has_no_say():
  state = jax.jit(tiny.world('mla').init)(KEY)
  for fusion in ('entropy', 'entropy_released', 'fixed'):
    world = tiny.world('mla', fusion=fusion)
    predict, batch = jax.jit(world.method.predict), world.batch(0)
    out = predict(state, tiny.absent(batch, 'visual', 'text'))
    tiny.close(out.joint, out.unis['audio'])
    out = predict(state, tiny.absent(batch, *tiny.MODALITIES))
    assert not np.any(out.joint)


# Bad input.


@pytest.mark.parametrize(
  'hyper, says',
  [
    (dict(head='concat'), r"'mla' needs a shared head.*'concat' \(use 'shar"),
    (dict(projection='rsl'), "projection='rsl' is none of rls, released, none"),
    (dict(project_with='next'), "project_with='next' is none of previous, cur"),
    (dict(schedule='random'), 'is none of round_robin, shuffled, weighted'),
    (dict(fusion='mean'), "fusion='mean' is none of entropy, fixed"),
    (dict(alpha=0.0), 'alpha=0.0 must be above 0'),
    (dict(order=('audio', 'txet')), 'must name each of the modalities'),
    (dict(order=('audio', 'text')), r"order=\('audio', 'text'\) must name eac"),
    (dict(weights=(1.0, 2.0)), 'one weight >= 0 for each of the modalities'),
    (dict(weights=(1.0, -1.0, 1.0)), 'must hold one weight >= 0'),
    (dict(weights=(0, 0, 0)), 'and one of them above 0'),
  ],
)
def test_bad_options_say_what_would_be_good(hyper, says):
  with pytest.raises(ValueError, match=says):
    tiny.world('mla', **hyper)


def test_released_variant_checks_its_options_too():
  for hyper, says in (
    (dict(head='sum'), "'mla_released' needs a shared head"),
    (dict(fusion='none'), "fusion='none' is none of"),
    (dict(weights=(1.0,)), 'one weight >= 0 for each'),
  ):
    with pytest.raises(ValueError, match=says):
      tiny.world('mla_released', **hyper)
