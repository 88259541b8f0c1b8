"""IEMOCAP: five sessions of two actors who talk (Busso et al., 2008).

`prepare` reads the full release, or the folder that holds it:

  IEMOCAP_full_release/Session1/sentences/wav/Ses01F_impro01/
                                              Ses01F_impro01_F000.wav
  IEMOCAP_full_release/Session1/dialog/transcriptions/Ses01F_impro01.txt
  IEMOCAP_full_release/Session1/dialog/EmoEvaluation/Ses01F_impro01.txt
  IEMOCAP_full_release/Session1/dialog/avi/DivX/Ses01F_impro01.avi

An utterance is a line of EmoEvaluation, `[start - end] name emotion [v, a, d]`.
Its sound is its own file, its words are the line of that name, its picture is
these seconds of the dialogue. The film shows both actors side by side in the
middle half of its height: on the left the one who wears the markers, who is the
letter behind the session in the name of the dialogue. (Two public programs cut
it so, one has women on the left; the release could not be looked at.)

Four classes (5,531 utterances with excited as happy) or six (7,380). Others are
left out. No split is published: here one session is the test set and another
validation; split_by='entry' is the draw of 60/20/20 that MLA's numbers are
from, in which the same people and dialogues are on all sides.
"""

import pathlib
from collections.abc import Mapping
from typing import NamedTuple

from mmjax.data import _corpus, _iemocap, _kinds

FOUR = ('neutral', 'angry', 'sad', 'happy')
SIX = ('happy', 'sad', 'neutral', 'angry', 'excited', 'frustrated')
MODALITIES = ('audio', 'visual', 'text')
_LEFT, _RIGHT = (0.0, 0.25, 0.5, 0.75), (0.5, 0.25, 1.0, 0.75)


def corpus(
  *,
  classes: int = 4,
  excited: str = 'happy',
  modalities: tuple[str, ...] = MODALITIES,
  audio: str = 'fbank',
  seconds: float = 8.0,
  frames: int = 3,
  size: int = 256,
  half: bool = True,
  tokenizer: str = '',
  max_tokens: int = 128,
  split_by: str = 'session',
  test_session: int = 5,
  split_seed: int = 0,
  test_fraction: float = 0.2,
  validation_fraction: float = 0.25,
) -> _corpus.Corpus:
  """'audio' as `_kinds.audio` keeps it, 'visual' u8[B, frames, size, size, 3],
  'text' `Ragged` i32[B, max_tokens].

  Args:
    classes: 4 or 6.
    excited: of 4 classes, 'happy' counts it as that, 'drop' leaves it out.
    modalities: which of the three.
    audio: 'spectrogram', 'fbank' or 'waveform'.
    seconds: of sound, for 'spectrogram' and 'waveform'.
    frames: of each utterance.
    size: pixels a side of the stored frames.
    half: the half of the film that shows the speaker; False: all of it.
    tokenizer: a folder or file, or '' for bytes.
    max_tokens: of a text.
    split_by: 'session', 'speaker' or 'entry', by utterance.
    test_session: the session that is the test set, unless split_by='entry'.
    split_seed: of what is drawn.
    test_fraction: of the utterances, where split_by='entry'.
    validation_fraction: of what is left: sessions, speakers or utterances.
  """
  asked = _Asked(tuple(modalities), half, split_by, test_session)
  _check(asked)
  names, label_of = _classes(classes, excited)
  kinds = {
    'audio': _kinds.audio(audio, seconds=seconds),
    'visual': _kinds.frames(frames, size),
    'text': _kinds.text(tokenizer, max_tokens),
  }
  by = 'entry' if split_by == 'entry' else 'group'
  return _corpus.Corpus(
    name='iemocap',
    version='1.0.0',
    class_names=names,
    kinds={m: kinds[m] for m in modalities},
    scan=lambda raw: _scan(raw, label_of, asked),
    render=_iemocap.render,
    draw=_corpus.Draw(by, test_fraction, validation_fraction, split_seed),
    reading=('tokenizer', 'max_tokens'),
  )


