"""A run folder: one config, one run, nothing overwritten."""

import contextlib
import fcntl
import importlib.metadata
import json
import os
import pathlib
import subprocess
import sys
from collections.abc import Iterator, Mapping
from typing import Any

import jax

CONFIG, RESULTS = 'config.json', 'results.json'
PACKAGES = ('jax', 'jaxlib', 'flax', 'optax', 'orbax-checkpoint', 'numpy')
# Where a run happens may change from one start to the next; what it is may not.
PLACES = ('mesh', 'reader', 'seeds_how')


def claim(
  workdir: pathlib.Path,
  config: Mapping[str, Any],
  facts: Mapping[str, Any] | None = None,
) -> None:
  """Writes config.json into a new folder, or checks that it is the same run.

  `facts` about the data stand beside the config there.

  Raises ValueError if the folder holds a run of another config, with the
  difference, or files that are no run.
  """
  path = workdir / CONFIG
  if path.exists():
    difference = compare(read_config(workdir), config)
    if difference:
      raise ValueError(
        f'{workdir} holds a run of another config (there -> here):\n  '
        + '\n  '.join(difference)
        + '\nTake another --workdir, or the old config to go on with that run.'
      )
    return
  if workdir.exists() and any(workdir.iterdir()):
    names = sorted(p.name for p in workdir.iterdir() if p.name != '.lock')
    if names:
      raise ValueError(
        f'{workdir} is not empty and no run folder (it holds '
        f'{", ".join(names[:5])}). Take another --workdir.'
      )
  workdir.mkdir(parents=True, exist_ok=True)
  write_json(path, {'config': config, **(facts or {}), **provenance()})


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
  except (ValueError, KeyError) as error:
    raise ValueError(f'{path} cannot be read: {error}') from error


def compare(old: Mapping, new: Mapping, place: str = 'config') -> list[str]:
  """Lines 'place: old -> new' of what differs and makes it another run."""
  lines = []
  for key in sorted({*old, *new}):
    here = f'{place}.{key}'
    if place == 'config' and key in PLACES:
      continue
    a, b = old.get(key, '(none)'), new.get(key, '(none)')
    if isinstance(a, Mapping) and isinstance(b, Mapping):
      lines += compare(a, b, here)
    elif a != b:
      lines.append(f'{here}: {a!r} -> {b!r}')
  return lines


@contextlib.contextmanager
def locked(workdir: pathlib.Path) -> Iterator[None]:
  """Holds the folder against a second process that would train in it.

  Raises ValueError if another process has it. The system drops the lock of a
  process that dies.
  """
  workdir.mkdir(parents=True, exist_ok=True)
  with open(workdir / '.lock', 'a') as file:
    try:
      fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
      raise ValueError(
        f'Another process is training in {workdir}. Wait for it, stop it, or '
        'take another --workdir.'
      ) from error
    yield


def write_json(path: pathlib.Path, value: Any) -> None:
  """Writes whole or not at all."""
  temporary = path.with_suffix('.tmp')
  temporary.write_text(json.dumps(value, indent=1, allow_nan=True), 'utf8')
  os.replace(temporary, path)


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


def _tuples(value: Any) -> Any:
  if isinstance(value, dict):
    return {k: _tuples(v) for k, v in value.items()}
  return tuple(map(_tuples, value)) if isinstance(value, list) else value
