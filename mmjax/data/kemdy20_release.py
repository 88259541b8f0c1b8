"""KEMDy20 from its files: Korean speech, and its transcripts (Noh and Jeong).

`prepare` reads the release of ETRI, or the folder that holds it:

  KEMDy20_v1_1/annotation/Sess01_eval.csv .. Sess40_eval.csv
  KEMDy20_v1_1/wav/Session01/Sess01_script01_User002M_001.wav, .txt

A .csv has two lines of header, then number, start, end, segment, emotion,
valence, arousal of all annotators together, then those of each. An emotion is
one of seven, or several of them with ';' between. Transcripts are in cp949;
UTF-8 is read too. Their marks of noise, such as `n/`, are kept.

Labels and split are those of `kemdy20`, which reads features: utterances with
one label are split 80/20 by class, in the order of sessions and lines, as the
work does it (RSA-CFN); neutral and one other join the training part as the
other; what else has several is left out. With validation_fraction=0 and all
files there, the split is the published one.
"""

import csv
import io
import pathlib
import re
from typing import NamedTuple

import numpy as np

from mmjax.data import _corpus, _kemdy20, _kinds, _labels, _render

_SEGMENT = re.compile(r'(Sess\d\d)_script\d\d_(User\d{3}[FM])_\d{3}')
_SHEETS = tuple(f'annotation/Sess{n:02}_eval.csv' for n in range(1, 41))
_ID, _EMOTION = 3, 4  # columns


def corpus(
  *,
  audio: str = 'waveform',
  seconds: float = 6.0,
  tokenizer: str = '',
  max_tokens: int = 128,
  label_transform: bool = True,
  split_by: str = 'entry',
  split_seed: int = 42,
  test_fraction: float = 0.2,
  validation_fraction: float = 0.1,
) -> _corpus.Corpus:
  """'speech' as `_kinds.audio` keeps it, 'text' `Ragged` i32[B, max_tokens].

  Args:
    audio: 'spectrogram', 'fbank' or 'waveform'.
    seconds: of sound, for 'spectrogram' and 'waveform'.
    tokenizer: a folder or file, or '' for bytes.
    max_tokens: of a text.
    label_transform: whether neutral + another joins training as the other.
    split_by: 'entry', as published, 'session' or 'speaker'.
    split_seed: of the draws; the published one is 42.
    test_fraction: of the utterances with one label, or of the groups.
    validation_fraction: of what is left; 0 = no validation.
  """
  if split_by not in ('entry', 'session', 'speaker'):
    raise ValueError(
      f"kemdy20_release: split_by={split_by!r}: 'entry', 'session' or "
      "'speaker'."
    )

  def draw(has_NC: np.ndarray, names: list[str]) -> _kemdy20.Drawn:
    groups = None
    if split_by != 'entry':
      of = 1 if split_by == 'session' else 2
      groups = np.array([_parsed(name)[of] for name in names])
    return _kemdy20.draw(
      has_NC,
      groups,
      transform=label_transform,
      test=test_fraction,
      validation=validation_fraction,
      seed=split_seed,
    )

  return _corpus.Corpus(
    name='kemdy20_release',
    version='1.0.0',
    class_names=_kemdy20.CLASS_NAMES,
    kinds={
      'speech': _kinds.audio(audio, seconds=seconds),
      'text': _kinds.text(tokenizer, max_tokens),
    },
    scan=lambda raw: _scan(raw, draw),
    render=render,
    draw=_corpus.Draw('entry', 0.0, 0.0, split_seed),
    reading=('tokenizer', 'max_tokens'),
  )


make, prepare = _corpus.faces(corpus)


class _Row(NamedTuple):
  """A line of a sheet."""

  name: str
  emotion: str


def _scan(raw: pathlib.Path, draw) -> _corpus.Found:
  root = raw / 'KEMDy20_v1_1'
  root = root if root.is_dir() else raw
  _corpus.require(root, [*_SHEETS, 'wav'])
  skipped: dict[str, str] = {}
  names, flags = [], []
  for sheet in _SHEETS:
    rows = _rows(root / sheet, skipped)
    names += [row.name for row in rows]
    flags.append(_flags(root / sheet, rows))
  drawn = draw(np.concatenate(flags), names)
  entries: dict[str, _corpus.Entry] = {}
  for i, name in enumerate(names):
    if name in entries or name in skipped:
      skipped[f'{name}, line {i} of all'] = 'its name is taken'
    elif drawn.part[i] < 0:
      skipped[name] = 'has several emotions'
    else:
      _, session, speaker = _parsed(name)
      home = root / 'wav' / f'Session{session[4:]}'
      parts = _parts(home, name)
      if parts is None:
        skipped[name] = 'its text is neither in UTF-8 nor in cp949'
        continue
      split = _labels.SPLITS[drawn.part[i]]
      entries[name] = _corpus.Entry(int(drawn.label[i]), parts, split, speaker)
  for file in sorted(root.glob('wav/Session*/*.wav')):
    if file.stem not in entries:
      skipped.setdefault(file.stem, 'is in no list')
  return _corpus.Found(entries, skipped)


