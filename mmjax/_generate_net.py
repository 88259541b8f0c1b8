"""The generator: trained, and sampled from."""

import functools
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from mmjax import optim
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


class _Numbers(NamedTuple):
  """Settings that may change without another compilation."""

  steps: int
  lr: float
  null_probability: float
  condition_noise: float


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
  begin, run = _trainer(asked.channels, asked.blocks, asked.batch_size)
  first, key = jax.random.split(jax.random.key(asked.seed))
  numbers = _Numbers(*(getattr(asked, name) for name in _Numbers._fields))
  data = jnp.asarray(images) * 2 - 1, unit_ND
  state, done = begin(first, *example(made)), 0
  for steps in np.array_split(np.arange(asked.steps), min(LOOKS, asked.steps)):
    begun, done = done, done + len(steps)
    state, loss = run(state, begun, done, key, data, numbers)
    if not np.isfinite(loss):
      raise FloatingPointError(
        f'The generator diverged within {done} steps (its loss is {loss}). '
        f'Lower {PLACE}.lr={asked.lr}.'
      )
    told(f'generator: step {done} of {asked.steps}, loss {loss:.4f}')
  return made._replace(params=jax.device_get(state[1]))


@functools.lru_cache(maxsize=8)
def _trainer(channels: int, blocks: int, batch_size: int):
  """(key, example) -> state, and the loop over some steps, both jitted.

  The loop gives the mean loss too.
  """
  net = velocity.network(channels=channels, blocks=blocks)
  direction = optim.adamw(weight_decay=1e-4, clip_norm=1.0).direction

  @jax.jit
  def begin(key, *inputs):
    params = net.init(key, *inputs)['params']
    return params, params, direction.init(params)

  @jax.jit
  def run(state, start, stop, key, data, numbers):
    def step(i, carry):
      params, mean, memory = carry[0]
      loss = functools.partial(
        _loss, net, data, numbers, batch_size, jax.random.fold_in(key, i)
      )
      value, grads = jax.value_and_grad(loss)(params)
      step, memory = direction.update(grads, memory, params)
      params = _moved(params, step, -_rate(i, numbers))
      change = jax.tree.map(jnp.subtract, params, mean)
      mean = _moved(mean, change, 1 - jnp.minimum(DECAY, (1 + i) / (10 + i)))
      return (params, mean, memory), carry[1] + value

    state, total = jax.lax.fori_loop(start, stop, step, (state, 0.0))
    return state, total / (stop - start)

  return begin, run


def _loss(net, data, numbers, batch_size, key, params) -> Array:
  """Of a batch that is drawn with the key, under noisy and null conditions."""
  keys = jax.random.split(key, 5)
  images, unit_ND = data
  B, D = batch_size, unit_ND.shape[1]
  rows = jax.random.randint(keys[0], (B,), 0, len(images))
  spread = numbers.condition_noise / D**0.5
  noisy_BD = unit_ND[rows] + spread * jax.random.normal(keys[1], (B, D))
  noisy_BD /= jnp.linalg.norm(noisy_BD, axis=1, keepdims=True)
  null_B = jax.random.bernoulli(keys[2], numbers.null_probability, (B,))
  noise = jax.random.normal(keys[3], (B, *images.shape[1:]))

  def field(x, time_B):
    return net.apply({'params': params}, x, time_B, noisy_BD, null_B)

  return flow.loss(field, noise, images[rows], flow.times(keys[4], B))


def _rate(i: Array, numbers: _Numbers) -> Array:
  """The learning rate: up in a line, down in half a cosine."""
  warm = jnp.minimum(1, (i + 1) / jnp.minimum(WARM_UP, numbers.steps))
  return numbers.lr * warm * (1 + jnp.cos(jnp.pi * i / numbers.steps)) / 2


def _moved(tree, by, weight):
  return jax.tree.map(lambda x, y: x + weight * y, tree, by)


def network(asked: Settings) -> velocity.Velocity:
  return velocity.network(channels=asked.channels, blocks=asked.blocks)


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
  unit_BD, asked = unit(condition_BD), generator.asked
  B, width = unit_BD.shape
  if width != generator.width:
    raise ValueError(
      f'Conditions of width {width}: this generator was trained on '
      f'{generator.width}.'
    )
  size, made = min(B, BLOCK), []
  keys = jax.vmap(lambda i: jax.random.fold_in(key, i))(jnp.arange(B))
  run = _sampler(
    asked.channels,
    asked.blocks,
    asked.sample_steps,
    asked.guidance != 1,
    generator.shape,
  )
  for start in range(0, B, size):
    rows = np.minimum(np.arange(start, start + size), B - 1)  # one program
    made.append(
      run(generator.params, unit_BD[rows], keys[rows], asked.guidance)
    )
  return np.concatenate(jax.device_get(made))[:B]


@functools.lru_cache(maxsize=8)
def _sampler(channels, blocks, sample_steps, guided, shape):
  net = velocity.network(channels=channels, blocks=blocks)

  def run(params, unit_BD, keys_B, weight):
    B = len(unit_BD)
    null = jnp.arange(2 * B if guided else B) >= B
    condition = jnp.concatenate([unit_BD] * 2) if guided else unit_BD

    def field(x, time_B) -> Any:
      if not guided:
        return net.apply({'params': params}, x, time_B, condition, null)
      twice = jnp.concatenate([x, x]), jnp.concatenate([time_B, time_B])
      both: Any = net.apply({'params': params}, *twice, condition, null)
      return flow.guided(both[:B], both[B:], weight)

    noise = jax.vmap(lambda key: jax.random.normal(key, shape))(keys_B)
    x = flow.integrate(field, noise, sample_steps)
    return jnp.clip((x + 1) / 2, 0, 1)

  return jax.jit(run)


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
