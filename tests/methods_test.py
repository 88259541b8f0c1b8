"""What every file of mmjax/methods has to keep, found by listing the folder.

A new method is in here as soon as its file is there: the first head that its
`make` accepts is taken, and each of its phases is put through all of this.
"""

import functools
import importlib
import inspect
import re

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import tiny

from mmjax import _compose, optim, seeds, sharding
from mmjax.base import Outputs
from mmjax.checkpoint import Checkpoints
from mmjax.methods._descent import per_modality
from mmjax.ops import gating

METHODS = _compose.available('methods')
PAIR = ('audio', 'text')  # with statistics and dropout; ragged, without
PLAIN = ('concat', 'shared', 'late')  # quick to compile
KEY = jax.random.key(3)


def fitting_head(method: str) -> str:
  """The first head that a method accepts."""
  reasons, heads = [], _compose.available('models.fusion')
  for head in (*PLAIN, *(h for h in heads if h not in PLAIN)):
    try:
      tiny.world(method, head)
    except ValueError as error:
      reasons.append(str(error))
    else:
      return head
  raise AssertionError(f'{method} takes none of the heads: {reasons}')


@functools.cache
def world(method: str, modalities=PAIR) -> tiny.World:
  return tiny.world(method, fitting_head(method), modalities)


CASES = [(m, phase) for m in METHODS for phase in world(m).method.phases]
each = pytest.mark.parametrize('method, phase', CASES)


@functools.cache
def init(method: str):
  return jax.jit(world(method).init)


@functools.cache
def step(method: str, phase: str):
  return jax.jit(world(method).method.phases[phase].step)


def viewed(method: str, phase: str, batch):
  """The batch as often as the phase wants to see it."""
  views = made_phase(method, phase).views
  return jax.tree.map(lambda x: jnp.concatenate([x] * views), batch)


def batch_of(method: str, phase: str, t: int):
  """That of step t."""
  return viewed(method, phase, world(method).batch(t))


def begin(method: str, phase: str, key=KEY, steps: int = 0):
  """A state that has entered a phase and made some of its steps."""
  state = made_phase(method, phase).enter(init(method)(key))
  for t in range(steps):
    state, _ = step(method, phase)(state, batch_of(method, phase, t))
  return state


@functools.cache
def three_steps(method: str, phase: str, seed: int = 3):
  """(state, metrics) after three steps, one after the other."""
  state = begin(method, phase, jax.random.key(seed), steps=2)
  return step(method, phase)(state, batch_of(method, phase, 2))


@functools.cache
def moved(method: str, phase: str) -> frozenset[str]:
  """The blocks that a phase trains; it may leave some as they are."""
  before, (after, _) = begin(method, phase), three_steps(method, phase)
  pairs = ((b, before.params[b], after.params[b]) for b in before.params)
  return frozenset(b for b, *params in pairs if not tiny.same(*params))


@functools.cache
def sees_labels(method: str, phase: str) -> bool:
  """Whether other labels make another step."""
  state, batch = begin(method, phase), batch_of(method, phase, 0)
  other = {**batch, 'label': (batch['label'] + 1) % tiny.CLASSES}
  run = step(method, phase)
  return not tiny.same(run(state, batch)[0], run(state, other)[0])


def test_there_are_methods():
  assert {'mla', 'mla_released', 'joint', 'unimodal'} <= set(METHODS)


@pytest.mark.parametrize('method', METHODS)
def test_hyper_parameters_are_keywords_with_defaults(method):
  make = importlib.import_module(f'mmjax.methods.{method}').make
  first, *rest = inspect.signature(make).parameters.values()
  assert first.name == 'kit'
  for p in rest:
    assert p.kind == p.KEYWORD_ONLY and p.default is not p.empty, p
    assert f'{p.name}:' in make.__doc__, f'{p.name} is not explained'


