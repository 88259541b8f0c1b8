"""build(config) -> Experiment: the only place where things are composed.

The config stops here; below, everything takes plain arguments.
"""

import functools
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from ml_collections import ConfigDict

from mmjax import _experiment_feed as feeds
from mmjax import _experiment_parts as parts
from mmjax import kit as kits
from mmjax import optim as optims
from mmjax import plan as plans
from mmjax import seeds as ways
from mmjax import sharding
from mmjax._compose import call, lookup, named, plain
from mmjax.base import Batch, Eval, Kit, Method, Phase, Source, TrainState
from mmjax.data import feed, order
from mmjax.models import net


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
  `predict(state, batch)`, pure and jitted. `init` reads the published weights
  that the config names, as `weights()` does, unless it is given them: `init(key,
  weights)`. For all seeds: `seeds`, `lifted`
  (steps that donate their states) and `observers`.
  """

  config: dict[str, Any]
  kit: Kit
  method: Method
  sources: Mapping[str, Source]
  plan: tuple[plans.Segment, ...]
  lr: optims.Schedule
  evals: Mapping[str, Eval]
  weights: Callable
  init: Callable
  steps: Mapping[str, Callable]
  predict: Callable
  mesh: jax.sharding.Mesh
  seeds: ways.Seeds
  lifted: Mapping[str, Callable]
  until: Mapping[str, Callable]  # of the phases that can be enough early
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
  # What the adviser is asked for, or extraction, is none of training's.
  aside = ('advise', 'extract', 'generate')
  config = {k: v for k, v in plain(config).items() if k not in aside}
  return call(_build, config, 'config', config=config)


def _build(
  *,
  config: dict,
  data: dict,
  pairs: Mapping = {},  # noqa: B006 (never written; older run folders have none)
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
  when = call(_when, run, 'config.run', evals=evals)
  if order_seed < 0 or seed < 0:
    raise ValueError('config.seed and config.order_seed must not be negative.')
  devices = call(sharding.make_mesh, mesh, 'config.mesh')
  parts.check_batches(devices, batch_size, eval_batch_size)
  sources = parts.sources(data, pairs, missing)
  train = sources['train']
  transform = parts.transform(augment, train.modalities)
  modules, sample, weights = parts.encoders(
    encoders, sources, width, dtype, transform.eval
  )
  facts = {
    'modalities': train.modalities,
    'num_classes': len(train.class_names),
  }
  module = lookup('models.fusion', head, 'config.head', facts)(**facts)
  network = net.compose(modules, module)
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
      mesh=devices,
    )
    return kit, lookup('methods', method, 'config.method')(kit)

  # A method knows its phases, these the length of training, that the schedule:
  # hence twice.
  menu = compose(lambda step: step)[1].phases
  plan = plans.make(phases, per_epoch, menu)
  clock = optims.Clock(per_epoch, plan[-1].stop)
  lr = named(optims.SCHEDULES, schedule, 'config.schedule')(optimizer.lr, clock)
  kit, made = compose(lr)

  first = transform.eval(jax.tree.map(lambda x: x[:1], sample))
  init = functools.partial(kits.init, network, optimizer, made, first)
  parts.check_init(init)
  models = ways.make(
    init,
    devices,
    weights=weights,
    seed=seed,
    num=num_seeds,
    how=seeds_how,
    shard_state=shard_state,
  )
  steps = {
    name: _augmented(kit, phase, transform)
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
    weights=weights,
    init=_begin(jax.jit(init), weights),
    steps={name: jax.jit(step) for name, step in steps.items()},
    predict=jax.jit(seen.predict),
    mesh=devices,
    seeds=models,
    lifted={name: models.lift(step) for name, step in steps.items()},
    until={
      name: models.ask(phase.until)
      for name, phase in made.phases.items()
      if phase.until is not None
    },
    observers={n: models.observe(e.observe) for n, e in questions.items()},
    batch_size=batch_size,
    eval_batch_size=eval_batch_size,
    stream=call(feeds.stream, reader, 'config.reader', mesh=devices),
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
  if watch.count('/') < 2 or watch.split('/')[0] not in evals:
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


def _begin(init: Callable, read: Callable) -> Callable:
  def begin(key: jax.Array, weights: Mapping | None = None) -> TrainState:
    return init(key, read() if weights is None else weights)

  return begin


def _augmented(kit: Kit, phase: Phase, transform) -> Callable:
  def augmented(state, batch):
    key = kit.key(state, 'augment')
    if phase.views == 1:
      return phase.step(state, transform.train(key, batch))
    keys = jax.random.split(key, phase.views)
    seen = [transform.train(k, batch) for k in keys]
    return phase.step(state, jax.tree.map(lambda *x: jnp.concatenate(x), *seen))

  return augmented
