"""OGM and OGM-GE: joint training that holds back the modality that is ahead.

"Balanced Multimodal Learning via On-the-fly Gradient Modulation", Peng, Wei,
Deng, Wang, Hu, CVPR 2022, https://arxiv.org/abs/2203.15332, equations 8 to 10.
One backward pass of the fused cross-entropy; then each encoder's gradient is
multiplied by its coefficient, which comes from how much probability the
modality alone gives to the true classes. `ops/modulation.py` has the maths, and
where the released code differs from the paper.

Deviations from the authors' code: all kernels are modulated unless
`which='convolutions'`; padding and lacking examples do not count in the scores;
there may be more than two modalities.
"""

import jax
import jax.numpy as jnp

from mmjax.base import Kit, Method, Phase
from mmjax.methods._descent import descent, per_modality
from mmjax.ops import batches, losses, modulation, trees


def make(
  kit: Kit,
  *,
  alpha: float = 0.8,
  enhance: bool = False,
  variant: str = 'ogm',
  which: str = 'kernels',
  start_epoch: float = 0,
  end_epoch: float | None = 51,
) -> Method:
  """On-the-fly gradient modulation.

  Args:
    kit: with any head; where a head does not split, its unimodal logits are
      those with the other modalities missing, as the authors advise.
    alpha: strength. The authors take 0.8 for CREMA-D and 0.1 for VGGSound,
      MLA and BalanceBenchmark 0.3; 0 holds nobody back.
    enhance: OGM-GE, which adds Gaussian noise to the same gradients of all
      modalities, held back or not (BalanceBenchmark always does).
    variant: how modalities are compared: 'ogm', 'mla', 'bb' or 'bb3', see
      `ops.modulation.VARIANTS`. The last two know two or three modalities.
    which: parameters that are modulated: 'kernels', all of the encoders with
      two dimensions or more (the authors' advice for what is not a
      convolution), or 'convolutions', those with four, as released.
    start_epoch: first epoch with modulation (BalanceBenchmark: 10).
    end_epoch: first epoch without. The release modulates epochs 0 to 50
      inclusive, which is 51 here; None modulates to the end.

  Raises ValueError for one modality, an option out of range, or encoders that
  have nothing to modulate.
  """
  _check(kit, alpha, variant, which, start_epoch, end_epoch)

  def loss(state, out, batch):
    del state
    joint = losses.cross_entropy(out.joint, batch['label'], batch['mask'])
    parts = {f'loss/{m}': v for m, v in per_modality(out, batch).items()}
    return joint, {'loss/joint': joint, **parts}

  def modulate(state, out, batch, grads):
    rho_M, k_M = _strengths(kit, out, batch, alpha, variant)
    epoch, new, told = kit.epoch(state), dict(grads), {}
    end = jnp.inf if end_epoch is None else end_epoch
    active = (epoch >= start_epoch) & (epoch < end)
    for i, m in enumerate(kit.modalities):
      key = jax.random.fold_in(kit.key(state, 'method'), i) if enhance else None
      held = modulation.modulate(grads[m], k_M[i], which=which, key=key)
      new[m] = trees.select(active, held, grads[m])
      told[f'ratio/{m}'] = rho_M[i]
      told[f'coefficient/{m}'] = jnp.where(active, k_M[i], 1)
    return new, told

  def init(params, stats):
    del stats
    _require_kernels({m: params[m] for m in kit.modalities}, which)
    return ()

  def predict(state, batch):
    return kit.forward(state, {}, batch)[0]

  phase = Phase(descent(kit, loss, modulate=modulate))
  return Method(init, {'joint': phase}, predict)


def _strengths(kit: Kit, out, batch, alpha: float, variant: str):
  """Ratios rho_M and coefficients k_M of a batch."""
  logits_MBC = jnp.stack([out.unis[m] for m in kit.modalities])
  valid_MB = jnp.stack([batches.valid(batch, m) for m in kit.modalities])
  s_M = modulation.scores(logits_MBC, batch['label'], valid_MB, variant)
  rho_M = modulation.ratios(s_M, jnp.any(valid_MB, axis=1), variant)
  return rho_M, modulation.coefficients(rho_M, alpha, variant)


def _require_kernels(encoders, which: str) -> None:
  if not any(modulation.KERNELS[which](x) for x in jax.tree.leaves(encoders)):
    raise ValueError(
      f"method 'ogm' finds nothing to modulate: no encoder has {which}. Give "
      "them layers (config.encoders: 'mlp' for features), or take "
      "config.method.which='kernels'."
    )


def _check(kit: Kit, alpha, variant, which, start_epoch, end_epoch) -> None:
  count = len(kit.modalities)
  if count < 2:
    raise ValueError(
      "method 'ogm' compares modalities, and there is only "
      f"{', '.join(kit.modalities)} (use config.method.name='joint')."
    )
  if variant not in modulation.VARIANTS:
    raise ValueError(
      f'config.method.variant={variant!r} is none of '
      f'{", ".join(modulation.VARIANTS)}.'
    )
  if variant in ('bb', 'bb3') and count > 3:
    raise ValueError(
      f'config.method.variant={variant!r} knows two or three modalities, not '
      f"{count} (use 'ogm' or 'mla')."
    )
  if which not in modulation.KERNELS:
    raise ValueError(
      f'config.method.which={which!r} is none of '
      f'{", ".join(modulation.KERNELS)}.'
    )
  if not alpha >= 0:
    raise ValueError(f'config.method.alpha={alpha} must not be negative.')
  if start_epoch < 0 or (end_epoch is not None and end_epoch <= start_epoch):
    raise ValueError(
      f'config.method.start_epoch={start_epoch} and end_epoch={end_epoch} leave '
      'no epoch with modulation: 0 <= start_epoch < end_epoch it is, or '
      'end_epoch=None.'
    )
