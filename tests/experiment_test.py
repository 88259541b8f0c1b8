"""From a config to bound functions, and what a wrong config is told."""

import functools
import importlib
import inspect
import pathlib

import jax
import jax.numpy as jnp
import kemdy20_test
import numpy as np
import pytest
import tiny

from mmjax import _compose, experiment
from mmjax.base import Source
from mmjax.data import _memory, arrays, order
from mmjax.data import cremad as cremads

PAIR = ('audio', 'text')
CONFIGS = pathlib.Path(__file__).parent.parent / 'configs'
RECIPES = sorted(p.stem for p in CONFIGS.glob('*.py') if p.stem != 'common')


@pytest.fixture(scope='module')
def path(tmp_path_factory):
  return tiny.write(tmp_path_factory.mktemp('data'), PAIR)


@pytest.fixture(scope='module')
def exp(path):
  return experiment.build(tiny.config(path, PAIR))


def changed(path, where, value):
  """The tiny config with one value set, at a path such as 'optim.lr'."""
  config = _compose.plain(tiny.config(path, PAIR))
  *parents, key = where.split('.')
  section = config
  for parent in parents:
    section = section[parent]
  section[key] = value
  return config


# What an experiment holds.


def test_four_lines_of_python(exp):
  state = exp.init(jax.random.key(0))
  batch = exp.batch()
  after, metrics = exp.steps['lap'](state, batch)
  out = exp.predict(after, batch)
  assert np.isfinite(metrics['loss']) and out.joint.shape == (16, 3)
  again, _ = exp.steps['lap'](state, batch)  # `state` was not given away
  assert tiny.same(again, after)


def test_an_experiment_knows_its_facts(exp):
  assert set(exp.sources) == {'train', 'validation', 'test'}
  size = exp.sources['train'].size
  assert exp.kit.num_examples == size == 96
  assert exp.kit.steps_per_epoch == 6 and exp.kit.num_classes == 3
  assert exp.kit.modalities == PAIR and exp.kit.head == 'shared'
  assert exp.plan == (('lap', 0, 12),)
  assert exp.lr(jnp.int32(3)) == np.float32(0.1)
  assert set(exp.lifted) == set(exp.steps) == {'lap', 'turn'}
  assert set(exp.evals) == set(exp.observers) == {'classification'}


def test_batches_are_functions_of_the_step(exp):
  for step in (0, 7, 3):
    rows = order.rows(96, 16, 0, step)
    np.testing.assert_array_equal(exp.train_rows(step), rows)
    np.testing.assert_array_equal(exp.batch(step)['index'], rows)
  last = exp.batch(1, 'test')
  assert int(last['mask'].sum()) == exp.sources['test'].size - 16
  assert int(last['index'][0]) == 16


def test_a_config_is_read_as_it_was_written(path):
  config = tiny.config(path, PAIR)
  before = config.to_json_best_effort()
  a = experiment.build(config)
  assert config.to_json_best_effort() == before
  b = experiment.build(_compose.plain(config))
  assert a.config == b.config
  assert a.config['phases'] == (('lap', 2),)
  key = jax.random.key(0)
  assert jax.eval_shape(a.init, key) == jax.eval_shape(b.init, key)


def test_encoders_without_a_section_fit_themselves(path):
  exp = experiment.build(tiny.config(path, PAIR, encoders={}, width=24))
  state = jax.eval_shape(exp.init, jax.random.key(0))
  assert state.params['head']['kernel'].shape == (24, 3)
  assert state.params['audio']['Dense_0']['kernel'].shape[0] == 6
  assert any('Block' in name for name in state.params['text'])  # of a tcn


def test_the_vocabulary_spans_all_splits(tmp_path):
  """An id that only the test split has would embed to NaN."""
  _, label = tiny.raw(('audio',))
  words = np.ones((len(label), 4), np.int32)
  words[-1] = 700
  split = np.arange(len(label)) * 3 // len(label)
  file = tmp_path / 'words.npz'
  np.savez(file, words=words, label=label, split=split)
  config = tiny.config(str(file), ('audio',), head=dict(name='shared'))
  config.data = dict(
    name='arrays', path=str(file), modalities=('words',), tokens=('words',)
  )
  config.encoders = {}
  exp = experiment.build(config)
  state = exp.init(jax.random.key(0))
  rows = exp.sources['test'].size
  assert (exp.sources['test'].take(np.arange(rows))['words'] == 700).any()
  out = exp.predict(state, exp.batch(0, 'test'))
  assert np.isfinite(out.joint).all()


