"""Many models at once are what each of them would be alone."""

import functools
import itertools

import hypothesis
import hypothesis.strategies as st
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from jax.sharding import Mesh
from scipy import special

from mmjax.lab import _draws, _model, subsets

WIDTHS = {'b': 2, 'a': 3}  # not in the order of the alphabet
SIZES = {'train': 48, 'validation': 20, 'test': 16}
FEW = (('a',), ('b',), ('b', 'a'))
SEEDS = 3
COUNTS = (12, 40)  # the first is one batch, the second three and a rest
BOTH = subsets.Learner(
  width=4,
  lr=0.01,
  batch_size=12,
  steps=58,  # the last look is after two steps
  eval_steps=4,
  patience=3,
  l2=0.3,
)
SHAPES = ('linear', 'mlp')
FIXED = BOTH._replace(
  encoder='mlp', head='mlp', steps=5, patience=0, batch_size=99
)
ONE = Mesh(np.array(jax.devices()[:1]), ('seed',))
train = functools.partial(subsets.train, mesh=ONE, lanes=1)
few = hypothesis.settings(max_examples=40)


def splits(loss='cross_entropy'):
  """Three splits of a world where both matter and labels are noisy."""
  rng, made = np.random.default_rng(3), {}
  maps = {m: rng.normal(size=(f, 3)) for m, f in WIDTHS.items()}
  for split, N in SIZES.items():
    inputs = {m: rng.normal(size=(N, f)) for m, f in WIDTHS.items()}
    score_N3 = sum(inputs[m] @ maps[m] for m in WIDTHS)
    score_N3 = score_N3 + rng.gumbel(size=(N, 3))
    target = score_N3.argmax(1) if loss == 'cross_entropy' else score_N3[:, :2]
    present = {'b': (rng.random(N) < 0.8).astype(np.float32)}
    made[split] = (inputs, target, present)
  return made


def world(loss='cross_entropy', **other):
  return subsets.gather(**{**splits(loss), **other}, loss=loss)


@functools.cache
def together(shape):
  """All members of a kind of model, of three seeds, at both sample sizes."""
  learner = BOTH._replace(encoder=shape, head=shape)
  return learner, train(world(), FEW, counts_of(shape), SEEDS, learner)


def counts_of(shape):
  return COUNTS if shape == 'linear' else COUNTS[:1]  # fewer to compile


def same(cube, other, atol=1e-5):
  """All that two cubes hold is the same."""
  for one, two in zip(jax.tree.leaves(cube), jax.tree.leaves(other)):
    if isinstance(one, str):
      assert one == two
    else:
      np.testing.assert_allclose(one, two, atol=atol, rtol=0)


def last(cube):
  """The part of a cube that is about its largest sample."""
  per_size = {
    field: getattr(cube, field)[-1:]
    for field in cube._fields
    if field not in ('modalities', 'subsets', 'loss')
  }
  return cube._replace(**per_size)


def member(cube, i, s, k):
  """Parameters of one member, as NumPy f64."""
  params = jax.tree.map(lambda x: x[s, k], cube.params[i])
  return jax.tree.map(lambda x: np.asarray(x, np.float64), params)


def dense(layer, x_BF):
  return x_BF @ layer['kernel'] + layer['bias']


def forward(params, subset, part):
  """Concatenates only what the subset has; hence nothing of masks in here."""
  latents, blocks = [], []
  for m in subset:
    z_BF = np.asarray(part.inputs[m], np.float64)
    *hidden, last = params['encoders'][m]
    for layer in hidden:
      z_BF = np.maximum(dense(layer, z_BF), 0)
    latents.append(part.present[m][:, None] * dense(last, z_BF))
    blocks.append(params['head']['blocks'][m].T)
  out_BC = np.concatenate(latents, 1) @ np.concatenate(blocks, 0)
  out_BC = out_BC + params['head']['bias']
  if 'out' in params['head']:
    out_BC = dense(params['head']['out'], np.maximum(out_BC, 0))
  return out_BC


def each_loss(out_BC, target):
  if target.ndim == 1:
    chosen_B = out_BC[np.arange(len(target)), target]
    return special.logsumexp(out_BC, axis=1) - chosen_B
  return np.square(out_BC - target).sum(1)


