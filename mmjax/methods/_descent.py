"""One step of gradient descent on one loss, which most methods share."""

from collections.abc import Callable
from typing import Any

import jax

from mmjax.base import Batch, Blocks, Kit, Metrics, Outputs, StepFn, TrainState
from mmjax.ops import batches, losses, trees

Loss = Callable[[TrainState, Outputs, Batch], tuple[jax.Array, Metrics]]
"""(state, outputs, batch) -> (what to minimise f32[], metrics)."""

Modulate = Callable[
  [TrainState, Outputs, Batch, Blocks], tuple[Blocks, Metrics]
]
"""(state, outputs, batch, gradients) -> (other gradients, metrics)."""

Remember = Callable[[TrainState, Outputs, Batch], Any]
"""(state, outputs, batch) -> the method's memory after the step."""


def per_modality(out: Outputs, batch: Batch) -> dict[str, jax.Array]:
  """{m: cross-entropy f32[] over the examples that have m}."""
  return {
    m: losses.cross_entropy(logits_BC, batch['label'], batches.valid(batch, m))
    for m, logits_BC in out.unis.items()
  }


def descent(
  kit: Kit,
  loss: Loss,
  *,
  modulate: Modulate | None = None,
  remember: Remember | None = None,
) -> StepFn:
  """A step that moves every block down the gradient of `loss`.

  An encoder none of whose examples is in the batch rests. `modulate` changes
  the gradients before the optimizer sees them; `remember` makes the next
  memory. Outputs are those of the forward pass that the gradient is of.
  """

  def loss_fn(blocks, state, batch):
    out, stats = kit.forward(state, blocks, batch, train=True)
    total, parts = loss(state, out, batch)
    return total, (out, stats, parts)

  def step(state, batch):
    (total, (out, stats, parts)), grads = jax.value_and_grad(
      loss_fn, has_aux=True
    )(dict(state.params), state, batch)
    norms = {f'grad_norm/{b}': trees.global_norm(g) for b, g in grads.items()}
    told = {}
    if modulate is not None:
      grads, told = modulate(state, out, batch, grads)
    memory = remember(state, out, batch) if remember else state.method
    when = batches.seen(batch, kit.modalities)
    state = kit.descend(state, grads, when=when, stats=stats, method=memory)
    return kit.tick(state), {'loss': total, **parts, **told, **norms}

  return step


def encoders_only(kit: Kit) -> Modulate:
  """The head has no gradient, not one of zero, which would still decay it."""

  def modulate(state, out, batch, grads):
    del state, out, batch
    return {m: grads[m] for m in kit.modalities}, {}

  return modulate
