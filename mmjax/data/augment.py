"""Augmentation in JAX, inside the compiled step: one section per modality.

  sections = {'visual': dict(name='image', size=224), 'audio': ...}

What happens to an example depends on the key and on its 'index' alone: not on
its place in the batch, the batch's size, the devices, or other modalities.
"""

import functools
import inspect
import zlib
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from mmjax import base
from mmjax.data import _crops, _motion, _views

_MEAN, _STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # ImageNet


class Transform(NamedTuple):
  """Pure functions on batches."""

  train: Callable[[base.Array, base.Batch], base.Batch]  # (key, batch)
  eval: Callable[[base.Batch], base.Batch]


class _Section(NamedTuple):
  """Pure functions on one example of one modality."""

  train: Callable[[base.Array, base.Array], base.Array]  # (key, x)
  eval: Callable[[base.Array], base.Array]


def compose(sections: Mapping[str, Mapping[str, Any]]) -> Transform:
  """Makes the transform of a batch; a modality without section is unchanged.

  Sections are dict(name='image', ...), with the name and the keyword arguments
  of a function below: image, spec_augment, standardize, sequence, shift, voice,
  picture, tokens. Raises ValueError for an unknown name or argument, and for a section of a modality
  that the batch does not have.
  """
  made = {modality: _section(modality, s) for modality, s in sections.items()}

  def train(key: base.Array, batch: base.Batch) -> base.Batch:
    _check(made, batch)
    out = dict(batch)
    for modality, section in made.items():
      stream = jax.random.fold_in(key, zlib.crc32(modality.encode()))
      key_B = jax.vmap(functools.partial(jax.random.fold_in, stream))(
        batch['index']
      )
      out[modality] = jax.vmap(section.train)(key_B, batch[modality])
    return out

  def evaluate(batch: base.Batch) -> base.Batch:
    _check(made, batch)
    return dict(batch) | {
      modality: jax.vmap(section.eval)(batch[modality])
      for modality, section in made.items()
    }

  return Transform(train, evaluate)


def image(
  *,
  size: int = 224,
  scale: tuple[float, float] = (0.08, 1.0),
  ratio: tuple[float, float] = (3 / 4, 4 / 3),
  flip: float = 0.5,
  mean: tuple[float, ...] = _MEAN,
  std: tuple[float, ...] = _STD,
  same_crop: bool = False,
) -> _Section:
  """u8[H, W, C] or u8[T, H, W, C] -> f32[.., size, size, C], standardised.

  Training: a random crop of `scale` of the area and a width : height of
  `ratio`, resized, and mirrored with probability `flip`; frames are drawn
  each for itself, as the references do, unless `same_crop`. Evaluation: the
  whole picture, resized. Bilinear with antialiasing, as PIL's; at a crop's
  edge the filter sees the pixels beyond, which PIL's, after cutting, cannot.
  """
  _positive('image', size=size, std=min(std), scale=scale[0], ratio=ratio[0])
  if scale[0] > scale[1] or ratio[0] > ratio[1]:
    raise ValueError(
      f'augment: image has scale={scale}, ratio={ratio}; give (least, most)'
    )

  def finish(x: base.Array) -> base.Array:
    return (x / 255.0 - _last(mean, x)) / _last(std, x)

  def crop(key: base.Array, x_HWC: base.Array) -> base.Array:
    # One draw for all: each call of the generator is compiled for itself.
    u_N = jax.random.uniform(key, (_crops.DRAWS + 1,))
    height, width, _ = x_HWC.shape
    box = _crops.box(u_N[1:], (height, width), scale, ratio)
    x_HWC = _crops.cut(x_HWC.astype(jnp.float32), box, size)
    return finish(jnp.where(u_N[0] < flip, x_HWC[:, ::-1], x_HWC))

  def train(key: base.Array, x: base.Array) -> base.Array:
    _check_image(x, len(mean))
    if x.ndim == 3:
      return crop(key, x)
    keys_T = jax.random.split(key, 1 if same_crop else len(x))
    keys_T = jnp.broadcast_to(keys_T, (len(x),) + keys_T.shape[1:])
    return jax.vmap(crop)(keys_T, x)

  def evaluate(x: base.Array) -> base.Array:
    _check_image(x, len(mean))
    shape = (*x.shape[:-3], size, size, x.shape[-1])
    return finish(jax.image.resize(x.astype(jnp.float32), shape, 'linear'))

  return _Section(train, evaluate)


