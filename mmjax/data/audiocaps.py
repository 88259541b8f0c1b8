"""AudioCaps: ten seconds of AudioSet and their captions (Kim et al., 2019).

`prepare` reads the released tables, and the sounds as those who fetch them from
YouTube name them; each of these may lie in a folder of raw_dir as well:

  raw_dir/train.csv, val.csv, test.csv
                  audiocap_id,youtube_id,start_time,caption
  raw_dir/<train, val, test>/<name>.wav
                  or .flac, .mp3, .ogg, .opus, .m4a

<name> is the audiocap_id of any caption of the sound, or the youtube_id, with
or without a Y before and the start after it: <youtube_id>_<start>, <youtube_id>
_<start>_<end>, in seconds or in milliseconds. The files are the ten seconds,
not the whole video.

Splits are the tables': 49,838 / 495 / 975 sounds, of one caption in training
and of five in validation and test. A table has a line per caption; those of one
youtube_id and start_time are one sound's. An example is a sound with one of its
captions; there are no classes. Many of the videos are gone: sounds that are not
in the folder are left out and counted.
"""

import csv
import io
import pathlib
import re
from typing import NamedTuple

from mmjax.data import _captions, _corpus, _kinds, _raw, _render

_SPLITS = {'train': 'train', 'val': 'validation', 'test': 'test'}
_COLUMNS = ('audiocap_id', 'youtube_id', 'start_time', 'caption')
_SOUNDS = ('.wav', '.flac', '.mp3', '.ogg', '.opus', '.m4a')
_NUMBER = r'(\d+)(?:\.\d+)?'
_NAME = re.compile(rf'Y?([\w-]{{11}})(?:_{_NUMBER}(?:[_-]{_NUMBER})?)?', re.A)


def corpus(
  *,
  audio: str = 'fbank',
  seconds: float = 10.0,
  tokenizer: str = '',
  max_tokens: int = 128,
) -> _corpus.Corpus:
  """'audio' as `_kinds.audio` keeps it, 'text' `Ragged` i32[B, max_tokens].

  Args:
    audio: 'spectrogram', 'fbank' or 'waveform'.
    seconds: of sound, for 'spectrogram' and 'waveform'.
    tokenizer: '' for bytes, else a tokenizer's file or folder.
    max_tokens: of a caption; what is longer is cut.
  """
  return _captions.corpus(
    'audiocaps',
    'audio',
    _kinds.audio(audio, seconds=seconds),
    scan=_scan,
    render=render,
    tokenizer=tokenizer,
    max_tokens=max_tokens,
  )


make, prepare = _corpus.faces(corpus)


class _Sound(NamedTuple):
  """What a table says of a sound, over all of its lines."""

  ids: list[str]
  captions: list[str]


def _scan(raw: pathlib.Path) -> _corpus.Found:
  tables = _raw.find(raw, *(f'{split}.csv' for split in _SPLITS))
  homes = _raw.find(raw, *_SPLITS)
  found = _corpus.Found({}, {})
  for path, home, (name, split) in zip(tables, homes, _SPLITS.items()):
    files = [f for f in home.iterdir() if f.suffix.lower() in _SOUNDS]
    index = _index(sorted(files))
    unused = {f.name for f in files}
    count = 1 if split == 'train' else _captions.COUNT
    for (video, start), sound in _sounds(path).items():
      names = [
        *((i,) for i in sound.ids),
        *((video, start), (video, start * 1000), (video, None)),
      ]
      hits = [index[n] for n in names if n in index]
      unused -= {hit.name for hit in hits}
      part = ('audio', hits[0] if hits else None)
      clip = f'{video}_{start}'
      _captions.add(found, clip, split, part, sound.captions, count)
    found.skipped.update(
      {f'{name}/{f}': 'is in no list' for f in sorted(unused)}
    )
  return found


def _sounds(path: pathlib.Path) -> dict[tuple[str, int], _Sound]:
  """{(youtube_id, start_time): its sound}."""
  sounds: dict[tuple[str, int], _Sound] = {}
  for number, row in _raw.table(path, _COLUMNS):
    try:
      key = row['youtube_id'], int(float(row['start_time']))
    except ValueError as error:
      raise ValueError(
        f'{path}, line {number}: start_time={row["start_time"]!r} is no number.'
      ) from error
    sound = sounds.setdefault(key, _Sound([], []))
    sound.ids.append(row['audiocap_id'])
    sound.captions.append(row['caption'])
  return sounds


def _index(files: list[pathlib.Path]) -> dict[tuple, pathlib.Path]:
  """Files by (their stem,), and by (youtube_id, start or None)."""
  index: dict[tuple, pathlib.Path] = {}
  for file in files:
    index.setdefault((file.stem,), file)
    match = _NAME.fullmatch(file.stem)
    if match:
      start = int(match[2]) if match[2] else None
      index.setdefault((match[1], start), file)
  return index


def render(folder: pathlib.Path) -> None:
  """Sounds named by audiocap_id: one for each caption, as downloaders do."""
  number = 91139
  for name, split in _SPLITS.items():
    count = 1 if split == 'train' else _captions.COUNT
    rows = []
    for i in range(12 if split == 'train' else 6):
      draw = _render.rng(len(name), i)
      x_T = _render.sound(i % 8, draw, seconds=0.5)
      video = _render.youtube_id(draw)
      for _ in range(count):
        caption = f'{_render.sentence(i % 8, draw)}, once'
        rows.append((number, video, 10 * i, caption))
        _render.write_wav(folder / name / f'{number}.wav', x_T)
        number += 1
    # The captions of a sound do not stand together.
    rows = [r for n in range(count) for r in rows[n::count]]
    with io.StringIO() as file:
      csv.writer(file).writerows([_COLUMNS, *rows])
      _render.write(folder / f'{name}.csv', file.getvalue())
