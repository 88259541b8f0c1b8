"""Reading a `.npz` file of a stranger: never pickle, every error in words."""

import contextlib
import difflib
import pathlib
import zipfile
import zlib
from collections.abc import Iterator

import numpy as np

BROKEN = (ValueError, OSError, EOFError, zipfile.BadZipFile, zlib.error)


class Npz:
  """The fields of an open file, each decompressed once."""

  def __init__(self, path: str, file: np.lib.npyio.NpzFile):
    self.path = path
    self.names = tuple(file.files)
    self._file = file
    self._read: dict[str, np.ndarray] = {}

  def form(self, name: str) -> tuple[tuple[int, ...], str]:
    """Shape and kind of dtype of a field, from its header alone."""
    archive = self._file.zip
    assert archive is not None  # it is open for as long as this object is used
    with archive.open(f'{name}.npy') as member:
      version = np.lib.format.read_magic(member)
      if version == (1, 0):
        shape, _, dtype = np.lib.format.read_array_header_1_0(member)
      else:
        shape, _, dtype = np.lib.format.read_array_header_2_0(member)
    return shape, dtype.kind

  def read(self, name: str, option: str) -> np.ndarray:
    """A field; `option` names the setting that asked for it, for the error."""
    if name not in self.names:
      close = difflib.get_close_matches(name, self.names, 1)
      hint = f' Did you mean {close[0]!r}?' if close else ''
      if option == 'split_field':
        hint += ' (--config.data.split_field= draws the splits.)'
      raise ValueError(
        f'{option}={name!r} is no field of {self.path}.{hint} Its fields are '
        f'{", ".join(self.names)}.'
      )
    if name not in self._read:
      try:
        self._read[name] = self._file[name]
      except BROKEN as error:
        raise ValueError(
          f'Field {name!r} of {self.path} cannot be read: {error}. Fields must '
          'be plain arrays (numbers or fixed-width strings), as np.savez writes '
          'them; an object array needs pickle, which is never loaded. If the '
          'file is cut short or damaged, copy it again.'
        ) from error
    return self._read[name]


@contextlib.contextmanager
def opened(path: str) -> Iterator[Npz]:
  """Opens a `.npz` file; ValueError if it is missing or something else."""
  if not path:
    raise ValueError(
      'path is empty: it must name a .npz file, --config.data.path=my.npz.'
    )
  full = pathlib.Path(path).expanduser()
  if not full.is_file():
    raise ValueError(f'path={path!r} is not a file.')
  # Opened here, since np.load forgets to close what it cannot read.
  with full.open('rb') as handle:
    try:
      file = np.load(handle, allow_pickle=False)
    except BROKEN as error:
      raise ValueError(
        f'path={path!r} is not a .npz file that can be read: {error}. Write it '
        'with np.savez(path, name=array, ...).'
      ) from error
    if not isinstance(file, np.lib.npyio.NpzFile):
      raise ValueError(
        f'path={path!r} holds one nameless array (.npy). Write named arrays '
        'with np.savez(path, name=array, ...).'
      )
    with file:
      yield Npz(path, file)