def spec_augment(
  *,
  widths: tuple[int, int] = (27, 40),
  masks: tuple[int, int] = (1, 1),
  fill: float | None = None,
) -> _Section:
  """Masks stripes of a spectrogram [X, Y] or [X, Y, 1] (Park et al., 2019).

  Along its first and second axis, `masks` stripes each, of a width uniform in
  0..`widths`, at a uniform place; a stripe holds `fill`, or the spectrogram's
  mean. Evaluation changes nothing.
  """
  if min(*widths, *masks) < 0:
    raise ValueError(
      f'spec_augment: widths={widths} and masks={masks} are at least 0'
    )

  def stripes(u_2K: base.Array, length: int, width: int) -> base.Array:
    width_K = _crops.below(u_2K[0], min(width, length) + 1)
    start_K = _crops.below(u_2K[1], length - width_K + 1)
    place_X1 = jnp.arange(length)[:, None]
    after_XK = place_X1 >= start_K[None]
    before_XK = place_X1 < (start_K + width_K)[None]
    return (after_XK & before_XK).any(1)

  def train(key: base.Array, x: base.Array) -> base.Array:
    if x.ndim not in (2, 3) or not jnp.issubdtype(x.dtype, jnp.floating):
      raise ValueError(
        'spec_augment wants spectrograms, float [B, X, Y] or [B, X, Y, 1]; '
        f'this modality is {x.dtype} of shape {("B", *x.shape)}'
      )
    u_2K = jax.random.uniform(key, (2, sum(masks)))
    hit_X = stripes(u_2K[:, : masks[0]], x.shape[0], widths[0])
    hit_Y = stripes(u_2K[:, masks[0] :], x.shape[1], widths[1])
    hit_XY = hit_X[:, None] | hit_Y[None, :]
    hit = hit_XY.reshape(hit_XY.shape + (1,) * (x.ndim - 2))
    return jnp.where(hit, x.mean() if fill is None else fill, x)

  return _Section(train, lambda x: x)


def standardize(
  *, mean: float | tuple[float, ...] = 0.0, std: float | tuple[float, ...] = 1.0
) -> _Section:
  """(x - mean) / std, as float32; a tuple has one entry per last-axis entry.

  Sequences (`base.Ragged`) are standardised where they are real.
  """
  _positive('standardize', std=float(np.min(std)))

  def plain(x: base.Array) -> base.Array:
    return (x.astype(jnp.float32) - _last(mean, x)) / _last(std, x)

  def apply(x: Any) -> Any:
    if not isinstance(x, base.Ragged):
      return plain(x)
    mask = x.mask.reshape(x.mask.shape + (1,) * (x.values.ndim - 1))
    return x._replace(values=jnp.where(mask, plain(x.values), 0.0))

  return _Section(lambda _, x: apply(x), apply)


def sequence(
  *,
  speed: tuple[float, float] = (0.8, 1.25),
  scale: float = 0.1,
  noise: float = 0.0,
  rotate: float = 0.0,
  cut: float = 0.0,
) -> _Section:
  """Another person doing the same: for `base.Ragged` sensor sequences.

  Training: played at a speed drawn log-uniformly from `speed`, with up to the
  share `cut` of its steps gone from its two ends; multiplied by e^(scale n), n
  normal; rotated about a random axis by up to `rotate` degrees, each three
  entries of the last axis as a vector; normal `noise` added to every entry.
  What becomes longer than the padding loses its end. Evaluation changes
  nothing.
  """
  _motion.check_sequence(speed, scale, noise, rotate, cut)

  def train(key: base.Array, x: Any) -> Any:
    _motion.check_axes(x, rotate)
    return _motion.moved(key, x, speed, scale, noise, rotate, cut)

  return _Section(train, lambda x: x)


def shift(*, pixels: int = 4, frames: int = 0) -> _Section:
  """All frames of [T, H, W] or [T, H, W, C] moved alike, zeros coming in.

  Training: by up to `pixels` up or down and left or right, and by up to
  `frames` in time. Evaluation changes nothing.
  """
  if min(pixels, frames) < 0:
    raise ValueError(
      f'augment: shift has pixels={pixels}, frames={frames}; at least 0'
    )

  def train(key: base.Array, x: base.Array) -> base.Array:
    if getattr(x, 'ndim', 0) not in (3, 4):
      raise ValueError(
        'augment: shift wants frames [B, T, H, W] or [B, T, H, W, C]; this '
        f'modality is {type(x).__name__} of shape '
        f'{("B", *getattr(x, "shape", ()))}'
      )
    return _motion.shifted(key, x, pixels, frames)

  return _Section(train, lambda x: x)


