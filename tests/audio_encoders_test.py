"""Encoders of sound with published weights, CAV-MAE and M3AE, their inputs."""

import functools
import pickle

import jax
import jax.numpy as jnp
import numpy as np
import published
import pytest
import tiny
from flax import traverse_util
from published import KEY, check_gradients, close, filled, run, shapes

from mmjax.base import Ragged
from mmjax.data import _kinds, _spectrogram
from mmjax.models import (
  _layout,
  _sincos,
  ast,
  cav_mae,
  m3ae,
  pretrained,
  wav2vec2,
  whisper,
)

SIZES = dict(width=24, channels=24, layers=2, heads=4, hidden=40)
SPEECH = dict(
  **SIZES,
  conv_channels=16,
  kernels=(10, 3, 2),
  strides=(5, 2, 2),
  places=8,
  places_groups=4,
)
LARGE = dict(conv_norm='layer', conv_bias=True, order='pre')
SOUND = dict(**SIZES, frames=32, mels=16, image=16, patch=8)
CASES = {
  'wav2vec2': wav2vec2.make(**SPEECH),
  'wav2vec2_large': wav2vec2.make(**SPEECH, **LARGE, pool='steps'),
  'whisper': whisper.make(**SIZES, max_frames=40),
  'ast': ast.make(**SIZES, frames=26, mels=16, patch=8, stride=5),
  'cav_mae audio': cav_mae.make(**SOUND),
  'cav_mae visual': cav_mae.make(**SOUND, branch='visual'),
  'm3ae image': m3ae.make(**SIZES, image=12, patch=4),
  'm3ae text': m3ae.make(**SIZES, branch='text', vocab=60),
}
PADDED = ('wav2vec2', 'wav2vec2_large', 'm3ae text')


def original():
  """What the goldens are made by."""
  pytest.importorskip('torch')
  pytest.importorskip('transformers')
  from golden import make_audio_encoders

  return make_audio_encoders


def given(name, inputs, output):
  """What an encoder gets of the stored inputs, and what comes out."""
  branch = name.partition(' ')[2]
  if branch:
    output = output[int(branch in ('visual', 'text'))]
    x = inputs[branch] if branch != 'text' else inputs['ids']
  else:
    x = inputs['x']
  ragged = 'mask' in inputs and branch != 'image'
  return (Ragged(x, inputs['mask']) if ragged else x), output


def golden(name):
  """(weights, input, output) of random weights."""
  of = published.golden(name.partition(' ')[0])
  return of.weights, *given(name, of.inputs, of.output)


@functools.cache
def loaded(name, folder):
  weights, x, want = golden(name)
  return filled(CASES[name], weights, x, folder), x, want


@pytest.fixture(scope='module')
def folder(tmp_path_factory):
  return tmp_path_factory.mktemp('weights')


@pytest.mark.parametrize('name', CASES)
def test_outputs_are_the_published_models(name, folder):
  variables, x, want = loaded(name, folder)
  close(run(CASES[name], variables, x), want)


@pytest.mark.parametrize(
  'of, names',
  [(name.partition(' ')[0], [name]) for name in CASES if ' ' not in name]
  + [(of, [n for n in CASES if n.startswith(of)]) for of in ('cav_mae', 'm3ae')]
  + [('hubert', ['wav2vec2'])],
)
def test_outputs_of_other_weights(of, names, tmp_path):
  make = original()
  weights, output, inputs, gradients = getattr(make, of)(5)
  for name in names:
    x, want = given(name, inputs, output.detach().numpy())
    variables = filled(CASES[name], weights, x, tmp_path)
    close(run(CASES[name], variables, x), want)
    check_gradients(CASES[name], weights, gradients, x, tmp_path)


@pytest.mark.parametrize('name', CASES)
def test_gradients_are_the_published_models(name, tmp_path):
  of = published.golden(name.partition(' ')[0])
  x = golden(name)[1]
  check_gradients(CASES[name], of.weights, of.gradients, x, tmp_path)


def test_gradient_with_respect_to_the_waveform_is_pytorchs(folder):
  make = original()
  variables, x, _ = loaded('wav2vec2', folder)
  net = make.hf.Wav2Vec2Model(make.hf.Wav2Vec2Config(**make.SPEECH))
  seen = make.torch.tensor(x.values[:1], requires_grad=True)
  out = make.randomize(net, 0)(seen).last_hidden_state.mean(1)
  (out**2).sum().backward()
  grad = jax.jit(
    jax.grad(lambda x: jnp.sum(run(CASES['wav2vec2'], variables, x) ** 2))
  )(x.values[:1])
  want = seen.grad.numpy()
  np.testing.assert_allclose(grad, want, atol=1e-5 * np.abs(want).max())


