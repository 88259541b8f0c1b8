"""Pure maths: losses, recursive least squares, gating, trees, batches."""

import functools

import hypothesis
import hypothesis.strategies as st
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mmjax.ops import batches, gating, losses, rls, trees

few = hypothesis.settings(deadline=None, max_examples=15)
seeds = st.integers(0, 2**31 - 1)

update = jax.jit(rls.update)
entropy = jax.jit(gating.entropy)


def normal(seed, *shape):
  draw = np.random.default_rng(seed).normal(size=shape)
  return draw.astype(np.float32)


def transcription(P, z, alpha):
  """The paper's recursion, as printed, in float64."""
  q = P @ z / (alpha + z @ P @ z)
  return P - np.outer(q, z) @ P


# Recursive least squares.


@few
@hypothesis.given(seeds, st.sampled_from([1e-3, 0.1, 10.0]))
def test_rls_is_the_papers_recursion_and_the_ridge_projection(seed, alpha):
  z_ND = normal(seed, 12, 6)
  P_DD, want = jnp.eye(6), np.eye(6)
  for z_D in z_ND:
    P_DD, want = update(P_DD, z_D, alpha), transcription(want, z_D, alpha)
  np.testing.assert_allclose(P_DD, want, atol=1e-4)
  # Sherman-Morrison: the same in one go, P_n = (I + sum z z' / alpha)^-1.
  gram = z_ND.T.astype(float) @ z_ND
  np.testing.assert_allclose(want, np.linalg.inv(np.eye(6) + gram / alpha))


@few
@hypothesis.given(seeds, st.floats(1e-2, 10), st.floats(0.1, 30))
def test_rls_stays_symmetric_and_positive_and_never_grows(seed, alpha, size):
  P_DD, before = jnp.eye(5), np.ones(5)
  for z_D in size * normal(seed, 8, 5):
    P_DD = update(P_DD, z_D, alpha)
    assert (P_DD == P_DD.T).all()  # bit for bit
    values = np.linalg.eigvalsh(np.asarray(P_DD, float))
    assert values.min() > -1e-6
    assert (values <= before + 1e-6).all()  # Weyl: each one, in order
    before = values


def test_rls_stops_what_it_has_seen_and_leaves_the_rest():
  z_D = jnp.array([3.0, 0.0, 0.0, 0.0])
  P_DD = update(jnp.eye(4), z_D, 0.1)
  want = jnp.diag(jnp.array([0.1 / (0.1 + 9), 1, 1, 1]))
  np.testing.assert_allclose(P_DD, want, rtol=1e-5)
  np.testing.assert_array_equal(update(P_DD, jnp.zeros(4), 0.1), P_DD)


def test_rls_has_gradients_and_batches():
  z_BD = normal(0, 3, 4)
  P_BDD = jax.vmap(rls.update, (None, 0, None))(jnp.eye(4), z_BD, 0.1)
  np.testing.assert_allclose(P_BDD[1], rls.update(jnp.eye(4), z_BD[1], 0.1))
  grad = jax.grad(lambda z: jnp.sum(rls.update(jnp.eye(4), z, 0.1)))(z_BD[0])
  assert np.isfinite(grad).all() and np.any(grad)


def test_released_rls_has_unit_norm_and_no_symmetry():
  P_DD = jnp.eye(4)
  for z_D in np.abs(normal(1, 3, 4)):
    k_D = P_DD @ z_D
    want = P_DD - np.outer(k_D, k_D) / (0.1 + np.outer(k_D, z_D))
    P_DD = rls.update_released(P_DD, z_D, 0.1)
    np.testing.assert_allclose(P_DD, want / np.linalg.norm(want), rtol=1e-5)
  np.testing.assert_allclose(jnp.linalg.norm(P_DD), 1, rtol=1e-6)
  assert not np.allclose(P_DD, P_DD.T, atol=1e-3)


# Gating.


def test_entropy_weights_are_the_papers_formula():
  logits_MBC = 3 * normal(0, 3, 5, 4).astype(float)
  p = np.exp(logits_MBC) / np.exp(logits_MBC).sum(2, keepdims=True)
  e = -(p * np.log(p)).sum(2)
  raised = np.exp(e.max(0) - e)
  np.testing.assert_allclose(
    entropy(logits_MBC), raised / raised.sum(0), rtol=1e-4
  )


@few
@hypothesis.given(seeds, st.floats(-1e3, 1e3))
def test_entropy_weights_keep_what_does_not_matter(seed, shift):
  logits_MBC = normal(seed, 3, 4, 5)
  weights_MB = entropy(logits_MBC)
  np.testing.assert_allclose(weights_MB.sum(0), 1, rtol=1e-5)
  moved = logits_MBC + np.float32(shift)
  np.testing.assert_allclose(entropy(moved), weights_MB, atol=1e-3)
  classes = np.random.default_rng(seed).permutation(5)
  shuffled = entropy(logits_MBC[:, :, classes])
  np.testing.assert_allclose(shuffled, weights_MB, rtol=1e-5)
  swapped = entropy(logits_MBC[::-1])
  np.testing.assert_allclose(swapped, weights_MB[::-1], rtol=1e-5)


def test_the_surer_modality_counts_more_for_each_example_on_its_own():
  sure, unsure = [9.0, 0, 0], [0.1, 0, 0]
  logits_MBC = jnp.array([[sure, unsure], [unsure, sure]])
  weights_MB = entropy(logits_MBC)
  # Entropies lie between 0 and log C, so of two weights none is above C/(C+1).
  np.testing.assert_allclose(weights_MB[0, 0], 3 / 4, rtol=1e-2)
  np.testing.assert_allclose(weights_MB[1, 1], weights_MB[0, 0], rtol=1e-6)
  one = entropy(logits_MBC[:, :1])
  np.testing.assert_allclose(one, weights_MB[:, :1], rtol=1e-6)


