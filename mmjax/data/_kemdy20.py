"""KEMDy20's labels: what they say, who is where, which are made single."""

from typing import NamedTuple

import numpy as np

from mmjax.data import _labels, _splits

CLASS_NAMES = (
  *('neutral', 'happy', 'angry', 'surprise', 'sad', 'fear', 'disgust'),
)
ALIASES = {'anger': 'angry', 'disqust': 'disgust'}  # a misspelling that occurs


class Drawn(NamedTuple):
  """Who is where, and as what."""

  label: np.ndarray  # i64[N]
  part: np.ndarray  # i64[N]: 0, 1, 2 for train, validation, test, -1 left out
  transformed: np.ndarray  # bool[N]: compound rows that train as single ones
  dropped: np.ndarray  # bool[N]: compound rows that do not


def flags(emotions: np.ndarray) -> np.ndarray:
  """bool[N, 7] of what a file says; ValueError for what cannot be meant."""
  C = len(CLASS_NAMES)
  if emotions.dtype.kind == 'U' and emotions.ndim == 1:
    has_NC = _of_words(emotions)
  elif emotions.dtype.kind in 'biu' and emotions.shape[1:] == (C,):
    wrong = np.flatnonzero((emotions > 1).any(1) | (emotions < 0).any(1))
    if len(wrong):
      raise ValueError(
        f'Emotions must be 0 or 1, but are not in {_labels.some(wrong)}.'
      )
    has_NC = emotions.astype(bool)
  else:
    raise ValueError(
      f'Emotions are {emotions.dtype} {list(emotions.shape)}, but must be bool '
      f'[N, {C}], columns {", ".join(CLASS_NAMES)}, or strings [N] such as '
      "'neutral;happy'. Votes or scores are made labels by you, with a "
      'threshold.'
    )
  mute = np.flatnonzero(~has_NC.any(1))
  if len(mute):
    raise ValueError(
      f'There is no emotion in {_labels.some(mute)}. Leave these rows out of '
      'the file.'
    )
  return has_NC


def _of_words(emotions: np.ndarray) -> np.ndarray:
  has_NC = np.zeros((len(emotions), len(CLASS_NAMES)), bool)
  for text in np.unique(emotions):
    parts = [part.strip().lower() for part in str(text).split(';')]
    names = [ALIASES.get(part, part) for part in parts if part]
    strange = [name for name in names if name not in CLASS_NAMES]
    if strange:
      raise ValueError(
        f'{strange[0]!r} is no emotion, but in '
        f'{_labels.some(np.flatnonzero(emotions == text))}. There are '
        f"{', '.join(CLASS_NAMES)}; several in one label have ';' between them."
      )
    classes = [CLASS_NAMES.index(name) for name in names]
    has_NC[np.ix_(emotions == text, classes)] = True
  return has_NC


def draw(
  has_NC: np.ndarray,
  group_N: np.ndarray | None,
  *,
  transform: bool,
  test: float,
  validation: float,
  seed: int,
) -> Drawn:
  """Splits the rows of one label, then transforms some of the others."""
  if not (0 < test < 1 and 0 <= validation < 1):
    raise ValueError(
      f'config.data.test_fraction={test} must be between 0 and 1, and '
      f'config.data.validation_fraction={validation} at least 0 and below 1.'
    )
  count_N = has_NC.sum(1)
  single_N = count_N == 1
  # The first class that is not neutral, if there is one.
  label_N = np.where(has_NC[:, 1:].any(1), has_NC[:, 1:].argmax(1) + 1, 0)
  if group_N is None:
    part_N = _by_class(label_N, single_N, test, validation, seed)
    free_N = ~single_N
  else:
    part_N = _by_group(group_N, len(label_N), test, validation, seed)
    free_N = ~single_N & (part_N == 0)
    part_N[~single_N] = -1
  chosen_N = free_N & (count_N == 2) & has_NC[:, 0] & transform
  part_N[chosen_N] = 0
  return Drawn(label_N, part_N, chosen_N, part_N < 0)


def _by_class(label_N, among_N, test, validation, seed) -> np.ndarray:
  part_N = np.where(among_N, 0, -1)
  for part, fraction, name in (
    (2, test, 'test_fraction'),
    (1, validation, 'validation_fraction'),
  ):
    if fraction:
      rows = np.flatnonzero(part_N == 0)
      part_N[_stratified(rows, label_N[rows], fraction, seed, name)] = part
  return part_N


def _stratified(rows, label, fraction: float, seed: int, option: str):
  """Rows that scikit-learn holds out, as the authors' code does."""
  from sklearn import model_selection

  count_C = np.bincount(label, minlength=len(CLASS_NAMES))
  alone = [name for name, n in zip(CLASS_NAMES, count_C) if n == 1]
  held = int(np.ceil(len(rows) * fraction))
  classes = np.count_nonzero(count_C)
  if alone or not classes <= held <= len(rows) - classes:
    raise ValueError(
      f'config.data.{option}={fraction} cannot be drawn by class: of '
      f'{len(rows)} rows with one label, {held} would be held out, and both '
      f'sides need one of each of {classes} classes'
      + f'; there is one row of {", ".join(alone)}'
      * bool(alone)
      + '. Take more data, another fraction, or groups, which are drawn '
      'without regard to classes.'
    )
  _, out = model_selection.train_test_split(
    rows, test_size=fraction, stratify=label, random_state=seed
  )
  return out


def _by_group(group_N, size: int, test, validation, seed) -> np.ndarray:
  if group_N.shape != (size,) or group_N.dtype.kind not in 'biuU':
    raise ValueError(
      f'Groups must be integers or strings [{size}], one for each label, but '
      f'are {group_N.dtype} {list(group_N.shape)}.'
    )
  names = group_N.astype(str)
  distinct = {name: name for name in np.unique(names).tolist()}
  needed = 2 + bool(validation)
  if len(distinct) < needed:
    raise ValueError(
      f'Groups have {len(distinct)} different values, {", ".join(distinct)}; '
      f'to share them out among splits takes {needed}.'
    )
  split = _splits.draw_groups(
    distinct, test=test, validation=validation, seed=seed
  )
  return np.array([_labels.SPLITS.index(split[name]) for name in names])