@pytest.mark.parametrize('name', CASES)
def test_every_parameter_has_a_rule_but_a_projection(name):
  x = golden(name)[1]
  module = CASES[name].clone(width=7)
  ours = set(traverse_util.flatten_dict(shapes(module, x)))
  rules = module.layout().rules
  projection = {('params', 'projection', k) for k in ('kernel', 'bias')}
  assert {r.path for r in rules} == ours - projection
  assert len(rules) == len(ours) - 2
  assert {r.layer for r in rules} == set(range(module.layout().layers + 1))


def longer(x, extra):
  """The same examples with more rubbish behind."""
  values, mask = np.asarray(x.values), np.asarray(x.mask)
  more = np.random.default_rng(extra).integers(1, 9, (len(values), extra))
  values = np.concatenate([values, more.astype(values.dtype)], 1)
  return Ragged(values, np.pad(mask, ((0, 0), (0, extra))))


@pytest.mark.parametrize('name', PADDED)
def test_padding_does_not_matter(name, folder):
  variables, x, _ = loaded(name, folder)
  module = CASES[name].clone(pool='mean')
  z = run(module, variables, x)
  close(run(module, variables, longer(x, 31)), z, 2e-6)
  if np.issubdtype(x.values.dtype, np.floating):
    loud = Ragged(np.where(x.mask, x.values, 1e6), x.mask)
    close(run(module, variables, loud), z, 2e-6)
  if name != 'wav2vec2':  # whose golden is of examples alone
    alone = np.asarray(x.values[1])[x.mask[1]][None]
    close(run(module, variables, alone)[0], z[1], 2e-6)


def test_padding_of_spectrograms_does_not_matter(folder):
  variables, x, _ = loaded('whisper', folder)
  mask = np.arange(40) < np.array([[23], [30]])
  padded = Ragged(np.where(mask[..., None], x, 7), mask)
  steps = run(CASES['whisper'].clone(pool='steps'), variables, padded)
  assert steps.mask.sum(1).tolist() == [12, 15]
  shorter = run(CASES['whisper'], variables, x[:, :23])
  close(steps.values[0, :12].mean(0), shorter[0], 2e-6)


@pytest.mark.parametrize('name', ['wav2vec2', 'm3ae text'])
def test_examples_without_a_step_are_finite(name, folder):
  variables, x, _ = loaded(name, folder)
  nobody = Ragged(x.values, np.arange(2)[:, None] * x.mask > 0)
  module = CASES[name].clone(pool='mean')

  def loss(variables):
    return jnp.sum(run(module, variables, nobody) ** 2)

  value, grad = jax.jit(jax.value_and_grad(loss))(variables)
  assert np.isfinite(value) and tiny.finite(grad)


def test_frames_are_as_many_as_the_convolutions_see(folder):
  variables, _, _ = loaded('wav2vec2_large', folder)
  mask = np.arange(90) < np.array([[90], [29], [30], [0]])
  x = Ragged(np.ones(mask.shape, np.float32), mask)
  steps = run(CASES['wav2vec2_large'], variables, x)
  # One frame needs 10 + 2 * 5 + 10 = 30 samples, another one 20 more.
  assert steps.mask.sum(1).tolist() == [4, 0, 1, 0]


@pytest.mark.parametrize('name', CASES)
def test_every_layer_takes_what_it_is_told(name):
  x = golden(name)[1]
  module = CASES[name].clone(remat=True, dtype='bfloat16', dropout=0.5)
  rngs = {'params': KEY, 'dropout': KEY}
  made = jax.make_jaxpr(
    lambda: module.init_with_output(rngs, x, None, True)[0]
  )()
  assert str(made).count('remat') == module.layout().layers
  assert made.out_avals[0].dtype == jnp.float32


@pytest.mark.parametrize('name', ['wav2vec2', 'cav_mae audio'])
def test_bfloat16_is_close(name, folder):
  variables, x, want = loaded(name, folder)
  z = run(CASES[name].clone(dtype='bfloat16'), variables, x)
  close(z, want, 0.1)
  assert np.abs(z - want).max() > 1e-5


@pytest.mark.parametrize('name', ['cav_mae visual', 'm3ae image'])
def test_frames_are_encoded_one_by_one(name, folder):
  variables, x, want = loaded(name, folder)
  z = run(CASES[name], variables, np.stack([x, x[::-1]], 1))
  close(z[0], want.mean(0))
  part = Ragged(np.stack([x, x + 9], 1), np.array([[True, False]] * 2))
  close(run(CASES[name], variables, part), want)