@each
@pytest.mark.parametrize('modalities', [PAIR, tiny.MODALITIES])
def test_steps_keep_structure_shapes_and_types(method, phase, modalities):
  made = world(method, modalities)
  state = jax.eval_shape(made.init, KEY)
  entered = jax.eval_shape(made.method.phases[phase].enter, state)
  chex.assert_trees_all_equal_shapes_and_dtypes(entered, state)
  after, metrics = jax.eval_shape(
    made.method.phases[phase].step,
    state,
    viewed(method, phase, made.batch(0)),
  )
  chex.assert_trees_all_equal_shapes_and_dtypes(after, state)
  assert 'loss' in metrics
  for name, value in metrics.items():
    assert value.shape == () and value.dtype == jnp.float32, name
  out = jax.eval_shape(made.method.predict, state, made.batch(0))
  assert out.joint.shape == (tiny.BATCH, tiny.CLASSES)
  assert set(out.feats) == set(out.unis) == set(modalities)


@each
def test_it_learns_with_one_compilation(method, phase):
  made = world(method)
  chex.clear_trace_counter()
  once = chex.assert_max_traces(made.method.phases[phase].step, n=1)
  run, state, told = jax.jit(once), begin(method, phase), []
  for t in range(36):
    state, metrics = run(state, batch_of(method, phase, t))
    told.append(metrics)
  told = jax.device_get(told)
  assert all(np.isfinite(v).all() for m in told for v in m.values())
  losses = [m['loss'] for m in told]
  assert np.mean(losses[-6:]) < 0.7 * np.mean(losses[:6])
  assert int(state.step) == 36
  assert tiny.same(state.key, KEY)  # folded, never split
  if 'head' not in moved(method, phase) or not sees_labels(method, phase):
    return  # it has not learnt to classify
  batch = made.batch(0, size=made.source.size)
  out = jax.jit(made.method.predict)(state, batch)
  accuracy = np.mean(out.joint.argmax(1) == batch['label'])
  assert accuracy > 2 / tiny.CLASSES


@each
def test_a_step_is_the_same_program_whenever_it_is_traced(method, phase):
  """It depends on nothing that changes between traces, and has no effects."""
  there = made_phase(method, phase)
  state, batch = jax.eval_shape(
    lambda: (init(method)(KEY), batch_of(method, phase, 0))
  )
  # A function of its own each time, or JAX remembers the first program.
  programs = [
    jax.make_jaxpr(lambda *x: there.step(*x))(state, batch) for _ in range(2)
  ]
  for program in programs:
    assert not program.effects
  one, other = (re.sub('0x[0-9a-f]+', '', str(p)) for p in programs)
  assert one == other


@each
def test_a_loop_on_the_device_is_the_same(method, phase):
  batches = [batch_of(method, phase, t) for t in range(3)]
  stacked = jax.tree.map(lambda *x: jnp.stack(x), *batches)
  scan = jax.jit(lambda s, b: jax.lax.scan(step(method, phase), s, b))
  state, metrics = scan(begin(method, phase), stacked)
  want, last = three_steps(method, phase)
  tiny.close(state, want)
  tiny.close(jax.tree.map(lambda x: x[-1], metrics), last)


@each
@pytest.mark.parametrize('how', ['loop', 'vmap'])
def test_several_seeds_are_as_many_runs(method, phase, how, tmp_path):
  made, there = world(method), made_phase(method, phase)
  mesh = sharding.make_mesh(data=1)
  models = seeds.make(made.init, mesh, seed=3, num=2, how=how)
  run = models.lift(there.step)
  states = models.enter(there.enter)(models.init())
  for t in range(3):
    if t == 2 and how == 'loop':
      states = saved_and_restored(tmp_path, states, models)
    states, told = run(states, batch_of(method, phase, t))
  told = models.stack(told)
  assert models.step(states) == 3
  for i in range(2):
    want, metrics = three_steps(method, phase, 3 + i)
    if how == 'loop':
      one = states[i]
    else:
      one = jax.tree.map(lambda x, i=i: x[i] if x.ndim else x, states)
    tiny.close(one, want)
    tiny.close({k: v[i] for k, v in told.items()}, metrics)


def made_phase(method: str, phase: str):
  return world(method).method.phases[phase]


def saved_and_restored(folder, states, models):
  """Through the disk, as a run that was killed in mid-plan comes back."""
  with Checkpoints(folder / 'checkpoints') as checkpoints:
    checkpoints.save(models.step(states), states)
  with Checkpoints(folder / 'checkpoints') as checkpoints:
    found = checkpoints.restore(models.abstract)
  assert tiny.same(found.state, states)
  return found.state


