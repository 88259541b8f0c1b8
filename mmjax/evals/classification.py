"""How well does each modality, and their fusion, classify?

Rows: 'logits/<modality>' and 'logits/joint' f32[B, C], 'label', 'index',
'present/<modality>'. Numbers: '<modality>/accuracy' and so on for each
modality, on the examples that have it, and 'joint/...' on those that have any.
"""

import warnings

import jax.numpy as jnp
import numpy as np

from mmjax.base import Array, Batch, Eval, Kit, Method, TrainState
from mmjax.ops import scores


def make(kit: Kit, method: Method, *, bins: int = 15) -> Eval:
  """Accuracy, F1, AUROC and calibration error with `bins` confidence bins."""

  def observe(state: TrainState, batch: Batch) -> dict[str, Array]:
    outputs = method.predict(state, batch)
    logits = {**outputs.unis, 'joint': outputs.joint}
    rows = {
      f'logits/{name}': logits_BC.astype(jnp.float32)
      for name, logits_BC in logits.items()
    }
    rows |= {f'present/{m}': batch['present'][m] for m in kit.modalities}
    return rows | {'label': batch['label'], 'index': batch['index']}

  def report(rows: dict[str, np.ndarray]) -> dict[str, float]:
    numbers = {}
    each = [rows[f'present/{m}'] for m in kit.modalities]
    has = {**rows, 'present/joint': np.any(each, axis=0)}
    for name in (*kit.modalities, 'joint'):
      if f'logits/{name}' not in rows:
        continue  # a method of one modality has no logits of the others
      has_N = has[f'present/{name}']
      logits_NC = rows[f'logits/{name}'][has_N]
      found = measures(logits_NC, rows['label'][has_N], bins, name)
      numbers |= {f'{name}/{key}': value for key, value in found.items()}
    return numbers

  return Eval(observe, report)


def measures(
  logits_NC: np.ndarray, label_N: np.ndarray, bins: int = 15, name: str = ''
) -> dict[str, float]:
  """Returns accuracy (micro), macro_f1, weighted_f1, auroc and ece.

  Macro F1 is the plain mean over the classes that occur among the labels or
  the predictions (scikit-learn's rule: a class absent from the split counts,
  with F1 = 0, only when it is predicted). AUROC is the plain mean of
  one-versus-rest areas over the classes that have examples inside and outside;
  with two classes it is the usual area. All are NaN without examples, or, with
  a warning that carries `name`, where a logit is not finite.
  """
  keys = ('accuracy', 'macro_f1', 'weighted_f1', 'auroc', 'ece')
  if not len(label_N):
    return dict.fromkeys(keys, np.nan)
  bad = ~np.isfinite(logits_NC).all(axis=1)
  if bad.any():
    warnings.warn(
      f'{bad.sum()} of {len(label_N)} rows of logits of {name or "the model"} are '
      'not finite, so its measures are reported as NaN. Training has probably '
      'diverged: lower the learning rate, or evaluate an earlier checkpoint.',
      stacklevel=2,
    )
    return dict.fromkeys(keys, np.nan)

  from sklearn import metrics

  probs_NC, guess_N = softmax(logits_NC), logits_NC.argmax(1)
  _, _, f1_C, count_C = metrics.precision_recall_fscore_support(
    label_N,
    guess_N,
    zero_division=0.0,  # pyright: ignore[reportArgumentType]
  )
  return {
    'accuracy': float(np.mean(guess_N == label_N)),
    'macro_f1': float(np.mean(f1_C)),
    'weighted_f1': float(np.average(f1_C, weights=count_C)),
    'auroc': auroc(probs_NC, label_N),
    'ece': scores.ece(probs_NC, label_N, bins),
  }


def auroc(probs_NC: np.ndarray, label_N: np.ndarray) -> float:
  """One-versus-rest area, the mean over the classes present; NaN if none is.

  The area is the share of pairs of an example of the class and another one that
  are in order (Mann and Whitney), ties half: ranks of all classes at once are
  many times faster than a curve of each.
  """
  from scipy import stats

  N, C = probs_NC.shape
  of_NC = label_N[:, None] == np.arange(C)
  ours_C = of_NC.sum(0)
  ranks_C = np.sum(stats.rankdata(probs_NC, axis=0), axis=0, where=of_NC)
  pairs_C = ours_C * (N - ours_C)
  known_C = pairs_C > 0
  if C == 2:
    known_C[0] = False  # the same pairs the other way round
  if not known_C.any():
    return np.nan
  ordered_C = ranks_C - ours_C * (ours_C + 1) / 2
  return float(np.mean(ordered_C[known_C] / pairs_C[known_C]))


def softmax(logits_NC: np.ndarray) -> np.ndarray:
  """Returns f64[N, C]: float32 would tie confident examples at 1."""
  logits_NC = np.asarray(logits_NC, np.float64)
  exp_NC = np.exp(logits_NC - logits_NC.max(1, keepdims=True))
  return exp_NC / exp_NC.sum(1, keepdims=True)
