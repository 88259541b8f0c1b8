"""A net: one encoder per modality and a head, kept apart as blocks."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from mmjax.base import Array, Batch, Blocks, Outputs, Ragged
from mmjax.models import _layout, _sequence
from mmjax.ops import batches


class Net(NamedTuple):
  """Pure functions over parameters that are given.

  init:    (key, batch, weights={}) -> (params, stats), one block per modality
           and 'head'; `weights` {modality: what `pretrained.load` has read}
  forward: (params, stats, batch, key, *, only=None, edit=None, train=False)
           -> (Outputs, stats)
  """

  init: Callable
  forward: Callable
  scales: Mapping[str, Callable] = {}  # params -> factors of the learning rate


def compose(encoders: Mapping[str, Any], head: Any) -> Net:
  """Composes Linen modules into a net.

  Args:
    encoders: {modality: module (x, valid_B, train) -> z_BD, or `Ragged` steps
      [B, T, D]}.
    head: module (feats, present, train) -> (logits_BC per modality, joint
      logits_BC). It gets steps as their mean, unless it has the attribute
      `takes_steps`. What it sows under 'extras' is in `Outputs.extras`.
  """
  place = {m: i for i, m in enumerate((*encoders, 'head'))}
  takes_steps = getattr(head, 'takes_steps', False)

  def encode(m, params, stats, batch, key, train):
    rngs = {'dropout': jax.random.fold_in(key, place[m])}
    valid_B = batches.valid(batch, m)
    z, new = encoders[m].apply(
      {'params': params[m], **stats[m]},
      batch[m],
      valid_B,
      train,
      rngs=rngs,
      mutable=list(stats[m]) if train else [],
    )
    return _blank(z, valid_B), dict(new)

  def init(
    key: Array,
    batch: Batch,
    weights: Mapping[str, Mapping[str, Array]] = {},  # noqa: B006 (never written)
  ) -> tuple[Blocks, Blocks]:
    params, stats, feats = {}, {}, {}
    for m, encoder in encoders.items():
      block_key = jax.random.fold_in(key, place[m])
      rngs = {'params': block_key, 'dropout': block_key}
      variables = dict(
        encoder.init(rngs, batch[m], batches.valid(batch, m), False)
      )
      variables = _layout.fill(variables, weights.get(m, {}))
      params[m], stats[m] = variables.pop('params', {}), variables
      feats[m], _ = encode(m, params, stats, batch, key, False)
    head_key = jax.random.fold_in(key, place['head'])
    variables = head.init(head_key, _given(feats), batch['present'], False)
    params['head'], stats['head'] = variables.get('params', {}), {}
    return params, stats

  def _given(feats):
    return feats if takes_steps else {m: _mean(z) for m, z in feats.items()}

  def forward(
    params: Blocks,
    stats: Blocks,
    batch: Batch,
    key: Array,
    *,
    only: Sequence[str] | None = None,
    edit: Callable | None = None,
    train: bool = False,
  ) -> tuple[Outputs, Blocks]:
    """Runs the encoders named in `only` (default all), then the head.

    `edit` is a pure function {m: z_BD} -> {m: z_BD} between the two, of
    steps where the head takes them.
    """
    feats, moved = {}, {}
    for m in only or encoders:
      feats[m], moved[m] = encode(m, params, stats, batch, key, train)
    feats = _given(feats)
    if edit is not None:
      feats = edit(feats)
    (unis, joint), shown = head.apply(
      {'params': params['head']},
      feats,
      batch['present'],
      train,
      rngs={'dropout': jax.random.fold_in(key, place['head'])},
      mutable=['extras'],
    )
    extras = {name: one for name, (one,) in shown.get('extras', {}).items()}
    stats = {**stats, **moved} if train else stats
    feats = {m: _mean(z) for m, z in feats.items()}
    return Outputs(feats, unis, joint, extras), stats

  scales = {m: e.scales for m, e in encoders.items() if hasattr(e, 'scales')}
  return Net(init, forward, scales)


def _blank(z: Any, valid_B: Array) -> Any:
  """What is absent is zero for every head, and has no gradient."""
  if not isinstance(z, Ragged):
    return jnp.where(valid_B[:, None], z, 0)
  mask_BT = z.mask & valid_B[:, None]
  return Ragged(jnp.where(mask_BT[:, :, None], z.values, 0), mask_BT)


def _mean(z: Any) -> Array:
  """Features of an encoder that returns steps: their mean."""
  return _sequence.mean(*z) if isinstance(z, Ragged) else z
