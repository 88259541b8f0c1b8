"""Extraction: the same files whatever happens on the way, and one command."""

import errno
import json
import os
import pathlib
import shutil
import subprocess
import sys

import commands
import distributed_test
import jax
import main_test
import numpy as np
import pytest
import tiny

from mmjax import (
  _extract_encoders,
  _extract_work,
  experiment,
  extract,
  folder,
  report,
  train,
)
from mmjax.checkpoint import Checkpoints
from mmjax.data import _latents, feed, latents
from mmjax.data._lock import held

pytestmark = main_test.pytestmark
NAMES = ('audio', 'visual')
# Batches and chunks that fill neither each other nor a split.
SMALL = dict(batch_size=5, chunk=36)
SPLITS = ('train', 'validation', 'test')
cli = main_test.cli


def tree(path) -> dict[str, bytes]:
  """Every file under a folder."""
  path = pathlib.Path(path)
  files = [file for file in path.rglob('*') if file.is_file()]
  return {str(file.relative_to(path)): file.read_bytes() for file in files}


@pytest.fixture(scope='module')
def data(tmp_path_factory):
  return tiny.write(tmp_path_factory.mktemp('data'), NAMES)


@pytest.fixture(scope='module')
def exp(data):
  return experiment.build(tiny.config(data, NAMES))


@pytest.fixture(scope='module')
def state(exp):
  """With statistics of BatchNorm that are not those of the beginning."""
  made = exp.init(jax.random.key(0))
  moved = jax.tree.map(lambda x: x + 0.05, dict(made.stats))
  return made.replace(stats=moved)


@pytest.fixture(scope='module')
def whole(exp, state, tmp_path_factory):
  """What one device leaves that nobody disturbs."""
  path = tmp_path_factory.mktemp('whole') / 'latents'
  return path, extract.run(exp, state, path, **SMALL)


def test_latents_are_the_features_that_evaluation_sees(exp, state, whole):
  path, facts = whole
  for split in SPLITS:
    source = exp.sources[split]
    batch = feed.load(source, np.arange(source.size), None)
    want = exp.predict(state, batch).feats
    found = latents.make(split, path=str(path))
    rows = found.take(np.arange(found.size))
    for m in NAMES:
      np.testing.assert_allclose(rows[m], want[m], rtol=1e-5, atol=1e-6)
    np.testing.assert_array_equal(rows['label'], batch['label'])
    assert found.class_names == source.class_names
  for m in NAMES:
    assert facts[m]['rows'] == 160 and facts[m]['width'] == 8
    assert facts[m]['counts'] == {'train': 96, 'validation': 32, 'test': 32}
    files = [n for n in facts[m]['files'] if n.startswith('latents-')]
    assert len(files) == 5
    assert json.loads((path / m / 'latents.json').read_text()) == facts[m]


def test_it_is_told_where_latents_come_from(exp, state, whole, tmp_path):
  told = whole[1]['audio']
  assert told['data']['path'] == exp.config['data']['path']
  section = told['encoder']['section']
  assert section['name'] == 'mlp' and section['hidden'] == [7]
  assert told['augment'] == {} and told['versions']['jax'] == jax.__version__
  other = jax.tree.map(lambda x: x, state)
  block = jax.tree.map(np.array, dict(other.stats)['audio'])
  jax.tree.leaves(block)[0].flat[0] += 1e-3
  other = other.replace(stats={**other.stats, 'audio': block})
  again = extract.run(exp, other, tmp_path, **SMALL)
  weights = {
    m: (again[m]['encoder']['weights'], whole[1][m]['encoder']['weights'])
    for m in NAMES
  }
  assert weights['audio'][0] != weights['audio'][1]
  assert weights['visual'][0] == weights['visual'][1]


def test_eight_devices_leave_the_files_of_one(data, state, whole, tmp_path):
  many = experiment.build(tiny.config(data, NAMES, mesh=dict(data=8, seed=1)))
  extract.run(many, state, tmp_path / 'latents', **SMALL)
  assert tree(tmp_path / 'latents') == tree(whole[0])


