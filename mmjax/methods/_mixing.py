"""What FuseMix does to a batch of latents before the adapters see it."""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from mmjax.base import Array, Batch, Kit, Ragged, TrainState
from mmjax.ops import mixup

PAIRED = ('fusemix', 'separate', 'slerp')  # mix pairs with pairs
MIXINGS = (*PAIRED, 'noise', 'quantize', 'none')


class Alpha(NamedTuple):
  """lambda ~ Beta(alpha, alpha), from initial to final in so many epochs."""

  initial: float
  final: float
  schedule: str
  epochs: float

  def at(self, epoch: Array) -> Array:
    done = epoch / self.epochs if self.epochs else 0.0
    return mixup.alpha(done, self.initial, self.final, self.schedule)


def mixer(
  kit: Kit,
  *,
  mixing: str,
  partner: str,
  lam: str,
  alpha: Alpha,
  noise: float,
  levels: int,
) -> Callable[[TrainState, Batch], Batch]:
  """The change of a batch that `methods.fusemix.make` describes.

  Raises ValueError for names and values that cannot be.
  """
  check_names(
    mixing=(mixing, MIXINGS),
    partner=(partner, ('halves', 'permutation')),
    lam=(lam, ('batch', 'example')),
    alpha_schedule=(alpha.schedule, mixup.SCHEDULES),
  )
  _check_range(alpha, noise, levels)

  def draw(state, key, shape) -> dict[str, Array]:
    """{m: lambda}, the same for all unless it is not to be."""
    beta = alpha.at(kit.epoch(state))
    own = [
      jax.random.beta(jax.random.fold_in(key, i), beta, beta, shape)
      for i in range(len(kit.modalities) if mixing == 'separate' else 1)
    ]
    return {m: own[i % len(own)] for i, m in enumerate(kit.modalities)}

  def pairs(state, batch):
    whom_key, lam_key = jax.random.split(kit.key(state, 'method'))
    partner_B = _partners(whom_key, len(batch['mask']), partner)
    shape = () if lam == 'batch' else partner_B.shape
    return mixed(batch, draw(state, lam_key, shape), partner_B, mixing)

  def alone(state, batch):
    changed = dict(batch)
    for i, m in enumerate(kit.modalities):
      key = jax.random.fold_in(kit.key(state, 'method'), i)
      z_BD = _vectors(batch, m, mixing)
      if mixing == 'noise':
        changed[m] = mixup.noise(z_BD, key, noise)
      else:
        changed[m] = mixup.quantize(z_BD, key, levels)
    return changed

  if mixing in PAIRED:
    return pairs
  return _same if mixing == 'none' else alone


def _same(state, batch):
  del state
  return batch


def mixed(
  batch: Batch,
  lams: Mapping[str, Array],
  partner_B: Array,
  mixing: str = 'fusemix',
) -> Batch:
  """The first rows of a batch, each mixed with its partner in all modalities.

  A row is left as it is if its partner does not count, or lacks a modality that
  the row has: what is mixed in one modality only would be no pair.

  Args:
    batch: of arrays, or `Ragged`, whose steps are mixed one by one.
    lams: {modality: [] or [B']}, the share of a row itself.
    partner_B: i32[B'], with B' <= B.
    mixing: 'slerp' goes along the arc.
  """
  size = len(partner_B)
  own_B = jnp.arange(size)
  fits_B = batch['mask'][partner_B]
  for has_B in batch['present'].values():
    fits_B &= ~has_B[:size] | has_B[partner_B]
  kept = {
    key: batch[key][:size] for key in ('label', 'index', 'mask') if key in batch
  }
  present = {m: has_B[:size] for m, has_B in batch['present'].items()}
  changed = {}
  for m, share in lams.items():
    lam_B = jnp.where(fits_B, jnp.broadcast_to(share, (size,)), 1)
    if mixing == 'slerp':
      z_BD = _vectors(batch, m, mixing)
      changed[m] = mixup.slerp(z_BD[own_B], z_BD[partner_B], 1 - lam_B)
    else:
      changed[m] = _blend(batch[m], m, lam_B, partner_B, fits_B)
  return {**kept, 'present': present, **changed}


def _blend(
  z: Any, m: str, lam_B: Array, partner_B: Array, fits_B: Array
) -> Any:
  values = jnp.asarray(getattr(z, 'values', z))
  if not jnp.issubdtype(values.dtype, jnp.floating):
    raise ValueError(
      f'{m!r} holds {values.dtype}, which cannot be mixed: FuseMix mixes latents. '
      "Extract them first (--mode=extract), or take config.method.mixing='none'."
    )
  if not isinstance(z, Ragged):
    return mixup.mix(values, lam_B, partner_B)
  mask_BT = jnp.asarray(z.mask)
  shape = mask_BT.shape + (1,) * (values.ndim - 2)
  values = jnp.where(mask_BT.reshape(shape), values, 0)
  other_BT = mask_BT[partner_B] & fits_B[:, None]
  return Ragged(
    mixup.mix(values, lam_B, partner_B), mask_BT[: len(lam_B)] | other_BT
  )


def _vectors(batch: Batch, m: str, mixing: str) -> Array:
  """Latents [B, D]; ValueError for what is none."""
  z = batch[m]
  if isinstance(z, Ragged) or z.ndim != 2:
    raise ValueError(
      f'config.method.mixing={mixing!r} changes latents [B, D], and {m!r} is '
      'none. Extract latents first (--mode=extract).'
    )
  return jnp.asarray(z, jnp.float32)


def _partners(key: Array, size: int, partner: str) -> Array:
  if partner == 'permutation':
    return jax.random.permutation(key, size)
  if size < 2:
    raise ValueError('A batch of one row has no other half to be mixed with.')
  return size // 2 + jnp.arange(size // 2)


def check_names(**options: tuple[str, tuple[str, ...]]) -> None:
  """Raises ValueError for a name that is none of those known."""
  for name, (value, known) in options.items():
    if value not in known:
      listed = ', '.join(map(repr, known))
      raise ValueError(f'config.method.{name}={value!r} is none of {listed}.')


def _check_range(alpha: Alpha, noise: float, levels: int) -> None:
  if not (0 < alpha.initial < float('inf') and 0 < alpha.final < float('inf')):
    raise ValueError(
      f'config.method.alpha={alpha.initial} and alpha_final={alpha.final} are '
      'parameters of a Beta distribution and must be above 0; 1 is uniform.'
    )
  if alpha.schedule != 'constant' and alpha.epochs <= 0:
    raise ValueError(
      f'config.method.alpha_epochs={alpha.epochs} must be above 0: how long the '
      f'{alpha.schedule} schedule of alpha takes.'
    )
  if noise < 0 or levels < 2:
    raise ValueError(
      f'config.method: noise={noise} must not be negative, and levels={levels} '
      'must be at least 2.'
    )
