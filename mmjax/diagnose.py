"""Why did a number stop being one? The likely cause, in a paragraph."""

from collections.abc import Sequence

import jax.numpy as jnp
import numpy as np

from mmjax.base import Ragged
from mmjax.data import feed
from mmjax.experiment import Experiment


def nonfinite(
  exp: Experiment, step: int, phase: str, bad: Sequence[str], good: int
) -> str:
  """The message of a run that met NaN or infinity.

  Args:
    exp: the experiment.
    step: the first one after which something was not finite.
    phase: it belonged to.
    bad: names of the metrics or blocks that are not finite.
    good: step of the last checkpoint, 0 for none.
  """
  kept = (
    f'The last good checkpoint is step {good}; nothing after it was saved.'
    if good
    else 'There is no checkpoint yet, and nothing was saved.'
  )
  return (
    f'{", ".join(bad)} became NaN or infinite at step {step} (phase {phase!r})'
    f'. {_cause(exp, step)} {kept}'
  )


def _cause(exp: Experiment, step: int) -> str:
  rows = exp.train_rows(step - 1)
  batch = feed.load(exp.sources['train'], rows, None)
  broken = feed.nonfinite(batch, exp.kit.modalities)
  if broken:
    where = {m: rows[_rows_nonfinite(batch[m])].tolist() for m in broken}
    told = '; '.join(f'{m} in training rows {r[:8]}' for m, r in where.items())
    return (
      f'The data hold NaN or infinity: {told}. Clean those examples or mark '
      'them as missing the modality; the run goes on from its checkpoint.'
    )
  rate = float(exp.lr(jnp.int32(step - 1)))
  return (
    f'The batch is finite, so training diverged at a learning rate of '
    f'{rate:.3g}. In another --workdir, lower config.optim.lr, lengthen '
    'config.schedule.warmup_epochs, or bound the gradients with '
    'config.optim.clip_norm=1.'
  )


def _rows_nonfinite(value) -> np.ndarray:
  """bool[B]: examples of a modality with NaN or infinity."""
  values = value.values if isinstance(value, Ragged) else value
  return ~np.isfinite(values).reshape(len(values), -1).all(axis=1)