def pick(part, rows):
  return jax.tree.map(lambda x: x[rows], part)


# One as all.


@pytest.mark.parametrize('shape', SHAPES)
def test_a_member_is_what_it_would_be_alone(shape):
  learner, cube = together(shape)
  assert cube.stopped_LSK.any()
  fields = ('train_LSK', 'validation_LSK', 'steps_LSK', 'stopped_LSK')
  for s, (k, subset) in itertools.product(range(SEEDS), enumerate(FEW)):
    alone = train(world(), [subset], cube.counts, 1, learner, seed=s)
    for field in (*fields, 'losses_LSKN', 'right_LSKN'):
      got, want = getattr(cube, field)[:, s, k], getattr(alone, field)[:, 0, 0]
      np.testing.assert_allclose(got, want, atol=1e-5, rtol=0, err_msg=field)
    for i in range(len(cube.counts)):
      np.testing.assert_array_equal(cube.rows[i][s], alone.rows[i][0])
      got, want = member(cube, i, s, k), member(alone, i, 0, 0)
      for params in (got, want):  # of modalities that it sees
        for side in (params['encoders'], params['head']['blocks']):
          for m in set(WIDTHS) - set(subset):
            del side[m]
      same(got, want)


def test_members_are_not_all_alike():
  """So that the equalities of this file have something to tell apart."""
  _, cube = together('linear')
  assert len(np.unique(cube.risk_LSK.round(3))) == cube.risk_LSK.size


def test_lanes_change_nothing():
  learner, cube = together('linear')
  side_by_side = train(world(), FEW, COUNTS[1:], SEEDS, learner, lanes=3)
  same(last(cube), side_by_side)


def test_devices_change_nothing_and_need_not_divide_the_seeds():
  learner, cube = together('linear')
  mesh = Mesh(np.array(jax.devices()[:8]), ('seed',))
  assert mesh.size == 8
  spread = train(world(), FEW, COUNTS[1:], SEEDS, learner, mesh=mesh)
  same(last(cube), spread)
  assert spread.losses_LSKN.shape == (1, SEEDS, len(FEW), SIZES['test'])


def changed(edit):
  """The world after edit(split, inputs, present)."""
  made = splits()
  for split, (inputs, _, present) in made.items():
    edit(split, inputs, present)
  return subsets.gather(**made, loss='cross_entropy')


def test_a_masked_modality_may_hold_anything():
  learner, cube = together('linear')

  def edit(split, inputs, present):
    del split, present
    inputs['a'] = 50 - 3 * inputs['a']

  other = train(changed(edit), FEW, COUNTS, SEEDS, learner)
  for k, subset in enumerate(FEW):
    a, b = cube.losses_LSKN[:, :, k], other.losses_LSKN[:, :, k]
    assert (np.abs(a - b).max() > 0.1) == ('a' in subset)
    if 'a' not in subset:
      np.testing.assert_array_equal(a, b)
      np.testing.assert_array_equal(
        cube.validation_LSK[:, :, k], other.validation_LSK[:, :, k]
      )


def test_an_absent_example_may_hold_anything():
  learner, cube = together('linear')

  def absent(split, inputs, present):
    del split
    inputs['b'] = np.where(present['b'][:, None] > 0, inputs['b'], -77.0)

  def here(split, inputs, present):
    absent(split, inputs, present)
    present['b'] = np.ones_like(present['b'])

  same(cube, train(changed(absent), FEW, COUNTS, SEEDS, learner), atol=0)
  other = train(changed(here), FEW, COUNTS, SEEDS, learner)
  assert np.abs(other.losses_LSKN - cube.losses_LSKN)[:, :, 1:].max() > 1
  np.testing.assert_array_equal(
    other.losses_LSKN[:, :, 0], cube.losses_LSKN[:, :, 0]
  )


# What a member is.


