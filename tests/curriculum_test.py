"""The curriculum: what each phase moves, its losses, and when it is enough."""

import functools
import itertools

import hypothesis
import hypothesis.strategies as st
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.special
import tiny

from mmjax.base import NEVER
from mmjax.methods import curriculum
from mmjax.ops import contrastive

PAIR = ('audio', 'text')  # with statistics and dropout; ragged, without
KEY = jax.random.key(2)


class Case:
  """A world whose programs are compiled once for all tests."""

  def __init__(self, made: tiny.World):
    self.phases = made.method.phases
    self.init = functools.cache(lambda: jax.jit(made.init)(KEY))
    self.batch = functools.cache(made.batch)
    self.predict = jax.jit(made.method.predict)
    self.steps = {name: jax.jit(p.step) for name, p in self.phases.items()}
    self.size = made.source.size

  def run(self, phase, steps, state=None):
    """(state, metrics of each step), from the first state unless one is given."""
    state, told = self.init() if state is None else state, []
    for t in range(steps):
      state, metrics = self.steps[phase](state, self.batch(t))
      told.append(metrics)
    return state, told


@functools.cache
def case(modalities=PAIR, plain=False, **hyper):
  """`plain` encoders are in training as they are in evaluation."""
  encoders = tiny.PLAIN if plain else tiny.ENCODERS
  return Case(tiny.world('curriculum', 'late', modalities, encoders, **hyper))


alignment = jax.jit(contrastive.alignment, static_argnames='positives')


def blocks(state, names):
  return [{m: getattr(state, f)[m] for m in names} for f in ('params', 'opt')]


# What moves.


def test_aligning_leaves_the_head_bitwise_alone():
  """Its momentum and weight decay too: it has no gradient, not one of zero."""
  before, _ = case().run('classify', 2)  # a head that has momentum
  after, _ = case().run('align', 3, before)
  assert tiny.same(*(blocks(s, ['head']) for s in (before, after)))
  for m in PAIR:
    assert not tiny.same(*(blocks(s, [m]) for s in (before, after)))
  assert not tiny.same(before.stats['audio'], after.stats['audio'])


def test_probing_leaves_the_encoders_bitwise_alone():
  before, _ = case().run('classify', 2)
  after, _ = case().run('probe', 3, before)
  assert tiny.same(*(blocks(s, PAIR) for s in (before, after)))
  assert tiny.same(before.stats, after.stats)
  assert not tiny.same(*(blocks(s, ['head']) for s in (before, after)))


def test_classifying_moves_every_block():
  after, _ = case().run('classify', 1)
  for block in (*PAIR, 'head'):
    assert not tiny.same(*(blocks(s, [block]) for s in (case().init(), after)))


def test_a_probe_sees_the_encoders_of_evaluation():
  """No dropout, running statistics: its loss is that of `predict`."""
  state, _ = case().run('classify', 3)
  batch = case().batch(0)
  _, told = case().run('probe', 1, state)
  out = case().predict(state, batch)
  tiny.close(told[0]['loss'], classification(out, batch))
  _, told = case().run('classify', 1, state)
  assert abs(told[0]['loss'] - classification(out, batch)) > 1e-3


# What is minimised.


def entropy(logits_BC, label_B):
  log_p_BC = scipy.special.log_softmax(np.asarray(logits_BC), axis=1)
  return -np.mean(log_p_BC[np.arange(len(label_B)), label_B])


def classification(out, batch, joint_weight=1.0):
  """CE_1 + .. + CE_M + the cross-entropy of the mean of the logits."""
  unis = [out.unis[m] for m in out.unis]
  fused = entropy(sum(unis) / len(unis), batch['label'])
  return sum(entropy(u, batch['label']) for u in unis) + joint_weight * fused


@pytest.mark.parametrize(
  'modalities, hyper',
  [
    (PAIR, {}),
    (tiny.MODALITIES, dict(positives='supcon', temperature=0.2)),
  ],
)
def test_alignment_is_the_mean_over_all_directions(modalities, hyper):
  made = case(modalities, plain=True, **hyper)
  state, batch = made.init(), made.batch(0)
  out = made.predict(state, batch)
  all_B = {m: jnp.ones(tiny.BATCH, bool) for m in modalities}
  temperature = hyper.get('temperature', 0.1)
  positives = hyper.get('positives', 'class')
  want = alignment(out.feats, batch['label'], temperature, all_B, positives)
  _, told = made.run('align', 1)
  tiny.close(told[0]['loss'], want)
  pairs = itertools.permutations(modalities, 2)
  each = [told[0][f'alignment/{a}-{b}'] for a, b in pairs]
  tiny.close(jnp.mean(jnp.stack(each)), want)


