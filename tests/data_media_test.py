"""Decoding of real media files, and the pictures of sound made from them."""

import io
import pathlib

import numpy as np
import PIL.Image
import pytest
import scipy.io.wavfile
from hypothesis import given, settings
from hypothesis import strategies as st

from mmjax.data import _media, _spectrogram

av = pytest.importorskip('av', reason="needs PyAV: pip install 'mmjax[media]'")


@pytest.fixture(scope='session')
def samples(shared):
  return shared / 'data' / 'media_samples'


def write_wav(path, x, rate):
  scipy.io.wavfile.write(path, rate, x)
  return path


def write_video(path, images, rate=25, codec='mpeg4', times=None):
  with av.open(str(path), 'w') as container:
    stream = container.add_stream(codec, rate=rate)
    stream.height, stream.width = images[0].shape[:2]
    stream.pix_fmt = 'yuv420p'
    for i, image in enumerate(images):
      frame = av.VideoFrame.from_ndarray(image, format='rgb24')
      frame.pts = i if times is None else times[i]
      container.mux(stream.encode(frame))
    container.mux(stream.encode(None))
  return path


def grey(value, height=32, width=48):
  return np.full((height, width, 3), value, np.uint8)


@pytest.mark.parametrize(
  'name, seconds',
  [
    ('chaplin.mp4', 9.6),
    ('nasa_13013.mp4', 13.06),  # several video, audio and subtitle streams
    ('nasa_flv1_mp3.flv', 3.1),  # the codecs of CREMA-D's folder
    ('realshort.mp4', 1.2),
    ('test.avi', 6.56),
    ('test2_8000.mkv', 30.2),  # audio only
    ('testsrc.flv', 3.1),
    ('video_with_failing_audio.mp4', 11.2),  # the audio ends early
    ('ravdess_03-01-05-01-01-02-01.wav', 3.94),
  ],
)
def test_real_audio(samples, name, seconds):
  x_T = _media.audio(samples / name, 16000)
  assert x_T.dtype == np.float32
  assert abs(len(x_T) / 16000 - seconds) < 0.1
  assert 0.01 < np.abs(x_T).max() < 1.5
  assert np.isfinite(x_T).all()


@pytest.mark.parametrize(
  'name',
  [
    'chaplin.mp4',
    'example.mp4',
    'nasa_13013.mp4',
    'nasa_flv1_mp3.flv',
    'part_0.mp4',
    'realshort.mp4',
    'test.avi',
    'testvideo-43.avi',
    'video_90.mov',
    'video_with_failing_audio.mp4',
    'mvsa_1.jpg',
  ],
)
def test_real_video(samples, name):
  images = _media.frames(samples / name, 3, 64)
  assert images.shape == (3, 64, 64, 3) and images.dtype == np.uint8
  assert images.std() > 5  # a picture, not a blank


def test_corrupt_video_is_named(samples):
  with pytest.raises(_media.MediaError, match='corrupted.mp4: its video'):
    _media.frames(samples / 'corrupted.mp4', 3, 64)


def test_absent_streams_and_files_are_named(samples, tmp_path):
  with pytest.raises(_media.MediaError, match='has no audio stream'):
    _media.audio(samples / 'example.mp4', 16000)
  with pytest.raises(_media.MediaError, match='has no video stream'):
    _media.frames(samples / 'test2_8000.mkv', 1, 8)
  with pytest.raises(_media.MediaError, match='nothing.wav'):
    _media.audio(tmp_path / 'nothing.wav', 16000)


def test_rotation_is_obeyed(samples):
  """A keyboard filmed upright: its rows of keys run from left to right."""
  with av.open(str(samples / 'video_90.mov')) as container:
    frame = next(container.decode(video=0))
  assert frame.rotation == -90 and frame.width > frame.height
  upright = np.rot90(frame.to_ndarray(format='rgb24'), -1)
  want = PIL.Image.fromarray(upright).resize((64, 64), 2)  # bilinear
  got = _media.frames(samples / 'video_90.mov', 3, 64)[0]
  np.testing.assert_allclose(got, np.asarray(want), atol=4)