@pytest.mark.parametrize('shape', SHAPES)
def test_what_is_told_of_a_member_is_true_of_its_parameters(shape):
  """So the parameters kept are those of the validation loss that is told."""
  _, cube = together(shape)
  data = world()
  sizes = range(len(cube.counts))
  places = itertools.product(sizes, range(SEEDS), enumerate(FEW))
  for i, s, (k, subset) in places:
    params = member(cube, i, s, k)
    own = pick(data.train, cube.rows[i][s])
    for part, found in ((own, cube.train_LSK), (data.validation, None)):
      want = each_loss(forward(params, subset, part), part.target).mean()
      found = cube.validation_LSK if found is None else found
      np.testing.assert_allclose(found[i, s, k], want, atol=2e-5)
    out_NC = forward(params, subset, data.test)
    want_N = each_loss(out_NC, data.test.target)
    np.testing.assert_allclose(cube.losses_LSKN[i, s, k], want_N, atol=5e-5)
    right_N = out_NC.argmax(1) == data.test.target
    np.testing.assert_array_equal(cube.right_LSKN[i, s, k], right_N)
  np.testing.assert_allclose(
    cube.risk_LSK, cube.losses_LSKN.astype(np.float64).mean(-1)
  )
  np.testing.assert_array_equal(cube.accuracy_LSK, cube.right_LSKN.mean(-1))


def adam(params, grads, state, t, learner):
  """One step of AdamW, t from 1 (Kingma and Ba 2015; Loshchilov and Hutter)."""
  for name, g in grads.items():
    m, v = state.setdefault(name, [0.0, 0.0])
    m, v = 0.9 * m + 0.1 * g, 0.999 * v + 0.001 * g**2
    state[name] = [m, v]
    ahead = m / (1 - 0.9**t) / (np.sqrt(v / (1 - 0.999**t)) + 1e-8)
    params[name] -= learner.lr * (ahead + learner.l2 * params[name])


def start(data, subset, seed, learner, outputs=3):
  mask = {m: jnp.float32(m in subset) for m in WIDTHS}
  params = _model.init(
    jax.random.key(seed), mask, data.widths, outputs, learner
  )
  return jax.tree.map(lambda x: np.asarray(x, np.float64), params)


def linear_member(data, subset, seed, rows, learner):
  """x W V of the concatenation by hand: gradients, Adam, patience, f64.

  Returns training loss, validation loss, steps and whether it was stopped.
  """
  first = start(data, subset, seed, learner)
  params = {('W', m): first['encoders'][m][0]['kernel'] for m in subset}
  params |= {('w', m): first['encoders'][m][0]['bias'] for m in subset}
  params |= {('V', m): first['head']['blocks'][m].T for m in subset}
  params['v'] = first['head']['bias']

  def run(part):
    z = {
      m: part.present[m][:, None]
      * (part.inputs[m] @ params['W', m] + params['w', m])
      for m in subset
    }
    V = np.concatenate([params['V', m] for m in subset], 0)
    out_BC = np.concatenate([z[m] for m in subset], 1) @ V + params['v']
    return z, out_BC, each_loss(out_BC, part.target).mean()

  own, state = pick(data.train, rows), {}
  looks = [(run(data.validation)[2], 0, run(own)[2])]
  for t in range(1, learner.steps + 1):
    z, out_BC, _ = run(own)
    up_BC = special.softmax(out_BC, axis=1) - np.eye(3)[own.target]
    up_BC /= len(rows)
    grads = {'v': up_BC.sum(0)}
    for m in subset:
      back_BD = own.present[m][:, None] * (up_BC @ params['V', m].T)
      grads['V', m] = z[m].T @ up_BC
      grads['W', m] = own.inputs[m].T @ back_BD
      grads['w', m] = back_BD.sum(0)
    adam(params, grads, state, t, learner)
    if learner.patience and t % learner.eval_steps == 0:
      looks.append((run(data.validation)[2], t, run(own)[2]))
      if t - min(looks)[1] >= learner.patience * learner.eval_steps:
        return *min(looks), True
  if not learner.patience:
    return run(data.validation)[2], learner.steps, run(own)[2], False
  return *min(looks), False


def test_a_linear_member_is_its_transcription_with_patience():
  learner, cube = together('linear')
  data = world()
  for s, (k, subset) in itertools.product(range(SEEDS), enumerate(FEW)):
    rows = cube.rows[0][s]
    val, steps, loss, stopped = linear_member(data, subset, s, rows, learner)
    assert cube.steps_LSK[0, s, k] == steps
    assert cube.stopped_LSK[0, s, k] == stopped
    np.testing.assert_allclose(cube.validation_LSK[0, s, k], val, atol=1e-4)
    np.testing.assert_allclose(cube.train_LSK[0, s, k], loss, atol=1e-4)


