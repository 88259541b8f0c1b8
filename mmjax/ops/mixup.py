"""Mixing of examples in latent space, the same way in all modalities.

FuseMix: Vouitsis et al., CVPR 2024, "Data-Efficient Multimodal Fusion on a
Single GPU", equation 5 and algorithm 1. The others are what it is compared
with.
"""

import jax
import jax.numpy as jnp

SCHEDULES = ('constant', 'cosine', 'exponential')


def mix(z_BD: jax.Array, lam: jax.Array, partner_B: jax.Array) -> jax.Array:
  """lam z_i + (1 - lam) z_partner(i) for the first rows of z [B, ...].

  As many as there are partners, i32[<= B]; lam is [] or one per partner.
  """
  z_BD = jnp.asarray(z_BD)
  lam_B = _per_row(lam, z_BD)
  return lam_B * z_BD[: len(partner_B)] + (1 - lam_B) * z_BD[partner_B]


def fusemix(
  x_BD: jax.Array, y_BD: jax.Array, lam: jax.Array, partner_B: jax.Array
) -> tuple[jax.Array, jax.Array]:
  """Both modalities of each example mixed alike, so that they stay a pair.

  Args:
    x_BD: latents of one modality.
    y_BD: of the other.
    lam: [] or one per partner, in 0..1.
    partner_B: i32, the rows that the first ones are mixed with; as many as there
      are rows, or fewer.
  """
  return mix(x_BD, lam, partner_B), mix(y_BD, lam, partner_B)


def slerp(
  z_BD: jax.Array, other_BD: jax.Array, lam: float | jax.Array
) -> jax.Array:
  """From z (lam = 0) to other (lam = 1) along the arc between their directions.

  [sin((1 - lam) w) z + sin(lam w) other] / sin w with the angle w between the
  two; a straight line where they are parallel. Shoemake 1985, "Animating
  Rotation with Quaternion Curves".

  Args:
    z_BD: from where.
    other_BD: to where.
    lam: [] or [B], in 0..1.
  """
  lam_B1 = _per_row(jnp.asarray(lam, z_BD.dtype), z_BD)
  lengths = [
    jnp.sqrt(jnp.sum(jnp.square(a_BD), axis=1, keepdims=True))
    for a_BD in (z_BD, other_BD)
  ]
  dot_B1 = jnp.sum(z_BD * other_BD, axis=1, keepdims=True)
  cosine_B1 = dot_B1 / jnp.maximum(lengths[0] * lengths[1], 1e-12)
  # Nearer than this to parallel, sin w is nothing but rounding.
  bent_B1 = jnp.abs(cosine_B1) < 1 - 1e-6
  angle_B1 = jnp.arccos(jnp.where(bent_B1, cosine_B1, 0))
  sine_B1 = jnp.sin(angle_B1)
  first_B1 = jnp.sin((1 - lam_B1) * angle_B1) / sine_B1
  second_B1 = jnp.sin(lam_B1 * angle_B1) / sine_B1
  return (
    jnp.where(bent_B1, first_B1, 1 - lam_B1) * z_BD
    + jnp.where(bent_B1, second_B1, lam_B1) * other_BD
  )


def noise(z_BD: jax.Array, key: jax.Array, std: float) -> jax.Array:
  """Gaussian noise of `std` times the spread of each feature in the batch."""
  spread_D = jnp.std(z_BD, axis=0, keepdims=True)
  drawn_BD = jax.random.normal(key, z_BD.shape, z_BD.dtype)
  return z_BD + std * jax.lax.stop_gradient(spread_D) * drawn_BD


def quantize(z_BD: jax.Array, key: jax.Array, levels: int) -> jax.Array:
  """Each feature at the middle of a random bin of its range in the batch.

  A feature's range is cut at `levels` - 1 places drawn anew for each batch:
  information is lost at random, and nothing else is added. Wu et al. 2023,
  "Randomized Quantization: A Generic Augmentation for Data Agnostic
  Self-supervised Learning".

  Args:
    z_BD: latents.
    key: of the cuts.
    levels: bins, 2 or more.
  """
  low_D, high_D = jnp.min(z_BD, axis=0), jnp.max(z_BD, axis=0)
  cut_LD = jnp.sort(jax.random.uniform(key, (levels - 1, z_BD.shape[1])), 0)
  edge_LD = jnp.concatenate(
    [jnp.zeros_like(low_D)[None], cut_LD, jnp.ones_like(low_D)[None]]
  )
  edge_LD = low_D[None] + edge_LD * (high_D - low_D)[None]
  inside_LBD = z_BD[None] >= edge_LD[1:-1, None]
  bin_BD = jnp.sum(inside_LBD, axis=0)
  middle_LD = (edge_LD[1:] + edge_LD[:-1]) / 2
  return jnp.take_along_axis(middle_LD, bin_BD, axis=0)


def alpha(
  done: float | jax.Array,
  initial: float,
  final: float,
  schedule: str = 'constant',
) -> jax.Array:
  """The parameter of lam ~ Beta(alpha, alpha) as training goes on, f32[].

  'cosine' goes from initial to final along half a cosine, 'exponential' as
  initial * (final / initial) ** done.

  Args:
    done: [], share of training in 0..1; beyond, it stays as it ended.
    initial: at the start, and always if the schedule is constant.
    final: at the end.
    schedule: of SCHEDULES.

  Raises:
    ValueError: another schedule.
  """
  done = jnp.clip(jnp.asarray(done, jnp.float32), 0, 1)
  if schedule == 'cosine':
    return initial + (final - initial) * (1 - jnp.cos(jnp.pi * done)) / 2
  if schedule == 'exponential':
    return initial * (final / initial) ** done
  if schedule == 'constant':
    return jnp.full_like(done, initial)
  raise ValueError(f'schedule={schedule!r} is none of {", ".join(SCHEDULES)}.')


def _per_row(lam: jax.Array, z_BD: jax.Array) -> jax.Array:
  """lam [] or [B] as [1, ..] or [B, 1, ..] beside z [B, ...]."""
  lam = jnp.asarray(lam, z_BD.dtype)
  return lam.reshape(-1, *(1,) * (z_BD.ndim - 1))
