"""Spoken digits, one waveform after the other: embedded, or from a folder."""

import importlib.resources
import pathlib
import re
import warnings
from typing import NamedTuple

import numpy as np
import scipy.io.wavfile
import scipy.signal

from mmjax.data import _logmel

SAMPLE_RATE = 8000
LONGEST = 5.0  # seconds; every clip is padded to the longest
NAME = re.compile(r'(\d)_(.+)_(\d+)\.wav', re.IGNORECASE)


class Clips(NamedTuple):
  """Utterances at 8 kHz, peak 1."""

  wave: np.ndarray  # f32[sum of lengths]
  lengths: np.ndarray  # i64[U], samples
  digit: np.ndarray  # i64[U]
  speaker: np.ndarray  # str[U]


def rendered() -> Clips:
  """The embedded clips: 24 speakers of espeak-ng, 4 accents of each."""
  path = importlib.resources.files('mmjax.data') / 'digits_speech/speech.npz'
  with path.open('rb') as file, np.load(file, allow_pickle=False) as fields:
    names = np.array([v.split('+')[1] for v in fields['voice_names']])
    return Clips(
      _logmel.mulaw_decode(fields['wave']),
      fields['wave_len'].astype(np.int64),
      fields['digit'].astype(np.int64),
      names[fields['voice']],
    )


def recorded(folder: str) -> Clips:
  """Reads every `{digit}_{speaker}_{n}.wav` of a folder, in order of name.

  The layout of the Free Spoken Digit Dataset. Raises ValueError, naming the
  file, for a folder without .wav files, another name, or an unreadable file.
  """
  if not folder:
    raise ValueError(
      "speech='recordings' needs recordings='folder', the folder that holds "
      'files named {digit}_{speaker}_{n}.wav.'
    )
  root = pathlib.Path(folder).expanduser()
  if not root.is_dir():
    raise ValueError(f'recordings={folder!r} is not a folder.')
  paths = sorted(p for p in root.iterdir() if p.suffix.lower() == '.wav')
  if not paths:
    raise ValueError(
      f'recordings={folder!r} holds no .wav file; it should hold files named '
      '{digit}_{speaker}_{n}.wav, as 7_jackson_0.wav.'
    )
  parsed = [NAME.fullmatch(path.name) for path in paths]
  strange = [path.name for path, match in zip(paths, parsed) if not match]
  if strange:
    raise ValueError(
      f'{len(strange)} of {len(paths)} .wav files in {folder!r} are not named '
      f'{{digit}}_{{speaker}}_{{n}}.wav, the first {strange[0]!r}. Rename them '
      'or move them elsewhere.'
    )
  waves = [_read(path) for path in paths]
  return Clips(
    np.concatenate(waves),
    np.array([len(wave) for wave in waves], np.int64),
    np.array([int(match[1]) for match in parsed if match]),
    np.array([match[2] for match in parsed if match]),
  )


def _read(path: pathlib.Path) -> np.ndarray:
  """One .wav file as f32[S] at 8 kHz, one channel, peak 1."""
  try:
    with warnings.catch_warnings():
      # A file that ends too early is broken; an unknown chunk in it is not.
      warnings.simplefilter('error', scipy.io.wavfile.WavFileWarning)
      warnings.filterwarnings('ignore', 'Chunk .non-data. not understood')
      rate, wave = scipy.io.wavfile.read(path)
  except Exception as error:
    raise ValueError(
      f'{path} cannot be read as a .wav file ({error}). Replace it or take it '
      'out of the folder.'
    ) from error
  wave = wave.astype(np.float64) - (128 if wave.dtype == np.uint8 else 0)
  wave = wave.reshape(len(wave), -1).mean(axis=1)
  peak = np.abs(wave).max(initial=0)
  if not 0 < peak < np.inf or len(wave) > LONGEST * rate:
    raise ValueError(
      f'{path} is not one spoken digit: {len(wave) / rate:.1f} s long, peak '
      f'{peak:g}. It must be sound, of {LONGEST:g} s at most; replace it or '
      'take it out of the folder.'
    )
  if rate != SAMPLE_RATE:
    wave = scipy.signal.resample_poly(wave, SAMPLE_RATE, rate)
    peak = np.abs(wave).max()
  return (wave / peak).astype(np.float32)
