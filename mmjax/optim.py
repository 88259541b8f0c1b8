"""Optimizers and learning-rate schedules, as plain functions of the clock.

An optimizer gives directions; the learning rate multiplies them outside, so
that there is one clock (`state.step`) and the log reads the very number used.
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax

from mmjax.base import Array

Schedule = Callable[[Array], Array]
"""step i32[] -> learning rate f32[]."""


class Optimizer(NamedTuple):
  """Directions of descent for one block of parameters."""

  direction: optax.GradientTransformation
  lr: float


DECAYED = {'all': None, 'matrices': lambda p: jax.tree.map(_is_matrix, p)}


def _is_matrix(p) -> bool:
  return p.ndim > 1


def _chain(
  lr, clip_norm, weight_decay, decayed, direction, decoupled
) -> Optimizer:
  if lr <= 0:
    raise ValueError(f'config.optim.lr={lr} must be above 0.')
  if clip_norm < 0 or weight_decay < 0:
    raise ValueError(
      f'config.optim: clip_norm={clip_norm} and weight_decay={weight_decay} '
      'must not be negative; 0 leaves them out.'
    )
  if decayed not in DECAYED:
    raise ValueError(
      f'config.optim.decayed={decayed!r} is none of {", ".join(DECAYED)}.'
    )
  clip = [optax.clip_by_global_norm(clip_norm)] if clip_norm else []
  decay = optax.add_decayed_weights(weight_decay, DECAYED[decayed])
  decay = [decay] if weight_decay else []
  parts = [direction, *decay] if decoupled else [*decay, direction]
  return Optimizer(optax.chain(*clip, *parts), lr)


def sgd(
  *,
  lr: float = 1e-3,
  momentum: float = 0.9,
  nesterov: bool = False,
  weight_decay: float = 1e-4,
  decayed: str = 'all',
  clip_norm: float = 0.0,
) -> Optimizer:
  """SGD as in PyTorch: v <- momentum v + (g + weight_decay p), p <- p - lr v.

  `clip_norm` bounds the gradient of each block on its own; 0 is off. `decayed`
  are 'all' parameters, or 'matrices' (those of two axes or more: no bias, no
  scale of a norm, no temperature).
  """
  trace = optax.trace(momentum, nesterov) if momentum else optax.identity()
  return _chain(lr, clip_norm, weight_decay, decayed, trace, decoupled=False)


def adamw(
  *,
  lr: float = 1e-3,
  b1: float = 0.9,
  b2: float = 0.999,
  eps: float = 1e-8,
  weight_decay: float = 1e-2,
  decayed: str = 'all',
  clip_norm: float = 0.0,
) -> Optimizer:
  """Adam with decoupled weight decay (Loshchilov and Hutter, 2019).

  `clip_norm` and `decayed` are those of `sgd`.
  """
  adam = optax.scale_by_adam(b1, b2, eps)
  return _chain(lr, clip_norm, weight_decay, decayed, adam, decoupled=True)


OPTIMIZERS = {'sgd': sgd, 'adamw': adamw}


def _warm(schedule: Schedule, warmup_steps: float) -> Schedule:
  if warmup_steps < 0:
    raise ValueError('config.schedule.warmup_epochs must not be negative.')
  if not warmup_steps:
    return schedule
  return lambda step: schedule(step) * jnp.minimum(1, (step + 1) / warmup_steps)


def constant(lr: float, clock: 'Clock', *, warmup_epochs: float = 0.0):
  """The same learning rate from the end of the warm-up on."""
  return _warm(
    lambda step: jnp.full_like(step, lr, jnp.float32),
    warmup_epochs * clock.steps_per_epoch,
  )


def staircase(
  lr: float,
  clock: 'Clock',
  *,
  every_epochs: float = 70,
  factor: float = 0.1,
  warmup_epochs: float = 0.0,
):
  """lr * factor ** floor(epoch / every_epochs): PyTorch's StepLR."""
  if every_epochs <= 0:
    raise ValueError(
      f'config.schedule.every_epochs={every_epochs} must be above 0.'
    )
  # Whole numbers: XLA divides by multiplying, and a boundary would slip.
  every = max(1, round(every_epochs * clock.steps_per_epoch))
  return _warm(
    lambda step: lr * factor ** jnp.float32(step // every),
    warmup_epochs * clock.steps_per_epoch,
  )


def cosine(
  lr: float, clock: 'Clock', *, warmup_epochs: float = 0.0, final: float = 0.0
):
  """Half a cosine from lr down to final * lr at the end of training."""
  warmup = warmup_epochs * clock.steps_per_epoch

  def schedule(step):
    done = (step - warmup) / max(clock.total_steps - warmup, 1)
    wave = 0.5 * (1 + jnp.cos(jnp.pi * jnp.clip(done, 0, 1)))
    return lr * (final + (1 - final) * wave)

  return _warm(schedule, warmup)


SCHEDULES = {'constant': constant, 'staircase': staircase, 'cosine': cosine}


class Clock(NamedTuple):
  """How long training is, for the schedules."""

  steps_per_epoch: int
  total_steps: int
