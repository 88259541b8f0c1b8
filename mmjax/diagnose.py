"""Why did a number stop being one? The likely cause, in a paragraph."""

from collections.abc import Mapping

import jax.numpy as jnp
import numpy as np

from mmjax.data import feed
from mmjax.experiment import Experiment


def nonfinite(
  exp: Experiment,
  step: int,
  phase: str,
  values: Mapping[str, np.ndarray],
  good: int,
) -> str:
  """The message of a run that met NaN or infinity.

  Args:
    exp: the experiment.
    step: the first one after which a metric was not finite.
    phase: it belonged to.
    values: metrics of the step, one entry per seed.
    good: step of the last checkpoint, 0 for none.
  """
  bad = [name for name, v in values.items() if not np.isfinite(v).all()]
  rows = exp.train_rows(step - 1)
  batch = feed.load(exp.sources['train'], rows, None)
  broken = feed.nonfinite(batch, exp.kit.modalities)
  if broken:
    cause = (
      f'The data: {", ".join(broken)} holds NaN or infinity in this batch '
      f'(training rows {rows[:8].tolist()}...). Clean those examples or mark '
      'them as missing the modality.'
    )
  else:
    rate = float(exp.lr(jnp.int32(step - 1)))
    cause = (
      f'The batch is finite, so training diverged at a learning rate of '
      f'{rate:.3g}. Lower config.optim.lr, lengthen '
      'config.schedule.warmup_epochs, or bound the gradients with '
      'config.optim.clip_norm=1.'
    )
  kept = (
    f'The last good checkpoint is step {good}.'
    if good
    else 'There is no checkpoint yet.'
  )
  return (
    f'{", ".join(bad)} became NaN or infinite at step {step} (phase {phase!r})'
    f'. {cause} {kept} Nothing after it was saved.'
  )
