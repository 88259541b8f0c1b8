"""Pictures from another modality, in a world of two classes and 4 x 4 pixels."""

import json

import jax
import numpy as np
import pytest
import tiny

from mmjax import (
  _generate_judge,
  _generate_pictures,
  experiment,
  folder,
  generate,
)
from mmjax.checkpoint import Checkpoints

NAMES, WIDTH, SPLITS = ('audio', 'text'), 6, (120, 20, 60)
SMALL = dict(channels=8, batch_size=32, steps=200, sample_steps=6)
ROLES = dict(source='audio', condition='text', target='visual')
QUIET = dict(told=lambda _: None)


def pictures(rng, label):
  """Bright on the left, or at the top; the brightness varies."""
  shape = np.zeros((2, 4, 4, 1))
  shape[0, :, :2], shape[1, :2] = 1, 1
  light = rng.uniform(0.6, 1, (len(label), 1, 1, 1))
  noise = 0.05 * rng.normal(size=(len(label), 4, 4, 1))
  return np.clip(light * shape[label] + noise, 0, 1)


def fields(**changes):
  """'audio' is 'text' with noise; both say which picture it is."""
  rng = np.random.default_rng(0)
  size = sum(SPLITS)
  label = np.arange(size) % 2
  text = np.array([1.0, -1.0])[label][:, None] * np.linspace(0.5, 1, WIDTH)
  made = dict(
    label=label,
    split=np.repeat([0, 1, 2], SPLITS),
    visual=np.round(255 * pictures(rng, label)).astype(np.uint8),
    text=text + 0.01 * rng.normal(size=(size, WIDTH)),
    audio=text + 0.4 * rng.normal(size=(size, WIDTH)),
    visual_present=np.arange(size) != 3,
    audio_present=np.arange(size) != size - 1,
  )
  return made | changes


def write(path, **changes):
  made = fields(**changes)
  np.savez(path, **{k: v for k, v in made.items() if v is not None})
  return path


def section(place, **changes):
  data = dict(name='arrays', path=str(place), modalities=('visual', 'text'))
  return dict(data=data, **ROLES, **SMALL) | changes


@pytest.fixture(scope='module')
def world(tmp_path_factory):
  return write(tmp_path_factory.mktemp('world') / 'world.npz')


def aligned(world, workdir, checkpoint=True):
  """A run whose encoders change nothing: 'audio' lies near 'text' already."""
  encoders = dict.fromkeys(NAMES, dict(name='identity'))
  exp = experiment.build(
    tiny.config(str(world), NAMES, encoders=encoders, width=WIDTH)
  )
  with folder.claimed(workdir, exp.config):
    pass
  with Checkpoints(workdir / 'checkpoints') as checkpoints:
    if checkpoint:
      checkpoints.save(7, exp.seeds.init())
  return workdir


@pytest.fixture(scope='module')
def run(world, tmp_path_factory):
  return aligned(world, tmp_path_factory.mktemp('run') / 'aligned')


@pytest.fixture(scope='module')
def data(world, run):
  return generate.of_run(run, section(world)['data'], **ROLES)


@pytest.fixture(scope='module')
def workdir(world, run):
  """A folder with everything that is written, beside the aligned run."""
  generate.run(section(world), run.parent, **QUIET)
  return run.parent


@pytest.fixture(scope='module')
def found(workdir):
  return json.loads((workdir / generate.JSON).read_text('utf8'))


def test_what_is_said_is_drawn_and_what_others_say_is_not(found):
  told = {role: cell['mean'] for role, cell in found['recognised'].items()}
  assert found['judge']['mean'] == 1
  assert told['condition'] >= 0.95 and told['source'] >= 0.9
  assert 0.3 < told['shuffled'] < 0.7
  assert found['aligned'] > 0.95 and 0.6 < found['cosine'] < 0.99


def test_the_interval_and_the_classes_belong_to_the_fraction(found):
  for cell in (found['judge'], *found['recognised'].values()):
    assert 0 <= cell['low'] <= cell['mean'] <= cell['high'] <= 1
    assert cell['high'] - cell['low'] > 0.05  # of 59 trials
    assert list(cell['classes']) == ['0', '1']
    share = np.array([29, 30]) / 59 if cell else 0
    whole = np.dot(share, list(cell['classes'].values()))
    assert abs(whole - cell['mean']) < 0.02


def test_who_lacks_a_modality_is_left_out(data, found):
  assert found['sizes'] == {'train': 119, 'validation': 20, 'test': 59}
  rows = np.delete(np.arange(120), 3)
  kept = fields()['visual'][rows] / 255
  np.testing.assert_allclose(data.parts['train'].images, kept, atol=1e-6)
  np.testing.assert_array_equal(data.parts['train'].label, rows % 2)
  assert data.step == 7


