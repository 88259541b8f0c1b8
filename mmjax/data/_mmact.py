"""MMAct's sensors, brought to one clock, and a small set of its files."""

import math
import pathlib

import numpy as np

from mmjax.data import _kinds, _media, _render

SENSORS = (
  *('acc_phone_clip', 'acc_watch_clip', 'gyro_clip', 'orientation_clip'),
)
DESK = 3
_RATES = (100, 100, 50, 50)  # lines a second


def imu(
  part: _kinds.Part, sensors: tuple[str, ...], rate: float, longest: int
) -> np.ndarray:
  """[T, 3 sensors], all at the times of the first, evenly `rate` a second."""
  assert part.file is not None
  home = part.file.parents[4]
  place = part.file.relative_to(home / sensors[0])
  read = [_read(_like(home / sensor / place)) for sensor in sensors]
  start, end = read[0][0][0], read[0][0][-1]
  count = int((end - start) * rate + 0.01) + 1  # times are exact to .25 ms
  at_T = start + np.arange(min(count, longest)) / rate
  columns = [(time_T, x_T) for time_T, x_T3 in read for x_T in x_T3.T]
  return np.stack([np.interp(at_T, *column) for column in columns], axis=1)


def _like(path: pathlib.Path) -> pathlib.Path:
  """The file of this name, whatever its case."""
  for file in path.parent.glob('*.csv') if not path.exists() else ():
    if file.stem.strip().lower() == path.stem.strip().lower():
      return file
  return path


def _read(path: pathlib.Path) -> tuple[np.ndarray, np.ndarray]:
  """(seconds [T], values [T, 3]) of a sensor, in order of time."""
  rows = []
  lines = path.read_text('latin1').splitlines()
  for number, line in enumerate(lines, start=1):
    fields = line.split(',')
    try:
      date, clock = fields[0].strip().split('_')
      hours, minutes, seconds = map(float, clock.split(':'))
      time = (int(date) * 24 + hours) * 3600 + minutes * 60 + seconds
      x, y, z = map(float, fields[1:4])
      if not all(map(math.isfinite, (time, x, y, z))):
        raise ValueError
      rows.append((time, x, y, z))
    except ValueError:
      if number > 1 and line.strip():  # some say that the first is a header
        raise _media.MediaError(
          path, f'line {number}: {line[:60]!r} is not `time,x,y,z`'
        ) from None
  if not rows:
    raise _media.MediaError(path, 'holds no line')
  x_T4 = np.array(rows)
  _, first = np.unique(x_T4[:, 0], return_index=True)  # some come twice
  return x_T4[first, 0], x_T4[first, 1:]


def render(folder: pathlib.Path) -> None:
  """Three actions, two of one name, of four subjects in two sessions."""
  actions = (('carrying', 1), ('using_phone', 2), ('using_phone', DESK))
  for label, (action, scene) in enumerate(actions):
    for subject in (1, 2, 3, 17):
      for session in (1, 5):
        place = f'scene{scene}/session{session}'
        for camera in (1, 2) if subject == 1 else (1,):
          film = _render.film(
            label,
            _render.rng(label, subject, session, camera),
            seconds=0.4,
            size=(64, 48),
          )
          path = folder / f'trimmed/subject{subject}/cam{camera}/{place}'
          _render.write_video(path / f'{action}.mp4', film)
        for number, sensor in enumerate(SENSORS):
          draw = _render.rng(label, subject, session, 9 + number)
          path = folder / f'trimmed_acc/{sensor}/subject{subject}/{place}'
          # The case of the names is not always the same.
          name = action.capitalize() if number == 1 else action
          lines = _lines(label, draw, _RATES[number], late=0.02 * number)
          _render.write(path / f'{name}.csv', ''.join(lines))


def _lines(
  label: int, draw: np.random.Generator, rate: int, late: float
) -> list[str]:
  """A second and a half of a sensor, the first line without milliseconds."""
  x_T3 = _render.motion(label, draw, round(1.5 * rate), 3)
  lines = []
  for i, (x, y, z) in enumerate(x_T3):
    seconds = f'{5 + late + i / rate:06.3f}'.removesuffix('.000')
    lines.append(f'20180712_10:15:{seconds},{x:.6f},{y:.6f},{z:.6f}\n')
  return lines
