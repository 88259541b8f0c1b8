"""Which rows a batch holds: a pure function of (seed, step)."""

import functools

import numpy as np


def steps_per_epoch(num_examples: int, batch_size: int) -> int:
  """Batches per epoch; one that would not be full is left out."""
  return max(1, num_examples // batch_size)


@functools.lru_cache(maxsize=4)
def _permutation(num_examples: int, seed: int, epoch: int) -> np.ndarray:
  return np.random.default_rng([seed, epoch]).permutation(num_examples)


def rows(
  num_examples: int, batch_size: int, seed: int, step: int
) -> np.ndarray:
  """Rows of the training batch of a step, i64[<= batch_size].

  Every epoch is a new permutation, so no row comes twice in it. Fewer than
  batch_size only if the whole split is smaller.
  """
  epoch, i = divmod(step, steps_per_epoch(num_examples, batch_size))
  order = _permutation(num_examples, seed, epoch)
  return order[i * batch_size : (i + 1) * batch_size]
