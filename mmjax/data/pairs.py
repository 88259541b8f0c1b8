"""Fewer, worse or other pairs to train on: what a study of data varies.

Quantity, quality and diversity of the training pairs, as FuseMix (Vouitsis et
al., CVPR 2024, section 5) asks about them.
"""

from collections.abc import Callable

import numpy as np

from mmjax import base

MAX_DPP = 20_000  # examples; the kernel is squared


def keep(
  source: base.Source,
  *,
  fraction: float = 1.0,
  select: str = 'random',
  by: str = '',
  mismatched: float = 0.0,
  seed: int = 0,
) -> base.Source:
  """The source with some of its pairs, some of them wrong.

  Args:
    source: N examples.
    fraction: of the examples that stay, at least one.
    select: 'random'; 'k_center' (each next one is the farthest from all before:
      Gonzalez 1985; Sener and Savarese 2018) or 'dpp' (greedy mode of the
      determinantal point process with kernel (cos + 1)^2, as the authors of
      FuseMix: Chen et al. 2018), which spread over the latents; 'similar' is the
      opposite, the nearest to one example.
    by: the modality whose latents are spread over; '' is the first. It must be
      a vector per example.
    mismatched: share of those that stay whose other modalities are those of
      another example, as in pairs that nobody has checked.
    seed: of all draws.

  Raises ValueError for values out of range, an unknown name, or a modality that
  is no vector.
  """
  _check(source, fraction, select, by, mismatched)
  if fraction == 1 and not mismatched:
    return source
  rng = np.random.default_rng(seed)
  count = max(1, round(fraction * source.size))
  by = by or source.modalities[0]
  if count == source.size:
    rows = np.arange(source.size)
  elif select == 'random':
    rows = np.sort(rng.permutation(source.size)[:count])
  else:
    unit_ND = _unit(source, by)
    rows = np.sort(SELECTIONS[select](unit_ND, count, rng))
  wrong = rng.permutation(count)[: round(mismatched * count)]
  other = np.arange(count)
  other[wrong] = np.roll(wrong, 1)
  return _taken(source, rows, rows[other], by)


def _taken(source: base.Source, rows, other, by: str) -> base.Source:
  """Rows of `by`, with all other modalities of the rows `other`."""
  same = (rows == other).all()

  def take(at: np.ndarray) -> dict:
    batch = source.take(rows[at])
    if same:
      return batch
    wrong = source.take(other[at])
    rest = [m for m in source.modalities if m != by]
    present = {**batch['present'], **{m: wrong['present'][m] for m in rest}}
    return {**batch, **{m: wrong[m] for m in rest}, 'present': present}

  entries = {}
  for m in (*source.entries, *source.pools):
    known = source.entries.get(m, np.arange(source.size))
    entries[m] = known[rows if m == by else other]
  labels = None if source.labels is None else source.labels[rows]
  return source._replace(
    size=len(rows), take=take, entries=entries, labels=labels
  )


def k_center(
  unit_ND: np.ndarray, count: int, rng: np.random.Generator
) -> np.ndarray:
  """Greedy k-center over rows of length one, i64[count]."""
  rows = [int(rng.integers(len(unit_ND)))]
  nearest_N = unit_ND @ unit_ND[rows[0]]
  while len(rows) < count:
    rows.append(int(np.argmin(nearest_N)))
    np.maximum(nearest_N, unit_ND @ unit_ND[rows[-1]], out=nearest_N)
    nearest_N[rows] = np.inf
  return np.array(rows)


def dpp(
  unit_ND: np.ndarray, count: int, rng: np.random.Generator
) -> np.ndarray:
  """Greedy maximum of log det of the kernel (cos + 1)^2, i64[count].

  By the incremental Cholesky factor of Chen et al. 2018, "Fast Greedy MAP
  Inference for Determinantal Point Process", algorithm 1. A small ridge lets it
  go on where no example adds anything.
  """
  del rng  # all is decided
  N = len(unit_ND)
  gain_N = np.full(N, 4 + 1e-6)
  factor_KN = np.zeros((count, N))
  rows = []
  for k in range(count):
    gain_N[rows] = -np.inf
    best = int(np.argmax(gain_N))
    kernel_N = np.square(unit_ND @ unit_ND[best] + 1)
    done_KN = factor_KN[:k]
    factor_KN[k] = (kernel_N - done_KN[:, best] @ done_KN) / np.sqrt(
      max(gain_N[best], 1e-9)
    )
    gain_N = gain_N - np.square(factor_KN[k])
    rows.append(best)
  return np.array(rows)


def similar(
  unit_ND: np.ndarray, count: int, rng: np.random.Generator
) -> np.ndarray:
  """One drawn example and those nearest to it, i64[count]."""
  cosine_N = unit_ND @ unit_ND[rng.integers(len(unit_ND))]
  return np.argsort(-cosine_N, kind='stable')[:count]


SELECTIONS: dict[str, Callable[..., np.ndarray]] = {
  'k_center': k_center,
  'dpp': dpp,
  'similar': similar,
}


def _unit(source: base.Source, by: str) -> np.ndarray:
  values = source.take(np.arange(source.size))[by]
  if isinstance(values, base.Ragged) or values.ndim != 2:
    raise ValueError(
      f'config.pairs.by={by!r} is no vector per example, so there is no distance '
      'to select by. Extract latents first (--mode=extract), or take '
      "config.pairs.select='random'."
    )
  values = np.asarray(values, np.float64)
  return values / np.maximum(
    np.linalg.norm(values, axis=1, keepdims=True), 1e-12
  )


def _check(source, fraction, select, by, mismatched) -> None:
  if not 0 < fraction <= 1 or not 0 <= mismatched <= 1:
    raise ValueError(
      f'config.pairs: fraction={fraction} must be in (0, 1], and mismatched='
      f'{mismatched} in [0, 1].'
    )
  if select not in ('random', *SELECTIONS):
    raise ValueError(
      f'config.pairs.select={select!r} is none of random, '
      f'{", ".join(SELECTIONS)}.'
    )
  if by and by not in source.modalities:
    raise ValueError(
      f'config.pairs.by={by!r} is none of the modalities '
      f'{", ".join(source.modalities)}.'
    )
  if select == 'dpp' and source.size > MAX_DPP:
    raise ValueError(
      f"config.pairs.select='dpp' keeps a factor of {source.size:,} columns in "
      f"memory, and more than {MAX_DPP:,} are too many. Take 'k_center'."
    )
