"""Evals on a method whose predictions are known."""

import types

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from sklearn import metrics

from mmjax.base import Eval, Method, Outputs
from mmjax.evals import classification, gap, probe, subsets
from mmjax.ops import scores

C = 3


def make_kit(*modalities, num_classes=C):
  names = tuple(f'class{c}' for c in range(num_classes))
  return types.SimpleNamespace(
    modalities=modalities, class_names=names, num_classes=num_classes
  )


def predict(state, batch):
  """Each modality's input is its logits; the sum of the present is fused."""
  names = [m for m in ('audio', 'visual') if m in batch]
  unis = {m: state * batch[m] for m in names}
  joint = sum(unis[m] * batch['present'][m][:, None] for m in names)
  return Outputs({m: unis[m][:, :2] for m in names}, unis, joint)


METHOD = Method(lambda *_: (), {}, predict)


def make_batch(B=8, seed=0):
  draw = np.random.default_rng(seed)
  return {
    'audio': draw.normal(size=(B, C)).astype(np.float32),
    'visual': draw.normal(size=(B, C)).astype(np.float32),
    'label': draw.integers(C, size=B).astype(np.int32),
    'index': np.arange(B, dtype=np.int32),
    'mask': np.ones(B, bool),
    'present': {'audio': np.arange(B) % 4 != 0, 'visual': np.arange(B) % 4 > 1},
  }


def rows_of(made: Eval, batch):
  rows = jax.jit(made.observe)(jnp.float32(1), batch)
  B = len(batch['label'])
  assert all(row.shape[0] == B for row in rows.values())
  return {name: np.asarray(row) for name, row in rows.items()}


def test_classification_counts_only_examples_with_the_modality():
  batch = make_batch(40)
  made = classification.make(make_kit('audio', 'visual'), METHOD)
  numbers = made.report(rows_of(made, batch))
  keys = ('accuracy', 'macro_f1', 'weighted_f1', 'auroc', 'ece')
  names = ('audio', 'visual', 'joint')
  assert set(numbers) == {f'{n}/{k}' for n in names for k in keys}
  has_N = batch['present']['visual']
  guess_N = batch['visual'][has_N].argmax(1)
  right_N = guess_N == batch['label'][has_N]
  assert numbers['visual/accuracy'] == pytest.approx(right_N.mean())
  joint_NC = sum(batch[m] * batch['present'][m][:, None] for m in names[:2])
  right_N = joint_NC.argmax(1) == batch['label']
  seen_N = batch['present']['audio'] | batch['present']['visual']
  right_N = right_N[seen_N]
  assert numbers['joint/accuracy'] == pytest.approx(right_N.mean())


@pytest.mark.parametrize('num_classes', [2, 3, 5])
def test_measures_agree_with_scikit_learn(num_classes):
  draw = np.random.default_rng(1)
  label_N = np.arange(60) % num_classes
  logits_NC = draw.normal(size=(60, num_classes)) + np.eye(num_classes)[label_N]
  logits_NC = logits_NC.round(1)  # ties among the scores too
  found = classification.measures(logits_NC, label_N)
  probs_NC, guess_N = classification.softmax(logits_NC), logits_NC.argmax(1)
  np.testing.assert_allclose(probs_NC.sum(1), 1)
  score = probs_NC[:, 1] if num_classes == 2 else probs_NC
  area = metrics.roc_auc_score(label_N, score, multi_class='ovr')
  assert found == pytest.approx(
    {
      'accuracy': metrics.accuracy_score(label_N, guess_N),
      'macro_f1': metrics.f1_score(label_N, guess_N, average='macro'),
      'weighted_f1': metrics.f1_score(label_N, guess_N, average='weighted'),
      'auroc': area,
      'ece': scores.ece(probs_NC, label_N),
    }
  )


def test_a_class_absent_from_the_split_leaves_auroc_and_unpredicted_f1():
  label_N = np.array([0, 0, 1, 1])
  logits_NC = np.array([[2, 1, -9], [1, 2, -9], [0, 1, -9], [0, 3, -9.0]])
  found = classification.measures(logits_NC, label_N)
  probs_NC = classification.softmax(logits_NC)
  areas = [metrics.roc_auc_score(label_N == c, probs_NC[:, c]) for c in (0, 1)]
  assert found['auroc'] == pytest.approx(np.mean(areas))
  assert found['macro_f1'] == pytest.approx((2 / 3 + 4 / 5) / 2)
  logits_NC[1, 2] = 5  # now the absent class is predicted once, wrongly
  found = classification.measures(logits_NC, label_N)
  assert found['macro_f1'] == pytest.approx((2 / 3 + 1 + 0) / 3)


def test_a_split_of_one_class_or_of_none():
  one = classification.measures(np.eye(3)[[0, 0]], np.array([0, 0]))
  assert one['accuracy'] == 1 and np.isnan(one['auroc'])
  none = classification.measures(np.zeros((0, 3)), np.zeros(0, int))
  assert np.isnan(list(none.values())).all()


def test_diverged_logits_are_nan_with_a_warning():
  logits_NC = np.array([[0, 1.0], [np.nan, 1.0]])
  with pytest.warns(UserWarning, match='1 of 2 rows of logits of audio'):
    found = classification.measures(logits_NC, np.array([0, 1]), name='audio')
  assert np.isnan(list(found.values())).all()