@pytest.mark.parametrize(
  'hyper', [{}, dict(joint_weight=0.3, contrast_weight=0.5)]
)
def test_classification_adds_up(hyper):
  made = case(plain=True, **hyper)
  state, batch = made.init(), made.batch(0)
  out = made.predict(state, batch)
  want = classification(out, batch, hyper.get('joint_weight', 1.0))
  all_B = {m: jnp.ones(tiny.BATCH, bool) for m in PAIR}
  more = alignment(out.feats, batch['label'], 0.1, all_B, 'class')
  weight = hyper.get('contrast_weight', 0.0)
  _, told = made.run('classify', 1)
  tiny.close(told[0]['loss'], want + weight * more)
  tiny.close(told[0]['loss/text'], entropy(out.unis['text'], batch['label']))
  assert ('alignment/text-audio' in told[0]) == bool(weight)


def test_prediction_is_the_mean_of_the_logits_that_are_there():
  batch = case().batch(0)
  out = case().predict(case().init(), batch)
  tiny.close(out.joint, (out.unis['audio'] + out.unis['text']) / 2)
  alone = case().predict(case().init(), tiny.absent(batch, 'audio'))
  tiny.close(alone.joint, out.unis['text'])


def test_what_was_aligned_can_be_probed_across_modalities():
  """One modality's classifier, learnt alone, serves the other one as well."""
  made = case(plain=True)
  state, told = made.run('align', 40)
  assert told[-1]['loss'] < 0.2 * told[0]['loss']
  state, _ = made.run('probe', 40, state)
  batch = made.batch(0, size=made.size)
  out = made.predict(state, batch)

  def accuracy(logits_BC):
    return np.mean(logits_BC.argmax(1) == batch['label'])

  assert accuracy(out.joint) > 0.9
  head, unit = state.params['head']['linear']['audio'], {}
  for m, z_BD in out.feats.items():
    unit[m] = z_BD / jnp.linalg.norm(z_BD, axis=1, keepdims=True)
  length = jnp.mean(jnp.linalg.norm(out.feats['audio'], axis=1))
  swapped = length * unit['text'] @ head['kernel'] + head['bias'][None]
  assert accuracy(swapped) > 0.8


def test_encoders_of_two_widths_are_refused():
  encoders = tiny.PLAIN | {'text': dict(name='mlp', hidden=(), width=5)}
  made = tiny.world('curriculum', 'late', PAIR, encoders)
  state = jax.eval_shape(made.init, KEY)
  with pytest.raises(ValueError, match='give all encoders one width'):
    jax.eval_shape(made.method.phases['align'].step, state, made.batch(0))


# When it is enough.


@functools.partial(jax.jit, static_argnames=('per_epoch', 'patience'))
def watched(loss_T, counts_T, min_delta, *, per_epoch, patience):
  """`enough` after each step of a fake sequence."""

  def step(memory, given):
    t, loss, counts = given
    memory = curriculum.watched(
      memory,
      contrastive.Direction(loss, counts),
      t + 1,
      (t + 1) % per_epoch == 0,
      patience,
      min_delta,
    )
    return memory, memory.enough

  given = jnp.arange(len(loss_T), dtype=jnp.int32), loss_T, counts_T
  return jax.lax.scan(step, curriculum.fresh(), given)[1]


