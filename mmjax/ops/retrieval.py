"""Retrieval across modalities: at which rank does an anchor find its own?

Candidates are ranked by cosine similarity to the anchor, from 1. Where several
are relevant, as the captions of a picture are, the best-ranked one counts.
Candidates at the same similarity rank in their order, so that a model which
tells nothing apart is at chance. Similarities are made a block of anchors at a
time, never all at once.

Shapes: N anchors, K candidates, P pairs of the two, A anchors of a block.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import numpy as np

Relevant = Callable[[slice], np.ndarray]
"""slice of the anchors -> bool[A, K], the candidates relevant to each."""

ENTRIES = 2**23  # similarities in memory at a time


class Paired(NamedTuple):
  """The distinct entries of two modalities, and which of them are pairs."""

  row_N: np.ndarray  # i64, the example that shows each anchor first
  row_K: np.ndarray  # i64, the same of each candidate
  anchor_P: np.ndarray  # i64, 0..N-1
  candidate_P: np.ndarray  # i64, 0..K-1; no pair stands twice


def paired(entry_E: np.ndarray, other_E: np.ndarray) -> Paired:
  """What each of E examples shows, as entries of two modalities -> `Paired`."""
  _, row_N, anchor_E = np.unique(
    entry_E, return_index=True, return_inverse=True
  )
  _, row_K, candidate_E = np.unique(
    other_E, return_index=True, return_inverse=True
  )
  pair_P2 = np.stack([anchor_E, candidate_E], axis=1).astype(np.int64)
  pair_P2 = np.unique(pair_P2, axis=0)
  return Paired(row_N, row_K, pair_P2[:, 0], pair_P2[:, 1])


def by_pair(anchor_P, candidate_P, candidates: int) -> Relevant:
  """Relevant is what makes a pair with the anchor; `candidates` is K."""
  anchor_P, candidate_P = np.asarray(anchor_P), np.asarray(candidate_P)
  order = np.argsort(anchor_P, kind='stable')
  anchor_P, candidate_P = anchor_P[order], candidate_P[order]

  def relevant(rows: slice) -> np.ndarray:
    found_AK = np.zeros((rows.stop - rows.start, candidates), bool)
    part = slice(*np.searchsorted(anchor_P, (rows.start, rows.stop)))
    found_AK[anchor_P[part] - rows.start, candidate_P[part]] = True
    return found_AK

  return relevant


def by_group(group_N, group_K) -> Relevant:
  """Relevant is what is of the anchor's group: i64[N], i64[K]."""
  group_N, group_K = np.asarray(group_N), np.asarray(group_K)
  return lambda rows: group_N[rows, None] == group_K[None]


def unit(x_ND) -> np.ndarray:
  """Rows of length one; zeros stay zeros, an infinite row has NaN."""
  x_ND = np.asarray(x_ND)
  with np.errstate(invalid='ignore'):
    length_N1 = np.linalg.norm(x_ND, axis=1, keepdims=True)
    return x_ND / np.maximum(length_N1, np.finfo(x_ND.dtype).tiny)


def ranks(x_ND, y_KD, relevant: Relevant, entries: int = ENTRIES) -> np.ndarray:
  """Rank of each anchor's best-ranked relevant candidate; see `from_scores`.

  Args:
    x_ND: features of the anchors; their length does not matter.
    y_KD: features of the candidates.
    relevant: from `by_pair`, `by_group`, or a function like theirs.
    entries: similarities in memory at a time.

  Raises ValueError for other shapes, and for what is not finite.
  """
  blocks = _blocks(x_ND, y_KD, relevant, entries)
  return np.concatenate([np.zeros(0), *(from_scores(*b) for b in blocks)])


def average_precision(
  x_ND, y_KD, relevant: Relevant, entries: int = ENTRIES
) -> np.ndarray:
  """Average precision of each anchor, f64[N]; arguments as of `ranks`.

  The mean, over the relevant candidates, of the share of relevant ones among
  all that rank as high; 0 for an anchor without any. Its mean over anchors is
  the mAP of cross-modal retrieval.
  """
  blocks = _blocks(x_ND, y_KD, relevant, entries)
  return np.concatenate([np.zeros(0), *(_precision(*b) for b in blocks)])


def from_scores(scores_NK, relevant_NK) -> np.ndarray:
  """Rank, from 1, of the best-ranked relevant candidate, f64[N].

  inf for an anchor to which nothing is relevant: it finds nothing.

  Raises:
    ValueError: the shapes differ, or a score is not finite.
  """
  scores_NK, relevant_NK = np.asarray(scores_NK), np.asarray(relevant_NK, bool)
  if scores_NK.ndim != 2 or scores_NK.shape != relevant_NK.shape:
    raise ValueError(
      'ranks need scores and relevance of one shape [anchors, candidates], but '
      f'got {scores_NK.shape} and {relevant_NK.shape}.'
    )
  if not np.isfinite(scores_NK).all():  # NaN compares as if it were found first
    raise ValueError('ranks need finite scores, but some are NaN or infinite.')
  N, K = scores_NK.shape
  if not K:
    return np.full(N, np.inf)
  own_NK = np.where(relevant_NK, scores_NK, -np.inf)
  best_N, at_N = own_NK.max(1), own_NK.argmax(1)  # of several the first
  before_NK = np.arange(K)[None] < at_N[:, None]
  ahead_NK = scores_NK > best_N[:, None]
  ahead_NK |= (scores_NK == best_N[:, None]) & before_NK
  return np.where(relevant_NK.any(1), 1.0 + ahead_NK.sum(1), np.inf)


def recall(rank_N: np.ndarray, ks: Sequence[int]) -> dict[str, float]:
  """{'r1': ..}: the share of anchors that find something at rank k or better.

  NaN without anchors. With several relevant candidates this is the measure of
  image-text retrieval, a hit rate, not the share of them that is found.
  """
  if not len(rank_N):
    return {f'r{k}': np.nan for k in ks}
  return {f'r{k}': float(np.mean(rank_N <= k)) for k in ks}


def _blocks(x_ND, y_KD, relevant, entries) -> Iterator[tuple]:
  """(similarities [A, K], relevance [A, K]) of one block after the other."""
  x_ND, y_KD = np.asarray(x_ND), np.asarray(y_KD)
  if x_ND.ndim != 2 or y_KD.ndim != 2 or x_ND.shape[1] != y_KD.shape[1]:
    raise ValueError(
      'retrieval compares features [N, D] and [K, D] of one width D, but got '
      f'{x_ND.shape} and {y_KD.shape}.'
    )
  x_ND, y_DK = unit(x_ND), unit(y_KD).T
  size = max(1, entries // max(1, len(y_KD)))
  for start in range(0, len(x_ND), size):
    rows = slice(start, min(start + size, len(x_ND)))
    yield x_ND[rows] @ y_DK, relevant(rows)


def _precision(scores_NK, relevant_NK) -> np.ndarray:
  order_NK = np.argsort(-scores_NK, axis=1, kind='stable')
  hit_NK = np.take_along_axis(relevant_NK, order_NK, axis=1)
  share_NK = np.cumsum(hit_NK, axis=1) / np.arange(1, hit_NK.shape[1] + 1)
  total_N = hit_NK.sum(1)
  return (share_NK * hit_NK).sum(1) / np.maximum(total_N, 1)
