"""What the adviser reads: any data set, a synthetic world, or a run's latents.

Every modality becomes a vector: numbers and pictures flattened; sequences of
numbers their mean and standard deviation over steps; ids the counts of each.
All are standardised by the training examples that have them.
"""

import pathlib
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from mmjax import _experiment_parts as parts
from mmjax import checkpoint, experiment, folder
from mmjax._compose import named, plain
from mmjax.base import Ragged, Source
from mmjax.data import feed
from mmjax.lab import latents, subsets

BLOCK = 1024  # examples that are read at a time
WIDEST = 20_000  # features of a modality that the lab takes
SPLITS = parts.SPLITS


def of_config(config: Mapping[str, Any], held_out: float) -> subsets.Data:
  """The data set of a recipe. Raises ValueError with the place in the config."""
  config = plain(config)
  kept = config.get('pairs', {})  # older run folders have none
  sources = parts.sources(config['data'], kept, config['missing'])
  vocab = _vocabularies(sources)
  tables = {split: _read(source, vocab) for split, source in sources.items()}
  return _gathered(tables, len(sources['train'].class_names), held_out)


def of_run(workdir: pathlib.Path, held_out: float) -> subsets.Data:
  """The latents of a run's encoders, of its first seed.

  Raises ValueError if the folder holds no run, or no checkpoint.
  """
  exp = experiment.build(folder.read_config(workdir))
  found = checkpoint.selected(workdir, exp.seeds.abstract, exp.run.select)
  tables = {
    split: _latents(exp, found.state, split)
    for split in SPLITS
    if exp.sources[split].size
  }
  for split in SPLITS:
    tables.setdefault(split, _none_of(tables['train']))
  return _gathered(tables, exp.kit.num_classes, held_out)


def of_world(world: Mapping[str, Any], place: str) -> subsets.Data:
  """A synthetic world of `lab.latents`: numbers to predict, answers known."""
  return named(WORLDS, world, place)()


def _overlap(
  *,
  w: float,
  num_modalities: int = 4,
  width: int = 100,
  train: int = 9000,
  validation: int = 1000,
  test: int = 20_000,
  seed: int = 0,
) -> subsets.Data:
  sizes = (train, validation, test)
  drawn = latents.overlap(
    jax.random.key(seed),
    sum(sizes),
    w,
    num_modalities=num_modalities,
    width=width,
  )
  return cut(*drawn, sizes)


WORLDS = {'overlap': _overlap}
ORACLES = {'overlap': 0.0}  # risk of the best model there is, of all modalities


def cut(inputs, target, sizes) -> subsets.Data:
  """Numbers drawn at once, in three parts."""
  ends = np.cumsum([0, *sizes])
  made = [
    (
      {m: np.asarray(x)[a:b] for m, x in inputs.items()},
      np.asarray(target)[a:b],
    )
    for a, b in zip(ends, ends[1:])
  ]
  return subsets.gather(made[0], made[1], made[2], 'squared_error')


def _vocabularies(sources: Mapping[str, Source]) -> dict[str, int]:
  """Of the modalities that are ids, one more than the largest."""
  first = feed.load(sources['train'], np.arange(1), None)
  return {
    m: 1 + parts.largest_id(dict(sources), m)
    for m in sources['train'].modalities
    if getattr(first[m], 'values', first[m]).dtype.kind in 'iu'
  }


def _read(source: Source, vocab: Mapping[str, int]) -> tuple:
  """({modality: f32[N, F]}, label i[N], {modality: bool[N]})."""
  told = []
  for start in range(0, source.size, BLOCK):
    rows = np.arange(start, min(start + BLOCK, source.size))
    batch = source.take(rows)
    vectors = {m: _vector(batch[m], vocab.get(m), m) for m in source.modalities}
    told.append((vectors, batch['label'], batch['present']))
  if not told:
    return {}, np.zeros(0, np.int32), {}
  inputs, label, present = zip(*told)
  return (
    {m: np.concatenate([x[m] for x in inputs]) for m in source.modalities},
    np.concatenate(label),
    {m: np.concatenate([x[m] for x in present]) for m in source.modalities},
  )


