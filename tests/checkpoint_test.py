"""Checkpoints: exact, atomic, and never wrong numbers from damaged files."""

import math
import os
import pathlib
import shutil
import subprocess
import warnings
from typing import NamedTuple

import hypothesis
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import strategies as st
from jax.sharding import NamedSharding, PartitionSpec

from mmjax import checkpoint, sharding
from mmjax.base import TrainState
from mmjax.checkpoint import Checkpoints, checksums
from mmjax.ops import trees


class Memory(NamedTuple):
  P_DD: jax.Array
  turn: jax.Array
  seen: jax.Array


def state_of(seed: int) -> TrainState:
  key = jax.random.key(seed)
  w = jax.random.normal(key, (64, 64))
  return TrainState(
    step=jnp.int32(seed),
    params={'audio': {'w': w}, 'head': {'b': w[0].astype(jnp.bfloat16)}},
    stats={'audio': {'mean': w[1].astype(jnp.float16)}, 'head': {}},
    opt={'audio': (jnp.arange(6, dtype=jnp.int8), ()), 'head': (w[:, :8],)},
    method=Memory(jnp.eye(4), jnp.uint32(seed), w[2] > 0),
    key=jax.random.fold_in(key, 1),
  )


def abstract(state):
  return jax.tree.map(
    lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=x.sharding), state
  )


def bits(state):
  """Structure, and dtype and bytes of every leaf."""
  leaves, structure = jax.tree.flatten(state)
  raw = [
    jax.random.key_data(x)
    if jnp.issubdtype(x.dtype, jax.dtypes.prng_key)
    else x
    for x in leaves
  ]
  return structure, [(str(x.dtype), np.asarray(x).tobytes()) for x in raw]


def tree_of(folder):
  return {
    str(p.relative_to(folder)): p.read_bytes() if p.is_file() else None
    for p in sorted(folder.rglob('*'))
  }


ABSTRACT = abstract(state_of(0))


@pytest.fixture(scope='module')
def saved(tmp_path_factory):
  """Three checkpoints of one run; the first is the best."""
  folder = tmp_path_factory.mktemp('run') / 'checkpoints'
  with Checkpoints(folder, latest=2) as checkpoints:
    for step, score in ((1, 0.9), (2, 0.5), (3, 0.6)):
      checkpoints.save(step, state_of(step), score)
  return folder


@pytest.fixture
def copied(saved, tmp_path):
  return pathlib.Path(shutil.copytree(saved, tmp_path / 'checkpoints'))


def test_a_state_comes_back_bit_for_bit(saved):
  with Checkpoints(saved) as checkpoints:
    found = checkpoints.restore(ABSTRACT)
    best = checkpoints.restore(ABSTRACT, 'best')
  assert (found.step, best.step) == (3, 1)
  assert bits(found.state) == bits(state_of(3))
  assert bits(best.state) == bits(state_of(1))
  assert isinstance(found.state.method, Memory)
  assert found.state.key.dtype == jax.random.key(0).dtype


def test_a_sharded_state_is_read_on_any_mesh(tmp_path):
  def placed(mesh, shard):
    where = sharding.state(mesh, state_of(5), shard=shard, seeds=False)
    return jax.device_put(state_of(5), where)

  split = placed(sharding.make_mesh(), True)
  w = split.params['audio']['w']
  assert len({str(s.index) for s in w.addressable_shards}) == 8
  with Checkpoints(tmp_path) as checkpoints:
    checkpoints.save(5, split)
    for mesh, shard in (
      (sharding.make_mesh(data=4, seed=2), True),
      (sharding.make_mesh(data=1), False),
    ):
      want = placed(mesh, shard)
      found = checkpoints.restore(abstract(want))
      assert bits(found.state) == bits(state_of(5))
      assert found.state.params['audio']['w'].sharding == (
        want.params['audio']['w'].sharding
      )


