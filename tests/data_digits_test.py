"""The embedded digits: splits, noise, log-mel, recordings, rendering."""

import pathlib
import shutil

import jax
import numpy as np
import pytest
import scipy.io.wavfile
import scipy.signal
from hypothesis import given, settings
from hypothesis import strategies as st

from mmjax import base
from mmjax.data import _clips, _logmel, _memory, digits
from mmjax.data.digits_speech import render

SPEECH = pathlib.Path(digits.__file__).parent / 'digits_speech/speech.npz'


def everything(split, **hyper):
  source = digits.make(split, **hyper)
  return source.take(np.arange(source.size))


@pytest.mark.parametrize('split', digits.SPLITS)
def test_source_keeps_the_contract(split):
  source = digits.make(split)
  assert source.modalities == ('image', 'speech', 'text')
  assert source.class_names == digits.CLASS_NAMES
  batch = source.take(np.array([3, 0, 3]))
  assert set(batch) == {*source.modalities, 'label', 'present'}
  assert batch['image'].shape == (3, 8, 8, 1)
  assert batch['speech'].values.shape == (3, 57, 32)
  assert batch['speech'].mask.shape == (3, 57)
  assert batch['text'].shape == (3, 5)
  assert {batch['text'].dtype, batch['label'].dtype} == {np.dtype('int32')}
  assert batch['image'].dtype == batch['speech'].values.dtype == np.float32
  for present in batch['present'].values():
    assert present.dtype == bool and present.all() and present.shape == (3,)


def test_splits_share_no_image_and_no_speaker():
  images = {
    split: everything(split, modalities=('image',), image_noise=0)['image']
    for split in digits.SPLITS
  }
  seen = [{image.tobytes() for image in images[s]} for s in digits.SPLITS]
  assert sum(len(s) for s in seen) == len(set.union(*seen))
  assert [len(images[s]) for s in digits.SPLITS] == [1078, 269, 450]
  clips = _clips.rendered()
  label = np.arange(10).repeat(100)
  speakers = [
    set(clips.speaker[digits._partners(clips, split, label, _rng(0))])
    for split in digits.SPLITS
  ]
  assert sum(len(s) for s in speakers) == len(set.union(*speakers)) == 24
  assert [len(s) for s in speakers] == [14, 4, 6]


def _rng(seed):
  return np.random.default_rng(seed)


def test_every_image_goes_with_its_own_digit_and_clips_are_used_evenly():
  clips = _clips.rendered()
  label = _rng(1).integers(0, 10, 500)
  rows = digits._partners(clips, 'train', label, _rng(0))
  np.testing.assert_array_equal(clips.digit[rows], label)
  for digit in range(10):
    used = np.unique(rows[label == digit], return_counts=True)[1]
    assert used.max() - used.min() <= 1


@pytest.mark.parametrize('split', ['train', 'test'])
def test_seed_moves_noise_but_not_the_split(split):
  one, two = everything(split, seed=0), everything(split, seed=1)
  np.testing.assert_array_equal(one['label'], two['label'])
  for name in ('image', 'text'):
    assert (one[name] != two[name]).mean() > 0.05
  again = digits.make(split, seed=0).take(np.array([7, 2]))
  np.testing.assert_array_equal(again['image'], one['image'][[7, 2]])
  np.testing.assert_array_equal(
    again['speech'].values, one['speech'].values[[7, 2]]
  )


def test_a_modality_does_not_depend_on_which_others_are_asked_for():
  both = everything('validation')
  for name in digits.MODALITIES:
    alone = everything('validation', modalities=(name,))
    assert set(alone) == {name, 'label', 'present'}
    for x, y in zip(jax.tree.leaves(alone[name]), jax.tree.leaves(both[name])):
      np.testing.assert_array_equal(x, y)


def test_image_noise_has_its_std_before_clipping():
  clean = everything('train', modalities=('image',), image_noise=0)['image']
  noisy = everything('train', modalities=('image',), image_noise=0.1)['image']
  assert clean.min() == 0 and clean.max() == 1
  assert noisy.min() >= 0 and noisy.max() <= 1
  inside = (clean > 0.45) & (clean < 0.55)  # clipping is 4.5 sigma away
  np.testing.assert_allclose((noisy - clean)[inside].std(), 0.1, rtol=0.05)


def test_text_spells_the_word_and_noise_replaces_letters_only():
  clean = everything('train', modalities=('text',), text_noise=0)
  words = [''.join(chr(96 + i) for i in row if i) for row in clean['text']]
  assert words == [digits.CLASS_NAMES[i] for i in clean['label']]
  noisy = everything('train', modalities=('text',), text_noise=0.4)['text']
  letter = clean['text'] > 0
  assert (noisy[~letter] == 0).all()
  assert noisy[letter].min() >= 1 and noisy[letter].max() <= 26
  # One time in 26 the random letter is the old one.
  expected, n = 0.4 * 25 / 26, letter.sum()
  changed = (noisy != clean['text'])[letter].mean()
  assert abs(changed - expected) < 4 * np.sqrt(expected * (1 - expected) / n)


