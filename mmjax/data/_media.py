"""Media files -> NumPy arrays. Only preparation needs it, and with it PyAV.

PyAV brings its own FFmpeg, so every container and codec is read in the same
way on every machine. A file that cannot be used ends in one kind of error,
`MediaError`, which names the file and the reason.
"""

import contextlib
import io
import math
import os
from collections.abc import Iterator
from typing import Any

import numpy as np
import PIL.Image
import PIL.ImageOps
import scipy.signal

_LFS = b'version https://git-lfs'
_RATES = 1_000, 1_000_000  # Hz; others are damage, and endless to resample
_TURNS = {
  90: PIL.Image.Transpose.ROTATE_90,
  -90: PIL.Image.Transpose.ROTATE_270,
  180: PIL.Image.Transpose.ROTATE_180,
  -180: PIL.Image.Transpose.ROTATE_180,
}  # degrees counterclockwise


class Content(io.BytesIO):
  """The bytes of a file that lies in something else: in a table, say."""

  def __str__(self) -> str:
    return 'a file within the table'


File = os.PathLike | str | Content


class MediaError(ValueError):
  """A media file that cannot be used: `path`, and the `reason`."""

  def __init__(self, path: File, reason: str):
    super().__init__(f'{path}: {reason}')
    self.path, self.reason = str(path), reason


