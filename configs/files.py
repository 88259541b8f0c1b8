r"""Any data set of files, with encoders that fit: the first thing to try.

  python -m mmjax.main --mode=prepare --config=configs/files.py:ravdess \
    --raw_dir=/path/to/RAVDESS
  python -m mmjax.main --config=configs/files.py:ravdess
  python -m mmjax.main --config=configs/files.py:ravdess,sample

The argument is a data set of docs/datasets.md; without one, it is a table of
your own files, of which `config.data.columns` says what is in it. Encoders are
ResNet-18 for pictures and pictures of sound, a small transformer for texts, and
what fits the shape for all else; they learn jointly, with a head each. With
`sample`, a small set of the same layout is rendered and used.
"""

from typing import Any

from configs import common

SETS = (
  *('files', 'ravdess', 'kinetics_sounds', 'vggsound', 'meld', 'av_mnist'),
  *('food101', 'mvsa_single', 'iemocap', 'iemocap_features', 'cmu_mosei'),
  *('utd_mhad', 'mmact', 'kemdy20_release', 'cremad'),
)
SEEN = {  # modalities of pixels, by data set
  'mmact': ('rgb',),
  'files': ('image',),
  **dict.fromkeys(
    (
      *('ravdess', 'kinetics_sounds', 'vggsound', 'meld', 'food101'),
      *('mvsa_single', 'iemocap', 'cremad'),
    ),
    ('visual',),
  ),
}
READ = ('meld', 'food101', 'mvsa_single', 'iemocap', 'kemdy20_release', 'files')
HEARD = {
  'kemdy20_release': 'speech',
  **dict.fromkeys(
    ('ravdess', 'kinetics_sounds', 'vggsound', 'meld', 'iemocap', 'cremad'),
    'audio',
  ),
}


def get_config(arg: str = 'files'):
  given, sample = common.words(arg, 'files', SETS)
  name = given[0] if given else 'files'
  config: Any = common.get_config()
  data: Any = dict(name=name, data_dir='data', sample=False)
  config.data = data
  if name == 'files':
    config.data.columns = dict(
      image=dict(kind='picture', column='image', size=256),
      text=dict(kind='text', column='text'),
    )
  side, channels = (48, 8) if sample else (224, 64)
  resnet = dict(name='resnet', depth=18, channels=channels)
  for m in SEEN.get(name, ()):
    config.encoders[m] = dict(resnet)
    config.augment[m] = dict(name='image', size=side)
  if name in HEARD:
    config.data.audio = 'fbank'
    config.encoders[HEARD[name]] = dict(resnet)
    config.augment[HEARD[name]] = dict(name='standardize', mean=-5.0, std=4.5)
  if name == 'av_mnist':
    config.encoders.image = dict(name='mlp', hidden=(256,))
    config.encoders.audio = dict(name='patch', patch=(16, 16))
  if name in READ:
    config.data.max_tokens = 128
    config.encoders.text = dict(name='text', vocab=257)  # bytes
  config.width = 128
  config.head = dict(name='late')
  config.method = dict(name='joint', unimodal_weight=1.0)
  config.phases = (('joint', 30),)
  config.optim = dict(name='adamw', lr=1e-3, weight_decay=1e-2)
  return _small(config, name) if sample else config


def _small(config, name):
  common.rendered(config)
  if name in SEEN and name != 'files':
    config.data.size = 48
  if name in HEARD:
    config.data.audio = 'spectrogram'
    if name != 'cremad':  # always three seconds
      config.data.seconds = 1.0
  config.width = 32
  config.phases = (('joint', 10),)
  return config