def test_an_extraction_that_was_stopped_goes_on(exp, state, whole, tmp_path):
  """An error while reading: what is written stays, the rest follows."""
  reads = []

  def flaky(rows):
    reads.append(len(rows))
    if len(reads) == 20:
      raise OSError('the disk is gone')
    return exp.sources['train'].take(rows)

  sources = {**exp.sources, 'train': exp.sources['train']._replace(take=flaky)}
  path = tmp_path / 'latents'
  with pytest.raises(OSError, match='the disk is gone'):
    extract.run(exp._replace(sources=sources), state, path, **SMALL)
  there = tree(path)
  assert 0 < len([n for n in there if '.array_record' in n]) < 10
  assert not any(name.endswith('latents.json') for name in there)
  with pytest.raises(ValueError, match='is unfinished: 2 of 5 files'):
    latents.make('train', path=str(path))
  before = {n: (path / n).stat().st_mtime_ns for n in there}
  torn = path / 'audio' / _latents.chunk_name(1, 5)
  torn.write_bytes(torn.read_bytes()[:1000])
  extract.run(exp, state, path, **SMALL)
  assert tree(path) == tree(whole[0])
  kept = [n for n in there if (path / n).stat().st_mtime_ns == before[n]]
  assert set(there) - set(kept) == {f'audio/{torn.name}'}


KILLED = """
import os, sys
sys.path[:0] = [{tests!r}, {root!r}]
os.environ['JAX_PLATFORMS'] = 'cpu'
import jax, tiny
from mmjax import experiment, extract
exp = experiment.build(tiny.config({data!r}, {names!r}))
calls = []
def fatal(rows):
  calls.append(rows)
  if len(calls) == 15:
    os._exit(9)
  return exp.sources['train'].take(rows)
train = exp.sources['train']._replace(take=fatal)
state = exp.init(jax.random.key(0))
state = state.replace(stats=jax.tree.map(lambda x: x + .05, dict(state.stats)))
extract.run(
  exp._replace(sources={{**exp.sources, 'train': train}}),
  state, {path!r}, **{small!r}
)
"""


def test_an_extraction_that_was_killed_goes_on(
  data, exp, state, whole, tmp_path
):
  code = KILLED.format(
    tests=str(commands.ROOT / 'tests'),
    root=str(commands.ROOT),
    data=data,
    names=NAMES,
    path=str(tmp_path / 'latents'),
    small=SMALL,
  )
  done = subprocess.run([sys.executable, '-c', code], capture_output=True)
  assert done.returncode == 9, done.stderr
  assert (tmp_path / 'latents' / 'audio' / 'work.json').exists()
  extract.run(exp, state, tmp_path / 'latents', **SMALL)
  assert tree(tmp_path / 'latents') == tree(whole[0])


def test_what_is_complete_is_left_alone(exp, state, whole):
  path = whole[0]
  before = {p: p.stat().st_mtime_ns for p in path.rglob('*') if p.is_file()}
  silent = {
    split: source._replace(take=None) for split, source in exp.sources.items()
  }
  silent['train'] = exp.sources['train']  # that a shape is asked of
  again = extract.run(exp._replace(sources=silent), state, path, **SMALL)
  assert again == whole[1]
  assert {
    p: p.stat().st_mtime_ns for p in path.rglob('*') if p.is_file()
  } == before


def test_a_file_that_was_lost_is_made_again(exp, state, whole, tmp_path):
  shutil.copytree(whole[0], tmp_path / 'latents')
  lost = tmp_path / 'latents' / 'visual' / _latents.chunk_name(2, 5)
  lost.unlink()
  extract.run(exp, state, tmp_path / 'latents', **SMALL)
  assert tree(tmp_path / 'latents') == tree(whole[0])


# ------------------------------------------------------- pools, faults, dtypes


def changed(exp, **takes):
  """The experiment with {split: (take -> take)} put around its sources."""
  sources = dict(exp.sources)
  for split, wrap in takes.items():
    sources[split] = sources[split]._replace(take=wrap(sources[split].take))
  return exp._replace(sources=sources)


def test_one_reading_serves_all_modalities(exp, state, tmp_path):
  seen = []

  def counted(take):
    def read(rows):
      seen.extend(rows.tolist())
      return take(rows)

    return read

  even = dict(batch_size=4, chunk=32)  # or padding is read as well
  extract.run(changed(exp, train=counted), state, tmp_path, **even)
  assert np.bincount(seen[1:]).tolist() == [1] * 96  # the first for its shape


