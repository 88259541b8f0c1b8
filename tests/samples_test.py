"""Every recipe's `:sample`, and every data set, from raw files to results.

Shortened to a few steps: what is tested is the path, not what is learnt.
"""

import importlib
import inspect
import pathlib

import pytest

from configs import files
from mmjax import experiment, extract, train

CONFIGS = pathlib.Path(files.__file__).parent
RECIPES = sorted(
  path.stem
  for path in CONFIGS.glob('*.py')
  if ':sample' in path.read_text('utf8') and path.stem != 'files'
)


def short(config):
  config.phases = tuple((name, 2, 'steps') for name, *_ in config.phases)
  config.run.eval_epochs = config.run.checkpoint_epochs = 100.0
  config.num_seeds = 1
  config.mesh = dict(data=1, seed=1)
  return config


def ran(config, folder) -> dict:
  extract.ensure(config.extract)
  exp = experiment.build(short(config))
  assert exp.sources['test'].size
  return train.run(exp, folder / 'run')


def test_recipes_that_must_have_a_sample():
  wanted = {f'mla_{d}' for d in ('cremad', 'ks', 'food101', 'mvsa', 'iemocap')}
  wanted |= {
    f'fusemix_{d}' for d in ('flickr30k', 'coco', 'audiocaps', 'clotho')
  }
  wanted |= {'curriculum_mmact', 'latent_quality_iemocap', 'rsa_cfn_kemdy20'}
  assert wanted <= set(RECIPES)


@pytest.mark.parametrize('recipe', RECIPES)
def test_the_sample_of_a_recipe_runs(recipe, tmp_path, monkeypatch):
  monkeypatch.chdir(tmp_path)
  module = importlib.import_module(f'configs.{recipe}')
  assert f'{recipe}.py:' in inspect.getdoc(module)
  results = ran(module.get_config('sample'), tmp_path)
  assert results['test']


@pytest.mark.parametrize('name', files.SETS)
def test_a_data_set_is_prepared_and_learnt_from(name, tmp_path, monkeypatch):
  monkeypatch.chdir(tmp_path)
  results = ran(files.get_config(f'{name},sample'), tmp_path)
  assert 0 <= results['test']['joint']['accuracy']['mean'] <= 1


def test_unknown_words_are_told():
  with pytest.raises(ValueError, match=r"files\.py has no argument 'ravdes'"):
    files.get_config('ravdes,sample')
