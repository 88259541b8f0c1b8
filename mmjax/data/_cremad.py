"""CREMA-D's raw files, its examples, and the way from one to the other."""

import io
import pathlib
import re
from collections.abc import Mapping
from typing import Any

import numpy as np
import PIL.Image
import tensorflow_datasets as tfds

from mmjax.data import _media, _prepare, _spectrogram

CLASS_NAMES = ('NEU', 'HAP', 'SAD', 'FEA', 'DIS', 'ANG')
MODALITIES = ('audio', 'visual')
SHAPES = {'spectrogram': (257, 188, 1), 'fbank': (1024, 128, 1)}
_NAME = re.compile(r'(\d+)_([A-Z]{3})_(' + '|'.join(CLASS_NAMES) + r')_[A-Z]+')


def scan(
  raw_dir: pathlib.Path, on_missing: str
) -> tuple[dict[str, tuple[pathlib.Path, ...]], dict[str, str]]:
  """Finds the clips: ({clip: its files}, {clip: why it is left out})."""
  wav = {p.stem: p for p in (raw_dir / 'AudioWAV').glob('*.wav')}
  flv = {p.stem: p for p in (raw_dir / 'VideoFlash').glob('*.flv')}
  if not wav and not flv:
    raise ValueError(
      f'{raw_dir} holds neither AudioWAV/*.wav nor VideoFlash/*.flv; raw_dir '
      'is the folder of CREMA-D as published, which has both'
    )
  clips, skipped = {}, {}
  for clip in sorted({*wav, *flv}):
    files = tuple(found[clip] for found in (wav, flv) if clip in found)
    if not _NAME.fullmatch(clip):
      skipped[clip] = 'the name is not ACTOR_SENTENCE_EMOTION_LEVEL'
    elif len(files) < 2 and on_missing == 'skip':
      skipped[clip] = f'has no {"video" if clip in wav else "audio"} file'
    else:
      clips[clip] = files
  return clips, skipped


def label(clip: str) -> int:
  match = _NAME.fullmatch(clip)
  assert match  # scan left other names out
  return CLASS_NAMES.index(match[3])


def features(audio: str, size: int) -> tfds.features.FeaturesDict:
  features = tfds.features
  return features.FeaturesDict(
    {
      'name': features.Text(),
      # float16 is exact to .01 here, and halves the files.
      'audio': features.Tensor(
        shape=SHAPES[audio], dtype=np.float16, encoding='bytes'
      ),
      'visual': features.Sequence(
        features.Image(shape=(size, size, 3), encoding_format='jpeg')
      ),
      'label': features.ClassLabel(names=list(CLASS_NAMES)),
      'present': {m: np.bool_ for m in MODALITIES},
    }
  )


def encode(
  item: _prepare.Item, *, audio: str, frames: int, size: int
) -> dict[str, np.ndarray]:
  """Decodes one clip's files; what it lacks is not in the result."""
  arrays = {}
  for path in item.files:
    if path.suffix == '.wav':
      arrays['audio'] = _sound(path, audio)
    else:
      for i, image in enumerate(_media.frames(path, frames, size)):
        arrays[f'visual_{i}'] = np.frombuffer(_media.jpeg(image), np.uint8)
  return arrays


def _sound(path: pathlib.Path, audio: str) -> np.ndarray:
  if audio == 'fbank':
    x_TM = _spectrogram.fbank(_media.audio(path, 16000), 16000)
    return x_TM[..., None].astype(np.float16)
  x_T = _spectrogram.tile(_media.audio(path, 22050), 66150)
  x_FT = _spectrogram.log_spectrogram(np.clip(x_T, -1.0, 1.0))
  return x_FT[..., None].astype(np.float16)


def example(
  item: _prepare.Item,
  arrays: Mapping[str, np.ndarray],
  *,
  audio: str,
  frames: int,
  size: int,
) -> dict[str, Any]:
  present = {'audio': 'audio' in arrays, 'visual': 'visual_0' in arrays}
  black = _media.jpeg(np.zeros((size, size, 3), np.uint8))
  return {
    'name': item.name,
    'audio': arrays['audio']
    if present['audio']
    else np.zeros(SHAPES[audio], np.float16),
    'visual': [
      arrays[f'visual_{i}'].tobytes() if present['visual'] else black
      for i in range(frames)
    ],
    'label': label(item.name),
    'present': present,
  }


def take(rows: Any, rows_B: np.ndarray) -> dict[str, Any]:
  examples = rows.__getitems__([int(row) for row in rows_B])
  return {
    'audio': np.stack([e['audio'] for e in examples]).astype(np.float32),
    'visual': np.stack([[_pixels(j) for j in e['visual']] for e in examples]),
    'label': np.array([e['label'] for e in examples], np.int32),
    'present': {
      m: np.array([e['present'][m] for e in examples], bool) for m in MODALITIES
    },
  }


def _pixels(jpeg: bytes) -> np.ndarray:
  return np.asarray(PIL.Image.open(io.BytesIO(jpeg)).convert('RGB'))
