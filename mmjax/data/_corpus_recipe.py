"""From the raw files of a release to what `_prepare` makes of them."""

import hashlib
import pathlib
import shutil
from collections import Counter
from collections.abc import Mapping
from typing import Any

import numpy as np
import tensorflow_datasets as tfds

from mmjax.data import _lock, _prepare, _splits
from mmjax.data._corpus_release import Corpus, Entry, Found


def render(corpus: Corpus, raw: pathlib.Path) -> None:
  """Renders into a folder that appears when it is whole."""
  with _lock.held(raw.with_name(f'{raw.name}.lock'), wait=True):
    if raw.exists():
      return
    part = raw.with_name(f'{raw.name}.part')
    shutil.rmtree(part, ignore_errors=True)  # of a killed run
    part.mkdir(parents=True)
    corpus.render(part)
    part.replace(raw)


def raw_folder(corpus: Corpus, raw_dir) -> pathlib.Path:
  if not raw_dir:
    raise ValueError(
      f'{corpus.name} is prepared from its raw files: give --raw_dir, the '
      'folder that docs/datasets.md describes.'
    )
  raw = pathlib.Path(raw_dir).expanduser()
  if not raw.is_dir():
    raise ValueError(f'--raw_dir={raw} is no folder.')
  return raw


def recipe(
  corpus: Corpus, raw: pathlib.Path, settings: dict, on_missing: str
) -> _prepare.Recipe:
  found = corpus.scan(raw)
  if not found.entries:
    raise ValueError(
      f'{raw} holds no example of {corpus.name}{_why(found.skipped)}. '
      'docs/datasets.md shows the folders it should have.'
    )
  if not corpus.class_names:
    corpus = corpus._replace(class_names=tuple(found.class_names))
  entries, skipped = _whole(corpus, found, on_missing)
  splits = _assign(corpus, entries)
  captions = _captions(corpus, entries, splits)
  return _prepare.Recipe(
    name=corpus.name,
    version=corpus.version,
    settings=settings,
    splits=[s for s in _splits.SPLITS if s in {'train', *splits.values()}],
    features=_features(corpus),
    items=[
      _item(name, entries[name], splits[name]) for name in sorted(entries)
    ],
    skipped=skipped,
    encode=lambda item: _encode(corpus, entries[item.name]),
    example=lambda item, arrays: _example(
      corpus, item.name, entries[item.name], arrays
    ),
    facts={'captions': captions, 'class_names': list(corpus.class_names)},
  )


def _why(skipped: Mapping[str, str]) -> str:
  if not skipped:
    return ''
  reason, count = Counter(skipped.values()).most_common(1)[0]
  return f'; {len(skipped)} were left out, {count} of them since: {reason}'


def _whole(
  corpus: Corpus, found: Found, on_missing: str
) -> tuple[dict[str, Entry], dict[str, str]]:
  """Without the examples that lack a modality, unless these are wanted."""
  entries, skipped = {}, dict(found.skipped)
  for name, entry in found.entries.items():
    lacking = [m for m in corpus.kinds if m not in entry.parts]
    if len(lacking) == len(corpus.kinds):
      skipped[name] = 'has no file at all'
    elif '/' in name or not name.isprintable() or len(name.encode()) > 200:
      skipped[name] = 'its name cannot be that of a file'
    elif lacking and on_missing == 'skip':
      skipped[name] = f'has no {" and no ".join(lacking)}'
    elif not 0 <= entry.label < len(corpus.class_names):
      skipped[name] = 'its label is none of the classes'
    else:
      entries[name] = entry
  return entries, skipped


def _assign(corpus: Corpus, entries: Mapping[str, Entry]) -> dict[str, str]:
  """{name: split}, published or drawn."""
  draw = corpus.draw
  published = {n: e.split for n, e in entries.items() if e.split}
  # What is left to draw from, and how much of it.
  pool, test = [n for n in entries if n not in published], draw.test
  if published:
    test = 0.0
    if 'validation' not in published.values():
      pool += [n for n, split in published.items() if split == 'train']
  if draw.by == 'group':
    groups = {n: entries[n].group for n in pool}
    drawn = _splits.draw_groups(
      groups, test=test, validation=draw.validation, seed=draw.seed
    )
  elif draw.by == 'entry':
    labels = {n: entries[n].label for n in pool}
    drawn = _splits.draw(
      labels, test=test, validation=draw.validation, seed=draw.seed
    )
  else:
    raise ValueError(f"split_by={draw.by!r}: 'entry' or 'group' it is.")
  splits = published | drawn
  _check_apart(corpus, entries, splits)
  return splits


def _check_apart(corpus: Corpus, entries, splits) -> None:
  """No file may be seen in training and asked for later."""
  seen: dict[Any, str] = {}
  for name, entry in entries.items():
    for part in entry.parts.values():
      if part.file is None:
        continue
      other = seen.setdefault((part.file, part.span, part.box), name)
      if splits[other] != splits[name]:
        raise ValueError(
          f'{corpus.name}: {part.file} is of {other!r} in {splits[other]} and '
          f'of {name!r} in {splits[name]}; one file may be in one split only.'
        )


def _captions(corpus: Corpus, entries, splits) -> dict[str, int]:
  """Texts per example in each split: as many as all examples of it have."""
  many = [m for m, kind in corpus.kinds.items() if kind.texts > 1]
  if not many:
    return {}
  (m,) = many
  least: dict[str, int] = {}
  for name, entry in entries.items():
    count = len(entry.parts[m].texts) if m in entry.parts else 0
    split = splits[name]
    least[split] = min(least.get(split, corpus.kinds[m].texts), count)
  return least


def _features(corpus: Corpus) -> tfds.features.FeaturesDict:
  return tfds.features.FeaturesDict(
    {
      'name': tfds.features.Text(),
      **{m: kind.feature for m, kind in corpus.kinds.items()},
      'label': np.int32,
      'present': {m: np.bool_ for m in corpus.kinds},
    }
  )


def _item(name: str, entry: Entry, split: str) -> _prepare.Item:
  files, told = [], hashlib.sha256()
  for m, part in sorted(entry.parts.items()):
    if part.file is not None and part.file not in files:
      files.append(part.file)
    told.update(repr((m, part.span, part.box, part.texts)).encode())
    if part.value is not None:
      told.update(np.ascontiguousarray(part.value).tobytes())
  return _prepare.Item(name, split, tuple(files), told.hexdigest())


def _encode(corpus: Corpus, entry: Entry) -> dict[str, np.ndarray]:
  return {
    f'{m}_{i}': array
    for m, part in entry.parts.items()
    for i, array in enumerate(corpus.kinds[m].encode(part))
  }


def _example(
  corpus: Corpus, name: str, entry: Entry, arrays: Mapping
) -> dict[str, Any]:
  example = {}
  for m, kind in corpus.kinds.items():
    names = [n for n in arrays if n.rpartition('_')[0] == m]
    kept = [arrays[f'{m}_{i}'] for i in range(len(names))]
    example[m] = kind.store(kept if m in entry.parts else None)
  return {
    **example,
    'name': name,
    'label': entry.label,
    'present': {m: m in entry.parts for m in corpus.kinds},
  }
