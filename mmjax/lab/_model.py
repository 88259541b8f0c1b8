"""The small models of the lab: an encoder per modality, concatenation, a head.

Plain functions of a parameter tree, so that thousands of members fit into one
vmapped program. A member's subset is a mask, {modality: f32[]}: where it is 0,
the modality's features are 0, which is what concatenating only the others would
give.
"""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from mmjax.base import Array

SHAPES = ('linear', 'mlp')
LOSSES = ('cross_entropy', 'squared_error')


class Learner(NamedTuple):
  """What is trained and how; the defaults are the published ones.

  Huang et al. 2021, section 5: one linear layer to 128 per modality, a linear
  head on their concatenation, Adam at 0.01, batches of 2,048.
  """

  encoder: str = 'linear'  # 'mlp' has a hidden layer of `width` with ReLU
  head: str = 'linear'  # 'mlp' likewise: only this one sees interactions
  width: int = 128  # of the features of a modality, and of hidden layers
  lr: float = 1e-2
  batch_size: int = 2048
  steps: int = 300
  eval_steps: int = 10  # a look at the validation part after so many
  patience: int = 5  # looks without a better one until a member stops; 0: never
  l2: float = 0.0  # decoupled weight decay

  def check(self) -> None:
    """Raises ValueError for a value out of its range."""
    for field in ('encoder', 'head'):
      if getattr(self, field) not in SHAPES:
        raise ValueError(
          f'learner.{field}={getattr(self, field)!r}: there are '
          f'{" and ".join(SHAPES)}.'
        )
    least = dict(width=1, batch_size=1, steps=1, eval_steps=1, patience=0, l2=0)
    for field, low in least.items():
      if not getattr(self, field) >= low:
        raise ValueError(
          f'learner.{field}={getattr(self, field)} must be {low} or more.'
        )
    if not self.lr > 0:
      raise ValueError(f'learner.lr={self.lr} must be above 0.')


def init(
  key: Array,
  mask: Mapping[str, Array],
  widths: Mapping[str, int],
  outputs: int,
  learner: Learner,
) -> dict[str, Any]:
  """Parameters of one member.

  A modality draws from its own key, so its encoder starts alike in every
  subset. The head starts with the variance that its own subset calls for.
  """
  D, seen = learner.width, jnp.maximum(sum(mask.values()), 1)
  encoders, inner = {}, D if learner.head == 'mlp' else outputs
  blocks = {}
  for i, (m, width) in enumerate(sorted(widths.items())):
    keys = jax.random.split(jax.random.fold_in(key, i), 3)
    layers = [width, D, D] if learner.encoder == 'mlp' else [width, D]
    encoders[m] = [
      _dense(k, *shape) for k, shape in zip(keys, zip(layers, layers[1:]))
    ]
    blocks[m] = _dense(keys[2], D, inner)['kernel'].T / jnp.sqrt(seen)
  head = {'blocks': blocks, 'bias': jnp.zeros(inner)}
  if learner.head == 'mlp':
    head['out'] = _dense(jax.random.fold_in(key, len(widths)), D, outputs)
  return {'encoders': encoders, 'head': head}


def _dense(key: Array, fan_in: int, fan_out: int) -> dict[str, Array]:
  kernel = jax.nn.initializers.lecun_normal()(key, (fan_in, fan_out))
  return {'kernel': kernel, 'bias': jnp.zeros(fan_out)}


def apply(
  params: Mapping[str, Any],
  mask: Mapping[str, Array],
  inputs: Mapping[str, Array],
  present: Mapping[str, Array],
) -> Array:
  """logits_BC, or predictions [B, T].

  Encoders end, and heads begin, with a linear layer; the two are multiplied
  first, x (W V) and not (x W) V, which saves nearly all the work when the head
  is narrow and changes nothing but the rounding. Blocks of the head are [C, D]:
  this way round their gradient, of many members at once, is ten times as fast.
  """
  head = params['head']
  total = head['bias'][None, :]
  for m, x_BF in inputs.items():
    last = params['encoders'][m][-1]
    h_BD = _hidden(params['encoders'][m], x_BF)
    kernel_CD = head['blocks'][m] @ last['kernel'].T
    bias_C = head['blocks'][m] @ last['bias']
    weight_B1 = (mask[m] * present[m])[:, None]
    total = total + weight_B1 * (h_BD @ kernel_CD.T + bias_C[None, :])
  if 'out' in head:
    total = _affine(head['out'], jax.nn.relu(total))
  return total


def encode(
  params: Mapping[str, Any],
  mask: Mapping[str, Array],
  inputs: Mapping[str, Array],
  present: Mapping[str, Array],
) -> Array:
  """The concatenated features z_BD, of width M times the learner's."""
  parts = []
  for m, x_BF in sorted(inputs.items()):
    layers = params['encoders'][m]
    z_BD = _affine(layers[-1], _hidden(layers, x_BF))
    parts.append((mask[m] * present[m])[:, None] * z_BD)
  return jnp.concatenate(parts, axis=1)


def _hidden(layers: Sequence[Mapping[str, Array]], x_BF: Array) -> Array:
  for layer in layers[:-1]:
    x_BF = jax.nn.relu(_affine(layer, x_BF))
  return x_BF


def _affine(layer: Mapping[str, Array], x_BF: Array) -> Array:
  return x_BF @ layer['kernel'] + layer['bias'][None, :]


def losses(outputs_BC: Array, target: Array, loss: str) -> Array:
  """f32[B]: cross-entropy in nats, or the squared error summed over targets."""
  if loss == 'cross_entropy':
    return optax.softmax_cross_entropy_with_integer_labels(outputs_BC, target)
  return jnp.square(outputs_BC - target).sum(1)