@functools.cache
def deep():
  """A member with two numbers as its target, and no validation part."""
  data = world('squared_error', validation=nothing('squared_error'))
  return data, train(data, [('b', 'a')], (30,), 1, FIXED)


def nothing(loss='cross_entropy'):
  target = np.zeros(0, int) if loss == 'cross_entropy' else np.zeros((0, 2))
  return {m: np.zeros((0, f)) for m, f in WIDTHS.items()}, target


def test_a_deep_member_with_two_numbers_as_target_is_plain_optax():
  data, cube = deep()
  own = pick(data.train, cube.rows[0][0])

  def loss(params):
    z = []
    for m in ('b', 'a'):
      one, two = params['encoders'][m]
      h = jax.nn.relu(own.inputs[m] @ one['kernel'] + one['bias'][None])
      x = h @ two['kernel'] + two['bias'][None]
      z.append(x * own.present[m][:, None])
    V = jnp.concatenate([params['head']['blocks'][m].T for m in ('b', 'a')])
    h = jax.nn.relu(jnp.concatenate(z, 1) @ V + params['head']['bias'][None])
    out = params['head']['out']
    gap = h @ out['kernel'] + out['bias'][None] - own.target
    return (gap**2).sum(1).mean()

  params = start(data, ('b', 'a'), 0, FIXED, outputs=2)
  params = jax.tree.map(lambda x: jnp.asarray(x, jnp.float32), params)
  optimizer = optax.adamw(FIXED.lr, weight_decay=FIXED.l2)
  state = optimizer.init(params)

  @jax.jit
  def step(params, state):
    updates, state = optimizer.update(jax.grad(loss)(params), state, params)
    return optax.apply_updates(params, updates), state

  before = loss(params)
  for _ in range(FIXED.steps):
    params, state = step(params, state)
  assert loss(params) < before
  np.testing.assert_allclose(cube.train_LSK[0, 0, 0], loss(params), rtol=1e-5)
  same(member(cube, 0, 0, 0), params)


def test_without_patience_all_steps_are_taken_and_nothing_validates():
  data, cube = deep()
  assert data.num_classes == 0 and data.outputs == 2
  assert cube.right_LSKN is None and cube.accuracy_LSK is None
  assert cube.steps_LSK.item() == FIXED.steps and not cube.stopped_LSK.any()
  assert np.isnan(cube.validation_LSK).all()
  out_NC = forward(member(cube, 0, 0, 0), ('b', 'a'), data.test)
  want_N = each_loss(out_NC, data.test.target)
  np.testing.assert_allclose(cube.losses_LSKN[0, 0, 0], want_N, rtol=1e-4)


def test_a_loss_that_is_not_finite_is_named():
  large = splits('squared_error')
  for inputs, *_ in large.values():
    inputs['a'] = inputs['a'] * 1e30
  large['validation'] = nothing('squared_error')
  data = subsets.gather(**large, loss='squared_error')
  with pytest.raises(ValueError, match=r'30 examples.*b\+a.*learner.lr=0.01'):
    train(data, [('b', 'a')], (30,), 1, FIXED)


@pytest.mark.parametrize('shape', SHAPES)
def test_the_head_reads_what_encode_tells(shape):
  _, cube = together(shape)
  test = world().test
  for k, subset in enumerate(FEW):
    params = member(cube, -1, 0, k)
    mask = {m: np.float32(m in subset) for m in WIDTHS}
    z_ND = subsets.encode(params, mask, test.inputs, test.present)
    assert z_ND.shape == (SIZES['test'], len(WIDTHS) * BOTH.width)
    head, names = params['head'], sorted(WIDTHS)
    out_NC = np.asarray(z_ND) @ np.concatenate(
      [head['blocks'][m].T for m in names]
    )
    out_NC = out_NC + head['bias']
    if shape == 'mlp':
      out_NC = dense(head['out'], np.maximum(out_NC, 0))
    want_NC = forward(params, subset, test)
    np.testing.assert_allclose(out_NC, want_NC, atol=1e-4)
    for m, part_ND in zip(names, np.split(np.asarray(z_ND), 2, axis=1)):
      gone_N = (test.present[m] == 0) | (m not in subset)
      assert not part_ND[gone_N].any() and part_ND[~gone_N].any(1).all()


