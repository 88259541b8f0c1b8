"""The eval attention: which heads can be asked, and what the numbers mean."""

import types

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mmjax import _compose
from mmjax.base import Method, Outputs
from mmjax.evals import attention

PAIR = ('speech', 'text')
NAMES = ('neutral', 'happy', 'sad')


def make_kit(modalities=PAIR, class_names=NAMES, head='rsa'):
  return types.SimpleNamespace(
    modalities=modalities, class_names=class_names, head=head
  )


def predict(state, batch):
  """Shows what the batch says, and nothing where it says nothing."""
  del state
  shown = {k: batch[k] for k in ('attention',) if k in batch}
  return Outputs({}, {}, jnp.zeros((len(batch['label']), 3)), shown)


METHOD = Method(lambda *_: (), {}, predict)


def make_batch(B=60, M=2):
  draw = np.random.default_rng(0)
  return {
    'attention': draw.uniform(0.5, 1.5, size=(B, M, M)).astype(np.float32),
    'label': (np.arange(B) % 3).astype(np.int32),
    'present': {'speech': np.arange(B) % 5 != 1, 'text': np.arange(B) % 7 != 1},
  }


def rows_of(made, batch):
  rows = jax.jit(made.observe)((), batch)
  assert all(row.shape[0] == len(batch['label']) for row in rows.values())
  return {name: np.asarray(row) for name, row in rows.items()}


def test_neutral_is_set_against_the_others():
  batch = make_batch()
  made = attention.make(make_kit(), METHOD)
  rows = rows_of(made, batch)
  np.testing.assert_array_equal(rows['neutral'], batch['label'] == 0)
  assert rows['attention'].dtype == np.float32
  numbers = made.report(rows)
  assert len(numbers) == 2 * 2 * 2 * 2
  whole_N = batch['present']['speech'] & batch['present']['text']
  for group, has_N in (
    ('neutral', batch['label'] == 0),
    ('not_neutral', batch['label'] > 0),
  ):
    looks_N = batch['attention'][has_N & whole_N, 1, 0]
    path = f'attention/{group}/text-speech'
    assert numbers[f'{path}/mean'] == pytest.approx(looks_N.mean())
    assert numbers[f'{path}/median'] == pytest.approx(np.median(looks_N))


def test_examples_that_lack_a_modality_are_blank():
  batch = make_batch()
  rows = rows_of(attention.make(make_kit(), METHOD), batch)
  whole_N = batch['present']['speech'] & batch['present']['text']
  assert np.isnan(rows['attention'][~whole_N]).all()
  np.testing.assert_array_equal(
    rows['attention'][whole_N], batch['attention'][whole_N]
  )


def test_without_a_neutral_class_every_class_is_a_group():
  batch = make_batch()
  made = attention.make(
    make_kit(class_names=('a/b', 'c', 'd')), METHOD, neutral=''
  )
  rows = rows_of(made, batch)
  assert 'neutral' not in rows
  numbers = made.report(rows)
  groups = {path.split('/')[1] for path in numbers}
  assert groups == {'a_b', 'c', 'd'}
  rows['label'] = np.zeros(60, int)  # the other groups are empty
  numbers = made.report(rows)
  assert np.isnan(numbers['attention/c/text-text/mean'])
  assert np.isfinite(numbers['attention/a_b/text-text/median'])


def test_a_head_without_attention_is_refused():
  batch = make_batch()
  wrong = {k: v for k, v in batch.items() if k != 'attention'}
  made = attention.make(make_kit(head='concat'), METHOD)
  with pytest.raises(ValueError, match=r"'concat' shows none. .*\(rsa\)"):
    jax.jit(made.observe)((), wrong)
  with pytest.raises(ValueError, match=r'shows it as \[60, 3, 3\]'):
    jax.jit(made.observe)((), make_batch(M=3))


def test_a_class_that_does_not_exist_is_refused():
  with pytest.raises(ValueError, match="'neutral' is none of .*neutral=''"):
    attention.make(make_kit(class_names=('a', 'b')), METHOD)


def shows_attention(head: str) -> bool:
  """Whether a head shows [B, M, M] under this name, on two modalities."""
  facts = dict(modalities=PAIR, num_classes=3)
  made = _compose.lookup('models.fusion', dict(name=head), 'head', facts)
  feats = {m: jnp.ones((4, 8)) for m in PAIR}
  present = {m: jnp.ones(4, bool) for m in PAIR}

  def init(key):
    return made(**facts).init(key, feats, present, False)

  shown = jax.eval_shape(init, jax.random.key(0)).get('extras', {})
  (one,) = shown.get('attention', (None,))
  return getattr(one, 'shape', ()) == (4, 2, 2)


def test_the_heads_that_the_message_names_are_those_that_show_it():
  heads = [h for h in _compose.available('models.fusion') if shows_attention(h)]
  assert tuple(heads) == attention.SHOWN_BY
