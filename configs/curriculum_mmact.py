r"""Per-modality heads with a curriculum on MMAct: RGB video and inertial sensors.

35 or 37 actions by 20 people. The published figures are macro F1: 84.88 %
cross-subject and 93.40 % cross-session, from RGB and IMU alone.
Kong et al., "MMAct", ICCV 2019, https://mmact19.github.io/2019/: on request.

  python -m mmjax.main --mode=prepare --config=configs/curriculum_mmact.py \
    --raw_dir=/path/to/MMAct
  python -m mmjax.main --config=configs/curriculum_mmact.py
  python -m mmjax.main --config=configs/curriculum_mmact.py:cross_session ...

docs/datasets.md says what the folder holds. People 1 to 16 train and 17 to 20
test; or the first part of everyone's sessions trains. ResNet-50 with a projection
and a temporal convolutional network are the work's; widths, temperature and
lengths it leaves open.

  python -m mmjax.main --config=configs/curriculum_mmact.py:sample

is the same path on a small rendered set, with small encoders.
"""

from configs import common

PROTOCOLS = ('cross_subject', 'cross_session')


def get_config(arg: str = ''):
  chosen, sample = common.words(arg, 'curriculum_mmact', PROTOCOLS)
  config = common.get_config()
  config.data = dict(
    name='mmact',
    data_dir='data',
    protocol=chosen[0] if chosen else PROTOCOLS[0],
    frames=8,
    size=224,
    imu_rate=50.0,
    imu_steps=512,
    validation_fraction=0.1,
    sample=False,
  )
  config.width = 256
  config.encoders = dict(
    rgb=dict(name='resnet', depth=50),
    imu=dict(name='tcn', stride=4, dropout=0.1),
  )
  config.augment = dict(
    rgb=dict(name='shift', pixels=16),
    imu=dict(name='sequence', rotate=30.0, noise=0.05, cut=0.1),
  )
  config.head = dict(name='late')
  config.method = dict(name='curriculum', patience=3, min_delta=0.02)
  config.phases = (('align', 20), ('classify', 40))
  config.optim = dict(name='adamw', lr=1e-3, weight_decay=1e-2, clip_norm=1.0)
  config.run.watch = 'classification/joint/macro_f1'
  return _small(config) if sample else config


def _small(config):
  common.rendered(config)
  config.data.update(frames=2, size=48, validation_fraction=0.3)
  config.width = 32
  config.encoders = dict(
    rgb=dict(name='resnet', depth=18, channels=8),
    imu=dict(name='tcn', stride=4),
  )
  config.augment.rgb = dict(name='shift', pixels=4)
  config.phases = (('align', 4), ('classify', 12))
  return config