def by_hand(losses, counts, min_delta, per_epoch, patience):
  """The same in plain Python: the step after which it is enough, or None."""
  best, since = float('inf'), 0
  for epoch in range(len(losses) // per_epoch):
    part = range(epoch * per_epoch, (epoch + 1) * per_epoch)
    said = [losses[t] for t in part if counts[t]]
    if not said:
      continue
    mean = sum(said) / len(said)
    if mean < best - min_delta:
      best, since = mean, 0
    else:
      since += 1
    if since >= patience:
      return (epoch + 1) * per_epoch
  return None


# Quarters are exact in float32, so both see the same ties.
quarters = st.integers(0, 12).map(lambda n: n / 4)


@hypothesis.settings(deadline=None, max_examples=40)
@hypothesis.given(
  losses=st.lists(quarters, min_size=16, max_size=16),
  counts=st.lists(st.booleans(), min_size=16, max_size=16),
  min_delta=st.sampled_from([0.0, 0.25, 1.0]),
  patience=st.sampled_from([1, 2, 3]),
)
def test_the_plateau_is_that_of_plain_python(
  losses, counts, min_delta, patience
):
  loss_T, counts_T = jnp.float32(jnp.array(losses)), jnp.array(counts)
  enough_T = watched(
    loss_T, counts_T, min_delta, per_epoch=2, patience=patience
  )
  want = by_hand(losses, counts, min_delta, 2, patience)
  if want is None:
    assert np.all(enough_T == NEVER)
  else:  # known with the last step of its epoch, and never forgotten
    assert np.all(enough_T[: want - 1] == NEVER)
    assert np.all(enough_T[want - 1 :] == want)


@pytest.mark.parametrize('patience', [1, 2, 3])
def test_it_ends_exactly_after_patience_epochs(patience):
  epochs = jnp.array([5.0, 4, 3, 3, 4, 3.5, 9, 1])  # best: the third
  enough_T = watched(
    jnp.repeat(epochs, 4),
    jnp.ones(32, bool),
    0.0,
    per_epoch=4,
    patience=patience,
  )
  assert enough_T[-1] == 4 * (3 + patience)


def test_without_patience_the_plan_alone_decides():
  assert case().phases['align'].until is None
  enough_T = watched(
    jnp.ones(8), jnp.ones(8, bool), 0.0, per_epoch=1, patience=0
  )
  assert np.all(enough_T == NEVER)


def test_the_phase_is_enough_where_its_losses_stall():
  # After its first epoch nothing is better by that much.
  made = case(plain=True, patience=2, min_delta=100.0)
  phase = made.phases['align']
  state = phase.enter(made.init())
  state, told = made.run('align', tiny.PER_EPOCH, state)
  mean = np.mean([t['loss'] for t in told])
  tiny.close(state.method.best, mean)
  assert phase.until(state) == NEVER
  state, _ = made.run('align', 2 * tiny.PER_EPOCH - 1, state)
  assert phase.until(state) == NEVER
  state, _ = made.run('align', 1, state)
  assert phase.until(state) == 3 * tiny.PER_EPOCH == state.step
  again = phase.enter(state)
  assert tiny.same(again.method, curriculum.fresh())
  assert tiny.same(again.params, state.params)


def test_batches_with_nothing_to_align_do_not_count():
  made = case(plain=True, patience=2, min_delta=100.0)
  batch = tiny.absent(made.batch(0), 'text')
  state = made.init()
  for _ in range(tiny.PER_EPOCH):
    state, told = made.steps['align'](state, batch)
    assert told['loss'] == 0
  assert state.method.best == curriculum.fresh().best
  assert state.method.since == 0 and state.method.enough == NEVER


# Bad input


@pytest.mark.parametrize(
  'hyper, words',
  [
    (dict(temperature=0), r'config.method.temperature=0 .*must be above 0'),
    (dict(temperature=-0.1), 'config.method.temperature=-0.1'),
    (dict(temperature=float('nan')), 'config.method.temperature=nan'),
    (dict(positives='pair'), "positives='pair' is none of class, instance, s"),
    (dict(patience=-1), 'config.method.patience=-1'),
    (dict(min_delta=-1.0), 'config.method.min_delta=-1.0'),
    (dict(contrast_weight=-1), 'config.method.contrast_weight=-1'),
    (dict(joint_weight=-2), 'config.method.joint_weight=-2'),
    (dict(modalities=('audio',)), "only; .*config.method.name='unimodal'"),
    (dict(head='sum'), r"config.head.name is 'sum' \(use 'late'\)"),
  ],
)
def test_bad_options_name_the_way_out(hyper, words):
  with pytest.raises(ValueError, match=words):
    tiny.world('curriculum', **{'head': 'late', **hyper})