@each
def test_eight_devices_are_as_one(method, phase):
  made, mesh = world(method), sharding.make_mesh(data=8)
  models = seeds.make(made.init, mesh, seed=3, num=1)
  run = models.lift(made_phase(method, phase).step)
  states = models.enter(made_phase(method, phase).enter)(models.init())
  size = tiny.BATCH * made_phase(method, phase).views
  part = sharding.local_part(mesh, size)
  for t in range(3):
    local = jax.tree.map(np.asarray, batch_of(method, phase, t))
    batch = sharding.put(mesh, local, size, part)
    states, told = run(states, batch)
  want, metrics = three_steps(method, phase)
  tiny.close(states[0], want)
  tiny.close(told[0], metrics)


@each
def test_a_modality_that_nobody_has_rests(method, phase):
  run = step(method, phase)
  for m in PAIR:
    before = state = begin(method, phase, steps=2)
    for t in range(2, 5):
      state, metrics = run(state, tiny.absent(batch_of(method, phase, t), m))
      assert tiny.finite(metrics)
    for name in ('params', 'opt', 'stats'):
      still, moved = getattr(state, name)[m], getattr(before, name)[m]
      assert tiny.same(still, moved), f'{name} of {m}'
    assert tiny.finite(state)
    others = [b for b in state.params if b != m]
    assert not all(tiny.same(state.params[b], before.params[b]) for b in others)


@each
def test_what_does_not_count_leaves_no_trace(method, phase):
  """Neither padding nor what an example lacks, whatever stands there."""
  made, run = world(method), step(method, phase)
  batch, drawn = made.batch(2), np.random.default_rng(0)
  has = {m: drawn.random(tiny.BATCH) < 0.6 for m in PAIR}
  has['audio'] |= ~np.any(list(has.values()), axis=0)
  batch = {**batch, 'mask': np.arange(tiny.BATCH) < 13, 'present': has}

  def spoil(m, x):
    counts = (batch['mask'] & has[m]).reshape(-1, *(1,) * (x.ndim - 1))
    return x if x.dtype == bool else jnp.where(counts, x, 50.0)

  spoiled = {
    m: jax.tree.map(functools.partial(spoil, m), batch[m]) for m in PAIR
  }
  state = begin(method, phase, steps=2)
  want, told = run(state, viewed(method, phase, batch))
  assert tiny.finite(want) and tiny.finite(told)
  assert not tiny.same(want.params, state.params)
  label = jnp.where(batch['mask'], batch['label'], 0)
  spoiled = viewed(method, phase, {**batch, **spoiled, 'label': label})
  after, metrics = run(state, spoiled)
  tiny.close(after, want, rtol=1e-6, atol=1e-6)
  tiny.close(metrics, told, rtol=1e-5, atol=1e-6)
  out = jax.jit(made.method.predict)(after, batch)
  assert tiny.finite(out)


@each
def test_gradients_pass_through_a_step(method, phase):
  there = made_phase(method, phase)

  def loss(params, state, batch):
    after, metrics = there.step(state.replace(params=params), batch)
    moved = sum(jnp.sum(p**2) for p in jax.tree.leaves(after.params))
    return metrics['loss'] + 0.01 * moved, metrics['loss']

  state = begin(method, phase, steps=1)
  grad = jax.jit(jax.grad(loss, has_aux=True))
  grads, told = grad(state.params, state, batch_of(method, phase, 1))
  assert tiny.finite(grads)
  trained = moved(method, phase)
  for block in trained & {'head'} or trained:
    assert all(np.any(g) for g in jax.tree.leaves(grads[block])), block
  assert np.isfinite(told)


# What the baselines mean.


