"""Predictions while sensors and cameras run: sliding windows, one program.

  live = streaming.make(exp.predict, streaming.windows(exp.batch()))
  buffers = live.init(streams=1)
  buffers, outputs = live.push(state, buffers, {'inertial': .., 'depth': ..})

Each push brings the newest steps of every modality, as many as its clock gave
in that time, and predicts from the last window of each. A modality that a push
does not bring is missing, as it is in training, and its window starts anew.
"""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from mmjax.base import RESERVED, Array, Batch, Outputs, Ragged, TrainState


class Window(NamedTuple):
  """What a model sees of one modality at once."""

  steps: int  # W, the newest ones
  shape: tuple[int, ...]  # of one step
  dtype: Any
  ragged: bool  # may hold fewer; else it is missing until it is full


class Buffer(NamedTuple):
  """The newest steps of one modality, the newest last."""

  values: Array  # [S, W, ...]
  count: Array  # i32[], how many of them are real


class Stream(NamedTuple):
  """Pure functions; `push` is jitted, once for each size of the chunks.

  init: (streams) -> buffers
  push: (state, buffers, {m: [S, n, ...]}) -> (buffers, Outputs), rows are
    streams
  batch: buffers -> what predict is asked about
  """

  init: Callable[..., dict[str, Buffer]]
  push: Callable[..., tuple[dict[str, Buffer], Outputs]]
  batch: Callable[[Mapping[str, Buffer]], Batch]


def windows(
  batch: Batch, steps: Mapping[str, int] | None = None
) -> dict[str, Window]:
  """The windows of the examples of a batch, or shorter ones.

  Args:
    batch: as the model was trained on; each modality has time as its second
      axis.
    steps: {modality: W} where it shall not be the padded length; for ragged
      modalities alone, as an array's length is part of the model.

  Raises ValueError for a modality without a time axis, unknown names, or
  another length of an array.
  """
  steps = steps or {}
  made: dict[str, Window] = {}
  for m in batch:
    if m in RESERVED:
      continue
    ragged = isinstance(batch[m], Ragged)
    value = batch[m].values if ragged else batch[m]
    if value.ndim < 3:
      raise ValueError(
        f'modality {m!r} has examples of shape {value.shape[1:]}, without an '
        'axis for time and one for what a step holds: it cannot be streamed.'
      )
    W = steps[m] if m in steps else value.shape[1]
    if W < 1 or (W != value.shape[1] and not ragged):
      raise ValueError(
        f'steps[{m!r}]={W}: the model sees {value.shape[1]} steps of it at '
        'once' + (', and at least one.' if ragged else ', no more and no less.')
      )
    made[m] = Window(W, value.shape[2:], value.dtype, ragged)
  if set(steps) - set(made):
    raise ValueError(
      f'steps names {sorted(set(steps) - set(made))}; the modalities are '
      f'{", ".join(made)}.'
    )
  return made


def make(
  predict: Callable[[TrainState, Batch], Outputs],
  windows: Mapping[str, Window],
) -> Stream:
  """Binds a model's `predict` to windows of its modalities.

  Args:
    predict: of an experiment or a method.
    windows: from `windows`.
  """

  def init(streams: int = 1) -> dict[str, Buffer]:
    return {
      m: Buffer(jnp.zeros((streams, w.steps, *w.shape), w.dtype), jnp.int32(0))
      for m, w in windows.items()
    }

  def batch(buffers: Mapping[str, Buffer]) -> Batch:
    streams = len(next(iter(buffers.values())).values)
    made: dict[str, Any] = {
      'label': jnp.zeros(streams, jnp.int32),
      'index': jnp.arange(streams, dtype=jnp.int32),
      'mask': jnp.ones(streams, bool),
      'present': {},
    }
    for m, w in windows.items():
      values, count = buffers[m]
      # A sequence begins at its first step, as in training.
      values = jnp.roll(values, count - w.steps, axis=1)
      real_W = jnp.arange(w.steps) < count
      real = real_W.reshape((1, -1) + (1,) * len(w.shape))
      values = jnp.where(real, values, 0).astype(w.dtype)
      mask_SW = jnp.broadcast_to(real_W[None], (streams, w.steps))
      made[m] = Ragged(values, mask_SW) if w.ragged else values
      enough = count > 0 if w.ragged else count >= w.steps
      made['present'][m] = jnp.broadcast_to(enough, (streams,))
    return made

  @jax.jit
  def run(state, buffers, chunks):
    moved = {m: _pushed(b, chunks.get(m)) for m, b in buffers.items()}
    return moved, predict(state, batch(moved))

  def push(state, buffers, chunks):
    _check(windows, buffers, chunks)
    return run(state, buffers, dict(chunks))

  return Stream(init, push, batch)


def _pushed(buffer: Buffer, chunk: Array | None) -> Buffer:
  W = buffer.values.shape[1]
  if chunk is None:
    return Buffer(buffer.values, jnp.int32(0))
  chunk = chunk[:, -W:].astype(buffer.values.dtype)
  values = jnp.concatenate([buffer.values[:, chunk.shape[1] :], chunk], axis=1)
  return Buffer(values, jnp.minimum(buffer.count + chunk.shape[1], W))


def _check(windows, buffers, chunks) -> None:
  unknown = sorted(set(chunks) - set(windows))
  if unknown:
    raise ValueError(
      f'a push brings {", ".join(unknown)}; the model has the modalities '
      f'{", ".join(windows)}.'
    )
  for m, chunk in chunks.items():
    shape, want = np.shape(chunk), windows[m].shape
    streams = len(buffers[m].values)
    if len(shape) != 2 + len(want) or shape[0] != streams or shape[2:] != want:
      raise ValueError(
        f'a push brings {m!r} of shape {shape}; it takes [{streams}, n, '
        f'{", ".join(map(str, want))}]: n new steps for each of the '
        f'{streams} streams.'
      )
