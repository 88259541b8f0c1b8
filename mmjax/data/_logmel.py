"""Speech as arrays: mu-law bytes and log-mel bands, in NumPy and SciPy."""

import numpy as np
import scipy.fft

MU = 255
FLOOR = 1e-7  # power of a full-scale sine is 1/4; 60 dB below it is silence
CHUNK = 16384  # frames that are transformed at once: bounds the memory


def mulaw_encode(wave: np.ndarray) -> np.ndarray:
  """Waveform in -1..1, f32[...], to 8-bit mu-law codes u8[...] (G.711 law)."""
  wave = np.clip(wave, -1, 1)
  y = np.sign(wave) * np.log1p(MU * np.abs(wave)) / np.log1p(MU)
  return np.round((y + 1) / 2 * MU).astype(np.uint8)


def mulaw_decode(code: np.ndarray) -> np.ndarray:
  """Codes u8[...] back to a waveform f32[...] in -1..1."""
  y = np.linspace(-1, 1, MU + 1)
  table = np.sign(y) * np.expm1(np.abs(y) * np.log1p(MU)) / MU
  return table.astype(np.float32)[code]


def mel_filters(num_bands: int, window: int, sample_rate: int) -> np.ndarray:
  """Triangles that are even on the mel scale, f32[window // 2 + 1, bands].

  mel(f) = 2595 log10(1 + f / 700), from 0 to half the sample rate (O'Shaughnessy
  1987). Raises ValueError if a band would fall between two frequency bins.
  """
  top = 2595 * np.log10(1 + sample_rate / 2 / 700)
  edges = 700 * (10 ** (np.linspace(0, top, num_bands + 2) / 2595) - 1)
  low, mid, high = edges[:-2], edges[1:-1], edges[2:]
  hz = np.fft.rfftfreq(window, 1 / sample_rate)[:, None]
  up, down = (hz - low) / (mid - low), (high - hz) / (high - mid)
  filters = np.maximum(0, np.minimum(up, down))
  if not filters.any(axis=0).all():
    raise ValueError(
      f'{num_bands} mel bands are too many for a window of {window} samples at '
      f'{sample_rate} Hz: a band holds no frequency bin. Take fewer bands or a '
      'longer window.'
    )
  return filters.astype(np.float32)


def num_frames(lengths: np.ndarray, window: int, hop: int) -> np.ndarray:
  """Frames of waveforms of these lengths, at least one, i64[N]."""
  return 1 + np.maximum(0, np.asarray(lengths, np.int64) - window) // hop


def log_mel(
  wave: np.ndarray,
  lengths: np.ndarray,
  *,
  sample_rate: int = 8000,
  window: int = 256,
  hop: int = 100,
  num_bands: int = 32,
) -> np.ndarray:
  """Log-mel frames of N waveforms, all in one vectorised transform.

  `wave` f32[sum of lengths] holds the waveforms one after the other, `window`
  and `hop` are in samples. Returns f32[sum of num_frames, num_bands], natural
  logarithm of power, waveform after waveform.
  """
  lengths = np.asarray(lengths, np.int64)
  frames = num_frames(lengths, window, hop)
  # A waveform shorter than the window must not read on into the next one.
  room = np.maximum(lengths, window)
  starts = np.cumsum(room) - room
  spaced = np.zeros(int(room.sum()), np.float32)
  shift = np.repeat(starts - (np.cumsum(lengths) - lengths), lengths)
  spaced[np.arange(len(wave)) + shift] = wave
  nth = np.arange(int(frames.sum())) - np.repeat(
    np.cumsum(frames) - frames, frames
  )
  begin = np.repeat(starts, frames) + hop * nth
  view = np.lib.stride_tricks.sliding_window_view(spaced, window)
  taper = np.hanning(window + 1)[:-1].astype(np.float32)
  taper /= taper.sum()
  filters = mel_filters(num_bands, window, sample_rate)
  out = np.empty((len(begin), num_bands), np.float32)
  for i in range(0, len(begin), CHUNK):
    frames_FT = view[begin[i : i + CHUNK]] * taper
    spectrum = np.asarray(scipy.fft.rfft(frames_FT))
    out[i : i + CHUNK] = np.log(np.abs(spectrum) ** 2 @ filters + FLOOR)
  return out
