"""Folders of latents: claimed at the beginning, completed at the end."""

import contextlib
import errno
import hashlib
import os
import pathlib
import shutil
import warnings
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from mmjax import _extract_work as works
from mmjax import folder
from mmjax._extract_work import Task
from mmjax.data import _latents, _lock
from mmjax.data._latents import SPLITS
from mmjax.experiment import Experiment

LOCK = 'extract.lock'
_FULL = (errno.ENOSPC, errno.EDQUOT)


@contextlib.contextmanager
def alone(path: pathlib.Path) -> Iterator[None]:
  """Holds the folder. Raises ValueError if another process does."""
  with contextlib.ExitStack() as stack:
    try:
      stack.enter_context(_lock.held(path / LOCK, wait=False))
    except BlockingIOError as error:
      raise ValueError(
        f'Another process is extracting into {path} (it holds {path / LOCK}). '
        'Wait for it, stop it, or take another path.'
      ) from error
    yield


def begin(path: pathlib.Path, todo: Mapping[str, Task]) -> dict[str, list[int]]:
  """Notes what is asked for; the chunks that are missing, by modality.

  Raises ValueError, with the difference, if there is something else, and OSError
  if the disk has no room.
  """
  for m, task in todo.items():
    claim(path / m, task.work)
  missing = {}
  for m, task in todo.items():
    (path / m).mkdir(parents=True, exist_ok=True)
    if not (path / m / _latents.WORK).exists():
      _latents.write_json(path / m / _latents.WORK, task.work)
    missing[m] = _missing(path / m, task)
  need = sum(
    len(chunks) * todo[m].work['chunk'] * _row_bytes(todo[m])
    for m, chunks in missing.items()
  )
  free = shutil.disk_usage(path).free
  if need > free:
    raise OSError(
      errno.ENOSPC,
      f'{os.strerror(errno.ENOSPC)}: the latents that are missing take up to '
      f'{need / 1e9:.3f} GB, {free / 1e9:.3f} GB are free in {path}',
    )
  return missing


def claim(path: pathlib.Path, asked: Mapping[str, Any]) -> None:
  """ValueError if a folder holds other latents than those, or something else."""
  for name in (_latents.WORK, _latents.FACTS):
    there = _latents.read_json(path / name)
    differ = works.difference(there, asked) if there is not None else []
    if differ:
      raise ValueError(
        f'{path} holds latents of another kind (there -> asked for):\n  '
        + '\n  '.join(differ)
        + '\nTake another path (config.extract.path, or --workdir), or remove '
        'that folder.'
      )
  if path.is_dir() and not (path / _latents.WORK).exists():
    others = [p.name for p in path.iterdir() if p.suffix != '.part']
    if others and not (path / _latents.FACTS).exists():
      raise ValueError(
        f'{path} is not empty and no folder of latents (it holds '
        f'{", ".join(sorted(others)[:5])}). Take another path.'
      )


def _missing(path: pathlib.Path, task: Task) -> list[int]:
  count = task.chunks()
  missing = []
  for i in range(count):
    start, stop = task.bounds(i)
    file = path / _latents.chunk_name(i, count)
    if not _latents.has_chunk(file, stop - start, _row_bytes(task)):
      missing.append(i)
  return missing


def _row_bytes(task: Task) -> int:
  return task.work['width'] * np.dtype(task.work['dtype']).itemsize


@contextlib.contextmanager
def explained(path: pathlib.Path) -> Iterator[None]:
  """Turns a full disk into an error that says what is safe and what to do."""
  try:
    yield
  except (OSError, RuntimeError) as error:
    # array_record raises a RuntimeError with the system's text in it.
    if not any(os.strerror(code) in str(error) for code in _FULL):
      raise
    raise OSError(
      errno.ENOSPC,
      f'The disk of {path} is full ({error}). The files that have their names '
      'are safe: free some space and give the same command again to go on',
    ) from error


def complete(
  exp: Experiment,
  path: pathlib.Path,
  task: Task,
  labels: Mapping[str, np.ndarray],
  origin: Mapping[str, Any],
  device: str,
) -> None:
  """Looks through all chunks, and writes examples.npz and latents.json.

  Warns of latents that are not finite, or zero. Raises ValueError for a chunk
  that is damaged.
  """
  work, m = task.work, task.work['modality']
  store = _latents.Latents(path, work)
  digest, nonfinite, zero = _looked_through(store, task)
  _warn(m, task, nonfinite, zero)
  fields = {'class_names': np.array(exp.kit.class_names, str)}
  for split in SPLITS:
    entry_N = task.pool.entry[split]
    fields[f'{split}_entry'] = entry_N.astype(np.int64)
    fields[f'{split}_id'] = np.array(works.ids(split, len(entry_N)), str)
    fields[f'{split}_label'] = labels[split]
  fields |= {'digest': digest, 'nonfinite': nonfinite, 'zero': zero}
  with _latents.whole(path / _latents.EXAMPLES) as part, open(part, 'wb') as f:
    np.savez_compressed(f, **fields)  # pyright: ignore
  names = [_latents.chunk_name(i, task.chunks()) for i in range(task.chunks())]
  facts = {
    **work,
    'files': {n: _file(path / n) for n in (*names, _latents.EXAMPLES)},
    'nonfinite': len(nonfinite),
    'zero': len(zero),
    'encoder': {**work['encoder'], **origin},
    'modalities': list(exp.kit.modalities),
    'config': works.whole(exp.config),
    'versions': folder.provenance()['versions'],
    'device': device,
  }
  _latents.write_json(path / _latents.FACTS, facts)


def _looked_through(store: _latents.Latents, task: Task) -> tuple:
  """(u64[P], i64 of the entries that are not finite, and that are zero)."""
  told = []
  for i in range(task.chunks()):
    z_RD = store.chunk(i)
    told.append((_latents.digests(z_RD), *_latents.faults(z_RD)))
  digest, nonfinite, zero = map(np.concatenate, zip(*told))
  return digest, np.flatnonzero(nonfinite), np.flatnonzero(zero)


def _warn(m: str, task: Task, nonfinite: np.ndarray, zero: np.ndarray) -> None:
  for what, at in (('NaN or infinite', nonfinite), ('zero', zero)):
    if len(at):
      warnings.warn(
        f'{len(at)} of {task.pool.size} latents of {m!r} are {what} '
        f"({task.pool.ids(at)}). They are stored as they are; config.data.bad='"
        "drop' leaves them out when they are read.",
        stacklevel=2,
      )


def _file(path: pathlib.Path) -> dict[str, Any]:
  with open(path, 'rb') as file:
    digest = hashlib.file_digest(file, 'sha256').hexdigest()
  return {'bytes': path.stat().st_size, 'sha256': digest}


def told(path: pathlib.Path, names: Sequence[str]) -> dict[str, Any]:
  """What latents.json of each modality holds."""
  return {m: _latents.opened(path / m).facts for m in names}
