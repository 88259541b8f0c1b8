"""One step of gradient descent on one loss, which most methods share."""

from collections.abc import Callable

import jax

from mmjax.base import Batch, Kit, Outputs, StepFn
from mmjax.ops import batches, losses, trees

Loss = Callable[[Outputs, Batch], tuple[jax.Array, dict[str, jax.Array]]]
"""(outputs, batch) -> (what to minimise f32[], metrics)."""


def per_modality(out: Outputs, batch: Batch) -> dict[str, jax.Array]:
  """{m: cross-entropy f32[] over the examples that have m}."""
  return {
    m: losses.cross_entropy(logits_BC, batch['label'], batches.valid(batch, m))
    for m, logits_BC in out.unis.items()
  }


def descent(kit: Kit, loss: Loss) -> StepFn:
  """A step that moves every block down the gradient of `loss`.

  An encoder none of whose examples is in the batch rests.
  """

  def loss_fn(blocks, state, batch):
    out, stats = kit.forward(state, blocks, batch, train=True)
    total, parts = loss(out, batch)
    return total, (stats, parts)

  def step(state, batch):
    (total, (stats, parts)), grads = jax.value_and_grad(loss_fn, has_aux=True)(
      dict(state.params), state, batch
    )
    when = batches.seen(batch, kit.modalities)
    norms = {f'grad_norm/{b}': trees.global_norm(g) for b, g in grads.items()}
    state = kit.tick(kit.descend(state, grads, when=when, stats=stats))
    return state, {'loss': total, **parts, **norms}

  return step