def test_encoders_start_alike_and_heads_with_the_variance_of_their_subset():
  data = world()
  alone, both = (start(data, s, 1, BOTH) for s in (('a',), ('a', 'b')))
  same(alone['encoders'], both['encoders'], atol=0)
  for m in WIDTHS:
    one, two = alone['head']['blocks'][m], both['head']['blocks'][m]
    np.testing.assert_allclose(one, two * 2**0.5, rtol=1e-6)
    assert one.any()
  assert not np.allclose(
    alone['head']['blocks']['a'], alone['head']['blocks']['b']
  )
  other = start(data, ('a',), 2, BOTH)
  assert not np.allclose(
    other['encoders']['a'][0]['kernel'], alone['encoders']['a'][0]['kernel']
  )


# Steps and batches.


@pytest.mark.parametrize('shape', SHAPES)
def test_patience_ends_a_member_that_finds_nothing_better(shape):
  learner, cube = together(shape)
  wait = learner.patience * learner.eval_steps
  at_looks = cube.steps_LSK % learner.eval_steps == 0
  assert (at_looks | (cube.steps_LSK == learner.steps)).all()
  np.testing.assert_array_equal(
    cube.stopped_LSK, cube.steps_LSK + wait <= learner.steps
  )


@few
@hypothesis.given(st.integers(0, 2**31 - 1))
def test_an_epoch_visits_no_row_twice(seed):
  key, n, size = jax.random.key(seed), 11, 3
  own, perm, epochs = {'row': np.arange(n)}, jnp.arange(n), []
  for t in range(6):
    perm, batch = jitted_batch(key, t, perm, own, size)
    epochs.append(np.asarray(batch['row']))
  for epoch in (epochs[:3], epochs[3:]):
    rows = np.concatenate(epoch)
    assert len(set(rows.tolist())) == 9 and set(rows.tolist()) <= set(range(n))
  assert not np.array_equal(epochs[:3], epochs[3:])


jitted_batch = jax.jit(subsets._batch, static_argnums=4)


def test_a_batch_that_all_rows_fit_into_is_all_of_them():
  own = {'row': np.arange(7)}
  for size in (7, 2048):
    _, batch = subsets._batch(jax.random.key(0), 3, jnp.arange(7), own, size)
    np.testing.assert_array_equal(batch['row'], np.arange(7))


# Draws.

labels = st.lists(st.integers(0, 4), min_size=1, max_size=60)


def part_of(label_N):
  return subsets.Part({}, np.array(label_N, np.int32), {})


@hypothesis.given(labels, st.integers(0, 2**31 - 1))
def test_every_beginning_of_an_order_has_classes_in_proportion(label_N, seed):
  """Of two classes, with n and m examples, shares differ by < 1/n + 1/m."""
  order_N = _draws.order(part_of(label_N), 5, seed)
  np.testing.assert_array_equal(np.sort(order_N), np.arange(len(label_N)))
  seen_NC = np.eye(5)[np.array(label_N)[order_N]].cumsum(0)
  total_C = seen_NC[-1]
  for c, d in itertools.combinations(np.flatnonzero(total_C), 2):
    apart_N = seen_NC[:, c] / total_C[c] - seen_NC[:, d] / total_C[d]
    assert np.abs(apart_N).max() < 1 / total_C[c] + 1 / total_C[d] + 1e-9


@hypothesis.given(
  st.integers(2, 5), st.integers(1, 12), st.integers(0, 2**31 - 1)
)
def test_classes_of_one_size_are_within_one_example(C, each, seed):
  label_N = np.random.default_rng(seed).permutation(np.repeat(range(C), each))
  order_N = _draws.order(part_of(label_N), C, seed)
  seen_NC = np.eye(C)[label_N[order_N]].cumsum(0)
  want_N = np.arange(1, C * each + 1) / C
  assert np.abs(seen_NC - want_N[:, None]).max() <= 1
  assert np.ptp(seen_NC, axis=1).max() <= 1


