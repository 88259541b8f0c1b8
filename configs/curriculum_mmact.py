r"""Per-modality heads with a curriculum on MMAct: RGB video and inertial sensors.

35 or 37 actions by 20 people. The published figures are macro F1: 84.88 %
cross-subject and 93.40 % cross-session, from RGB and IMU alone.
Kong et al., "MMAct", ICCV 2019, https://mmact19.github.io/2019/: on request.

  python -m mmjax.main --config=configs/curriculum_mmact.py \
    --config.data.path=mmact.npz
  python -m mmjax.main --config=configs/curriculum_mmact.py:cross_session ...

The file, without pickle: `rgb` u8[N, T, H, W, 3] with 8 frames or so of each
clip, `imu` f32[sum of lengths, F] beside `imu_len` i[N], `label`, and for each
protocol a field with 0 (train), 1 (validation) or 2 (test): `cross_subject`
(people 1 to 16 train, 17 to 20 test) and `cross_session` (the first part of the
sessions trains). ResNet-50 with a projection and a temporal convolutional
network are the work's; widths, temperature and lengths it leaves open.
"""

from configs import common

PROTOCOLS = ('cross_subject', 'cross_session')


def get_config(protocol: str = 'cross_subject'):
  if protocol not in PROTOCOLS:
    raise ValueError(
      f'curriculum_mmact:{protocol} is none of {", ".join(PROTOCOLS)}.'
    )
  config = common.get_config()
  config.data = dict(
    name='arrays',
    path='',
    modalities=('rgb', 'imu'),
    split_field=protocol,
    max_len=512,
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
  return config