def test_audio_is_exact_at_its_own_rate(tmp_path):
  x = np.array([0, 16384, -32768, 32767], np.int16)
  path = write_wav(tmp_path / 'a.wav', x, 16000)
  np.testing.assert_array_equal(_media.audio(path, 16000), x / 32768)


def test_channels_are_averaged(tmp_path):
  x = np.array([[0.5, 0.1]] * 100, np.float32)
  path = write_wav(tmp_path / 'a.wav', x, 8000)
  np.testing.assert_allclose(_media.audio(path, 8000), 0.3, atol=1e-6)


def test_resampling_keeps_a_tone(tmp_path):
  t = np.arange(16000) / 16000
  tone = (0.5 * np.sin(2 * np.pi * 440 * t)).astype(np.float32)
  x_T = _media.audio(write_wav(tmp_path / 'a.wav', tone, 16000), 22050)
  want = 0.5 * np.sin(2 * np.pi * 440 * np.arange(22050) / 22050)
  assert len(x_T) == 22050
  np.testing.assert_allclose(x_T[500:-500], want[500:-500], atol=2e-3)


def test_audio_without_samples_or_finite_values_is_named(tmp_path):
  empty = write_wav(tmp_path / 'empty.wav', np.zeros(0, np.int16), 16000)
  with pytest.raises(_media.MediaError, match='empty.wav'):
    _media.audio(empty, 16000)
  bad = np.array([0.0, np.nan], np.float32)
  with pytest.raises(_media.MediaError, match='not finite'):
    _media.audio(write_wav(tmp_path / 'nan.wav', bad, 16000), 16000)


def test_lfs_pointer_is_told_as_such(tmp_path):
  path = tmp_path / 'a.wav'
  path.write_text('version https://git-lfs.github.com/spec/v1\nsize 3\n')
  with pytest.raises(_media.MediaError, match='git lfs pull'):
    _media.audio(path, 16000)


def test_frames_are_the_middles_of_equal_segments(tmp_path):
  path = tmp_path / 'a.avi'
  write_video(path, [grey(10 * i) for i in range(24)])
  got = _media.frames(path, 3, 8).mean((1, 2, 3))
  np.testing.assert_allclose(got, [40, 120, 200], atol=3)


def test_frames_follow_time_not_count(tmp_path):
  # 4 frames in the first tenth of the clip, then one that is shown for long.
  times = [0, 1, 2, 3, 4, 40]
  images = [grey(40 * i) for i in range(6)]
  path = write_video(tmp_path / 'a.mkv', images, times=times)
  got = _media.frames(path, 2, 8).mean((1, 2, 3))
  np.testing.assert_allclose(got, [160, 160], atol=8)


def test_one_frame_serves_many(tmp_path):
  path = write_video(tmp_path / 'a.avi', [grey(90)])
  assert _media.frames(path, 3, 8).shape == (3, 8, 8, 3)


@settings(deadline=None, max_examples=50)
@given(st.integers(1, 90), st.integers(1, 8), st.floats(-2, 5))
def test_middles_are_sorted_and_inside(frames, count, start):
  times = [start + i / 25 for i in range(frames)]
  index_K = _media._middles(times, count)
  assert index_K == sorted(index_K) and len(index_K) == count
  assert 0 <= index_K[0] and index_K[-1] < frames
  if count <= frames:
    assert len(set(index_K)) == count


def test_frames_without_clock_are_counted():
  assert _media._middles([None] * 9, 3) == [1, 4, 7]


def test_jpeg_round_trip():
  image = np.repeat(np.arange(0, 240, 2, np.uint8)[None], 16, 0)
  image = np.stack([image] * 3, -1)
  file = io.BytesIO(_media.jpeg(image))
  assert PIL.Image.open(file).format == 'JPEG'
  np.testing.assert_allclose(np.asarray(PIL.Image.open(file)), image, atol=4)


