"""A lock between processes that the system drops with its holder."""

import contextlib
import errno
import fcntl
import os
import pathlib
from collections.abc import Iterator
from typing import TextIO


@contextlib.contextmanager
def held(path: pathlib.Path, wait: bool) -> Iterator[None]:
  """Holds the lock file `path`; one whose holder has died is taken over.

  Raises BlockingIOError if another process holds it, unless `wait`.
  """
  path.parent.mkdir(parents=True, exist_ok=True)
  while True:
    file = open(path, 'a+')  # noqa: SIM115  (held until the end)
    try:
      fcntl.flock(file, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
    except BlockingIOError as error:
      file.seek(0)
      holder = file.read() or 'unknown'
      file.close()
      raise BlockingIOError(
        errno.EAGAIN,
        f'Another process ({holder}) is preparing these data: it holds {path}. '
        'Let it finish and run this again, end it (what it has decoded is '
        'kept), or prepare into another data_dir',
      ) from error
    if _is_at(file, path):
      break
    file.close()
  try:
    file.truncate(0)
    file.write(f'process {os.getpid()} on {os.uname().nodename}')
    file.flush()
    yield
  finally:
    path.unlink(missing_ok=True)
    file.close()


def _is_at(file: TextIO, path: pathlib.Path) -> bool:
  """Whether the file we locked is not one that its last holder removed."""
  try:
    return os.path.samestat(os.fstat(file.fileno()), path.stat())
  except FileNotFoundError:
    return False
