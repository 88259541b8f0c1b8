"""Pictures beside the embeddings of an aligned run, example by example."""

import pathlib
from collections.abc import Mapping
from typing import Any, NamedTuple

import jax
import numpy as np

from mmjax import checkpoint, experiment, folder
from mmjax._compose import lookup
from mmjax._generate_settings import PLACE
from mmjax.base import Source
from mmjax.data import feed

SPLITS = ('train', 'validation', 'test')
BLOCK = 1024  # pictures that are read at a time


class Part(NamedTuple):
  """One split; all arrays have a row per example."""

  images: np.ndarray  # f32[N, H, W, C] in 0..1
  condition: np.ndarray  # f32[N, D], what the generator learns from
  source: np.ndarray  # f32[N, D], what it is asked with in the end
  label: np.ndarray  # i32[N]
  entry: np.ndarray  # i64[N], equal for examples that share what is in `source`

  @property
  def size(self) -> int:
    return len(self.label)


class Data(NamedTuple):
  """What `of_run` found."""

  parts: Mapping[str, Part]  # by split
  class_names: tuple[str, ...]
  step: int  # of the run's checkpoint


def of_run(
  run_folder: pathlib.Path,
  recipe_data: Mapping[str, Any],
  source: str = 'speech',
  condition: str = 'text',
  target: str = 'image',
) -> Data:
  """Embeddings of a run's first model, and the pictures of the same examples.

  Examples that lack one of the three are left out.

  Args:
    run_folder: of a run whose method aligns modalities.
    recipe_data: section of the data set that the run's data were made from.
    source: modality of the run.
    condition: modality of the run.
    target: modality of `recipe_data`.

  Raises:
    ValueError: no run, no checkpoint, an unknown modality, data that are not
      those of the run, or nothing left of training or test.
  """
  exp = experiment.build(folder.read_config(run_folder))
  for name, m in (('source', source), ('condition', condition)):
    if m not in exp.kit.modalities:
      raise ValueError(
        f'{PLACE}.{name}={m!r}: the modalities of {run_folder} are '
        f'{", ".join(exp.kit.modalities)}.'
      )
  sources = _sources(exp, recipe_data, target)
  found = checkpoint.selected(run_folder, exp.seeds.abstract, exp.run.select)
  parts = {}
  for split, pictures in sources.items():
    rows = _rows(exp, found.state, split, (condition, source))
    image, has_N = _read(pictures, split, target, rows['label'])
    keep = rows['present'] & has_N
    parts[split] = Part(
      image[keep],
      rows[f'feats/{condition}'][keep],
      rows[f'feats/{source}'][keep],
      rows['label'][keep],
      _entries(exp, split, source)[keep],
    )
  for split in ('train', 'test'):
    if split not in parts or not parts[split].size:
      raise ValueError(
        f'{run_folder}: no example of {split} has {source}, {condition} and '
        f'{target}.'
      )
  return Data(parts, exp.kit.class_names, found.step)


def _sources(exp, section, target: str) -> dict[str, Source]:
  """The splits with the pictures; each is as long as that of the run."""
  if not section:
    raise ValueError(
      f'{PLACE}.data is empty: name the data set that has the pictures, such as '
      "dict(name='digits', image_noise=0.0)."
    )
  make, sources = lookup('data', section, f'{PLACE}.data'), {}
  for split in SPLITS:
    if not exp.sources[split].size:
      continue
    made = sources[split] = make(split)
    if target not in made.modalities:
      raise ValueError(
        f'{PLACE}.target={target!r}: the modalities of {PLACE}.data are '
        f'{", ".join(made.modalities)}.'
      )
    if made.size != exp.sources[split].size:
      raise ValueError(
        f'{PLACE}.data has {made.size} examples of {split}, the run has '
        f'{exp.sources[split].size}. They must be the same, in one order: give '
        'the data that the run, or its latents, were made from.'
      )
  return sources


def _rows(exp, states, split: str, modalities) -> dict[str, np.ndarray]:
  """Embeddings of the first model in the order of the split."""

  def observe(state, batch):
    feats = exp.predict(state, batch).feats
    told = {f'feats/{m}': feats[m] for m in modalities}
    has = [batch['present'][m] for m in modalities]
    return {**told, 'present': has[0] & has[1], 'label': batch['label']}

  source, size = exp.sources[split], exp.eval_batch_size
  order, steps = feed.in_order(source, size)
  run = exp.seeds.observe(observe)
  told = [
    exp.seeds.stack(run(states, batch))
    for batch in exp.stream(source, order, 0, steps, size)
  ]
  return {
    key: np.concatenate([t[key][0] for t in told])[: source.size]
    for key in told[0]
  }


def _read(
  source: Source, split: str, target: str, label_N: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
  """Pictures, and who has one. Raises ValueError if labels disagree."""
  starts = range(0, source.size, BLOCK)
  told = [
    source.take(np.arange(start, min(start + BLOCK, source.size)))
    for start in starts
  ]
  own_N = np.concatenate([t['label'] for t in told])
  differ = np.flatnonzero(own_N != label_N)
  if len(differ):
    raise ValueError(
      f'{PLACE}.data: {len(differ)} labels of {split} are not those of the run, '
      f'first in row {differ[0]}. They must be the same examples, in one order.'
    )
  images = [t[target] for t in told]
  if any(getattr(x, 'ndim', 0) != 4 for x in images):
    shape = jax.tree.map(np.shape, images[0])
    raise ValueError(
      f'{PLACE}.target={target!r} holds no pictures [N, H, W, C], but {shape}.'
    )
  has = [t['present'][target] for t in told]
  return np.concatenate(images).astype(np.float32), np.concatenate(has)


def _entries(exp, split: str, m: str) -> np.ndarray:
  source = exp.sources[split]
  return np.asarray(source.entries.get(m, np.arange(source.size)))