def test_log_spectrogram_of_a_tone():
  """A tone of amplitude a at bin k has |STFT| = a * sum(window) / 2 there."""
  k, t = 40, np.arange(66150)
  x_T = 0.5 * np.sin(2 * np.pi * k * t / 512)
  x_FT = _spectrogram.log_spectrogram(x_T)
  assert x_FT.shape == (257, 188) and x_FT.dtype == np.float32
  inner = x_FT[:, 2:-2]
  assert (inner.argmax(0) == k).all()
  np.testing.assert_allclose(inner[k], np.log(0.5 * 256 / 2), atol=1e-3)


def test_log_spectrogram_of_silence_is_the_floor():
  x_FT = _spectrogram.log_spectrogram(np.zeros(1000))
  np.testing.assert_allclose(x_FT, np.log(1e-7), rtol=1e-6)


def test_log_spectrogram_is_a_centred_reflected_dft():
  x_T = np.random.default_rng(0).standard_normal(900)
  padded_T = np.concatenate([x_T[256:0:-1], x_T, x_T[-2:-258:-1]])
  window_T = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(512) / 512)
  angle_FT = 2j * np.pi / 512 * np.outer(np.arange(257), np.arange(512))
  for frame in (0, 1, 2):
    part_T = window_T * padded_T[353 * frame :][:512]
    want_F = np.log(np.abs(np.exp(-angle_FT) @ part_T) + 1e-7)
    got_F = _spectrogram.log_spectrogram(x_T)[:, frame]
    np.testing.assert_allclose(got_F, want_F, atol=1e-3)


def test_tile_repeats_and_cuts():
  np.testing.assert_array_equal(
    _spectrogram.tile(np.arange(3), 8), [0, 1, 2, 0, 1, 2, 0, 1]
  )
  np.testing.assert_array_equal(_spectrogram.tile(np.arange(9), 2), [0, 1])


def test_fbank_is_torchaudios():
  """Numbers of torchaudio 2.11, compliance.kaldi.fbank as MLA calls it."""
  n = np.arange(8000)
  x_T = 0.3 * np.sin(2 * np.pi * 440 * n / 16000) + 0.01 * np.cos(n**2 * 1e-3)
  got = _spectrogram.fbank(x_T.astype(np.float32), 16000)
  assert got.shape == (1024, 128) and got.dtype == np.float32
  floor = -15.942384719848633
  want = [
    [-12.870056, -11.303398, -6.153569, -5.479869, floor, floor],
    [-14.503509, -10.656362, -8.709565, -3.760118, floor, floor],
    [-13.081971, -10.485841, -8.538724, floor, floor, -0.817138],
  ]
  rows, bands = [0, 20, 47], [0, 10, 30, 60, 100, 127]
  np.testing.assert_allclose(got[np.ix_(rows, bands)], want, atol=2e-3)
  assert (got[48:] == 0).all()  # 1 + (8000 - 400) // 160 frames


def test_fbank_cuts_pads_and_scales():
  x_T = np.random.default_rng(0).standard_normal(11 * 16000)
  got = _spectrogram.fbank(x_T, 16000)
  assert (got != 0).all()  # cut: no padding
  louder = _spectrogram.fbank(3 * x_T, 16000)
  heard = got > np.log(2e-7)  # one narrow band lies between two DFT bins
  assert heard.mean() > 0.99
  difference = (louder - got)[heard]
  np.testing.assert_allclose(difference, 2 * np.log(3), atol=1e-4)
  assert (_spectrogram.fbank(x_T[:399], 16000) == 0).all()


def test_the_package_does_not_need_pyav(monkeypatch):
  monkeypatch.setitem(__import__('sys').modules, 'av', None)
  with pytest.raises(ModuleNotFoundError, match=r'mmjax\[media\]'):
    _media.audio(pathlib.Path('a.wav'), 16000)
