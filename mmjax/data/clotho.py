"""Clotho: sounds of 15 to 30 seconds and their captions (Drossos et al., 2020).

`prepare` reads version 2 (or 2.1) as released, its archives unpacked; each of
these may lie in a folder of raw_dir as well:

  raw_dir/clotho_captions_development.csv   file_name,caption_1,..,caption_5
  raw_dir/clotho_captions_validation.csv
  raw_dir/clotho_captions_evaluation.csv
  raw_dir/development/*.wav, validation/*.wav, evaluation/*.wav

Splits are the release's, of 3,839 / 1,045 / 1,045 sounds: development is
'train', evaluation is 'test'. Files are named as on Freesound, with blanks at
the beginning, accents and other signs; where an archiver or a file system has
changed such a name, the file with the same letters and digits is taken. An
example is a sound with one of its captions, so a sound is heard in five; there
are no classes.
"""

import csv
import io
import pathlib
import re
import unicodedata

from mmjax.data import _captions, _corpus, _kinds, _raw, _render

_SPLITS = {
  'development': 'train',
  'validation': 'validation',
  'evaluation': 'test',
}
_CAPTIONS = tuple(f'caption_{i}' for i in range(1, _captions.COUNT + 1))


def corpus(
  *,
  audio: str = 'fbank',
  seconds: float = 30.0,
  tokenizer: str = '',
  max_tokens: int = 128,
) -> _corpus.Corpus:
  """'audio' as `_kinds.audio` keeps it, 'text' `Ragged` i32[B, max_tokens].

  Args:
    audio: 'spectrogram', 'fbank' (the first 10 seconds) or 'waveform'.
    seconds: of sound, for 'spectrogram' and 'waveform'.
    tokenizer: '' for bytes, else a tokenizer's file or folder.
    max_tokens: of a caption; what is longer is cut.
  """
  return _captions.corpus(
    'clotho',
    'audio',
    _kinds.audio(audio, seconds=seconds),
    scan=_scan,
    render=render,
    tokenizer=tokenizer,
    max_tokens=max_tokens,
  )


make, prepare = _corpus.faces(corpus)


def _scan(raw: pathlib.Path) -> _corpus.Found:
  tables = _raw.find(raw, *(f'clotho_captions_{name}.csv' for name in _SPLITS))
  homes = _raw.find(raw, *_SPLITS)
  found = _corpus.Found({}, {})
  for path, home, (name, split) in zip(tables, homes, _SPLITS.items()):
    rows = [row for _, row in _raw.table(path, ('file_name', *_CAPTIONS))]
    files = {f.name: f for f in home.iterdir() if f.suffix.lower() == '.wav'}
    matched = _match([row['file_name'] for row in rows], list(files))
    for row in rows:
      file = matched.get(row['file_name'])
      _captions.add(
        found,
        f'{name}_{pathlib.PurePosixPath(row["file_name"]).stem}',
        split,
        ('audio', files[file] if file else None),
        [row[c] for c in _CAPTIONS],
      )
    unused = set(files) - set(matched.values())
    found.skipped.update(
      {f'{name}/{f}': 'is in no list' for f in sorted(unused)}
    )
  return found


def _match(listed: list[str], files: list[str]) -> dict[str, str]:
  """{name in the list: name in the folder}, by what only it can be."""
  matched = {name: name for name in set(listed) & set(files)}
  rest: dict[str, list[str]] = {}
  for file in set(files) - set(matched):
    rest.setdefault(_letters(file), []).append(file)
  wanted: dict[str, list[str]] = {}
  for name in set(listed) - set(matched):
    wanted.setdefault(_letters(name), []).append(name)
  for letters, names in wanted.items():
    if len(names) == len(rest.get(letters, ())) == 1:
      matched[names[0]] = rest[letters][0]
  return matched


def _letters(name: str) -> str:
  """A name without accents, signs and blanks."""
  return re.sub(r'[\W_]', '', unicodedata.normalize('NFKD', name)).lower()


def render(folder: pathlib.Path) -> None:
  for name in _SPLITS:
    rows = []
    for i in range(12 if name == 'development' else 6):
      label, draw = i % 8, _render.rng(len(name), i)
      file = (
        *(f' Rain on a roof {i}.wav', f"Création d'un pas, no. {i}.wav"),
        f'{i}_Stream (near) - water #2 & wind.wav',
      )[i % 3]
      x_T = _render.sound(label, draw, seconds=0.5, rate=44100)
      _render.write_wav(folder / name / file, x_T, 44100)
      captions = [
        f'{_render.sentence(label, draw).capitalize()}.' for _ in _CAPTIONS
      ]
      rows.append((file, *captions))
    with io.StringIO() as text:
      csv.writer(text).writerows([('file_name', *_CAPTIONS), *rows])
      _render.write(folder / f'clotho_captions_{name}.csv', text.getvalue())
