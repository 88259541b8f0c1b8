"""How much does each encoder's feature tell by itself?

A linear classifier is fitted on the features of the training split and asked
about those of another. Trained jointly and trained alone, an encoder's probe
accuracies tell how far joint training has left it behind: what the works on
imbalanced learning call the unimodal performance of a multimodal model.

Rows: 'feats/<modality>' f32[B, D], 'present/<modality>', 'label'. Numbers:
'<modality>/probe' for each modality, on the examples that have it, and
'joint/probe' on all features side by side; NaN where fewer than two classes
have an example.
"""

import warnings

import jax.numpy as jnp
import numpy as np

from mmjax.base import Array, Batch, Eval, Kit, Method, TrainState


def make(
  kit: Kit, method: Method, *, C: float = 1.0, max_iter: int = 200
) -> Eval:
  """Logistic regression (scikit-learn) on standardised features.

  Args:
    kit: of the experiment.
    method: whose features are looked at.
    C: inverse strength of the L2 penalty, above 0.
    max_iter: of the solver.
  """
  if C <= 0 or max_iter < 1:
    raise ValueError(
      f'config.evals.probe: C={C} and max_iter={max_iter} must be above 0.'
    )

  def observe(state: TrainState, batch: Batch) -> dict[str, Array]:
    feats = method.predict(state, batch).feats
    rows = {f'feats/{m}': z_BD.astype(jnp.float32) for m, z_BD in feats.items()}
    rows |= {f'present/{m}': batch['present'][m] for m in kit.modalities}
    return rows | {'label': batch['label']}

  def report(rows, train):
    names = [m for m in kit.modalities if f'feats/{m}' in rows]
    numbers = {}
    for m in names:
      one = [
        (r[f'feats/{m}'][has], r['label'][has])
        for r, has in ((r, r[f'present/{m}']) for r in (train, rows))
      ]
      numbers[f'{m}/probe'] = accuracy(*one[0], *one[1], C, max_iter)
    wide = [
      np.concatenate([r[f'feats/{m}'] for m in names], axis=1)
      for r in (train, rows)
    ]
    numbers['joint/probe'] = accuracy(
      wide[0], train['label'], wide[1], rows['label'], C, max_iter
    )
    return numbers

  return Eval(observe, report, also=('train',))


def accuracy(
  x_ND: np.ndarray,
  y_N: np.ndarray,
  test_x_ND: np.ndarray,
  test_y_N: np.ndarray,
  C: float = 1.0,
  max_iter: int = 200,
) -> float:
  """Test accuracy of a logistic regression; NaN where none can be fitted."""
  import threadpoolctl
  from sklearn import exceptions, linear_model, pipeline, preprocessing

  finite = np.isfinite(x_ND).all() and np.isfinite(test_x_ND).all()
  if len(np.unique(y_N)) < 2 or not len(test_y_N) or not finite:
    return np.nan
  model = pipeline.make_pipeline(
    preprocessing.StandardScaler(),
    linear_model.LogisticRegression(C=C, max_iter=max_iter),
  )
  # Matrices this small only wait for each other on several threads.
  with threadpoolctl.threadpool_limits(1), warnings.catch_warnings():
    # Near the optimum is near enough for an accuracy.
    warnings.simplefilter('ignore', exceptions.ConvergenceWarning)
    model.fit(x_ND, y_N)
  return float(model.score(test_x_ND, test_y_N))