def test_speech_is_standardised_over_real_frames_of_training():
  speech = everything('train')['speech']
  frames = speech.values[speech.mask]
  np.testing.assert_allclose(frames.mean(axis=0), 0, atol=1e-3)
  np.testing.assert_allclose(frames.std(axis=0), 1, atol=1e-3)
  assert (speech.values[~speech.mask] == 0).all()
  assert (np.diff(speech.mask.astype(int), axis=1) <= 0).all()


def test_speech_noise_raises_the_floor_by_its_power():
  clips = _clips.rendered()
  label = np.arange(10)
  levels = [
    digits._frames(clips, 'train', label, noise, 0)[0] for noise in (20, 40)
  ]
  # Far above the speech, twice the noise is log 4 more power in every band.
  np.testing.assert_allclose(
    (levels[1] - levels[0]).mean(axis=0), np.log(4), atol=0.05
  )


def test_each_modality_alone_leaves_errors_that_the_others_repair():
  """The default noise: ridge regression on one-hot labels as the yardstick."""

  def features(batch):
    image = batch['image'].reshape(len(batch['label']), -1)
    text = np.eye(27)[batch['text']].reshape(len(image), -1)
    return {'image': image, 'text': text}

  hyper = dict(modalities=('image', 'text'))
  train, test = everything('train', **hyper), everything('test', **hyper)
  target, votes, score = np.eye(10)[train['label']], 0, {}
  for name, x in features(train).items():
    weight = np.linalg.solve(x.T @ x + np.eye(x.shape[1]), x.T @ target)
    vote = features(test)[name] @ weight
    score[name] = (vote.argmax(axis=1) == test['label']).mean()
    votes = votes + vote
  assert 0.75 < score['image'] < 0.92
  assert 0.8 < score['text'] < 0.95
  fused = (votes.argmax(axis=1) == test['label']).mean()
  assert max(score.values()) + 0.03 < fused < 1


# ---------------------------------------------------------------- waveforms


@settings(deadline=None, max_examples=30)
@given(st.lists(st.floats(-1, 1, width=32), min_size=1, max_size=50))
def test_mulaw_error_is_bounded_by_half_a_step(wave):
  wave = np.array(wave, np.float32)
  back = _logmel.mulaw_decode(_logmel.mulaw_encode(wave))
  # d wave / d code = log(256) (1 + 255 |wave|) / 255 * 2 / 255
  step = np.log(256) * (1 / 255 + np.abs(wave)) * 2 / 255
  assert (np.abs(back - wave) <= 0.55 * step).all()


def test_mulaw_codes_survive_decoding():
  codes = np.arange(256, dtype=np.uint8)
  again = _logmel.mulaw_encode(_logmel.mulaw_decode(codes))
  np.testing.assert_array_equal(again, codes)


def _slow_log_mel(wave):
  """One waveform, one frame at a time, straight from the definition."""
  filters = _logmel.mel_filters(32, 256, 8000)
  wave = np.pad(wave, (0, max(0, 256 - len(wave))))
  taper = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(256) / 256)
  rows = []
  for start in range(0, len(wave) - 255, 100):
    frame = wave[start : start + 256] * taper / taper.sum()
    rows.append(np.log(np.abs(np.fft.rfft(frame)) ** 2 @ filters + 1e-7))
  return np.array(rows)