def _parsed(name: str) -> tuple[str, str, str]:
  """(name, session, speaker) of a segment."""
  match = _SEGMENT.fullmatch(name)
  assert match, name
  return name, match[1], f'{match[1]}_{match[2]}'


def _rows(sheet: pathlib.Path, skipped: dict[str, str]) -> list[_Row]:
  content = _decoded(sheet)
  if content is None:
    raise ValueError(f'{sheet} is neither in UTF-8 nor in cp949.')
  lines = csv.reader(io.StringIO(content, newline=''))
  rows = []
  for number, fields in enumerate(lines, start=1):
    if number <= 2 or not any(field.strip() for field in fields):
      continue
    if len(fields) <= _EMOTION or not _SEGMENT.fullmatch(fields[_ID].strip()):
      raise ValueError(
        f'{sheet}, line {number}: its fourth column is not a segment such as '
        f'Sess01_script01_User002M_001, but {fields[_ID : _ID + 1]}.'
      )
    row = _Row(fields[_ID].strip(), fields[_EMOTION].strip())
    if row.emotion:
      rows.append(row)
    else:
      skipped[row.name] = 'has no emotion'
  return rows


def _flags(sheet: pathlib.Path, rows: list[_Row]) -> np.ndarray:
  emotions = np.array([row.emotion for row in rows], 'U')
  try:
    return _kemdy20.flags(emotions)
  except ValueError as error:
    raise ValueError(
      f'{sheet}, counting from its third line: {error}'
    ) from None


def _parts(home: pathlib.Path, name: str) -> dict[str, _kinds.Part] | None:
  """What an utterance has; None if nobody can read its text."""
  sound, words = home / f'{name}.wav', home / f'{name}.txt'
  parts = {'speech': _kinds.Part(sound)} if sound.is_file() else {}
  if words.is_file():
    text = _decoded(words)
    if text is None:
      return None
    parts['text'] = _kinds.Part(texts=(text.strip(),))
  return parts


def _decoded(file: pathlib.Path) -> str | None:
  """UTF-8 first: Korean of cp949 is never that, but the reverse may be."""
  content = file.read_bytes()
  for encoding in ('utf-8-sig', 'cp949'):
    try:
      return content.decode(encoding)
    except UnicodeDecodeError:
      continue
  return None


def render(folder: pathlib.Path) -> None:
  """Forty sessions of two utterances."""
  known = ('neutral', 'happy', 'angry', 'disqust')
  said = (
    *(*known, 'neutral', 'happy'),
    *('neutral;happy', 'happy;angry', 'neutral;angry'),
  )
  root = folder / 'KEMDy20_v1_1'
  for session in range(1, 41):
    lines = [
      'Numb,Wav, ,Segment ID,Total Evaluation, .1, .2,Eval01F, .3, .4',
      ' ,Start,End, ,Emotion,Valence,Arousal,Emotion,Valence,Arousal',
    ]
    for number in range(1, 3):
      emotion = said[(2 * session + number) % len(said)]
      name = f'Sess{session:02}_script01_User{session:03}{"FM"[number % 2]}'
      name = f'{name}_{number:03}'
      lines.append(
        f'{number},{number}.0,{number}.4,{name},{emotion},3.1,2.9,{emotion},3,3'
      )
      label = known.index(emotion.rpartition(';')[2])
      draw = _render.rng(session, number)
      home = root / 'wav' / f'Session{session:02}'
      _render.write_wav(
        home / f'{name}.wav', _render.sound(label, draw, seconds=0.3)
      )
      words = f'n/ 네 {_render.sentence(label, draw)}.\n'
      _render.write(home / f'{name}.txt', words.encode('cp949'))
    _render.write(root / _SHEETS[session - 1], '\r\n'.join([*lines, '']))
