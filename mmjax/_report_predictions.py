"""Sections of one run's report about its predictions: a Run in, HTML out."""

import numpy as np

from mmjax import _report_html as html
from mmjax import _report_pictures as pictures
from mmjax import _report_runs as runs
from mmjax._report_canvas import shown
from mmjax.evals import classification
from mmjax.ops import scores

FOLD = 20  # classes; a longer table is folded
NO_PREDICTIONS = (
  'There are no predictions to draw from: predictions_classification.npz is '
  'written at the end of a run that has the eval classification.'
)


def of(run: runs.Run) -> dict[str, tuple[np.ndarray, np.ndarray]]:
  """Returns (logits f32[S, N, C], labels i32[N]) by modality and 'joint'."""
  rows, found = run.rows.get('classification', {}), {}
  if 'label' not in rows:
    return found
  for name in ('joint', *run.modalities):
    if f'logits/{name}' in rows:
      has_N = rows.get(f'present/{name}', np.ones(len(rows['label']), bool))
      logits_SNC = runs.seeds(rows[f'logits/{name}'], 2)[:, has_N]
      found[name] = logits_SNC, rows['label'][has_N]
  return {k: v for k, v in found.items() if len(v[1])}


def counts(run: runs.Run) -> dict[str, tuple[np.ndarray, np.ndarray]]:
  """How often each class occurs, and how often it is predicted.

  Returns:
    (true i64[C], predicted f64[S, C]) by modality and 'joint'; a predictor
    with a logit that is not finite is left out.
  """
  told = {}
  for name, (logits_SNC, label_N) in of(run).items():
    C = logits_SNC.shape[-1]
    if np.isfinite(logits_SNC).all():
      guess_SN = logits_SNC.argmax(-1)
      predicted = [np.bincount(guess_N, minlength=C) for guess_N in guess_SN]
      told[name] = np.bincount(label_N, minlength=C), np.stack(predicted)
  return told


def class_names(run: runs.Run, count: int) -> list[str]:
  listed = [str(name) for name in run.record.get('class_names') or ()]
  return listed if len(listed) == count else [str(c) for c in range(count)]


def number(count: float) -> str:
  """Returns a count, with a decimal where it is a mean that needs one."""
  return f'{count:.0f}' if float(count).is_integer() else f'{count:.1f}'


def per_class(run: runs.Run) -> str:
  """A table of classes: true and predicted counts, of each predictor."""
  told = counts(run)
  if not told:
    return html.missing(NO_PREDICTIONS)
  first = 'joint' if 'joint' in told else next(iter(told))
  true_C = told[first][0]
  predicted = [p_SC.mean(0) for _, p_SC in told.values()]
  names = class_names(run, len(true_C))
  body = html.table(
    ['class', 'true', *(f'{shown(name)} says' for name in told)],
    [
      [name, number(true_C[c]), *(number(p_C[c]) for p_C in predicted)]
      for c, name in enumerate(names)
    ],
  )
  if len(names) > FOLD:
    body = html.folded(f'{len(names)} classes', body)
  mean = f'Mean over {run.num_seeds} seeds. ' if run.num_seeds > 1 else ''
  return body + html.paragraph(
    f'How often each class occurs among the {true_C.sum():,} {run.split} '
    f'examples, and how often it is predicted. {mean}A modality speaks for the '
    'examples that have it.',
    'note',
  )


def confusion(run: runs.Run) -> str:
  found = of(run)
  if not found:
    return html.missing(NO_PREDICTIONS)
  from sklearn import metrics

  C = found['joint'][0].shape[-1]
  matrices = {
    name: metrics.confusion_matrix(
      np.tile(label_N, len(logits_SNC)),
      logits_SNC.argmax(-1).ravel(),
      labels=range(C),
    )
    for name, (logits_SNC, label_N) in found.items()
  }
  shades = html.palette(run.modalities)
  return html.figure(
    pictures.confusion(matrices, class_names(run, C), shades),
    'A row is a true class and sums to 100 percent'
    + (f'; {run.num_seeds} seeds together.' if run.num_seeds > 1 else '.'),
  )


def calibration(run: runs.Run) -> str:
  found = of(run)
  found = {k: v for k, v in found.items() if np.isfinite(v[0]).all()}
  if not found:
    return html.missing(NO_PREDICTIONS)
  bins, errors = {}, {}
  for name, (logits_SNC, label_N) in found.items():
    probs_SNC = [classification.softmax(logits_NC) for logits_NC in logits_SNC]
    labels = np.tile(label_N, len(probs_SNC))
    bins[name] = scores.reliability(np.concatenate(probs_SNC), labels)
    error = np.mean([scores.ece(p_NC, label_N) for p_NC in probs_SNC])
    errors[name] = f'{100 * error:.1f}'
  picture = pictures.calibration(bins, errors, html.palette(run.modalities))
  return html.figure(
    picture,
    'Confidence of the predicted class against how often it is right; a dot is '
    'as large as the share of examples in its bin. Below the dashed line the '
    'model is overconfident. ECE: expected calibration error, in percent, 15 '
    'equal bins.',
  )