def flip(path):
  data = bytearray(path.read_bytes())
  data[len(data) // 2] ^= 1 << 3
  path.write_bytes(data)


def cut(path):
  os.truncate(path, path.stat().st_size // 2)


DATA = 'state/ocdbt.process_0/d/*'  # the largest of them holds the arrays
HARMS = {
  'data flipped': (DATA, flip),
  'data cut': (DATA, cut),
  'data gone': (DATA, pathlib.Path.unlink),
  'tree flipped': ('state/_METADATA', flip),
  'tree gone': ('state/_METADATA', pathlib.Path.unlink),
  'index cut': ('state/manifest.ocdbt', cut),
  'meta cut': ('meta/metadata', cut),
  'meta gone': ('meta/metadata', pathlib.Path.unlink),
  'seal flipped': ('seal.json', flip),
  'seal cut': ('seal.json', cut),
  'seal gone': ('seal.json', pathlib.Path.unlink),
  'state gone': ('state', shutil.rmtree),
  'all gone': ('.', lambda p: [shutil.rmtree(p), p.mkdir()]),
}


@pytest.mark.parametrize('harm', HARMS)
def test_a_damaged_checkpoint_is_named_and_set_aside(copied, harm):
  pattern, damage = HARMS[harm]
  found = [copied / '3'] if pattern == '.' else (copied / '3').glob(pattern)
  damage(max(found, key=lambda path: path.stat().st_size))
  with Checkpoints(copied) as checkpoints:
    with pytest.warns(
      UserWarning, match='Checkpoint 3 is damaged: .+ moved to'
    ):
      found = checkpoints.restore(ABSTRACT)
    assert (found.step, bits(found.state)) == (2, bits(state_of(2)))
    assert checkpoints.steps() == [1, 2]
    assert (copied.with_name('checkpoints_damaged') / '3').is_dir()
    checkpoints.save(3, state_of(7), 0.7)  # and training gets there again
    assert bits(checkpoints.restore(ABSTRACT).state) == bits(state_of(7))
  with Checkpoints(copied) as checkpoints:
    assert checkpoints.restore(ABSTRACT).step == 3


@hypothesis.settings(
  deadline=None,
  max_examples=25,
  suppress_health_check=[hypothesis.HealthCheck.function_scoped_fixture],
)
@hypothesis.given(
  where=st.floats(0, 1, exclude_max=True), bit=st.integers(0, 7)
)
def test_no_flipped_bit_gives_wrong_numbers(saved, tmp_path, where, bit):
  folder = tmp_path / 'checkpoints'
  shutil.rmtree(tmp_path)
  shutil.copytree(saved, folder)
  files = sorted(path for path in (folder / '3').rglob('*') if path.is_file())
  sizes = np.cumsum([0, *(path.stat().st_size for path in files)])
  at = int(where * sizes[-1])
  i = int(np.searchsorted(sizes, at, 'right')) - 1
  data = bytearray(files[i].read_bytes())
  data[at - sizes[i]] ^= 1 << bit
  files[i].write_bytes(data)
  with warnings.catch_warnings(record=True) as told, Checkpoints(folder) as c:
    warnings.simplefilter('always')
    found = c.restore(ABSTRACT)
  assert bits(found.state) == bits(state_of(found.step))
  assert bool(told) == (found.step == 2)


def test_what_the_files_cannot_tell_the_checksums_do(saved):
  """Orbax casts to another dtype without a word."""
  head = {'b': ABSTRACT.params['head']['b'].update(dtype=jnp.float16)}
  other = ABSTRACT.replace(params={**ABSTRACT.params, 'head': head})
  before = tree_of(saved)
  with Checkpoints(saved) as checkpoints:
    with pytest.raises(ValueError, match='params/head/b has another checksum'):
      checkpoints.restore(other)
  assert tree_of(saved) == before


def test_another_model_is_said_and_nothing_moved(saved):
  other = ABSTRACT.replace(params={'visual': ABSTRACT.params['audio']})
  before = tree_of(saved)
  with Checkpoints(saved) as checkpoints:
    with pytest.raises(ValueError) as error:
      checkpoints.restore(other)
  for step in (1, 2, 3):
    assert f'checkpoint {step}: ' in str(error.value)
  assert 'another --workdir' in str(error.value)
  assert tree_of(saved) == before


def test_with_no_good_one_left_it_stops_and_keeps_all(copied):
  for step in '123':
    cut(copied / step / 'meta' / 'metadata')
  before = tree_of(copied)
  with Checkpoints(copied) as checkpoints:
    with pytest.raises(ValueError, match='No checkpoint .+ can be restored'):
      checkpoints.restore(ABSTRACT)
  assert tree_of(copied) == before


def test_reading_only_changes_nothing(copied, tmp_path):
  flip(copied / '3' / 'state' / '_METADATA')
  (copied / '9.orbax-checkpoint-tmp').mkdir()
  before = tree_of(tmp_path)
  with Checkpoints(copied, read_only=True) as checkpoints:
    with pytest.warns(UserWarning, match='3 is damaged') as told:
      found = checkpoints.restore(ABSTRACT)
  assert found.step == 2 and 'moved' not in str(told[0].message)
  with Checkpoints(tmp_path / 'none', read_only=True) as checkpoints:
    assert checkpoints.restore(ABSTRACT) is None
  assert tree_of(tmp_path) == before


def test_the_latest_and_the_best_are_kept(tmp_path):
  def save(checkpoints, *scores):
    for step, score in scores:
      checkpoints.save(step, {'x': jnp.float32(step)}, score)
    checkpoints.settle()
    return checkpoints.steps()

  target = abstract({'x': jnp.float32(0)})
  with Checkpoints(tmp_path, latest=2) as checkpoints:
    assert checkpoints.restore(target) is None
    worse = (4, 0.3), (5, math.nan), (6, None)
    assert save(checkpoints, (1, 0.2), (2, 0.9), (3, 0.9), *worse) == [3, 5, 6]
    assert checkpoints.restore(target, 'best').step == 3  # the later of two
  with Checkpoints(tmp_path, latest=2) as checkpoints:  # scores are remembered
    assert save(checkpoints, (7, 0.1)) == [3, 6, 7]
    assert checkpoints.restore(target, 'best').state['x'] == 3
    assert save(checkpoints, (8, 0.95), (9, 0.1), (10, 0.1)) == [8, 9, 10]
    with pytest.raises(RuntimeError, match='10'):
      checkpoints.save(10, {'x': jnp.float32(0)})


def test_without_scores_the_best_is_the_latest(tmp_path):
  with Checkpoints(tmp_path, latest=3) as checkpoints:
    for step in (1, 2, 3):
      checkpoints.save(step, {'x': jnp.int32(step)})
    best = checkpoints.restore(abstract({'x': jnp.int32(0)}), 'best')
  assert best.step == 3


def test_a_damaged_best_gives_way_to_the_next_best(copied):
  cut(copied / '1' / 'meta' / 'metadata')  # even its score is lost
  with Checkpoints(copied) as checkpoints:
    with pytest.warns(UserWarning, match='Checkpoint 1 is damaged'):
      assert checkpoints.restore(ABSTRACT, 'best').step == 3


def test_a_state_may_be_donated_while_it_is_written(tmp_path):
  @jax.jit
  def make(seed):
    return {'w': jnp.full((2**20,), seed, jnp.float32)}

  spoil = jax.jit(lambda s: {'w': s['w'] * -3 + 1}, donate_argnums=0)
  with Checkpoints(tmp_path) as checkpoints:
    for step in (1, 2, 3):
      state = make(step)
      checkpoints.save(step, state)
      for _ in range(20):
        state = spoil(state)
      assert state['w'][0] != step
      found = checkpoints.restore(abstract(make(0)))
      assert found.step == step and (found.state['w'] == step).all()


def test_what_a_killed_process_left_is_no_checkpoint(copied):
  """A write that was cut off has no name of its own yet."""
  left = copied / '4.orbax-checkpoint-tmp'
  shutil.copytree(copied / '3', left)
  (left / 'seal.json').unlink()
  with Checkpoints(copied) as checkpoints:
    assert checkpoints.restore(ABSTRACT).step == 3
    checkpoints.save(4, state_of(4))
    assert checkpoints.restore(ABSTRACT).step == 4
  assert not left.exists()


@pytest.fixture
def small_disk(tmp_path):
  """A file system of 6 MB."""
  place = tmp_path / 'disk'
  place.mkdir()
  mount = ['mount', '-t', 'tmpfs', '-o', 'size=6m', 'tmpfs', str(place)]
  try:
    subprocess.run(mount, check=True, capture_output=True)
  except (OSError, subprocess.CalledProcessError) as error:
    pytest.skip(f'needs the right to mount a small file system: {error}')
  yield place
  subprocess.run(['umount', str(place)], check=True)


@pytest.mark.parametrize('foreseen', [True, False])
def test_a_full_disk_is_a_warning_and_costs_nothing_written(
  small_disk, monkeypatch, foreseen
):
  """Foreseen by the free space, or met while writing, as under a quota."""

  def big(seed):
    return {'w': jax.random.normal(jax.random.key(seed), (2**18,))}

  target, filler = abstract(big(0)), small_disk / 'filler'
  if not foreseen:
    monkeypatch.setattr(checkpoint, '_free', lambda _: 2**40)
  with Checkpoints(small_disk / 'checkpoints') as checkpoints:
    checkpoints.save(1, big(1), 0.5)
    checkpoints.save(2, big(2), 0.4)
    assert checkpoints.settle() == 2
    free = shutil.disk_usage(small_disk).free
    filler.write_bytes(b'x' * (free - 500_000))
    for step in (3, 4):
      with pytest.warns(UserWarning, match=f'Checkpoint {step} could not') as w:
        checkpoints.save(step, big(step), 0.9)
        assert checkpoints.settle() == 2
      text = str(w[0].message)
      assert ('it may take 1.3 MB' if foreseen else 'No space left') in text
      assert 'good checkpoints: [1, 2]' in text
    assert bits(checkpoints.restore(target).state) == bits(big(2))
    assert sorted(p.name for p in checkpoints.folder.iterdir()) == ['1', '2']
    filler.unlink()
    checkpoints.save(5, big(5), 0.1)
    assert checkpoints.settle() == 5
    assert bits(checkpoints.restore(target, 'best').state) == bits(big(1))


DTYPES = ('float32', 'bfloat16', 'float16', 'int32', 'int8', 'uint8', 'bool')


@hypothesis.settings(deadline=None, max_examples=30)
@hypothesis.given(st.sampled_from(DTYPES), st.sampled_from((1, 33)), st.data())
def test_a_checksum_changes_with_any_bit(dtype, size, data):
  rng = np.random.default_rng(data.draw(st.integers(0, 2**32 - 1)))
  kind = jnp.dtype(dtype)
  raw = rng.integers(0, 256, size * kind.itemsize, np.uint8)
  raw = raw % 2 if dtype == 'bool' else raw
  other = raw.copy()
  at = data.draw(st.integers(0, len(raw) - 1))
  other[at] ^= 1 if dtype == 'bool' else 1 << data.draw(st.integers(0, 7))
  a, b = (trees.checksum(jnp.asarray(x.view(kind))) for x in (raw, other))
  assert int(a) != int(b)


def test_a_checksum_is_the_same_on_any_mesh():
  mesh, key = sharding.make_mesh(), jax.random.key(0)
  x = jax.random.normal(key, (16, 24)).astype(jnp.bfloat16)
  tree = {'x': x, 'key': jax.random.split(key, 8)}
  want = checksums(tree)
  assert len({value for _, value in want}) == 2
  for spec in (PartitionSpec('data'), PartitionSpec()):
    placed = jax.device_put(tree, NamedSharding(mesh, spec))
    assert checksums(placed) == want
  rows = jax.device_put(x, NamedSharding(mesh, PartitionSpec(None, 'data')))
  assert checksums({'x': rows})[0] == [w for w in want if w[0] == ('x',)][0]
