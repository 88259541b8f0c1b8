"""build(config) -> Experiment: the only place where things are composed.

The config stops here; below, everything takes plain arguments.
"""

import functools
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

import jax
import numpy as np
from ml_collections import ConfigDict

from mmjax import kit as kits
from mmjax import optim as optims
from mmjax import plan as plans
from mmjax import seeds as ways
from mmjax import sharding
from mmjax._compose import call, check_keys, lookup, named, plain
from mmjax.base import RESERVED, Batch, Eval, Kit, Method, Ragged, Source
from mmjax.data import augment as augments
from mmjax.data import feed, order
from mmjax.data import missing as lacks
from mmjax.models import auto, net

SPLITS = ('train', 'validation', 'test')
SAMPLE = 256  # examples that are looked at before anything starts


class Schedule(NamedTuple):
  """When a run does what besides training; periods in epochs, 0 is never."""

  log_steps: int
  eval_epochs: float
  checkpoint_epochs: float
  keep: int
  select: str
  watch: str


class Experiment(NamedTuple):
  """Everything that a config means.

  For one model: `init(key) -> state`, `steps[phase](state, batch)` and
  `predict(state, batch)`, pure and jitted. For all seeds: `seeds`, `lifted`
  (steps that donate their states) and `observers`.
  """

  config: dict[str, Any]
  kit: Kit
  method: Method
  sources: Mapping[str, Source]
  plan: tuple[plans.Segment, ...]
  lr: optims.Schedule
  evals: Mapping[str, Eval]
  init: Callable
  steps: Mapping[str, Callable]
  predict: Callable
  mesh: jax.sharding.Mesh
  seeds: ways.Seeds
  lifted: Mapping[str, Callable]
  observers: Mapping[str, Callable]
  batch_size: int
  eval_batch_size: int
  stream: Callable[..., Iterator[Batch]]
  run: Schedule

  def train_rows(self, step: int) -> np.ndarray:
    """Rows of the training batch of a step."""
    size, seed = self.sources['train'].size, self.config['order_seed']
    return order.rows(size, self.batch_size, seed, step)

  def batch(self, step: int = 0, split: str = 'train') -> Batch:
    """One batch, on the devices: of a training step, or the n-th of a split."""
    source = self.sources[split]
    rows, size = self.train_rows, self.batch_size
    if split != 'train':
      size = self.eval_batch_size
      rows, _ = feed.in_order(source, size)
    return next(self.stream(source, rows, step, step + 1, size))


def build(config: ConfigDict | Mapping[str, Any]) -> Experiment:
  """Composes data, net, method and plan; checks all it can before compiling.

  Raises ValueError, naming the place in the config and the way out.
  """
  config = plain(config)
  check_keys(_build, {'config': config, **config}, 'config')
  return _build(config=config, **config)


def _build(
  *,
  config: dict,
  data: dict,
  missing: dict,
  encoders: dict,
  width: int,
  dtype: str,
  head: dict,
  method: dict,
  phases: tuple,
  optim: dict,
  schedule: dict,
  augment: dict,
  evals: dict,
  batch_size: int,
  eval_batch_size: int,
  seed: int,
  order_seed: int,
  num_seeds: int,
  seeds_how: str,
  mesh: dict,
  shard_state: bool,
  reader: dict,
  run: dict,
) -> Experiment:
  when = call(_when, {**run, 'evals': evals}, 'config.run')
  if order_seed < 0 or seed < 0:
    raise ValueError('config.seed and config.order_seed must not be negative.')
  devices = call(sharding.make_mesh, mesh, 'config.mesh')
  _check_batches(devices, batch_size, eval_batch_size)
  sources = _sources(data, missing)
  train = sources['train']
  modules, sample = _encoders(encoders, train, width, dtype)
  facts = {
    'modalities': train.modalities,
    'num_classes': len(train.class_names),
  }
  module = lookup('models.fusion', head, 'config.head', facts)(**facts)
  network = net.make(modules, module)
  optimizer = named(optims.OPTIMIZERS, optim, 'config.optim')()
  per_epoch = order.steps_per_epoch(train.size, batch_size)

  def compose(lr: optims.Schedule) -> tuple[Kit, Method]:
    kit = kits.make(
      network,
      optimizer,
      lr,
      modalities=train.modalities,
      class_names=train.class_names,
      num_examples=train.size,
      steps_per_epoch=per_epoch,
      head=head['name'],
    )
    return kit, lookup('methods', method, 'config.method')(kit)

  # A method knows its phases, these the length of training, that the schedule:
  # hence twice.
  menu = compose(lambda step: step)[1].phases
  plan = plans.make(phases, per_epoch, menu)
  clock = optims.Clock(per_epoch, plan[-1].stop)
  lr = named(optims.SCHEDULES, schedule, 'config.schedule')(optimizer.lr, clock)
  kit, made = compose(lr)

  transform = _transform(augment, train.modalities)
  first = transform.eval(jax.tree.map(lambda x: x[:1], sample))
  init = functools.partial(kits.init, network, optimizer, made, first)
  _check_init(init)
  models = ways.make(
    init,
    devices,
    seed=seed,
    num=num_seeds,
    how=seeds_how,
    shard_state=shard_state,
  )
  steps = {
    name: _augmented(kit, phase.step, transform)
    for name, phase in made.phases.items()
  }
  seen = made._replace(
    predict=lambda state, batch: made.predict(state, transform.eval(batch))
  )
  questions = {
    name: lookup('evals', {'name': name, **options}, f'config.evals.{name}')(
      kit, seen
    )
    for name, options in evals.items()
  }
  return Experiment(
    config=config,
    kit=kit,
    method=made,
    sources=sources,
    plan=plan,
    lr=lr,
    evals=questions,
    init=jax.jit(init),
    steps={name: jax.jit(step) for name, step in steps.items()},
    predict=jax.jit(seen.predict),
    mesh=devices,
    seeds=models,
    lifted={name: models.lift(step) for name, step in steps.items()},
    observers={n: models.observe(e.observe) for n, e in questions.items()},
    batch_size=batch_size,
    eval_batch_size=eval_batch_size,
    stream=call(_stream, {**reader, 'mesh': devices}, 'config.reader'),
    run=when,
  )


