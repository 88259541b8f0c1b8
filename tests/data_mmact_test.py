"""MMAct: places, cameras, sensors on one clock, protocols, broken files."""

import shutil

import numpy as np
import pytest

from mmjax.data import _mmact, mmact
from mmjax.data._kinds import Part

SMALL = dict(frames=2, size=16, imu_steps=100)
NAMES = mmact.CLASS_NAMES


@pytest.fixture(scope='module')
def raw(tmp_path_factory):
  folder = tmp_path_factory.mktemp('mmact')
  mmact.corpus().render(folder)
  return folder


@pytest.fixture(scope='module')
def prepared(raw, tmp_path_factory):
  data_dir = tmp_path_factory.mktemp('data')
  mmact.prepare(raw, data_dir, **SMALL)
  return data_dir


def scan(raw, **options):
  return mmact.corpus(**options).scan(raw)


def test_layout_says_action_camera_and_subject(raw):
  assert len(NAMES) == len(set(NAMES)) == 37
  entries = scan(raw).entries
  entry = entries['subject1-cam2-scene3-session5-using_phone_desk']
  assert NAMES[entry.label] == 'using_phone_desk'
  assert (entry.split, entry.group) == ('train', '1')
  home = raw / 'trimmed_acc/acc_phone_clip/subject1/scene3/session5'
  assert entry.parts['imu'].file == home / 'using_phone.csv'
  film = raw / 'trimmed/subject1/cam2/scene3/session5/using_phone.mp4'
  assert entry.parts['rgb'].file == film
  entry = entries['subject17-cam1-scene2-session1-using_phone']
  assert NAMES[entry.label] == 'using_phone' and entry.split == 'test'
  assert len(entries) == 3 * 2 * (3 + 2)


def test_protocols_cameras_and_modalities(raw):
  across = scan(raw, protocol='cross_session').entries
  for name, entry in across.items():
    assert entry.split == ('test' if 'session5' in name else 'train')
  assert across['subject2-cam1-scene1-session1-carrying'].group == '2-1'
  assert len(scan(raw, cameras=(1,)).entries) == 24
  only = scan(raw, modalities=('imu',)).entries
  assert len(only) == 24
  assert set(only['subject3-scene1-session1-carrying'].parts) == {'imu'}
  lonely = scan(raw, cameras=(2,)).entries  # the others have sensors alone
  assert len(lonely) == 24
  assert 'rgb' not in lonely['subject3-scene1-session1-carrying'].parts


def test_take(prepared):
  sizes = {}
  for split in ('train', 'validation', 'test'):
    source = mmact.make(split, data_dir=prepared, **SMALL)
    batch = source.take(np.arange(source.size))
    sizes[split] = source.size
    assert batch['rgb'].shape == (source.size, 2, 16, 16, 3)
    assert batch['imu'].values.shape == (source.size, 100, 12)
    assert (batch['imu'].mask.sum(1) == 75).all()  # 1.49 seconds at 50 Hz
    labels = np.unique(batch['label'])
    assert [NAMES[label] for label in labels] == [
      *('carrying', 'using_phone', 'using_phone_desk'),
    ]
  assert sizes['test'] == 6 and sum(sizes.values()) == 30


def write(folder, sensor, lines):
  path = folder / sensor / 'subject1/scene1/session1/fall.csv'
  path.parent.mkdir(parents=True, exist_ok=True)
  path.write_text(lines)
  return path


def test_sensors_are_brought_to_the_first_ones_clock(tmp_path):
  first = write(
    tmp_path,
    'gyro_clip',
    # A header, no milliseconds, out of order, one time twice.
    'time,x,y,z\n20180712_10:15:05,0,0,1\n20180712_10:15:07.000,2,20,1\n'
    '20180712_10:15:06.000,1,10,1\n20180712_10:15:06.000,9,9,9\n\n',
  )
  other = write(
    tmp_path,
    'acc_phone_clip',
    '20180712_10:15:05.500,5,0,0\n20180712_10:15:06.500,7,0,0\n',
  )
  other.rename(other.with_name('Fall.csv'))
  sensors = ('gyro_clip', 'acc_phone_clip')
  got = _mmact.imu(Part(first), sensors, 2.0, 99)
  np.testing.assert_allclose(
    got[:, :4],
    [[0, 0, 1, 5], [0.5, 5, 1, 5], [1, 10, 1, 6], [1.5, 15, 1, 7], [2, 20, 1, 7]],
    atol=1e-3,
  )  # fmt: skip
  assert got.shape == (5, 6)
  assert _mmact.imu(Part(first), sensors, 2.0, 3).shape == (3, 6)


def test_bad_files_are_skipped_and_named(raw, tmp_path):
  copy = tmp_path / 'copy'
  shutil.copytree(raw / 'trimmed_acc', copy)
  home = copy / 'gyro_clip/subject2/scene1'
  (home / 'session1/carrying.csv').write_text('')
  (home / 'session5/carrying.csv').write_text(
    '20180712_10:15:05,0,0,1\n20180712_10:15:06.1,1,2\n'
  )
  (home / 'session5/flying.csv').write_text('')
  (copy / 'gyro_clip/subject3/scene1/session1/carrying.csv').unlink()
  (copy / 'gyro_clip/subject3/scene1/session5/carrying.csv').write_text(
    '20180712_10:15:05,0,0,1\n20180712_10:15:nan,1,2,3\n'
  )
  options = dict(modalities=('imu',), imu_steps=100)
  done = mmact.prepare(copy, tmp_path / 'data', **options)
  name = 'subject{}-scene1-session{}-carrying'
  assert done.skipped[name.format(2, 1)] == 'holds no line'
  for subject in (2, 3):
    assert 'line 2: ' in done.skipped[name.format(subject, 5)]
  path = 'gyro_clip/subject2/scene1/session5/flying.csv'
  assert done.skipped[path] == 'the name is none of the actions'
  assert sum(done.counts.values()) == 24 - 4
  with pytest.raises(ValueError, match=r'no file subject\*/cam\*/scene'):
    scan(copy)


@pytest.mark.parametrize(
  'options, says',
  [
    (dict(protocol='cross_view'), "protocol='cross_view'"),
    (dict(modalities=()), 'modalities=..'),
    (dict(sensors=('wifi',)), 'sensors='),
    (dict(cameras=(5,)), 'cameras='),
    (dict(imu_rate=0), 'imu_rate=0 must be above 0'),
  ],
)
def test_options_are_checked(options, says):
  with pytest.raises(ValueError, match=says):
    mmact.corpus(**options)