def test_entries_go_missing_at_the_rate_of_the_split(path):
  missing = dict(train=0.25, validation=0.0, test=0.5, seed=3)
  config = tiny.config(path, PAIR, missing=missing)
  sources = experiment.build(config).sources
  for split, source in sources.items():
    present = source.take(np.arange(source.size))['present']
    rate = 1 - np.mean([present[m] for m in PAIR])
    np.testing.assert_allclose(rate, missing[split], atol=0.01)


def test_what_is_augmented_in_training_only(path):
  shift = dict(name='standardize', mean=0.0, std=1e3)
  config = tiny.config(path, PAIR, augment={'audio': shift})
  augmented, plain = map(experiment.build, (config, tiny.config(path, PAIR)))
  state, batch = plain.init(jax.random.key(0)), plain.batch()
  small = {**batch, 'audio': batch['audio'] / 1e3}
  out, _ = augmented.steps['lap'](state, batch)
  want, _ = plain.steps['lap'](state, small)
  tiny.close(out, want)
  tiny.close(augmented.predict(state, batch), plain.predict(state, small))


def test_tables_and_files_have_what_the_config_says():
  assert set(_compose.available('evals')) >= {'classification', 'gap'}
  assert set(_compose.available('models')) >= {'mlp', 'tcn', 'resnet', 'text'}
  assert set(_compose.available('models.fusion')) >= {'concat', 'sum', 'late'}
  assert set(_compose.available('data')) >= {'arrays', 'digits', 'cremad'}


# What a wrong config is told.

WRONG = {
  # Keys.
  'metod': ('mla', r"config.metod does not exist. Did you mean 'method'\?"),
  'xyzzy': (1, 'config.xyzzy does not exist. config takes: data, pairs'),
  'config': ({}, 'config.config does not exist'),
  'method.alhpa': (0.1, r"config.method.alhpa does.* Did you mean 'alpha'\?"),
  'data.pth': ('', r"config.data.pth does not exist. Did you mean 'path'\?"),
  'data.split': ('test', 'config.data.split does not exist'),
  'missing.tran': (0.1, r"config.missing.tran.* Did you mean 'train'\?"),
  'encoders.audio.hiden': ((), r"encoders.audio.hiden.* mean 'hidden'\?"),
  'optim.momentun': (0.1, r"config.optim.momentun.* mean 'momentum'\?"),
  'schedule.warmup': (1, r"config.schedule.warmup .*mean 'warmup_epochs'\?"),
  'head.width': (3, 'config.head.width does not exist'),
  'head.num_classes': (3, 'num_classes does not exist. config.head takes: no'),
  'evals.classification.bin': (9, r"classification.bin does.* mean 'bins'\?"),
  'mesh.dat': (1, r"config.mesh.dat does not exist. Did you mean 'data'\?"),
  'reader.thread': (1, r"config.reader.thread does.* mean 'threads'\?"),
  'run.evals': ({}, 'config.run.evals does not exist'),
  'reader.mesh': (1, 'config.reader.mesh does not exist'),
  'run.kep': (1, r"config.run.kep does not exist. Did you mean 'keep'\?"),
  # Names.
  'data.name': ('aray', r"name='aray' is no file of mmjax/data. Did you mean"),
  'method.name': ('mal', r"'mal' is no file.* Did you mean 'mla'\? There are"),
  'head.name': ('concatt', r'no file of mmjax/models/fusion. Did you mean'),
  'encoders.audio.name': ('mlpp', r"encoders.audio.name='mlpp' is no file"),
  'encoders.audio': (dict(width=8), r"audio has no name: write.*name='...'"),
  'optim.name': ('sdg', r"name='sdg' does not exist. Did you mean 'sgd'\?"),
  'schedule.name': ('cosin', r"Did you mean 'cosine'\? Known: constant, stai"),
  'evals': (dict(clasification={}), 'config.run.watch='),
  'evals.confusion': ({}, "evals.confusion.name='confusion' is no file"),
  # What does not fit together.
  'encoders.smell': (dict(name='mlp'), 'names smell, but the data have the'),
  'augment.smell': (dict(name='image'), 'config.augment names smell, but the'),
  'augment.audio': (dict(name='blur'), "augment.audio: name='blur' is not"),
  'encoders.audio.width': (5, "do not fit: head 'shared' needs features of o"),
  'phases': ((('lab', 1),), r"names 'lab'.* lap, turn. Did you mean 'lap'\?"),
  'head': (dict(name='sum'), r"needs a shared head; .*'sum' \(use 'shared'\)"),
  'method.weights': ((1.0,), r'weights=\(1.0,\) must hold one weight >= 0 fo'),
  'method.order': (('text',), 'must name each of the modalities'),
  # Numbers.
  'batch_size': (0, 'config.batch_size=0 does not divide'),
  'eval_batch_size': (0, 'config.eval_batch_size=0 does not divide'),
  'seed': (-1, 'config.seed and config.order_seed must not be negative'),
  'num_seeds': (0, 'config.num_seeds=0 must be at least 1'),
  'seeds_how': ('pmap', "config.seeds_how='pmap' is none of auto, loop, vmap"),
  'mesh.data': (5, 'data=5 devices, but there are 8'),
  'optim.lr': (0, 'config.optim.lr=0 must be above 0'),
  'optim.weight_decay': (-1, 'weight_decay=-1 must not be negative'),
  'schedule.warmup_epochs': (-1, 'warmup_epochs must not be negative'),
  'missing.train': (0.6, r'0.6 must be from 0 to 1 - 1/M = 0.5: each example'),
  'run.select': ('last', "config.run.select='last': 'latest' or 'best' it is"),
  'run.watch': ('joint/accuracy', 'must read <eval>/<modality or joint>/<meas'),
  'run.keep': (0, 'log_steps and keep must be at least 1'),
  'run.checkpoint_epochs': (0, 'checkpoint_epochs above 0'),
}