def test_an_order_is_of_its_seed_and_mixes_rows():
  part = part_of(np.repeat([0, 1], 30))
  one, two = (_draws.order(part, 2, seed) for seed in (0, 1))
  np.testing.assert_array_equal(one, _draws.order(part, 2, 0))
  assert not np.array_equal(one, two)
  numbers = subsets.Part({}, np.zeros((20, 1)), {})
  order_N = _draws.order(numbers, 0, 3)
  np.testing.assert_array_equal(np.sort(order_N), np.arange(20))
  assert not np.array_equal(order_N, np.arange(20))


def test_a_larger_sample_holds_the_smaller_one_and_seeds_draw_their_own():
  _, cube = together('linear')
  small_Sn, large_Sn = cube.rows
  assert small_Sn.shape == (SEEDS, 12) and large_Sn.shape == (SEEDS, 40)
  np.testing.assert_array_equal(large_Sn[:, :12], small_Sn)
  assert not np.array_equal(small_Sn[0], small_Sn[1])
  assert all(len(set(line)) == 40 for line in large_Sn.tolist())


def test_a_sample_without_a_class_names_it_and_what_is_needed():
  label_N = np.array([0] * 20 + [1] * 20 + [2])
  inputs = {'a': np.ones((41, 1))}
  data = subsets.gather(*[(inputs, label_N)] * 3, loss='cross_entropy')
  orders = [_draws.order(data.train, 3, seed) for seed in (0, 1)]
  needed = max(int(np.flatnonzero(o == 40)[0]) for o in orders) + 1
  with pytest.raises(ValueError, match=f'class 2 .*from {needed} examples on'):
    train(data, [('a',)], (41, needed - 1), 2, FIXED)
  _draws.check_classes(data, np.stack(orders), (needed, 41))


# The lattice.


def test_all_subsets():
  assert subsets.lattice(('v', 'a')) == (('v',), ('a',), ('v', 'a'))
  found = subsets.lattice(('d', 'c', 'b', 'a'))
  assert len(found) == len(set(map(frozenset, found))) == 15
  assert [len(s) for s in found] == [1] * 4 + [2] * 6 + [3] * 4 + [4]
  assert found[4:7] == (('d', 'c'), ('d', 'b'), ('d', 'a'))
  assert subsets.lattice('abcdefg') == subsets.lattice('abcdefg', limit=127)
  with pytest.raises(ValueError, match='8 modalities.*255.*limit=127'):
    subsets.lattice('abcdefgh')
  assert len(subsets.lattice('abcdefgh', limit=255)) == 255


def test_prefixes_and_leave_one_out():
  assert subsets.lattice('bca', 'prefixes') == (
    ('b',),
    ('b', 'c'),
    ('b', 'c', 'a'),
  )
  found = subsets.lattice('dcba', 'leave_one_out')
  assert found[:4] == (('d',), ('c',), ('b',), ('a',))
  assert found[4] == ('d', 'c', 'b') and found[-1] == ('d', 'c', 'b', 'a')
  assert len(found) == 9
  many = subsets.lattice([f'm{i}' for i in range(40)], 'leave_one_out')
  assert len(many) == 81
  for kind in subsets.KINDS:
    assert subsets.lattice(['a'], kind) == (('a',),)


@few
@hypothesis.given(st.integers(3, 9), st.integers(0, 9), st.integers(0, 10**6))
def test_a_sample_holds_each_alone_all_but_each_and_all(M, more, seed):
  names = [f'm{i}' for i in range(M)]
  core = subsets.lattice(names, 'leave_one_out')
  size = min(len(core) + more, 2**M - 1)
  found = subsets.lattice(names, sample=size, seed=seed)
  assert len(found) == len(set(found)) == size and set(core) <= set(found)
  assert all(list(s) == sorted(s) and s for s in found)
  assert list(map(len, found)) == sorted(map(len, found))
  assert found == subsets.lattice(names, sample=size, seed=seed)


