"""A net: one encoder per modality and a head, kept apart as blocks."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from mmjax.base import Array, Batch, Blocks, Outputs
from mmjax.ops import batches


class Net(NamedTuple):
  """Pure functions over parameters that are given.

  init:    (key, batch) -> (params, stats), one block per modality and 'head'
  forward: (params, stats, batch, key, *, only=None, edit=None, train=False)
           -> (Outputs, stats)
  """

  init: Callable
  forward: Callable


def compose(encoders: Mapping[str, Any], head: Any) -> Net:
  """Composes Linen modules into a net.

  Args:
    encoders: {modality: module (x, valid_B, train) -> z_BD}.
    head: module (feats, present) -> (logits_BC per modality, joint logits_BC).
  """
  place = {m: i for i, m in enumerate((*encoders, 'head'))}

  def encode(m, params, stats, batch, key, train):
    rngs = {'dropout': jax.random.fold_in(key, place[m])}
    valid_B = batches.valid(batch, m)
    z_BD, new = encoders[m].apply(
      {'params': params[m], **stats[m]},
      batch[m],
      valid_B,
      train,
      rngs=rngs,
      mutable=list(stats[m]) if train else [],
    )
    # What is absent is zero for every head, and has no gradient.
    return jnp.where(valid_B[:, None], z_BD, 0), dict(new)

  def init(key: Array, batch: Batch) -> tuple[Blocks, Blocks]:
    params, stats, feats = {}, {}, {}
    for m, encoder in encoders.items():
      block_key = jax.random.fold_in(key, place[m])
      rngs = {'params': block_key, 'dropout': block_key}
      variables = dict(
        encoder.init(rngs, batch[m], batches.valid(batch, m), False)
      )
      params[m], stats[m] = variables.pop('params', {}), variables
      feats[m], _ = encode(m, params, stats, batch, key, False)
    head_key = jax.random.fold_in(key, place['head'])
    variables = head.init(head_key, feats, batch['present'])
    params['head'], stats['head'] = variables['params'], {}
    return params, stats

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

    `edit` is a pure function {m: z_BD} -> {m: z_BD} between the two.
    """
    feats, moved = {}, {}
    for m in only or encoders:
      feats[m], moved[m] = encode(m, params, stats, batch, key, train)
    if edit is not None:
      feats = edit(feats)
    unis, joint = head.apply(
      {'params': params['head']}, feats, batch['present']
    )
    stats = {**stats, **moved} if train else stats
    return Outputs(feats, unis, joint), stats

  return Net(init, forward)
