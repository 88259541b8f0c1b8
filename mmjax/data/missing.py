"""Simulates missing modalities: with an exact count, or as published."""

import warnings
from collections.abc import Mapping

import numpy as np

from mmjax import base
from mmjax.data import _memory

CHUNK = 256  # rows read at once where only their presence is wanted
TOLERANCE = 0.005  # of the published sampler: |observed rate - rate|
DRAWS = 200  # after which it has to do with the best


def drop(
  source: base.Source,
  rate: float,
  seed: int,
  *,
  sampler: str = 'exact',
  present: Mapping[str, np.ndarray] | None = None,
) -> base.Source:
  """The source with a share `rate` of its N * M entries missing.

  Every example keeps a modality that it had, and what the source misses is
  never restored. A pure function of the seed. Values and masks of what is
  missing are zero.

  'exact' makes round(rate * N * M) entries missing, those that the source
  misses included. Modalities lose equally often, up to one, if the source is
  complete; else those that miss least lose first.

  'cpm' is the mask generator of CPM-Nets (Zhang et al., NeurIPS 2019) that the
  code of MLA and others use: one modality of each example is drawn to stay,
  each other one stays with a probability in whole percents, and all is drawn
  again until the rate is met to .005 (after 200 draws the nearest is taken,
  with a warning). Above 1 - 1/M its rate saturates. It knows complete data
  only: what the source misses comes on top.

  Args:
    source: M modalities, N examples.
    rate: 0..1 - 1/M, the share of entries that is missing in the end.
    seed: another one for each split, or their rows lose alike.
    sampler: 'exact' or 'cpm'.
    present: {modality: bool[N]} if known; else the source is read once to see.

  Raises ValueError for an unknown sampler, and for a rate that would leave an
  example with nothing; 'cpm' takes any rate up to 1, and warns.
  """
  names = source.modalities
  _check(rate, sampler, names)
  present = _present(source) if present is None else present
  has = np.stack([np.asarray(present[name], bool) for name in names], axis=1)
  kept = SAMPLERS[sampler](has, rate, np.random.default_rng(seed))

  def take(rows: np.ndarray) -> dict:
    batch = source.take(rows)
    seen = {name: kept[rows, m] for m, name in enumerate(names)}
    values = {name: _memory.blank(batch[name], seen[name]) for name in names}
    return {**batch, **values, 'present': seen}

  return source._replace(take=take, pools={})


def _check(rate: float, sampler: str, names: tuple[str, ...]) -> None:
  if sampler not in SAMPLERS:
    raise ValueError(
      f'config.missing.sampler={sampler!r} is none of {", ".join(SAMPLERS)}.'
    )
  top = 1 - 1 / len(names)
  if sampler == 'exact' and not 0 <= rate <= top + 1e-9:
    raise ValueError(
      f'rate={rate} must be from 0 to 1 - 1/M = {top:.4g}: each example keeps '
      f'one of its M = {len(names)} modalities ({", ".join(names)}).'
    )
  if not 0 <= rate <= 1:
    raise ValueError(f'rate={rate} must be from 0 to 1.')


def _present(source: base.Source) -> dict[str, np.ndarray]:
  """{modality: bool[N]}, read from the source piece by piece."""
  parts = [
    source.take(np.arange(start, min(start + CHUNK, source.size)))['present']
    for start in range(0, source.size, CHUNK)
  ]
  return {
    name: np.concatenate([part[name] for part in parts])
    for name in source.modalities
  }


def _exact(
  has: np.ndarray, rate: float, rng: np.random.Generator
) -> np.ndarray:
  """What stays of has_NM, bool[N, M]; exactly `rate` of it all is missing."""
  goal = round(rate * has.size)
  extra = goal - int((~has).sum())
  if extra < 0:
    warnings.warn(
      f'rate={rate} asks for {goal} missing entries, but the data miss '
      f'{goal - extra} of {has.size} already; nothing is dropped.',
      stacklevel=3,
    )
  room = int(np.maximum(has.sum(axis=1) - 1, 0).sum())
  if extra > room:
    raise ValueError(
      f'rate={rate} asks for {extra} more missing entries, but only {room} can '
      'go: some examples have no modality at all. Leave them out.'
    )
  return has & ~_choose(has, max(extra, 0), rng)


def _choose(
  has: np.ndarray, count: int, rng: np.random.Generator
) -> np.ndarray:
  """Which `count` of the entries has_NM go, bool[N, M].

  How many an example loses is drawn first; then example after example, in
  random order, loses the modalities that fewest have lost so far, ties at
  random: that keeps the losses even without ever running into a dead end.
  """
  spare = np.repeat(np.arange(len(has)), np.maximum(has.sum(axis=1) - 1, 0))
  loses = np.bincount(rng.permutation(spare)[:count], minlength=len(has))
  lost = (~has).sum(axis=0).astype(float)
  gone = np.zeros_like(has)
  for row in rng.permutation(np.flatnonzero(loses)):
    own = rng.permutation(np.flatnonzero(has[row]))
    least = own[np.argsort(lost[own], kind='stable')[: loses[row]]]
    gone[row, least] = True
    lost[least] += 1
  return gone


def _cpm(has: np.ndarray, rate: float, rng: np.random.Generator) -> np.ndarray:
  """What stays of has_NM, bool[N, M], by a mask for complete data."""
  kept = has & _cpm_mask(has.shape, rate, rng)
  # Who is left with nothing keeps one of its own, each as likely.
  luck = np.where(has, rng.random(has.shape), -1)
  rescued = luck == luck.max(axis=1, keepdims=True)
  return kept | (has & rescued & ~kept.any(axis=1, keepdims=True))


def _cpm_mask(
  shape: tuple[int, ...], rate: float, rng: np.random.Generator
) -> np.ndarray:
  """bool[N, M] with at least one True in each row, drawn until it fits."""
  size, modalities = shape
  top = 1 - 1 / modalities
  if rate > top + 1e-9:
    warnings.warn(
      f'rate={rate} is above 1 - 1/M = {top:.4g}, where the sampler cpm '
      f'saturates: each example keeps one of its {modalities} modalities.',
      stacklevel=4,
    )
  if rate >= top - 1e-9:
    return _one_each(size, modalities, rng)
  # Nearest, where the published code rounds down: that meets the tolerance in
  # large sets only by luck.
  percent = round(100 * (1 - rate / top))
  masks = (
    _one_each(size, modalities, rng) | (rng.integers(0, 100, shape) < percent)
    for _ in range(DRAWS)
  )
  best, error = None, np.inf
  for mask in masks:
    new = abs((~mask).mean() - rate)
    if new < error:
      best, error = mask, new
    if error < TOLERANCE:
      break
  assert best is not None
  if error >= TOLERANCE:
    warnings.warn(
      f'rate={rate}: none of {DRAWS} masks of {size} examples came within '
      f"{TOLERANCE}; {(~best).mean():.4g} are missing. sampler='exact' meets "
      'the rate.',
      stacklevel=4,
    )
  return best


def _one_each(
  size: int, modalities: int, rng: np.random.Generator
) -> np.ndarray:
  """bool[N, M] with one True in each row, each place as likely."""
  return np.arange(modalities) == rng.integers(0, modalities, (size, 1))


SAMPLERS = {'exact': _exact, 'cpm': _cpm}
