"""Contrastive losses between modalities."""

import itertools
from collections.abc import Mapping
from typing import NamedTuple

import jax
import jax.numpy as jnp

POSITIVES = ('class', 'instance', 'supcon')

NOTHING = 1e-12  # squared length below which a feature has no direction
NEVER = -1e30  # a logit without weight; unlike -inf it has a gradient


class Direction(NamedTuple):
  """From the anchors of one modality to the candidates of another."""

  loss: jax.Array  # f32[]
  counts: jax.Array  # bool[], whether any anchor has a positive


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
  return x_BD @ y_BD.T


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
