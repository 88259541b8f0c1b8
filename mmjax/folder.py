"""A run folder: one config, one run, nothing overwritten."""

import contextlib
import fcntl
import importlib.metadata
import json
import math
import os
import pathlib
import subprocess
import sys
import warnings
from collections.abc import Iterator, Mapping
from typing import Any

import jax

CONFIG, RESULTS = 'config.json', 'results.json'
PACKAGES = ('jax', 'jaxlib', 'flax', 'optax', 'orbax-checkpoint', 'numpy')
# Where a run happens may change from one start to the next; what it is may not.
PLACES = ('mesh', 'reader')
# What is asked of the adviser or the generator, and where latents came from, are
# no part of a run.
ASIDE = (*PLACES, 'advise', 'extract', 'generate')
LOCK = '.lock'


@contextlib.contextmanager
def claimed(
  workdir: pathlib.Path,
  config: Mapping[str, Any],
  facts: Mapping[str, Any] | None = None,
) -> Iterator[None]:
  """Holds a run folder: a new one, an empty one, or one of the same config.

  A new one gets its config.json, with `facts` about the data beside the config.
  The system drops the lock of a process that dies.

  Raises ValueError if the folder holds a run of another config, with the
  difference, or files that are no run, or if another process trains in it.
  """
  _check(workdir, config)
  workdir.mkdir(parents=True, exist_ok=True)
  with open(workdir / LOCK, 'a') as file:
    try:
      fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
      raise ValueError(
        f'Another process is training in {workdir}. Wait for it, stop it, or '
        'take another --workdir.'
      ) from error
    _check(workdir, config)  # once more: somebody may have been faster
    if not (workdir / CONFIG).exists():
      record = {'config': config, **(facts or {}), **provenance()}
      write_json(workdir / CONFIG, record)
    yield


def _check(workdir: pathlib.Path, config: Mapping[str, Any]) -> None:
  if (workdir / CONFIG).exists():
    difference = compare(read_config(workdir), config)
    if difference:
      raise ValueError(
        f'{workdir} holds a run of another config (there -> here):\n  '
        + '\n  '.join(difference)
        + '\nTake another --workdir, or the old config to go on with that run.'
      )
  elif workdir.exists():
    ours = (LOCK, _temporary(workdir / CONFIG).name)
    names = sorted(p.name for p in workdir.iterdir() if p.name not in ours)
    if names:
      raise ValueError(
        f'{workdir} is not empty and no run folder (it holds '
        f'{", ".join(names[:5])}). Take another --workdir.'
      )


def read_config(workdir: pathlib.Path) -> dict[str, Any]:
  """The config of a run folder, with tuples as they were.

  Raises ValueError if there is none, or it cannot be read.
  """
  path = workdir / CONFIG
  if not path.exists():
    raise ValueError(
      f'{workdir} is no run folder: it has no {CONFIG}. Give the --workdir of '
      'a run that was started with --mode=train.'
    )
  try:
    return _tuples(json.loads(path.read_text('utf8'))['config'])
  except (ValueError, KeyError, TypeError) as error:
    raise ValueError(f'{path} cannot be read: {error}') from error


def compare(old: Mapping, new: Mapping, place: str = 'config') -> list[str]:
  """Lines 'place: old -> new' of what differs and makes it another run."""
  lines = []
  for key in sorted({*old, *new}):
    here = f'{place}.{key}'
    if place == 'config' and key in ASIDE:
      continue
    a, b = old.get(key, '(none)'), new.get(key, '(none)')
    if isinstance(a, Mapping) and isinstance(b, Mapping):
      lines += compare(a, b, here)
    elif a != b:
      lines.append(f'{here}: {a!r} -> {b!r}')
  return lines


def write_json(path: pathlib.Path, value: Any) -> None:
  """Writes whole or not at all; NaN and infinity become null."""
  temporary = _temporary(path)
  try:
    temporary.write_text(
      json.dumps(_nulls(value), indent=1, allow_nan=False), 'utf8'
    )
    os.replace(temporary, path)
  finally:
    temporary.unlink(missing_ok=True)


def _temporary(path: pathlib.Path) -> pathlib.Path:
  return path.with_suffix('.tmp')


@contextlib.contextmanager
def forgiving(path: pathlib.Path, again: str) -> Iterator[None]:
  """A file that cannot be written is a warning, and `again` the way out."""
  try:
    yield
  except OSError as error:
    warnings.warn(
      f'{path} could not be written ({error}). When that is mended, {again}.',
      stacklevel=4,
    )


def provenance() -> dict[str, Any]:
  """What numbers may depend on besides the config."""
  return {
    'versions': {
      'python': sys.version.split()[0],
      **{name: importlib.metadata.version(name) for name in PACKAGES},
    },
    'revision': _revision(),
    'devices': [f'{d.platform}:{d.device_kind}' for d in jax.devices()],
    'processes': jax.process_count(),
  }


def _revision() -> str:
  """The git revision of this code, '' outside a checkout."""
  root = pathlib.Path(__file__).resolve().parent.parent
  if not (root / '.git').exists():
    return ''
  try:
    told = subprocess.run(
      ['git', 'describe', '--always', '--dirty', '--abbrev=12'],
      cwd=root,
      capture_output=True,
      text=True,
      check=True,
    )
  except (OSError, subprocess.CalledProcessError):
    return ''
  return told.stdout.strip()


def _nulls(value: Any) -> Any:
  if isinstance(value, dict):
    return {k: _nulls(v) for k, v in value.items()}
  if isinstance(value, (list, tuple)):
    return [_nulls(v) for v in value]
  return (
    None if isinstance(value, float) and not math.isfinite(value) else value
  )


def _tuples(value: Any) -> Any:
  if isinstance(value, dict):
    return {k: _tuples(v) for k, v in value.items()}
  return tuple(map(_tuples, value)) if isinstance(value, list) else value
