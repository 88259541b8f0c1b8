"""Is the class of an example the one whose prompt is nearest?

Zero-shot classification as with image-text models: no classifier is trained,
an example belongs to the class whose prompt, embedded by another modality, is
most similar (cosine). Prompts are those of a file, several per class as in
prompt ensembling, or else the class means of what the training split shows in
that modality, which for class names are the class names.

Rows: see `_aligned`; with a file of prompts 'similarity/<modality>' f32[B, C]
instead of features. Numbers: '<modality>/zero_shot' of every other modality,
the accuracy on the examples that have it, and with more than ten classes
'<modality>/zero_shot_top5'. A class of which the training split has no prompt
is never guessed. NaN where nobody has the modality, or a feature is not finite.
"""

import zipfile
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from mmjax.base import Array, Batch, Eval, Kit, Method, Ragged, TrainState
from mmjax.evals import _aligned
from mmjax.ops import retrieval

MANY = 10  # classes; with more of them the best five count too
PLACE = 'config.evals.zeroshot'


class Prompts(NamedTuple):
  """What a file holds."""

  latents: np.ndarray  # [R, ...]
  label_R: np.ndarray  # i64


def make(
  kit: Kit, method: Method, *, by: str = 'text', prompts: str = ''
) -> Eval:
  """Accuracy of the nearest class prompt.

  Args:
    kit: with encoders (adapters) of one width, else a ValueError as soon as
      the eval is asked.
    method: whose features are compared.
    by: the modality that the prompts are of.
    prompts: an `.npz` file without pickle with `latents` [R, ..], what the
      encoder of `by` takes (in the units of the data: if these standardise,
      standardise them too), and `label` i[R], the class of each, every class at
      least once. They are embedded with every batch. '' takes them from the
      training split, which is then looked at with every evaluation.

  Raises:
    ValueError: no such modality, or a file that is not like this.
  """
  others = [m for m in kit.modalities if m != by]
  if by not in kit.modalities or not others:
    raise ValueError(
      f'{PLACE}.by={by!r} must be one of several modalities; there are '
      f'{", ".join(kit.modalities)}.'
    )
  given = _read(prompts, kit.class_names) if prompts else None

  def observe(state: TrainState, batch: Batch) -> dict[str, Array]:
    rows = _aligned.observe(kit, method, state, batch)
    _aligned.check_widths(rows, (by, *others), PLACE)
    if given is None:
      return rows
    class_CD = _embedded(given, state, batch, by, method.predict, prompts)
    kept = {k: v for k, v in rows.items() if not k.startswith('feats/')}
    for m in others:
      kept[f'similarity/{m}'] = _unit(rows[f'feats/{m}']) @ class_CD.T
    return kept

  def report(rows, train=None):
    class_CD = _means(train, by, kit.num_classes) if train else None
    numbers = {}
    for m in others:
      has_N = rows[f'present/{m}']
      if class_CD is None:
        similarity_NC = rows[f'similarity/{m}'][has_N]
      else:
        similarity_NC = retrieval.unit(rows[f'feats/{m}'][has_N]) @ class_CD.T
        # Below every cosine: a class without a prompt is never nearest.
        known_C = np.any(class_CD != 0, axis=1)
        unknown = -2 if known_C.any() else np.nan
        similarity_NC = np.where(known_C, similarity_NC, unknown)
      found = accuracies(similarity_NC, rows['label'][has_N])
      numbers |= {f'{m}/{name}': value for name, value in found.items()}
    return numbers

  return Eval(observe, report, also=() if prompts else ('train',))


def accuracies(similarity_NC: np.ndarray, label_N: np.ndarray) -> dict:
  """{'zero_shot': .., 'zero_shot_top5': ..}, the latter of many classes."""
  C = similarity_NC.shape[1]
  ks = {'zero_shot': 1} | ({'zero_shot_top5': 5} if C > MANY else {})
  if not len(label_N) or not np.isfinite(similarity_NC).all():
    return dict.fromkeys(ks, np.nan)
  right_NC = label_N[:, None] == np.arange(C)[None]
  rank_N = retrieval.from_scores(similarity_NC, right_NC)
  return {name: float(np.mean(rank_N <= k)) for name, k in ks.items()}