def test_embeddings_are_those_of_their_own_rows(data):
  """Standardised by the training part, as the run reads them."""
  made = fields()
  train = made['audio'][:120]
  want = (made['audio'][-60:-1] - train.mean(0)) / train.std(0)
  np.testing.assert_allclose(data.parts['test'].source, want, atol=1e-3)


def test_pictures_are_as_varied_as_real_ones_and_no_noise(found):
  real, made = found['variety']['real'], found['variety']['source']
  assert made['spread'] > 0.3 * real['spread']
  assert made['nearest'] < 3 * real['nearest']


def test_the_page_stands_by_itself(workdir, found):
  page = (workdir / generate.PAGE).read_text('utf8')
  for text in ('from audio', 'from text', 'Class by class', 'cosine', '<svg'):
    assert text in page
  assert 'http' not in page.replace('http://www.w3.org', '')
  percent = f'{100 * found["recognised"]["source"]["mean"]:.1f}'
  assert percent in page
  assert (workdir / generate.PNG).read_bytes().startswith(b'\x89PNG')


def test_arrays_hold_all_that_the_numbers_say(workdir, found):
  with np.load(workdir / generate.ARRAYS) as made:
    assert made['source/images'].shape == (59, 4, 4, 1)
    right = made['source/recognised'] == made['label']
    assert right.mean() == pytest.approx(found['recognised']['source']['mean'])


def test_the_same_seed_gives_the_same_generator_also_from_its_file(
  workdir, world, data
):
  asked = generate.settings(section(world))
  part = data.parts['train']
  again = generate.train(part.images, part.condition, asked, **QUIET)
  loaded = generate.load(workdir / generate.GENERATOR)
  assert tiny.same(loaded.params, again.params)
  assert loaded.asked == asked and loaded.shape == (4, 4, 1)
  condition = data.parts['test'].condition[:5]
  one, two = (
    generate.sample(g, condition, jax.random.key(3)) for g in (loaded, again)
  )
  np.testing.assert_array_equal(one, two)
  other = generate.sample(again, condition, jax.random.key(4))
  assert np.abs(one - other).max() > 0.05


def test_a_picture_is_of_its_condition_its_place_and_the_key(
  workdir, data, monkeypatch
):
  made = generate.load(workdir / generate.GENERATOR)
  condition = data.parts['test'].source
  key = jax.random.key(0)
  whole = generate.sample(made, condition, key)
  assert whole.shape == (59, 4, 4, 1)
  assert whole.min() >= 0 and whole.max() <= 1
  monkeypatch.setattr(generate._generate_net, 'BLOCK', 5)
  parts = generate.sample(made, 5 * condition, key)  # only the direction counts
  np.testing.assert_allclose(parts, whole, atol=1e-4)


def test_what_is_there_is_not_overwritten(workdir, world, tmp_path):
  with pytest.raises(ValueError, match='holds generated pictures already'):
    generate.run(section(world), workdir, **QUIET)
  with pytest.raises(ValueError, match='aligned is no run folder'):
    generate.run(section(world), tmp_path, **QUIET)


def test_a_run_without_a_checkpoint_or_the_modality(world, run, tmp_path):
  data = section(world)['data']
  early = aligned(world, tmp_path / 'early', checkpoint=False)
  with pytest.raises(ValueError, match='early has no checkpoint yet'):
    generate.of_run(early, data, **ROLES)
  with pytest.raises(ValueError, match="source='speech'.*audio, text"):
    generate.of_run(run, data, **ROLES | {'source': 'speech'})
  with pytest.raises(ValueError, match="target='image'.*visual, text"):
    generate.of_run(run, data, **ROLES | {'target': 'image'})
  with pytest.raises(ValueError, match='generate.data is empty'):
    generate.of_run(run, {}, **ROLES)


