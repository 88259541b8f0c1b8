"""InfoNCE by tiles is InfoNCE: its value, its gradient, on any devices."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mmjax import sharding
from mmjax.ops import contrastive

B, D = 24, 5


@functools.cache
def value_and_grad(block, devices=0):
  mesh = sharding.make_mesh(data=devices) if devices else None

  def loss(x_BD, y_BD, temperature, valid_B):
    return contrastive.info_nce(
      x_BD, y_BD, temperature, block, valid_B=valid_B, mesh=mesh
    )

  return jax.jit(jax.value_and_grad(loss, argnums=(0, 1, 2)))


def drawn(seed, spread=1.0, valid=0.9):
  rng = np.random.default_rng(seed)
  x_BD, y_BD = spread * rng.normal(size=(2, B, D))
  valid_B = rng.random(B) < valid
  return x_BD, y_BD, rng.uniform(0.01, 0.5), valid_B


def transcribed(x_BD, y_BD, temperature, valid_B):
  """Value and gradients in float64 NumPy, from the definition."""
  rows = np.flatnonzero(valid_B)
  x, y = x_BD[rows], y_BD[rows]
  u, v = (a / np.linalg.norm(a, axis=1, keepdims=True) for a in (x, y))
  n, logits = len(rows), u @ v.T / temperature
  p = np.exp(logits - np.logaddexp.reduce(logits, 1, keepdims=True))
  q = np.exp(logits - np.logaddexp.reduce(logits, 0, keepdims=True))
  value = -np.mean(np.log(np.diag(p)) + np.log(np.diag(q))) / 2
  dl = ((p + q) / 2 - np.eye(n)) / n
  grads = []
  for a, unit, du in ((x, u, dl @ v), (y, v, dl.T @ u)):
    du = du / temperature
    da = du - unit * np.sum(unit * du, 1, keepdims=True)
    full = np.zeros((B, D))
    full[rows] = da / np.linalg.norm(a, axis=1, keepdims=True)
    grads.append(full)
  return value, (*grads, -np.sum(dl * logits) / temperature)


def relative(a, b):
  a, b = np.asarray(a, np.float64), np.asarray(b, np.float64)
  return np.linalg.norm(a - b) / max(np.linalg.norm(b), 1e-30)


@given(st.integers(0, 10**6))
@settings(max_examples=25)
def test_in_double_precision_both_forms_are_the_definition(seed):
  given_ = drawn(seed)
  want, grads = transcribed(*given_)
  with jax.enable_x64(True):
    for block in (None, 1, 7, 24, 100):
      value, told = value_and_grad(block)(*map(jnp.asarray, given_))
      assert value.dtype == jnp.float64
      assert relative(value, want) < 1e-12
      for a, b in zip(told, grads):
        assert relative(a, b) < 1e-10


@given(st.integers(0, 10**6))
@settings(max_examples=25)
def test_in_single_precision_the_error_is_that_of_rounding(seed):
  x_BD, y_BD, temperature, valid_B = drawn(seed)
  rounded = [np.float32(a) for a in (x_BD, y_BD, max(temperature, 0.05))]
  want, grads = transcribed(*(a.astype(np.float64) for a in rounded), valid_B)
  value, told = value_and_grad(7)(*rounded, valid_B)
  assert abs(value - want) < 1e-6 * max(1, abs(want))
  for a, b in zip(told[:2], grads):
    assert np.abs(a - b).max() < 1e-6 * max(1, np.abs(b).max())
  assert relative(told[2], grads[2]) < 1e-5


@pytest.mark.parametrize('shape', [(1, 3), (17, 4), (130, 33)])
def test_any_shape_and_any_block(shape):
  rng = np.random.default_rng(0)
  x_BD, y_BD = rng.normal(size=(2, *shape)).astype(np.float32)
  loss = jax.jit(
    jax.value_and_grad(contrastive.info_nce, argnums=(0, 1, 2)),
    static_argnums=3,
  )
  want, grads = loss(x_BD, y_BD, jnp.float32(0.1))
  for block in (1, 5, 1000):
    value, told = loss(x_BD, y_BD, jnp.float32(0.1), block)
    np.testing.assert_allclose(value, want, rtol=1e-6, atol=1e-6)
    for a, b in zip(told, grads):
      np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5)


def test_the_order_of_the_blocks_does_not_matter():
  x_BD, y_BD, temperature, valid_B = drawn(0)
  order = np.random.default_rng(1).permutation(B)
  with jax.enable_x64(True):
    run = value_and_grad(7)
    one, grads = run(x_BD, y_BD, temperature, valid_B)
    two, moved = run(x_BD[order], y_BD[order], temperature, valid_B[order])
  assert relative(two, one) < 1e-14
  assert relative(moved[0], np.asarray(grads[0])[order]) < 1e-13


@pytest.mark.parametrize('block', [1, 2, 3, 24])
def test_eight_devices_are_as_one(block):
  args = [np.float32(a) for a in drawn(3)[:3]]
  valid_B = drawn(3)[3]
  want, grads = value_and_grad(block)(*args, valid_B)
  value, told = value_and_grad(block, 8)(*args, valid_B)
  np.testing.assert_allclose(value, want, rtol=1e-6)
  for a, b in zip(told, grads):
    np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-6)


def test_a_batch_that_devices_do_not_divide():
  mesh = sharding.make_mesh(data=8)
  x_BD, y_BD = np.float32(drawn(4)[0][:13]), np.float32(drawn(4)[1][:13])
  want = contrastive.info_nce(x_BD, y_BD, 0.1)
  told = contrastive.info_nce(x_BD, y_BD, 0.1, 2, mesh=mesh)
  np.testing.assert_allclose(told, want, rtol=1e-6)


def test_devices_exchange_embeddings_only():
  """No array of a collective is larger than a device's rows."""
  mesh, size = sharding.make_mesh(data=8), 64
  run = jax.jit(
    jax.value_and_grad(
      lambda x, y: contrastive.info_nce(x, y, 0.1, 4, mesh=mesh), (0, 1)
    ),
    in_shardings=sharding.batch(mesh),
  )
  zeros = jnp.zeros((size, D))
  text = run.lower(zeros, zeros).compile().as_text()
  lines = [line for line in text.splitlines() if 'channel_id' in line]
  assert any('collective-permute' in line for line in lines)
  assert not any('all-gather' in line for line in lines)
  assert f'[{size},{size}]' not in text


