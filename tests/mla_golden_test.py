"""MLA against what its authors' code computes (../shared/golden)."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mmjax import kit as kits
from mmjax import optim
from mmjax.base import TrainState
from mmjax.methods import mla_released
from mmjax.models import mlp, net
from mmjax.models.fusion import shared as shared_head
from mmjax.ops import gating, rls

NETS = {'audio': 'spec', 'visual': 'image', 'text': 'token'}
HEAD = 'fusion_module.fc_out'


@pytest.fixture(scope='module')
def golden(shared):
  def load(name):
    path = shared / 'golden' / f'{name}.npz'
    if not path.exists():
      pytest.skip(f'needs {path}')
    with np.load(path, allow_pickle=False) as file:
      return dict(file)

  return load


def projected(g, family, update, dtype, skip_first):
  """(P_DD, head gradient [C, D]) after each call, with features' means."""
  P_DD = jnp.eye(8, dtype=dtype)
  for t, alpha in enumerate(g['alpha'].tolist()):
    if not (skip_first and g['train_exp_counter'][t] == 0):
      z_D = jnp.asarray(g[f'{family}_features'][t], dtype).mean(0)
      P_DD = update(P_DD, z_D, alpha)
      grad_DC = P_DD @ g[f'{family}_grad_weight_in'][t].T.astype(dtype)
    else:
      grad_DC = g[f'{family}_grad_weight_in'][t].T
    yield P_DD, grad_DC.T


@pytest.mark.parametrize('family', ['relu', 'signed'])
def test_projection_of_the_paper(golden, family):
  g = golden('mla_gsplugin_released')
  told = projected(g, family, rls.update, np.float32, skip_first=True)
  for t, (P_DD, grad_CD) in enumerate(told):
    want_DD = g[f'{family}_paper_rls_P_after'][t]
    np.testing.assert_allclose(P_DD, want_DD, atol=1e-5)
    want_CD = g[f'{family}_paper_rls_grad_weight_out'][t]
    np.testing.assert_allclose(grad_CD, want_CD, atol=1e-5)


@pytest.mark.parametrize('family', ['relu', 'signed'])
@pytest.mark.parametrize('bits', ['f32', 'f64'])
def test_projection_of_the_release(golden, family, bits):
  g = golden('mla_gsplugin_released')
  # The denominators come close to zero, so single precision drifts.
  dtype, close = {
    'f32': (np.float32, dict(atol=1e-4)),
    'f64': (np.float64, dict(rtol=1e-9, atol=1e-12)),
  }[bits]
  with jax.enable_x64(bits == 'f64'):
    told = projected(g, family, rls.update_released, dtype, skip_first=True)
    for t, (P_DD, grad_CD) in enumerate(told):
      want_DD = g[f'{family}_{bits}_P_after'][t]
      np.testing.assert_allclose(P_DD, want_DD, **close)
      want_CD = g[f'{family}_{bits}_grad_weight_out'][t]
      np.testing.assert_allclose(grad_CD, want_CD, **close)
      free_C = g[f'{family}_{bits}_grad_bias_out'][t]
      np.testing.assert_array_equal(free_C, g[f'{family}_grad_bias_in'][t])


def test_projection_as_shipped_does_nothing(golden):
  g = golden('mla_gsplugin_released')
  for family in ('relu', 'signed'):
    kept = g[f'{family}_plain_linear_grad_weight_out']
    np.testing.assert_array_equal(kept, g[f'{family}_grad_weight_in'])
    P_DD = g[f'{family}_plain_linear_P_after']
    np.testing.assert_array_equal(P_DD, np.stack([np.eye(8)] * 7))
  # Hence `mla_released` leaves out the projection unless asked; see below.


def logits_of(g, case):
  names = [n for n in g if n.startswith(f'{case}_logits')]
  return jnp.stack([g[n] for n in sorted(names)])


@pytest.mark.parametrize(
  'case', ['two_a', 'two_b', 'two_single', 'three_a', 'three_b']
)
def test_gating_of_the_release(golden, case):
  g = golden('mla_gating_released')
  told_M = gating.entropy_released(logits_of(g, case))
  np.testing.assert_allclose(told_M, g[f'{case}_weights'], rtol=1e-5)


def test_gating_of_the_release_is_finite_where_it_gives_nan(golden):
  g = golden('mla_gating_released')
  assert np.isnan(g['underflow_weights']).all()
  logits_BC = g['underflow_logits']
  told_M = gating.entropy_released(jnp.stack([logits_BC, 0 * logits_BC]))
  # In each column one row has it all (entropy 0); against C log B.
  gap = 2 * np.log(3)
  np.testing.assert_allclose(told_M[0], 1 / (1 + np.exp(-gap)), rtol=1e-5)
  np.testing.assert_allclose(told_M.sum(), 1, rtol=1e-6)


