"""A small corpus in CREMA-D's exact layout, rendered: drawn faces that speak.

Names, folders, containers and codecs are those of the real corpus (16 kHz
int16 mono .wav; .flv of Sorenson H.263 video and mp3 audio), so everything
from preparation to report runs on it without a download. Both modalities carry
the emotion, with an actor's own face and voice, noise, and clips that look or
sound like another emotion; the face says more than the voice, as it does to
people who rate the real corpus.
"""

import concurrent.futures
import io
import json
import os
import pathlib
from fractions import Fraction
from typing import Any, NamedTuple

import numpy as np
import PIL.Image
import PIL.ImageDraw
import scipy.io.wavfile
import scipy.signal

from mmjax.data import _lock

SENTENCES = (
  *('IEO', 'TIE', 'IOM', 'IWW', 'TAI', 'MTI'),
  *('IWL', 'ITH', 'DFA', 'ITS', 'TSI', 'WSI'),
)
_EMOTIONS = ('NEU', 'HAP', 'SAD', 'FEA', 'DIS', 'ANG')
_RATE, _FPS, _FLV_RATE = 16000, Fraction(30000, 1001), 22050


class _Face(NamedTuple):
  """How an emotion looks; all in units of the face."""

  smile: float  # mouth corners up
  mouth: float  # mouth open
  brow: float  # inner ends of the brows up
  eyes: float  # eyes open
  flush: tuple[int, int, int]  # added to the skin, of 255
  sway: float  # head moves sideways
  nod: float  # head moves up and down


class _Voice(NamedTuple):
  """How an emotion sounds, relative to the actor's voice."""

  pitch: float  # factor
  range: float  # octaves that the pitch moves in a syllable
  tilt: float  # strength of the n-th harmonic: n ** -tilt
  pace: float  # syllables per second
  tremble: float  # depth of a 7 Hz tremor of the pitch
  breath: float  # noise in the voice


class _Head(NamedTuple):
  """How an actor looks: the width of the face, and colours."""

  wide: float
  skin: tuple[int, ...]
  hair: tuple[int, ...]
  wall: tuple[int, ...]  # behind the actor


_FACES = {
  'NEU': _Face(0.0, 0.05, 0.0, 0.5, (0, 0, 0), 0.00, 0.00),
  'HAP': _Face(0.9, 0.30, 0.2, 0.5, (25, 15, -30), 0.03, 0.06),
  'SAD': _Face(-0.8, 0.05, 0.8, 0.3, (-35, -25, 20), 0.00, 0.02),
  'FEA': _Face(-0.3, 0.45, 0.6, 1.0, (10, 20, 30), 0.05, 0.00),
  'DIS': _Face(-0.6, 0.15, -0.3, 0.2, (-35, 15, -35), 0.02, 0.01),
  'ANG': _Face(-0.5, 0.25, -0.9, 0.6, (40, -30, -30), 0.01, 0.05),
}
_VOICES = {
  'NEU': _Voice(1.00, 0.05, 1.6, 4.0, 0.00, 0.05),
  'HAP': _Voice(1.35, 0.45, 1.2, 5.0, 0.00, 0.05),
  'SAD': _Voice(0.85, 0.05, 2.2, 2.6, 0.02, 0.15),
  'FEA': _Voice(1.55, 0.10, 1.5, 6.0, 0.08, 0.20),
  'DIS': _Voice(0.80, -0.35, 1.3, 3.2, 0.00, 0.30),
  'ANG': _Voice(1.15, -0.20, 0.7, 5.0, 0.00, 0.10),
}


def render(
  raw_dir: str | os.PathLike,
  *,
  actors: int = 6,
  sentences: int = 6,
  seconds: tuple[float, float] = (1.0, 1.5),
  width: int = 480,
  height: int = 360,
  seed: int = 0,
) -> pathlib.Path:
  """Renders actors x sentences x 6 clips; keeps those that are there already.

  Deterministic: the same arguments give the same files. Of the first sentence,
  as in CREMA-D, every emotion but the neutral has a level. Raises ValueError if
  `raw_dir` holds clips of other arguments, or an argument is out of range.
  """
  if not (1 <= actors <= 91 and 1 <= sentences <= len(SENTENCES)):
    raise ValueError(
      f'actors={actors} is in 1..91 and sentences={sentences} in '
      f'1..{len(SENTENCES)}'
    )
  raw_dir = pathlib.Path(raw_dir).expanduser()
  clips = [
    (actor, sentence, emotion)
    for actor in range(actors)
    for sentence in SENTENCES[:sentences]
    for emotion in _EMOTIONS
  ]
  with (
    _lock.held(raw_dir.with_name(f'{raw_dir.name}.lock'), wait=True),
    concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool,
  ):
    _remember(
      raw_dir, dict(seconds=seconds, width=width, height=height, seed=seed)
    )
    for done in [
      pool.submit(_clip, raw_dir, *clip, seconds, width, height, seed)
      for clip in clips
    ]:
      done.result()
  return raw_dir


