"""The folder of an export: written whole, replaced on demand only."""

import contextlib
import hashlib
import importlib.util
import json
import os
import pathlib
import shutil
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from mmjax import folder
from mmjax.data import _lock

SIGNATURE, CARD, SERVE = 'signature.json', 'README.md', 'serve.py'
WEIGHTS, ARTEFACT = 'model.safetensors', 'model.jaxexport'
OURS = (SIGNATURE, CARD, SERVE, WEIGHTS, ARTEFACT, '__pycache__')
NEEDED = {
  'flatbuffers': 'pip install flatbuffers',
  'safetensors': "pip install 'mmjax[pretrained]'",
}


def check_libraries() -> None:
  """ValueError, with the way out, if one that writing needs is not there."""
  for name, command in NEEDED.items():
    if importlib.util.find_spec(name) is None:
      raise ValueError(
        f'--mode=export needs the library {name}, which is not installed: '
        f'{command}'
      )


@contextlib.contextmanager
def alone(path: pathlib.Path) -> Iterator[None]:
  """Holds the folder. Raises ValueError if another process does."""
  lock = path.with_name(f'.{path.name}.lock')
  with contextlib.ExitStack() as stack:
    try:
      stack.enter_context(_lock.held(lock, wait=False))
    except BlockingIOError as error:
      raise ValueError(
        f'Another process is exporting to {path} (it holds {lock}). Wait for '
        'it, or take another --out.'
      ) from error
    old, part = _beside(path)
    shutil.rmtree(part, ignore_errors=True)
    _mend(path, old)
    yield


def there(
  path: pathlib.Path, origin: Mapping[str, Any], overwrite: bool
) -> dict[str, Any]:
  """The signature of an export of this very model; {} if there is no other.

  Raises ValueError if there is anything else, which --overwrite replaces if it
  is an export.
  """
  if not path.exists() or (path.is_dir() and not any(path.iterdir())):
    return {}
  signature = _signature(path)
  names = sorted(p.name for p in path.iterdir()) if path.is_dir() else []
  others = [name for name in names if name not in OURS]
  if not signature or (overwrite and others):
    what = 'holds more than an export' if signature else 'is no export'
    raise ValueError(
      f'{path} {what}: {", ".join((others or names)[:5])}. Take another --out, '
      'or move that away.'
    )
  if overwrite:
    return {}
  differ = [
    f'{key}: {signature["origin"].get(key)!r} -> {value!r}'
    for key, value in origin.items()
    if key != 'run' and signature['origin'].get(key) != value
  ]
  if differ:
    raise ValueError(
      f'{path} holds the export of another model (there -> here):\n  '
      + '\n  '.join(differ)
      + '\nTake another --out, or give --overwrite to replace it.'
    )
  lost = [name for name in OURS[:-1] if name not in names]
  if lost:
    raise ValueError(
      f'{path} lacks {", ".join(lost)}. Give --overwrite to write it anew.'
    )
  return signature


def _signature(path: pathlib.Path) -> dict[str, Any]:
  try:
    found = json.loads((path / SIGNATURE).read_text('utf8'))
    return found if isinstance(found['origin'], dict) else {}
  except (OSError, ValueError, KeyError, TypeError):
    return {}


@contextlib.contextmanager
def whole(path: pathlib.Path) -> Iterator[pathlib.Path]:
  """A folder to write to, which takes the place of `path` once it is safe."""
  old, part = _beside(path)
  try:
    part.mkdir(parents=True)
    yield part
    for file in part.iterdir():
      with open(file, 'rb') as opened:
        os.fsync(opened.fileno())
    if path.exists():
      path.rename(old)
    part.rename(path)
  finally:
    shutil.rmtree(part, ignore_errors=True)
    _mend(path, old)


def _mend(path: pathlib.Path, old: pathlib.Path) -> None:
  """Puts what was there back, if nothing has taken its place."""
  if old.exists() and not path.exists():
    old.rename(path)
  shutil.rmtree(old, ignore_errors=True)


def _beside(path: pathlib.Path) -> tuple[pathlib.Path, pathlib.Path]:
  """Places of what is replaced and of what is written, nobody else's names."""
  names = (f'.{path.name}.replaced', f'.{path.name}.part')
  return path.with_name(names[0]), path.with_name(names[1])


def write(
  part: pathlib.Path,
  weights: Mapping[str, np.ndarray],
  artefact: bytes,
  signature: Mapping[str, Any],
  card: str,
  serve: str,
) -> dict[str, Any]:
  """Writes the files; the signature, with digests of the others, as it is."""
  import safetensors.numpy

  # One string: the library writes several in any order.
  about = {'origin': signature['origin'], 'config': signature['config']}
  about = {'mmjax': json.dumps(about, sort_keys=True)}
  plain = {n: np.asarray(x, order='C') for n, x in weights.items()}
  (part / ARTEFACT).write_bytes(artefact)
  safetensors.numpy.save_file(plain, part / WEIGHTS, metadata=about)
  shutil.copymode(part / ARTEFACT, part / WEIGHTS)  # or it is the owner's alone
  (part / CARD).write_text(card, 'utf8')
  (part / SERVE).write_text(serve, 'utf8')
  files = {n: _file(part / n) for n in (WEIGHTS, ARTEFACT)}
  signature = {**signature, 'files': files}
  folder.write_json(part / SIGNATURE, signature)
  return signature


def _file(path: pathlib.Path) -> dict[str, Any]:
  with open(path, 'rb') as file:
    digest = hashlib.file_digest(file, 'sha256').hexdigest()
  return {'bytes': path.stat().st_size, 'sha256': digest}
