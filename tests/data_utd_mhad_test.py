"""UTD-MHAD: names, subjects, recordings of any length, unreadable files."""

import shutil

import numpy as np
import pytest
import scipy.io

from mmjax.data import utd_mhad

ALL = dict(modalities=('inertial', 'skeleton', 'rgb'), frames=2, size=16)


@pytest.fixture(scope='module')
def raw(tmp_path_factory):
  folder = tmp_path_factory.mktemp('utd')
  utd_mhad.corpus().render(folder)
  return folder


@pytest.fixture(scope='module')
def prepared(raw, tmp_path_factory):
  data_dir = tmp_path_factory.mktemp('data')
  utd_mhad.prepare(raw, data_dir, **ALL)
  return data_dir


def test_names_say_action_and_subject(raw):
  entries = utd_mhad.corpus().scan(raw).entries
  assert len(entries) == 3 * 8 * 2
  entry = entries['a3_s4_t2']
  assert (entry.label, entry.split, entry.group) == (2, 'test', '4')
  assert set(entry.parts) == {'inertial', 'skeleton'}
  assert entry.parts['skeleton'].file == raw / 'Skeleton/a3_s4_t2_skeleton.mat'
  assert {e.group for e in entries.values() if e.split == 'test'} == set('2468')
  assert len(utd_mhad.CLASS_NAMES) == 27


def test_take(raw, prepared):
  groups = {}
  for split, size in (('train', 18), ('validation', 6), ('test', 24)):
    source = utd_mhad.make(split, data_dir=prepared, **ALL)
    batch = source.take(np.arange(source.size))
    assert source.size == size and source.modalities == ALL['modalities']
    assert np.bincount(batch['label']).tolist() == [size // 3] * 3
    assert batch['inertial'].values.shape == (size, 326, 6)
    assert batch['skeleton'].values.shape == (size, 125, 20, 3)
    assert batch['rgb'].shape == (size, 2, 16, 16, 3)
    lengths = batch['inertial'].mask.sum(1)
    assert (lengths == 2 * batch['skeleton'].mask.sum(1)).all()
    groups[split] = batch
  want = scipy.io.loadmat(raw / 'Skeleton/a2_s6_t1_skeleton.mat')['d_skel']
  got = groups['test']['skeleton']
  (row,) = (
    i
    for i, mask_T in enumerate(got.mask)
    if mask_T.sum() == want.shape[2]
    and np.allclose(got.values[i][mask_T], np.moveaxis(want, 2, 0))
  )
  assert groups['test']['label'][row] == 1


def test_options(raw):
  corpus = utd_mhad.corpus(test_subjects=(1,), modalities=('rgb',))
  entries = corpus.scan(raw).entries
  assert {e.group for e in entries.values() if e.split == 'test'} == {'1'}
  assert entries['a1_s1_t1'].parts['rgb'].file.name == 'a1_s1_t1_color.avi'
  with pytest.raises(ValueError, match="modalities=.'depth',."):
    utd_mhad.corpus(modalities=('depth',))


def test_bad_files_are_skipped_and_named(raw, tmp_path):
  copy = tmp_path / 'copy'
  shutil.copytree(raw, copy)
  inertial = copy / 'Inertial'
  (inertial / 'a1_s1_t1_inertial.mat').write_bytes(b'garbage')
  (inertial / 'a1_s1_t2_inertial.mat').unlink()
  scipy.io.savemat(inertial / 'a2_s1_t1_inertial.mat', {'other': np.ones(2)})
  scipy.io.savemat(
    inertial / 'a2_s1_t2_inertial.mat', {'d_iner': np.ones((9, 5))}
  )
  scipy.io.savemat(
    inertial / 'a3_s1_t1_inertial.mat', {'d_iner': np.full((9, 6), np.nan)}
  )
  (inertial / 'a99_s1_t1_inertial.mat').write_bytes(b'')
  shutil.copytree(copy / 'Skeleton', copy / 'again/Skeleton')
  done = utd_mhad.prepare(copy, tmp_path / 'data')
  assert sum(done.counts.values()) == 43
  assert 'holds no d_iner' in done.skipped['a1_s1_t1']
  assert done.skipped['a1_s1_t2'] == 'has no inertial'
  assert 'holds no d_iner (KeyError' in done.skipped['a2_s1_t1']
  assert 'not steps of (6,)' in done.skipped['a2_s1_t2']
  assert 'is not finite' in done.skipped['a3_s1_t1']
  assert 'name is not one' in done.skipped['a99_s1_t1_inertial.mat']
  assert (
    done.skipped['again/Skeleton/a1_s1_t1_skeleton.mat'] == 'its name is taken'
  )
  with pytest.raises(ValueError, match='has no file such as a1_s1_t1_color'):
    shutil.rmtree(copy / 'RGB')
    utd_mhad.corpus(**ALL).scan(copy)