def test_log_mel_of_many_equals_one_by_one():
  lengths = np.array([700, 100, 256, 455, 456])
  wave = _rng(0).normal(size=lengths.sum()).astype(np.float32)
  parts = np.split(wave, np.cumsum(lengths)[:-1])
  want = np.concatenate([_slow_log_mel(part) for part in parts])
  got = _logmel.log_mel(wave, lengths)
  frames = _logmel.num_frames(lengths, 256, 100)
  assert frames.tolist() == [5, 1, 1, 2, 3]
  np.testing.assert_allclose(got, want, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize('hz', [300, 1000, 3000])
def test_a_tone_is_loudest_in_the_band_around_it(hz):
  wave = np.sin(2 * np.pi * hz * np.arange(800) / 8000).astype(np.float32)
  band = _logmel.log_mel(wave, np.array([800])).mean(axis=0).argmax()
  mel = np.linspace(0, 2595 * np.log10(1 + 4000 / 700), 34)
  edges = 700 * (10 ** (mel / 2595) - 1)
  assert edges[band] < hz < edges[band + 2]


def test_too_many_bands_are_an_error():
  with pytest.raises(ValueError, match='too many'):
    _logmel.mel_filters(128, 256, 8000)


# --------------------------------------------------------------- recordings


@pytest.fixture(scope='module')
def folder(tmp_path_factory):
  """Three speakers, each digit once, as 16-bit files at 8 kHz."""
  root, clips = tmp_path_factory.mktemp('wav'), _clips.rendered()
  ends = np.cumsum(clips.lengths)
  for speaker in ('m1', 'm2', 'f3'):
    for digit in range(10):
      i = np.flatnonzero((clips.digit == digit) & (clips.speaker == speaker))[0]
      wave = clips.wave[ends[i] - clips.lengths[i] : ends[i]]
      wave = (wave * 20000).astype(np.int16)
      scipy.io.wavfile.write(root / f'{digit}_{speaker}_0.wav', 8000, wave)
  (root / 'README.txt').write_text('not a recording')
  return root


@pytest.fixture
def copy(folder, tmp_path):
  return pathlib.Path(shutil.copytree(folder, tmp_path / 'wav'))


def recordings(root, split='train'):
  return digits.make(
    split, modalities=('speech',), speech='recordings', recordings=str(root)
  )


def test_recordings_are_read_and_split_by_speaker(folder):
  for split in digits.SPLITS:
    source = recordings(folder, split)
    assert source.size > 200
    batch = source.take(np.arange(5))
    assert isinstance(batch['speech'], base.Ragged)
    assert np.isfinite(batch['speech'].values).all()


def test_recordings_at_another_rate_and_in_stereo_are_the_same(
  folder, tmp_path
):
  for path in folder.glob('*.wav'):
    _, wave = scipy.io.wavfile.read(path)
    wave = scipy.signal.resample_poly(wave.astype(np.float32) / 2**15, 2, 1)
    stereo = np.stack([wave, wave], axis=1).astype(np.float32)
    scipy.io.wavfile.write(tmp_path / path.name, 16000, stereo)
  one, two = _clips.recorded(str(folder)), _clips.recorded(str(tmp_path))
  np.testing.assert_array_equal(one.lengths, two.lengths)
  assert np.corrcoef(one.wave, two.wave)[0, 1] > 0.99


def test_free_spoken_digits(shared):
  clips = _clips.recorded(str(shared / 'data/fsdd_mnist/wav'))
  assert len(clips.lengths) == 60 and len(set(clips.speaker)) == 6
  sources = [
    recordings(shared / 'data/fsdd_mnist/wav', split) for split in digits.SPLITS
  ]
  widths = {s.take(np.arange(1))['speech'].values.shape[1] for s in sources}
  assert len(widths) == 1  # one length for all splits: one program


def test_our_log_mel_resembles_the_prepared_one(shared):
  """Theirs is centred, a frame later, and has its own level and floor."""
  clips = _clips.recorded(str(shared / 'data/fsdd_mnist/wav'))
  with np.load(shared / 'data/fsdd_mnist/data.npz') as fields:
    first = fields['recording_index'] == 0
    theirs = np.split(fields['logmel'], np.cumsum(fields['logmel_len'])[:-1])
    speakers = fields['speaker_names'][fields['speaker']]
    label = fields['audio_label']
  for i in range(0, 60, 7):
    same = first & (label == clips.digit[i]) & (speakers == clips.speaker[i])
    (row,) = np.flatnonzero(same)
    wave, length = _memory.gather(clips.wave, clips.lengths, np.array([i]))
    ours = _logmel.log_mel(wave, length)
    prepared = theirs[row][1 : len(ours) + 1].astype(np.float32)
    assert len(ours) == len(prepared)
    assert np.corrcoef(ours.ravel(), prepared.ravel())[0, 1] > 0.95


def _spoil(root, how):
  if how == 'name':
    (root / 'seven.wav').write_bytes(b'')
  elif how == 'noise':
    (root / '7_m1_0.wav').write_bytes(b'RIFF and then nothing of the kind')
  elif how == 'truncated':
    data = (root / '7_m1_0.wav').read_bytes()
    (root / '7_m1_0.wav').write_bytes(data[: len(data) // 2])
  elif how == 'silent':
    scipy.io.wavfile.write(root / '7_m1_0.wav', 8000, np.zeros(900, np.int16))
  elif how == 'long':
    wave = np.ones(50000, np.int16)
    scipy.io.wavfile.write(root / '7_m1_0.wav', 8000, wave)
  elif how == 'digit':
    for path in root.glob('7_*.wav'):
      path.unlink()
  elif how == 'speakers':
    for path in root.glob('*_m2_0.wav'):
      path.unlink()


@pytest.mark.parametrize(
  'how, message',
  [
    ('name', "not named .*'seven.wav'"),
    ('noise', r'7_m1_0\.wav cannot be read'),
    ('truncated', r'7_m1_0\.wav cannot be read'),
    ('silent', r'7_m1_0\.wav is not one spoken digit'),
    ('long', r'7_m1_0\.wav is not one spoken digit'),
    ('digit', 'no digit 7 by the speakers'),
    ('speakers', '2 speaker'),
  ],
)
def test_bad_recordings_are_named(copy, how, message):
  _spoil(copy, how)
  with pytest.raises(ValueError, match=message):
    recordings(copy)


@pytest.mark.parametrize(
  'hyper, message',
  [
    (dict(split='dev'), 'no split'),
    (dict(modalities=('imag',)), "did you mean 'image'"),
    (dict(modalities=()), 'at least one'),
    (dict(modalities=('text', 'text')), 'twice'),
    (dict(image_noise=-1.0), 'image_noise=-1'),
    (dict(text_noise=1.1), 'probability'),
    (dict(speech_noise=float('nan')), 'speech_noise=nan'),
    (dict(speech='read'), "speech='read'"),
    (dict(recordings='x'), "speech='recordings' as well"),
    (dict(speech='recordings'), "needs recordings='folder'"),
    (dict(speech='recordings', recordings='/no/such'), 'not a folder'),
  ],
)
def test_bad_arguments_are_named(hyper, message):
  with pytest.raises(ValueError, match=message):
    digits.make(hyper.pop('split', 'train'), **hyper)


def test_a_folder_without_recordings_is_an_error(tmp_path):
  with pytest.raises(ValueError, match='no .wav file'):
    recordings(tmp_path)


# ---------------------------------------------------------------- rendering


def test_the_stored_speech_is_what_the_script_plans():
  assert SPEECH.stat().st_size < 3e6
  assert render.WORDS == digits.CLASS_NAMES
  with np.load(SPEECH, allow_pickle=False) as fields:
    names = fields['voice_names'][fields['voice']]
    rows = zip(names, fields['digit'], fields['speed'], fields['pitch'])
    stored = [(str(v), int(d), int(s), int(p)) for v, d, s, p in rows]
    assert stored == render.plan(int(fields['seed']))
    assert fields['wave_len'].sum() == len(fields['wave'])
    assert len(fields['voice_names']) == 96
    waves = np.split(fields['wave'], np.cumsum(fields['wave_len'])[:-1])
    assert len({wave.tobytes() for wave in waves}) == 960


def test_rendering_again_gives_the_same_waveforms():
  if shutil.which('espeak-ng') is None:
    pytest.skip('needs espeak-ng, which is not installed')
  with np.load(SPEECH, allow_pickle=False) as fields:
    rows = [render.plan(0)[i] for i in (5, 401, 903)]
    again = render.render(rows, 0)
    if again['made_by'] != fields['made_by']:
      pytest.skip(f'needs {fields["made_by"]}, but here is {again["made_by"]}')
    ends = np.cumsum(fields['wave_len'])
    waves = np.split(fields['wave'], ends[:-1])
    want = np.concatenate([waves[i] for i in (5, 401, 903)])
  # Not the bytes: another processor may round a sample to the next code.
  assert again['wave'].shape == want.shape
  off = again['wave'].astype(int) - want.astype(int)
  assert np.abs(off).max() <= 1


def test_saving_is_deterministic_and_numpy_reads_it(tmp_path):
  fields = dict(wave=np.arange(9, dtype=np.uint8), name=np.array(['a', 'b']))
  for name in ('one.npz', 'two.npz'):
    render.save(tmp_path / name, fields)
  assert (tmp_path / 'one.npz').read_bytes() == (
    tmp_path / 'two.npz'
  ).read_bytes()
  with np.load(tmp_path / 'one.npz', allow_pickle=False) as loaded:
    np.testing.assert_array_equal(loaded['wave'], fields['wave'])
    np.testing.assert_array_equal(loaded['name'], fields['name'])


def test_rendering_without_espeak_says_what_to_install(monkeypatch):
  monkeypatch.setattr(shutil, 'which', lambda name: None)  # noqa: ARG005
  with pytest.raises(RuntimeError, match='apt-get install espeak-ng'):
    render.say('one', 'en-us+m1', 150, 50)


def test_an_unknown_voice_is_named():
  if shutil.which('espeak-ng') is None:
    pytest.skip('needs espeak-ng, which is not installed')
  for voice in ('en-xx+m1', 'en-us+m9'):
    with pytest.raises(RuntimeError, match='has no voice'):
      render.render([(voice, 1, 150, 50)], 0)