def _means(train, by: str, num_classes: int) -> np.ndarray:
  """Mean embedding of each class, of length one; zeros where there is none."""
  has_N = train[f'present/{by}']
  z_ND = retrieval.unit(train[f'feats/{by}'][has_N])
  total_CD = np.zeros((num_classes, z_ND.shape[1]), z_ND.dtype)
  np.add.at(total_CD, train['label'][has_N], z_ND)
  return retrieval.unit(total_CD)


def _embedded(
  given: Prompts, state, batch, by: str, predict: Callable, path: str
) -> Array:
  """Mean embedding of each class's prompts, [C, D], of length one.

  They go through the model as batches of the observed one's size, in which
  nobody has another modality.
  """
  _check_fit(given, batch[by], by, path)
  B, R = len(batch['label']), len(given.label_R)
  blank = jax.tree.map(jnp.zeros_like, batch)
  row = np.arange(-(-R // B) * B).reshape(-1, B)  # the last ones are padding
  prompt = jnp.asarray(given.latents, batch[by].dtype)

  def embed(row_B):
    real_B = row_B < R
    present = {**blank['present'], by: real_B}
    x_B = prompt[jnp.minimum(row_B, R - 1)]
    asked = {**blank, by: x_B, 'present': present, 'mask': real_B}
    return predict(state, asked).feats[by].astype(jnp.float32)

  z_RD = jax.lax.map(embed, row)
  z_RD = _unit(z_RD.reshape(-1, z_RD.shape[-1])[:R])
  class_CD = jax.ops.segment_sum(z_RD, given.label_R, given.label_R.max() + 1)
  return _unit(class_CD)


def _unit(x_BD: Array) -> Array:
  square_B1 = jnp.sum(jnp.square(x_BD), axis=1, keepdims=True)
  return x_BD / jnp.sqrt(jnp.maximum(square_B1, 1e-24))


def _check_fit(given: Prompts, x_B, by: str, path: str) -> None:
  """ValueError unless the encoder takes the prompts."""
  one, ragged = getattr(x_B, 'values', x_B), isinstance(x_B, Ragged)
  number = jnp.issubdtype(one.dtype, jnp.floating)
  same = number == np.issubdtype(given.latents.dtype, np.floating)
  if ragged or given.latents.shape[1:] != one.shape[1:] or not same:
    kind = 'numbers' if number else 'ids'
    told = 'sequences' if ragged else f'{kind} of shape {one.shape[1:]}'
    raise ValueError(
      f'{PLACE}.prompts={path}: latents are {given.latents.dtype} of shape '
      f'{given.latents.shape[1:]} each, but the encoder of {by!r} takes {told}. '
      'Make them with the encoder that the data are from.'
    )


def _read(path: str, class_names: tuple[str, ...]) -> Prompts:
  """The prompts of a file; ValueError, naming it, for what is wrong."""
  place = f'{PLACE}.prompts={path}'
  try:
    with open(path, 'rb') as raw, np.load(raw, allow_pickle=False) as file:
      latents, label_R = file['latents'], file['label']
  except (OSError, ValueError, KeyError, AttributeError, TypeError) as error:
    raise ValueError(
      f'{place} cannot be read: {error}. It must be an .npz file without pickle '
      'that holds latents [R, D] and label [R].'
    ) from error
  except zipfile.BadZipFile as error:
    raise ValueError(f'{place} is damaged: {error}.') from error
  C = len(class_names)
  whole = label_R.ndim == 1 and np.issubdtype(label_R.dtype, np.integer)
  if not whole or latents.ndim < 2 or len(latents) != len(label_R):
    raise ValueError(
      f'{place}: latents {latents.shape} and label {label_R.shape} '
      f'({label_R.dtype}) must be [R, D] and whole numbers [R].'
    )
  if latents.dtype.kind not in 'iuf' or not np.isfinite(latents).all():
    raise ValueError(f'{place}: latents hold NaN, infinity or no numbers.')
  if len(label_R) and (label_R.min() < 0 or label_R.max() >= C):
    raise ValueError(
      f'{place}: labels run from {label_R.min()} to {label_R.max()}, but the '
      f'{C} classes are numbered from 0.'
    )
  lost = [class_names[c] for c in sorted(set(range(C)) - {*label_R.tolist()})]
  if lost:
    raise ValueError(
      f'{place} has no prompt of {len(lost)} of {C} classes: '
      f'{", ".join(lost[:8])}. Give each at least one.'
    )
  return Prompts(latents, label_R.astype(np.int64))