def _vector(x: Any, vocab: int | None, name: str) -> np.ndarray:
  mask_BT = x.mask if isinstance(x, Ragged) else None
  values = np.asarray(getattr(x, 'values', x))
  B = len(values)
  if vocab is not None:
    if values.ndim == 1:
      values = values[:, None]
    mask = np.ones(values.shape, bool) if mask_BT is None else mask_BT
    made = np.zeros((B, vocab), np.float32)
    rows = np.broadcast_to(np.arange(B)[:, None], values.shape)
    np.add.at(made, (rows[mask], values[mask]), 1)
  elif mask_BT is None:
    made = values.reshape(B, -1).astype(np.float32)
  else:
    made = _over_steps(values, mask_BT)
  if made.shape[1] > WIDEST:
    raise ValueError(
      f'Modality {name!r} has {made.shape[1]:,} numbers an example; the lab takes '
      f'up to {WIDEST:,}. Give features instead, or train a run and ask about '
      'its latents: --mode=advise --workdir=<the run>.'
    )
  return made


def _over_steps(values_BTF: np.ndarray, mask_BT: np.ndarray) -> np.ndarray:
  """Mean and standard deviation over the steps that are there."""
  flat = values_BTF.reshape(*mask_BT.shape, -1).astype(np.float64)
  weight = mask_BT[..., None] / np.maximum(mask_BT.sum(1), 1)[:, None, None]
  mean_BF = (flat * weight).sum(1)
  var_BF = (np.square(flat - mean_BF[:, None]) * weight).sum(1)
  return np.concatenate([mean_BF, np.sqrt(var_BF)], 1).astype(np.float32)


def _latents(exp, states, split: str) -> tuple:
  source, size = exp.sources[split], exp.eval_batch_size

  def observe(state, batch):
    feats = exp.predict(state, batch).feats
    rows = {f'feats/{m}': z.astype(jnp.float32) for m, z in feats.items()}
    rows |= {f'present/{m}': batch['present'][m] for m in feats}
    return rows | {'label': batch['label']}

  seen = exp.seeds.observe(observe)
  order, steps = feed.in_order(source, size)
  told = [
    exp.seeds.stack(seen(states, batch))
    for batch in exp.stream(source, order, 0, steps, size)
  ]
  rows = {
    key: np.concatenate([t[key][0] for t in told])[: source.size]
    for key in told[0]
  }
  names = [m for m in exp.kit.modalities if f'feats/{m}' in rows]
  return (
    {m: rows[f'feats/{m}'] for m in names},
    rows['label'],
    {m: rows[f'present/{m}'] for m in names},
  )


def _none_of(table: tuple) -> tuple:
  return _rows(table, slice(0))


def _rows(table: tuple, rows) -> tuple:
  inputs, label, present = table
  return (
    {m: x[rows] for m, x in inputs.items()},
    label[rows],
    {m: x[rows] for m, x in present.items()},
  )


def _gathered(tables: dict, num_classes: int, held_out: float) -> subsets.Data:
  """Standardised, with a validation part, and a test part, that exist."""
  train = tables['train']
  for split in SPLITS:
    if not len(tables[split][1]):
      tables[split] = _none_of(train)
  if not len(tables['test'][1]):
    tables['test'], tables['validation'] = (
      tables['validation'],
      _none_of(train),
    )
  if not len(tables['validation'][1]):
    tables['train'], tables['validation'] = _split(train, held_out)
  inputs, _, present = tables['train']
  scale = {m: _scale(x_NF, present[m]) for m, x_NF in inputs.items()}
  scaled = [
    (
      {m: (x - scale[m][0]) / scale[m][1] for m, x in tables[split][0].items()},
      *tables[split][1:],
    )
    for split in SPLITS
  ]
  return subsets.gather(
    scaled[0], scaled[1], scaled[2], 'cross_entropy', num_classes
  )


def _split(table: tuple, share: float) -> tuple[tuple, tuple]:
  """A stratified draw of so many rows, the same in every run."""
  rng = np.random.default_rng(0)
  label = table[1]
  order = rng.permutation(len(label))
  order = order[np.argsort(label[order], kind='stable')]
  every = max(2, round(1 / share))
  out = np.zeros(len(label), bool)
  out[order[::every]] = True
  return _rows(table, ~out), _rows(table, out)


def _scale(x_NF: np.ndarray, has_N: np.ndarray) -> tuple:
  seen = x_NF[np.asarray(has_N, bool)].astype(np.float64)
  std_F = seen.std(0)
  return (
    seen.mean(0).astype(np.float32),
    np.where(std_F > 1e-6, std_F, 1.0).astype(np.float32),
  )
