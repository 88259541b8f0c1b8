"""Data sets of files: what they share, from the raw folder to a `Source`.

A file of `data/` that has one says `corpus(*, ...) -> Corpus`: what its release
looks like. `make, prepare = faces(corpus)` gives it the two functions that the
commands call, with its own arguments and those that all have:

  data_dir    where prepared data lie
  sample      render a small set in the published layout, prepare and use that
  on_missing  an example that lacks a file is left out ('skip') or kept, with
              'present' False ('present')
"""

import functools
import hashlib
import inspect
import os
import pathlib
import shutil
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import tensorflow_datasets as tfds

from mmjax import base
from mmjax.data import _lock, _prepare, _prepared, _splits
from mmjax.data._kinds import Kind, Part


class Entry(NamedTuple):
  """One example as its release has it; what it lacks is not in `parts`."""

  label: int
  parts: Mapping[str, Part]
  split: str = ''  # as published; '' is to be drawn
  group: str = ''  # the person or recording it is of


class Found(NamedTuple):
  """What a raw folder holds: examples by name, and what was left out, and why.

  `class_names` are those of a release that does not fix them; they are kept
  with the prepared data.
  """

  entries: dict[str, Entry]
  skipped: dict[str, str]
  class_names: Sequence[str] = ()


class Draw(NamedTuple):
  """How splits are drawn where the release has none.

  `by` is 'entry', class by class, or 'group', so that none is in two splits.
  A release with a test part keeps it; where it has no validation part, one is
  drawn from training. `test` is a share of all, `validation` of what is left.
  """

  by: str = 'entry'
  test: float = 0.1
  validation: float = 0.1
  seed: int = 0


class Corpus(NamedTuple):
  """What is particular to a data set of files.

  scan:   raw folder -> `Found`. Raises ValueError where it is not the release
  render: writes a small one of the same layout into an empty folder
  """

  name: str
  version: str  # raise it when what is kept of the same files changes
  class_names: Sequence[str]  # () if the raw files say: `Found.class_names`
  kinds: Mapping[str, Kind]
  scan: Callable[[pathlib.Path], Found]
  render: Callable[[pathlib.Path], None]
  draw: Draw = Draw()
  reading: tuple[str, ...] = ()  # arguments that do not touch what is kept


_OURS = ('split', 'raw_dir', 'data_dir', 'sample', 'on_missing')
_RUNNING = ('workers', 'on_corrupt', 'overwrite', 'wait')


def faces(corpus: Callable[..., Corpus]) -> tuple[Callable, Callable]:
  """(make, prepare) of a data set, with the keywords of its `corpus`."""

  @_signed(corpus, ('split',), {'data_dir': 'data'})
  def make(split: str, data_dir: str, sample: bool, on_missing: str, **options):
    settings = _settings(corpus, options, on_missing)
    made = corpus(**options)
    if sample and not _prepared.exists(data_dir, made.name, made.version):
      prepare(None, data_dir, sample=True, wait=True, **options)
    return _open(made, split, data_dir, settings)

  running = dict(workers=None, on_corrupt='skip', overwrite=False, wait=False)

  @_signed(corpus, ('raw_dir', 'data_dir'), running)
  def prepare(
    raw_dir: str | os.PathLike | None,
    data_dir: str | os.PathLike,
    sample: bool,
    on_missing: str,
    workers: int | None,
    on_corrupt: str,
    overwrite: bool,
    wait: bool,
    **options,
  ) -> _prepare.Prepared:
    settings = _settings(corpus, options, on_missing)
    made = corpus(**options)
    root = pathlib.Path(data_dir).expanduser()
    if sample:
      raw_dir = raw_dir or root / f'{made.name}_raw'
      _render(made, pathlib.Path(raw_dir).expanduser())
    raw = _raw_folder(made, raw_dir)
    return _prepare.run(
      _recipe(made, raw, settings, on_missing),
      root,
      workers=workers,
      on_corrupt=on_corrupt,
      overwrite=overwrite,
      wait=wait,
    )

  make.__doc__ = f"""Opens a split of the prepared {_title(corpus)}.

  `take` gives what `corpus` says of each modality, 'label' and 'present'; what
  an example lacks is zeros. Raises ValueError if the data are not prepared,
  damaged, or prepared with other settings.
  """
  prepare.__doc__ = f"""Prepares the raw files of {_title(corpus)}.

  Run again, it goes on or is done. Raises what `_prepare.run` does.
  """
  return make, prepare


def _title(corpus: Callable) -> str:
  return corpus.__module__.rpartition('.')[2]