@pytest.mark.parametrize('where', WRONG)
def test_a_wrong_config_is_told_where_and_what_instead(path, where):
  value, says = WRONG[where]
  with pytest.raises(ValueError, match=says) as raised:
    experiment.build(changed(path, where, value))
  assert '\n\n' not in str(raised.value)  # one paragraph


@pytest.mark.parametrize('key', ['data', 'method', 'run', 'width'])
def test_a_section_left_out_is_named(path, key):
  config = _compose.plain(tiny.config(path, PAIR))
  del config[key]
  with pytest.raises(ValueError, match=f'config lacks {key}'):
    experiment.build(config)
  del config['head']
  with pytest.raises(ValueError, match='config lacks .*, head|lacks head, '):
    experiment.build(config)


def test_a_batch_has_to_divide_among_the_devices(path):
  config = changed(path, 'mesh.data', 8)
  config['batch_size'] = 12
  with pytest.raises(ValueError, match='12 does not divide among the 8 devi'):
    experiment.build(config)


def test_seeds_have_to_fill_the_groups(path):
  config = changed(path, 'mesh.seed', 2)
  config['num_seeds'] = 3
  with pytest.raises(ValueError, match='num_seeds=3 cannot be shared out'):
    experiment.build(config)


@pytest.mark.parametrize('name', ['resnet', 'patch', 'text'])
def test_an_encoder_that_cannot_read_the_shape_is_named(path, name):
  config = changed(path, 'encoders.audio', dict(name=name))
  with pytest.raises(ValueError, match=r'encoders.audio: .*shape \(6,\) \(fix'):
    experiment.build(config)


def table(**changes) -> Source:
  return tiny.source(PAIR)._replace(**changes)


def spoiled(name, value):
  def take(rows):
    batch = tiny.source(PAIR).take(rows)
    return {**batch, name: np.full_like(batch[name], value)}

  return table(take=take)


def nowhere(rows):
  batch = tiny.source(PAIR).take(rows)
  return {**batch, 'present': {**batch['present'], 'text': np.zeros_like(rows)}}


@pytest.mark.parametrize(
  'splits, says',
  [
    ({'train': spoiled('label', 3)}, 'from 3 to 3, but there are 3 classes'),
    ({'train': spoiled('audio', np.nan)}, 'audio holds NaN or infinity'),
    (
      {'train': table(take=nowhere)},
      "has the modality 'text'. If none has, leave",
    ),
    ({'train': table(size=0)}, 'the training split of .arrays. has no example'),
    (
      {'validation': table(size=0), 'test': table(size=0)},
      'neither validation nor test examples',
    ),
    ({'train': table(modalities=('audio', 'head'))}, 'be called head; rename'),
    ({'train': table(modalities=('a/b', 'text'))}, 'be called a/b; rename'),
  ],
)
def test_data_that_cannot_be_are_said_to_be(path, monkeypatch, splits, says):
  def make(split, *, path, modalities):  # noqa: ARG001
    return splits.get(split, table())

  monkeypatch.setattr(arrays, 'make', make)
  with pytest.raises(ValueError, match=says):
    experiment.build(tiny.config(path, PAIR))


# Every recipe.


def cremad(section) -> dict:
  side, frames = section['size'], section['frames']
  return {
    'audio': np.zeros((12, 257, 188), 'f4'),
    'visual': np.zeros((12, frames, side, side, 3), 'u1'),
  }


