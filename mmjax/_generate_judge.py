"""Who says what a picture shows: a classifier of real pictures."""

from typing import Any, NamedTuple

import numpy as np


class Judge(NamedTuple):
  """A support vector machine on pixels (scikit-learn)."""

  model: Any
  accuracy: float  # on real pictures that it has not seen

  def recognise(self, images: np.ndarray) -> np.ndarray:
    """Labels i[N] of pictures [N, H, W, C]."""
    return self.model.predict(_flat(images))


def judge(
  images: np.ndarray,
  label_N: np.ndarray,
  other_images: np.ndarray,
  other_label_N: np.ndarray,
) -> Judge:
  """Trained on real pictures, its accuracy taken on others.

  Raises ValueError if the pictures to learn from are of one class.
  """
  from sklearn import svm

  if len(np.unique(label_N)) < 2:
    raise ValueError(
      'The training pictures are all of one class; there is nothing to tell '
      'apart.'
    )
  model = svm.SVC(C=10.0).fit(_flat(images), label_N)
  made = Judge(model, float('nan'))
  right = made.recognise(other_images) == other_label_N
  return made._replace(accuracy=float(right.mean()))


class Variety(NamedTuple):
  """Whether pictures are many, and none of them a copy."""

  spread: float  # standard deviation of a pixel within a class, mean over both
  nearest: float  # distance to the nearest training picture, mean


def variety(
  images: np.ndarray, label_N: np.ndarray, training: np.ndarray
) -> Variety:
  """Of pictures [N, H, W, C], against those of training.

  Real pictures of another split show what is to be expected: less spread means
  that pictures repeat, a smaller distance that they copy.
  """
  from sklearn import neighbors

  x_NF = _flat(images)
  spreads = [x_NF[label_N == c].std(axis=0).mean() for c in np.unique(label_N)]
  near = neighbors.NearestNeighbors(n_neighbors=1).fit(_flat(training))
  distance_N1, _ = near.kneighbors(x_NF)
  return Variety(float(np.mean(spreads)), float(distance_N1.mean()))


def _flat(images: np.ndarray) -> np.ndarray:
  return np.asarray(images, np.float64).reshape(len(images), -1)
