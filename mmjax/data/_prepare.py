"""Raw files -> an array_record data set: parallel, resumable, all or nothing.

Each item is encoded once, into a file of its own in `<data_dir>/<name>.work`
that is named after everything it was made from. A run that was killed goes on
where it stopped, and a changed setting or source file redoes what it touches.
Then TFDS writes the shards, inside the same folder, and one rename publishes
them: what stands under `<data_dir>/<name>/<version>` is complete.
"""

import concurrent.futures
import contextlib
import hashlib
import io
import json
import os
import pathlib
import shutil
import time
import warnings
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from importlib import metadata
from typing import Any, NamedTuple

import numpy as np
import rich.console
import rich.progress
import tensorflow_datasets as tfds

from mmjax.data import _disk, _lock, _media, _prepared

_PACKAGES = ('mmjax', 'tensorflow-datasets', 'array_record', 'av', 'pillow')


class Item(NamedTuple):
  """One example: its unique name, its split, the files it is made from."""

  name: str
  split: str
  files: tuple[pathlib.Path, ...]
  told: str = ''  # what else it is made from, or a digest of that


class Recipe(NamedTuple):
  """How a data set is made from its items."""

  name: str
  version: str  # raise it whenever `encode` or `example` change
  settings: Mapping[str, Any]  # all that determines the result; JSON
  splits: Sequence[str]  # none of which may stay empty
  features: tfds.features.FeaturesDict
  items: Sequence[Item]
  skipped: Mapping[str, str]  # what was left out already: name -> reason
  encode: Callable[[Item], dict[str, np.ndarray]]  # the slow part, in threads
  example: Callable[[Item, Mapping[str, np.ndarray]], dict[str, Any]]
  facts: Mapping[str, Any] = {}  # for who reads it; JSON


class Prepared(NamedTuple):
  """A finished data set: where it is, and what is in it."""

  path: pathlib.Path
  counts: dict[str, int]  # split -> examples
  skipped: dict[str, str]  # name -> reason


def run(
  recipe: Recipe,
  data_dir: str | os.PathLike,
  *,
  workers: int | None = None,
  on_corrupt: str = 'skip',
  overwrite: bool = False,
  wait: bool = False,
) -> Prepared:
  """Prepares a data set under `data_dir`, or finds it prepared already.

  Raises ValueError if it is there with other settings (unless `overwrite`), a
  file is corrupt (with on_corrupt='stop') or a split stays empty;
  BlockingIOError if another process is at it (unless `wait`); OSError if the
  disk is full.
  """
  if on_corrupt not in ('skip', 'stop'):
    raise ValueError(f"on_corrupt={on_corrupt!r}: it is 'skip' or 'stop'")
  root = pathlib.Path(data_dir).expanduser().resolve()
  target = _prepared.location(root, recipe.name, recipe.version)
  work = root / f'{recipe.name}.work'
  console = rich.console.Console(stderr=True)
  with _lock.held(root / f'{recipe.name}.lock', wait):
    done = None if overwrite else _finished(recipe, target)
    if done is None:
      _no_empty_split(recipe, recipe.items, recipe.skipped)
      with _disk.explained(work, len(recipe.items)):
        work.mkdir(exist_ok=True)
        paths, corrupt = _encode_all(recipe, work, workers, on_corrupt, console)
        done = _write(recipe, work, target, paths, corrupt)
    console.print(_summary(recipe, done), highlight=False)
  return done


def _finished(recipe: Recipe, target: pathlib.Path) -> Prepared | None:
  """What is prepared already; None if nothing is, or it is damaged."""
  facts = _prepared.read_facts(target)
  if facts is None:
    return None
  way_out = (
    'Give another data_dir, or overwrite=True to replace the prepared data.'
  )
  _prepared.check_settings(target, facts, recipe.settings, way_out)
  if _prepared.find_damage(target, facts):
    return None
  if facts['sources'] != _sources(recipe):
    warnings.warn(
      f'{target} is kept as it is, but the raw files have changed since it '
      f'was prepared: {facts["sources"]} then, {_sources(recipe)} now; '
      'overwrite=True prepares it anew.',
      stacklevel=2,
    )
  return Prepared(target, facts['counts'], facts['skipped'])


def _encode_all(
  recipe: Recipe,
  work: pathlib.Path,
  workers: int | None,
  on_corrupt: str,
  console: rich.console.Console,
) -> tuple[dict[str, pathlib.Path], dict[str, str]]:
  """Encodes what is not encoded yet: ({name: file}, {name: reason})."""
  paths, corrupt = {}, {}
  begin, threads = time.monotonic(), workers or os.cpu_count() or 1
  pool = concurrent.futures.ThreadPoolExecutor(threads)
  futures = {pool.submit(_encode, recipe, i, work): i for i in recipe.items}
  try:
    for future in rich.progress.track(
      concurrent.futures.as_completed(futures),
      description=f'{recipe.name}: decoding',
      total=len(futures),
      console=console,
    ):
      item = futures[future]
      try:
        paths[item.name] = future.result()
      except _media.MediaError as error:
        if on_corrupt == 'stop':
          raise ValueError(
            f"{error}. With on_corrupt='skip' such files are left out and "
            'counted.'
          ) from error
        corrupt[item.name] = error.reason
  finally:
    pool.shutdown(cancel_futures=True)
  seconds = time.monotonic() - begin
  console.print(
    f'{recipe.name}: {len(futures)} examples in {seconds:.1f} s, '
    f'{len(futures) / seconds:.1f} a second with {threads} threads',
    highlight=False,
  )
  return paths, dict(sorted(corrupt.items()))


