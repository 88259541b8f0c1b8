"""A curriculum: modalities are aligned first, then classified and fused.

A short work on multimodal human action recognition (RGB video with inertial
sensors): in a first stage the encoders learn to put what is of one class near
each other across modalities (its equation 1), in a second one each modality
gets a classifier, and their mean logits a loss of their own,
CE_1 + .. + CE_M + CE_fused. The work leaves open the temperature, which
positive its equation means (see `ops/contrastive.py`), how long a stage is,
and whether the first loss is kept in the second stage; here it is not, unless
`contrast_weight` says so.

Three programs: 'align' and 'classify' are the stages; 'classify' alone is
logit aggregation without the curriculum; 'align', then 'probe', is the
contrastive stage with a linear probe.
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp

from mmjax.base import (
  NEVER,
  Array,
  Batch,
  Kit,
  Method,
  Outputs,
  Phase,
  StepFn,
)
from mmjax.methods._descent import descent, encoders_only, per_modality
from mmjax.ops import batches, contrastive, losses, trees


class Memory(NamedTuple):
  """Whether the alignment still gets better, from epoch to epoch."""

  best: Array  # f32[], lowest mean of an epoch
  total: Array  # f32[], of this epoch's batches that had something to align
  count: Array  # i32[], of those
  since: Array  # i32[], epochs since the best one
  enough: Array  # i32[], the step at which patience ended, NEVER before


def make(
  kit: Kit,
  *,
  temperature: float = 0.1,
  positives: str = 'class',
  patience: int = 0,
  min_delta: float = 0.0,
  contrast_weight: float = 0.0,
  joint_weight: float = 1.0,
) -> Method:
  """Alignment, then per-modality heads and the mean of their logits.

  Args:
    kit: with the head 'late' and encoders of one width.
    temperature: of the cosine similarities, above 0.
    positives: 'class' (equation 1, positives by class), 'instance' (equation
      1, an example's own pair) or 'supcon' (mean over all of the class).
    patience: epochs without a better alignment that end the phase 'align'
      early; 0 leaves its length to the plan.
    min_delta: by how much an epoch's mean alignment has to fall to be better.
    contrast_weight: of the alignment in the phase 'classify'.
    joint_weight: of the fused cross-entropy beside the modalities' own.

  Raises ValueError for another head, one modality, and values out of range.
  """
  _check(kit, temperature, positives)
  _check_signs(
    patience=patience,
    min_delta=min_delta,
    contrast_weight=contrast_weight,
    joint_weight=joint_weight,
  )

  def alignment(out, batch):
    """(mean over the directions, the metrics of each)."""
    valid = {m: batches.valid(batch, m) for m in kit.modalities}
    told = contrastive.directions(
      out.feats, batch['label'], temperature, valid, positives
    )
    parts = {f'alignment/{a}-{b}': d.loss for (a, b), d in told.items()}
    return contrastive.average(told), parts

  def align(state, out, batch):
    del state
    mean, parts = alignment(out, batch)
    return mean.loss, parts

  def watch(state, out, batch):
    mean, _ = alignment(out, batch)
    step = state.step + 1
    ends = step % kit.steps_per_epoch == 0
    return watched(state.method, mean, step, ends, patience, min_delta)

  def classification(out, batch):
    unis = per_modality(out, batch)
    joint = losses.cross_entropy(out.joint, batch['label'], batch['mask'])
    parts = {f'loss/{m}': value for m, value in unis.items()}
    total = sum(unis.values()) + joint_weight * joint
    return total, {'loss/joint': joint, **parts}

  def classify(state, out, batch):
    del state
    total, parts = classification(out, batch)
    if contrast_weight:
      mean, more = alignment(out, batch)
      total, parts = total + contrast_weight * mean.loss, parts | more
    return total, parts

  def predict(state, batch):
    return kit.forward(state, {}, batch)[0]

  first = Phase(
    descent(kit, align, modulate=encoders_only(kit), remember=watch),
    lambda state: state.replace(method=fresh()),
    (lambda state: state.method.enough) if patience else None,
  )
  phases = {
    'align': first,
    'classify': Phase(descent(kit, classify)),
    'probe': Phase(_probe(kit, classification)),
  }
  return Method(lambda *_: fresh(), phases, predict)


def fresh() -> Memory:
  """Memory of a phase that begins."""
  zero = jnp.int32(0)
  worst = jnp.float32(jnp.finfo(jnp.float32).max)
  return Memory(worst, jnp.float32(0), zero, zero, jnp.int32(NEVER))


def watched(
  memory: Memory,
  value: contrastive.Direction,
  step: Array,
  ends: Array,
  patience: int,
  min_delta: float = 0.0,
) -> Memory:
  """Memory after a step: takes its alignment in, and judges at an epoch's end.

  Args:
    memory: before.
    value: the batch's alignment, which may not count.
    step: i32[], steps done with this one.
    ends: bool[], whether this was the last step of an epoch.
    patience: epochs without improvement that are enough; 0 never is.
    min_delta: what an improvement is, at least.

  Returns:
    Memory, of the same structure. An epoch in which nothing could be aligned
    is not judged.
  """
  total = memory.total + jnp.where(value.counts, value.loss, 0)
  count = memory.count + value.counts
  judged = ends & (count > 0)
  mean = total / jnp.maximum(count, 1)
  better = judged & (mean < memory.best - min_delta)
  since = jnp.where(better, 0, memory.since + judged)
  over = judged & (since >= patience) if patience else jnp.bool_(False)
  return Memory(
    best=jnp.where(better, mean, memory.best),
    total=jnp.where(ends, 0, total),
    count=jnp.where(ends, 0, count),
    since=since,
    enough=jnp.where(over, jnp.minimum(memory.enough, step), memory.enough),
  )


def _probe(kit: Kit, loss: Callable[[Outputs, Batch], tuple]) -> StepFn:
  """A step of the head alone; the encoders are those of evaluation."""

  def loss_fn(head, state, batch):
    out, _ = kit.forward(state, {'head': head}, batch)
    return loss(out, batch)

  def step(state, batch):
    (total, parts), grads = jax.value_and_grad(loss_fn, has_aux=True)(
      state.params['head'], state, batch
    )
    state = kit.tick(kit.descend(state, {'head': grads}))
    norm = {'grad_norm/head': trees.global_norm(grads)}
    return state, {'loss': total, **parts, **norm}

  return step


def _check(kit, temperature, positives):
  if kit.head != 'late':
    raise ValueError(
      "method 'curriculum' fuses one classifier per modality; config.head.name "
      f"is {kit.head!r} (use 'late')."
    )
  if len(kit.modalities) < 2:
    raise ValueError(
      "method 'curriculum' aligns modalities with each other, and the data has "
      f'{kit.modalities} only; for one alone take config.method.name='
      "'unimodal'."
    )
  if not 0 < temperature < float('inf'):
    raise ValueError(
      f'config.method.temperature={temperature} divides the similarities and '
      'must be above 0; 0.1 is usual, 0.01 strict.'
    )
  if positives not in contrastive.POSITIVES:
    raise ValueError(
      f'config.method.positives={positives!r} is none of '
      f'{", ".join(contrastive.POSITIVES)}.'
    )


def _check_signs(**values):
  for name, value in values.items():
    if not 0 <= value < float('inf'):
      raise ValueError(f'config.method.{name}={value} must be 0 or above it.')
