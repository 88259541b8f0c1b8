"""Digits in three modalities, embedded: written, spoken and spelled.

'image'   the 1,797 real 8x8 images (UCI optdigits) that come with scikit-learn,
          f32[8, 8, 1] in 0..1
'speech'  log-mel frames of a spoken digit, `Ragged` f32[T, 32] with mask[T]:
          32 ms windows, 12.5 ms hop, 8 kHz, standardised by the training part
'text'    the spelled word as letter ids, i32[5]: 1..26 = a..z, 0 = padding

An image goes with an utterance of the same digit and of the same split; splits
share no image and no speaker. They do not depend on `seed`, which moves the
pairing and the noise: pure functions of the seed and the row.
"""

import difflib

import numpy as np

from mmjax import base
from mmjax.data import _clips, _logmel, _memory

CLASS_NAMES = (
  'zero', 'one', 'two', 'three', 'four',
  'five', 'six', 'seven', 'eight', 'nine',
)  # fmt: skip
MODALITIES = ('image', 'speech', 'text')
SPLITS = ('train', 'validation', 'test')
SHARES = (0.6, 0.15, 0.25)  # of the images of a class, and of the speakers
SPLIT_SEED = 0
WINDOW, HOP, BANDS = 256, 100, 32  # samples, samples, mel bands


def make(
  split: str,
  *,
  modalities: tuple[str, ...] = MODALITIES,
  image_noise: float = 0.3,
  speech_noise: float = 1.5,
  text_noise: float = 0.5,
  speech: str = 'rendered',
  recordings: str = '',
  seed: int = 0,
) -> base.Source:
  """One split of the digits: 'train', 'validation' or 'test'.

  Args:
    split: they hold 60, 15 and 25 % of the images and of the speakers.
    modalities: which of the three, in the order they shall have.
    image_noise: std of Gaussian noise on the pixels, clipped to 0..1 after it.
    speech_noise: std of white noise on the waveform, in units of its RMS.
    text_noise: probability that a letter is replaced by a random one of the 26.
    speech: 'rendered' (embedded, espeak-ng) or 'recordings' (your files).
    recordings: a folder of `{digit}_{speaker}_{n}.wav`, the layout of the Free
      Spoken Digit Dataset.
    seed: moves the pairing and the noise, never the splits.

  Raises ValueError for what cannot be, naming the way out.
  """
  modalities = tuple(modalities)
  _check_names(split, modalities)
  _check_noise(image_noise, speech_noise, text_noise)
  image, label = _images(split)
  inputs: dict[str, _memory.Value] = {}
  for name in modalities:
    if name == 'image':
      noise = _rng(seed, split, name).normal(size=image.shape)
      inputs[name] = np.clip(image + image_noise * noise, 0, 1, dtype='f4')
    elif name == 'text':
      inputs[name] = _text(label, text_noise, _rng(seed, split, name))
    else:
      clips = _speech_clips(speech, recordings)
      inputs[name] = _speech(clips, split, label, speech_noise, seed)
  present = {name: np.ones(len(label), bool) for name in modalities}
  made = _memory.table(inputs, label, present, CLASS_NAMES)
  # What is not misspelled is the same word for all that say it.
  same = 'text' in modalities and not text_noise
  return made._replace(entries={'text': label}) if same else made


def _check_names(split: str, modalities: tuple[str, ...]) -> None:
  if split not in SPLITS:
    raise ValueError(f'digits has no split {split!r}, but {SPLITS}.')
  for name in modalities:
    if name not in MODALITIES:
      close = difflib.get_close_matches(name, MODALITIES, 1, 0)[0]
      raise ValueError(
        f'digits has no modality {name!r}; did you mean {close!r}? It has '
        f'{MODALITIES}.'
      )
  if not modalities or len(set(modalities)) < len(modalities):
    raise ValueError(
      f'modalities={modalities} must name at least one of {MODALITIES}, and '
      'none of them twice.'
    )


def _check_noise(image: float, speech: float, text: float) -> None:
  if not (0 <= image < np.inf and 0 <= speech < np.inf and 0 <= text <= 1):
    raise ValueError(
      f'image_noise={image} and speech_noise={speech} are standard deviations '
      f'and must be 0 or more; text_noise={text} is a probability.'
    )


def _rng(seed: int, split: str, stream: str) -> np.random.Generator:
  """Independent random numbers for each purpose: the order of calls is free."""
  names = (*MODALITIES, 'pairs')
  return np.random.default_rng([seed, SPLITS.index(split), names.index(stream)])


def _share(items: np.ndarray, rng: np.random.Generator) -> list[np.ndarray]:
  """Deals items out to the three splits by `SHARES`, at least one to each."""
  items = rng.permutation(items)
  test = max(1, round(SHARES[2] * len(items)))
  validation = max(1, round(SHARES[1] * len(items)))
  train, rest = np.split(items, [len(items) - test - validation])
  return [train, *np.split(rest, [validation])]