def test_pools_and_widths(folder):
  variables, x, want = loaded('wav2vec2_large', folder)
  mean = run(CASES['wav2vec2_large'].clone(pool='mean'), variables, x)
  frames = run(CASES['wav2vec2_large'], variables, x).mask
  for row in range(2):
    close(mean[row], want[row][frames[row]].mean(0))
  for name in ('wav2vec2_large', 'whisper', 'ast'):
    x = golden(name)[1]
    module = CASES[name].clone(width=5)
    z = jax.eval_shape(
      lambda m=module, x=x: m.init_with_output(KEY, x, None, False)[0]
    )
    assert jax.tree.leaves(z)[0].shape[-1] == 5
  variables, x, want = loaded('m3ae text', folder)
  first = run(CASES['m3ae text'].clone(pool='first'), variables, x)
  assert np.abs(first - want).max() > 1e-2


def test_pictures_of_another_size_get_interpolated_places(tmp_path):
  weights, x, _ = golden('cav_mae visual')
  large = CASES['cav_mae visual'].clone(image=32)
  x = np.zeros((2, 32, 32, 3), np.float32)
  places = filled(large, weights, x, tmp_path)['params']['places']
  assert places.shape == (1, 16, 24)
  corners = np.asarray(weights['module.pos_embed_v']).reshape(2, 2, 24)
  middle = np.asarray(places).reshape(4, 4, 24).mean((0, 1))
  np.testing.assert_allclose(middle, corners.mean((0, 1)), atol=1e-5)


def test_places_are_sines_and_cosines_of_column_and_row():
  places = _sincos.grid(2, 4, 24).reshape(2, 4, 2, 2, 6)
  np.testing.assert_allclose(places[:, 3, 0, 0, 0], np.sin(3.0), rtol=1e-6)
  np.testing.assert_allclose(places[1, :, 1, 1, 0], np.cos(1.0), rtol=1e-6)
  rate = 10000 ** (-5 / 6)
  np.testing.assert_allclose(places[0, 2, 0, 1, 5], np.cos(2 * rate), rtol=1e-6)


def test_nested_dicts_in_a_pickle_are_weights(tmp_path, folder):
  variables, x, _ = loaded('m3ae text', folder)
  tree = traverse_util.unflatten_dict(golden('m3ae text')[0], sep='/')
  told = {'step': 3, 'state': {'params': {'params': tree}}}
  (tmp_path / 'm3ae.pkl').write_bytes(pickle.dumps(told))
  layout = CASES['m3ae text'].layout()
  read = pretrained.load(str(tmp_path / 'm3ae.pkl'), layout, variables, 'm')
  tiny.close(_layout.fill(variables, read), variables)


def test_scale_of_the_spectrogram(folder):
  variables, x, want = loaded('ast', folder)
  plain = CASES['ast'].clone(mean=0.0, std=1.0)
  seen = (x + 4.2677393) / (2 * 4.5689974)
  close(run(plain, variables, seen[..., None]), want)


# Weights that are kept as directions and lengths


def halves(**changed):
  weights = dict(golden('wav2vec2')[0])
  name = 'encoder.pos_conv_embed.conv.'
  pair = [
    weights.pop(f'{name}parametrizations.weight.original{i}') for i in (0, 1)
  ]
  lengths, directions = pair
  weights |= {f'{name}{k}': v(lengths, directions) for k, v in changed.items()}
  return weights


