"""IEMOCAP as features: the pickle file that DialogueRNN and MMGCN read.

`prepare` reads it from the raw folder, without running it (`_pickle`):

  raw_dir/IEMOCAP_features.pkl

a tuple of nine: videoIDs, videoSpeakers, videoLabels, videoText, videoAudio,
videoVisual, videoSentence, each {dialogue: one for each of its utterances},
then trainVid and testVid, the dialogues of the two parts. Labels are 0 to 5:
happy, sad, neutral, angry, excited, frustrated. There are 7,433 utterances of
151 dialogues, 120 for training (5,810) and 31 for test (1,623, the fifth
session).

Examples are utterances, a vector per modality. DialogueRNN's file has 100
numbers of text, 100 of sound and 512 of picture; others of that name have other
widths (MMGCN's 1582 of sound, 342 of picture), which are said by the arguments.
The file has no validation part, and many works choose their epoch by the test
set; here a tenth of the training dialogues is held out.
"""

import pathlib
import pickle
from collections.abc import Mapping
from typing import Any

import numpy as np

from mmjax import _pickle
from mmjax.data import _corpus, _kinds, _render

CLASS_NAMES = ('happy', 'sad', 'neutral', 'angry', 'excited', 'frustrated')
_FIELDS = {'text': 3, 'audio': 4, 'visual': 5}  # places in the tuple
_IDS, _SPEAKERS, _LABELS, _SENTENCES, _TRAIN, _TEST = 0, 1, 2, 6, 7, 8


def corpus(
  *,
  file: str = 'IEMOCAP_features.pkl',
  text_width: int = 100,
  audio_width: int = 100,
  visual_width: int = 512,
  split_seed: int = 0,
  validation_fraction: float = 0.1,
) -> _corpus.Corpus:
  """'text' f32[B, text_width], 'audio' f32[B, audio_width] and
  'visual' f32[B, visual_width].

  Args:
    file: its name in the raw folder.
    text_width: numbers of a text.
    audio_width: numbers of a sound.
    visual_width: numbers of a picture.
    split_seed: of the drawn validation part.
    validation_fraction: of the training dialogues.
  """
  widths = {'text': text_width, 'audio': audio_width, 'visual': visual_width}
  return _corpus.Corpus(
    name='iemocap_features',
    version='1.0.0',
    class_names=CLASS_NAMES,
    kinds={m: _kinds.array((width,)) for m, width in widths.items()},
    scan=lambda raw: _scan(raw, file, widths),
    render=lambda folder: render(folder, file, widths),
    draw=_corpus.Draw('group', 0.0, validation_fraction, split_seed),
  )


make, prepare = _corpus.faces(corpus)


def _scan(
  raw: pathlib.Path, file: str, widths: Mapping[str, int]
) -> _corpus.Found:
  _corpus.require(raw, [file])
  path = raw / file
  content = _pickle.load(path)
  if not _is_release(content):
    raise ValueError(
      f'{path} is not the tuple of nine that DialogueRNN and MMGCN read '
      '(videoIDs, videoSpeakers, .., trainVid, testVid).'
    )
  parts = {d: 'train' for d in content[_TRAIN]}
  both = sorted(d for d in content[_TEST] if d in parts)
  if both:
    raise ValueError(f'{path}: dialogue {both[0]!r} is of both parts.')
  parts |= {d: 'test' for d in content[_TEST]}
  entries: dict[str, _corpus.Entry] = {}
  skipped = {
    str(d): 'is not in the file' for d in parts if d not in content[_IDS]
  }
  for dialogue, names in content[_IDS].items():
    if dialogue not in parts:
      skipped[str(dialogue)] = 'is in no list'
      continue
    values = {
      m: _values(path, content[place], dialogue, m, (len(names), widths[m]))
      for m, place in _FIELDS.items()
    }
    labels = _of(path, content[_LABELS], dialogue, len(names), 'i8')
    for i, name in enumerate(map(str, names)):
      if name in entries:
        skipped[f'{name} of {dialogue}, {i}'] = 'its name is taken'
        continue
      entries[name] = _corpus.Entry(
        int(labels[i]),
        {m: _kinds.Part(value=x_ND[i]) for m, x_ND in values.items()},
        parts[dialogue],
        str(dialogue),
      )
  return _corpus.Found(entries, skipped)


def _is_release(content: Any) -> bool:
  return (
    isinstance(content, tuple)
    and len(content) == 9
    and all(isinstance(field, dict) for field in content[:_TRAIN])
    and all(
      isinstance(part, list | set | tuple)
      and all(isinstance(dialogue, str) for dialogue in part)
      for part in content[_TRAIN:]
    )
  )


def _of(
  path: pathlib.Path, field: Any, dialogue: Any, count: int, dtype: str
) -> np.ndarray:
  """What a field says of a dialogue, [count, ..], of each utterance."""
  if dialogue not in field or len(field[dialogue]) != count:
    held = len(field[dialogue]) if dialogue in field else 'nothing'
    raise ValueError(
      f'{path}: of dialogue {dialogue!r} with {count} utterances, a field has '
      f'{held}.'
    )
  try:
    return np.asarray(field[dialogue], dtype)
  except (TypeError, ValueError) as error:
    raise ValueError(
      f'{path}: what it has of dialogue {dialogue!r} are no numbers, or not as '
      f'many for each utterance: {error}'
    ) from None


def _values(
  path: pathlib.Path, field: Any, dialogue: Any, m: str, shape: tuple[int, int]
) -> np.ndarray:
  """The features of a dialogue, f32[N, D]."""
  x_ND = _of(path, field, dialogue, shape[0], 'f4')
  if x_ND.ndim != 2 or x_ND.shape[1] != shape[1]:
    raise ValueError(
      f'{path}: the features of {m} have {x_ND.shape[-1]} numbers, not '
      f'{shape[1]}: give {m}_width={x_ND.shape[-1]}.'
    )
  return x_ND


def render(folder: pathlib.Path, file: str, widths: Mapping[str, int]) -> None:
  """Eight dialogues, two for test, in which both say each emotion once."""
  fields: list[dict[str, Any]] = [{} for _ in range(7)]
  parts: tuple[list[str], list[str]] = [], []
  for number in range(8):
    dialogue = f'Ses0{1 + number % 4}F_impro{1 + number // 4:02}'
    if number >= 6:
      dialogue = f'Ses05M_impro{number:02}'
    parts[number >= 6].append(dialogue)
    labels = [label for label in range(len(CLASS_NAMES)) for _ in 'FM']
    sexes = [*('FM' * len(CLASS_NAMES))]
    fields[_IDS][dialogue] = [
      f'{dialogue}_{sex}{i:03}' for i, sex in enumerate(sexes)
    ]
    fields[_SPEAKERS][dialogue] = sexes
    fields[_LABELS][dialogue] = labels
    draw = _render.rng(number)
    for m, place in _FIELDS.items():
      fields[place][dialogue] = [
        _render.motion(label, draw, 1, widths[m])[0] for label in labels
      ]
    fields[_SENTENCES][dialogue] = [
      f'{_render.sentence(label, draw)}.' for label in labels
    ]
  _render.write(folder / file, pickle.dumps((*fields, *parts), protocol=2))
