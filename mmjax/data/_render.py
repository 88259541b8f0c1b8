"""Small files of every sort, that say which class they are of.

What the samples of the data sets are made of: their layouts are the published
ones, their contents these. Sounds differ in pitch, pictures in colour and
shape, texts in words; all have noise, so that nothing is learnt by one pixel.
"""

import io
import pathlib
import string
from fractions import Fraction

import numpy as np
import PIL.Image
import PIL.ImageDraw
import scipy.io.wavfile

_FPS = Fraction(10)
_FILLERS = (
  'the',
  'a',
  'and',
  'there',
  'we',
  'it',
  'very',
  'some',
  'then',
  'see',
)
_NOUNS = (
  *('ember', 'willow', 'harbor', 'copper', 'meadow', 'anchor', 'violet'),
  *('thunder', 'marble', 'lantern', 'saddle', 'orchid', 'tunnel', 'falcon'),
)


def rng(*seeds: int) -> np.random.Generator:
  """Random numbers of a place in a sample: the same at every rendering."""
  return np.random.default_rng(seeds)


def sound(
  label: int,
  draw: np.random.Generator,
  *,
  seconds: float = 1.0,
  rate: int = 16000,
) -> np.ndarray:
  """A tone whose pitch is the class's, f32[T] within +-1."""
  t_T = np.arange(round(seconds * rate)) / rate
  pitch = 150.0 * 2 ** (label % 24 / 6) * draw.uniform(0.98, 1.02)
  x_T = sum(np.sin(2 * np.pi * n * pitch * t_T) / n for n in (1, 2, 3))
  x_T = x_T * np.sin(np.pi * t_T / seconds) ** 0.5
  return (0.2 * x_T + 0.02 * draw.standard_normal(len(t_T))).astype(np.float32)


def image(
  label: int, draw: np.random.Generator, size: tuple[int, int] = (96, 72)
) -> PIL.Image.Image:
  """A shape whose colour and number of corners are the class's."""
  wall = tuple(draw.integers(90, 150, 3).tolist())
  picture = PIL.Image.new('RGB', size, wall)
  hue = int(255 * (label * 0.381966 % 1.0))
  colour = PIL.Image.new('HSV', (1, 1), (hue, 220, 230)).convert('RGB')
  width, height = size
  x, y = draw.uniform(0.4, 0.6, 2) * size
  PIL.ImageDraw.Draw(picture).regular_polygon(
    (x, y, 0.35 * min(width, height)),
    3 + label % 5,
    rotation=float(draw.uniform(0, 360)),
    fill=colour.getpixel((0, 0)),
  )
  noise = draw.integers(-15, 16, (height, width, 3), np.int16)
  pixels = np.clip(np.asarray(picture, np.int16) + noise, 0, 255)
  return PIL.Image.fromarray(pixels.astype(np.uint8))


def sentence(label: int, draw: np.random.Generator, words: int = 6) -> str:
  """Words of which one is the class's."""
  said = [str(w) for w in draw.choice(_FILLERS, words)]
  second = f' {_NOUNS[label // len(_NOUNS) % len(_NOUNS)]}'
  said[int(draw.integers(words))] = _NOUNS[label % len(_NOUNS)] + (
    second if label >= len(_NOUNS) else ''
  )
  return ' '.join(said)


def youtube_id(draw: np.random.Generator) -> str:
  """Eleven characters, of those that YouTube's names of videos have."""
  letters = f'{string.ascii_letters}{string.digits}-_'
  return ''.join(draw.choice(list(letters), 11))


def motion(
  label: int, draw: np.random.Generator, steps: int, width: int
) -> np.ndarray:
  """Channels that swing in the class's rhythm: f32[steps, width]."""
  t_T = np.linspace(0, 2 * np.pi, steps)[:, None]
  phase = np.random.default_rng(label).uniform(0, 2 * np.pi, (1, width))
  wave = np.sin((1 + label % 5) * t_T + phase + draw.normal(0, 0.1))
  return (wave + 0.1 * draw.standard_normal((steps, width))).astype(np.float32)


def write_wav(path: pathlib.Path, x_T: np.ndarray, rate: int = 16000) -> None:
  """16-bit mono PCM."""
  with io.BytesIO() as file:
    scipy.io.wavfile.write(file, rate, (x_T * 32767).astype(np.int16))
    write(path, file.getvalue())


def write_image(path: pathlib.Path, picture: PIL.Image.Image) -> None:
  """In the format of the suffix."""
  path.parent.mkdir(parents=True, exist_ok=True)
  picture.save(path)


def write_video(
  path: pathlib.Path,
  images: list[PIL.Image.Image],
  x_T: np.ndarray | None = None,
  rate: int = 16000,
) -> None:
  """Frames at 10 a second and, if given, mono sound, in the suffix' container.

  H.264 and AAC in .mp4, MPEG-4 and MP3 elsewhere.
  """
  import av

  path.parent.mkdir(parents=True, exist_ok=True)
  mp4 = path.suffix == '.mp4'
  with av.open(str(path), 'w') as container:
    video = container.add_stream('libx264' if mp4 else 'mpeg4', rate=_FPS)
    video.width, video.height = images[0].size
    video.pix_fmt = 'yuv420p'
    sound = None
    if x_T is not None:
      sound = container.add_stream(
        'aac' if mp4 else 'libmp3lame', rate=rate, layout='mono'
      )
    for picture in images:
      container.mux(video.encode(av.VideoFrame.from_image(picture)))
    container.mux(video.encode(None))
    if sound is not None and x_T is not None:
      frame = av.AudioFrame.from_ndarray(
        np.ascontiguousarray(x_T[None], np.float32), 'fltp', 'mono'
      )
      frame.sample_rate = rate
      container.mux(sound.encode(frame))
      container.mux(sound.encode(None))


def film(
  label: int,
  draw: np.random.Generator,
  *,
  seconds: float = 1.0,
  size: tuple[int, int] = (96, 72),
) -> list[PIL.Image.Image]:
  """Frames for `write_video`, each drawn anew."""
  return [image(label, draw, size) for _ in range(round(seconds * _FPS))]


def write(path: pathlib.Path, content: bytes | str) -> None:
  path.parent.mkdir(parents=True, exist_ok=True)
  data = content.encode() if isinstance(content, str) else content
  path.write_bytes(data)
