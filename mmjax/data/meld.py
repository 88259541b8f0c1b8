"""MELD: utterances of the series Friends, seen, heard and read.

Poria et al. (ACL 2019). MELD.Raw.tar.gz and the three archives in it, unpacked;
lists and folders of clips are found wherever they lie below the raw folder:

  raw_dir/**/train_sent_emo.csv   Sr No.,Utterance,Speaker,Emotion,Sentiment,
  raw_dir/**/dev_sent_emo.csv     Dialogue_ID,Utterance_ID,Season,Episode,
  raw_dir/**/test_sent_emo.csv    StartTime,EndTime
  raw_dir/**/train_splits/dia0_utt0.mp4                  9,989 clips
  raw_dir/**/dev_splits_complete/dia0_utt0.mp4           1,109
  raw_dir/**/output_repeated_splits_test/dia0_utt0.mp4   2,610

Splits and the numbers of the labels are the published ones. The release has
faults, that are left out and counted: train dia125_utt3 cannot be decoded, dev
dia110_utt7 is missing, some clips are in no list, among them those named
final_videos_test.., and `._` files are litter of macOS. Apostrophes of Windows
(U+0092) are mended. Some test clips are cut wrongly, and minutes long.
"""

import csv
import io
import pathlib
import re
from collections.abc import Iterator

from mmjax.data import _corpus, _kinds, _render

CLASS_NAMES = {
  'emotion': (
    *('neutral', 'surprise', 'fear', 'sadness', 'joy', 'disgust', 'anger'),
  ),
  'sentiment': ('neutral', 'positive', 'negative'),
}
_PARTS = {
  'train': ('train', 'train_sent_emo.csv', 'train_splits'),
  'dev': ('validation', 'dev_sent_emo.csv', 'dev_splits_complete'),
  'test': ('test', 'test_sent_emo.csv', 'output_repeated_splits_test'),
}
_COLUMNS = ('Utterance', 'Emotion', 'Sentiment', 'Dialogue_ID', 'Utterance_ID')
_HEADER = (
  'Sr No.,Utterance,Speaker,Emotion,Sentiment,Dialogue_ID,Utterance_ID,Season,'
  'Episode,StartTime,EndTime\r\n'
)
# What Windows calls 0x80 to 0x9f has come into the lists as if it were Latin-1.
_MENDED = {c: bytes([c]).decode('cp1252', 'ignore') for c in range(128, 160)}


def corpus(
  *,
  label: str = 'emotion',
  audio: str = 'fbank',
  seconds: float = 6.0,
  frames: int = 3,
  size: int = 256,
  tokenizer: str = '',
  max_tokens: int = 256,
) -> _corpus.Corpus:
  """'audio' as `_kinds.audio` keeps it, 'visual' u8[B, frames, size, size, 3].

  'text' is `Ragged` i32[B, max_tokens].

  Args:
    label: 'emotion', 7 classes, or 'sentiment', 3.
    audio: 'spectrogram', 'fbank' or 'waveform'.
    seconds: of sound, for 'spectrogram' and 'waveform'.
    frames: of each clip.
    size: pixels a side of the stored frames.
    tokenizer: a file, a folder, or '' for bytes.
    max_tokens: after which an utterance is cut.
  """
  if label not in CLASS_NAMES:
    raise ValueError(f"meld: label={label!r}: 'emotion' or 'sentiment' it is.")
  return _corpus.Corpus(
    name='meld',
    version='1.0.0',
    class_names=CLASS_NAMES[label],
    kinds={
      'audio': _kinds.audio(audio, seconds=seconds),
      'visual': _kinds.frames(frames, size),
      'text': _kinds.text(tokenizer, max_tokens),
    },
    scan=lambda raw: _scan(raw, label),
    render=render,
    reading=('tokenizer', 'max_tokens'),
  )


make, prepare = _corpus.faces(corpus)