def test_entropy_is_finite_for_huge_logits():
  logits_BC = jnp.array([[1e30, -1e30, 0], [0, 0, 0]])
  told = gating.predictive_entropy(logits_BC)
  np.testing.assert_allclose(told, [0, np.log(3)], atol=1e-6)


def test_absent_modalities_have_no_weight():
  logits_MBC = normal(3, 3, 3, 4)
  present_MB = np.array([[1, 0, 0], [1, 1, 0], [0, 0, 0]], bool)
  weights_MB = jax.jit(gating.entropy)(logits_MBC, present_MB)
  assert not weights_MB[~present_MB].any()
  np.testing.assert_allclose(weights_MB.sum(0), [1, 1, 0], rtol=1e-6)
  two = entropy(logits_MBC[:2, :1])
  np.testing.assert_allclose(weights_MB[:2, :1], two, rtol=1e-6)


def test_released_entropy_ignores_padding():
  logits_MBC = normal(4, 2, 6, 3)
  valid_B = np.arange(6) < 4
  told = gating.entropy_released(logits_MBC, valid_B)
  want = gating.entropy_released(logits_MBC[:, :4])
  np.testing.assert_allclose(told, want, rtol=1e-5)
  assert not np.allclose(told, gating.entropy_released(logits_MBC))


def test_fixed_weights_are_shared_out_among_the_present():
  weights_M = jnp.array([0.5, 0.3, 0.2])
  present_MB = jnp.array([[1, 0, 0], [1, 1, 0], [1, 1, 0]], bool)
  told = gating.fixed(weights_M, present_MB)
  want = [[0.5, 0, 0], [0.3, 0.6, 0], [0.2, 0.4, 0]]
  np.testing.assert_allclose(told, want, rtol=1e-6)


def test_fuse_is_the_weighted_sum():
  weights_MB, logits_MBC = normal(0, 2, 3), normal(1, 2, 3, 4)
  want = np.einsum('mb,mbc->bc', weights_MB, logits_MBC)
  told = gating.fuse(weights_MB, logits_MBC)
  np.testing.assert_allclose(told, want, rtol=1e-5, atol=1e-6)


# Losses.


def test_cross_entropy_is_the_mean_over_the_valid():
  logits_BC, label_B = normal(0, 5, 3), np.array([0, 2, 1, 1, 0])
  valid_B = np.array([1, 0, 1, 1, 0], bool)
  logits_BC[~valid_B] = np.nan  # what does not count may be anything
  log_p = np.asarray(jax.nn.log_softmax(logits_BC))
  want = -log_p[np.arange(5), label_B][valid_B].mean()
  told = losses.cross_entropy(logits_BC, label_B, valid_B)
  np.testing.assert_allclose(told, want, rtol=1e-6)


def test_a_loss_over_nobody_is_zero_and_so_is_its_gradient():
  logits_BC, nobody_B = normal(1, 4, 3), np.zeros(4, bool)
  loss = functools.partial(
    losses.cross_entropy, label_B=np.zeros(4, int), valid_B=nobody_B
  )
  told, grad = jax.value_and_grad(loss)(logits_BC)
  assert told == 0 and not grad.any()
  some = functools.partial(loss, valid_B=np.arange(4) < 2)
  grad = jax.grad(some)(logits_BC)
  assert grad[:2].all() and not grad[2:].any()


# Batches.


def test_valid_and_seen():
  batch = {
    'mask': jnp.array([1, 1, 0], bool),
    'present': {
      'audio': jnp.array([1, 0, 1], bool),
      'text': jnp.array([0, 0, 1], bool),  # only where there is padding
    },
  }
  assert batches.valid(batch, 'audio').tolist() == [True, False, False]
  seen = batches.seen(batch, ('audio', 'text'))
  assert bool(seen['audio']) and not bool(seen['text'])


# Trees.


def test_select_and_global_norm():
  new, old = {'a': jnp.array([3.0, 0]), 'b': jnp.float32(4)}, None
  old = jax.tree.map(jnp.zeros_like, new)
  assert trees.global_norm(new) == 5
  assert trees.global_norm(trees.select(jnp.bool_(False), new, old)) == 0
  assert trees.global_norm(trees.select(jnp.bool_(True), new, old)) == 5
  assert trees.global_norm({}) == 0
  poisoned = jax.tree.map(lambda x: x * jnp.nan, new)
  assert trees.global_norm(trees.select(jnp.bool_(False), poisoned, new)) == 5


@pytest.mark.parametrize(
  'dtype', ['float32', 'bfloat16', 'int32', 'uint8', 'bool']
)
def test_checksum_sees_every_flipped_bit(dtype):
  values = jnp.asarray(normal(0, 5) > 0 if dtype == 'bool' else normal(0, 5))
  x = np.asarray(values.astype(dtype))
  checksum = jax.jit(trees.checksum)
  kept = int(checksum(x))
  raw = x.view(np.uint8)
  bits = 1 if dtype == 'bool' else 8
  for i in range(raw.size):
    for bit in range(bits):
      flipped = raw.copy()
      flipped[i] ^= 1 << bit
      assert int(checksum(flipped.view(x.dtype))) != kept


def test_checksum_is_the_same_however_the_array_lies():
  x = normal(0, 16, 3)
  mesh = jax.sharding.Mesh(np.asarray(jax.devices()[:8]), 'data')
  split = jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec('data'))
  checksum = jax.jit(trees.checksum)
  assert int(checksum(jax.device_put(x, split))) == int(checksum(x))
  key = jax.random.key(1)
  assert int(checksum(key)) == int(checksum(jax.random.key_data(key)))
