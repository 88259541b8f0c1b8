"""Which training examples a member gets: nested and stratified draws."""

from collections.abc import Sequence

import numpy as np

from mmjax.lab._tables import Data, Part


def order(part: Part, num_classes: int, seed: int) -> np.ndarray:
  """A random order i64[N] whose every beginning has classes in proportion.

  The j-th of n examples of a class stands near the place j/n, as in a shuffled
  deck that is dealt evenly.
  """
  rng = np.random.default_rng(seed)
  if not num_classes:
    return rng.permutation(part.size)
  place_N = np.empty(part.size)
  for c in range(num_classes):
    rows = rng.permutation(np.flatnonzero(part.target == c))
    place_N[rows] = (np.arange(len(rows)) + rng.random()) / max(len(rows), 1)
  return np.argsort(place_N, kind='stable')


def check_classes(
  data: Data, order_SN: np.ndarray, counts: Sequence[int]
) -> None:
  """ValueError for a sample without an example of a class that training has."""
  if not data.num_classes:
    return
  label_SN = data.train.target[order_SN]
  present = np.unique(data.train.target)
  first_SC = np.array(
    [[np.argmax(line == c) for c in present] for line in label_SN]
  )
  needed = int(first_SC.max()) + 1
  small = [count for count in counts if count < needed]
  if small:
    s, c = np.argwhere(first_SC >= min(small))[0]
    raise ValueError(
      f'{min(small)} examples of {data.train.size} leave class {present[c]} '
      f'empty (seed {s}; {len(present)} classes). With these seeds every class '
      f'is there from {needed} examples on, a fraction of '
      f'{needed / data.train.size:.4f}.'
    )
