"""Where does a head look: attention between modalities, by kind of example.

Of the RSA-CFN work, whose question it is whether neutral speech is told by its
words and emotion by its sound. For heads that show 'attention' [B, M, M]: from
the modality of the row to that of the column, 1 where it is uniform.

Rows: 'attention' f32[B, M, M], NaN for examples that lack a modality; 'label';
'present/<modality>'; 'neutral' bool[B], unless every class counts for itself.
Numbers: 'attention/<group>/<from>-<to>/mean' and '/median' over the examples
of a group, NaN if it has none.
"""

import jax.numpy as jnp
import numpy as np

from mmjax.base import Array, Batch, Eval, Kit, Method, TrainState

SHOWN_BY = ('rsa',)  # heads of this house


def make(kit: Kit, method: Method, *, neutral: str = 'neutral') -> Eval:
  """Mean and median attention of every pair of modalities, by group.

  Args:
    kit: with a head that shows attention; others are a ValueError as soon as
      the eval is asked.
    method: whose predictions are looked at.
    neutral: the class set against all others, which makes the groups <class>
      and not_<class>; '' makes every class a group.

  Raises:
    ValueError: for a class that does not exist.
  """
  if neutral and neutral not in kit.class_names:
    raise ValueError(
      f'config.evals.attention.neutral={neutral!r} is none of the classes '
      f"{', '.join(kit.class_names)}. Name one of them, or give neutral='' for "
      'a group of each class.'
    )

  def observe(state: TrainState, batch: Batch) -> dict[str, Array]:
    extras = method.predict(state, batch).extras
    shown_BMM = _checked(extras.get('attention'), kit).astype(jnp.float32)
    whole_B = jnp.all(
      jnp.stack([batch['present'][m] for m in kit.modalities]), axis=0
    )
    rows = {
      'attention': jnp.where(whole_B[:, None, None], shown_BMM, jnp.nan),
      'label': batch['label'],
      **{f'present/{m}': batch['present'][m] for m in kit.modalities},
    }
    if neutral:
      rows['neutral'] = batch['label'] == kit.class_names.index(neutral)
    return rows

  def report(rows: dict[str, np.ndarray]) -> dict[str, float]:
    whole_N = np.isfinite(rows['attention']).all((1, 2))
    numbers = {}
    for group, has_N in _groups(rows, kit, neutral).items():
      looks_NMM = rows['attention'][has_N & whole_N]
      found = _numbers(looks_NMM, kit.modalities)
      numbers |= {f'attention/{group}/{k}': v for k, v in found.items()}
    return numbers

  return Eval(observe, report)


def _numbers(
  looks_NMM: np.ndarray, modalities: tuple[str, ...]
) -> dict[str, float]:
  numbers = {}
  for i, a in enumerate(modalities):
    for j, b in enumerate(modalities):
      looks_N = looks_NMM[:, i, j].astype(np.float64)
      for name, measure in (('mean', np.mean), ('median', np.median)):
        known = float(measure(looks_N)) if len(looks_N) else np.nan
        numbers[f'{a}-{b}/{name}'] = known
  return numbers


def _groups(rows, kit: Kit, neutral: str) -> dict[str, np.ndarray]:
  names = [name.replace('/', '_') for name in kit.class_names]
  if not neutral:
    return {name: rows['label'] == c for c, name in enumerate(names)}
  name = neutral.replace('/', '_')
  return {name: rows['neutral'], f'not_{name}': ~rows['neutral']}


def _checked(shown: Array | None, kit: Kit) -> Array:
  """ValueError unless the head shows one number for each pair."""
  M = len(kit.modalities)
  if shown is None or shown.shape[1:] != (M, M):
    told = 'none' if shown is None else f'it as {list(shown.shape)}'
    raise ValueError(
      f'config.evals.attention needs attention [B, {M}, {M}] between '
      f'{", ".join(kit.modalities)}, but the head {kit.head!r} shows {told}. '
      f'Take a head that does ({", ".join(SHOWN_BY)}), or leave the eval out.'
    )
  return shown
