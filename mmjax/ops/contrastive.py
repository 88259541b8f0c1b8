"""Contrastive losses between modalities, and between views of one.

By instance: `info_nce`, `sigmoid`, at any batch size, and `nt_xent` of two
views. By class as well: `cross_modal` and what is built of it.
"""

import itertools
from collections.abc import Mapping
from typing import NamedTuple

import jax
import jax.numpy as jnp

from mmjax.ops import _blockwise

POSITIVES = ('class', 'instance', 'supcon')

NOTHING = 1e-12  # squared length below which a feature has no direction
NEVER = -1e30  # a logit without weight; unlike -inf it has a gradient


class Direction(NamedTuple):
  """From the anchors of one modality to the candidates of another."""

  loss: jax.Array  # f32[]
  counts: jax.Array  # bool[], whether any anchor has a positive


def info_nce(
  x_BD: jax.Array,
  y_BD: jax.Array,
  temperature: float | jax.Array,
  block: int | None = None,
  *,
  valid_B: jax.Array | None = None,
  mesh: jax.sharding.Mesh | None = None,
) -> jax.Array:
  """Symmetric InfoNCE of pairs (x_i, y_i), with all other pairs as negatives.

  With l_ij = cos(x_i, y_j) / temperature, the mean over i of
  (log sum_j exp l_ij + log sum_j exp l_ji) / 2 - l_ii. Van den Oord et al. 2018,
  "Representation Learning with Contrastive Predictive Coding", equation 4, in
  both directions as in CLIP and FuseMix.

  Args:
    x_BD: embeddings of one modality, of any length but 0.
    y_BD: of the other.
    temperature: [], above 0.
    block: None makes the matrix [B, B]. A number makes tiles [B, block], forwards
      and backwards: the same value, memory that grows with B * block, and four
      products of matrices in place of three. It has no forward-mode derivative.
    valid_B: bool, pairs that count; default all. Others are no negatives either.
    mesh: with `block`: splits the batch over its axis 'data', and exchanges
      embeddings in a ring.

  Returns:
    f32[]; 0 without a valid pair.

  Raises:
    ValueError: shapes that differ, or a block below 1.
  """
  if valid_B is None:
    valid_B = jnp.ones(len(x_BD), bool)
  x_BD, y_BD = _unit(x_BD, valid_B), _unit(y_BD, valid_B)
  scale = 1 / jnp.asarray(temperature, x_BD.dtype)
  if block is None:
    logits_BB = scale * _cosine(x_BD, y_BD)
    real_BB = valid_B[:, None] & valid_B[None]
    row_B, column_B = (
      _log_sum(logits_BB, real_BB),
      _log_sum(logits_BB.T, real_BB),
    )
  else:
    _check_tiles(x_BD, y_BD, block)
    row_B, column_B = _blockwise.log_sums(
      x_BD, y_BD, scale, valid_B, block, mesh
    )
  positive_B = scale * jnp.sum(x_BD * y_BD, axis=1)
  return _mean((row_B + column_B) / 2 - positive_B, valid_B)


def sigmoid(
  x_BD: jax.Array,
  y_BD: jax.Array,
  temperature: float | jax.Array,
  bias: float | jax.Array,
  block: int | None = None,
  *,
  valid_B: jax.Array | None = None,
) -> jax.Array:
  """Every pair judged by itself: -1/B sum_ij log sigmoid(z_ij (l_ij + bias)).

  l_ij = cos(x_i, y_j) / temperature; z_ij is 1 for i = j and -1 otherwise. Zhai
  et al. 2023, "Sigmoid Loss for Language Image Pre-Training", equation 2.

  Args:
    x_BD: embeddings of one modality, of any length but 0.
    y_BD: of the other.
    temperature: [], above 0.
    bias: [], of the logits; about -log B at the start, against the many
      negatives.
    block: None makes the matrix [B, B], a number tiles [B, block], which the
      gradient makes again.
    valid_B: bool, pairs that count; default all.

  Returns:
    f32[]; 0 without a valid pair.

  Raises:
    ValueError: shapes that differ, or a block below 1.
  """
  if valid_B is None:
    valid_B = jnp.ones(len(x_BD), bool)
  size = len(x_BD)
  block = size if block is None else block
  _check_tiles(x_BD, y_BD, block)
  x_BD, y_BD = _unit(x_BD, valid_B), _unit(y_BD, valid_B)
  extra = -size % block
  y_nbD = jnp.pad(y_BD, ((0, extra), (0, 0))).reshape(-1, block, y_BD.shape[1])
  valid_nb = jnp.pad(valid_B, (0, extra)).reshape(-1, block)
  place_nb = jnp.arange(size + extra).reshape(-1, block)

  @jax.checkpoint
  def tile(total, part):
    y_bD, valid_b, place_b = part
    logits_Bb = _products(x_BD, y_bD) / temperature + bias
    own_Bb = jnp.arange(size)[:, None] == place_b[None]
    loss_Bb = jax.nn.softplus(jnp.where(own_Bb, -logits_Bb, logits_Bb))
    real_Bb = valid_B[:, None] & valid_b[None]
    return total + jnp.sum(jnp.where(real_Bb, loss_Bb, 0)), None

  zero = jnp.zeros((), x_BD.dtype)
  total, _ = jax.lax.scan(tile, zero, (y_nbD, valid_nb, place_nb))
  return total / jnp.maximum(jnp.sum(valid_B), 1)