def test_an_entry_that_many_examples_show_is_encoded_once(exp, state, tmp_path):
  """Seven pictures; each example that shows one has it from the first."""
  seen = []

  def shared(take):
    def read(rows):
      seen.extend(rows.tolist())
      return {**take(rows), 'visual': take(rows % 7)['visual']}

    return read

  made = changed(exp, train=shared)
  entries = {'visual': (np.arange(96) % 7) + 100}
  made.sources['train'] = made.sources['train']._replace(entries=entries)
  facts = extract.run(made, state, tmp_path, modalities=('visual',), **SMALL)
  assert facts['visual']['rows'] == 7 + 32 + 32
  assert facts['visual']['counts']['train'] == 96
  found = latents.make('train', path=str(tmp_path), duplicates='keep')
  np.testing.assert_array_equal(found.entries['visual'], np.arange(96) % 7)
  batch = feed.load(made.sources['train'], np.arange(96), None)
  want = exp.predict(state, batch).feats['visual']
  rows = found.take(np.arange(96))
  np.testing.assert_allclose(rows['visual'], want, rtol=1e-5, atol=1e-6)
  np.testing.assert_array_equal(rows['label'], batch['label'])
  speech = extract.run(made, state, tmp_path, **SMALL)['audio']
  assert speech['rows'] == 160
  both = latents.make('train', path=str(tmp_path), duplicates='keep')
  assert set(both.entries) == {'visual'} and both.modalities == NAMES


def test_latents_that_are_no_numbers_are_kept_counted_and_told(
  exp, state, tmp_path
):
  def broken(take):
    def read(rows):
      batch = take(rows)
      batch['audio'][rows == 5] = np.nan
      batch['present']['audio'] = rows != 40
      return batch

    return read

  made = changed(exp, validation=broken, train=broken)
  with pytest.warns(UserWarning) as told:
    facts = extract.run(made, state, tmp_path, modalities=('audio',), **SMALL)
  texts = [str(w.message) for w in told]
  assert any("2 of 160 latents of 'audio' are NaN" in t for t in texts)
  assert any('(train/5, validation/5)' in t for t in texts)
  assert any(
    "1 of 160 latents of 'audio' are zero (train/40)" in t for t in texts
  )
  assert (facts['audio']['nonfinite'], facts['audio']['zero']) == (2, 1)
  with pytest.raises(ValueError, match=r"2 examples \('train/5', 'train/40'\)"):
    latents.make('train', path=str(tmp_path))
  with pytest.warns(UserWarning, match='2 of 96 examples are left out'):
    left = latents.make('train', path=str(tmp_path), bad='drop')
  assert left.size == 94


def test_half_the_bytes(exp, state, whole, tmp_path):
  extract.run(exp, state, tmp_path, dtype='float16', **SMALL)
  full, half = (
    latents.make('test', path=str(p)).pools for p in (whole[0], tmp_path)
  )
  for m in NAMES:
    np.testing.assert_array_equal(half[m], full[m].astype(np.float16))


# -------------------------------------------------------------- what is refused


def test_other_latents_are_never_overwritten(exp, state, whole, tmp_path):
  path = tmp_path / 'latents'
  shutil.copytree(whole[0], path)
  before = tree(path)
  told = (
    r'another kind \(there -> asked for\):\n  chunk: 36 -> 16\nTake another'
  )
  with pytest.raises(ValueError, match=told):
    extract.run(exp, state, path, batch_size=5, chunk=16)
  moved = jax.tree.map(lambda x: x * 2, state.params)
  with pytest.raises(ValueError, match='encoder.weights: '):
    extract.run(exp, state.replace(params=moved), path, **SMALL)
  assert tree(path) == before
  (path / 'audio' / 'work.json').unlink()  # latents.json tells as much
  with pytest.raises(ValueError, match='chunk: 36 -> 16'):
    extract.run(exp, state, path, batch_size=5, chunk=16)


def test_a_folder_of_something_else(exp, state, tmp_path):
  (tmp_path / 'visual').mkdir()
  (tmp_path / 'visual' / 'holiday.txt').write_text('sea')
  with pytest.raises(ValueError, match='no folder of latents .*holiday.txt'):
    extract.run(exp, state, tmp_path, **SMALL)
  assert sorted(p.name for p in tmp_path.iterdir()) == ['visual']


def test_two_extractions_into_one_folder(exp, state, tmp_path):
  with held(tmp_path / 'extract.lock', wait=False):
    with pytest.raises(ValueError, match='Another process is extracting into'):
      extract.run(exp, state, tmp_path, **SMALL)
  assert not list(tmp_path.iterdir())


def test_a_full_disk_is_seen_ahead_and_explained(
  exp, state, whole, tmp_path, monkeypatch
):
  none = shutil.disk_usage(tmp_path)._replace(free=160 * 8 * 4 - 1)
  with monkeypatch.context() as patch:
    patch.setattr(shutil, 'disk_usage', lambda _: none)
    with pytest.raises(OSError, match='No space left .*missing take up to'):
      extract.run(exp, state, tmp_path, **SMALL)
  write, calls = _latents.write_chunk, []

  def full(path, z_RD):
    calls.append(path)
    if len(calls) > 3:
      raise RuntimeError(f'write() failed: {os.strerror(errno.ENOSPC)}; at 0')
    write(path, z_RD)

  with monkeypatch.context() as patch:
    patch.setattr(_latents, 'write_chunk', full)
    with pytest.raises(OSError, match='is full .*give the same command again'):
      extract.run(exp, state, tmp_path, **SMALL)
  extract.run(exp, state, tmp_path, **SMALL)
  assert tree(tmp_path) == tree(whole[0])