def _images(split: str) -> tuple[np.ndarray, np.ndarray]:
  """The images of a split, f32[N, 8, 8, 1] in 0..1, and their digits i64[N]."""
  from sklearn.datasets import load_digits

  pixels, target = load_digits(return_X_y=True)
  rng, part = np.random.default_rng(SPLIT_SEED), SPLITS.index(split)
  rows = [
    _share(np.flatnonzero(target == digit), rng)[part]
    for digit in range(len(CLASS_NAMES))
  ]
  rows = np.sort(np.concatenate(rows))
  image = pixels[rows].reshape(-1, 8, 8, 1) / 16
  return image.astype(np.float32), np.asarray(target)[rows]


def _text(
  label: np.ndarray, noise: float, rng: np.random.Generator
) -> np.ndarray:
  """Spelled words as letter ids, i32[N, 5], letters replaced with p = noise."""
  longest = max(len(word) for word in CLASS_NAMES)
  letters = [[ord(letter) - 96 for letter in word] for word in CLASS_NAMES]
  table = np.array([row + [0] * (longest - len(row)) for row in letters], 'i4')
  ids = table[label]
  swap = (rng.random(ids.shape) < noise) & (ids > 0)
  other = rng.integers(1, 27, ids.shape, dtype=np.int32)
  return np.where(swap, other, ids)


def _speech_clips(speech: str, recordings: str) -> _clips.Clips:
  if speech == 'recordings':
    return _clips.recorded(recordings)
  if speech != 'rendered':
    raise ValueError(f"speech={speech!r} must be 'rendered' or 'recordings'.")
  if recordings:
    raise ValueError(
      f"recordings={recordings!r} is not read with speech='rendered'; say "
      "speech='recordings' as well."
    )
  return _clips.rendered()


def _speech(
  clips: _clips.Clips,
  split: str,
  label: np.ndarray,
  noise: float,
  seed: int,
) -> base.Ragged:
  """Standardised log-mel frames of one utterance per label, f32[N, T, 32]."""
  _, train_label = _images('train')
  train, _ = _frames(clips, 'train', train_label, noise, seed)
  values, lengths = _frames(clips, split, label, noise, seed)
  values = (values - train.mean(axis=0)) / np.maximum(train.std(axis=0), 1e-3)
  longest = _logmel.num_frames(clips.lengths, WINDOW, HOP).max()
  return _memory.pad(values, lengths, int(longest))


def _frames(
  clips: _clips.Clips, split: str, label: np.ndarray, noise: float, seed: int
) -> tuple[np.ndarray, np.ndarray]:
  """Log-mel frames f32[sum of lengths, 32] and lengths i64[N], with noise."""
  rows = _partners(clips, split, label, _rng(seed, split, 'pairs'))
  wave, lengths = _memory.gather(clips.wave, clips.lengths, rows)
  starts = np.cumsum(lengths) - lengths
  rms = np.sqrt(np.add.reduceat(wave**2, starts) / lengths)
  white = _rng(seed, split, 'speech').standard_normal(len(wave), np.float32)
  wave = wave + np.float32(noise) * np.repeat(rms, lengths) * white
  values = _logmel.log_mel(
    wave,
    lengths,
    sample_rate=_clips.SAMPLE_RATE,
    window=WINDOW,
    hop=HOP,
    num_bands=BANDS,
  )
  return values, _logmel.num_frames(lengths, WINDOW, HOP)


def _partners(
  clips: _clips.Clips,
  split: str,
  label: np.ndarray,
  rng: np.random.Generator,
) -> np.ndarray:
  """A clip of the same digit and the split's speakers per label, i64[N].

  The clips of a digit are used equally often, up to one.
  """
  speakers = np.unique(clips.speaker)
  if len(speakers) < 3:
    raise ValueError(
      f'recordings has {len(speakers)} speaker(s), {", ".join(speakers)}; three '
      'or more are needed, since no speaker is in two splits.'
    )
  parts = _share(speakers, np.random.default_rng(SPLIT_SEED))
  own = np.sort(parts[SPLITS.index(split)])
  rows = np.empty(len(label), np.int64)
  for digit in range(len(CLASS_NAMES)):
    pool = (clips.digit == digit) & np.isin(clips.speaker, own)
    if not pool.any():
      raise ValueError(
        f'recordings has no digit {digit} by the speakers of split {split!r}: '
        f'{", ".join(own)}. Add recordings of it.'
      )
    here = np.flatnonzero(label == digit)
    rows[here] = np.resize(rng.permutation(np.flatnonzero(pool)), len(here))
  return rows