def test_groups_of_seeds_each_have_their_ring():
  mesh = sharding.make_mesh(data=4, seed=2)
  x_BD, y_BD = (np.float32(a) for a in drawn(5)[:2])
  x_SBD = jnp.stack([x_BD, 2 * x_BD[::-1]])
  run = jax.vmap(lambda x: contrastive.info_nce(x, y_BD, 0.1, 3, mesh=mesh))
  told = jax.jit(run)(x_SBD)
  want = [contrastive.info_nce(x, y_BD, 0.1) for x in x_SBD]
  np.testing.assert_allclose(told, np.stack(want), rtol=1e-6)


def test_memory_grows_with_the_block_and_not_with_the_square():
  def bytes_of(size, block):
    x_BD = jax.ShapeDtypeStruct((size, 16), jnp.float32)
    loss = lambda x, y: contrastive.info_nce(x, y, 0.1, block)  # noqa: E731
    run = jax.jit(jax.value_and_grad(loss, (0, 1)))
    return run.lower(x_BD, x_BD).compile().memory_analysis().temp_size_in_bytes

  assert bytes_of(8192, 64) < 3 * bytes_of(4096, 64)
  assert bytes_of(4096, 64) < bytes_of(4096, None) / 8


def test_nobody_and_nothing():
  zeros = jnp.zeros((4, 3))
  for block in (None, 2):
    grad = jax.value_and_grad(
      lambda x, block=block: contrastive.info_nce(
        x, x, 0.1, block, valid_B=jnp.zeros(4, bool)
      )
    )
    value, told = grad(zeros + 1)
    assert value == 0 and not np.any(told)
    value, told = jax.value_and_grad(
      lambda x, block=block: contrastive.info_nce(x, zeros + 1, 0.1, block)
    )(zeros)
    np.testing.assert_allclose(value, np.log(4), rtol=1e-6)
    assert np.isfinite(told).all()


def test_bad_input():
  x_BD = jnp.ones((4, 3))
  with pytest.raises(
    ValueError, match=r'shapes \(4, 3\) and \(4, 2\) cannot be'
  ):
    contrastive.info_nce(x_BD, x_BD[:, :2], 0.1, 2)
  with pytest.raises(ValueError, match='block=0 must be 1 or more'):
    contrastive.info_nce(x_BD, x_BD, 0.1, 0)
  with pytest.raises(ValueError, match='have no cosine similarity'):
    contrastive.info_nce(x_BD, x_BD[:, :2], 0.1)


# The sigmoid loss, and two views of one modality.


def test_the_sigmoid_loss_is_its_definition():
  x_BD, y_BD, _, valid_B = drawn(6)
  rows = np.flatnonzero(valid_B)
  u, v = (a / np.linalg.norm(a, axis=1, keepdims=True) for a in (x_BD, y_BD))
  logits = u[rows] @ v[rows].T / 0.2 - 3.0
  z = 2 * np.eye(len(rows)) - 1
  want = np.sum(np.log1p(np.exp(-z * logits))) / len(rows)
  with jax.enable_x64(True):
    run = jax.jit(
      jax.value_and_grad(contrastive.sigmoid, argnums=(0, 1, 2, 3)),
      static_argnums=4,
    )
    whole = run(x_BD, y_BD, 0.2, -3.0, valid_B=valid_B)
    assert relative(whole[0], want) < 1e-12
    for block in (1, 7, 50):
      value, grads = run(x_BD, y_BD, 0.2, -3.0, block, valid_B=valid_B)
      assert relative(value, want) < 1e-12
      for a, b in zip(grads, whole[1]):
        assert relative(a, b) < 1e-10
    step = 1e-6
    up, down = (
      contrastive.sigmoid(x_BD, y_BD, 0.2, -3.0 + s, valid_B=valid_B)
      for s in (step, -step)
    )
    assert relative(whole[1][3], (up - down) / (2 * step)) < 1e-6


def test_nt_xent_is_its_definition():
  x_BD, y_BD, _, valid_B = drawn(7)
  rows = np.flatnonzero(valid_B)
  n = len(rows)
  u = np.concatenate([x_BD[rows], y_BD[rows]])
  u = u / np.linalg.norm(u, axis=1, keepdims=True)
  e = np.exp(u @ u.T / 0.3)
  np.fill_diagonal(e, 0)
  own = np.r_[np.arange(n, 2 * n), np.arange(n)]
  want = -np.mean(np.log(e[np.arange(2 * n), own] / e.sum(1)))
  with jax.enable_x64(True):
    told = contrastive.nt_xent(x_BD, y_BD, 0.3, valid_B=valid_B)
    assert relative(told, want) < 1e-12
    again = contrastive.nt_xent(3 * y_BD, x_BD, 0.3, valid_B=valid_B)
    assert relative(again, want) < 1e-12
  nobody = contrastive.nt_xent(x_BD, y_BD, 0.3, valid_B=np.zeros(B, bool))
  assert nobody == 0