def test_samples_of_other_seeds_differ_and_have_bounds():
  names = [f'm{i}' for i in range(30)]
  one, two = (subsets.lattice(names, sample=80, seed=s) for s in (0, 1))
  assert one != two
  for size in (60, 2**30):
    with pytest.raises(ValueError, match=f'sample={size}.*between 61'):
      subsets.lattice(names, sample=size)


def test_the_way_out_of_too_many_subsets_is_one():
  names = [f'm{i}' for i in range(40)]
  with pytest.raises(ValueError, match='ask for a sample') as caught:
    subsets.lattice(names)
  told = str(caught.value).split('(sample=')[1].split(')')[0]
  assert len(subsets.lattice(names, sample=int(told))) == int(told)


@pytest.mark.parametrize(
  'names, kind, match',
  [
    ((), 'all', 'one at least'),
    (('a', 'a'), 'all', 'different names'),
    (('a', 'b'), 'pairs', "'pairs'.*leave_one_out"),
  ],
)
def test_lattices_that_are_refused(names, kind, match):
  with pytest.raises(ValueError, match=match):
    subsets.lattice(names, kind)


def test_sizes():
  assert subsets.sizes(1000, (1.0, 0.01, 0.1, 0.1)) == (10, 100, 1000)
  assert subsets.sizes(7, (1e-9, 1)) == (1, 7)
  for bad in ((), (0.0,), (0.5, 1.01), (-1,), (float('nan'),)):
    with pytest.raises(ValueError, match=r'\(0, 1\]'):
      subsets.sizes(10, bad)


def test_the_place_of_a_subset_in_any_order():
  _, cube = together('linear')
  assert cube.at(('b', 'a')) == cube.at(['a', 'b']) == 2
  assert cube.at(('b',)) == 1 and cube.subsets[1] == ('b',)
  with pytest.raises(ValueError, match=r'b\+c is none of'):
    cube.at(('b', 'c'))


def test_train_tells_how_far_it_is():
  learner, cube = together('linear')
  told = []
  found = train(
    world(), FEW, COUNTS, SEEDS, learner, told=lambda i, n: told.append((i, n))
  )
  assert told == [(1, 2), (2, 2)]
  same(found, cube, atol=0)
  assert found.modalities == ('b', 'a') and found.counts == COUNTS
  assert found.loss == 'cross_entropy' and found.subsets == FEW


# What is refused.


def refused(
  match, members=FEW, counts=COUNTS, num_seeds=1, data=None, **options
):
  with pytest.raises(ValueError, match=match):
    train(data or world(), members, counts, num_seeds, BOTH._replace(**options))


def test_members_that_are_refused():
  refused('x.*some of the modalities b, a', members=[('a', 'x')])
  refused(r'subset \(\)', members=[()])
  refused('counts.*48', counts=(12, 49))
  refused('counts', counts=())
  refused('counts', counts=(0,))
  refused('num_seeds=0', num_seeds=0)
  refused('patience', data=world(validation=nothing()))


@pytest.mark.parametrize(
  'field, value',
  dict(
    encoder='conv',
    head='attention',
    width=0,
    batch_size=0,
    steps=0,
    eval_steps=0,
    patience=-1,
    l2=-0.1,
    lr=0.0,
  ).items(),
)
def test_learners_that_are_refused(field, value):
  refused(f'learner.{field}={value!r}', **{field: value})
  refused('lr=nan', lr=float('nan'))


def test_numbers_without_a_second_axis_may_be_none():
  inputs, none = {'a': np.ones((3, 2))}, {'a': np.ones((0, 2))}
  full = (inputs, np.arange(3.0))
  data = subsets.gather(full, (none, np.zeros(0)), full, 'squared_error')
  assert data.outputs == 1 and data.train.target.shape == (3, 1)
  assert data.validation.size == 0


def gathered(loss='cross_entropy', **changes):
  """Four examples of two modalities; changes replace what train holds."""
  inputs = {'a': np.ones((4, 2)), 'b': np.ones((4, 3, 2))}
  target = np.array([0, 1, 2, 1])
  good = (inputs, target)
  new = {'inputs': inputs, 'target': target, 'present': {}, **changes}
  new['inputs'] = (
    {**inputs, **changes['inputs']}
    if changes.get('inputs')
    else (new['inputs'])
  )
  first = (new['inputs'], new['target'], new['present'])
  return subsets.gather(first, good, good, loss)