@pytest.mark.parametrize(
  'options, told',
  [
    (dict(modalities=('vidual',)), "vidual is none of .*mean 'visual'"),
    (dict(batch_size=0), 'config.extract.batch_size=0'),
    (dict(chunk=2.5), 'config.extract.chunk=2.5'),
    (dict(dtype='int8'), "dtype='int8' must be float32 or float16"),
  ],
)
def test_options_that_mean_nothing(exp, state, tmp_path, options, told):
  with pytest.raises(ValueError, match=told):
    extract.run(exp, state, tmp_path / 'new', **options)
  assert not (tmp_path / 'new').exists()


@pytest.mark.parametrize(
  'section, told',
  [
    (dict(chunks=1), "config.extract.chunks does not .*mean 'chunk'"),
    (dict(modalities='audio'), r"one alone needs a comma, \('audio',\)"),
    (dict(recipe='configs/mla_digits.py'), 'config.extract.path is empty'),
    (dict(path='x', recipe='mla_digit.py'), 'is no file. Did you mean'),
    (dict(path='x', recipe='{here}/broken.py'), 'broken.py, line 2: Zero'),
    (dict(path='x', recipe='{here}/empty.py'), 'it has no get_config'),
  ],
)
def test_sections_that_mean_nothing(tmp_path, section, told):
  (tmp_path / 'broken.py').write_text('def get_config():\n  return 1 / 0\n')
  (tmp_path / 'empty.py').write_text('')
  if 'recipe' in section:
    section = section | {'recipe': section['recipe'].format(here=tmp_path)}
  with pytest.raises(ValueError, match=told):
    extract.ensure(section)


def test_a_section_without_a_recipe_asks_nothing_of_training():
  assert extract.ensure({}) == {}
  assert extract.ensure({'path': 'nowhere'}) == {}


# ------------------------------------------------------------- the command line


def recipe(place, path, **sections) -> pathlib.Path:
  """A recipe for the tiny world; `sections` may be any, data too."""
  place.mkdir(exist_ok=True)
  made = commands.recipe(place, path, NAMES)
  lines = [f'  config[{k!r}] = {v!r}\n' for k, v in sections.items()]
  text = made.read_text().replace('  return ', '  config = ')
  made.write_text(f'{text}{"".join(lines)}  return config\n')
  return made


@pytest.fixture(scope='module')
def run(data, tmp_path_factory):
  """The folder of a run of two seeds that was trained to its end."""
  path = tmp_path_factory.mktemp('run') / 'encoders'
  exp = experiment.build(tiny.config(data, NAMES, num_seeds=2))
  with folder.claimed(path, {**exp.config, 'seeds_how': 'loop'}):
    with Checkpoints(path / 'checkpoints') as checkpoints:
      checkpoints.save(exp.plan[-1].stop, exp.seeds.init())
  return path


def test_two_processes_leave_the_files_of_one(data, run, tmp_path):
  """Of two devices each, five chunks between them."""
  made = {}
  for name in ('one', 'pair'):
    section = dict(path=str(tmp_path / name / 'latents'), **SMALL)
    made[name] = (
      '--mode=extract',
      f'--config={recipe(tmp_path / name, data, extract=section)}',
      f'--workdir={run}',
      '--config.mesh.data=-1',
    )
  for code, text in distributed_test.Pair(*made['pair']).end():
    assert code == 0 and 'Traceback' not in text, text
  assert cli(*made['one']) == ''
  there = tree(tmp_path / 'pair' / 'latents')
  assert there == tree(tmp_path / 'one' / 'latents')
  facts = json.loads(there['audio/latents.json'])
  assert facts['encoder']['run'] == 'encoders'
  assert facts['encoder']['step'] == 12


def test_a_run_is_extracted_into_its_folder_from_its_first_model(run):
  assert cli('--mode=extract', f'--workdir={run}') == ''
  exp = experiment.build(folder.read_config(run))
  with Checkpoints(run / 'checkpoints', read_only=True) as checkpoints:
    state = checkpoints.restore(exp.seeds.abstract).state[0]
  batch = feed.load(exp.sources['test'], np.arange(32), None)
  want = exp.predict(state, batch).feats
  found = latents.make('test', path=str(run / 'latents')).pools
  for m in NAMES:
    np.testing.assert_allclose(found[m], want[m], rtol=1e-5, atol=1e-6)
  told = cli('--mode=extract', f'--workdir={run}', '--config.optim.lr=0.5')
  assert '--config.optim.lr: --mode=extract takes the config of the run' in told