def _remember(raw_dir: pathlib.Path, settings: dict[str, Any]) -> None:
  """Notes the settings in the folder; raises if it holds those of others."""
  file = raw_dir / 'sample.json'
  text = json.dumps(settings)
  for folder in ('AudioWAV', 'VideoFlash'):
    (raw_dir / folder).mkdir(parents=True, exist_ok=True)
  if file.exists():
    if json.loads(file.read_text()) != json.loads(text):
      raise ValueError(
        f'{raw_dir} holds a sample of other settings: {file.read_text()}, '
        f'wanted {text}. Give another folder, or remove that one.'
      )
  elif any((raw_dir / 'AudioWAV').iterdir()):
    raise ValueError(
      f'{raw_dir} holds clips that are no sample of ours; nothing is rendered '
      'among them. Give another folder.'
    )
  _save(file, text.encode())


def _clip(
  raw_dir: pathlib.Path,
  actor: int,
  sentence: str,
  emotion: str,
  seconds: tuple[float, float],
  width: int,
  height: int,
  seed: int,
) -> None:
  rng = np.random.default_rng(
    [seed, actor, SENTENCES.index(sentence), _EMOTIONS.index(emotion)]
  )
  graded = sentence == 'IEO' and emotion != 'NEU'
  level = rng.choice(['LO', 'MD', 'HI']) if graded else 'XX'
  name = f'{1001 + actor}_{sentence}_{emotion}_{level}'
  wav = raw_dir / 'AudioWAV' / f'{name}.wav'
  flv = raw_dir / 'VideoFlash' / f'{name}.flv'
  if wav.exists() and flv.exists():
    return
  strength = {'LO': 0.7, 'HI': 1.3}.get(level, 1.0) * rng.uniform(0.8, 1.2)
  heard, seen = _mistaken(rng, emotion, 0.2), _mistaken(rng, emotion, 0.1)
  looks = np.random.default_rng([seed, actor])
  duration = rng.uniform(*seconds)
  x_T = _speak(rng, looks, _VOICES[heard], strength, duration)
  images = _act(rng, looks, _FACES[seen], strength, duration, (width, height))
  with io.BytesIO() as file:
    scipy.io.wavfile.write(file, _RATE, (x_T * 32767).astype(np.int16))
    _save(wav, file.getvalue())
  _save(flv, _flash(images, x_T))


def _mistaken(rng: np.random.Generator, emotion: str, share: float) -> str:
  """The emotion, or in a share of the clips one that is taken for it."""
  other = str(rng.choice(_EMOTIONS))
  return other if rng.uniform() < share else emotion


def _speak(
  rng: np.random.Generator,
  looks: np.random.Generator,
  voice: _Voice,
  strength: float,
  duration: float,
) -> np.ndarray:
  """Syllables of a harmonic voice: f32[T] at 16 kHz within +-1."""
  neutral = _VOICES['NEU']
  v = _Voice(*(n + strength * (x - n) for n, x in zip(neutral, voice)))
  base = looks.uniform(95, 220)
  t_T = np.arange(int(duration * _RATE)) / _RATE
  syllable_T = t_T * v.pace * rng.uniform(0.9, 1.1)
  within_T = syllable_T % 1.0
  contour_T = v.range * (within_T - 0.5) - 0.1 * t_T / duration
  contour_T += v.tremble * np.sin(2 * np.pi * 7 * t_T)
  accent = 0.05 * rng.standard_normal(int(syllable_T[-1]) + 1)
  contour_T += accent[syllable_T.astype(int)]
  f0_T = base * v.pitch * 2.0**contour_T
  phase_T = 2 * np.pi * np.cumsum(f0_T) / _RATE
  x_T = np.zeros_like(t_T)
  for n in range(1, 31):
    x_T += n**-v.tilt * np.sin(n * phase_T) * (n * f0_T < 7500)
  x_T += v.breath * 3 * rng.standard_normal(len(t_T))
  formant = looks.uniform(0.85, 1.15) * rng.choice([500, 700, 900])
  b, a = scipy.signal.iirpeak(formant, 3.0, fs=_RATE)
  x_T = 0.5 * x_T + scipy.signal.lfilter(b, a, x_T)
  x_T *= np.sin(np.pi * within_T) ** 0.5
  x_T = x_T / np.abs(x_T).max() + 0.01 * rng.standard_normal(len(t_T))
  return np.clip(x_T * rng.uniform(0.3, 0.7), -1, 1).astype(np.float32)


