"""Every recipe's `:sample`, and every data set, from raw files to results.

A few steps: what is tested is the path, not what is learnt.
"""

import importlib
import inspect
import pathlib

import jax
import numpy as np
import pytest

from configs import files
from mmjax import experiment, extract, train

KEY = jax.random.key(0)
CONFIGS = pathlib.Path(files.__file__).parent
RECIPES = sorted(
  path.stem
  for path in CONFIGS.glob('*.py')
  if ':sample' in path.read_text('utf8') and path.stem != 'files'
)


def test_unknown_words_are_told():
  with pytest.raises(ValueError, match=r"files\.py has no argument 'ravdes'"):
    files.get_config('ravdes,sample')


def test_recipes_that_must_have_a_sample():
  wanted = {f'mla_{d}' for d in ('cremad', 'ks', 'food101', 'mvsa', 'iemocap')}
  wanted |= {
    f'fusemix_{d}' for d in ('flickr30k', 'coco', 'audiocaps', 'clotho')
  }
  wanted |= {'curriculum_mmact', 'latent_quality_iemocap', 'rsa_cfn_kemdy20'}
  assert wanted <= set(RECIPES)


@pytest.mark.parametrize('recipe', RECIPES)
def test_the_sample_of_a_recipe_makes_steps(recipe, tmp_path, monkeypatch):
  monkeypatch.chdir(tmp_path)
  module = importlib.import_module(f'configs.{recipe}')
  assert f'{recipe}.py:' in inspect.getdoc(module)
  config = module.get_config('sample')
  config.mesh = dict(data=1, seed=1)
  extract.ensure(config.extract)
  exp = experiment.build(config)
  assert all(exp.sources[split].size for split in ('train', 'test'))
  state = exp.init(KEY)
  for nth, segment in enumerate(exp.plan):
    state, told = exp.steps[segment.phase](state, exp.batch(nth))
    assert np.isfinite(told['loss'])


@pytest.mark.parametrize('name', files.SETS)
def test_a_data_set_is_prepared_learnt_and_tested(name, tmp_path, monkeypatch):
  monkeypatch.chdir(tmp_path)
  config = files.get_config(f'{name},sample')
  for m in config.encoders:
    small = dict(name='mlp', hidden=())
    if m == 'text':
      small = dict(name='text', vocab=257, layers=0)
    config.encoders[m] = small
  config.width, config.phases = 8, (('joint', 2, 'steps'),)
  config.evals = dict(classification={})
  config.run.eval_epochs = 0.0
  config.mesh = dict(data=1, seed=1)
  results = train.run(experiment.build(config), tmp_path / 'run')
  assert 0 <= results['test']['joint']['accuracy']['mean'] <= 1
