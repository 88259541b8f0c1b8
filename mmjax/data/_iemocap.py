"""IEMOCAP's files: where they are, what they say, and a small set of them."""

import pathlib
import re

import PIL.Image

from mmjax.data import _render

CODES = {
  **{'neu': 'neutral', 'ang': 'angry', 'sad': 'sad', 'hap': 'happy'},
  **{'exc': 'excited', 'fru': 'frustrated'},
}
FOLDERS = {
  'audio': 'sentences/wav',
  'visual': 'dialog/avi/DivX',
  'text': 'dialog/transcriptions',
  'label': 'dialog/EmoEvaluation',
}
DIALOG = re.compile(r'Ses0([1-5])([FM])_\w+')
_LABEL = re.compile(r'\[(\d+\.\d+) - (\d+\.\d+)\]\s+(\S+)\s+(\w+)\s+\[.*\]')
_WORDS = re.compile(r'(Ses\S+_[FM]\d+) \[[\d.]+-[\d.]+\]:(.*)')


def labels(sheet: pathlib.Path) -> list[tuple[str, str, tuple[float, float]]]:
  """(name, emotion, seconds) of the utterances of a dialogue."""
  found = []
  for number, line in enumerate(_lines(sheet), start=1):
    match = _LABEL.fullmatch(line.strip())
    if match and match[3].startswith(f'{sheet.stem}_'):
      found.append((match[3], match[4], (float(match[1]), float(match[2]))))
    elif line.startswith('['):
      raise ValueError(
        f'{sheet}, line {number}: {line.strip()[:80]!r} is not '
        f'`[start - end] {sheet.stem}_F000 emotion [v, a, d]`.'
      )
  return found


def words(file: pathlib.Path) -> dict[str, str]:
  """{name: text}; what is said by nobody in particular is left out."""
  if not file.is_file():
    return {}
  matches = [_WORDS.fullmatch(line.strip()) for line in _lines(file)]
  return {match[1]: match[2].strip() for match in matches if match}


def _lines(file: pathlib.Path) -> list[str]:
  content = file.read_bytes()
  try:
    return content.decode('utf8').splitlines()
  except UnicodeDecodeError:
    return content.decode('latin1').splitlines()


def render(folder: pathlib.Path, each: int = 1) -> None:
  """A dialogue per session, in which both say each emotion `each` times."""
  for session in range(1, 6):
    marked = 'FM'[session % 2]
    dialog = f'Ses0{session}{marked}_impro01'
    home = folder / 'IEMOCAP_full_release' / f'Session{session}'
    film, sheet, script = (
      [],
      ['% [START_TIME - END_TIME] TURN_NAME EMOTION'],
      [],
    )
    turns = [
      (code, sex) for code in (*CODES, 'xxx') for sex in 'FM' * each
    ]  # fmt: skip
    for number, (code, sex) in enumerate(turns):
      draw, name = _render.rng(session, number), f'{dialog}_{sex}{number:03}'
      label = [*CODES, 'xxx'].index(code)
      x_T = _render.sound(label, draw, seconds=0.4)
      path = home / FOLDERS['audio'] / dialog / f'{name}.wav'
      _render.write_wav(path, x_T)
      start, end = len(film) / 10, len(film) / 10 + 0.4
      sheet += [
        '',
        f'[{start:.4f} - {end:.4f}]\t{name}\t{code}\t[2.5, 2.5, 2.5]',
      ]
      sheet += ['C-E1:\tOther;\t()', 'A-E1:\tval 2; act 3; dom  3;\t()']
      said = _render.sentence(label, draw)
      script.append(f'{name} [{start:08.4f}-{end:08.4f}]: {said.capitalize()}.')
      film += [_scene(label, draw, sex == marked) for _ in range(4)]
    script.insert(2, 'M: [LAUGHTER]')
    _render.write(
      home / FOLDERS['label'] / f'{dialog}.txt', '\n'.join([*sheet, ''])
    )
    _render.write(
      home / FOLDERS['text'] / f'{dialog}.txt', '\n'.join([*script, ''])
    )
    _render.write_video(home / FOLDERS['visual'] / f'{dialog}.avi', film)


def _scene(label: int, draw, left: bool) -> PIL.Image.Image:
  """Who speaks in its half, the other half grey."""
  scene = PIL.Image.new('RGB', (96, 64))
  scene.paste((128, 128, 128), (0, 16, 96, 48))
  scene.paste(_render.image(label, draw, (48, 32)), (0 if left else 48, 16))
  return scene
