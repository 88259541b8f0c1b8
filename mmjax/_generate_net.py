"""The generator: trained, and sampled from."""

import functools
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from mmjax._generate_settings import PLACE, Settings
from mmjax.base import Array
from mmjax.models import velocity
from mmjax.ops import flow

WARM_UP, LOOKS, BLOCK = 100, 10, 512  # steps, lines of progress, pictures
DECAY = 0.999  # of the running mean of parameters
SHORT = 1e-6  # a condition of less length has no direction


class Generator(NamedTuple):
  """A velocity field and what it takes to sample from it."""

  params: Mapping[str, Any]  # running means
  shape: tuple[int, int, int]  # of a picture: H, W, C
  width: int  # of a condition
  asked: Settings


def train(
  images_NHWC: Any,
  condition_ND: Any,
  asked: Settings,
  told: Callable[[str], None] = print,
) -> Generator:
  """Fits the velocity field to pictures under conditions.

  Args:
    images_NHWC: in 0..1.
    condition_ND: of each picture; only its direction counts.
    asked: from `settings`.
    told: takes lines of progress.

  Raises:
    ValueError: arrays that are no pictures or no conditions, or do not pair.
    FloatingPointError: training diverged.
  """
  images, unit_ND = _pictures(images_NHWC), unit(condition_ND)
  if len(images) != len(unit_ND):
    raise ValueError(f'{len(images)} pictures have {len(unit_ND)} conditions.')
  made = Generator({}, images.shape[1:], unit_ND.shape[1], asked)
  net, direction = network(asked), _direction(asked)
  first, key = jax.random.split(jax.random.key(asked.seed))
  params = net.init(first, *example(made))['params']
  state = params, params, direction.init(params)
  step = functools.partial(
    _step, net, direction, asked, key, jnp.asarray(images) * 2 - 1, unit_ND
  )
  run = jax.jit(lambda state, steps: jax.lax.scan(step, state, steps))
  for steps in np.array_split(np.arange(asked.steps), min(LOOKS, asked.steps)):
    state, losses = run(state, jnp.asarray(steps))
    loss, done = float(losses.mean()), int(steps[-1]) + 1
    if not np.isfinite(loss):
      raise FloatingPointError(
        f'The generator diverged within {done} steps (its loss is {loss}). '
        f'Lower {PLACE}.lr={asked.lr}.'
      )
    told(f'generator: step {done} of {asked.steps}, loss {loss:.4f}')
  return made._replace(params=jax.device_get(state[1]))


def _step(net, direction, asked, key, data, unit_ND, state, i):
  """One step: parameters, their running mean, and the optimizer's memory."""
  params, mean, memory = state
  B, D = asked.batch_size, unit_ND.shape[1]
  rows_key, noise_key, null_key, far_key, time_key = jax.random.split(
    jax.random.fold_in(key, i), 5
  )
  rows = jax.random.randint(rows_key, (B,), 0, len(data))
  spread = asked.condition_noise / D**0.5
  noisy_BD = unit_ND[rows] + spread * jax.random.normal(far_key, (B, D))
  noisy_BD /= jnp.linalg.norm(noisy_BD, axis=1, keepdims=True)
  null_B = jax.random.bernoulli(null_key, asked.null_probability, (B,))
  noise = jax.random.normal(noise_key, (B, *data.shape[1:]))
  time_B = flow.times(time_key, B)

  def loss(params):
    def field(x, time_B):
      return net.apply({'params': params}, x, time_B, noisy_BD, null_B)

    return flow.loss(field, noise, data[rows], time_B)

  value, grads = jax.value_and_grad(loss)(params)
  updates, memory = direction.update(grads, memory, params)
  params = optax.apply_updates(params, updates)
  weight = 1 - jnp.minimum(DECAY, (1 + i) / (10 + i))
  mean = optax.incremental_update(params, mean, weight)
  return (params, mean, memory), value


def network(asked: Settings) -> velocity.Velocity:
  return velocity.network(channels=asked.channels, blocks=asked.blocks)