def audio(
  path: File,
  rate: int,
  span: tuple[float, float] | None = None,
) -> np.ndarray:
  """Decodes a file's audio to mono at `rate` Hz: f32[T], full scale +-1.

  Channels are averaged; other sampling rates go through a polyphase filter
  (`scipy.signal.resample_poly`). With a `span`, only these seconds of it.
  Raises MediaError.
  """
  av = _av()
  parts, source = [], 0
  with _stream(path, 'audio') as (container, stream):
    to_float = av.AudioResampler(format='fltp')
    source = stream.codec_context.sample_rate
    if not _RATES[0] <= source <= _RATES[1]:
      raise MediaError(path, f'claims a sampling rate of {source} Hz')
    for frame in container.decode(stream):
      parts += [f.to_ndarray().mean(0) for f in to_float.resample(frame)]
  x_T = np.concatenate(parts) if parts else np.zeros(0, np.float32)
  if span:
    x_T = x_T[round(span[0] * source) : round(span[1] * source)]
  if not x_T.size:
    raise MediaError(path, f'the audio stream holds no samples{_within(span)}')
  if not np.isfinite(x_T).all():
    raise MediaError(path, 'the audio holds samples that are not finite')
  if source != rate:
    common = math.gcd(source, rate)
    x_T = scipy.signal.resample_poly(x_T, rate // common, source // common)
  return np.asarray(x_T, np.float32)


def frames(
  path: File,
  count: int,
  size: int,
  *,
  span: tuple[float, float] | None = None,
  box: tuple[float, ...] | None = None,
) -> np.ndarray:
  """Decodes `count` frames, evenly placed in time: u8[T, size, size, 3].

  The time of the video is cut into `count` equal segments; of each the frame
  shown in its middle is taken, so the frames are in order of time. Rotation
  flags are obeyed; the picture is squeezed to a square, as the references do
  at test time. The whole file is decoded: one that breaks anywhere is corrupt.

  With a `span`, the video is these seconds of the file, and only they are
  decoded. With a `box` (left, top, right, bottom, as shares of the picture),
  each frame is cut to it first. Raises MediaError.
  """
  with _stream(path, 'video') as (container, stream):
    times = [frame.time for frame in _of(container, stream, span)]
  if not times:
    raise MediaError(path, f'the video stream holds no frames{_within(span)}')
  wanted = _middles(times, count)
  images, to_rgb = {}, _av().video.reformatter.VideoReformatter()
  with _stream(path, 'video') as (container, stream):
    for i, frame in enumerate(_of(container, stream, span)):
      if i in wanted:
        rgb = to_rgb.reformat(frame, format='rgb24', threads=1)
        images[i] = _square(rgb, frame.rotation, size, box)
      if len(images) == len(set(wanted)):
        break
  return np.stack([images[i] for i in wanted])


def picture(path: File, size: int) -> np.ndarray:
  """Decodes a still picture, upright: u8[size, size, 3].

  It is squeezed to a square. Raises MediaError, also for one of more pixels
  than any camera has (`PIL.Image.MAX_IMAGE_PIXELS`).
  """
  try:
    with PIL.Image.open(path) as image:
      if image.width * image.height > (PIL.Image.MAX_IMAGE_PIXELS or math.inf):
        raise ValueError(f'{image.width} x {image.height} pixels are too many')
      image = PIL.ImageOps.exif_transpose(image).convert('RGB')
      return np.asarray(
        image.resize((size, size), PIL.Image.Resampling.BILINEAR)
      )
  except MemoryError:
    raise
  except Exception as error:  # damage makes PIL raise anything
    raise MediaError(path, _reason(path, 'picture', error)) from error


def jpeg(image_HW3: np.ndarray, quality: int = 95) -> bytes:
  """Encodes u8[H, W, 3] as a JPEG file."""
  file = io.BytesIO()
  PIL.Image.fromarray(image_HW3).save(file, 'JPEG', quality=quality)
  return file.getvalue()


def _middles(times: list[float | None], count: int) -> list[int]:
  """Indices of the frames shown in the middles of `count` equal segments."""
  t_N = np.arange(len(times), dtype=np.float64)
  if all(t is not None for t in times):  # some files carry no clock
    t_N = np.asarray(times, np.float64)
  last = float(np.median(np.diff(t_N))) if len(t_N) > 1 else 1.0
  middle_K = (np.arange(count) + 0.5) / count
  shown_K = t_N[0] + middle_K * (t_N[-1] + last - t_N[0])
  index_K = np.searchsorted(t_N, shown_K, side='right') - 1
  return np.clip(index_K, 0, len(t_N) - 1).tolist()


def _of(
  container: Any, stream: Any, span: tuple[float, float] | None
) -> Iterator[Any]:
  """Frames of a stream, or those of a span of it."""
  if span is None:
    yield from container.decode(stream)
    return
  container.seek(max(0, int(span[0] * 1_000_000)))  # to a key frame before it
  for frame in container.decode(stream):
    if frame.time is not None and frame.time >= span[1]:
      return
    if frame.time is None or frame.time >= span[0]:
      yield frame


def _within(span: tuple[float, float] | None) -> str:
  return f' from second {span[0]:g} to {span[1]:g}' if span else ''


def _square(
  rgb: Any, rotation: int, size: int, box: tuple[float, ...] | None
) -> np.ndarray:
  image = PIL.Image.fromarray(rgb.to_ndarray())
  if rotation in _TURNS:
    image = image.transpose(_TURNS[rotation])
  if box:
    width, height = image.size
    x0, y0, x1, y1 = box
    image = image.crop(
      (
        *(round(x0 * width), round(y0 * height)),
        *(round(x1 * width), round(y1 * height)),
      )
    )
  return np.asarray(image.resize((size, size), PIL.Image.Resampling.BILINEAR))


@contextlib.contextmanager
def _stream(path: File, kind: str) -> Iterator[tuple[Any, Any]]:
  """Opens a file; yields (container, its best stream of the kind)."""
  av = _av()
  try:
    if isinstance(path, Content):
      path.seek(0)  # films are read twice
    source = path if isinstance(path, Content) else os.fspath(path)
    with av.open(source) as container:
      # What a player would show: the best of several, never cover art.
      stream = container.streams.best(kind)
      if stream is None:
        raise MediaError(path, f'has no {kind} stream')
      # Many files at a time beat many threads on one, and each costs to start.
      stream.codec_context.thread_count = 1
      yield container, stream
  except (MediaError, MemoryError):
    raise
  except Exception as error:  # damage makes PyAV raise more than its own
    raise MediaError(path, _reason(path, kind, error)) from error


def _reason(path: File, kind: str, error: Exception) -> str:
  if not isinstance(path, Content):
    with contextlib.suppress(OSError), open(path, 'rb') as file:
      if file.read(len(_LFS)) == _LFS:
        return 'is a Git LFS pointer, not the file itself: run `git lfs pull`'
  text = getattr(error, 'strerror', None) or str(error)
  return f'its {kind} cannot be decoded ({text})'


def _av() -> Any:
  try:
    import av
  except ModuleNotFoundError as error:
    raise ModuleNotFoundError(
      'decoding media files needs PyAV, which is not installed: '
      "pip install 'mmjax[media]'"
    ) from error
  return av
