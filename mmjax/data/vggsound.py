"""VGGSound: ten seconds each of 309 sounds whose source is seen.

Chen, Xie, Vedaldi and Zisserman (2020). The list as published, and the videos,
which are downloaded from YouTube, in any folder below:

  raw_dir/[data/]vggsound.csv       ---g-f_I2yQ,1,people marching,test
                                    VIDEO, START second, CLASS, SPLIT; no header,
                                    classes that hold a comma in quotes
  raw_dir/**/---g-f_I2yQ_000001.mp4 VIDEO_START, six digits; downloaders that
                                    write VIDEO_1000_11000.mp4, milliseconds, or
                                    VIDEO_1_11.mp4 do too

The classes are those of the list, sorted, also where clips of it are missing:
about 184,000 of training and 15,000 of test, of which many are gone from
YouTube. No validation split is published: a tenth of training is drawn.

OGM-GE hears a random 5 seconds at 16 kHz and sees 3 frames of those at 1 a
second. Here, it is what `audio` says of the beginning, and frames lie evenly.
"""

import csv
import pathlib
import re
from collections.abc import Iterator

from mmjax.data import _corpus, _kinds, _render

_NAME = re.compile(r'([\w-]{11})_(\d+)(?:_(\d+))?')
_SUFFIXES = ('.mp4', '.mkv', '.webm')

Key = tuple[str, int]  # the video, and the second where the clip begins


def corpus(
  *,
  audio: str = 'fbank',
  seconds: float = 10.0,
  frames: int = 3,
  size: int = 256,
  split_seed: int = 0,
  validation_fraction: float = 0.1,
) -> _corpus.Corpus:
  """'audio' as `_kinds.audio` keeps it, 'visual' u8[B, frames, size, size, 3].

  Args:
    audio: 'spectrogram', 'fbank' or 'waveform'.
    seconds: of sound, for 'spectrogram' and 'waveform'.
    frames: of each clip.
    size: pixels a side of the stored frames.
    split_seed: of the validation split.
    validation_fraction: of the training clips of each class.
  """
  return _corpus.Corpus(
    name='vggsound',
    version='1.0.0',
    class_names=(),
    kinds={
      'audio': _kinds.audio(audio, seconds=seconds),
      'visual': _kinds.frames(frames, size),
    },
    scan=_scan,
    render=render,
    draw=_corpus.Draw('entry', 0.0, validation_fraction, split_seed),
  )


make, prepare = _corpus.faces(corpus)


def _scan(raw: pathlib.Path) -> _corpus.Found:
  path = next((p for p in _places(raw) if p.is_file()), None)
  if path is None:
    _corpus.require(raw, ['vggsound.csv'])
  assert path
  rows = {}
  for place, video, start, label, split in _rows(path):
    row = label, split
    if rows.setdefault((video, start), row) != row:
      raise ValueError(
        f'{place}: {video} from second {start} is {row} here and '
        f'{rows[video, start]} before.'
      )
  names = sorted({label for label, _ in rows.values()})
  number = {name: i for i, name in enumerate(names)}
  files = _files(raw)
  entries, skipped = {}, {}
  for (video, start), (label, split) in rows.items():
    name, file = f'{video}_{start:06}', files.pop((video, start), None)
    if file is None:
      skipped[name] = 'is not in the folder'
      continue
    part = _kinds.Part(file)
    both = {'audio': part, 'visual': part}
    entries[name] = _corpus.Entry(number[label], both, split)
  skipped |= {file.name: 'is in no list' for file in files.values()}
  return _corpus.Found(entries, skipped, names)


def _places(raw: pathlib.Path) -> tuple[pathlib.Path, ...]:
  return raw / 'vggsound.csv', raw / 'data' / 'vggsound.csv'


def _rows(path: pathlib.Path) -> Iterator[tuple[str, str, int, str, str]]:
  """(place, video, start, class, split) of every line."""
  with path.open(encoding='utf-8-sig', newline='') as file:
    reader = csv.reader(file)
    for line in reader:
      place = f'{path}, line {reader.line_num}'
      if not line or (reader.line_num == 1 and line[-1] == 'split'):
        continue  # some copies have been given a header
      if len(line) != 4 or not line[1].isdecimal() or not line[2]:
        raise ValueError(
          f'{place}: {",".join(line)!r} is not VIDEO,START,CLASS,SPLIT.'
        )
      if line[3] not in ('train', 'test'):
        raise ValueError(
          f"{place}: split {line[3]!r} is not 'train' or 'test'."
        )
      yield place, line[0], int(line[1]), line[2], line[3]


def _files(raw: pathlib.Path) -> dict[Key, pathlib.Path]:
  files: dict[Key, pathlib.Path] = {}
  for file in sorted(raw.rglob('*')):
    match = _NAME.fullmatch(file.stem)
    if not match or file.suffix.lower() not in _SUFFIXES:
      continue
    start, end = int(match[2]), int(match[3] or 0)
    if end - start >= 1000:  # no clip has so many seconds
      start //= 1000
    files.setdefault((match[1], start), file)
  return files


def render(folder: pathlib.Path) -> None:
  """Six clips to train and two to test of each of three classes, one missing."""
  classes = ('playing violin, fiddle', 'dog barking', 'raining')
  lines = []
  for label, name in enumerate(classes):
    for i in range(8):
      draw = _render.rng(label, i)
      video, start = _render.youtube_id(draw), int(draw.integers(300))
      x_T = _render.sound(label, draw, seconds=0.6)
      images = _render.film(label, draw, seconds=0.6, size=(64, 48))
      file = folder / 'video' / f'{video}_{start:06}.mp4'
      _render.write_video(file, images, x_T)
      quoted = f'"{name}"' if ',' in name else name
      lines.append(f'{video},{start},{quoted},{"train" if i < 6 else "test"}\n')
  lines.append('gone-fromYT,30,dog barking,train\n')
  _render.write(folder / 'vggsound.csv', ''.join(lines))
