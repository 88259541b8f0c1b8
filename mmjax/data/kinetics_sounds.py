"""Kinetics-Sounds: 31 classes of Kinetics-400 that are seen and heard.

Arandjelovic and Zisserman (2017) chose 34 classes; 31 are left by the names of
Kinetics-400. The videos, and one of these three ways to say which they are:

  raw_dir/my_train.txt, my_test.txt   the lists of OGM-GE, as MLA and others use
                                      them: ID_000058_000068,10,4 in training,
                                      ID_58,10,4 in test; the class by number
  raw_dir/[annotations/]*.csv         Kinetics' own, with the header
                                      label,youtube_id,time_start,time_end,split
  raw_dir/**/train/CLASS/*.mp4        no list: the folders say it, also val/
                                      and test/

  raw_dir/**/ID_000058_000068.mp4     the clips, in folders of classes or not;
                                      ID.mp4 does too

The test list of OGM-GE is of Kinetics' test part (14,799 and 2,597 clips, of
which many are gone). Neither has a validation split: a tenth of training is
drawn. OGM-GE takes frames at 1 a second and chooses 3 of them at random to
train; here, they lie evenly.
"""

import csv
import pathlib
import re
from typing import NamedTuple

from mmjax.data import _corpus, _kinds, _render

CLASS_NAMES = (
  *('blowing nose', 'blowing out candles', 'bowling', 'chopping wood'),
  *('dribbling basketball', 'laughing', 'mowing lawn', 'playing accordion'),
  *('playing bagpipes', 'playing bass guitar', 'playing clarinet'),
  *('playing drums', 'playing guitar', 'playing harmonica'),
  *('playing keyboard', 'playing organ', 'playing piano', 'playing saxophone'),
  *('playing trombone', 'playing trumpet', 'playing violin'),
  *('playing xylophone', 'ripping paper', 'shoveling snow', 'shuffling cards'),
  *('singing', 'stomping grapes', 'tap dancing', 'tapping guitar'),
  *('tapping pen', 'tickling'),
)  # in the order of OGM-GE's numbers
_CLIP = re.compile(r'([\w-]{11})(?:_(\d+)(?:_\d+)?)?')
_SUFFIXES = ('.mp4', '.mkv', '.webm', '.avi')
_VALIDATION = ('val', 'validate', 'validation')  # Kinetics has had all of them

Key = tuple[str, int | None]  # the video, and the second where the clip begins


class _Row(NamedTuple):
  label: int
  split: str


class _Lists(NamedTuple):
  rows: dict[Key, _Row]
  others: set[str]  # videos that are listed and not wanted


def corpus(
  *,
  audio: str = 'fbank',
  seconds: float = 10.0,
  frames: int = 3,
  size: int = 256,
  test_from: str = 'test',
  split_seed: int = 0,
  validation_fraction: float = 0.1,
) -> _corpus.Corpus:
  """'audio' as `_kinds.audio` keeps it, 'visual' u8[B, frames, size, size, 3].

  Args:
    audio: 'spectrogram', 'fbank' or 'waveform'.
    seconds: of sound, for 'spectrogram' and 'waveform'.
    frames: of each clip.
    size: pixels a side of the stored frames.
    test_from: the part of Kinetics that is tested on, where Kinetics' lists or
      folders say the split: 'test', or 'val', which leaves its test part out.
    split_seed: of the validation split, where it is drawn.
    validation_fraction: of the training clips of each class.
  """
  if test_from not in ('test', 'val'):
    raise ValueError(
      f"kinetics_sounds: test_from={test_from!r}: 'test' or 'val' it is."
    )
  return _corpus.Corpus(
    name='kinetics_sounds',
    version='1.0.0',
    class_names=CLASS_NAMES,
    kinds={
      'audio': _kinds.audio(audio, seconds=seconds),
      'visual': _kinds.frames(frames, size),
    },
    scan=lambda raw: _scan(raw, test_from),
    render=render,
    draw=_corpus.Draw('entry', 0.0, validation_fraction, split_seed),
  )


make, prepare = _corpus.faces(corpus)


def _scan(raw: pathlib.Path, test_from: str) -> _corpus.Found:
  files = _files(raw)
  parts = {'train': 'train', 'test': 'test' if test_from == 'test' else ''}
  validation = 'validation' if test_from == 'test' else 'test'
  parts |= dict.fromkeys(_VALIDATION, validation)
  lists = _numbered(raw) or _published(raw, parts) or _folders(files, parts)
  entries, skipped, used = {}, {}, set()
  for (video, start), row in lists.rows.items():
    name = video if start is None else f'{video}_{start:06}'
    file = files.get((video, start)) or files.get((video, None))
    if not file:
      skipped[name] = 'is not in the folder'
      continue
    used.add(file)
    part = _kinds.Part(file)
    both = {'audio': part, 'visual': part}
    entries[name] = _corpus.Entry(row.label, both, row.split)
  for (video, _), file in files.items():
    foreign = _class(file) is None and file.parent.parent.name in parts
    if file not in used and video not in lists.others and not foreign:
      skipped[file.name] = 'is in no list'
  return _corpus.Found(entries, skipped)


