"""Measures of a trained model: arrays in, numbers out."""

import itertools
import math
from collections.abc import Iterable, Mapping
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np

from mmjax.base import Array

Subset = tuple[str, ...] | frozenset[str]


def modality_gap(x_BD: Array, y_BD: Array) -> Array:
  """Returns the distance of the two modalities' centres on the unit sphere.

  ||mean_B x/||x|| - mean_B y/||y||||_2, between 0 and 2 (Liang et al. 2022,
  "Mind the gap", section 2). A zero row stays zero.

  Raises:
    ValueError: the widths differ; there is no distance between such spaces.
  """
  if x_BD.ndim != 2 or y_BD.ndim != 2 or x_BD.shape[1] != y_BD.shape[1]:
    raise ValueError(
      'modality_gap compares two arrays [B, D] of one width D, but got shapes '
      f'{x_BD.shape} and {y_BD.shape}. Project both to one width first.'
    )
  gap_D = _unit(x_BD).mean(0) - _unit(y_BD).mean(0)
  return jnp.linalg.norm(gap_D)


def _unit(x_BD: Array) -> Array:
  square_B1 = jnp.sum(jnp.square(x_BD), axis=1, keepdims=True)
  return x_BD / jnp.sqrt(jnp.maximum(square_B1, 1e-24))


def shapley(
  values_by_subset: Mapping[Subset, float],
) -> dict[str, float]:
  """Returns each modality's exact Shapley value (Shapley 1953).

  phi_m = sum over S without m of |S|! (M-|S|-1)! / M! (v(S + m) - v(S)).

  Args:
    values_by_subset: v(S) for all 2^M subsets, keyed by tuples or frozensets
      of names; the empty one is `()`.

  Raises:
    ValueError: a subset is missing or given twice, or a key is a bare string.
  """
  for key in values_by_subset:
    if isinstance(key, str):
      raise ValueError(
        f'shapley wants tuples or frozensets of names as keys, not the string '
        f'{key!r}; write ({key!r},).'
      )
  value = {frozenset(key): float(v) for key, v in values_by_subset.items()}
  if len(value) < len(values_by_subset):
    raise ValueError(
      'shapley got a subset twice, in another order: '
      f'{[tuple(key) for key in values_by_subset]}.'
    )
  names = sorted(frozenset().union(*value))
  subsets = [frozenset(subset) for subset in _subsets(names)]
  missing = [_show(subset) for subset in subsets if subset not in value]
  if missing:
    raise ValueError(
      f'shapley needs a value for every subset of {", ".join(names)}, the '
      f'empty one included; missing: {", ".join(missing)}.'
    )
  M = len(names)
  weight = [1 / (M * math.comb(M - 1, size)) for size in range(M)]
  return {
    name: math.fsum(
      weight[len(subset)] * (value[subset | {name}] - value[subset])
      for subset in subsets
      if name not in subset
    )
    for name in names
  }


def _subsets(names: list[str]) -> Iterable[tuple[str, ...]]:
  sizes = range(len(names) + 1)
  return itertools.chain(*(itertools.combinations(names, k) for k in sizes))


def _show(subset: frozenset[str]) -> str:
  return '+'.join(sorted(subset)) or '() (the empty one)'


class Reliability(NamedTuple):
  """One entry per confidence bin; NaN where a bin is empty."""

  confidence: np.ndarray  # f64[bins], mean confidence
  accuracy: np.ndarray  # f64[bins], fraction that is right
  count: np.ndarray  # i64[bins]


def reliability(probs_NC, label_N, bins: int = 15) -> Reliability:
  """Bins examples by top-label confidence: bin k is (k/bins, (k+1)/bins].

  Raises:
    ValueError: the shapes disagree, or `probs_NC` holds no probabilities.
  """
  probs_NC, label_N = np.asarray(probs_NC, np.float64), np.asarray(label_N)
  if probs_NC.ndim != 2 or label_N.shape != probs_NC.shape[:1]:
    raise ValueError(
      'calibration needs probabilities [N, C] and labels [N], but got shapes '
      f'{probs_NC.shape} and {label_N.shape}.'
    )
  if not np.all((probs_NC >= 0) & (probs_NC <= 1 + 1e-6)):
    raise ValueError(
      'calibration needs probabilities between 0 and 1, but got values from '
      f'{probs_NC.min():.4g} to {probs_NC.max():.4g}; apply a softmax to '
      'logits first.'
    )
  top_N, right_N = probs_NC.max(1), probs_NC.argmax(1) == label_N
  bin_N = np.clip(np.ceil(top_N * bins).astype(int) - 1, 0, bins - 1)
  count = np.bincount(bin_N, minlength=bins)
  with np.errstate(invalid='ignore'):
    confidence = np.bincount(bin_N, top_N, bins) / count
    accuracy = np.bincount(bin_N, right_N, bins) / count
  return Reliability(confidence, accuracy, count)


def ece(probs_NC, label_N, bins: int = 15) -> float:
  """Returns the expected calibration error, NaN without examples.

  sum_k count_k/N |accuracy_k - confidence_k| over equal-width bins of the top
  label's confidence (Guo et al. 2017, equation 3).
  """
  confidence, accuracy, count = reliability(probs_NC, label_N, bins)
  if not count.sum():
    return math.nan
  gap = np.nan_to_num(np.abs(accuracy - confidence))
  return float(np.sum(count * gap) / count.sum())
