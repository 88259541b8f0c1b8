"""The section config.advise, checked."""

from collections.abc import Mapping
from typing import Any, NamedTuple

from mmjax._compose import call, check_keys, plain
from mmjax.lab import subsets

MEASURES = ('risk', 'accuracy')


class Settings(NamedTuple):
  """The section config.advise; the lab does the checks."""

  world: Mapping[str, Any] | None
  lattice: str
  sample: int
  limit: int
  fractions: tuple[float, ...]
  num_seeds: int
  learner: subsets.Learner
  held_out: float
  margin: float
  level: float
  horizon: float
  folds: int
  measure: str
  draws: int


def settings(section: Mapping[str, Any]) -> Settings:
  """Raises ValueError, naming the place in the config and the way out."""
  return call(_settings, plain(section), 'config.advise')


def _settings(
  *,
  world: dict | None = None,
  lattice: str = 'all',
  sample: int = 0,
  limit: int = 127,
  fractions: tuple = (0.01, 0.03, 0.1, 0.3, 1.0),
  num_seeds: int = 10,
  learner: dict | None = None,
  held_out: float = 0.15,
  margin: float = 0.02,
  level: float = 0.95,
  horizon: float = 10.0,
  folds: int = 5,
  measure: str = 'risk',
  draws: int = 64,
) -> Settings:
  """See `configs/latent_quality_cmu_mosi.py` for what each is."""
  made = _learner(**_fitting(learner or {}))
  for name, value in (('held_out', held_out), ('level', level)):
    if not 0 < value < 1:
      raise ValueError(f'config.advise.{name}={value} must lie in (0, 1).')
  if measure not in MEASURES:
    raise ValueError(
      f'config.advise.measure={measure!r}: {" or ".join(MEASURES)} it is.'
    )
  if num_seeds < 1 or horizon < 1 or margin < 0:
    raise ValueError(
      f'config.advise: num_seeds={num_seeds} and horizon={horizon} must be 1 or '
      f'more, margin={margin} not negative.'
    )
  return Settings(
    world,
    lattice,
    sample,
    limit,
    tuple(fractions),
    num_seeds,
    made,
    held_out,
    margin,
    level,
    horizon,
    folds,
    measure,
    draws,
  )


def _fitting(section: Mapping[str, Any]) -> dict[str, Any]:
  check_keys(_learner, section, 'config.advise.learner')
  return dict(section)


def _learner(
  *,
  encoder: str = 'linear',
  head: str = 'linear',
  width: int = 128,
  lr: float = 1e-2,
  batch_size: int = 2048,
  steps: int = 300,
  eval_steps: int = 10,
  patience: int = 5,
  l2: float = 0.0,
) -> subsets.Learner:
  made = subsets.Learner(
    encoder, head, width, lr, batch_size, steps, eval_steps, patience, l2
  )
  made.check()
  return made