def test_encoders_as_they_begin(data, tmp_path):
  path = tmp_path / 'latents'
  made = recipe(tmp_path / 'recipe', data)
  assert cli('--mode=extract', f'--config={made}', f'--workdir={path}') == ''
  facts = json.loads((path / 'audio' / 'latents.json').read_text())
  assert facts['encoder']['run'] == '' and facts['encoder']['step'] == 0
  told = cli('--mode=extract', f'--config={made}')
  assert '--mode=extract needs the --workdir of a run' in told
  made = recipe(tmp_path / 'recipe', data, extract=dict(path='x'))
  told = cli('--mode=extract', f'--config={made}', f'--workdir={path}')
  assert 'is no run folder. Leave it out' in told


def test_the_first_of_several_models_is_the_one_of_its_seed(data):
  exp = experiment.build(
    tiny.config(data, NAMES, num_seeds=2, seeds_how='vmap')
  )
  first, want = (
    _extract_encoders.initial(exp).state,
    exp.init(jax.random.key(0)),
  )
  assert tiny.same(first, want)
  weights = [_extract_work.weights(s, 'audio') for s in (first, want)]
  assert weights[0] == weights[1]


QUICK = dict(method=dict(name='joint'), phases=(('joint', 1),))


@pytest.fixture
def aligned(data, tmp_path):
  """The recipe of an alignment, and where its latents and encoders go."""
  encoders = recipe(tmp_path / 'encoders', data, **QUICK)
  path = tmp_path / 'latents'
  made = recipe(
    tmp_path / 'alignment',
    data,
    data=dict(name='latents', path=str(path)),
    extract=dict(path=str(path), recipe=str(encoders), **SMALL),
    encoders={m: dict(name='mlp', hidden=()) for m in NAMES},
    **QUICK,
  )
  return made, path, encoders


def times(path):
  return {p: p.stat().st_mtime_ns for p in path.rglob('*') if p.is_file()}


def test_one_command_trains_extracts_and_aligns(
  aligned, data, tmp_path, capfd, monkeypatch
):
  monkeypatch.setattr(report, 'write', str)  # pictures take their time
  made, path, encoders = aligned
  workdir = tmp_path / 'run'
  command = f'--config={made}', f'--workdir={workdir}'
  assert cli(*command) == ''
  assert f'Encoders: {path / "encoders"}' in capfd.readouterr().out
  assert (path / 'encoders' / 'results.json').exists()
  assert (workdir / 'results.json').exists()
  assert 'extract' not in folder.read_config(workdir)
  files, before, trained = tree(path), times(path), []

  monkeypatch.setattr(train, 'run', lambda _, path: trained.append(path))
  assert cli(*command) == ''
  assert f'Latents of audio, visual: {path}' in capfd.readouterr().out
  assert times(path) == before and trained == [workdir]

  shutil.rmtree(path / 'visual')  # the encoders are trained already
  assert cli('--mode=extract', f'--config={made}') == ''
  assert tree(path) == files and trained == [workdir]

  shutil.rmtree(path / 'encoders')  # latents are enough
  assert cli('--mode=extract', f'--config={made}') == ''
  assert not (path / 'encoders').exists()

  recipe(encoders.parent, data, optim=dict(name='sgd', lr=0.2), **QUICK)
  told = cli(*command)
  assert 'config.optim.lr: 0.1 -> 0.2' in told
  assert trained == [workdir]  # it is seen before anything is trained


def test_a_signal_while_encoders_train_ends_the_command(
  aligned, monkeypatch, capfd
):
  made, path, _ = aligned

  def stopped(_, workdir):
    raise train.Stopped(f'Stopped in {workdir}')

  monkeypatch.setattr(train, 'run', stopped)
  for mode in ('train', 'extract'):
    told = cli(f'--mode={mode}', f'--config={made}')
    assert told == '' and f'Stopped in {path}' in capfd.readouterr().out
  assert not path.exists()


def test_encoders_of_another_recipe_are_not_taken(aligned, run, data):
  made, path, encoders = aligned
  recipe(encoders.parent, data, num_seeds=2, optim=dict(name='sgd', lr=0.2))
  shutil.copytree(run, path / 'encoders')
  told = cli(f'--config={made}')
  assert 'encoders of another config' in told
  assert 'config.optim.lr: 0.1 -> 0.2' in told