def test_a_loss_per_modality_is_over_the_examples_that_have_it():
  batch = {
    'label': np.array([0, 1, 2, 0]),
    'mask': np.array([1, 1, 1, 0], bool),
    'present': {
      'audio': np.array([1, 0, 1, 1], bool),
      'text': np.zeros(4, bool),
    },
  }
  logits_BC = jax.random.normal(KEY, (4, 3))
  out = Outputs({}, {'audio': logits_BC, 'text': logits_BC}, logits_BC)
  told = per_modality(out, batch)
  log_p_BC = jax.nn.log_softmax(logits_BC)
  want = -(log_p_BC[0, 0] + log_p_BC[2, 2]) / 2
  np.testing.assert_allclose(told['audio'], want, rtol=1e-6)
  assert told['text'] == 0


@pytest.mark.parametrize('weight', [0.0, 0.5])
def test_joint_goes_down_the_loss_of_the_fused_logits(weight):
  made = tiny.world(
    'joint',
    'sum',
    PAIR,
    encoders=tiny.PLAIN,
    optimizer=optim.sgd(lr=0.1, momentum=0.0, weight_decay=0.0),
    unimodal_weight=weight,
  )
  state, batch = jax.jit(made.init)(KEY), made.batch(0)

  def loss(params):
    feats = {
      'audio': batch['audio'],
      'text': jnp.sum(
        jnp.where(batch['text'].mask[:, :, None], batch['text'].values, 0), 1
      )
      / jnp.sum(batch['text'].mask, 1)[:, None],
    }
    unis = {}
    for m, x in feats.items():
      encoder, head = params[m]['Dense_0'], params['head']['linear'][m]
      z = x @ encoder['kernel'] + encoder['bias'][None]
      unis[m] = z @ head['kernel'] + head['bias'][None]

    def entropy(logits_BC):
      log_p_BC = jax.nn.log_softmax(logits_BC)
      return -jnp.mean(log_p_BC[jnp.arange(tiny.BATCH), batch['label']])

    joint = entropy(sum(unis.values()))
    return joint + weight * sum(entropy(x) for x in unis.values())

  want, grads = jax.jit(jax.value_and_grad(loss))(state.params)
  after, metrics = jax.jit(made.method.phases['joint'].step)(state, batch)
  tiny.close(metrics['loss'], want)
  moved = jax.tree.map(lambda p, g: p - 0.1 * g, state.params, grads)
  tiny.close(after.params, moved)


def test_unimodal_models_do_not_know_of_each_other():
  made = tiny.world('unimodal', 'late', PAIR)
  run = jax.jit(made.method.phases['unimodal'].step)
  state, batch = jax.jit(made.init)(KEY), made.batch(0)
  other = {**batch, 'text': jax.tree.map(lambda x: x[::-1], batch['text'])}
  (a, _), (b, _) = run(state, batch), run(state, other)
  assert tiny.same(a.params['audio'], b.params['audio'])
  heads = [s.params['head']['linear'] for s in (a, b)]
  assert tiny.same(heads[0]['audio'], heads[1]['audio'])
  assert not tiny.same(heads[0]['text'], heads[1]['text'])


def test_late_fusions():
  state = jax.jit(tiny.world('unimodal', 'late', PAIR).init)(KEY)
  joint = {}
  for fusion in ('logits', 'probabilities', 'entropy'):
    made = tiny.world('unimodal', 'late', PAIR, fusion=fusion)
    batch = tiny.world('unimodal', 'late', PAIR).batch(0)
    out = jax.jit(made.method.predict)(state, batch)
    joint[fusion] = out.joint
    alone = made.method.predict(state, tiny.absent(batch, 'text')).joint
    tiny.close(jax.nn.softmax(alone), jax.nn.softmax(out.unis['audio']))
  logits_MBC = jnp.stack([out.unis[m] for m in PAIR])
  tiny.close(joint['logits'], logits_MBC.mean(0))
  probs_BC = jax.nn.softmax(logits_MBC).mean(0)
  tiny.close(jax.nn.softmax(joint['probabilities']), probs_BC)
  want = gating.fuse(gating.entropy(logits_MBC), logits_MBC)
  tiny.close(joint['entropy'], want)


def test_unimodal_checks_its_options():
  with pytest.raises(ValueError, match=r"head.name is 'sum' \(use 'late'\)"):
    tiny.world('unimodal', 'sum')
  with pytest.raises(ValueError, match='is none of logits, probabilities, ent'):
    tiny.world('unimodal', 'late', fusion='mean')
