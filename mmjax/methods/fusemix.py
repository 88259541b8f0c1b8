"""FuseMix: adapters on latents of frozen encoders, aligned by contrast.

Vouitsis, Liu, Gorti, Villecroze, Cresswell, Yu, Loaiza-Ganem, Volkovs, CVPR
2024, "Data-Efficient Multimodal Fusion on a Single GPU", algorithm 1. Latents of
a pair are mixed with those of another with one lambda for both modalities; a
mixed pair's negatives are the other mixed pairs of the batch.

The text leaves open who is mixed with whom. The authors' code mixes the first
half of a batch with the second, so that B rows make B / 2 mixed pairs, with one
lambda for the batch; both are the defaults, and options. Its temperature is a
learned divisor, clamped before each use; the printed algorithm multiplies by an
exponential instead.
"""

import itertools

import jax
import jax.numpy as jnp

from mmjax.base import Array, Batch, Kit, Method, Phase, TrainState
from mmjax.methods import _mixing
from mmjax.methods._descent import descent
from mmjax.ops import batches, contrastive

LOSSES = ('info_nce', 'sigmoid')

_WARNING = (
  'warn/The temperature has been at its clamp {clamp} for {patience} steps. Its '
  'gradient goes nowhere: widen config.method.clamp, or lower the learning rate.'
)


def make(
  kit: Kit,
  *,
  mixing: str = 'fusemix',
  partner: str = 'halves',
  lam: str = 'batch',
  alpha: float = 1.0,
  alpha_final: float = 1.0,
  alpha_schedule: str = 'constant',
  alpha_epochs: float = 0.0,
  noise: float = 0.1,
  levels: int = 16,
  loss: str = 'info_nce',
  anchor: str = '',
  block: int = 0,
  clamp: tuple[float, float] = (0.001, 0.5),
  patience: int = 200,
) -> Method:
  """Contrastive alignment of any number of modalities.

  Args:
    kit: with the head 'similarity' and encoders of one width.
    mixing: 'fusemix'; its ablations 'separate' (a lambda for each modality) and
      'slerp' (along the arc), 'noise' and 'quantize' (each latent by itself), or
      'none'.
    partner: 'halves' (row i with i + B / 2: half as many pairs are left) or
      'permutation' (drawn anew for each batch).
    lam: one for the 'batch', or one per 'example'.
    alpha: lambda ~ Beta(alpha, alpha).
    alpha_final: alpha at the end of its schedule.
    alpha_schedule: 'constant', 'cosine' or 'exponential'.
    alpha_epochs: length of the schedule.
    noise: of the mixing 'noise', in standard deviations of each feature.
    levels: of the mixing 'quantize'.
    loss: 'info_nce', or 'sigmoid' (the head needs a bias).
    anchor: a modality that all others are aligned with; '' is all pairs.
    block: columns of the similarity matrix at a time, for large batches; 0 makes
      it whole.
    clamp: least and largest temperature.
    patience: steps at a clamp in a row that are worth a warning.

  Raises ValueError for another head, one modality, and values out of range.
  """
  _check_kit(kit)
  _mixing.check_names(
    loss=(loss, LOSSES), anchor=(anchor, ('', *kit.modalities))
  )
  _check_range(block, patience, clamp)
  low, high = clamp
  change = _mixing.mixer(
    kit,
    mixing=mixing,
    partner=partner,
    lam=lam,
    alpha=_mixing.Alpha(alpha, alpha_final, alpha_schedule, alpha_epochs),
    noise=noise,
    levels=levels,
  )
  pairs = list(itertools.combinations(kit.modalities, 2))
  if anchor:
    pairs = [(anchor, m) for m in kit.modalities if m != anchor]

  def contrast(state, out, batch):
    told, counts = {}, []
    for a, b in pairs:
      valid_B = batches.valid(batch, a) & batches.valid(batch, b)
      counts.append(jnp.any(valid_B).astype(jnp.float32))
      told[f'loss/{a}-{b}'] = pairwise(out, a, b, valid_B)
    at_end = jnp.float32(state.method >= patience)
    warning = _WARNING.format(patience=patience, clamp=clamp)
    total = jnp.sum(jnp.stack(list(told.values()))) / jnp.maximum(
      jnp.sum(jnp.stack(counts)), 1
    )
    temperature = out.extras['temperature']
    return total, {**told, 'temperature': temperature, warning: at_end}

  def pairwise(out, a, b, valid_B) -> Array:
    x_BD, y_BD, tiles = out.feats[a], out.feats[b], block or None
    temperature, bias = (out.extras.get(n) for n in ('temperature', 'bias'))
    if loss == 'sigmoid':
      return contrastive.sigmoid(
        x_BD, y_BD, temperature, bias, tiles, valid_B=valid_B
      )
    mesh = kit.mesh if block else None
    return contrastive.info_nce(
      x_BD, y_BD, temperature, tiles, valid_B=valid_B, mesh=mesh
    )

  def remember(state, out, batch):
    """Steps in a row that the temperature has been at a clamp."""
    del batch
    temperature = out.extras['temperature']
    at = (temperature <= low) | (temperature >= high)
    return jnp.where(at, state.method + 1, 0)

  descend = descent(kit, contrast, remember=remember)

  def step(state: TrainState, batch: Batch):
    _check_size(len(batch['mask']), kit.num_examples)
    head = dict(state.params['head'])
    head['temperature'] = _clamped(head['temperature'], low, high)
    state = state.replace(params={**state.params, 'head': head})
    return descend(state, change(state, batch))

  def init(params, stats):
    del stats
    if loss == 'sigmoid' and 'bias' not in params['head']:
      raise ValueError(
        "config.method.loss='sigmoid' learns a bias: give config.head.bias, such "
        'as -10.'
      )
    return jnp.int32(0)

  def predict(state, batch):
    return kit.forward(state, {}, batch)[0]

  return Method(init, {'align': Phase(step)}, predict)


def _clamped(temperature: Array, low: float, high: float) -> Array:
  """What lies in between, with the gradient of what has not been clamped."""
  inside = jnp.clip(temperature, low, high)
  stop = jax.lax.stop_gradient
  return temperature - stop(temperature) + stop(inside)


def _check_kit(kit: Kit) -> None:
  if kit.head != 'similarity':
    raise ValueError(
      "method 'fusemix' learns a temperature and no classifier; "
      f"config.head.name is {kit.head!r} (use 'similarity')."
    )
  if len(kit.modalities) < 2:
    raise ValueError(
      "method 'fusemix' aligns modalities with each other, and the data have "
      f'{kit.modalities} only.'
    )


def _check_range(block: int, patience: int, clamp: tuple[float, ...]) -> None:
  if block < 0 or patience < 1:
    raise ValueError(
      f'config.method: block={block} must not be negative (0: no tiles), and '
      f'patience={patience} must be at least 1.'
    )
  if len(clamp) != 2 or not 0 < clamp[0] < clamp[1]:
    raise ValueError(
      f'config.method.clamp={clamp} must be the least and the largest '
      'temperature, both above 0.'
    )


def _check_size(batch_size: int, num_examples: int) -> None:
  if batch_size > num_examples:
    raise ValueError(
      f'config.batch_size={batch_size} is more than the {num_examples} training '
      'pairs, so the rest of it would be padding, which nothing is mixed or '
      'compared with. Take fewer.'
    )
