"""Helpers on pytrees of arrays."""

import jax
import jax.numpy as jnp

_WORDS = {1: jnp.uint8, 2: jnp.uint16, 4: jnp.uint32, 8: jnp.uint64}


def select(when: jax.Array, new, old):
  """`new` where `when` (bool[]) holds, `old` otherwise, leaf by leaf."""
  return jax.tree.map(lambda n, o: jnp.where(when, n, o), new, old)


def global_norm(tree) -> jax.Array:
  """Euclidean norm over all leaves, f32[]; zero for an empty tree."""
  leaves = [jnp.sum(jnp.square(x)) for x in jax.tree.leaves(tree)]
  return jnp.sqrt(sum(leaves, start=jnp.float32(0)))


def checksum(x: jax.Array) -> jax.Array:
  """u32[] that changes with any single flipped bit, however x is sharded.

  sum_i word_i * (2 i + 1) mod 2^32: integer addition commutes exactly, so any
  split over devices gives the same value; a flipped bit changes one term by a
  power of two times an odd number, which is never 0 mod 2^32.
  """
  if jnp.issubdtype(x.dtype, jax.dtypes.prng_key):
    x = jax.random.key_data(x)
  if x.dtype == jnp.bool_:
    x = x.astype(jnp.uint8)
  words = jax.lax.bitcast_convert_type(x, _WORDS[x.dtype.itemsize]).ravel()
  if words.dtype == jnp.uint64:
    words = jax.lax.bitcast_convert_type(words, jnp.uint32).ravel()
  place = jnp.arange(words.size, dtype=jnp.uint32)
  return jnp.sum(words.astype(jnp.uint32) * (2 * place + 1), dtype=jnp.uint32)
