"""Data of the lab: every modality a matrix, one row per example."""

import math
from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

from mmjax.lab import _model


class Part(NamedTuple):
  """Examples of one split."""

  inputs: Mapping[str, np.ndarray]  # f32[N, F] each
  target: np.ndarray  # i32[N] classes, or f32[N, T] numbers
  present: Mapping[str, np.ndarray]  # f32[N] each, 0 where an example lacks it

  @property
  def size(self) -> int:
    return len(self.target)


class Data(NamedTuple):
  """What members are trained on, stopped by, and measured on."""

  train: Part
  validation: Part
  test: Part
  loss: str
  num_classes: int  # 0 for numbers

  @property
  def modalities(self) -> tuple[str, ...]:
    return tuple(self.train.inputs)

  @property
  def outputs(self) -> int:
    return self.num_classes or self.train.target.shape[1]

  @property
  def widths(self) -> dict[str, int]:
    return {m: x.shape[1] for m, x in self.train.inputs.items()}


def gather(
  train: tuple, validation: tuple, test: tuple, loss: str, num_classes: int = 0
) -> Data:
  """Checks and gathers three splits, each (inputs, target) or with presence.

  Raises ValueError naming split, modality and rows of what is wrong.
  """
  if loss not in _model.LOSSES:
    raise ValueError(f'loss={loss!r}: there are {", ".join(_model.LOSSES)}.')
  made = {}
  named = dict(train=train, validation=validation, test=test)
  for split, (inputs, target, *present) in named.items():
    made[split] = _part(split, inputs, target, present, loss)
  parts = list(made.values())
  for split, part in made.items():
    if _shapes(part) != _shapes(parts[0]):
      raise ValueError(
        f'{split} has {_shapes(part)} (modality: width, and targets), but '
        f'train has {_shapes(parts[0])}: splits must be alike.'
      )
  if not parts[0].size or not parts[2].size:
    raise ValueError('The lab needs training and test examples.')
  if loss == 'cross_entropy':
    top = 1 + max(int(p.target.max(initial=-1)) for p in parts)
    num_classes = num_classes or top
    low = min(int(p.target.min(initial=0)) for p in parts)
    if low < 0 or top > num_classes:
      raise ValueError(
        f'Labels run from {low} to {top - 1}, but must be 0..{num_classes - 1}.'
      )
  first, second, third = parts
  count = num_classes if loss == 'cross_entropy' else 0
  return Data(first, second, third, loss, count)


def _part(split: str, inputs, target, present: list, loss: str) -> Part:
  if not inputs:
    raise ValueError(f'{split} has no modality.')
  target = np.asarray(target)
  if loss == 'cross_entropy':
    if target.ndim != 1 or target.dtype.kind not in 'iub':
      raise ValueError(
        f'{split}: cross-entropy takes integer labels [N], not '
        f'{target.dtype}{list(target.shape)}; for numbers take '
        "loss='squared_error'."
      )
    target = target.astype(np.int32)
  else:
    target = target[:, None] if target.ndim == 1 else target
    target = target.astype(np.float32)
    _finite(split, 'target', target)
  N, made = len(target), {}
  mark = _marks(split, present[0] if present else {}, inputs, N)
  for m, x in inputs.items():
    x = np.asarray(x, np.float32)
    if x.ndim < 2 or len(x) != N:
      raise ValueError(
        f'{split}: {m!r} has shape {x.shape}; it must be [N, features] with '
        f'N={N}, as many as targets.'
      )
    has_N = mark.get(m, np.ones(N, np.float32))
    made[m] = x.reshape(N, math.prod(x.shape[1:]))
    made[m] = np.where(has_N[:, None] > 0, made[m], np.float32(0))
    _finite(split, m, made[m])
    mark[m] = has_N
  return Part(made, target, mark)


def _marks(split: str, present, inputs, N: int) -> dict[str, np.ndarray]:
  """f32[N] of the modalities that not every example has."""
  mark = {m: np.asarray(has, np.float32) for m, has in present.items()}
  for m, has_N in mark.items():
    if m not in inputs or has_N.shape != (N,):
      raise ValueError(
        f'{split}: presence is told for {m!r} as {has_N.shape}; it must be [N] '
        f'with N={N} and for one of {", ".join(inputs)}.'
      )
  return mark


def _finite(split: str, name: str, x_NF: np.ndarray) -> None:
  bad = np.flatnonzero(~np.isfinite(x_NF).all(1))
  if len(bad):
    raise ValueError(
      f'{split}: {name!r} holds NaN or infinity in rows '
      f'{", ".join(map(str, bad[:5]))}{" .." * (len(bad) > 5)} ({len(bad)} in '
      'all). Clean them, or mark the modality as absent there.'
    )


def _shapes(part: Part) -> tuple:
  return {m: x.shape[1] for m, x in part.inputs.items()}, part.target.shape[1:]


def chance(part: Part, num_classes: int) -> float:
  """Risk of the best constant on a part: its label entropy, or variance."""
  if not num_classes:
    return float(part.target.var(0, dtype=np.float64).sum())
  rate_C = np.bincount(part.target, minlength=num_classes) / part.size
  seen_C = rate_C[rate_C > 0]
  return float(-(seen_C * np.log(seen_C)).sum())
