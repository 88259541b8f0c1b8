"""RAVDESS: 24 actors who speak, or sing, emotions (Livingstone & Russo, 2018).

`prepare` reads the layout as published, its zip files unpacked anywhere below
the raw folder:

  raw_dir/**/Actor_01/03-01-06-01-02-01-01.wav   sound alone
  raw_dir/**/Actor_01/01-01-06-01-02-01-01.mp4   sound and picture
  raw_dir/**/Actor_01/02-01-06-01-02-01-01.mp4   picture alone

MODALITY-CHANNEL-EMOTION-INTENSITY-STATEMENT-REPETITION-ACTOR. Speech has 1,440
clips of 8 emotions, song 1,012 of 6. Sound is taken from the .wav, else from
the .mp4 that has both. No split is published: one by actor is drawn.
"""

import pathlib
import re

from mmjax.data import _corpus, _kinds, _render

CLASS_NAMES = (
  *('neutral', 'calm', 'happy', 'sad'),
  *('angry', 'fearful', 'disgust', 'surprised'),
)
_NAME = re.compile(r'(0[123])-(0[12])-(0[1-8])-0[12]-0[12]-0[12]-(\d\d)')
_CHANNELS = {'speech': '01', 'song': '02'}
_SOUNDS, _PICTURES = ('03', '01'), ('01', '02')  # in order of preference


def corpus(
  *,
  channel: str = 'speech',
  audio: str = 'fbank',
  seconds: float = 3.0,
  frames: int = 3,
  size: int = 256,
  split_by: str = 'group',
  split_seed: int = 0,
  test_fraction: float = 0.2,
  validation_fraction: float = 0.1,
) -> _corpus.Corpus:
  """'audio' as `_kinds.audio` keeps it, 'visual' u8[B, frames, size, size, 3].

  Args:
    channel: 'speech' or 'song'.
    audio: 'spectrogram', 'fbank' or 'waveform'.
    seconds: of sound, for 'spectrogram' and 'waveform'.
    frames: of each clip.
    size: pixels a side of the stored frames.
    split_by: 'group': no actor in two splits; 'entry': by clip.
    split_seed: of the drawn splits.
    test_fraction: of the actors, or of the clips of each class.
    validation_fraction: of what is left.
  """
  if channel not in _CHANNELS:
    raise ValueError(f"ravdess: channel={channel!r}: 'speech' or 'song' it is.")
  return _corpus.Corpus(
    name='ravdess',
    version='1.0.0',
    class_names=CLASS_NAMES,
    kinds={
      'audio': _kinds.audio(audio, seconds=seconds),
      'visual': _kinds.frames(frames, size),
    },
    scan=lambda raw: _scan(raw, _CHANNELS[channel]),
    render=render,
    draw=_corpus.Draw(split_by, test_fraction, validation_fraction, split_seed),
  )


make, prepare = _corpus.faces(corpus)


def _scan(raw: pathlib.Path, channel: str) -> _corpus.Found:
  clips: dict[str, dict[str, pathlib.Path]] = {}
  skipped = {}
  for file in sorted(raw.rglob('Actor_*/*')):
    match = _NAME.fullmatch(file.stem)
    if not match or file.suffix.lower() not in ('.wav', '.mp4'):
      skipped[file.name] = 'the name is not one of RAVDESS'
    elif match[2] == channel:
      clips.setdefault(file.stem[3:], {})[match[1]] = file
  entries = {}
  for clip, files in clips.items():
    match = _NAME.fullmatch(f'01-{clip}')
    assert match
    parts = {}
    for m, order in (('audio', _SOUNDS), ('visual', _PICTURES)):
      found = next((files[kind] for kind in order if kind in files), None)
      if found:
        parts[m] = _kinds.Part(found)
    entries[clip] = _corpus.Entry(int(match[3]) - 1, parts, group=match[4])
  return _corpus.Found(entries, skipped)


def render(
  folder: pathlib.Path,
  actors: int = 6,
  *,
  seconds: float = 1.0,
  size: tuple[int, int] = (96, 72),
) -> None:
  """Two statements of each emotion by each actor; films of 10 frames a second.

  `size` is their width and height.
  """
  for actor in range(1, actors + 1):
    for label in range(len(CLASS_NAMES)):
      for statement in (1, 2):
        draw = _render.rng(actor, label, statement)
        name = f'01-{label + 1:02}-01-{statement:02}-01-{actor:02}'
        home = folder / f'Actor_{actor:02}'
        x_T = _render.sound(label, draw, seconds=seconds, rate=48000)
        _render.write_wav(home / f'03-{name}.wav', x_T, 48000)
        images = _render.film(label, draw, seconds=seconds, size=size)
        _render.write_video(home / f'01-{name}.mp4', images, x_T, 48000)
