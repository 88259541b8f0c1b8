"""What an extraction is made from, and in which pieces it is done."""

import difflib
import hashlib
import json
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import jax
import numpy as np

from mmjax import checkpoint, folder
from mmjax.base import Source, TrainState
from mmjax.data import _latents, feed
from mmjax.data._latents import SPLITS
from mmjax.experiment import Experiment

# Where a run happens, and how it holds its seeds, change no latent.
_ASIDE = (*folder.ASIDE, 'seeds_how')


class Pool(NamedTuple):
  """The entries of a modality: each is encoded once."""

  rows: Mapping[str, np.ndarray]  # i64 of a split that show an entry each
  entry: Mapping[str, np.ndarray]  # i64[N] of a split, rows of the pool

  @property
  def size(self) -> int:
    return sum(map(len, self.rows.values()))

  def pieces(self, start: int, stop: int) -> Iterator[tuple[str, np.ndarray]]:
    """(split, rows of it) that the pool's rows start..stop - 1 are."""
    offset = 0
    for split, rows in self.rows.items():
      first, last = max(start - offset, 0), max(stop - offset, 0)
      if len(rows[first:last]):
        yield split, rows[first:last]
      offset += len(rows)

  def ids(self, at: np.ndarray) -> str:
    """The examples that show the first three of these entries."""
    pieces = [next(self.pieces(int(i), int(i) + 1)) for i in at[:3]]
    return ', '.join(f'{split}/{rows[0]}' for split, rows in pieces)


class Task(NamedTuple):
  """One modality: its pool, and what determines its latents."""

  pool: Pool
  work: dict[str, Any]  # as work.json holds it

  def chunks(self) -> int:
    return -(-self.pool.size // self.work['chunk'])

  def bounds(self, i: int) -> tuple[int, int]:
    """First and last + 1 row of the pool in chunk i."""
    size = self.work['chunk']
    return i * size, min((i + 1) * size, self.pool.size)


def tasks(
  exp: Experiment,
  state: TrainState,
  modalities: tuple[str, ...],
  *,
  batch_size: int,
  chunk: int,
  dtype: str,
) -> dict[str, Task]:
  """The tasks of an extraction, by modality.

  All processes have to ask: it reads weights that several of them may hold.
  Raises ValueError for a modality that is none, or that has no vectors.
  """
  unknown = [m for m in modalities if m not in exp.kit.modalities]
  if unknown:
    close = difflib.get_close_matches(unknown[0], exp.kit.modalities, 1)
    hint = f' Did you mean {close[0]!r}?' if close else ''
    raise ValueError(
      f'config.extract.modalities: {", ".join(unknown)} is none of the '
      f'encoders: {", ".join(exp.kit.modalities)}.{hint}'
    )
  made = {}
  widths = _widths(exp, state, modalities or exp.kit.modalities)
  for m, width in widths.items():
    pool = _pool(exp.sources, m)
    asked = {
      'format': _latents.FORMAT,
      'modality': m,
      'dtype': dtype,
      'rows': pool.size,
      'chunk': chunk,
      'batch_size': batch_size,
      'width': width,
      'counts': {split: len(e) for split, e in pool.entry.items()},
      'pairing': hashlib.sha256(
        '\n'.join(
          i for s in SPLITS for i in ids(s, len(pool.entry[s]))
        ).encode()
      ).hexdigest(),
      **recipe(exp.config, m),
    }
    asked['encoder']['weights'] = weights(state, m)
    made[m] = Task(pool, json.loads(json.dumps(asked)))
  return made


def recipe(config: Mapping[str, Any], m: str) -> dict[str, Any]:
  """The parts of a config that are told beside the latents, as JSON has them."""
  own = {key: config.get(key) for key in ('width', 'dtype')}
  own |= config.get('encoders', {}).get(m) or {'name': 'auto'}
  told = {
    'data': config.get('data', {}),
    'pairs': config.get('pairs', {}),
    'missing': config.get('missing', {}),
    'augment': config.get('augment', {}).get(m, {}),
    'encoder': {'section': own},
  }
  return json.loads(json.dumps(told))


def whole(config: Mapping[str, Any]) -> dict[str, Any]:
  """A config without what changes no latent, as JSON has it."""
  return json.loads(
    json.dumps({k: v for k, v in config.items() if k not in _ASIDE})
  )


def difference(there: Mapping[str, Any], asked: Mapping[str, Any]) -> list[str]:
  """Lines 'key: there -> asked' of what both tell, and differently."""
  shared = {'format', *there} & {*asked}
  old, new = ({k: x.get(k, {}) for k in shared} for x in (there, asked))
  if 'encoder' in shared:
    both = {*old['encoder']} & {*new['encoder']}
    for x in (old, new):
      x['encoder'] = {k: x['encoder'][k] for k in both}
  lines = folder.compare(old, new, 'here')
  return [line.removeprefix('here.') for line in lines]


def weights(state: TrainState, m: str) -> str:
  """sha256 over the checksums of all parameters and statistics of an encoder."""
  block = {'params': state.params[m], 'stats': state.stats[m]}
  lines = [f'{"/".join(path)} {n}' for path, n in checkpoint.checksums(block)]
  return hashlib.sha256('\n'.join(lines).encode()).hexdigest()


def ids(split: str, count: int) -> list[str]:
  return [f'{split}/{row}' for row in range(count)]


def _pool(sources: Mapping[str, Source], m: str) -> Pool:
  rows, entry, offset = {}, {}, 0
  for split in SPLITS:
    source = sources[split]
    if m in source.entries:
      _, rows[split], at = np.unique(
        source.entries[m], return_index=True, return_inverse=True
      )
    else:
      rows[split] = at = np.arange(source.size)
    entry[split] = at + offset
    offset += len(rows[split])
  return Pool(rows, entry)


def _widths(
  exp: Experiment, state: TrainState, names: tuple[str, ...]
) -> dict[str, int]:
  sample = feed.load(exp.sources['train'], np.arange(1), None)
  feats = jax.eval_shape(exp.predict, state, sample).feats
  for m in names:
    if m not in feats or feats[m].ndim != 2:
      shape = feats[m].shape[1:] if m in feats else 'nothing'
      raise ValueError(
        f'The encoder of {m!r} gives {shape} for an example; a latent is one '
        'vector [D].'
      )
  return {m: feats[m].shape[1] for m in names}
