"""Several seeds as one run, and what of it lies on which device."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import tiny
from jax.sharding import PartitionSpec as Spec

from mmjax import optim, seeds, sharding

WIDE = dict.fromkeys(tiny.MODALITIES, dict(name='mlp', hidden=(64, 64)))


@functools.cache
def world():
  """Optimizers that count, turns that differ from seed to seed, dropout."""
  return tiny.world(
    'mla',
    modalities=('audio', 'text'),
    optimizer=optim.adamw(lr=0.01, eps=1e-3),  # no signs of rounding errors
    schedule='shuffled',
    per_epoch=1,
  )


def train(mesh, steps=3, phase='turn', made=None, **options):
  """Models after some steps, on a mesh, and what each step told [S]."""
  made = made or world()
  models = seeds.make(made.init, mesh, seed=7, **options)
  run = models.lift(made.method.phases[phase].step)
  states, told = models.init(), []
  part = sharding.local_part(mesh, tiny.BATCH)
  for t in range(steps):
    local = jax.tree.map(np.asarray, made.batch(t))
    batch = sharding.put(mesh, local, tiny.BATCH, part)
    states, metrics = run(states, batch)
    told.append(models.stack(metrics))
  return models, states, told


@functools.cache
def apart():
  """The same three models, each in a run of its own."""
  one, runs = sharding.make_mesh(data=1), []
  for i in range(4):
    models = seeds.make(world().init, one, seed=7 + i, num=1)
    run = models.lift(world().method.phases['turn'].step)
    states, told = models.init(), []
    for t in range(3):
      states, metrics = run(states, world().batch(t))
      told.append(metrics[0])
    runs.append((states[0], told))
  return runs


def model(states, i: int):
  if isinstance(states, tuple):
    return states[i]
  return jax.tree.map(lambda x: x[i] if x.ndim else x, states)


def assert_are_apart(models, states, told, num):
  assert models.num == num and models.step(states) == 3
  for i in range(num):
    state, metrics = apart()[i]
    tiny.close(model(states, i), state)
    for told_S, want in zip(told, metrics):
      assert all(v.shape == (num,) for v in told_S.values())
      tiny.close({k: v[i] for k, v in told_S.items()}, want)


def test_keys_count_up():
  told = seeds.keys(5, 3)
  assert [tiny.same(k, jax.random.key(5 + i)) for i, k in enumerate(told)]
  assert all(tiny.same(k, jax.random.key(5 + i)) for i, k in enumerate(told))


@pytest.mark.parametrize(
  'data, seed, num, how',
  [(1, 1, 2, 'loop'), (1, 1, 2, 'vmap'), (8, 1, 2, 'vmap'), (2, 4, 4, 'vmap')],
)
def test_models_are_independent_of_each_other(data, seed, num, how):
  mesh = sharding.make_mesh(data=data, seed=seed)
  assert_are_apart(*train(mesh, num=num, how=how), num=num)


def test_models_are_different():
  (a, _), (b, _) = apart()[:2]
  assert not np.allclose(a.params['head']['kernel'], b.params['head']['kernel'])
  orders = {tuple(s.method.schedule.tolist()) for s, _ in apart()}
  assert len(orders) == 2  # the draws of two modalities' turns


def test_auto_is_a_loop_on_a_cpu_unless_the_mesh_has_groups():
  auto = functools.partial(seeds.make, world().init, seed=0, num=2)
  assert isinstance(auto(sharding.make_mesh(data=8)).abstract, tuple)
  groups = sharding.make_mesh(data=4, seed=2)
  assert not isinstance(auto(groups).abstract, tuple)


@pytest.mark.parametrize('how', ['loop', 'vmap'])
def test_abstract_states_are_those_that_init_gives(how):
  mesh = sharding.make_mesh(data=8)
  models = seeds.make(world().init, mesh, seed=0, num=2, how=how)

  def check(have, want):
    assert have.shape == want.shape and have.dtype == want.dtype
    assert have.sharding.is_equivalent_to(want.sharding, have.ndim)

  jax.tree.map(check, models.init(), models.abstract)


@pytest.mark.parametrize('how', ['loop', 'vmap'])
def test_observers_and_enter_see_every_model(how):
  mesh = sharding.make_mesh(data=1)
  models = seeds.make(world().init, mesh, seed=7, num=2, how=how)
  batch, states = world().batch(0), models.init()
  observe = models.observe(
    lambda s, b: {'joint': world().method.predict(s, b).joint}
  )
  rows = models.stack(observe(states, batch))['joint']
  assert rows.shape == (2, tiny.BATCH, tiny.CLASSES)
  for i in range(2):
    want = world().method.predict(model(states, i), batch).joint
    tiny.close(rows[i], want)
  enter = models.enter(
    lambda s: s.replace(params=jax.tree.map(lambda p: 2 * p, s.params))
  )
  twice = enter(states)
  for i in range(2):
    had = model(states, i)
    now = model(twice, i)
    tiny.close(now.params, jax.tree.map(lambda p: 2 * p, had.params))
    assert tiny.same(now.opt, had.opt)


def test_a_split_state_trains_like_a_whole_one():
  made = tiny.world('joint', 'sum', encoders=WIDE)
  mesh = sharding.make_mesh(data=8)
  run = functools.partial(train, mesh, made=made, phase='joint', steps=2, num=1)
  _, split, told = run(shard_state=True)
  _, whole, want = run(shard_state=False)
  tiny.close(split, whole)
  tiny.close(told, want)
  kernel = split[0].params['audio']['Dense_1']['kernel']
  momentum = jax.tree.leaves(split[0].opt['audio'])
  assert kernel.addressable_shards[0].data.size * 8 == kernel.size
  assert any(not m.sharding.is_fully_replicated for m in momentum)
  assert (
    whole[0].params['audio']['Dense_1']['kernel'].sharding.is_fully_replicated
  )


@pytest.mark.parametrize(
  'options, mesh, says',
  [
    (dict(how='pmap'), {}, "seeds_how='pmap' is none of auto, loop, vmap"),
    (dict(num=0), {}, 'config.num_seeds=0 must be at least 1'),
    (
      dict(num=3),
      dict(seed=2),
      'num_seeds=3 cannot be shared out evenly among config.mesh.seed=2',
    ),
    (
      dict(num=2, how='loop'),
      dict(seed=2),
      "config.mesh.seed > 1 needs config.seeds_how='vmap'",
    ),
  ],
)
def test_bad_options_say_what_would_be_good(options, mesh, says):
  with pytest.raises(ValueError, match=says):
    seeds.make(
      world().init, sharding.make_mesh(**mesh), seed=0, **dict(num=1) | options
    )


# Meshes.


def test_a_mesh_takes_the_devices_there_are():
  assert len(jax.devices()) == 8  # see conftest.py
  assert sharding.make_mesh().shape == {'seed': 1, 'data': 8}
  assert sharding.make_mesh(seed=2).shape == {'seed': 2, 'data': 4}
  assert sharding.make_mesh(data=4).size == 4
  assert sharding.make_mesh(data=1).devices.item() == jax.devices()[0]


@pytest.mark.parametrize(
  'options, says',
  [
    (dict(data=16), 'seed=1 x data=16 devices, but there are 8'),
    (dict(data=3), 'seed=1 x data=3 devices.*Let data=-1 take what is there'),
    (dict(seed=16), 'but there are 8'),
    (dict(seed=0), 'data=-1, seed=0 must be above 0'),
    (dict(data=-2), 'data=-2, seed=1 must be above 0'),
  ],
)
def test_a_mesh_says_what_does_not_fit(options, says):
  with pytest.raises(ValueError, match=says):
    sharding.make_mesh(**options)


def specs(abstract, **options):
  mesh = sharding.make_mesh(data=4, seed=2)
  where = sharding.state(mesh, abstract, **options)
  return jax.tree.map(lambda s: s.spec, where)


def test_what_of_a_state_is_split():
  shape = functools.partial(jax.ShapeDtypeStruct, dtype=jnp.float32)
  abstract = {
    'large': shape((30, 256)),  # the longest axis that divides
    'odd': shape((101, 103)),  # none does
    'small': shape((8, 8)),
    'step': shape(()),
  }
  plain = specs(abstract, shard=False, seeds=False)
  assert all(spec == Spec(*[None] * len(spec)) for spec in plain.values())
  split = specs(abstract, shard=True, seeds=False)
  assert split['large'] == Spec(None, 'data')
  assert split['odd'] == Spec(None, None) == split['small']
  stacked = {k: shape((2, *x.shape)) for k, x in abstract.items() if x.shape}
  told = specs({**stacked, 'step': shape(())}, shard=True, seeds=True)
  assert told['large'] == Spec('seed', None, 'data')
  assert told['odd'] == Spec('seed', None, None)
  assert told['step'] == Spec()


def test_put_lays_a_batch_over_the_devices():
  mesh = sharding.make_mesh(data=4, seed=2)
  part = sharding.local_part(mesh, 12)
  assert part == slice(0, 12)  # one process has it all
  local = {
    'x': np.arange(24, dtype='f4').reshape(12, 2),
    'mask': np.ones(12, bool),
  }
  placed = sharding.put(mesh, local, 12, part)
  assert tiny.same(placed, local)
  assert placed['x'].sharding.spec == Spec('data')
  assert {s.data.shape for s in placed['x'].addressable_shards} == {(3, 2)}