@pytest.mark.parametrize(
  'changes, told',
  [
    (dict(split=np.repeat([0, 1, 2], (120, 25, 55))), '25 examples of valid'),
    (dict(label=np.arange(200) // 2 % 2), 'labels of train .* first in row 1'),
    (dict(visual=np.ones((200, 16))), r'no pictures \[N, H, W, C\], but \(120'),
    (dict(visual_present=np.arange(200) < 140), 'no example of test has'),
  ],
)
@pytest.mark.filterwarnings('ignore')
def test_pictures_of_other_data_are_refused(run, tmp_path, changes, told):
  other = section(write(tmp_path / 'other.npz', **changes))['data']
  with pytest.raises(ValueError, match=told):
    generate.of_run(run, other, **ROLES)


@pytest.mark.parametrize(
  'shape, fill, told',
  [
    ((6, 4, 4), 0.5, r'\(6, 4, 4\).*channel'),
    ((6, 5, 4, 1), 0.5, '5 x 4.*multiples of 2'),
    ((6, 4, 4, 1), 2.0, '2 to 2.*0..1'),
    ((6, 4, 4, 1), np.nan, 'nan to nan'),
    ((5, 4, 4, 1), 0.5, '5 pictures have 6 conditions'),
  ],
)
def test_what_is_no_picture_is_refused(shape, fill, told):
  with pytest.raises(ValueError, match=told):
    generate.train(np.full(shape, fill), np.ones((6, 3)), generate.settings({}))


@pytest.mark.parametrize(
  'row, told',
  [(np.nan, '1 of 6.*rows 2'), (0.0, 'zero: rows 2'), (np.inf, 'infinite')],
)
def test_what_has_no_direction_is_refused(row, told):
  condition = np.ones((6, 3))
  condition[2] = row
  images = np.full((6, 4, 4, 1), 0.5)
  with pytest.raises(ValueError, match=told):
    generate.train(images, condition, generate.settings({}))


def test_a_divergent_training_is_said(world, data):
  asked, part = generate.settings(section(world, lr=1e30)), data.parts['train']
  with pytest.raises(FloatingPointError, match='lr=1e[+]30'):
    generate.train(part.images, part.condition, asked, **QUIET)


def test_a_generator_takes_its_own_width_and_its_own_file(workdir, tmp_path):
  made = generate.load(workdir / generate.GENERATOR)
  with pytest.raises(ValueError, match='width 9.*trained on 6'):
    generate.sample(made, np.ones((2, 9)), jax.random.key(0))
  with pytest.raises(ValueError, match='is no generator'):
    generate.load(workdir / generate.ARRAYS)
  (tmp_path / 'text.npz').write_text('nothing')
  with pytest.raises(ValueError, match='is no generator'):
    generate.load(tmp_path / 'text.npz')
  wide = made._replace(asked=made.asked._replace(channels=16))
  generate.save(wide, tmp_path / 'wide.npz')
  with pytest.raises(ValueError, match='not those of its net'):
    generate.load(tmp_path / 'wide.npz')


@pytest.mark.parametrize(
  'changes, told',
  [
    (dict(step=3), "step does not exist. Did you mean 'steps'"),
    (dict(steps=0), 'steps=0 must be 1'),
    (dict(lr=0), 'lr=0 must be above'),
    (dict(lr=float('nan')), 'lr=nan'),
    (dict(condition_noise=-1), 'condition_noise=-1'),
    (dict(null_probability=1), r'null_probability=1 must lie in \[0, 1\)'),
    (dict(null_probability=0), 'guidance=2.0 needs a net'),
  ],
)
def test_settings_that_cannot_be(changes, told):
  with pytest.raises(ValueError, match=told):
    generate.settings(changes)


def test_variety_tells_copies_and_repetition():
  rng = np.random.default_rng(0)
  label = np.arange(40) % 2
  training, test = (pictures(rng, label) for _ in range(2))
  real = _generate_judge.variety(test, label, training)
  copies = _generate_judge.variety(training, label, training)
  assert copies.nearest < 1e-6 and abs(copies.spread - real.spread) < 0.02
  one = np.stack([test[:2][c] for c in label])
  assert _generate_judge.variety(one, label, training).spread < 1e-9
  assert real.spread > 0.02 and real.nearest > 0.05


def test_a_judge_needs_two_classes_and_knows_its_errors():
  rng = np.random.default_rng(0)
  label = np.arange(40) % 2
  images = pictures(rng, label)
  wrong = np.where(np.arange(40) < 10, 1 - label, label)
  assert generate.judge(images, label, images, wrong).accuracy == 0.75
  with pytest.raises(ValueError, match='all of one class'):
    generate.judge(images, 0 * label, images, label)


def test_the_grid_shows_a_recording_once_and_frames_what_is_wrong(tmp_path):
  label = np.array([0, 0, 0, 2, 2])
  images = np.arange(5)[:, None, None, None] / 5 * np.ones((5, 4, 4, 1))
  seen = np.array([0, 1, 0, 2, 2])
  made = {'label': label, 'entry': np.array([4, 4, 1, 0, 0])}
  for role in ('real', 'condition', 'source'):
    made |= {f'{role}/images': images, f'{role}/recognised': seen}
  names = {'condition': 'text', 'source': 'audio'}
  classes, told = _generate_pictures.columns(made, names)
  assert classes.tolist() == [0, 2]
  assert [c.title for c in told] == ['real', 'from text', '', '']
  assert told[2].images[:, 0, 0, 0].tolist() == [0, 0.6]
  assert told[3].images[0, 0, 0, 0] == 0.4  # row 1 is row 0 said again
  assert told[3].shown.tolist() == [True, False]
  told[0] = told[0]._replace(recognised=np.array([1, 2]))
  svg = _generate_pictures.grid(
    classes, told, ['zero', 'one', 'two'], 'audio', tmp_path / 'grid.png'
  )
  assert '>one<' in svg and 'from audio, held out' in svg
  told[0] = told[0]._replace(recognised=classes)
  svg = _generate_pictures.grid(classes, told, ['zero', 'one', 'two'], 'audio')
  assert '>one<' not in svg
