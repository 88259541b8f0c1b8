"""How one modality of a prepared data set is decoded, kept and read again."""

import functools
import io
import pathlib
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
import PIL.Image
import tensorflow_datasets as tfds

from mmjax import base
from mmjax.data import _media, _memory, _prepared, _spectrogram, _tokens


class Part(NamedTuple):
  """What an example has of one modality: a file, or what was read already.

  A `value` u8[N], where a kind wants a file, is what would be in it.
  """

  file: pathlib.Path | None = None
  span: tuple[float, float] | None = None  # seconds of the file
  box: tuple[float, ...] | None = None  # left, top, right, bottom, in 0..1
  texts: tuple[str, ...] = ()
  value: np.ndarray | None = None


class Kind(NamedTuple):
  """One way to keep a modality.

  encode: Part -> arrays; the slow part, in threads. Raises `MediaError`
  store:  these arrays, or None where the modality is missing -> what is written
  feature: TFDS' type of that
  batch:  what was written, of several examples -> array [B, ...] or `Ragged`
  raw:    TFDS' decoder, where its own is not wanted
  texts:  of a kind of texts, how many an example has; `batch` takes single ones
  """

  encode: Callable[[Part], list[np.ndarray]]
  store: Callable[[Sequence[np.ndarray] | None], Any]
  feature: Any
  batch: Callable[[Sequence[Any]], Any]
  raw: Any = None
  texts: int = 0


AUDIO = ('spectrogram', 'fbank', 'whisper', 'waveform')


