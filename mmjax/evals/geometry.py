"""Where do aligned modalities put pairs, and do they use the whole sphere?

Wang and Isola 2020, "Understanding contrastive representation learning through
alignment and uniformity on the hypersphere", section 4, of features scaled to
length one: pairs should be near each other, everything else spread evenly.

Rows: see `_aligned`. An entry that many examples show counts once, and so does
a pair of entries. Numbers: for each pair of modalities, over the examples that
have both, 'geometry/<a>-<b>/alignment', the mean squared distance of pairs
(0..4, lower is better), '/similarity_pairs' and '/similarity_others', the mean
cosine of pairs and of entries that are none; for each modality
'geometry/<m>/uniformity', log mean exp(-2 |u - v|^2) over any two entries
(-8..0, lower is better). NaN where there is nothing to average, or a feature is
not finite. A pair of different widths is left out.
"""

import itertools

import numpy as np

from mmjax.base import Array, Batch, Eval, Kit, Method, TrainState
from mmjax.evals import _aligned
from mmjax.ops import retrieval

BLOCK = 1024  # entries against all others at a time


def make(kit: Kit, method: Method, *, max_entries: int = 10_000) -> Eval:
  """Alignment, uniformity and similarities of features of length one.

  Args:
    kit: of the experiment.
    method: whose features are looked at.
    max_entries: of a modality that uniformity compares with each other, at
      even steps through the split; the time goes with their square.

  Raises:
    ValueError: fewer than two entries to compare.
  """
  if max_entries < 2:
    raise ValueError(
      f'config.evals.geometry.max_entries={max_entries} must be at least 2.'
    )

  def observe(state: TrainState, batch: Batch) -> dict[str, Array]:
    return _aligned.observe(kit, method, state, batch)

  def report(rows: dict[str, np.ndarray]) -> dict[str, float]:
    names = [m for m in kit.modalities if f'feats/{m}' in rows]
    numbers = {}
    for a, b in itertools.combinations(names, 2):
      if rows[f'feats/{a}'].shape[1] == rows[f'feats/{b}'].shape[1]:
        x_ND, y_KD, found = _aligned.paired(rows, a, b)
        told = similarities(x_ND, y_KD, found.anchor_P, found.candidate_P)
        numbers |= {f'geometry/{a}-{b}/{k}': v for k, v in told.items()}
    for m in names:
      x_ND, _, _ = _aligned.paired(rows, m, m)
      few = np.linspace(0, len(x_ND) - 1, min(len(x_ND), max_entries))
      x_ND = x_ND[few.round().astype(int)]
      numbers[f'geometry/{m}/uniformity'] = uniformity(x_ND)
    return numbers

  return Eval(observe, report)


def similarities(x_ND, y_KD, anchor_P, candidate_P) -> dict[str, float]:
  """Mean squared distance and cosine of pairs, mean cosine of all others.

  Args:
    x_ND: features of one modality's entries.
    y_KD: features of the other's.
    anchor_P: of each pair, the entry of x.
    candidate_P: of each pair, the entry of y; no pair stands twice.
  """
  x_ND, y_KD = (retrieval.unit(np.float64(z)) for z in (x_ND, y_KD))
  cosine_P = np.sum(x_ND[anchor_P] * y_KD[candidate_P], axis=1)
  apart_P = np.sum((x_ND[anchor_P] - y_KD[candidate_P]) ** 2, axis=1)
  # The sum over all couples is the product of the sums.
  rest = x_ND.sum(0) @ y_KD.sum(0) - cosine_P.sum()
  others = len(x_ND) * len(y_KD) - len(cosine_P)
  return {
    'alignment': float(apart_P.mean()) if len(apart_P) else np.nan,
    'similarity_pairs': float(cosine_P.mean()) if len(apart_P) else np.nan,
    'similarity_others': float(rest / others) if others else np.nan,
  }


def uniformity(x_ND, block: int = BLOCK) -> float:
  """log of the mean of exp(-2 |u - v|^2) over any two different rows.

  A Gaussian potential with t = 2, equation 3 of the paper, in blocks of rows;
  NaN for fewer than two rows.
  """
  N = len(x_ND)
  if N < 2 or not np.isfinite(x_ND).all():
    return np.nan
  x_ND = retrieval.unit(np.float64(x_ND))
  square_N, total = np.sum(x_ND**2, axis=1), 0.0
  for start in range(0, N, block):
    rows = slice(start, start + block)
    apart_AN = square_N[rows, None] + square_N[None] - 2 * x_ND[rows] @ x_ND.T
    potential_AN = np.exp(-2 * apart_AN)
    total += potential_AN.sum() - np.trace(potential_AN, offset=start)
  return float(np.log(total / (N * (N - 1))))