def _files(raw: pathlib.Path) -> dict[Key, pathlib.Path]:
  """The clips; of two, the one that Kinetics' hosts give for a broken one."""
  files = {}
  for file in sorted(raw.rglob('*')):
    match = _CLIP.fullmatch(file.stem)
    if not match or file.suffix.lower() not in _SUFFIXES:
      continue
    key = match[1], int(match[2]) if match[2] else None
    if key not in files or file.parent.name.startswith('replacement'):
      files[key] = file
  return files


def _class(file: pathlib.Path) -> int | None:
  name = file.parent.name.replace('_', ' ')
  return CLASS_NAMES.index(name) if name in CLASS_NAMES else None


def _numbered(raw: pathlib.Path) -> _Lists | None:
  """OGM-GE's lists: name, number of frames, number of the class."""
  rows: dict[Key, _Row] = {}
  for split in ('train', 'test'):
    for path in sorted(raw.glob(f'*{split}*.txt')):
      for number, line in enumerate(path.read_text().splitlines(), start=1):
        fields = [f for f in re.split(r'[,\s]+', line.strip()) if f]
        if not fields:
          continue
        match = _CLIP.fullmatch(pathlib.PurePath(fields[0]).stem)
        known = fields[-1].isdecimal() and int(fields[-1]) < len(CLASS_NAMES)
        place = f'{path}, line {number}'
        if not match or len(fields) < 2 or not known:
          raise ValueError(
            f'{place}: {line!r} is not VIDEO_START,FRAMES,CLASS with a class '
            f'from 0 to {len(CLASS_NAMES) - 1}.'
          )
        start = int(match[2]) if match[2] else None
        _add(rows, (match[1], start), _Row(int(fields[-1]), split), place)
  return _Lists(rows, set()) if rows else None


def _published(raw: pathlib.Path, parts: dict[str, str]) -> _Lists | None:
  """Kinetics' own lists, of all of its classes."""
  rows: dict[Key, _Row] = {}
  others = set()
  for path in sorted([*raw.glob('*.csv'), *raw.glob('annotations/*.csv')]):
    with path.open(encoding='utf-8-sig', newline='') as file:
      reader = csv.DictReader(file)
      if not {'label', 'youtube_id', 'split'} <= {*(reader.fieldnames or ())}:
        continue  # Kinetics' test list was once without labels
      for line in reader:
        place, part = f'{path}, line {reader.line_num}', line['split']
        if part not in parts:
          raise ValueError(f'{place}: {part!r} is no split of Kinetics.')
        if line['label'] not in CLASS_NAMES or not parts[part]:
          others.add(line['youtube_id'])
          continue
        start = _second(line.get('time_start') or '', place)
        row = _Row(CLASS_NAMES.index(line['label']), parts[part])
        _add(rows, (line['youtube_id'], start), row, place)
  return _Lists(rows, others) if rows or others else None


def _second(text: str, place: str) -> int | None:
  try:
    return int(float(text)) if text else None
  except ValueError:
    raise ValueError(f'{place}: time_start={text!r} is no number.') from None


def _add(rows: dict[Key, _Row], key: Key, row: _Row, place: str) -> None:
  before = rows.setdefault(key, row)
  if before != row:
    raise ValueError(
      f'{place}: {key[0]} is {CLASS_NAMES[row.label]!r} of {row.split} here, '
      f'{CLASS_NAMES[before.label]!r} of {before.split} before.'
    )


def _folders(files: dict[Key, pathlib.Path], parts: dict[str, str]) -> _Lists:
  """Without a list: .../train/CLASS/ID_000058_000068.mp4."""
  rows, others = {}, set()
  for key, file in files.items():
    label, part = _class(file), file.parent.parent.name
    if label is not None and parts.get(part):
      rows[key] = _Row(label, parts[part])
    elif part in parts:
      others.add(key[0])
  return _Lists(rows, others)


def render(folder: pathlib.Path, classes: tuple[int, ...] = (4, 8, 25)) -> None:
  """Six clips to train and two to test, of each of three classes."""
  for split, count in (('train', 6), ('test', 2)):
    lines = []
    for label in classes:
      for i in range(count):
        draw = _render.rng(label, i, count)
        video, start = _render.youtube_id(draw), int(draw.integers(300))
        name = f'{video}_{start:06}_{start + 10:06}'
        x_T = _render.sound(label, draw, seconds=0.6)
        images = _render.film(label, draw, seconds=0.6, size=(64, 48))
        home = folder / split / CLASS_NAMES[label]
        _render.write_video(home / f'{name}.mp4', images, x_T)
        listed = name if split == 'train' else f'{video}_{start}'
        lines.append(f'{listed},10,{label}\n')
    _render.write(folder / f'my_{split}.txt', ''.join(sorted(lines)))