def nt_xent(
  x_BD: jax.Array,
  y_BD: jax.Array,
  temperature: float | jax.Array,
  *,
  valid_B: jax.Array | None = None,
) -> jax.Array:
  """Two views of each example, told from all views of the others.

  The mean over the 2 B views of -log[exp(cos(u, u+) / t) / sum over the other
  2 B - 1 views of exp(cos / t)]. Chen et al. 2020, "A Simple Framework for
  Contrastive Learning of Visual Representations", equation 1.

  Args:
    x_BD: one view of each example; not of length 0.
    y_BD: the other.
    temperature: [], above 0.
    valid_B: bool, examples that count; default all.

  Returns:
    f32[]; 0 without a valid example.
  """
  if valid_B is None:
    valid_B = jnp.ones(len(x_BD), bool)
  valid_B = jnp.concatenate([valid_B, valid_B])
  views_BD = _unit(jnp.concatenate([x_BD, y_BD]), valid_B)
  logits_BB = _products(views_BD, views_BD) / temperature
  others_BB = valid_B[None] & ~jnp.eye(len(valid_B), dtype=bool)
  positive_B = jnp.diagonal(jnp.roll(logits_BB, -len(x_BD), axis=1))
  return _mean(_log_sum(logits_BB, others_BB) - positive_B, valid_B)


def cross_modal(
  x_BD: jax.Array,
  y_BD: jax.Array,
  label_B: jax.Array,
  temperature: float | jax.Array,
  valid_B: jax.Array,
  positives: str = 'class',
  *,
  valid_y_B: jax.Array | None = None,
) -> jax.Array:
  """Contrastive loss of anchors x against candidates y of another modality.

  With s_ij = cos(x_i, y_j) / temperature, over all valid candidates j and the
  anchor's positives P_i among them, the loss of an anchor is

  'instance': -log[exp s_ii / sum_j exp s_ij], its own pair alone is positive:
    the equation as it is printed, which has one positive per anchor.
  'class': -log[sum_{p in P_i} exp s_ip / sum_j exp s_ij], with P_i all of the
    anchor's class: the same one quotient in one logarithm, whose numerator
    holds what the label says is the same. The text defines positives by class
    and the equation does not say which of several z+ is, so this takes none
    in particular. It is 'instance' where no class occurs twice, it can reach
    zero, and it asks for any of the class to be near, not for all.
  'supcon': the mean over p in P_i of -log[exp s_ip / sum_j exp s_ij], what one
    positive drawn at random gives in expectation. It asks for all of the class
    to be equally near and stays above log |P_i|. Khosla et al. 2020, "Supervised
    Contrastive Learning", equation 2 (L_out), with candidates of the other
    modality only.

  Args:
    x_BD: features of the anchors; their length does not matter. One of length
      zero is at a similarity of zero to everything and has no gradient.
    y_BD: features of the candidates; row i belongs to the example of x's row i.
    label_B: i32, classes.
    temperature: above 0.
    valid_B: bool, examples that have x.
    positives: one of `POSITIVES`.
    valid_y_B: bool, examples that have y; default as `valid_B`.

  Returns:
    Mean over the anchors that have a positive, f32[]; 0 without any.

  Raises:
    ValueError: widths that differ, or unknown positives.
  """
  if valid_y_B is None:
    valid_y_B = valid_B
  x_BD, y_BD = _unit(x_BD, valid_B), _unit(y_BD, valid_y_B)
  logits_BB = _cosine(x_BD, y_BD) / temperature
  return _direction(logits_BB, label_B, valid_B, valid_y_B, positives).loss


