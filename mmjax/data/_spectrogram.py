"""Waveforms -> pictures of sound, in NumPy: no torchaudio, no librosa."""

import functools

import numpy as np
import scipy.fft

_MEL_FLOOR = float(np.finfo(np.float32).eps)


def tile(x_T: np.ndarray, length: int) -> np.ndarray:
  """Repeats a waveform [T] as often as needed and cuts it to `length`."""
  return np.resize(x_T, length)


def log_spectrogram(
  x_T: np.ndarray,
  *,
  n_fft: int = 512,
  hop: int = 353,
  eps: float = 1e-7,
) -> np.ndarray:
  """Natural log of |STFT| + eps: f32[T] -> f32[n_fft / 2 + 1, 1 + T // hop].

  Framed as in librosa before 0.10, which OGM-GE's CREMA-D pipeline used:
  frame k is centred on sample k * hop, the ends are padded by reflection
  (librosa 0.10 and later pad with zeros), periodic Hann window. 66,150
  samples (3 s at 22,050 Hz) give 257 x 188 with the defaults.
  """
  x_T = np.pad(np.asarray(x_T, np.float32), n_fft // 2, mode='reflect')
  frames_KT = np.lib.stride_tricks.sliding_window_view(x_T, n_fft)[::hop]
  window_T = np.hanning(n_fft + 1)[:-1].astype(np.float32)
  stft_KF = np.asarray(scipy.fft.rfft(frames_KT * window_T))
  return np.log(np.abs(stft_KF) + np.float32(eps)).T


def fbank(
  x_T: np.ndarray, rate: int, *, mels: int = 128, frames: int = 1024
) -> np.ndarray:
  """Kaldi's log mel filter bank: f32[T] at `rate` Hz -> f32[frames, mels].

  25 ms frames every 10 ms that lie wholly inside the waveform, each without
  its mean, pre-emphasised by .97, symmetric Hann window, power spectrum of the
  next power of two, triangles evenly spaced in mel = 1127 ln(1 + f / 700) from
  20 Hz to rate / 2, natural log; no dither, no energy. Then padded with zeros
  or cut to `frames`, as MLA does. A waveform shorter than one frame is all
  padding.
  """
  length, hop = int(rate * 0.025), int(rate * 0.010)
  size = 1 << (length - 1).bit_length()
  out_KM = np.zeros((frames, mels), np.float32)
  if len(x_T) < length:
    return out_KM
  x_T = np.asarray(x_T, np.float64)
  frames_KT = np.lib.stride_tricks.sliding_window_view(x_T, length)[::hop]
  frames_KT = frames_KT[:frames] - frames_KT[:frames].mean(1, keepdims=True)
  before_KT = np.concatenate([frames_KT[:, :1], frames_KT[:, :-1]], 1)
  windowed_KT = (frames_KT - 0.97 * before_KT) * np.hanning(length)
  power_KF = np.abs(np.asarray(scipy.fft.rfft(windowed_KT, size))) ** 2
  mel_KM = power_KF[:, :-1] @ _mel_filters(rate, size, mels)
  out_KM[: len(mel_KM)] = np.log(np.maximum(mel_KM, _MEL_FLOOR))
  return out_KM


def whisper(x_T: np.ndarray, *, mels: int = 80) -> np.ndarray:
  """Whisper's log mel bands of 30 s: f32[T] at 16 kHz -> f32[3000, mels].

  Padded with zeros or cut; 25 ms frames every 10 ms, centred, with reflected
  ends, periodic Hann window, power; triangles on Slaney's mel scale, each of
  area 1; log10, nothing more than 8 below the largest; (x + 4) / 4.
  """
  rate, size, hop, seconds = 16000, 400, 160, 30
  x_T = np.asarray(x_T, np.float64)[: seconds * rate]
  x_T = np.pad(x_T, (0, seconds * rate - len(x_T)))
  x_T = np.pad(x_T, size // 2, mode='reflect')
  frames_KT = np.lib.stride_tricks.sliding_window_view(x_T, size)[::hop]
  window_T = np.hanning(size + 1)[:-1]
  stft_KF = np.asarray(scipy.fft.rfft(frames_KT[:-1] * window_T))
  mel_KM = np.abs(stft_KF) ** 2 @ _slaney_filters(rate, size, mels)
  log_KM = np.log10(np.maximum(mel_KM, 1e-10))
  log_KM = np.maximum(log_KM, log_KM.max() - 8)
  return ((log_KM + 4) / 4).astype(np.float32)


@functools.cache
def _slaney_filters(rate: int, size: int, mels: int) -> np.ndarray:
  """Triangles [size / 2 + 1, M] from 0 Hz to rate / 2, as librosa makes them.

  Their edges are even in Slaney's mel: 15 up to 1000 Hz, linear, and 27 for
  each factor of 6.4 above.
  """
  top = 15 + 27 * np.log(rate / 2 / 1000) / np.log(6.4)
  mel_E = np.linspace(0, top, mels + 2)
  edges_E = np.where(
    mel_E < 15, mel_E * 1000 / 15, 1000 * 6.4 ** ((mel_E - 15) / 27)
  )
  hertz_F = np.fft.rfftfreq(size, 1 / rate)[:, None]
  low, mid, high = (edges_E[None, i : mels + i] for i in range(3))
  up_FM, down_FM = (
    (hertz_F - low) / (mid - low),
    (high - hertz_F) / (high - mid),
  )
  return np.maximum(0, np.minimum(up_FM, down_FM)) * 2 / (high - low)


def _mel(hertz: np.ndarray | float) -> np.ndarray:
  return 1127.0 * np.log1p(np.asarray(hertz) / 700.0)


def _mel_filters(rate: int, size: int, mels: int) -> np.ndarray:
  """Triangles [size / 2, M], without Nyquist; straight on the mel axis."""
  edges_E = np.linspace(_mel(20.0), _mel(rate / 2), mels + 2)
  mel_F = _mel(np.arange(size // 2) * rate / size)
  width = edges_E[1] - edges_E[0]
  up_FM = (mel_F[:, None] - edges_E[None, :-2]) / width
  down_FM = (edges_E[None, 2:] - mel_F[:, None]) / width
  return np.maximum(0.0, np.minimum(up_FM, down_FM))
