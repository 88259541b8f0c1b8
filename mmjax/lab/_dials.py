"""Worlds with dials: what modalities know alone, twice, or only together."""

import functools
import math
from collections.abc import Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from mmjax.base import Array

KINDS = ('useless', 'redundant', 'synergistic')


class Dials(NamedTuple):
  """What the target is made of, and how well each modality sees it."""

  modalities: tuple[str, ...]
  unique: tuple[float, ...]  # weight of a latent that only this one sees
  redundant: tuple[tuple[str, str, float], ...]  # of a latent that both see
  synergy: tuple[tuple[str, str, float], ...]  # of a product, one factor each
  noise: tuple[float, ...]  # std, on every latent that the modality sees
  label_noise: float  # std


def dials(
  key: Array, num_examples: int, world: Dials, *, width: int = 8
) -> tuple[dict[str, Array], Array]:
  """Draws examples of a world.

  Latents are independent N(0, 1), and
  target = sum_m u_m U_m + sum_ij r_ij R_ij + sum_ij s_ij A_i B_j + noise.

  A modality observes its latents, each with its own N(0, noise^2) on top (so
  two views of one R err independently), then N(0, 1) coordinates that mean
  nothing up to `width`, all turned by a random orthogonal matrix. A modality
  has a slot for U even where its weight is 0; a pair listed twice has two
  latents.

  Args:
    key: of the rotations as well as of the examples.
    num_examples: N, rows for all splits together.
    world: weights and noises.
    width: F of each modality.

  Returns:
    Inputs {name: f32[N, F]} and target f32[N].

  Raises:
    ValueError: a world that contradicts itself, or more latents than width.
  """
  own = _latents(world, width)
  if num_examples < 1:
    raise ValueError(f'num_examples={num_examples} must be 1 or more.')
  made_M, target_N = _draw_dials(
    key,
    np.array(world.noise, np.float32),
    np.array(world.unique, np.float32),
    np.array([r for _, _, r in world.redundant], np.float32),
    np.array([s for _, _, s in world.synergy], np.float32),
    np.float32(world.label_noise),
    shape=(num_examples, width),
    own=tuple(map(tuple, own.values())),
  )
  return dict(zip(own, made_M)), target_N


@functools.partial(jax.jit, static_argnames=('shape', 'own'))
def _draw_dials(key, noise_M, u_M, r_R, s_S, label_noise, *, shape, own):
  """Inputs [N, F], one per modality, and the target; `own` as `_latents`."""
  (N, F), M, R, S = shape, len(u_M), len(r_R), len(s_S)
  keys = jax.random.split(key, 4)
  z_ND = normal(keys[0], N, M + R + 2 * S)
  noise_MNF = normal(keys[1], M, N, F)
  turn_MFF, upper_MFF = jnp.linalg.qr(normal(keys[2], M, F, F))
  # Without the signs the factor would not be uniform over the rotations.
  turn_MFF *= jnp.sign(jnp.diagonal(upper_MFF, axis1=1, axis2=2))[:, None, :]
  inputs = []
  for i, columns in enumerate(own):
    std_F = jnp.where(np.arange(F) < len(columns), noise_M[i], 1.0)
    seen_NF = jnp.pad(
      z_ND[:, np.array(columns)], ((0, 0), (0, F - len(columns)))
    )
    seen_NF += std_F[None, :] * noise_MNF[i]
    # An accelerator's short default product would be one more noise.
    inputs.append(jnp.matmul(seen_NF, turn_MFF[i], precision='highest'))
  product_NS = z_ND[:, M + R :: 2] * z_ND[:, M + R + 1 :: 2]
  parts_ND = jnp.concatenate([z_ND[:, : M + R], product_NS], axis=1)
  weights_D = jnp.concatenate([u_M, r_R, s_S])
  target_N = jnp.matmul(parts_ND, weights_D, precision='highest')
  return inputs, target_N + label_noise * normal(keys[3], N)


def normal(key: Array, *shape: int) -> Array:
  # Drawn flat: on a CPU a draw of three axes takes six times longer to compile.
  return jax.random.normal(key, (math.prod(shape),)).reshape(shape)


def dials_risk(world: Dials, subset: Sequence[str]) -> float:
  """Returns the least mean squared error of any predictor from the subset.

  With noise of std s, a modality leaves 1 / (1 + 1/s^2) of a latent's variance
  open; two views of one latent add their precisions 1/s^2; and of a product
  the product of the explained fractions is explained, which is nothing where
  only one factor is seen. What stays open is uncorrelated between parts of the
  target, so it adds up. The empty subset has the variance of the target.

  Raises:
    ValueError: a world that contradicts itself, or a name that it lacks.
  """
  _check_world(world)
  if isinstance(subset, str) or not set(subset) <= set(world.modalities):
    raise ValueError(
      f'subset={subset!r} must be a tuple of some of the modalities '
      f'{", ".join(world.modalities)}.'
    )
  std = dict(zip(world.modalities, world.noise))

  def unknown(*names: str) -> float:
    """Posterior variance of a latent, to which `names` have access."""
    stds = [std[m] for m in names if m in subset]
    return 0.0 if 0 in stds else 1 / (1 + sum(1 / s / s for s in stds))

  parts = [world.label_noise**2]
  parts += [u**2 * unknown(m) for m, u in zip(world.modalities, world.unique)]
  parts += [r**2 * unknown(a, b) for a, b, r in world.redundant]
  for a, b, s in world.synergy:
    parts.append(s**2 * (1 - (1 - unknown(a)) * (1 - unknown(b))))
  return math.fsum(parts)


