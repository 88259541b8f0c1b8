"""The recipes of the RSA-CFN family: all eight heads build on their data."""

import jax
import kemdy20_test
import pytest
import tiny

from configs import rsa_cfn_cmu_mosi, rsa_cfn_kemdy20
from configs.sweeps import rsa_cfn
from mmjax import experiment

HEADS = (
  *('early', 'late', 'mlp_mixer', 'stack'),
  *('residual', 'rsa', 'rsa_cfn', 'hybrid'),
)
RECIPES = {'kemdy20': rsa_cfn_kemdy20, 'cmu_mosi': rsa_cfn_cmu_mosi}


@pytest.fixture(scope='module')
def paths(tmp_path_factory):
  folder = tmp_path_factory.mktemp('data')
  return {
    'kemdy20': kemdy20_test.write(folder, kemdy20_test.small()),
    'cmu_mosi': tiny.write(folder),
  }


@pytest.mark.parametrize('head', HEADS)
@pytest.mark.parametrize('name', RECIPES)
def test_every_head_builds(name, head, paths):
  config = RECIPES[name].get_config(head)
  config.data.path = paths[name]
  exp = experiment.build(config)
  state = jax.eval_shape(exp.init, jax.random.key(0))
  out = jax.eval_shape(exp.predict, state, exp.batch())
  assert out.joint.shape[1] == {'kemdy20': 7, 'cmu_mosi': 3}[name]
  assert ('attention' in exp.evals) == ('attention' in out.extras)
  assert exp.run.watch.endswith('weighted_f1')


def test_the_sweep_has_all_heads_and_one_budget():
  runs = rsa_cfn.get_runs('data')
  assert list(runs) == [f'cmu_mosi/{head}' for head in HEADS]
  assert list(rsa_cfn_kemdy20.HEADS) == [*HEADS]
  for config in runs.values():
    assert config.data.path == 'data/cmu_mosi/data.npz'
    for section in ('optim', 'phases', 'schedule', 'batch_size', 'num_seeds'):
      assert config[section] == runs['cmu_mosi/early'][section]


@pytest.mark.parametrize('recipe', RECIPES.values())
def test_a_head_that_is_none_of_the_eight_is_told(recipe):
  with pytest.raises(ValueError, match="'rsaa'.*early, late"):
    recipe.get_config('rsaa')