def test_directions_and_lengths_make_one_kernel(tmp_path, folder):
  variables, x, _ = loaded('wav2vec2', folder)

  def whole(g, v):
    return g * v / np.sqrt((v.astype(np.float64) ** 2).sum((0, 1)))

  for changed in (
    dict(weight_g=lambda g, _: g, weight_v=lambda _, v: 3 * v),
    dict(weight=lambda g, v: whole(g, v).astype(np.float32)),
  ):
    again = filled(CASES['wav2vec2'], halves(**changed), x, tmp_path)
    tiny.close(again, variables, rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize(
  'changed, word',
  [
    (dict(weight_v=lambda _, v: v), 'lacks 1 .*weight_v'),
    (
      dict(weight_v=lambda _, v: v, weight_g=lambda g, _: g[0]),
      'weight_g cannot be used: lengths',
    ),
    (
      dict(weight_v=lambda _, v: 0 * v, weight_g=lambda g, _: g),
      'NaN or infinity',
    ),
  ],
)
def test_half_a_kernel_is_an_error(changed, word, tmp_path):
  x = golden('wav2vec2')[1]
  with np.errstate(all='ignore'), pytest.raises(ValueError, match=word):
    filled(CASES['wav2vec2'], halves(**changed), x, tmp_path)


# Whisper's spectrogram


def tone(seconds=1.0):
  """The waveform that the golden spectrogram is of."""
  t = np.arange(round(16000 * seconds)) / 16000
  x = t * np.sin(2 * np.pi * (200 + 1800 * t) * t)
  x = (
    x + 0.1 * np.sin(2 * np.pi * 440 * t) + 0.05 * np.cos(2 * np.pi * 5000 * t)
  )
  return np.where((0.4 < t) & (t < 0.5), 0, 0.5 * x).astype(np.float32)


def test_log_mel_bands_are_whispers():
  with np.load(published.GOLDEN / 'whisper_mel.npz') as file:
    want = file['output']
  got = _spectrogram.whisper(tone())
  assert got.shape == (3000, 80) and got.dtype == np.float32
  np.testing.assert_allclose(got[: len(want)], want, atol=1e-4)
  np.testing.assert_allclose(got[len(want) :], want.min(), atol=1e-5)


@pytest.mark.parametrize('seconds', [0.01, 2.0, 31.0])
def test_log_mel_bands_are_those_of_transformers(seconds):
  make = original()
  x_T = np.random.default_rng(0).normal(0, 0.1, round(16000 * seconds))
  x_T = x_T.astype(np.float32)
  got = _spectrogram.whisper(x_T)
  np.testing.assert_allclose(got, make.spectrum(x_T), atol=2e-4)


def test_log_mel_bands_of_silence_are_finite():
  for x_T in (np.zeros(0), np.zeros(500)):
    np.testing.assert_allclose(_spectrogram.whisper(x_T), -1.5)


def test_recordings_are_kept_as_whisper_sees_them(monkeypatch):
  monkeypatch.setattr(_kinds, '_heard', lambda part, rate: tone())  # noqa: ARG005
  kind = _kinds.audio('whisper')
  (kept,) = kind.encode(_kinds.Part())
  assert kept.dtype == np.float16
  batch = kind.batch([kind.store([kept]), kind.store(None)])
  assert batch.shape == (2, 3000, 80) and batch.dtype == np.float32
  np.testing.assert_allclose(batch[0], _spectrogram.whisper(tone()), atol=1e-3)
  assert not batch[1].any()


# Bad input


@pytest.mark.parametrize(
  'call, word',
  [
    (lambda: wav2vec2.make(conv_norm='batch'), 'group'),
    (lambda: wav2vec2.make(order='stable'), 'pre'),
    (lambda: wav2vec2.make(pool='first'), 'steps'),
    (lambda: wav2vec2.make(kernels=(3,)), 'strides'),
    (lambda: wav2vec2.make(places_groups=7), 'divisor'),
    (lambda: wav2vec2.make(heads=7), 'divisor'),
    (lambda: whisper.make(pool='first'), 'steps'),
    (lambda: whisper.make(channels=9, heads=3), 'even'),
    (lambda: whisper.make(activation='swish'), 'gelu'),
    (lambda: ast.make(mels=8), 'patch'),
    (lambda: ast.make(std=0.0), 'std'),
    (lambda: cav_mae.make(branch='video'), 'visual'),
    (lambda: cav_mae.make(frames=1000), 'divide'),
    (lambda: cav_mae.make(channels=6, heads=2), 'multiple of 4'),
    (lambda: m3ae.make(branch='words'), 'text'),
    (lambda: m3ae.make(pool='steps'), 'mean'),
    (lambda: m3ae.make(image=250), '240'),
  ],
)
def test_bad_hyperparameters_name_the_way_out(call, word):
  with pytest.raises(ValueError, match=word):
    call()


@pytest.mark.parametrize(
  'name, x, word',
  [
    ('wav2vec2', np.zeros((2, 400, 1)), 'waveforms'),
    ('wav2vec2', np.zeros((2, 20)), 'too short'),
    ('whisper', np.zeros((2, 41, 10)), 'max_frames'),
    ('whisper', np.zeros((2, 40)), 'bands'),
    ('ast', np.zeros((2, 26, 17)), 'fbank'),
    ('ast', Ragged(np.zeros((2, 26, 16)), np.ones((2, 26), bool)), 'ragged'),
    ('cav_mae audio', np.zeros((2, 16, 32)), 'fbank'),
    ('cav_mae visual', np.zeros((2, 8, 8, 3)), 'image=16'),
    ('m3ae image', np.zeros((2, 8, 8, 3)), 'image=12'),
  ],
)
def test_bad_input_names_the_way_out(name, x, word):
  with pytest.raises(ValueError, match=word):
    shapes(CASES[name], x)