# Examples of the modalities that recipes name; a list has lengths of its own.
STEPS = {
  'inertial': [6],
  'skeleton': [20, 3],
  'depth': (16, 48, 48),
  'text': (100,),
  'audio': (73,),
  'video': (100,),
  'transcript': str,
  'image_googlenet1024': (1024,),
  'text_doc2vec300': (300,),
  'fou76': (76,),
  'zer47': (47,),
  'mor6': (6,),
}


def write(folder, section) -> str:
  """A `.npz` with the modalities that a recipe for arrays names."""
  N, lengths = 36, np.arange(36) % 12 + 3
  fields = {
    'label': np.arange(N) % 3,
    section.get('split_field', 'split'): np.arange(N) % 4 // 2 * 2,
  }
  for m in section.modalities:
    if isinstance(STEPS[m], list):
      fields[f'{m}_len'] = lengths
      fields[m] = np.ones((lengths.sum(), *STEPS[m]), 'f4')
    elif STEPS[m] is str:
      fields[m] = np.array(['as one says'] * N)
    else:
      kind = 'u1' if len(STEPS[m]) > 1 else 'f4'
      fields[m] = np.ones((N, *STEPS[m]), kind)
  np.savez(f'{folder}/recipe.npz', **fields)
  return f'{folder}/recipe.npz'


def write_latents(folder, config) -> None:
  """Files as people have them: five texts to each of the others."""
  folder.mkdir(parents=True)
  for width, m in enumerate(config.data.modalities, 5):
    each = 5 if m == 'text' else 1
    if config.encoders.get(m, {}).get('name') == 'identity':
      width = config.width
    ids, draw = np.repeat(np.arange(12), each), np.random.default_rng(width)
    np.savez(
      folder / f'{m}.npz',
      latents=draw.normal(size=(len(ids), width)),
      id=ids,
      split=ids % 3,
      label=ids % 2,
    )


def as_bytes(config) -> None:
  """Texts, where the recipe has a tokenizer for them."""
  if config.data.get('tokenizer'):
    with pytest.raises(ValueError, match='There is no tokenizer in models/'):
      experiment.build(config)
    config.data.tokenizer = ''


def with_data(config, folder, monkeypatch):
  """The recipe, with data of the right shapes if it has none yet."""
  if config.data.name == 'arrays':
    with pytest.raises(ValueError, match='path'):
      experiment.build(config)
    named = config.data.modalities
    config.data.path = (
      write(folder, config.data) if named else tiny.write(folder)
    )
    as_bytes(config)
  elif config.data.name == 'kemdy20':
    with pytest.raises(ValueError, match='path'):
      experiment.build(config)
    config.data.path = kemdy20_test.write(folder, kemdy20_test.small())
  elif config.data.name == 'latents':
    with pytest.raises(ValueError, match='--mode=extract'):
      experiment.build(config)
    write_latents(folder / config.data.path, config)
  elif config.data.name == 'cremad':
    with pytest.raises(ValueError, match='--mode=prepare'):
      experiment.build(config)
    inputs = cremad(config.data)
    present = dict.fromkeys(inputs, np.ones(12, bool))
    source = _memory.table(inputs, np.arange(12) % 6, present, 'abcdef')
    make = functools.wraps(cremads.make)(lambda split, **_: source)  # noqa: ARG005
    monkeypatch.setattr(cremads, 'make', make)
  elif config.data.name != 'digits':
    as_bytes(config)
    with pytest.raises(ValueError, match='--mode=prepare'):
      experiment.build(config)
    config.data.update(sample=True, data_dir=str(folder))
    for key, least in dict(size=32, frames=1).items():
      if key in config.data:
        config.data[key] = least
  return config


def shallow(config) -> None:
  """Two layers of published transformers: tracing forty tells no more."""
  for section in config.encoders.values():
    if 'pretrained' in section and section.name != 'resnet':
      section.layers = 2


@pytest.mark.parametrize('recipe', RECIPES)
def test_every_recipe_builds(recipe, tmp_path, monkeypatch):
  monkeypatch.chdir(tmp_path)
  module = importlib.import_module(f'configs.{recipe}')
  assert inspect.getdoc(module)
  config = module.get_config()
  config.batch_size = min(config.batch_size, 8)  # these data are small
  config = with_data(config, tmp_path, monkeypatch)
  shallow(config)
  exp = experiment.build(config)
  state = jax.eval_shape(exp.init, jax.random.key(0), {})  # without weights
  batch = exp.batch()
  for segment in exp.plan:
    after, metrics = jax.eval_shape(exp.steps[segment.phase], state, batch)
    assert jax.tree.structure(after) == jax.tree.structure(state)
    assert 'loss' in metrics
  out = jax.eval_shape(exp.predict, state, batch)
  assert out.joint.shape == (len(batch['mask']), exp.kit.num_classes)