def test_gather_flattens_features_and_counts_classes():
  data = gathered(present={'a': [1, 0, 1, 1]})
  assert data.widths == {'a': 2, 'b': 6} and data.modalities == ('a', 'b')
  assert data.num_classes == data.outputs == 3
  np.testing.assert_array_equal(data.train.present['a'], [1, 0, 1, 1])
  np.testing.assert_array_equal(data.train.present['b'], 1)
  np.testing.assert_array_equal(data.test.present['a'], 1)
  full = ({'a': np.ones((2, 1))}, np.array([0, 1]))
  assert subsets.gather(full, full, full, 'cross_entropy', 5).outputs == 5


def rows_of(bad, at):
  x = np.ones((4, 2))
  x[at, 1] = bad
  return {'a': x}


@pytest.mark.parametrize(
  'changes, match',
  [
    (dict(loss='hinge'), "'hinge'.*cross_entropy"),
    (dict(inputs=rows_of(np.nan, [1, 3])), "train: 'a'.*rows 1, 3 "),
    (dict(inputs=rows_of(np.inf, [2])), "train: 'a'.*rows 2 "),
    (dict(inputs={'a': np.ones((3, 2))}), r"train: 'a'.*\(3, 2\).*N=4"),
    (dict(inputs={'a': np.ones(4)}), r"train: 'a'.*\(4,\)"),
    (dict(inputs={'a': np.ones((4, 5))}), 'alike'),
    (dict(inputs={'c': np.ones((4, 5))}), 'alike'),
    (dict(target=np.array([0.0, 1, 1, 0])), 'train.*integer labels.*float64'),
    (dict(target=np.ones((4, 1), int)), 'train.*integer labels'),
    (dict(target=np.array([0, -1, 1, 0])), 'Labels run from -1'),
    (
      dict(target=np.array([0.0, np.nan, 1, 0]), loss='squared_error'),
      'train.*target.*rows 1 ',
    ),
    (dict(present={'a': [0, 1]}), "train: .*'a'"),
  ],
)
def test_tables_that_are_refused(changes, match):
  with pytest.raises(ValueError, match=match):
    gathered(**changes)


def test_splits_that_are_refused():
  full = ({'a': np.ones((2, 1))}, np.array([0, 1]))
  none = ({'a': np.ones((0, 1))}, np.zeros(0, int))
  with pytest.raises(ValueError, match='training and test examples'):
    subsets.gather(none, full, full, 'cross_entropy')
  with pytest.raises(ValueError, match='training and test examples'):
    subsets.gather(full, full, none, 'cross_entropy')
  with pytest.raises(ValueError, match=r'0 to 1, but must be 0\.\.0'):
    subsets.gather(full, full, full, 'cross_entropy', num_classes=1)
  with pytest.raises(ValueError, match='validation has no modality'):
    subsets.gather(full, ({}, np.zeros(0, int)), full, 'cross_entropy')


def test_what_an_absent_example_holds_need_not_be_a_number():
  """As the error for NaN advises."""
  learner, cube = together('linear')

  def edit(split, inputs, present):
    del split
    gone_N1 = present['b'][:, None] == 0
    inputs['b'] = np.where(gone_N1, np.nan, inputs['b'])

  same(cube, train(changed(edit), FEW, COUNTS, SEEDS, learner), atol=0)


# Chance.


def test_chance_is_the_risk_of_the_best_constant():
  label_N = np.array([0, 0, 0, 1, 1, 3])
  part = part_of(label_N)
  p = np.array([3, 2, 1]) / 6
  assert subsets.chance(part, 4) == pytest.approx(-(p * np.log(p)).sum())
  assert subsets.chance(part_of([2, 2]), 3) == 0
  target_NT = np.random.default_rng(0).normal(3, 2, (50, 2)).astype(np.float32)
  part = subsets.Part({}, target_NT, {})
  want = np.square(target_NT - target_NT.mean(0)).sum(1).mean()
  assert subsets.chance(part, 0) == pytest.approx(want, rel=1e-5)
