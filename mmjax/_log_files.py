"""The files of a log: lines of JSON, and TensorBoard events."""

import errno
import json
import math
import os
import pathlib
import struct
import time
import warnings
from typing import Any

import numpy as np

METRICS = 'metrics.jsonl'


class Lines:
  """metrics.jsonl of a run folder, appended line by whole line.

  What a killed run left of a line is cut off on opening.
  """

  def __init__(self, workdir: pathlib.Path):
    self._path = workdir / METRICS
    if self._path.exists():
      data = self._path.read_bytes()
      os.truncate(self._path, data.rfind(b'\n') + 1)
    self._open()

  def append(self, record: dict) -> None:
    """Writes the whole line; else nothing at all, and raises OSError."""
    _append(self._file, _line(record))

  def replace(self, records: list[dict]) -> None:
    """Puts `records` in place of all lines, atomically."""
    fresh = self._path.with_suffix('.tmp')
    try:
      fresh.write_bytes(b''.join(map(_line, records)))
      os.replace(fresh, self._path)
    finally:
      fresh.unlink(missing_ok=True)
    self._file.close()
    self._open()

  def close(self) -> None:
    self._file.close()

  def _open(self):
    # Unbuffered: a written line is with the kernel and outlives kill -9.
    self._file = open(self._path, 'ab', buffering=0)


class Events:
  """TensorBoard scalars of a run folder; silent without tensorboardX."""

  # Not its SummaryWriter, whose thread dies of a full disk and then lets the
  # run wait for ever on a queue that nobody empties.

  def __init__(self, workdir: pathlib.Path):
    self._workdir, self._file, self._purge = workdir, None, None

  def purge(self, step: int) -> None:
    """Tells TensorBoard to forget what earlier files say from `step` on."""
    self._purge = step

  def append(self, record: dict) -> None:
    """Writes the means over seeds of one record, or nothing and raises."""
    try:
      import tensorboardX.proto.event_pb2 as event_pb2
    except ImportError:
      return
    proto: Any = event_pb2  # generated: its classes are there at run time
    if self._file is None:
      self._open(proto, record['time'])
    event = proto.Event(wall_time=record['time'], step=record['step'])
    for name, value in record['values'].items():
      path = f'{record["split"]}/{name}'
      event.summary.value.add(tag=path, simple_value=mean(value))
    _append(self._file, _framed(event))

  def close(self) -> None:
    if self._file:
      self._file.close()
      self._file = None

  def _open(self, proto, now):
    name = f'events.out.tfevents.{now:.0f}.{os.getpid()}.{time.time_ns()}'
    head = proto.Event(wall_time=now, file_version='brain.Event:2')
    data = _framed(head)
    if self._purge is not None:
      start = proto.SessionLog(status=proto.SessionLog.START)
      data += _framed(
        proto.Event(wall_time=now, step=self._purge, session_log=start)
      )
    path = self._workdir / name
    self._file = open(path, 'ab', buffering=0)
    try:
      _append(self._file, data)
    except OSError:
      self.close()
      path.unlink()
      raise


def read(workdir: str | os.PathLike) -> list[dict]:
  """Returns the records of a run; a half-written last line is passed over."""
  path = pathlib.Path(workdir) / METRICS
  lines = path.read_bytes().split(b'\n')[:-1] if path.exists() else []
  records = []
  for number, line in enumerate(lines, 1):
    try:
      record = json.loads(line)
      record['step'], record['split'] = int(record['step']), record['split']
      record['values'] = {k: _number(v) for k, v in record['values'].items()}
      records.append(record)
    except (ValueError, TypeError, KeyError, AttributeError):
      warnings.warn(
        f'{path}, line {number} is damaged and is left out.', stacklevel=2
      )
  return records


def plain(value: Any) -> float | list[float]:
  """Returns a Python float, or one per seed, with the fewest digits."""
  value = np.asarray(value)
  return [_shortest(v) for v in value] if value.ndim else _shortest(value)


def _shortest(value) -> float:
  # float32 .1 is written .1, not .10000000149011612.
  return float(str(value)) if value.dtype.kind == 'f' else float(value)


def mean(value: float | list[float]) -> float:
  """Returns the mean over seeds, or the scalar."""
  # Not NumPy's, which warns of infinities of both signs.
  return sum(value) / len(value) if isinstance(value, list) else value


def _append(file, data: bytes) -> None:
  """Writes all of the data; else nothing at all, and raises OSError."""
  end = os.fstat(file.fileno()).st_size
  try:
    if file.write(data) != len(data):
      raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
  except OSError:
    file.truncate(end)
    raise


def _framed(event) -> bytes:
  """Returns an event as TensorBoard reads it: length, data, checksums."""
  from tensorboardX.record_writer import masked_crc32c

  data = event.SerializeToString()
  size = struct.pack('<Q', len(data))
  check = [struct.pack('<I', masked_crc32c(part)) for part in (size, data)]
  return size + check[0] + data + check[1]


def _line(record: dict) -> bytes:
  values = {name: _valid(v) for name, v in record['values'].items()}
  text = json.dumps({**record, 'values': values}, allow_nan=False)
  return text.encode() + b'\n'


def _valid(value):
  if isinstance(value, list):
    return [_valid(v) for v in value]
  return value if math.isfinite(value) else json.dumps(value)


def _number(value):
  if isinstance(value, list):
    return [_number(v) for v in value]
  return float(value)
