"""Empirical Rademacher complexity: how well a class fits pure noise.

R_S(F) = E_sigma sup_{f in F} 1/N sum_i <sigma_i, f(x_i)>,

with an independent sign for each example and each output (Maurer, "A
vector-contraction inequality for Rademacher complexities", ALT 2016). There
R_S(loss o F) <= sqrt(2) L R_S(F) for a loss that is L-Lipschitz in the
Euclidean norm of the outputs. The sqrt(2) belongs to that step, beside L, and
is in no value of this file; with one output Talagrand's contraction does
without it. `mmjax/lab/bounds.py` says why its constants cover both.
"""

import functools
from collections.abc import Callable, Mapping
from typing import Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from mmjax.base import Array, PyTree

CHUNK = 2**22  # signs in float64 at a time


class Complexity(NamedTuple):
  """A Rademacher complexity, in units of the outputs, and how it is known."""

  value: float
  kind: Literal[
    'bound',  # never below the complexity of this sample
    'exact in expectation, Monte Carlo',  # its mean over draws is exact
    'lower estimate',  # an ascent may stop at a local optimum
  ]
  error: float  # standard error over draws; 0 for the bound
  draws: int  # of signs; 0 for the bound
  # What the last tenth of an ascent still added, relative to `value`. Above
  # 0.01 or so it had not converged: give it more steps.
  change: float = 0.0


def signs(
  key: Array, num_examples: int, *, draws: int, num_outputs: int = 1
) -> np.ndarray:
  """i8[draws, N, C], the signs of `linear` and `by_optimisation` for a key."""
  # NumPy draws them: JAX would compile anew for every size of the sample.
  words = np.asarray(jax.random.key_data(jax.random.fold_in(key, 0)))
  shape = (draws, num_examples, num_outputs)
  bits = np.random.default_rng(words).integers(0, 2, shape, dtype=np.int8)
  return 2 * bits - 1


def linear_bound(x_NF, norm: float, *, num_outputs: int = 1) -> Complexity:
  """Bounds the class {x -> W^T x, ||W||_F <= norm}, W of shape [F, C].

  norm sqrt(C sum_i ||x_i||^2) / N: Jensen's inequality on what `linear`
  estimates, and at most sqrt(2) above it (Kahane-Khintchine with the constant
  of Latala and Oleszkiewicz 1994).

  Raises:
    ValueError: x is no finite matrix, or a number is out of its range.
  """
  x_NF = _matrix(x_NF, 'x_NF')
  _at_least('norm', norm, 0)
  _at_least('num_outputs', num_outputs, 1)
  value = norm * np.sqrt(num_outputs) * np.linalg.norm(x_NF) / len(x_NF)
  return Complexity(float(value), 'bound', 0.0, 0)