def _scan(raw: pathlib.Path, label: str) -> _corpus.Found:
  wanted = [name for _, *names in _PARTS.values() for name in names]
  places = {name: sorted(raw.rglob(name)) for name in wanted}
  _corpus.require(raw, [name for name in wanted if not places[name]])
  found = _corpus.Found({}, {})
  for part, (split, table, folder) in _PARTS.items():
    files = {
      file.stem: file
      for file in sorted(places[folder][0].glob('*.mp4'))
      if not file.name.startswith('._')
    }
    for place, row in _rows(places[table][0]):
      clip = _clip(row, place)
      name, text = f'{part}_{clip}', row['Utterance'].translate(_MENDED).strip()
      if name in found.entries:
        found.skipped[f'{name} again'] = 'is listed twice'
        continue
      parts = {'text': _kinds.Part(texts=(text,))} if text else {}
      if clip in files:
        file = _kinds.Part(files.pop(clip))
        parts = {'audio': file, 'visual': file, **parts}
      number = _number(row[label.capitalize()], label)
      found.entries[name] = _corpus.Entry(number, parts, split)
    for file in files.values():
      found.skipped[f'{folder}/{file.name}'] = 'is in no list'
  return found


def _rows(path: pathlib.Path) -> Iterator[tuple[str, dict[str, str]]]:
  """Lines of a list, each with its place."""
  content = path.read_bytes()
  try:
    text = content.decode('utf-8-sig')
  except UnicodeDecodeError:  # copies that Excel has saved
    text = content.decode('cp1252', 'replace')
  reader = csv.DictReader(io.StringIO(text, newline=''))
  lacking = [c for c in _COLUMNS if c not in (reader.fieldnames or ())]
  if lacking:
    raise ValueError(f'{path} has no column {" and no ".join(lacking)}.')
  for row in reader:
    place = f'{path}, line {reader.line_num}'
    if any(row[column] is None for column in _COLUMNS):
      raise ValueError(f'{place} has fewer columns than the header.')
    yield place, row


def _clip(row: dict[str, str], place: str) -> str:
  dialogue, utterance = row['Dialogue_ID'], row['Utterance_ID']
  if not re.fullmatch(r'\d+ \d+', f'{dialogue} {utterance}'):
    raise ValueError(
      f'{place}: Dialogue_ID {dialogue!r} and Utterance_ID {utterance!r} are '
      'not two numbers.'
    )
  return f'dia{int(dialogue)}_utt{int(utterance)}'


def _number(told: str, label: str) -> int:
  names, name = CLASS_NAMES[label], told.strip().lower()
  return names.index(name) if name in names else -1


def render(folder: pathlib.Path) -> None:
  """Three emotions, in four dialogues to train, two of dev and two of test."""
  emotions = ('joy', 'neutral', 'anger')
  sentiments = ('positive', 'neutral', 'negative')
  for part, (_, table, clips) in _PARTS.items():
    lines, home = [], folder / part / clips
    for dialogue in range(4 if part == 'train' else 2):
      for i, (emotion, sentiment) in enumerate(zip(emotions, sentiments)):
        draw = _render.rng(*part.encode(), dialogue, i)
        label = CLASS_NAMES['emotion'].index(emotion)
        said = f'"It\x92s, {_render.sentence(label, draw)}"'
        lines.append(
          f'{len(lines) + 1},{said},Joey,{emotion},{sentiment},{dialogue},{i},8,'
          f'21,"00:16:{10 + i},059","00:16:{11 + i},731"\r\n'
        )
        x_T = _render.sound(label, draw, seconds=0.6)
        images = _render.film(label, draw, seconds=0.6, size=(64, 48))
        _render.write_video(home / f'dia{dialogue}_utt{i}.mp4', images, x_T)
        _render.write(home / f'._dia{dialogue}_utt{i}.mp4', b'\0\5\x16\7')
    _render.write(folder / table, _HEADER + ''.join(lines))