def _when(
  *,
  evals: Mapping,
  log_steps: int,
  eval_epochs: float,
  checkpoint_epochs: float,
  keep: int,
  select: str,
  watch: str,
) -> Schedule:
  if select not in ('latest', 'best'):
    raise ValueError(f"config.run.select={select!r}: 'latest' or 'best' it is.")
  if watch.count('/') != 2 or watch.split('/')[0] not in evals:
    raise ValueError(
      f'config.run.watch={watch!r} must read <eval>/<modality or joint>/'
      f'<measure>, with one of config.evals: {", ".join(evals)}.'
    )
  if log_steps < 1 or keep < 1 or eval_epochs < 0 or checkpoint_epochs <= 0:
    raise ValueError(
      'config.run: log_steps and keep must be at least 1, eval_epochs not '
      'negative and checkpoint_epochs above 0.'
    )
  return Schedule(
    log_steps, eval_epochs, checkpoint_epochs, keep, select, watch
  )


def _check_batches(mesh, batch_size: int, eval_batch_size: int) -> None:
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


def _sources(data: dict, missing: dict) -> dict[str, Source]:
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
  rates = call(_missing_rates, missing, 'config.missing')
  for i, split in enumerate(SPLITS):
    if rates[split] and sources[split].size:
      seed = rates['seed'] * len(SPLITS) + i
      sources[split] = lacks.drop(sources[split], rates[split], seed)
  return sources


def _missing_rates(
  *, train: float, validation: float, test: float, seed: int
) -> dict[str, Any]:
  return dict(train=train, validation=validation, test=test, seed=seed)


def _encoders(sections: dict, train: Source, width: int, dtype: str):
  """One module per modality, and the sample that they were fitted to."""
  sample = feed.load(train, np.arange(min(SAMPLE, train.size)), None)
  _check_sample(sample, train)
  unknown = [m for m in sections if m not in train.modalities]
  if unknown:
    raise ValueError(
      f'config.encoders names {", ".join(unknown)}, but the data have the '
      f'modalities {", ".join(train.modalities)}.'
    )
  modules = {}
  for m in train.modalities:
    section = sections.get(m) or auto.section(m, sample[m], width)
    section = {'width': width, 'dtype': dtype, **section}
    make = lookup('models', section, f'config.encoders.{m}')
    module = modules[m] = make()
    one = jax.tree.map(lambda x: x[:1], sample[m])
    try:
      jax.eval_shape(
        lambda x, e=module: e.init(
          jax.random.key(0), x, np.ones(1, bool), False
        ),
        one,
      )
    except (ValueError, TypeError) as error:
      shape = getattr(one, 'values', one).shape[1:]
      raise ValueError(
        f'config.encoders.{m}: {section["name"]!r} cannot read examples of '
        f'shape {shape} ({"ragged" if isinstance(one, Ragged) else "fixed"}): '
        f'{error}'
      ) from error
  return modules, sample


def _check_sample(sample: dict, train: Source) -> None:
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
    if not sample['present'][m].any() and len(label) == train.size:
      raise ValueError(
        f'config.data: no training example has the modality {m!r}. Leave it '
        'out of config.data.modalities.'
      )


def _transform(sections: dict, modalities) -> augments.Transform:
  unknown = [m for m in sections if m not in modalities]
  if unknown:
    raise ValueError(
      f'config.augment names {", ".join(unknown)}, but the data have the '
      f'modalities {", ".join(modalities)}.'
    )
  return augments.make(sections)


def _check_init(init: Callable) -> None:
  """What does not fit together shows in the shapes, before compiling."""
  try:
    jax.eval_shape(init, jax.random.key(0))
  except (ValueError, TypeError) as error:
    raise ValueError(
      f'config.head, config.encoders and config.method do not fit: {error}'
    ) from error


def _augmented(kit: Kit, step: Callable, transform) -> Callable:
  def augmented(state, batch):
    return step(state, transform.train(kit.key(state, 'augment'), batch))

  return augmented


def _stream(
  *, mesh, threads: int, ahead: int
) -> Callable[..., Iterator[Batch]]:
  """(source, rows, start, stop, batch_size) -> batches on the devices."""

  def stream(source, rows, start, stop, batch_size):
    part = sharding.local_part(mesh, batch_size)
    for batch in feed.stream(
      source,
      rows,
      start,
      stop,
      batch_size,
      part=part,
      threads=threads,
      ahead=ahead,
    ):
      yield sharding.put(mesh, batch, batch_size, part)

  return stream