def directions(
  feats: Mapping[str, jax.Array],
  label_B: jax.Array,
  temperature: float | jax.Array,
  valid: Mapping[str, jax.Array],
  positives: str = 'class',
) -> dict[tuple[str, str], Direction]:
  """`cross_modal` of all ordered pairs of modalities, {(anchor, candidate): .}.

  Args:
    feats: z_BD of two modalities or more.
    label_B: i32, classes.
    temperature: above 0.
    valid: bool[B] per modality, the examples that have it.
    positives: one of `POSITIVES`.
  """
  unit = {m: _unit(z_BD, valid[m]) for m, z_BD in feats.items()}
  told = {}
  for a, b in itertools.permutations(feats, 2):
    logits_BB = _cosine(unit[a], unit[b]) / temperature
    told[a, b] = _direction(logits_BB, label_B, valid[a], valid[b], positives)
  return told


def average(told: Mapping[tuple[str, str], Direction]) -> Direction:
  """Mean over the directions in which any anchor has a positive; else 0."""
  loss_P = jnp.stack([d.loss for d in told.values()])
  counts_P = jnp.stack([d.counts for d in told.values()])
  return Direction(_mean(loss_P, counts_P), jnp.any(counts_P))


def alignment(
  feats: Mapping[str, jax.Array],
  label_B: jax.Array,
  temperature: float | jax.Array,
  valid: Mapping[str, jax.Array],
  positives: str = 'class',
) -> jax.Array:
  """Mean of `cross_modal` over all ordered pairs of modalities, f32[].

  A pair without any positive (nobody has one of the two) is left out of the
  mean. Arguments are those of `directions`.
  """
  return average(directions(feats, label_B, temperature, valid, positives)).loss


def _direction(logits_BB, label_B, valid_x_B, valid_y_B, positives):
  if positives not in POSITIVES:
    raise ValueError(
      f'positives={positives!r} is none of {", ".join(POSITIVES)}.'
    )
  if positives == 'instance':
    mine_BB = jnp.eye(len(label_B), dtype=bool)
  else:
    mine_BB = label_B[:, None] == label_B[None]
  mine_BB = mine_BB & valid_y_B[None]
  others_BB = valid_y_B[None] & ~mine_BB
  if positives == 'supcon':
    total_B1 = _log_sum(logits_BB, mine_BB | others_BB)[:, None]
    loss_BB = jnp.where(mine_BB, total_B1 - logits_BB, 0)
    loss_B = jnp.sum(loss_BB, axis=1) / jnp.maximum(jnp.sum(mine_BB, axis=1), 1)
  else:
    # -log(P / (P + N)) = log(1 + N / P), which loses nothing where P is large.
    odds_B = _log_sum(logits_BB, others_BB) - _log_sum(logits_BB, mine_BB)
    loss_B = jax.nn.softplus(odds_B)
  counts_B = valid_x_B & jnp.any(mine_BB, axis=1)
  return Direction(_mean(loss_B, counts_B), jnp.any(counts_B))


def _cosine(x_BD, y_BD):
  """Cosine similarities [B, B] of rows of length one."""
  if x_BD.shape != y_BD.shape:
    raise ValueError(
      f'features of shapes {x_BD.shape} and {y_BD.shape} have no cosine '
      'similarity; give all encoders one width (config.width, and no '
      'config.encoders.*.width that differs).'
    )
  return _products(x_BD, y_BD)


def _products(x_BD, y_BD):
  # Divided by a small temperature, an error of 1e-3 is no small one.
  return jnp.matmul(x_BD, y_BD.T, precision=jax.lax.Precision.HIGHEST)


def _check_tiles(x_BD, y_BD, block):
  if x_BD.shape != y_BD.shape:
    raise ValueError(
      f'pairs of shapes {x_BD.shape} and {y_BD.shape} cannot be compared: both '
      'sides need as many rows, of one width (config.width).'
    )
  if block < 1:
    raise ValueError(f'block={block} must be 1 or more; None does without.')


def _unit(x_BD, valid_B):
  """Rows of length one; zero, with no gradient, if not valid or of length 0."""
  x_BD = jnp.where(valid_B[:, None], x_BD, 0)
  square_B1 = jnp.sum(jnp.square(x_BD), axis=1, keepdims=True)
  some_B1 = square_B1 > NOTHING
  scale_B1 = jax.lax.rsqrt(jnp.where(some_B1, square_B1, 1))
  return jnp.where(some_B1, x_BD, 0) * scale_B1


def _log_sum(logits_BB, where_BB):
  """log sum exp over the candidates named, [B]; very negative without any."""
  return jax.nn.logsumexp(jnp.where(where_BB, logits_BB, NEVER), axis=1)


def _mean(values, where):
  """Mean of the entries named; 0 without any."""
  total = jnp.sum(jnp.where(where, values, 0))
  return total / jnp.maximum(jnp.sum(where), 1)
