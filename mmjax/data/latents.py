"""Latents of frozen encoders, paired: extracted by `--mode=extract`, or yours.

`path` is a folder with an entry for each modality: either the folder that an
extraction has left, `<path>/<modality>/`, or a file `<path>/<modality>.npz`.
`files` names others, or single ones, by modality.

A `.npz` file of yours (np.savez; never pickle) holds
  latents      floats [R, D], a row for each entry
  id           [R] integers or strings, what belongs together; without it in
               any file, rows pair by their order
  split        [R] 'train', 'validation' and 'test', or 0, 1 and 2. One file may
               leave it out if another has it. If none has, ids are drawn at
               random, always in the same way: 80, 10 and 10 % of those that
               every modality has, so that what shares an id is in one split
  label        integers [R], 0..C-1, in one file or in several that agree
  class_names  [C]
Five captions of a picture are five rows of one id in the text's file and one in
the picture's: five examples that share an entry, which is what recall counts by
and what `Source.entries` tells. Published latents are files of this kind: an
array, and names in a list beside it.

An extracted folder holds
  latents-00000-of-00003.array_record ..  one record per entry of the pool, its
               latent as little-endian bytes. The pool is what train, then
               validation, then test show, each entry once
  examples.npz {split}_entry i64[N], {split}_id '<split>/<row>', {split}_label
               i32[N] of each split; class_names; of each entry of the pool
               `digest` u64, equal for equal latents; and the entries that are
               `nonfinite` and `zero`
  latents.json written last: width, dtype, counts, size and sha256 of each file,
               and where the latents come from: encoder, checksum of its
               weights, data, preprocessing, versions
  work.json    what was asked for; without a latents.json, extraction is unfinished
"""

from collections.abc import Mapping, Sequence

import numpy as np

from mmjax import base
from mmjax.data import _latents_checks as checks
from mmjax.data import _latents_sides
from mmjax.data._latents import SPLITS
from mmjax.data._latents_join import Paired, Side, join


def make(
  split: str,
  *,
  path: str = '',
  modalities: tuple[str, ...] = (),
  files: Mapping[str, str] = {},  # noqa: B006 (never written)
  unpaired: str = 'error',
  bad: str = 'error',
  duplicates: str = 'error',
  memory_gb: float = 8.0,
  normalize: bool = False,
) -> base.Source:
  """One split of paired latents: f32[D] per modality, each of its own width.

  Args:
    split: 'train', 'validation' or 'test'.
    path: folder of extracted folders and `.npz` files.
    modalities: which, in the order they shall have; () is all there are.
    files: {modality: folder or file}, in place of what is under `path`.
    unpaired: ids that not every modality has: 'error', or 'drop' with a warning.
    bad: latents that are NaN, infinite or zero: 'error' or 'drop'.
    duplicates: examples of validation or test that equal a training example in
      every modality: 'error', 'drop' or 'keep', which does not look for them.
    memory_gb: what all splits may take in memory; beyond, latents of extracted
      folders are read when they are asked for.
    normalize: scale every latent to length one.

  Raises ValueError naming file, count, ids and the way out.
  """
  _check_options(split, unpaired, bad, duplicates, memory_gb)
  sides = _latents_sides.gather(path, modalities, files)
  paired = join(sides)
  checks.unpaired(sides, paired, split, drop=unpaired == 'drop')
  rows = _of_split(paired, split)
  keep = checks.good(sides, rows, split, drop=bad == 'drop')
  rows = [r[keep] for r in rows]
  if duplicates != 'keep' and split != 'train':
    train = _of_split(paired, 'train')
    train_digests = checks.digests(sides, train)
    drop = duplicates == 'drop'
    new = checks.new(sides, rows, train_digests, split, drop=drop)
    rows = [r[new] for r in rows]
  names, label = checks.labels(sides, rows)
  everything = _bytes(sides, paired)
  held = everything <= memory_gb * 1e9
  return _source(sides, rows, names, label, held=held, normalize=normalize)


def _check_options(split, unpaired, bad, duplicates, memory_gb) -> None:
  for name, value, known in (
    ('split', split, SPLITS),
    ('unpaired', unpaired, ('error', 'drop')),
    ('bad', bad, ('error', 'drop')),
    ('duplicates', duplicates, ('error', 'drop', 'keep')),
  ):
    if value not in known:
      raise ValueError(
        f'config.data.{name}={value!r} must be one of {", ".join(known)}.'
      )
  if not memory_gb >= 0:
    raise ValueError(f'config.data.memory_gb={memory_gb} must be 0 or more.')


def _of_split(paired: Paired, split: str) -> list[np.ndarray]:
  here = paired.split == SPLITS.index(split)
  return [row_N[here] for row_N in paired.rows]


def _bytes(sides: Sequence[Side], paired: Paired) -> int:
  """What the entries of all examples take as float32."""
  return sum(
    4 * side.width * len(np.unique(side.entry[row_N]))
    for side, row_N in zip(sides, paired.rows)
  )


def _source(
  sides: Sequence[Side],
  rows: Sequence[np.ndarray],
  names: tuple[str, ...],
  label_N: np.ndarray,
  *,
  held: bool,
  normalize: bool,
) -> base.Source:
  size = len(label_N)
  entries, which, pools = {}, {}, {}
  for side, row_N in zip(sides, rows):
    entry_N = side.entry[row_N]
    used, at = np.unique(entry_N, return_inverse=True)
    shared = len(used) < size
    which[side.name] = used if shared else entry_N
    if shared:
      entries[side.name] = at

  def read(side: Side, at: np.ndarray) -> np.ndarray:
    z_BD = side.read(which[side.name][at])
    return _unit(z_BD) if normalize else z_BD

  if held:
    pools = {s.name: read(s, np.arange(len(which[s.name]))) for s in sides}

  def take(rows: np.ndarray) -> dict:
    rows = np.asarray(rows)
    batch = {}
    for side in sides:
      m = side.name
      at = entries[m][rows] if m in entries else rows
      batch[m] = pools[m][at] if held else read(side, at)
    present = {side.name: np.ones(len(rows), bool) for side in sides}
    return {**batch, 'label': label_N[rows], 'present': present}

  modalities = tuple(side.name for side in sides)
  return base.Source(
    modalities, names, size, take, entries, pools, label_N if held else None
  )


def _unit(z_BD: np.ndarray) -> np.ndarray:
  """Rows of length one; their squares must not overflow."""
  z_BD = z_BD / np.abs(z_BD).max(axis=1, keepdims=True)
  return z_BD / np.linalg.norm(z_BD, axis=1, keepdims=True)