def _encode(recipe: Recipe, item: Item, work: pathlib.Path) -> pathlib.Path:
  origin = [recipe.version, dict(recipe.settings), item.told]
  for path in item.files:
    stat = path.stat()
    origin.append([str(path), stat.st_size, stat.st_mtime_ns])
  digest = hashlib.sha256(json.dumps(origin).encode()).hexdigest()[:16]
  path = work / f'{item.name}.{digest}.npz'
  if not path.exists():
    arrays: dict[str, Any] = recipe.encode(item)
    part = path.with_suffix('.part')
    with open(part, 'wb') as file:
      np.savez(file, **arrays)
      file.flush()
      os.fsync(file.fileno())  # or a power cut leaves a name without content
    part.replace(path)
  return path


def _write(
  recipe: Recipe,
  work: pathlib.Path,
  target: pathlib.Path,
  paths: Mapping[str, pathlib.Path],
  corrupt: Mapping[str, str],
) -> Prepared:
  """Writes the shards and what is to be known about them; publishes both."""
  items = [item for item in recipe.items if item.name in paths]
  skipped = {**recipe.skipped, **corrupt}
  _no_empty_split(recipe, items, skipped)
  _disk.check_space(work, [paths[item.name] for item in items])
  built = work / 'tfds'
  shutil.rmtree(built, ignore_errors=True)
  builder = _builder(recipe, items, paths, built)
  with contextlib.redirect_stdout(io.StringIO()):  # TFDS talks of downloads
    builder.download_and_prepare()
  counts = {s: builder.info.splits[s].num_examples for s in recipe.splits}
  done = pathlib.Path(builder.data_dir)
  facts = {
    **recipe.facts,
    'settings': dict(recipe.settings),
    'counts': counts,
    'skipped': skipped,
    'sources': _sources(recipe),
    'versions': _versions(),
    'files': {p.name: p.stat().st_size for p in sorted(done.iterdir())},
  }
  (done / _prepared.FACTS).write_text(json.dumps(facts, indent=2))
  target.parent.mkdir(parents=True, exist_ok=True)
  if target.exists():
    shutil.rmtree(work / 'replaced', ignore_errors=True)  # of a killed run
    target.replace(work / 'replaced')
  done.replace(target)
  shutil.rmtree(work)
  return Prepared(target, counts, skipped)


def _builder(
  recipe: Recipe,
  items: Sequence[Item],
  paths: Mapping[str, pathlib.Path],
  root: pathlib.Path,
) -> tfds.core.DatasetBuilder:
  class Builder(tfds.core.GeneratorBasedBuilder, skip_registration=True):
    name = recipe.name
    VERSION = tfds.core.Version(recipe.version)
    # TFDS would look for its module with a package that it does not declare.
    code_path = None

    def _info(self):
      return tfds.core.DatasetInfo(builder=self, features=recipe.features)

    def _split_generators(self, dl_manager):
      del dl_manager
      return {split: self._generate_examples(split) for split in recipe.splits}

    def _generate_examples(self, split):
      for item in items:
        if item.split == split:
          with np.load(paths[item.name]) as arrays:
            yield item.name, recipe.example(item, arrays)

  tfds.disable_progress_bar()
  return Builder(data_dir=root, file_format='array_record')


def _no_empty_split(
  recipe: Recipe, items: Sequence[Item], skipped: Mapping[str, str]
) -> None:
  counts = Counter(item.split for item in items)
  empty = [split for split in recipe.splits if not counts[split]]
  if empty:
    raise ValueError(
      f'{recipe.name}: no example is left for {" and ".join(empty)}, of '
      f'{len(items)} in all{_why(skipped)}. Check the raw files, the split '
      'and its fractions.'
    )


def _why(skipped: Mapping[str, str]) -> str:
  """What was left out, by reason, with an example each."""
  reasons: dict[str, list[str]] = {}
  for name, reason in skipped.items():
    reasons.setdefault(reason, []).append(name)
  return ''.join(
    f'; {len(names)} left out: {reason} ({names[0]}'
    + (', ...)' if len(names) > 1 else ')')
    for reason, names in reasons.items()
  )


def _sources(recipe: Recipe) -> dict[str, int]:
  files = [file for item in recipe.items for file in item.files]
  return {
    'items': len(recipe.items),
    'files': len(files),
    'bytes': sum(file.stat().st_size for file in files),
  }


def _versions() -> dict[str, str]:
  versions = {}
  for package in _PACKAGES:
    with contextlib.suppress(metadata.PackageNotFoundError):
      versions[package] = metadata.version(package)
  return versions


def _summary(recipe: Recipe, done: Prepared) -> str:
  counts = ', '.join(f'{n} {split}' for split, n in done.counts.items())
  return f'{recipe.name}: {counts}{_why(done.skipped)}; in {done.path}'
