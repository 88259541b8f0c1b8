"""The section config.generate, checked."""

import math
from collections.abc import Mapping
from typing import Any, NamedTuple

from mmjax._compose import call, plain

PLACE = 'config.generate'


class Settings(NamedTuple):
  """What is generated from what, and by which generator."""

  run: str
  data: Mapping[str, Any]
  source: str
  condition: str
  target: str
  steps: int
  batch_size: int
  lr: float
  channels: int
  blocks: int
  null_probability: float
  condition_noise: float
  guidance: float
  sample_steps: int
  samples: int
  seed: int


def settings(section: Mapping[str, Any]) -> Settings:
  """Raises ValueError, naming the place in the config and the way out."""
  return call(_settings, plain(section), PLACE)


def _settings(
  *,
  run: str = '',
  data: Mapping[str, Any] = {},  # noqa: B006 (never written)
  source: str = 'speech',
  condition: str = 'text',
  target: str = 'image',
  steps: int = 2000,
  batch_size: int = 64,
  lr: float = 3e-3,
  channels: int = 24,
  blocks: int = 1,
  null_probability: float = 0.1,
  condition_noise: float = 1.5,
  guidance: float = 2.0,
  sample_steps: int = 10,
  samples: int = 1,
  seed: int = 0,
) -> Settings:
  """Checks each value.

  Args:
    run: folder of the aligned run; '' is `aligned` in the --workdir.
    data: section of the data set that has the pictures, such as
      dict(name='digits', image_noise=0.0); its examples are those of the run.
    source: modality of the run to generate from in the end.
    condition: modality of the run that the generator is trained on.
    target: modality of `data` that is generated.
    steps: of training.
    batch_size: pictures a step.
    lr: learning rate at its height: a warm-up before, half a cosine after.
    channels: of the net, a multiple of 8.
    blocks: of the net, on each of its three ways.
    null_probability: how often a condition is left out in training, for the
      guidance.
    condition_noise: length l of the Gaussian noise that is added to conditions
      of length one in training, before they are scaled back to one. Their
      cosine with what they were is about 1 / sqrt(1 + l^2): let it be that of
      the aligned pairs, and the generator knows what lies as far away.
    guidance: weight of the condition in sampling; 1 is no guidance.
    sample_steps: of Heun's method.
    samples: pictures for each embedding.
    seed: of everything random.
  """
  made = Settings(**locals())
  _at_least(made, 1, 'steps', 'batch_size', 'sample_steps', 'samples', 'blocks')
  _at_least(made, 0, 'condition_noise', 'guidance', 'seed')
  if not 0 < lr < math.inf:
    raise ValueError(f'{PLACE}.lr={lr} must be above 0.')
  if not 0 <= null_probability < 1:
    raise ValueError(
      f'{PLACE}.null_probability={null_probability} must lie in [0, 1).'
    )
  if guidance != 1 and not null_probability:
    raise ValueError(
      f'{PLACE}.guidance={guidance} needs a net that has been trained without '
      'conditions too: null_probability=0.1, or guidance=1.'
    )
  return made


def _at_least(made: Settings, least: int, *names: str) -> None:
  for name in names:
    value = getattr(made, name)
    if not least <= value < math.inf:
      raise ValueError(f'{PLACE}.{name}={value} must be {least} or more.')
