"""One modality's latents, from a folder or a `.npz` file, before it is paired."""

import difflib
import pathlib
from collections.abc import Mapping
from typing import Any

import numpy as np

from mmjax.data import _labels, _latents, _npz
from mmjax.data._latents import SPLITS
from mmjax.data._latents_join import Side


def gather(
  path: str, modalities: tuple[str, ...], files: Mapping[str, str]
) -> list[Side]:
  """The sides that are asked for; () is all there are.

  Raises ValueError for what is not there, or does not belong together.
  """
  root = pathlib.Path(path).expanduser() if path else None
  if root is not None and (root / _latents.EXAMPLES).exists():
    raise ValueError(
      f'config.data.path={path} is the folder of one modality: name the folder '
      f'it is in, or give config.data.files={{{root.name!r}: {path!r}}}.'
    )
  there = {m: pathlib.Path(file).expanduser() for m, file in files.items()}
  if root is not None:
    there = {**_under(root), **there}
  _check_names(modalities, files, there, root)
  sides = [
    _npz_side(m, p) if p.suffix == '.npz' else _folder_side(m, p)
    for m, p in ((m, there[m]) for m in modalities or there)
  ]
  _check_data(sides)
  return sides


def _under(root: pathlib.Path) -> dict[str, pathlib.Path]:
  """{modality: folder or file} of all that is in a folder, by name."""
  found = {}
  for path in sorted(root.iterdir()) if root.is_dir() else ():
    ours = (path / _latents.FACTS).exists() or (path / _latents.WORK).exists()
    if path.suffix == '.npz' or ours:
      found.setdefault(path.stem if path.suffix == '.npz' else path.name, path)
  return found


def _check_names(modalities, files, there, root) -> None:
  if isinstance(modalities, str) or len(set(modalities)) < len(modalities):
    raise ValueError(
      f'config.data.modalities={modalities!r} must be a tuple of different '
      "names; one alone needs a comma, ('image',)."
    )
  if not there and root is not None:
    raise ValueError(f'config.data.path: {_latents.why_not(root)}')
  if not there:
    raise ValueError(
      'config.data has neither path nor files: name the folder that '
      '--mode=extract has filled, or a file for each modality.'
    )
  for m in modalities:
    if m not in there:
      close = difflib.get_close_matches(m, there, 1)
      hint = f' Did you mean {close[0]!r}?' if close else ''
      where = f'{root} or config.data.files' if files else root
      raise ValueError(
        f'config.data.modalities: there are no latents of {m!r} in {where}.'
        f'{hint} There are: {", ".join(there)}.'
      )
  idle = [m for m in files if modalities and m not in modalities]
  if idle:
    raise ValueError(
      f'config.data.files names {", ".join(idle)}, which is none of '
      f'config.data.modalities: {", ".join(modalities)}.'
    )


def _check_data(sides: list[Side]) -> None:
  """Row numbers are ids only among extractions of the same data."""
  known = [side for side in sides if side.origin is not None]
  for side in known[1:]:
    ours, theirs = dict(known[0].origin or {}), dict(side.origin or {})
    differ = [
      f'{key}: {ours.get(key)!r} and {theirs.get(key)!r}'
      for key in sorted({*ours, *theirs})
      if ours.get(key) != theirs.get(key)
    ]
    if differ:
      raise ValueError(
        f'{known[0].place} and {side.place} were extracted from different '
        f'data, whose rows are not the same examples: {"; ".join(differ)}. '
        'Extract both from the same data.'
      )


def _origin(facts: Mapping[str, Any]) -> dict[str, Any]:
  """What decides which example a row is: {'data.seed': 0, ..}."""
  return {
    f'{section}.{key}': value
    for section in ('data', 'pairs')
    for key, value in facts.get(section, {}).items()
    if (section, key) != ('data', 'modalities')
  }


def _folder_side(name: str, path: pathlib.Path) -> Side:
  store = _latents.opened(path)
  fields = store.examples()
  counts = [len(fields[f'{s}_entry']) for s in SPLITS]
  each = {
    key: np.concatenate([fields[f'{s}_{key}'] for s in SPLITS])
    for key in ('entry', 'id', 'label')
  }
  bad = np.zeros(store.rows, bool)
  bad[fields['nonfinite']] = bad[fields['zero']] = True
  return Side(
    name,
    str(path),
    each['id'],
    np.repeat(np.arange(len(SPLITS)), counts),
    each['label'],
    tuple(map(str, fields['class_names'])),
    each['entry'],
    store.width,
    store.read,
    lambda rows: fields['digest'][rows],
    bad,
    _origin(store.facts),
    store.facts['pairing'],
  )


def _npz_side(name: str, path: pathlib.Path) -> Side:
  if not path.exists():
    raise ValueError(f'config.data.files.{name}: {path} does not exist.')
  with _npz.opened(str(path)) as file:
    fields = {
      key: file.read(key, f'{name} needs it')
      for key in ('latents', 'id', 'split', 'label', 'class_names')
      if key in file.names or key == 'latents'
    }
  z_RD = fields['latents']
  if z_RD.ndim != 2 or z_RD.dtype.kind != 'f' or not z_RD.size:
    raise ValueError(
      f'{path}: latents must be floats [R, D], R rows of width D, but are '
      f'{z_RD.dtype} {z_RD.shape}.'
    )
  for key in ('id', 'split', 'label'):
    if key in fields and fields[key].shape != z_RD.shape[:1]:
      raise ValueError(
        f'{path}: {key} must have a value for each of the {len(z_RD)} latents, '
        f'but has shape {fields[key].shape}.'
      )
  with np.errstate(over='ignore'):  # infinity is found below
    z_RD = z_RD.astype(np.float32)
  return Side(
    name,
    str(path),
    _ids(path, fields.get('id')),
    _split(path, fields.get('split')),
    *_label(path, fields),
    np.arange(len(z_RD)),
    z_RD.shape[1],
    lambda rows: z_RD[rows],
    lambda rows: _latents.digests(z_RD[rows]),
    np.logical_or(*_latents.faults(z_RD)),
  )


def _ids(path, ids: np.ndarray | None) -> np.ndarray | None:
  if ids is not None and ids.dtype.kind not in 'iuUS':
    raise ValueError(f'{path}: id must be integers or strings, is {ids.dtype}.')
  return None if ids is None else ids.astype(str)


def _split(path, split: np.ndarray | None) -> np.ndarray | None:
  if split is None:
    return None
  named = split.dtype.kind in 'US'
  split = split.astype(str)
  known = SPLITS if named else tuple(map(str, range(len(SPLITS))))
  wrong = sorted(set(np.unique(split).tolist()) - set(known))
  if wrong:
    raise ValueError(
      f'{path}: split must be {", ".join(SPLITS)} or 0, 1, 2, but has '
      f'{", ".join(wrong[:5])}.'
    )
  made = np.zeros(len(split), np.int64)
  for i, value in enumerate(known):
    made[split == value] = i
  return made


def _label(path, fields: Mapping[str, np.ndarray]) -> tuple[Any, Any]:
  """(label, class names), None for what is not there."""
  names = fields.get('class_names')
  if 'label' not in fields:
    if names is not None:
      raise ValueError(f'{path} has class_names, but no label [R].')
    return None, None
  try:
    made = _labels.class_names(
      fields['label'], None if names is None else list(names)
    )
  except ValueError as error:
    raise ValueError(f'{path}: {error}') from error
  return fields['label'], None if names is None else tuple(made)
