"""From prepared data to a `Source`."""

import functools
import pathlib
from collections.abc import Mapping
from typing import Any

import numpy as np

from mmjax import base
from mmjax.data import _prepared, _splits
from mmjax.data._corpus_release import Corpus
from mmjax.data._kinds import Kind


def opened(
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