def audio(how: str, *, seconds: float = 3.0) -> Kind:
  """A recording.

  'spectrogram'  OGM-GE's: 22,050 Hz, repeated or cut to `seconds`, clipped to
                 +-1, log(|STFT| + 1e-7), 512 points every 353: f32[B, 257, T, 1],
                 188 frames for 3 seconds
  'fbank'        kaldi's 128 log mel bands every 10 ms of 16 kHz, padded or cut
                 to 1024 frames: f32[B, 1024, 128, 1]; `seconds` is not used
  'whisper'      its 80 log mel bands every 10 ms of 16 kHz, padded or cut to 30
                 seconds: f32[B, 3000, 80]; `seconds` is not used
  'waveform'     16 kHz, without its mean and of variance 1, cut to `seconds`:
                 `Ragged` f32[B, T]
  """
  if how not in AUDIO:
    raise ValueError(f'audio={how!r} is not one of {", ".join(AUDIO)}.')
  if not seconds > 0:
    raise ValueError(f'seconds={seconds} must be above 0.')
  if how == 'waveform':
    return _waveform(seconds)
  if how == 'fbank':
    shape, encode = (1024, 128, 1), _fbank
  elif how == 'whisper':
    shape, encode = (3000, 80), _whisper
  else:
    length = round(seconds * 22050)
    shape = (257, 1 + length // 353, 1)
    encode = functools.partial(_spectrum, length=length)
  # float16 is exact to .01 here, and halves the files.
  return _tensor(lambda part: [encode(part).astype(np.float16)], shape, 'f2')


def _heard(part: Part, rate: int) -> np.ndarray:
  return _media.audio(_file(part), rate, part.span)


def _fbank(part: Part) -> np.ndarray:
  return _spectrogram.fbank(_heard(part, 16000), 16000)[..., None]


def _whisper(part: Part) -> np.ndarray:
  return _spectrogram.whisper(_heard(part, 16000))


def _spectrum(part: Part, length: int) -> np.ndarray:
  x_T = _spectrogram.tile(_heard(part, 22050), length)
  return _spectrogram.log_spectrogram(np.clip(x_T, -1.0, 1.0))[..., None]


def _waveform(seconds: float) -> Kind:
  longest = round(16000 * seconds)

  def encode(part: Part) -> list[np.ndarray]:
    x_T = np.clip(_heard(part, 16000)[:longest], -1.0, 1.0)
    return [np.round(x_T * 32767).astype(np.int16)]

  def batch(kept: Sequence[np.ndarray]) -> base.Ragged:
    waves = [_standard(x_T.astype(np.float32)) for x_T in kept]
    return _ragged(waves, longest)

  def store(arrays):
    return np.zeros(0, np.int16) if arrays is None else arrays[0]

  feature = tfds.features.Tensor(
    shape=(None,), dtype=np.int16, encoding='bytes'
  )
  return Kind(encode, store, feature, batch)


def _standard(x_T: np.ndarray) -> np.ndarray:
  """As wav2vec 2.0 was trained, on the waveform's own mean and variance."""
  if not len(x_T):
    return x_T
  return (x_T - x_T.mean()) / np.sqrt(x_T.var() + 1e-7)


def _tensor(
  encode, shape: tuple[int, ...], dtype: str, divide: float = 1.0
) -> Kind:
  """Arrays of one shape, read as float32."""

  def store(arrays):
    return np.zeros(shape, dtype) if arrays is None else arrays[0]

  def batch(kept):
    return np.stack(kept).astype(np.float32) / np.float32(divide)

  feature = tfds.features.Tensor(
    shape=shape, dtype=np.dtype(dtype), encoding='bytes'
  )
  return Kind(encode, store, feature, batch)


def vector(width: int) -> Kind:
  """A vector of features per example, already read: f32[B, width]."""

  def encode(part: Part) -> list[np.ndarray]:
    return [np.asarray(part.value, np.float32).reshape(width)]

  return _tensor(encode, (width,), 'f4')


def array(
  shape: tuple[int, ...],
  *,
  dtype: str = 'f4',
  divide: float = 1.0,
  read: Callable[[Part], np.ndarray] = lambda part: np.asarray(part.value),
) -> Kind:
  """An array of one shape per example: f32[B, *shape].

  `read` gives it, of a part; it is kept as `dtype`, and divided when it is read.
  """

  def encode(part: Part) -> list[np.ndarray]:
    x = np.asarray(read(part))
    if x.shape != shape:
      raise _media.MediaError(
        part.file or 'the value', f'is of shape {x.shape}, not {shape}'
      )
    with np.errstate(over='ignore'):
      x = x.astype(dtype)
    if not np.isfinite(x).all():
      raise _media.MediaError(part.file or 'the value', 'is not finite')
    return [x]

  return _tensor(encode, shape, dtype, divide)


def steps(
  shape: tuple[int, ...],
  longest: int,
  read: Callable[[Part], np.ndarray] = lambda part: np.asarray(part.value),
) -> Kind:
  """Sequences of arrays of this shape, cut to `longest`: `Ragged` f32[B, T, ..].

  `read` gives one, [T, *shape], of a part.
  """

  def encode(part: Part) -> list[np.ndarray]:
    x_T = np.asarray(read(part), np.float32)
    if x_T.ndim != 1 + len(shape) or x_T.shape[1:] != shape:
      raise _media.MediaError(
        part.file or 'the value', f'holds {x_T.shape}, not steps of {shape}'
      )
    if not len(x_T):
      raise _media.MediaError(part.file or 'the value', 'holds no step')
    if not np.isfinite(x_T).all():
      raise _media.MediaError(part.file or 'the value', 'is not finite')
    return [x_T[:longest]]

  def store(arrays):
    return np.zeros((0, *shape), np.float32) if arrays is None else arrays[0]

  feature = tfds.features.Tensor(
    shape=(None, *shape), dtype=np.float32, encoding='bytes'
  )
  return Kind(encode, store, feature, lambda kept: _ragged(kept, longest))


def _ragged(values: Sequence[np.ndarray], longest: int) -> base.Ragged:
  lengths = np.array([len(x) for x in values])
  return _memory.pad(np.concatenate(values), lengths, longest)


def frames(count: int, size: int) -> Kind:
  """`count` frames of a video: u8[B, count, size, size, 3]; see `_media.frames`."""
  _at_least_one(frames=count, size=size)

  def encode(part: Part) -> list[np.ndarray]:
    images = _media.frames(
      _file(part), count, size, span=part.span, box=part.box
    )
    return [_bytes(_media.jpeg(image)) for image in images]

  black = _media.jpeg(np.zeros((size, size, 3), np.uint8))

  def store(arrays):
    return [black] * count if arrays is None else [a.tobytes() for a in arrays]

  feature = tfds.features.Sequence(
    tfds.features.Image(shape=(size, size, 3), encoding_format='jpeg')
  )
  return Kind(
    encode,
    store,
    feature,
    lambda kept: np.stack([[_pixels(j) for j in clip] for clip in kept]),
    _prepared.StoredBytes(),
  )


def picture(size: int) -> Kind:
  """A still picture, squeezed to a square: u8[B, size, size, 3]."""
  _at_least_one(size=size)

  def encode(part: Part) -> list[np.ndarray]:
    return [_bytes(_media.jpeg(_media.picture(_file(part), size)))]

  black = _media.jpeg(np.zeros((size, size, 3), np.uint8))

  def store(arrays):
    return black if arrays is None else arrays[0].tobytes()

  return Kind(
    encode,
    store,
    tfds.features.Image(shape=(size, size, 3), encoding_format='jpeg'),
    lambda kept: np.stack([_pixels(j) for j in kept]),
    _prepared.StoredBytes(),
  )


def text(tokenizer: str, max_tokens: int, count: int = 1) -> Kind:
  """`count` texts of an example, each read as token ids: `Ragged` i32[B, T].

  `tokenizer` is what `_tokens.load` takes, T its `max_tokens`.
  """
  encode_texts = _tokens.load(tokenizer, max_tokens)

  def encode(part: Part) -> list[np.ndarray]:
    return [_bytes(t.encode()) for t in part.texts[:count]]

  def store(arrays):
    kept = [b''] * count if arrays is None else [a.tobytes() for a in arrays]
    return [each.decode() for each in kept]

  def batch(kept: Sequence[bytes]) -> base.Ragged:
    return encode_texts([t.decode() for t in kept])

  feature = tfds.features.Sequence(tfds.features.Text())
  return Kind(encode, store, feature, batch, texts=count)


def _file(part: Part) -> _media.File:
  if part.file is None and part.value is not None:
    return _media.Content(part.value.tobytes())
  assert part.file is not None
  return part.file


def _bytes(content: bytes) -> np.ndarray:
  return np.frombuffer(content, np.uint8)


def _pixels(jpeg: bytes) -> np.ndarray:
  return np.asarray(PIL.Image.open(io.BytesIO(jpeg)).convert('RGB'))


def _at_least_one(**values: int) -> None:
  for name, value in values.items():
    if value < 1:
      raise ValueError(f'{name}={value} must be at least 1.')
