"""Latents of frozen encoders: each entry of a data set is encoded once, and kept.

python -m mmjax.main --mode=extract --workdir=runs/my_encoders
python -m mmjax.main --mode=extract --config=<a recipe with a section extract>

Chunks of the entries are shared out among processes and written one by one, so
that an extraction that was killed goes on where it stopped. What a folder holds
in the end is told in `data/latents.py`, which reads it.
"""

import contextlib
import os
import pathlib
from collections.abc import Iterator, Mapping
from typing import Any

import jax
import numpy as np
from jax.experimental import multihost_utils

from mmjax import _extract_chunks as chunks
from mmjax import _extract_encoders as encoders
from mmjax import _extract_finish as folders
from mmjax import _extract_recipe as recipes
from mmjax import _extract_work as works
from mmjax._compose import plain
from mmjax._extract_encoders import Encoders
from mmjax._extract_recipe import Settings
from mmjax.base import TrainState
from mmjax.checkpoint import anywhere
from mmjax.data import _latents
from mmjax.experiment import Experiment

settings = recipes.settings
ENCODERS = 'encoders'  # the run that latents come from, in their folder


def run(
  exp: Experiment,
  state: TrainState,
  path: str | os.PathLike,
  *,
  modalities: tuple[str, ...] = (),
  batch_size: int = 256,
  chunk: int = 4096,
  dtype: str = 'float32',
  origin: Mapping[str, Any] = {},  # noqa: B006 (never written)
) -> dict[str, Any]:
  """Encodes all splits and writes a folder of latents for each modality.

  The files are the same, bit for bit, whatever was killed on the way, and
  however many devices and processes take part.

  Args:
    exp: from `experiment.build`, whose data are encoded as in evaluation.
    state: of one model.
    path: to write to; a folder of its own for each modality.
    modalities: () is all.
    batch_size: of each device.
    chunk: entries in a file.
    dtype: 'float32' or 'float16'.
    origin: of the state, such as the name of its run; goes into latents.json.

  Returns:
    What latents.json holds, by modality.

  Raises:
    ValueError: there are other latents, or somebody else is extracting.
    OSError: the disk is full.
  """
  recipes.check(batch_size, chunk, dtype)
  path = pathlib.Path(path).expanduser()
  todo = works.tasks(
    exp, state, modalities, batch_size=batch_size, chunk=chunk, dtype=dtype
  )
  with contextlib.ExitStack() as stack:
    with _together(path):
      missing = {m: [] for m in todo}
      if jax.process_index() == 0:
        stack.enter_context(folders.alone(path))
        missing = folders.begin(path, todo)
    units = chunks.units(todo, _told_by_first(todo, missing))
    mine = units[jax.process_index() :: jax.process_count()]
    with _together(path), folders.explained(path):
      labels = chunks.encode(exp, state, todo, mine, path)
    labels = {split: _gathered(known) for split, known in labels.items()}
    with _together(path), folders.explained(path):
      if jax.process_index() == 0:
        _complete(exp, path, todo, labels, origin)
  facts = folders.told(path, tuple(todo))
  for m, told in facts.items():
    _say(f'{m}: {told["rows"]:,} latents of width {told["width"]}: {path / m}')
  return facts


def _complete(exp, path, todo, labels, origin) -> None:
  left = [m for m in todo if not (path / m / _latents.FACTS).exists()]
  if left:
    chunks.read_labels(exp, labels)
  for m in left:
    device = exp.mesh.devices.flat[0]
    kind = f'{device.platform}:{device.device_kind}'
    folders.complete(exp, path / m, todo[m], labels, origin, kind)


