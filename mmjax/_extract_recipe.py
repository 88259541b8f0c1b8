"""The recipe of the encoders, and the section config.extract, checked."""

import difflib
import pathlib
import runpy
import sys
import traceback
from collections.abc import Mapping
from typing import Any, NamedTuple

from mmjax._compose import call, plain
from mmjax.data import _latents

ROOT = pathlib.Path(__file__).resolve().parent.parent


class Settings(NamedTuple):
  """The section config.extract."""

  path: str
  recipe: str
  run: str
  train: bool
  modalities: tuple[str, ...]
  batch_size: int
  chunk: int
  dtype: str


def settings(section: Mapping[str, Any]) -> Settings:
  """Raises ValueError, naming the place in the config and the way out."""
  return call(_settings, plain(section), 'config.extract')


def _settings(
  *,
  path: str = '',
  recipe: str = '',
  run: str = '',
  train: bool = True,
  modalities: tuple[str, ...] = (),
  batch_size: int = 256,
  chunk: int = 4096,
  dtype: str = 'float32',
) -> Settings:
  """What of the encoders is extracted, and where to.

  Args:
    path: folder of the latents, one of its own for each modality.
    recipe: of the encoders, 'configs/x.py' or 'configs/x.py:argument'; '' is
      the config itself.
    run: folder of their training; '' is <path>/encoders.
    train: False takes encoders as they begin: with their published weights.
    modalities: () is all.
    batch_size: of each device.
    chunk: latents in a file, what a killed extraction loses at most.
    dtype: of the files.
  """
  if isinstance(modalities, str):
    raise ValueError(
      f'config.extract.modalities={modalities!r} must be a tuple; one alone '
      f"needs a comma, ('{modalities}',)."
    )
  check(batch_size, chunk, dtype)
  return Settings(
    path, recipe, run, train, tuple(modalities), batch_size, chunk, dtype
  )


def check(batch_size: int, chunk: int, dtype: str) -> None:
  for name, value in (('batch_size', batch_size), ('chunk', chunk)):
    if not isinstance(value, int) or value < 1:
      raise ValueError(
        f'config.extract.{name}={value!r} must be an integer above 0.'
      )
  if dtype not in _latents.DTYPES:
    raise ValueError(
      f'config.extract.dtype={dtype!r} must be {" or ".join(_latents.DTYPES)}.'
    )


def load(recipe: str) -> dict[str, Any]:
  """The config of a recipe file, looked for here and then beside the code.

  Raises ValueError if there is none, or it cannot be read.
  """
  name, _, argument = recipe.partition(':')
  found = [p for p in (pathlib.Path(name), ROOT / name) if p.is_file()]
  if not found:
    there = sorted(str(p.relative_to(ROOT)) for p in ROOT.glob('configs/*.py'))
    close = difflib.get_close_matches(name, there, 1)
    hint = f' Did you mean {close[0]}?' if close else ''
    raise ValueError(f'config.extract.recipe={recipe!r} is no file.{hint}')
  if str(ROOT) not in sys.path:  # they say `from configs import common`
    sys.path.insert(0, str(ROOT))
  try:
    get_config = runpy.run_path(str(found[0])).get('get_config')
    if get_config is None:
      raise ValueError('it has no get_config')
    return plain(get_config(argument) if argument else get_config())
  except Exception as error:  # a recipe can raise anything
    frames = traceback.extract_tb(error.__traceback__)
    lines = [f.lineno for f in frames if f.filename == str(found[0])]
    where = f', line {lines[-1]}' if lines else ''
    raise ValueError(
      f'config.extract.recipe: {found[0]}{where}: {type(error).__name__}: '
      f'{error}'
    ) from error