def voice(
  *,
  speed: tuple[float, float] = (0.8, 1.25),
  bands: float = 2.0,
  tilt: float = 0.5,
  noise: float = 0.3,
) -> _Section:
  """The same said by somebody else: for log-mel frames, `base.Ragged` [T, F].

  Training: played at a speed drawn log-uniformly from `speed`, up to a tenth of
  it cut off its ends; moved by up to `bands` mel bands up or down, as a longer
  or shorter vocal tract does; its level and its slope over the bands changed by
  up to `tilt`; normal `noise` added. Evaluation changes nothing.
  """
  _motion.check_sequence(speed, tilt, noise, bands, 0.0)

  def train(key: base.Array, x: Any) -> Any:
    _motion.check_axes(x, 0.0)
    return _views.voice(key, x, speed, bands, tilt, noise)

  return _Section(train, lambda x: x)


def picture(
  *, pixels: float = 1.0, contrast: float = 0.2, noise: float = 0.1
) -> _Section:
  """A small float picture [H, W, C], written a little differently.

  Training: moved by up to `pixels` and stretched by up to a tenth of that along
  each axis, zeros coming in; multiplied by e^(contrast n), n normal; normal
  `noise` added. Evaluation changes nothing.
  """
  if min(pixels, contrast, noise) < 0:
    raise ValueError(
      f'augment: picture has pixels={pixels}, contrast={contrast}, noise={noise};'
      ' none may be negative'
    )

  def train(key: base.Array, x: base.Array) -> base.Array:
    if getattr(x, 'ndim', 0) != 3 or not jnp.issubdtype(x.dtype, jnp.floating):
      raise ValueError(
        'augment: picture wants floats [B, H, W, C]; this modality is '
        f'{type(x).__name__} of shape {("B", *getattr(x, "shape", ()))}'
      )
    return _views.picture(key, x, pixels, contrast, noise)

  return _Section(train, lambda x: x)


def tokens(*, replace: float = 0.15, vocab: int = 256) -> _Section:
  """Token ids [L], 0 = padding: each replaced with probability `replace`.

  By an id drawn uniformly from 1..vocab - 1. Evaluation changes nothing.
  """
  if not 0 <= replace <= 1 or vocab < 2:
    raise ValueError(
      f'augment: tokens has replace={replace}, a probability, and vocab={vocab}, '
      'which is 2 or more'
    )

  def train(key: base.Array, x: base.Array) -> base.Array:
    if getattr(x, 'ndim', 0) != 1 or not jnp.issubdtype(x.dtype, jnp.integer):
      raise ValueError(
        'augment: tokens wants ids, integers [B, L]; this modality is '
        f'{type(x).__name__} of shape {("B", *getattr(x, "shape", ()))}'
      )
    return _views.tokens(key, x, replace, vocab)

  return _Section(train, lambda x: x)


_MAKERS = {
  'image': image,
  'spec_augment': spec_augment,
  'standardize': standardize,
  'sequence': sequence,
  'shift': shift,
  'voice': voice,
  'picture': picture,
  'tokens': tokens,
}


def _section(modality: str, section: Mapping[str, Any]) -> _Section:
  options = dict(section)
  name = options.pop('name', None)
  if name not in _MAKERS:
    raise ValueError(
      f'augment.{modality}: name={name!r} is not one of {sorted(_MAKERS)}'
    )
  known = inspect.signature(_MAKERS[name]).parameters
  if unknown := sorted(set(options) - set(known)):
    raise ValueError(
      f'augment.{modality}: {name!r} has no {", ".join(unknown)}; it has '
      f'{", ".join(known)}'
    )
  return _MAKERS[name](**options)


def _check(made: Mapping[str, _Section], batch: base.Batch) -> None:
  modalities = sorted(set(batch) - set(base.RESERVED))
  if unknown := sorted(set(made) - set(modalities)):
    raise ValueError(
      f'augment has a section for {", ".join(unknown)}; the modalities of the '
      f'batch are {", ".join(modalities)}'
    )


def _positive(section: str, **values: float) -> None:
  for name, value in values.items():
    if value <= 0:
      raise ValueError(f'augment: {section} has {name} {value}; it is above 0')


def _last(value: float | tuple[float, ...], x: base.Array) -> base.Array:
  """A number, or one per entry of the last axis, shaped to meet `x`."""
  return jnp.asarray(value, jnp.float32).reshape((1,) * (x.ndim - 1) + (-1,))


def _check_image(x: Any, channels: int) -> None:
  if getattr(x, 'ndim', 0) not in (3, 4) or x.dtype != jnp.uint8:
    raise ValueError(
      'augment: image wants uint8 [B, H, W, C] or [B, T, H, W, C]; this '
      f'modality is {getattr(x, "dtype", type(x).__name__)} of shape '
      f'{("B", *getattr(x, "shape", ()))}'
    )
  if channels not in (1, x.shape[-1]):
    raise ValueError(
      f'augment: mean has {channels} entries, the image {x.shape[-1]} channels'
    )
