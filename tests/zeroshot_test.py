"""Zero-shot classification: prompts that are known, and those of a file."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import tiny
from retrieval_test import METHOD, make_kit, rows_of

from mmjax import evaluate, experiment
from mmjax.base import Method, Outputs, Ragged
from mmjax.evals import zeroshot

C, D = 3, 5


def unit(x_ND):
  return x_ND / np.linalg.norm(x_ND, axis=1, keepdims=True)


def make_batch(B=30, seed=0, classes=C, width=D):
  """Text is the name of the class, images are that and noise."""
  draw = np.random.default_rng(seed)
  name_CD = np.random.default_rng(9).normal(size=(classes, width))
  label = np.arange(B) % classes
  text = name_CD[label]
  batch = {'image': text + 1.5 * draw.normal(size=(B, width)), 'text': 7 * text}
  batch = {m: x.astype(np.float32) for m, x in batch.items()}
  return batch | {
    'label': label.astype(np.int32),
    'index': np.arange(B, dtype=np.int32),
    'entry': {'text': label.astype(np.int32)},
    'mask': np.ones(B, bool),
    'present': {'image': np.arange(B) % 4 != 1, 'text': np.arange(B) % 5 != 2},
  }


def nearest(x_ND, prompt_CD):
  return (unit(x_ND) @ unit(prompt_CD).T).argmax(1)


def test_an_example_is_of_the_class_whose_name_is_nearest():
  batch = make_batch()
  made = zeroshot.make(make_kit('image', 'text'), METHOD)
  assert made.also == ('train',)
  rows = rows_of(made, batch)
  numbers = made.report(rows, train=rows_of(made, make_batch(60, seed=1)))
  has_N = batch['present']['image']
  guess_N = nearest(batch['image'][has_N], batch['text'][:C])
  expected = np.mean(guess_N == batch['label'][has_N])
  assert numbers == {'image/zero_shot': pytest.approx(expected)}
  assert 0.5 < expected < 1


def test_prompts_of_the_training_split_are_means_of_unit_embeddings():
  train = make_batch(60, seed=1)
  # One that is of another class and long, which does not matter.
  train['text'][3] = 1000 * train['text'][1]
  made = zeroshot.make(make_kit('image', 'text'), METHOD)
  rows = rows_of(made, make_batch())
  numbers = made.report(rows, train=rows_of(made, train))
  has_N, own = train['present']['text'], train['label']
  prompt_CD = np.stack(
    [unit(train['text'][has_N & (own == c)]).mean(0) for c in range(C)]
  )
  image_N = rows['present/image']
  guess_N = nearest(rows['feats/image'][image_N], prompt_CD)
  expected = np.mean(guess_N == rows['label'][image_N])
  assert numbers['image/zero_shot'] == pytest.approx(expected)


def test_a_class_without_a_prompt_is_never_guessed():
  train = make_batch(60)
  made = zeroshot.make(make_kit('image', 'text'), METHOD)
  rows, others = rows_of(made, make_batch()), rows_of(made, train)
  others['present/text'] = others['present/text'] & (train['label'] != 2)
  rows['feats/image'] = -rows['feats/text']  # as far from its own as can be
  assert made.report(rows, train=others)['image/zero_shot'] == 0
  rows['feats/image'] = rows['feats/text']
  known_N = rows['label'][rows['present/image']] != 2
  found = made.report(rows, train=others)['image/zero_shot']
  assert found == pytest.approx(known_N.mean())


def test_many_classes_have_the_best_five_too():
  found = zeroshot.accuracies(np.eye(11), np.arange(11))
  assert found == {'zero_shot': 1, 'zero_shot_top5': 1}
  assert set(zeroshot.accuracies(np.eye(10), np.arange(10))) == {'zero_shot'}
  # Class c is the (c + 1)-th best for everybody.
  falling_NC = np.tile(-np.arange(12.0), (12, 1))
  found = zeroshot.accuracies(falling_NC, np.arange(12))
  assert found == pytest.approx({'zero_shot': 1 / 12, 'zero_shot_top5': 5 / 12})
  # Embeddings that are all the same are at chance.
  found = zeroshot.accuracies(np.zeros((12, 12)), np.arange(12))
  assert found == pytest.approx({'zero_shot': 1 / 12, 'zero_shot_top5': 5 / 12})


def test_nothing_to_say_is_nan():
  made = zeroshot.make(make_kit('image', 'text'), METHOD)
  rows = rows_of(made, make_batch())
  nobody = {**rows, 'present/image': np.zeros(30, bool)}
  assert np.isnan(made.report(nobody, train=rows)['image/zero_shot'])
  nobody = {**rows, 'present/text': np.zeros(30, bool)}
  assert np.isnan(made.report(rows, train=nobody)['image/zero_shot'])
  lost = {**rows, 'feats/image': np.full((30, D), np.nan)}
  assert np.isnan(made.report(lost, train=rows)['image/zero_shot'])


# Prompts of a file.


def write(path, latents=None, label=None, **more):
  draw = np.random.default_rng(3)
  latents = draw.normal(size=(7, D)) if latents is None else latents
  label = np.array([2, 0, 1, 1, 0, 2, 2]) if label is None else label
  np.savez(path, latents=latents, label=label, **more)
  return str(path)


def crowded(state, batch):
  """Refuses to embed what is not alone, and blends in what is masked."""
  shown_B = batch['present']['text'] & batch['mask']
  others_B = batch['present']['image']
  alone = jnp.where(jnp.any(shown_B & others_B), jnp.nan, 1)
  return Outputs(
    {'image': batch['image'], 'text': state * alone * batch['text']}, {}, None
  )


@pytest.mark.parametrize('size', [3, 7, 30])
def test_prompts_of_a_file_are_embedded_whatever_the_batch(tmp_path, size):
  path = write(tmp_path / 'p.npz')
  prompt = np.load(path)
  method = Method(lambda *_: (), {}, crowded)
  made = zeroshot.make(make_kit('image', 'text'), method, prompts=path)
  assert made.also == ()
  batch = make_batch(size)
  batch['present']['text'] = np.zeros(size, bool)
  rows = rows_of(made, batch)
  class_CD = np.stack(
    [unit(prompt['latents'][prompt['label'] == c]).mean(0) for c in range(C)]
  )
  similarity_NC = unit(batch['image']) @ unit(class_CD).T
  np.testing.assert_allclose(
    rows['similarity/image'], similarity_NC, rtol=1e-5, atol=1e-6
  )
  has_N = batch['present']['image']
  right_N = similarity_NC.argmax(1) == batch['label']
  expected = np.mean(right_N[has_N])
  assert made.report(rows)['image/zero_shot'] == pytest.approx(expected)


@pytest.mark.parametrize(
  ('fields', 'message'),
  [
    (dict(label=np.zeros(7, int)), r'no prompt of 2 of 3 .*class1, class2'),
    (dict(label=np.full(7, 3)), 'labels run from 3 to 3, but the 3 classes'),
    (dict(label=np.zeros(6, int)), r'\(7, 5\) and label \(6,\)'),
    (dict(label=np.zeros(7)), 'whole numbers'),
    (dict(latents=np.full((7, D), np.nan)), 'NaN'),
    (dict(latents=np.array(['a'] * 7)[:, None]), 'no numbers'),
  ],
)
def test_a_file_is_checked_at_once(tmp_path, fields, message):
  path = write(tmp_path / 'p.npz', **fields)
  with pytest.raises(ValueError, match=message):
    zeroshot.make(make_kit('image', 'text'), METHOD, prompts=path)


def test_a_file_that_is_none(tmp_path):
  kit = make_kit('image', 'text')
  np.savez(tmp_path / 'other.npz', x=np.ones(2))
  np.save(tmp_path / 'one.npy', np.ones(2))
  (tmp_path / 'bad.npz').write_bytes(b'PK\x03\x04 but then nothing')
  (tmp_path / 'text.npz').write_text('red\ngreen\n')
  pickled = np.array([{'a': 1}], object)
  np.savez(tmp_path / 'pickle.npz', latents=pickled, label=np.zeros(1, int))
  for name in ('none', 'other', 'bad', 'text', 'pickle'):
    path = tmp_path / f'{name}.npz'
    with pytest.raises(ValueError, match=f'{name}.npz.*(cannot be|damaged)'):
      zeroshot.make(kit, METHOD, prompts=str(path))
  with pytest.raises(ValueError, match='cannot be read'):
    zeroshot.make(kit, METHOD, prompts=str(tmp_path / 'one.npy'))


def test_what_does_not_fit_is_said_before_any_training(tmp_path):
  with pytest.raises(ValueError, match="by='words'.* image, text"):
    zeroshot.make(make_kit('image', 'text'), METHOD, by='words')
  with pytest.raises(ValueError, match='one of several'):
    zeroshot.make(make_kit('text'), METHOD)
  kit, state = make_kit('image', 'text'), jnp.float32(1)

  def ask(batch, latents):
    path = write(tmp_path / 'p.npz', latents)
    made = zeroshot.make(kit, METHOD, prompts=path)
    return jax.eval_shape(made.observe, state, batch)

  with pytest.raises(ValueError, match=r'\(4,\) each.*numbers of shape \(5,\)'):
    ask(make_batch(), np.ones((7, 4)))
  ids = {**make_batch(), 'text': np.zeros((30, D), np.int32)}
  with pytest.raises(ValueError, match='takes ids of shape'):
    ask(ids, np.ones((7, D)))
  values = Ragged(np.zeros((30, 4, D), np.float32), np.ones((30, 4), bool))
  with pytest.raises(ValueError, match='sequences'):
    method = Method(lambda *_: (), {}, lambda s, _: crowded(s, make_batch()))
    path = write(tmp_path / 'p.npz')
    made = zeroshot.make(kit, method, prompts=path)
    jax.eval_shape(made.observe, state, {**make_batch(), 'text': values})
  uneven = make_batch()
  uneven['image'] = uneven['image'][:, :3]
  made = zeroshot.make(kit, METHOD)
  with pytest.raises(ValueError, match='text 5, image 3'):
    jax.eval_shape(made.observe, state, uneven)


def test_prompts_go_through_the_model(tmp_path):
  """A file that holds what the examples show gives what the examples give."""
  names = ('audio', 'visual')
  data = tiny.write(tmp_path, names)
  path = str(tmp_path / 'prompts.npz')
  options = dict(
    method=dict(name='curriculum'),
    head=dict(name='late'),
    phases=(('align', 1),),
    encoders={m: dict(name='mlp', hidden=()) for m in names},
  )

  def built(**question):
    config = tiny.config(data, names, **options)
    config.evals = dict(zeroshot=dict(by='audio', **question))
    config.run.watch = 'zeroshot/visual/zero_shot'
    return experiment.build(config)

  exp = built()
  train = exp.sources['train']
  every = train.take(np.arange(train.size))
  np.savez(path, latents=every['audio'], label=every['label'])
  states = exp.seeds.init()
  _, means = evaluate.ask(exp, states, 'test', 'zeroshot')
  _, prompted = evaluate.ask(built(prompts=path), states, 'test', 'zeroshot')
  assert set(means) == set(prompted) == {'visual/zero_shot'}
  (path,) = means
  assert prompted[path] == pytest.approx(means[path])