def _signed(corpus, positional: tuple[str, ...], more: Mapping[str, Any]):
  """Calls by keyword, with the signature written out for who inspects it."""
  own = list(inspect.signature(corpus).parameters.values())
  clash = [p.name for p in own if p.name in (*_OURS, *_RUNNING)]
  if clash or any(p.kind != p.KEYWORD_ONLY for p in own):
    raise TypeError(f'corpus({clash}): all keyword-only, and not ours')
  both, only = inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter
  first = [only(name, both) for name in positional]
  if 'data_dir' in positional:
    first[-1] = first[-1].replace(default='data')
  ours = {**more, 'sample': False, 'on_missing': 'skip'}
  rest = [only(n, only.KEYWORD_ONLY, default=d) for n, d in ours.items()]
  signature = inspect.Signature([*first, *own, *rest])

  def decorate(function):
    @functools.wraps(function)
    def called(*args, **kwargs):
      bound = signature.bind(*args, **kwargs)
      bound.apply_defaults()
      return function(**bound.arguments)

    vars(called)['__signature__'] = signature
    return called

  return decorate


def _settings(corpus, options: Mapping, on_missing: str) -> dict[str, Any]:
  """All that the prepared data depend on."""
  if on_missing not in ('skip', 'present'):
    raise ValueError(
      f"on_missing={on_missing!r} is neither 'skip' nor 'present'."
    )
  reading = corpus(**options).reading
  kept = {k: v for k, v in options.items() if k not in reading}
  return {**kept, 'on_missing': on_missing}


# --- From raw files -----------------------------------------------------------


def _render(corpus: Corpus, raw: pathlib.Path) -> None:
  """Renders into a folder that appears when it is whole."""
  with _lock.held(raw.with_name(f'{raw.name}.lock'), wait=True):
    if raw.exists():
      return
    part = raw.with_name(f'{raw.name}.part')
    shutil.rmtree(part, ignore_errors=True)  # of a killed run
    part.mkdir(parents=True)
    corpus.render(part)
    part.replace(raw)


def _raw_folder(corpus: Corpus, raw_dir) -> pathlib.Path:
  if not raw_dir:
    raise ValueError(
      f'{corpus.name} is prepared from its raw files: give --raw_dir, the '
      'folder that docs/datasets.md describes.'
    )
  raw = pathlib.Path(raw_dir).expanduser()
  if not raw.is_dir():
    raise ValueError(f'--raw_dir={raw} is no folder.')
  return raw


def require(raw: pathlib.Path, names: Sequence[str]) -> None:
  """Raises ValueError listing what a raw folder lacks of these."""
  missing = [name for name in names if not (raw / name).exists()]
  if missing:
    more = f', and {len(missing) - 10} more' if len(missing) > 10 else ''
    raise ValueError(
      f'{raw} lacks {len(missing)} of {len(names)} things that the release has: '
      f'{", ".join(missing[:10])}{more}. Is it downloaded and unpacked in full?'
    )


def _recipe(
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


# --- To a source --------------------------------------------------------------


def _open(
  corpus: Corpus, split: str, data_dir, settings: Mapping
) -> base.Source:
  if split not in _splits.SPLITS:
    raise ValueError(
      f'{corpus.name} has no split {split!r}, but {_splits.SPLITS}.'
    )
  remedy = (
    f'To prepare {corpus.name}, which has to be downloaded by hand (see '
    'docs/datasets.md): --mode=prepare --raw_dir=/path/to/it with the same '
    '--config.'
  )
  builder: Any = _prepared.load(
    data_dir, corpus.name, corpus.version, settings, remedy
  )
  facts = _prepared.read_facts(pathlib.Path(builder.data_dir)) or {}
  class_names = corpus.class_names or facts.get('class_names', ())
  names = tuple(corpus.kinds), tuple(class_names)
  if split not in builder.info.splits:  # none was published, none drawn
    return base.Source(*names, 0, lambda rows: {})  # noqa: ARG005
  times = facts.get('captions', {}).get(split, 1)
  decoders = {m: kind.raw for m, kind in corpus.kinds.items() if kind.raw}
  rows = builder.as_data_source(split=split, decoders=decoders)
  size = len(rows) * times
  entries = {}
  if times > 1:
    shared = np.arange(size) // times
    entries = {m: shared for m, kind in corpus.kinds.items() if kind.texts < 2}
  return base.Source(
    *names,
    size,
    functools.partial(_take, rows, corpus.kinds, times),
    entries,
  )


def _take(
  rows: Any, kinds: Mapping[str, Kind], times: int, rows_B: np.ndarray
) -> dict[str, Any]:
  at_B, nth_B = np.divmod(np.asarray(rows_B), times)
  examples = rows.__getitems__([int(row) for row in at_B])
  batch = {}
  for m, kind in kinds.items():
    kept = [example[m] for example in examples]
    if kind.texts:
      kept = [texts[n] for texts, n in zip(kept, nth_B)]
    batch[m] = kind.batch(kept)
  return {
    **batch,
    'label': np.array([e['label'] for e in examples], np.int32),
    'present': {
      m: np.array([e['present'][m] for e in examples], bool) for m in kinds
    },
  }