def _direction(asked: Settings) -> optax.GradientTransformation:
  warm = min(WARM_UP, asked.steps // 2)
  lr = optax.warmup_cosine_decay_schedule(0.0, asked.lr, warm, asked.steps)
  return optax.chain(optax.clip_by_global_norm(1.0), optax.adamw(lr))


def example(made: Generator) -> tuple[Array, ...]:
  """Arguments of the net, of which only the shapes matter."""
  return (
    jnp.zeros((1, *made.shape)),
    jnp.zeros(1),
    jnp.zeros((1, made.width)),
    jnp.zeros(1, bool),
  )


def sample(generator: Generator, condition_BD: Any, key: Array) -> np.ndarray:
  """Pictures f32[B, H, W, C] in 0..1, one for each condition.

  A picture depends on its condition, its place and the key alone.

  Raises ValueError for conditions of another width than those of training.
  """
  unit_BD = unit(condition_BD)
  B, width = unit_BD.shape
  if width != generator.width:
    raise ValueError(
      f'Conditions of width {width}: this generator was trained on '
      f'{generator.width}.'
    )
  size = min(B, BLOCK)
  keys = jax.vmap(lambda i: jax.random.fold_in(key, i))(jnp.arange(B))
  run = _sampler(generator.asked, generator.shape)
  made = []
  for start in range(0, B, size):
    rows = np.minimum(np.arange(start, start + size), B - 1)  # one program
    made.append(run(generator.params, unit_BD[rows], keys[rows]))
  return np.concatenate(jax.device_get(made))[:B]


@functools.lru_cache(maxsize=8)
def _compiled(channels, blocks, guidance, sample_steps, shape):
  net = velocity.network(channels=channels, blocks=blocks)

  def run(params, unit_BD, keys_B):
    def field(x, time_B):
      def told(null):
        null_B = jnp.full(len(x), null)
        return net.apply({'params': params}, x, time_B, unit_BD, null_B)

      if guidance == 1:
        return told(False)
      return flow.guided(told(False), told(True), guidance)

    noise = jax.vmap(lambda key: jax.random.normal(key, shape))(keys_B)
    x = flow.integrate(field, noise, sample_steps)
    return jnp.clip((x + 1) / 2, 0, 1)

  return jax.jit(run)


def _sampler(asked: Settings, shape: tuple[int, ...]) -> Callable:
  return _compiled(
    asked.channels, asked.blocks, asked.guidance, asked.sample_steps, shape
  )


def unit(condition_BD: Any) -> Array:
  """Rows of length one, f32[B, D].

  Raises ValueError for other shapes, and rows that are not finite or zero.
  """
  condition_BD = np.asarray(condition_BD, np.float64)
  if condition_BD.ndim != 2 or not condition_BD.size:
    raise ValueError(
      f'Conditions are vectors [N, D], but these are {condition_BD.shape}.'
    )
  length_B = np.linalg.norm(condition_BD, axis=1)
  bad = np.flatnonzero(~(np.isfinite(length_B) & (length_B > SHORT)))
  if len(bad):
    raise ValueError(
      f'{len(bad)} of {len(length_B)} conditions are NaN, infinite or zero: rows '
      f'{", ".join(map(str, bad[:5]))}.'
    )
  return jnp.asarray(condition_BD / length_B[:, None], jnp.float32)


def _pictures(images_NHWC: Any) -> np.ndarray:
  images, least = np.asarray(images_NHWC), velocity.DIVISOR
  if images.ndim != 4 or not images.size:
    raise ValueError(
      f'Pictures are [N, H, W, C], but these are {images.shape}. One channel '
      'has an axis too.'
    )
  if any(side % least for side in images.shape[1:3]):
    raise ValueError(
      f'Pictures of {images.shape[1]} x {images.shape[2]}: the net halves them, '
      f'so height and width must be multiples of {least}. Pad or crop them.'
    )
  low, high = float(images.min()), float(images.max())
  if not (low >= 0 and high <= 1):  # NaN too
    raise ValueError(
      f'Pictures hold numbers from {low:g} to {high:g}, but 0..1 it is. Scale '
      'them (uint8 by 255), and mend what is not finite.'
    )
  return images.astype(np.float32)