def linear(
  key: Array, x_NF, norm: float, *, num_outputs: int = 1, draws: int = 256
) -> Complexity:
  """Estimates the complexity of {x -> W^T x, ||W||_F <= norm}.

  For given signs the supremum is t = norm ||X^T Sigma||_F / N, by
  Cauchy-Schwarz. Its second moment is known, E t^2 = b^2 with b the
  `linear_bound`, and so (t^2 - b^2) / 2b is a control variate: each draw counts
  t - (t^2 - b^2) / 2b = b - (t - b)^2 / 2b, which has the same expectation,
  less variance, and never exceeds b.

  Raises:
    ValueError: x is no finite matrix, or a number is out of its range.
  """
  _at_least('draws', draws, 2)
  b = linear_bound(x_NF, norm, num_outputs=num_outputs).value
  kind = 'exact in expectation, Monte Carlo'
  if not b:
    return Complexity(0.0, kind, 0.0, draws)
  x_NF = _matrix(x_NF, 'x_NF')
  N, C = len(x_NF), num_outputs
  sigma = signs(key, N, draws=draws, num_outputs=C)
  size = max(1, CHUNK // (N * C))
  parts = [sigma[i : i + size] for i in range(0, draws, size)]
  t = norm / N * np.concatenate([_correlations(x_NF, part) for part in parts])
  below = np.square(t - b) / (2 * b)
  error = below.std(ddof=1) / np.sqrt(draws)
  return Complexity(float(b - below.mean()), kind, float(error), draws)


def _correlations(x_NF: np.ndarray, sigma: np.ndarray) -> np.ndarray:
  """||X^T Sigma||_F of each draw, as one product of matrices."""
  draws, N, C = sigma.shape
  flat = np.moveaxis(sigma, 0, 1).reshape(N, draws * C).astype(np.float64)
  product = (x_NF.T @ flat).reshape(-1, draws, C)
  return np.sqrt(np.square(product).sum((0, 2)))


def by_optimisation(
  key: Array,
  apply: Callable[[PyTree, PyTree], Array],
  init: Callable[[Array], PyTree],
  project: Callable[[PyTree], PyTree],
  x: PyTree,
  *,
  draws: int = 32,
  steps: int = 200,
  lr: float = 0.05,
  num_outputs: int = 1,
) -> Complexity:
  """Estimates the complexity of any class from below, by gradient ascent.

  For each draw of signs, Adam maximises the correlation of
  apply(project(params), x) with them, and the best value met counts. It
  differentiates through the projection: to project after each of Adam's steps
  would stop elsewhere, since these are not along the gradient (for a linear
  class at W ~ sign(gradient), near 0.8 of the supremum). A step has the size
  of the parameters times `lr`, so that the norm of the class does not matter.

  Args:
    key: of the signs and of the starting points.
    apply: (params, x) -> f32[N] or [N, C].
    init: key -> params, where `project` is differentiable (for a ball: not 0).
    project: params -> the nearest of the class, a ball of some norm.
    x: any tree of arrays with N rows each.
    draws: of signs, all at once: memory grows with them.
    steps: of an ascent.
    lr: a step relative to the root mean square of the parameters.
    num_outputs: C.

  Returns:
    A lower estimate: an ascent may stop at a local optimum. See `change` too.

  Raises:
    ValueError: a number is out of its range, x has no common N, the outputs
      have another shape, or an ascent left the finite numbers.
  """
  _at_least('draws', draws, 2)
  _at_least('steps', steps, 1)
  _at_least('num_outputs', num_outputs, 1)
  _at_least('lr', lr, 1e-12)
  N = _rows(x)
  out = jax.eval_shape(lambda k, x: apply(project(init(k)), x), key, x)
  shape = (N, num_outputs)
  if out.shape != shape and (*out.shape, 1) != shape:
    raise ValueError(
      f'apply gives {out.shape} where {N} rows of x and num_outputs='
      f'{num_outputs} ask for {shape}; say num_outputs=C for outputs [N, C].'
    )
  sigma = signs(key, N, draws=draws, num_outputs=num_outputs)
  keys = jax.random.split(jax.random.fold_in(key, 1), draws)
  both = _ascents(keys, sigma, x, lr, apply, init, project, steps)
  best, earlier = np.asarray(both, np.float64)
  if not np.isfinite(best).all():
    raise ValueError(
      f'{(~np.isfinite(best)).sum()} of {draws} ascents left the finite numbers. Is x '
      'finite, and has `project` a gradient at init(key)?'
    )
  value, error = best.mean(), best.std(ddof=1) / np.sqrt(draws)
  change = (best - earlier).mean() / abs(value) if value else 0.0
  value, error, change = float(value), float(error), float(change)
  return Complexity(value, 'lower estimate', error, draws, change)


@functools.partial(
  jax.jit, static_argnames=('apply', 'init', 'project', 'steps')
)
def _ascents(keys, sigma, x, lr, apply, init, project, steps):
  """Best value of each draw: at the end, and a tenth of the steps before."""
  adam = optax.scale_by_adam()

  def ascend(key, sigma_NC):
    def correlation(params):
      out_NC = apply(project(params), x).reshape(sigma_NC.shape)
      return jnp.mean(jnp.sum(sigma_NC * out_NC, axis=1))

    def step(carry, _):
      params, memory, best = carry
      value, grads = jax.value_and_grad(correlation)(params)
      best = jnp.maximum(best, value)  # once NaN, it stays NaN
      moves, memory = adam.update(grads, memory)
      # Adam moves each entry by about 1; its unit here is the root mean square.
      size = optax.tree.norm(params) / optax.tree.size(params) ** 0.5
      size = lr * jnp.where(size > 0, size, 1.0)
      params = jax.tree.map(lambda p, move: p + size * move, params, moves)
      return (params, memory, best), best

    params = project(init(key))
    start = (params, adam.init(params), -jnp.inf)
    _, best = jax.lax.scan(step, start, length=steps + 1)
    return best[-1], best[-1 - max(1, steps // 10)]

  return jnp.stack(jax.vmap(ascend)(keys, sigma))


def two_layer_bound(
  x_parts: Mapping[str, np.ndarray],
  encoder_norms: Mapping[str, float],
  head_norm: float,
  *,
  num_outputs: int = 1,
) -> Complexity:
  """Bounds linear encoders, concatenated, under one linear head.

  The class of Huang et al. 2021, section 5: x -> sum_m W_m^T V_m^T x_m with
  encoders ||V_m|| <= encoder_norms[m], spectral and so Frobenius as well, and
  one head ||W||_F <= head_norm whose rows for modality m are W_m.

  Derivation, with A_m = X_m^T Sigma and Cauchy-Schwarz in the second line:
    <V_m W_m, A_m> <= ||V_m||_2 ||W_m||_F ||A_m||_F
    sum_m of it    <= head_norm sqrt(sum_m encoder_norms[m]^2 ||A_m||_F^2)
    E ||A_m||_F^2   = C sum_i ||x_im||^2, which Jensen puts under the root,
  so that R_S <= head_norm sqrt(C sum_m encoder_norms[m]^2 ||X_m||_F^2) / N. The
  width of the encoders does not matter; another modality never lowers it.

  `x_parts` holds [N, F] for each modality of the subset, `num_outputs` is C.

  Raises:
    ValueError: the modalities or their rows disagree, or a number is out of
      its range.
  """
  if not x_parts or set(x_parts) != set(encoder_norms):
    raise ValueError(
      f'two_layer_bound has inputs for {sorted(x_parts)} and encoder_norms for '
      f'{sorted(encoder_norms)}; give both for the same modalities.'
    )
  _at_least('head_norm', head_norm, 0)
  parts = {m: _matrix(x_NF, f'x_parts[{m!r}]') for m, x_NF in x_parts.items()}
  for m in parts:
    _at_least(f'encoder_norms[{m!r}]', encoder_norms[m], 0)
  _rows(parts)
  # Under the root stands the norm of the inputs, each scaled by its encoder's.
  x_NF = np.hstack([encoder_norms[m] * x_NF for m, x_NF in parts.items()])
  return linear_bound(x_NF, head_norm, num_outputs=num_outputs)


def _matrix(x_NF, name: str) -> np.ndarray:
  x_NF = np.asarray(x_NF, np.float64)
  if x_NF.ndim != 2 or not len(x_NF) or not np.isfinite(x_NF).all():
    raise ValueError(
      f'{name} of shape {x_NF.shape} must be a finite matrix [N, F], N >= 1; '
      'flatten the axes of an example, and drop or fill what is not finite.'
    )
  return x_NF


def _rows(x: PyTree) -> int:
  """N, the number of rows that all arrays of a tree share."""
  shapes = [np.shape(leaf) for leaf in jax.tree.leaves(x)]
  counts = {shape[0] if shape else 0 for shape in shapes}
  if len(counts) != 1 or counts == {0}:
    raise ValueError(
      f'x has arrays of shapes {shapes}; all need the same number of rows, one '
      'or more, along their first axis.'
    )
  return counts.pop()


def _at_least(name: str, value: float, least: float) -> None:
  if not least <= value < np.inf:
    raise ValueError(f'{name}={value} must be {least} or more, and finite.')