def test_a_method_of_one_modality_is_measured_on_it_alone():
  batch = make_batch()
  del batch['visual']
  made = classification.make(make_kit('audio', 'visual'), METHOD)
  numbers = made.report(rows_of(made, batch))
  assert {path.split('/')[0] for path in numbers} == {'audio', 'joint'}


def test_subsets_mask_the_batch_and_guess_where_nothing_is_left():
  batch = make_batch(40)
  made = subsets.make(make_kit('audio', 'visual'), METHOD)
  numbers = made.report(rows_of(made, batch))
  accuracy = {(): 1 / C}
  for subset in (('audio',), ('visual',), ('audio', 'visual')):
    has = {m: batch['present'][m] for m in subset}
    joint_NC = sum(batch[m] * has[m][:, None] for m in subset)
    right_N = (joint_NC.argmax(1) == batch['label']).astype(float)
    right_N[~np.any(list(has.values()), axis=0)] = 1 / C
    accuracy[subset] = right_N.mean()
    path = f'subsets/{"+".join(subset)}/accuracy'
    assert numbers[path] == pytest.approx(accuracy[subset])
  for name, share in scores.shapley(accuracy).items():
    assert numbers[f'shapley/{name}'] == pytest.approx(share)
  assert len(numbers) == 5


def test_dropped_modalities_do_not_leak():
  batch = make_batch()
  other = {**batch, 'visual': -batch['visual']}
  made = subsets.make(make_kit('audio', 'visual'), METHOD)
  ours, theirs = rows_of(made, batch), rows_of(made, other)
  np.testing.assert_array_equal(ours['guess/audio'], theirs['guess/audio'])
  assert (ours['guess/visual'] != theirs['guess/visual']).any()
  nobody = ~batch['present']['visual']
  assert (ours['guess/visual'][nobody] == -1).all()
  assert (ours['guess/visual'][~nobody] >= 0).all()


def test_subsets_refuses_too_many_modalities():
  with pytest.raises(ValueError, match='15 times .* max_modalities=3.* Leave'):
    subsets.make(make_kit(*'abcd'), METHOD, max_modalities=3)
  with pytest.raises(ValueError, match=r"'a\+b'"):
    subsets.make(make_kit('a+b'), METHOD)


def test_gap_uses_examples_with_both_and_leaves_out_other_widths():
  batch = make_batch(12)
  made = gap.make(make_kit('audio', 'visual'), METHOD)
  rows = rows_of(made, batch)
  assert rows['feats/audio'].dtype == np.float32
  both_N = batch['present']['audio'] & batch['present']['visual']
  expected = scores.modality_gap(
    batch['audio'][both_N, :2], batch['visual'][both_N, :2]
  )
  numbers = made.report(rows)
  assert numbers == {'gap/audio-visual': pytest.approx(float(expected))}
  rows['present/audio'] = ~rows['present/visual']
  assert np.isnan(made.report(rows)['gap/audio-visual'])
  rows['feats/audio'] = rows['feats/audio'][:, :1]
  assert made.report(rows) == {}


def clouds(N=60, seed=0):
  """'audio' tells the class, 'visual' is noise."""
  draw = np.random.default_rng(seed)
  label = np.arange(N) % C
  return {
    'feats/audio': (3 * np.eye(C)[label] + 0.3 * draw.normal(size=(N, C))),
    'feats/visual': draw.normal(size=(N, 2)),
    'present/audio': np.arange(N) % 5 != 0,
    'present/visual': np.ones(N, bool),
    'label': label,
  }


def test_probe_learns_from_the_training_rows_alone():
  made = probe.make(make_kit('audio', 'visual'), METHOD)
  assert made.also == ('train',)
  test = clouds(90, seed=1)
  numbers = made.report(test, train=clouds())
  assert numbers['audio/probe'] == 1 and numbers['joint/probe'] == 1
  assert 0.15 < numbers['visual/probe'] < 0.55
  # Other training labels, another answer: nothing comes from the test labels.
  turned = {**clouds(), 'label': (clouds()['label'] + 1) % C}
  assert made.report(test, train=turned)['audio/probe'] == 0


def test_probe_is_scikit_learns_regression():
  from sklearn import linear_model, preprocessing

  rng = np.random.default_rng(0)
  x, y = rng.normal(size=(50, 4)) * [1, 10, 100, 1], rng.integers(0, 3, 50)
  scaler = preprocessing.StandardScaler().fit(x)
  model = linear_model.LogisticRegression(C=0.3, max_iter=500)
  want = model.fit(scaler.transform(x), y).score(scaler.transform(x), y)
  assert probe.accuracy(x, y, x, y, 0.3, 500) == want


def test_probe_says_nothing_where_nothing_can_be_learnt():
  made = probe.make(make_kit('audio', 'visual'), METHOD)
  rows = clouds()
  one = {**rows, 'label': np.zeros(60, int)}
  assert np.isnan(made.report(rows, train=one)['audio/probe'])
  lost = {**rows, 'feats/audio': np.full((60, C), np.nan)}
  numbers = made.report(lost, train=rows)
  assert np.isnan(numbers['audio/probe']) and numbers['visual/probe'] >= 0
  nobody = {**rows, 'present/audio': np.zeros(60, bool)}
  assert np.isnan(made.report(nobody, train=rows)['audio/probe'])
  with pytest.raises(ValueError, match='C=0.*above 0'):
    probe.make(make_kit('audio'), METHOD, C=0)