@pytest.mark.parametrize('case', ['two_a', 'two_b', 'three_a', 'three_b'])
def test_gating_of_the_paper(golden, case):
  g = golden('mla_gating_released')
  logits_MBC = logits_of(g, case)
  entropy_MB = jax.vmap(gating.predictive_entropy)(logits_MBC)
  close = dict(rtol=1e-5, atol=1e-6)
  np.testing.assert_allclose(entropy_MB, g[f'{case}_paper_entropy'], **close)
  weights_MB = gating.entropy(logits_MBC)
  np.testing.assert_allclose(weights_MB, g[f'{case}_paper_weights'], **close)
  np.testing.assert_allclose(weights_MB, g[f'{case}_bb_weights'], **close)
  joint_BC = gating.fuse(weights_MB, logits_MBC)
  np.testing.assert_allclose(joint_BC, g[f'{case}_paper_fused'], **close)


# Whole training runs of the authors' code.


class Linear64:
  """The encoder of the trajectories in float64; takes the mlp's parameters."""

  def init(self, rngs, x, valid_B, train):  # noqa: ARG002
    return {'params': {}}

  def apply(self, variables, x, valid_B, train, rngs, mutable):  # noqa: ARG002
    dense = variables['params']['Dense_0']
    return jax.nn.relu(x @ dense['kernel'] + dense['bias'][None]), {}


def dense(g, name, dtype):
  """A torch layer, weight [out, in], as a Flax one, kernel [in, out]."""
  weight, bias = g[f'{name}.weight'], g[f'{name}.bias']
  return dict(
    kernel=jnp.asarray(weight.T, dtype), bias=jnp.asarray(bias, dtype)
  )


def blocks(g, prefix, modalities, dtype):
  params = {
    m: {'Dense_0': dense(g, f'{prefix}_{m}_net', dtype)} for m in modalities
  }
  return {**params, 'head': dense(g, f'{prefix}_{HEAD}', dtype)}


def batch_of(g, modalities, i, dtype):
  B = len(g['label'][i])
  return {
    **{m: jnp.asarray(g[NETS[m]][i], dtype) for m in modalities},
    'label': jnp.asarray(g['label'][i], jnp.int32),
    'index': jnp.arange(B, dtype=jnp.int32),
    'mask': jnp.ones(B, bool),
    'present': {m: jnp.ones(B, bool) for m in modalities},
  }


def train(g, modalities, prefix, *, forced, coasting, dtype):
  """Final state, and mean losses per epoch and modality [E, M]."""
  make = {
    jnp.float32: lambda: mlp.make(width=8, hidden=(), activation_out='relu'),
    jnp.float64: Linear64,
  }[dtype]
  network = net.compose(
    {m: make() for m in modalities},
    shared_head.make(modalities=modalities, num_classes=3),
  )
  sgd = optim.sgd(lr=0.1, momentum=0.9, weight_decay=0.01)
  kit = kits.make(
    network,
    sgd,
    lambda step: jnp.asarray(sgd.lr, dtype),  # noqa: ARG005
    modalities=modalities,
    class_names=('a', 'b', 'c'),
    num_examples=12,
    steps_per_epoch=3,
    head='shared',
  )
  kit = kit._replace(epoch=lambda state: state.step.astype(dtype) / 3)
  method = mla_released.make(kit, projection=forced, coasting=coasting)
  batches = [batch_of(g, modalities, i, dtype) for i in range(3)]
  params = blocks(g, prefix, modalities, dtype)
  state = TrainState(
    step=jnp.int32(0),
    params=params,
    stats={block: {} for block in params},
    opt={block: sgd.direction.init(p) for block, p in params.items()},
    method=method.init(params, {}),
    key=jax.random.key(0),
  )
  step, told = jax.jit(method.phases['lap'].step), []
  for t in range(6):
    state, metrics = step(state, batches[t % 3])
    told.append([metrics[f'loss/{m}'] for m in modalities])
  return state, np.reshape(told, (2, 3, -1)).mean(1)


@pytest.mark.parametrize('count', ['two', 'three'])
@pytest.mark.parametrize('grads', ['zeros', 'none'])
@pytest.mark.parametrize('how', ['release', 'forced'])
def test_training_runs_end_with_the_same_parameters(golden, count, grads, how):
  g = golden('mla_train_trajectory')
  modalities = tuple(NETS)[: {'two': 2, 'three': 3}[count]]
  forced, case = how == 'forced', f'{count}_{how}_{grads}'
  # A projection with denominators near zero lets single precision drift.
  dtype = jnp.float64 if forced else jnp.float32
  with jax.enable_x64(forced):
    state, losses_EM = train(
      g,
      modalities,
      f'{count}_init',
      forced=forced,
      coasting=grads == 'zeros',
      dtype=dtype,
    )
    want = blocks(g, f'{case}_final', modalities, dtype)
    jax.tree.map(
      lambda told, param: np.testing.assert_allclose(told, param, atol=1e-6),
      state.params,
      want,
    )
    want_EM = g[f'{case}_losses'][:, 1:]  # the first is a mixture for the log
    np.testing.assert_allclose(losses_EM, want_EM, atol=1e-5)
    P_DD = g[f'{case}_P_final'] if forced else np.eye(8)
    np.testing.assert_allclose(state.method.P_DD, P_DD, atol=1e-6)