make, prepare = _corpus.faces(corpus)


class _Asked(NamedTuple):
  modalities: tuple[str, ...]
  half: bool
  split_by: str
  test_session: int


def _check(asked: _Asked) -> None:
  if not asked.modalities or not set(asked.modalities) <= set(MODALITIES):
    raise ValueError(
      f'iemocap: modalities={asked.modalities}: some of {MODALITIES}.'
    )
  if asked.split_by not in ('session', 'speaker', 'entry'):
    raise ValueError(
      f"iemocap: split_by={asked.split_by!r}: 'session', 'speaker' or 'entry'."
    )
  if asked.test_session not in range(1, 6):
    raise ValueError(
      f'iemocap: test_session={asked.test_session} must be 1 to 5.'
    )


def _classes(
  count: int, excited: str
) -> tuple[tuple[str, ...], dict[str, int]]:
  """Names of the classes, and {code of an emotion: its class}."""
  if count not in (4, 6) or excited not in ('happy', 'drop'):
    raise ValueError(
      f"iemocap: classes={count} must be 4 or 6, excited={excited!r} 'happy' "
      "or 'drop'."
    )
  names = FOUR if count == 4 else SIX
  called = dict(_iemocap.CODES)
  if count == 4 and excited == 'happy':
    called['exc'] = 'happy'
  return names, {c: names.index(n) for c, n in called.items() if n in names}


def _scan(
  raw: pathlib.Path, label_of: Mapping[str, int], asked: _Asked
) -> _corpus.Found:
  root = raw / 'IEMOCAP_full_release'
  root = root if root.is_dir() else raw
  folders = [_iemocap.FOLDERS[m] for m in ('label', *asked.modalities)]
  _corpus.require(
    root, [f'Session{n}/{folder}' for n in range(1, 6) for folder in folders]
  )
  entries, skipped = {}, {}
  for sheet in sorted(root.glob(f'Session*/{_iemocap.FOLDERS["label"]}/*.txt')):
    dialog = _iemocap.DIALOG.fullmatch(sheet.stem)
    if not dialog:  # macOS' own files are in the release
      skipped[sheet.name] = 'the name is not one of a dialogue'
      continue
    session, marked = dialog.groups()
    words = _iemocap.words(_file(root, 'text', sheet.stem, '.txt'))
    for name, code, span in _iemocap.labels(sheet):
      sex = name.rpartition('_')[2][0]
      if code not in label_of:
        skipped[name] = f'{code} is none of the classes'
        continue
      box = _LEFT if sex == marked else _RIGHT
      parts = _parts(root, sheet.stem, name, span, box if asked.half else None)
      if name in words:
        parts['text'] = _kinds.Part(texts=(words[name],))
      split = 'test' if session == str(asked.test_session) else 'train'
      entries[name] = _corpus.Entry(
        label_of[code],
        {m: parts[m] for m in asked.modalities if m in parts},
        '' if asked.split_by == 'entry' else split,
        session if asked.split_by == 'session' else f'{session}{sex}',
      )
  for file in root.glob(f'Session*/{_iemocap.FOLDERS["audio"]}/Ses*/Ses*.wav'):
    if file.stem not in entries:
      skipped.setdefault(file.stem, 'is in no list')
  return _corpus.Found(entries, skipped)


def _parts(
  root: pathlib.Path, dialog: str, name: str, span, box
) -> dict[str, _kinds.Part]:
  """The sound and the film of an utterance, as far as there are files."""
  sound = _file(root, 'audio', f'{dialog}/{name}', '.wav')
  film = _file(root, 'visual', dialog, '.avi')
  parts = {'audio': _kinds.Part(sound), 'visual': _kinds.Part(film, span, box)}
  return {m: p for m, p in parts.items() if p.file and p.file.is_file()}


def _file(root: pathlib.Path, what: str, name: str, suffix: str):
  session = f'Session{name[4]}'
  return root / session / _iemocap.FOLDERS[what] / f'{name}{suffix}'
