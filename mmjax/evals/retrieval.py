"""Does an example of one modality find its own in another?

Cross-modal retrieval as in image-text and audio-text work: candidates are the
distinct entries of one modality, anchors those of the other, over the examples
that have both; a hit at k is an anchor with a relevant candidate among its k
most similar ones (cosine). So a picture with five captions has five chances.

Rows: see `_aligned`. Numbers, for each direction, anchors to candidates:
'retrieval/<a>-to-<b>/r1' and so on in 0..1, '/median_rank' of the best-ranked
relevant candidate, '/candidates' how many there are, '/map' where classes are
what is relevant; 'retrieval/mean/r1' and so on over the directions, and
'retrieval/mean/r_mean', the mean of them all. NaN where nobody has both, or a
feature is not finite.
"""

import itertools
from collections.abc import Sequence

import numpy as np

from mmjax.base import Array, Batch, Eval, Kit, Method, TrainState
from mmjax.evals import _aligned
from mmjax.ops import retrieval

RELEVANT = ('pair', 'label')


def make(
  kit: Kit,
  method: Method,
  *,
  pairs: tuple[tuple[str, str], ...] = (),
  ks: tuple[int, ...] = (1, 5, 10),
  relevant: str = 'pair',
) -> Eval:
  """R@k, median rank and, for classes, mAP, both ways between modalities.

  Args:
    kit: with encoders (adapters) of one width, else a ValueError as soon as
      the eval is asked.
    method: whose features are compared.
    pairs: ((a, b), ..), each of which is asked both ways; () is every pair.
    ks: ranks to be found at; one beyond the number of candidates is 1.
    relevant: 'pair': what some example shows together with the anchor;
      'label': what is of the anchor's class (of an entry's first example).

  Raises:
    ValueError: pairs that are none of the modalities, a k below 1.
  """
  asked = _checked(kit, pairs, ks, relevant)
  ks = tuple(int(k) for k in ks)
  both = [way for a, b in asked for way in ((a, b), (b, a))]
  directions = list(dict.fromkeys(both))

  def observe(state: TrainState, batch: Batch) -> dict[str, Array]:
    rows = _aligned.observe(kit, method, state, batch)
    for pair in asked:
      _aligned.check_widths(rows, pair, 'config.evals.retrieval')
    return rows

  def report(rows: dict[str, np.ndarray]) -> dict[str, float]:
    told = {
      f'{a}-to-{b}': _numbers(rows, a, b, ks, relevant) for a, b in directions
    }
    numbers = {
      f'retrieval/{way}/{name}': value
      for way, found in told.items()
      for name, value in found.items()
    }
    known = [found for found in told.values() if found['candidates']]
    at = [f'r{k}' for k in ks]
    means = {name: _mean([f[name] for f in known]) for name in at}
    if relevant == 'label':
      means['map'] = _mean([f['map'] for f in known])
    means['r_mean'] = _mean([means[name] for name in at])
    return numbers | {f'retrieval/mean/{k}': v for k, v in means.items()}

  return Eval(observe, report)


def _numbers(rows, a, b, ks, relevant) -> dict[str, float]:
  x_ND, y_KD, found = _aligned.paired(rows, a, b)
  told = {'candidates': float(len(y_KD))}
  fine = np.isfinite(x_ND).all() and np.isfinite(y_KD).all()
  if not len(y_KD) or not fine:
    names = [f'r{k}' for k in ks] + ['median_rank']
    names += ['map'] if relevant == 'label' else []
    return dict.fromkeys(names, np.nan) | told
  label = rows['label']
  fits = retrieval.by_pair(found.anchor_P, found.candidate_P, len(y_KD))
  if relevant == 'label':
    fits = retrieval.by_group(label[found.row_N], label[found.row_K])
  rank_N = retrieval.ranks(x_ND, y_KD, fits)
  numbers = retrieval.recall(rank_N, ks)
  numbers['median_rank'] = float(np.median(rank_N))
  if relevant == 'label':
    each_N = retrieval.average_precision(x_ND, y_KD, fits)
    numbers['map'] = float(each_N.mean())
  return numbers | told


def _mean(values: Sequence[float]) -> float:
  return float(np.mean(values)) if values else np.nan


def _checked(kit: Kit, pairs, ks, relevant) -> list[tuple[str, str]]:
  """The pairs of modalities to be asked about."""
  place, names = 'config.evals.retrieval', ', '.join(kit.modalities)
  if relevant not in RELEVANT:
    raise ValueError(
      f'{place}.relevant={relevant!r} is none of {", ".join(RELEVANT)}.'
    )
  if not ks or any(k < 1 or k != int(k) for k in ks):
    raise ValueError(
      f'{place}.ks={ks!r} must be ranks, whole numbers from 1: (1, 5, 10).'
    )
  if len(kit.modalities) < 2:
    raise ValueError(
      f'{place} goes from one modality to another, and the data have {names} '
      'only. Leave the eval out.'
    )
  for pair in pairs:
    known = not isinstance(pair, str) and set(pair) <= set(kit.modalities)
    if not known or len(pair) != 2 or len(set(pair)) != 2:
      raise ValueError(
        f'{place}.pairs={pairs!r}: {pair!r} is no pair of the modalities '
        f'{names}. One pair alone needs a comma, '
        f'(({kit.modalities[0]!r}, {kit.modalities[1]!r}),).'
      )
  return [(a, b) for a, b in pairs] or [
    *itertools.combinations(kit.modalities, 2)
  ]