def _act(
  rng: np.random.Generator,
  looks: np.random.Generator,
  face: _Face,
  strength: float,
  duration: float,
  size: tuple[int, int],
) -> list[PIL.Image.Image]:
  """Draws the frames of a clip."""
  skin = np.array([1.0, 0.82, 0.7]) * looks.integers(150, 240)
  skin += strength * np.array(face.flush) + 8 * rng.standard_normal(3)
  head = _Head(
    wide=looks.uniform(0.8, 1.0),
    skin=tuple(np.clip(skin, 0, 255).astype(int).tolist()),
    hair=tuple(looks.integers(10, 120, 3).tolist()),
    wall=tuple(looks.integers(90, 200, 3).tolist()),
  )
  place = 0.5 + 0.03 * rng.standard_normal(2)
  noise = rng.integers(-12, 13, (2 * size[1], size[0], 3), np.int16)
  images = []
  for i in range(max(3, round(duration * _FPS))):
    t = i / float(_FPS)
    shift = [
      face.sway * np.sin(2 * np.pi * 3 * t),
      face.nod * np.sin(2 * np.pi * 2 * t),
    ]
    talk = 0.1 + 0.1 * np.sin(2 * np.pi * 4 * t)
    image = _draw(head, face, strength, talk, place + shift, size)
    grain = noise[(17 * i) % size[1] :][: size[1]]
    pixels = np.clip(np.asarray(image, np.int16) + grain, 0, 255)
    images.append(PIL.Image.fromarray(pixels.astype(np.uint8)))
  return images


def _draw(
  head: _Head,
  face: _Face,
  strength: float,
  talk: float,
  center: np.ndarray,
  size: tuple[int, int],
) -> PIL.Image.Image:
  image = PIL.Image.new('RGB', size, head.wall)
  pen = PIL.ImageDraw.Draw(image)
  unit = 0.4 * size[1]
  x0, y0 = center[0] * size[0], center[1] * size[1]

  def at(x: float, y: float) -> tuple[float, float]:
    return x0 + unit * head.wide * x, y0 + unit * y

  def oval(x: float, y: float, w: float, h: float, fill: Any) -> None:
    pen.ellipse([at(x - w, y - h), at(x + w, y + h)], fill=fill)

  line = max(1, round(unit / 16))
  oval(0, -0.15, 1.05, 1.05, head.hair)
  oval(0, 0, 0.9, 1.0, head.skin)
  eyes = 0.07 + 0.13 * np.clip(strength * face.eyes, 0, 1.3)
  lift = 0.22 * strength * face.brow
  for side in (-1, 1):
    oval(side * 0.4, -0.2, 0.2, eyes, (250, 250, 250))
    oval(side * 0.4, -0.2, 0.08, min(eyes, 0.09), (30, 30, 40))
    ends = [at(side * 0.2, -0.5 - lift), at(side * 0.6, -0.5 + lift)]
    pen.line(ends, fill=head.hair, width=line)
  grid = np.linspace(-1, 1, 9)
  corners = 0.25 * strength * face.smile * (1 - grid**2)
  gape = (strength * face.mouth + talk) * np.sqrt(1 - grid**2) * 0.35
  upper = [at(0.4 * g, 0.5 + c - w) for g, c, w in zip(grid, corners, gape)]
  lower = [at(0.4 * g, 0.5 + c + w) for g, c, w in zip(grid, corners, gape)]
  pen.polygon(upper + lower[::-1], fill=(90, 20, 30))
  pen.line(upper, fill=(150, 50, 60), width=line)
  return image


def _flash(images: list[PIL.Image.Image], x_T: np.ndarray) -> bytes:
  """Writes an .flv as CREMA-D's: Sorenson H.263 and mp3."""
  import av

  file = io.BytesIO()
  with av.open(file, 'w', format='flv', options={'fflags': 'bitexact'}) as flv:
    video = flv.add_stream('flv', rate=_FPS, options={'qscale': '3'})
    video.width, video.height = images[0].size
    video.pix_fmt = 'yuv420p'
    sound = flv.add_stream('libmp3lame', rate=_FLV_RATE, layout='mono')
    y_T = scipy.signal.resample_poly(x_T, _FLV_RATE // 50, _RATE // 50)
    frame = av.AudioFrame.from_ndarray(
      y_T[None].astype(np.float32), format='fltp', layout='mono'
    )
    frame.sample_rate = _FLV_RATE
    for image in images:
      flv.mux(video.encode(av.VideoFrame.from_image(image)))
    flv.mux(sound.encode(frame))
    flv.mux(video.encode(None))
    flv.mux(sound.encode(None))
  return file.getvalue()


def _save(path: pathlib.Path, content: bytes) -> None:
  part = path.with_suffix('.part')
  part.write_bytes(content)
  part.replace(path)