def _pairs(world: Dials) -> tuple[tuple[str, str, float], ...]:
  return (*world.redundant, *world.synergy)


def _latents(world: Dials, width: int) -> dict[str, list[int]]:
  """Columns of the latents that each modality sees: M, then R, then 2 S."""
  _check_world(world)
  M, R = len(world.modalities), len(world.redundant)
  own = {m: [i] for i, m in enumerate(world.modalities)}
  for i, (a, b, _) in enumerate(_pairs(world)):
    first = M + i if i < R else M + 2 * i - R
    own[a].append(first)
    own[b].append(first + (i >= R))
  for m, columns in own.items():
    if len(columns) > width:
      raise ValueError(
        f'Modality {m!r} sees {len(columns)} latents, more than width={width}. '
        f'Give it width={len(columns)} or fewer pairs.'
      )
  return own


def _check_world(world: Dials) -> None:
  names = world.modalities
  if not names or len(set(names)) < len(names):
    raise ValueError(f'modalities={names}: different names, one at least.')
  for field, values in (('unique', world.unique), ('noise', world.noise)):
    if len(values) != len(names):
      raise ValueError(
        f'{field}={values} must have one number for each of {", ".join(names)}.'
      )
  for field, pairs in (
    ('redundant', world.redundant),
    ('synergy', world.synergy),
  ):
    for a, b, _ in pairs:
      if a == b or not {a, b} <= set(names):
        raise ValueError(
          f'{field} pairs {a!r} with {b!r}: it takes two different ones of '
          f'{", ".join(names)}.'
        )
  weights = [*world.unique, *(weight for _, _, weight in _pairs(world))]
  if not all(map(math.isfinite, weights)):
    raise ValueError(f'The weights {weights} must be finite.')
  stds = (*world.noise, world.label_noise)
  if not all(0 <= s < math.inf for s in stds):
    raise ValueError(
      f'noise={world.noise} and label_noise={world.label_noise} are standard '
      'deviations: finite, and 0 or more.'
    )


def as_classes(target_N: Array | np.ndarray, num_classes: int) -> np.ndarray:
  """Returns i32[N], the quantile bin of each target, for classification.

  Bins are filled alike up to one example, and equal targets share a bin, the
  upper one. The borders are those of the targets given: take the classes
  before the rows are split.

  Raises:
    ValueError: fewer than 2 classes, targets that are not finite, or too few
      different ones to fill every class.
  """
  target_N, C = np.asarray(target_N), num_classes
  if C < 2:
    raise ValueError(f'num_classes={C} must be 2 or more.')
  if target_N.ndim != 1 or not np.isfinite(target_N).all():
    raise ValueError(
      'as_classes takes one finite number per example, [N], but got shape '
      f'{target_N.shape} or a value that is NaN or infinite.'
    )
  N = len(target_N)
  first = [-(-N * c // C) for c in range(1, C)]  # of each bin but the lowest
  borders = np.sort(target_N)[first] if N >= C else []
  label_N = np.searchsorted(borders, target_N, side='right')
  filled = len(np.unique(label_N))
  if filled < C:
    raise ValueError(
      f'{N} targets with {len(np.unique(target_N))} different values fill only '
      f'{filled} of num_classes={C} quantile bins. Take more examples, label '
      'noise, or fewer classes.'
    )
  return label_N.astype(np.int32)


def random_dials(
  key: Array, kind: str, num_modalities: int = 4
) -> tuple[Dials, tuple[str, ...]]:
  """A random world with one odd modality or pair, and which it is.

  All draws are uniform. Modalities m1, m2, ... have unique weights in 0.5..1.5
  and noise in 0..0.3; the label noise is in 0..0.5. One choice stands out:
    'useless'      one modality, whose unique weight is 0;
    'redundant'    a pair with a shared weight in 0.8..1.5 and unique weights
                   in 0..0.3, so that little is lost without one of the two;
    'synergistic'  a pair with the weight of a product in 0.8..1.5.

  Returns:
    The world, and the names of the choice in the order of the modalities.

  Raises:
    ValueError: an unknown kind, or fewer than 2 modalities.
  """
  if kind not in KINDS:
    raise ValueError(f'kind={kind!r}: there are {", ".join(KINDS)}.')
  if num_modalities < 2:
    raise ValueError(f'num_modalities={num_modalities} must be 2 or more.')
  keys = jax.random.split(key, 2)
  size = 1 if kind == 'useless' else 2
  chosen = np.asarray(jax.random.permutation(keys[0], num_modalities))[:size]
  draw = np.asarray(jax.random.uniform(keys[1], (2 * num_modalities + 2,)))
  u_M, s_M = np.split(draw[:-2].astype(np.float64), 2)
  unique_M = 0.5 + u_M
  if kind != 'synergistic':
    unique_M[chosen] = 0.3 * u_M[chosen] if kind == 'redundant' else 0
  names = tuple(f'm{i + 1}' for i in range(num_modalities))
  answer = tuple(names[i] for i in sorted(chosen))
  pair = () if size == 1 else ((*answer, 0.8 + 0.7 * float(draw[-2])),)
  world = Dials(
    modalities=names,
    unique=tuple(unique_M.tolist()),
    redundant=pair if kind == 'redundant' else (),
    synergy=pair if kind == 'synergistic' else (),
    noise=tuple((0.3 * s_M).tolist()),
    label_noise=0.5 * float(draw[-1]),
  )
  return world, answer
