"""Labels and splits of a stranger's arrays: checked, or drawn if not there."""

import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np

SPLITS = ('train', 'validation', 'test')


def some(rows: np.ndarray) -> str:
  """'3 rows (4, 8, 15)': how many, and the first few."""
  more = ', ..' if len(rows) > 5 else ''
  return f'{len(rows)} rows ({", ".join(str(i) for i in rows[:5])}{more})'


def warn_of_absent(
  label: np.ndarray, part: np.ndarray, names: Sequence[str]
) -> None:
  """Warns of classes without an example in a split that has examples."""
  for i, split in enumerate(SPLITS):
    there = set(label[part == i].tolist())
    absent = [name for c, name in enumerate(names) if c not in there]
    if there and absent:
      meaning = 'cannot be learnt' if not i else 'do not count in its macro F1'
      warnings.warn(
        f'The {split} split has no example of {len(absent)} of {len(names)} '
        f'classes ({", ".join(map(str, absent[:5]))}), which {meaning}.',
        stacklevel=4,
      )


def class_names(label: np.ndarray, names: Sequence[str] | None) -> list[str]:
  """Names of the classes, '0'.. if None; ValueError unless labels are 0..C-1."""
  if label.ndim != 1 or label.dtype.kind not in 'iub' or not len(label):
    raise ValueError(
      f'Labels must be integers [N], 0..C-1, but are {label.dtype} '
      f'{label.shape}. To number them: class_names, label = np.unique(label, '
      'return_inverse=True).'
    )
  top = int(label.max()) + 1 if names is None else len(names)
  wrong = np.flatnonzero((label < 0) | (label >= top))
  if len(wrong):
    raise ValueError(
      f'Labels must be 0..{top - 1} ({top} classes), but are '
      f'{label[wrong[:5]].tolist()} in {some(wrong)}. Renumber them, or name '
      'every class in class_names.'
    )
  empty = np.setdiff1d(np.arange(top), label)
  if names is None and len(empty):
    raise ValueError(
      f'Labels must be 0..C-1, but they go up to {top - 1} and class '
      f'{empty[0]} has no example. Renumber them, or name every class in '
      'class_names if it is meant so.'
    )
  return [str(name) for name in (range(top) if names is None else names)]


def draw(
  label: np.ndarray,
  among: np.ndarray,
  fraction: float,
  rng: np.random.Generator,
) -> np.ndarray:
  """Row numbers of a fraction of the rows bool[N], even over the classes.

  Evenly spaced rows of an order that is sorted by class and random inside one:
  the total is exact, and each class is off by less than one.
  """
  rows = np.flatnonzero(among)
  rows = rows[np.lexsort((rng.random(len(rows)), label[rows]))]
  steps = np.floor(np.arange(len(rows) + 1) * fraction + 0.5)
  return rows[np.diff(steps) > 0]


def parts(
  label: np.ndarray,
  field: np.ndarray | None,
  values: Sequence[Any],
  *,
  validation: float,
  test: float,
  seed: int,
) -> np.ndarray:
  """Who is where, i64[N]: 0, 1, 2 for train, validation, test, -1 for nowhere.

  `field` [N] holds three `values`, others are left out. Test is drawn from all
  if there is no field, validation from train if nobody is in it.
  """
  if not (0 <= validation < 1 and 0 <= test < 1):
    raise ValueError(
      f'validation_fraction={validation} and test_fraction={test} must be at '
      'least 0 and below 1.'
    )
  rng = np.random.default_rng(seed)
  part = np.zeros(len(label), np.int64)
  if field is None:
    part[draw(label, part == 0, test, rng)] = 2
  else:
    if field.shape != label.shape or len(values) != 3:
      raise ValueError(
        f'The split field has shape {field.shape}, the labels {label.shape}, '
        f'and splits={tuple(values)}: they must be [N], [N], and three values, '
        'those of train, validation and test.'
      )
    part[:] = -1
    for i, value in enumerate(values):
      part[field == value] = i
  if not (part == 1).any():
    part[draw(label, part == 0, validation, rng)] = 1
  for i, name in enumerate(SPLITS):
    if not (part == i).any():
      held = 'is not given' if field is None else np.unique(field)[:9].tolist()
      raise ValueError(
        f'Split {name!r} has no example out of {len(label)}. The split field: '
        f'{held}; its values for train, validation and test: '
        f'splits={tuple(values)}; drawn where it lacks: '
        f'validation_fraction={validation} of train and, with '
        f"split_field='', test_fraction={test}."
      )
  return part
