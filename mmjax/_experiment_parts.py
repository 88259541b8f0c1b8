"""The parts of an experiment, each checked as it is made."""

import functools
import warnings
from collections.abc import Callable, Mapping
from typing import Any

import jax
import numpy as np

from mmjax._compose import call, lookup
from mmjax.base import RESERVED, Ragged, Source
from mmjax.data import augment as augments
from mmjax.data import feed, pairs
from mmjax.data import missing as lacks
from mmjax.models import auto, pretrained

SPLITS = ('train', 'validation', 'test')
SAMPLE = 256  # examples that are looked at before anything starts


def check_batches(mesh, batch_size: int, eval_batch_size: int) -> None:
  data = mesh.shape['data']
  for name, size in (
    ('batch_size', batch_size),
    ('eval_batch_size', eval_batch_size),
  ):
    if size < 1 or size % data:
      raise ValueError(
        f'config.{name}={size} does not divide among the {data} devices that '
        f'config.mesh.data spreads a batch over; take a multiple of {data}.'
      )


def sources(data: dict, kept: Mapping, missing: dict) -> dict[str, Source]:
  make = lookup('data', data, 'config.data')
  sources = {split: make(split) for split in SPLITS}
  train = sources['train']
  bad = [m for m in train.modalities if m in RESERVED or '/' in m]
  if bad:
    raise ValueError(
      f'config.data: modalities cannot be called {", ".join(bad)}; rename them.'
    )
  if not train.size:
    raise ValueError(
      f'config.data: the training split of {data["name"]!r} has no example. '
      'Look at its options for splits and labels.'
    )
  if not (sources['validation'].size or sources['test'].size):
    raise ValueError(
      f'config.data: {data["name"]!r} has neither validation nor test '
      'examples, so nothing could be measured.'
    )
  sources['train'] = call(pairs.keep, kept, 'config.pairs', source=train)
  rates = call(_missing_rates, missing, 'config.missing')
  for i, split in enumerate(SPLITS):
    if rates[split] and sources[split].size:
      seed = rates['seed'] * len(SPLITS) + i
      sources[split] = lacks.drop(
        sources[split], rates[split], seed, sampler=rates['sampler']
      )
  return sources


def _missing_rates(
  *,
  train: float,
  validation: float,
  test: float,
  seed: int,
  sampler: str = 'exact',  # older run folders do not say
) -> dict[str, Any]:
  return dict(
    train=train, validation=validation, test=test, seed=seed, sampler=sampler
  )


def encoders(
  sections: dict, sources: dict, width: int, dtype: str, seen: Callable
):
  """(module per modality, sample that they were fitted to, () -> weights).

  `seen` is what the transform of a batch makes of it before it is encoded.
  """
  train = sources['train']
  sample = feed.load(train, np.arange(min(SAMPLE, train.size)), None)
  check_sample(sample, train)
  unknown = [m for m in sections if m not in train.modalities]
  if unknown:
    raise ValueError(
      f'config.encoders names {", ".join(unknown)}, but the data have the '
      f'modalities {", ".join(train.modalities)}.'
    )
  one = jax.eval_shape(seen, jax.tree.map(lambda x: x[:1], sample))
  modules, reads = {}, {}
  for m in train.modalities:
    section = dict(sections.get(m) or auto.section(m, sample[m], width))
    if m not in sections and section['name'] == 'text':
      section['vocab'] = 1 + largest_id(sources, m)
    published = section.pop('pretrained', None)
    section, place = {'dtype': dtype, **section}, f'config.encoders.{m}'
    module = lookup('models', {'width': width, **section}, place)()
    variables = _variables(module, one[m], f'{place}: {section["name"]!r}')
    modules[m] = module
    if published is not None:
      tuned = functools.partial(pretrained.tuned, module, place)
      modules[m] = call(tuned, published, f'{place}.pretrained')
      if published.get('weights'):
        of = published['weights'], modules[m].layout, variables, place
        reads[m] = functools.partial(pretrained.load, *of)
  return modules, sample, lambda: {m: read() for m, read in reads.items()}


def _variables(module: Any, one: Any, told: str):
  """Their shapes; ValueError where the module cannot read the example."""
  try:
    return jax.eval_shape(
      lambda x: module.init(jax.random.key(0), x, np.ones(1, bool), False), one
    )
  except (ValueError, TypeError) as error:
    shape = getattr(one, 'values', one).shape[1:]
    raise ValueError(
      f'{told} cannot read examples of shape {shape} '
      f'({"ragged" if isinstance(one, Ragged) else "fixed"}): {error}'
    ) from error


def largest_id(sources: dict[str, Source], m: str) -> int:
  """Of the tokens of a modality, in any split."""
  largest = 0
  for source in sources.values():
    for start in range(0, source.size, SAMPLE):
      rows = np.arange(start, min(start + SAMPLE, source.size))
      ids = source.take(rows)[m]
      largest = max(largest, int(np.max(getattr(ids, 'values', ids))))
  return largest


def check_sample(sample: dict, train: Source) -> None:
  label = sample['label']
  if label.min() < 0 or label.max() >= len(train.class_names):
    raise ValueError(
      f'config.data: labels run from {label.min()} to {label.max()}, but there '
      f'are {len(train.class_names)} classes, numbered from 0.'
    )
  bad = feed.nonfinite(sample, train.modalities)
  if bad:
    raise ValueError(
      f'config.data: {", ".join(bad)} holds NaN or infinity in the first '
      f'{len(label)} training examples. Clean it, or mark those examples as '
      'missing the modality.'
    )
  for m in train.modalities:
    if sample['present'][m].any():
      continue
    told = (
      f'config.data: none of the first {len(label)} training examples has the '
      f'modality {m!r}. If none has, leave it out of the data.'
    )
    if len(label) == train.size:
      raise ValueError(told)
    warnings.warn(told, stacklevel=2)


def transform(sections: dict, modalities) -> augments.Transform:
  unknown = [m for m in sections if m not in modalities]
  if unknown:
    raise ValueError(
      f'config.augment names {", ".join(unknown)}, but the data have the '
      f'modalities {", ".join(modalities)}.'
    )
  return augments.compose(sections)


def check_init(init: Callable) -> None:
  """What does not fit together shows in the shapes, before compiling."""
  try:
    jax.eval_shape(init, jax.random.key(0))
  except (ValueError, TypeError) as error:
    raise ValueError(
      f'config.head, config.encoders and config.method do not fit: {error}'
    ) from error
