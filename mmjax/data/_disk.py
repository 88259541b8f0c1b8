"""Full disks: seen ahead where possible, explained where not."""

import contextlib
import errno
import os
import pathlib
import shutil
from collections.abc import Iterator, Sequence

_FULL = (errno.ENOSPC, errno.EDQUOT)


def check_space(work: pathlib.Path, paths: Sequence[pathlib.Path]) -> None:
  """Raises OSError unless a copy of all `paths` fits beside them."""
  need = sum(path.stat().st_size for path in paths)
  free = shutil.disk_usage(work).free
  if need > free:
    raise OSError(
      errno.ENOSPC,
      f'{os.strerror(errno.ENOSPC)}: the shards need {need / 1e9:.3f} GB, '
      f'{free / 1e9:.3f} GB are free',
    )


@contextlib.contextmanager
def explained(work: pathlib.Path, total: int) -> Iterator[None]:
  """Turns a full disk into an error that says what is safe and what to do."""
  try:
    yield
  except Exception as error:
    # array_record raises a RuntimeError with the system's text in it.
    if not any(os.strerror(code) in str(error) for code in _FULL):
      raise
    for part in work.glob('*.part'):
      part.unlink()
    shutil.rmtree(work / 'tfds', ignore_errors=True)
    done = len(list(work.glob('*.npz')))
    raise OSError(
      errno.ENOSPC,
      f'The disk of {work} is full ({error}). Nothing half-finished is left, '
      f'and the {done} of {total} examples decoded so far are kept there: free '
      f'some space and run the same command again to go on, or remove {work}',
    ) from error
