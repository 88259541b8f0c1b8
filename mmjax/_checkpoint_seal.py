"""The seal of a checkpoint: a digest of every file that was written."""

import hashlib
import json
import logging
import os
import pathlib
import sys

import absl.logging

SEAL = 'seal.json'


def seal(folder: pathlib.Path) -> None:
  """Notes the digest of every file of the items in a checkpoint's folder."""
  # What lies beside the items, orbax writes once more at the commit.
  files = sorted(path for path in folder.glob('*/**/*') if path.is_file())
  digests = {str(path.relative_to(folder)): _digest(path) for path in files}
  (folder / SEAL).write_text(json.dumps(digests), 'utf8')


def broken(folder: pathlib.Path) -> str:
  """What differs from the seal of a checkpoint, '' if nothing does."""
  try:
    digests = json.loads((folder / SEAL).read_text('utf8'))
    for name, want in digests.items():
      if _digest(folder / name) != want:
        return f'{name} does not hold what was written'
  except OSError as error:
    return str(error)
  except (ValueError, AttributeError) as error:
    return f'{SEAL} cannot be read ({error})'
  return ''


def _digest(path: pathlib.Path) -> str:
  with open(path, 'rb') as file:
    return hashlib.file_digest(file, 'sha256').hexdigest()


def hush() -> None:
  """Keeps orbax from printing traces of what we say in a sentence.

  With --verbosity=0 or more they are heard again.
  """
  for name in ('absl', 'asyncio'):
    logger = logging.getLogger(name)
    if _not_orbax not in logger.filters:
      logger.addFilter(_not_orbax)
  if not hasattr(sys.unraisablehook, 'hushed'):
    sys.unraisablehook = _Hook(sys.unraisablehook)


def _not_orbax(record: logging.LogRecord) -> bool:
  loud = absl.logging.get_verbosity() >= absl.logging.INFO
  return loud or 'orbax' not in record.pathname + record.getMessage()


class _Hook:
  """Drops what writes in flight say once the first of them has failed."""

  def __init__(self, hushed):
    self.hushed = hushed

  def __call__(self, event):
    code = getattr(event.object, 'cr_code', None)  # of a coroutine
    if code and f'{os.sep}orbax{os.sep}' in code.co_filename:
      return
    if str(event.exc_value) != 'Event loop is closed':
      self.hushed(event)
