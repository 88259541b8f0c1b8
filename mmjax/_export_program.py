"""predict as a pure function of arrays with names, and as an artefact."""

import warnings
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import jax.export
import jax.numpy as jnp
import numpy as np

from mmjax import _export_model as models
from mmjax._export_model import Model
from mmjax.base import Array, Batch, Outputs, Ragged, TrainState
from mmjax.experiment import Experiment

PLATFORMS = ('cpu', 'cuda', 'tpu')
Weights = Mapping[str, Any]
Inputs = Mapping[str, Any]


class Program(NamedTuple):
  """An artefact, what it takes and tells, and where it cannot run."""

  artefact: bytes
  weights: dict[str, np.ndarray]
  inputs: dict[str, jax.ShapeDtypeStruct]  # without the batch
  outputs: dict[str, jax.ShapeDtypeStruct]  # without the batch
  platforms: tuple[str, ...]
  left_out: dict[str, str]  # {platform: why}


def make(exp: Experiment, model: Model, example: Batch) -> Program:
  """Exports predict with a batch of any size.

  Args:
    exp: whose predict it is, with what config.augment does at test time.
    model: of that experiment.
    example: shapes and types of a batch.

  Raises ValueError if it cannot be exported for any platform.
  """
  inputs = specs(exp.kit.modalities, example)
  function = _whole(exp, model, example)
  weights = _read(function, models.named(model.parts), inputs)
  if not _any_size(function, weights, inputs):
    function = _single(function)
  exported, left_out = _export(function, weights, inputs)
  for platform, why in left_out.items():
    warnings.warn(
      f'{platform} is left out of the export, as predict cannot be exported '
      f'for it: {why}',
      stacklevel=4,
    )
  outputs = jax.tree.unflatten(exported.out_tree, exported.out_avals)
  return Program(
    bytes(exported.serialize(vjp_order=0)),
    weights,
    inputs,
    {n: jax.ShapeDtypeStruct(x.shape[1:], x.dtype) for n, x in outputs.items()},
    tuple(exported.platforms),
    left_out,
  )


def specs(
  modalities: tuple[str, ...], example: Batch
) -> dict[str, jax.ShapeDtypeStruct]:
  """Shapes of the inputs without the batch.

  Each modality by its name, which of its steps are real as '<modality>/mask',
  and who has it as 'present/<modality>'.
  """
  found = {}
  for m in modalities:
    parts = {m: example[m]}
    if isinstance(example[m], Ragged):
      parts = {m: example[m].values, f'{m}/mask': example[m].mask}
    for name, x in parts.items():
      found[name] = jax.ShapeDtypeStruct(x.shape[1:], x.dtype)
  return found | {
    f'present/{m}': jax.ShapeDtypeStruct((), bool) for m in modalities
  }


def _whole(exp: Experiment, model: Model, example: Batch) -> Callable:
  """(weights, inputs) -> outputs, all of them arrays with names."""

  def batch(inputs: Inputs) -> dict[str, Any]:
    present = {m: inputs[f'present/{m}'] for m in exp.kit.modalities}
    size = present[exp.kit.modalities[0]].shape[0]
    row_B = jnp.arange(size, dtype=jnp.int32)
    made: dict[str, Any] = {
      'label': jnp.zeros_like(row_B),  # predict asks for no label
      'index': row_B,
      'mask': jnp.ones(size, bool),
      'present': present,
    }
    if 'entry' in example:
      made['entry'] = dict.fromkeys(example['entry'], row_B)
    for m in exp.kit.modalities:
      steps = f'{m}/mask' in inputs
      made[m] = Ragged(inputs[m], inputs[f'{m}/mask']) if steps else inputs[m]
    return made

  def predict(weights: Weights, inputs: Inputs) -> dict[str, Array]:
    state = TrainState(
      step=jnp.int32(model.origin['step']),
      **models.filled(model.parts, weights),
      opt={},
      key=jax.random.wrap_key_data(jnp.asarray(model.key), impl=model.kind),
    )
    return told(exp.predict(state, batch(inputs)))

  return predict


def told(outputs: Outputs) -> dict[str, Array]:
  """Logits, probabilities and features, f32, by name."""
  logits = {**outputs.unis, 'joint': outputs.joint}
  found = {}
  for name, logits_BC in logits.items():
    logits_BC = logits_BC.astype(jnp.float32)
    found[f'logits/{name}'] = logits_BC
    found[f'probabilities/{name}'] = jax.nn.softmax(logits_BC)
  return found | {
    f'features/{m}': z_BD.astype(jnp.float32)
    for m, z_BD in outputs.feats.items()
  }


def _read(
  predict: Callable, weights: Weights, inputs: Inputs
) -> dict[str, np.ndarray]:
  """Without what the method remembers of training and predict does not read."""
  if not any(name.startswith('method/') for name in weights):
    return dict(weights)
  # Of a known size, as a program for any size keeps whatever it is given.
  tried = jax.export.export(jax.jit(predict))(*_abstract(weights, inputs, 2))
  names = [*sorted(weights), *sorted(inputs)]  # as dicts are flattened
  kept = {names[i] for i in tried.module_kept_var_idx}
  return {
    name: value
    for name, value in weights.items()
    if name in kept or not name.startswith('method/')
  }


def _single(predict: Callable) -> Callable:
  """One example at a time, for a net that must know how many there are."""

  def each(weights: Weights, inputs: Inputs) -> dict[str, Array]:
    one = predict(weights, {n: x[None] for n, x in inputs.items()})
    return {n: x[0] for n, x in one.items()}

  return jax.vmap(each, in_axes=(None, 0))


def _any_size(predict: Callable, weights: Weights, inputs: Inputs) -> bool:
  """Whether a program can be traced without knowing the size of a batch."""
  try:
    jax.eval_shape(predict, *_abstract(weights, inputs))
  except Exception:  # len() of an array, a reshape, a loop: each has its own
    return False
  return True


def _abstract(
  weights: Weights, inputs: Inputs, size: Any = None
) -> tuple[dict, dict]:
  """Shapes; without a size of the batch, for any."""
  if size is None:
    (size,) = jax.export.symbolic_shape('b')
  return (
    {n: jax.ShapeDtypeStruct(x.shape, x.dtype) for n, x in weights.items()},
    {
      n: jax.ShapeDtypeStruct((size, *x.shape), x.dtype)
      for n, x in inputs.items()
    },
  )


def _export(
  predict: Callable, weights: Weights, inputs: Inputs
) -> tuple[jax.export.Exported, dict[str, str]]:
  """For all platforms that are possible, and why the others are not."""
  abstract = _abstract(weights, inputs)

  def attempt(platforms) -> jax.export.Exported:
    return jax.export.export(jax.jit(predict), platforms=platforms)(*abstract)

  try:
    return attempt(PLATFORMS), {}
  except Exception:  # a rule is missing, or a custom call may not be kept
    left_out = {}
  for platform in PLATFORMS:
    try:
      attempt((platform,))
    except Exception as error:
      left_out[platform] = _short(error)
  possible = tuple(p for p in PLATFORMS if p not in left_out)
  if not possible:
    raise ValueError(
      'predict of this model cannot be exported for any of '
      f'{", ".join(PLATFORMS)}: {left_out[PLATFORMS[0]]}'
    )
  return attempt(possible), left_out


def _short(error: Exception) -> str:
  """In a line, without what jax appends for developers."""
  text = ' '.join(str(error).split('\n---')[0].split())
  return f'{type(error).__name__}: {text[:400]}'
