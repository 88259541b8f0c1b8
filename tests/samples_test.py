"""Every recipe's `:sample`, and every data set, from raw files to a step."""

import importlib
import inspect
import pathlib

import jax
import numpy as np
import pytest

from configs import files
from mmjax import experiment, extract

KEY = jax.random.key(0)
CONFIGS = pathlib.Path(files.__file__).parent
RECIPES = sorted(
  path.stem
  for path in CONFIGS.glob('*.py')
  if ':sample' in path.read_text('utf8')
  and path.stem not in ('files', 'mla_cremad')  # of which data_cremad_test is
)


def test_unknown_words_are_told():
  with pytest.raises(ValueError, match=r"files\.py has no argument 'ravdes'"):
    files.get_config('ravdes,sample')


def test_recipes_that_must_have_a_sample():
  wanted = {f'mla_{d}' for d in ('ks', 'food101', 'mvsa', 'iemocap')}
  wanted |= {
    f'fusemix_{d}' for d in ('flickr30k', 'coco', 'audiocaps', 'clotho')
  }
  wanted |= {'curriculum_mmact', 'latent_quality_iemocap', 'rsa_cfn_kemdy20'}
  assert wanted <= set(RECIPES)


@pytest.mark.parametrize('recipe', RECIPES)
def test_the_sample_of_a_recipe_is_ready_to_run(recipe, tmp_path, monkeypatch):
  monkeypatch.chdir(tmp_path)
  module = importlib.import_module(f'configs.{recipe}')
  assert f'{recipe}.py:' in inspect.getdoc(module)
  config = module.get_config('sample')
  config.mesh = dict(data=1, seed=1)
  extract.ensure(config.extract)
  exp = experiment.build(config)
  assert all(exp.sources[split].size for split in ('train', 'test'))
  state, batch = jax.eval_shape(exp.init, KEY), exp.batch()
  for segment in exp.plan:
    after, told = jax.eval_shape(exp.steps[segment.phase], state, batch)
    assert jax.tree.structure(after) == jax.tree.structure(state)
    assert 'loss' in told


@pytest.mark.parametrize('name', sorted({*files.SETS} - {'cremad'}))
def test_a_data_set_is_prepared_and_learnt_from(name, tmp_path, monkeypatch):
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
  exp = experiment.build(config)
  state, told = exp.steps['joint'](exp.init(KEY), exp.batch())
  assert np.isfinite(told['loss']) and int(state.step) == 1
  batch = exp.batch(0, 'test')
  out = exp.predict(state, batch)
  assert np.isfinite(out.joint[np.asarray(batch['mask'])]).all()