def ensure(section: Mapping[str, Any], config: Any = None) -> dict[str, Any]:
  """Sees to it that the latents a config.extract speaks of are there.

  If they are not, the encoders' recipe is trained (or gone on with, or its
  checkpoint read; or nothing is trained, if the section says so), and its first
  model's latents are extracted.

  Args:
    section: config.extract.
    config: whose section it is. Without it, a section that names no recipe asks
      for nothing, and nothing is done.

  Returns:
    What latents.json holds, by modality.

  Raises:
    ValueError: the section or the recipe is wrong, or the folder holds latents
      of another one.
    train.Stopped: by a signal; the same command goes on.
  """
  asked = settings(section)
  if config is None and not asked.recipe:
    return {}
  if not asked.path:
    raise ValueError(
      'config.extract.path is empty: name the folder of the latents.'
    )
  wanted = recipes.load(asked.recipe) if asked.recipe else plain(config or {})
  path = pathlib.Path(asked.path).expanduser()
  names = asked.modalities or _recorded(path, wanted)
  if not anywhere(not names or not _there(path, names, wanted, asked)):
    _say(f'Latents of {", ".join(names)}: {path}')
    return folders.told(path, names)
  exp = encoders.built(wanted)
  _there(path, asked.modalities or exp.kit.modalities, exp.config, asked)
  if not asked.train:
    return _of(encoders.initial(exp), path, asked)
  place = pathlib.Path(asked.run).expanduser() if asked.run else path / ENCODERS
  _say(f'Encoders: {place}')
  return _of(encoders.trained(exp, place), path, asked)


def of_run(
  workdir: pathlib.Path, config: Mapping[str, Any], section: Mapping[str, Any]
) -> dict[str, Any]:
  """Extracts what the encoders of a run see in the run's data.

  Args:
    workdir: of the run.
    config: of the run.
    section: config.extract; its path is <workdir>/latents if it names none, its
      recipe and run are not asked.

  Raises ValueError if there is no checkpoint.
  """
  asked = settings(section)
  path = pathlib.Path(asked.path) if asked.path else workdir / 'latents'
  return _of(encoders.of_run(encoders.built(config), workdir), path, asked)


def initial(config: Any, path: pathlib.Path) -> dict[str, Any]:
  """Extracts with encoders as they are initialised, or loaded, untrained."""
  made = encoders.initial(encoders.built(plain(config)))
  return _of(made, path, settings({}))


def _of(made: Encoders, path: pathlib.Path, asked: Settings) -> dict[str, Any]:
  return run(
    made.exp,
    made.state,
    path,
    modalities=asked.modalities,
    batch_size=asked.batch_size,
    chunk=asked.chunk,
    dtype=asked.dtype,
    origin=made.origin,
  )


def _recorded(path: pathlib.Path, config: Mapping[str, Any]) -> tuple[str, ...]:
  """The modalities of a recipe, as latents of it tell; () without any."""
  for file in sorted(path.glob(f'*/{_latents.FACTS}')):
    facts = _latents.read_json(file) or {}
    if not works.difference(facts, {'config': works.whole(config)}):
      return tuple(facts['modalities'])
  return ()


def _there(path, names, config, asked: Settings) -> bool:
  """Whether all latents are complete. Raises ValueError if they are others."""
  for m in names:
    options = {'dtype': asked.dtype, 'chunk': asked.chunk}
    options |= {'batch_size': asked.batch_size, 'format': _latents.FORMAT}
    parts = {**works.recipe(config, m), 'config': works.whole(config)}
    folders.claim(path / m, {**options, **parts})
  return all((path / m / _latents.FACTS).exists() for m in names)


def _told_by_first(todo, missing) -> dict[str, list[int]]:
  """The missing chunks as process 0 has seen them."""
  if jax.process_count() == 1:
    return missing
  seen = {m: np.zeros(task.chunks(), bool) for m, task in todo.items()}
  for m, at in missing.items():
    seen[m][at] = True
  seen = multihost_utils.broadcast_one_to_all(seen)
  return {m: np.flatnonzero(x).tolist() for m, x in seen.items()}


def _gathered(labels: np.ndarray) -> np.ndarray:
  """Labels that any process has met."""
  if jax.process_count() == 1:
    return labels
  return np.asarray(multihost_utils.process_allgather(labels)).max(0)


@contextlib.contextmanager
def _together(path: pathlib.Path) -> Iterator[None]:
  """All processes meet at the end; if one of them has failed, all fail."""
  failed = None
  try:
    yield
  except (
    Exception
  ) as error:  # whatever it is, the others must not wait for ever
    failed = error
  if anywhere(failed is not None):
    raise failed or ValueError(
      f'Another process could not extract into {path}; it says why.'
    )


def _say(text: str) -> None:
  if jax.process_index() == 0:
    print(text, flush=True)
