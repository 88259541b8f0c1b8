r"""MLA on CREMA-D: audio and visual ResNet-18 from scratch.

Multimodal Representation Learning by Alternating Unimodal Adaptation,
Zhang, Yoon, Bansal, Yao, CVPR 2024, https://arxiv.org/abs/2311.10707

  python -m mmjax.main --mode=prepare --config=configs/mla_cremad.py \
    --raw_dir=/path/to/CREMA-D
  python -m mmjax.main --config=configs/mla_cremad.py

Expected, as published (the authors' split, five points apart from one public
pipeline to the next): audio 59.3, visual 64.9, fused 79.7 % accuracy.

  python -m mmjax.main --config=configs/mla_cremad.py:sample

is the same path end to end, in minutes on a CPU: a small corpus is rendered in
the published layout and prepared, and a thinner net is trained on it.
"""

from configs import common


def get_config(arg=''):
  _, sample = common.words(arg, 'mla_cremad')
  config = common.get_config()
  config.data = dict(
    name='cremad',
    data_dir='data',
    audio='spectrogram',  # or 'fbank'
    frames=3,
    size=256,  # pixels a side of the stored frames
    split_by='clip',  # 'actor': no actor in two splits; 'file': split_files
    split_files=(),
    split_seed=0,
    test_fraction=0.1,
    validation_fraction=0.1,
    on_missing='skip',  # 'present': keep clips that lack a file
    sample=False,
  )
  config.width = 512
  config.encoders = dict(
    audio=dict(name='resnet', depth=18), visual=dict(name='resnet', depth=18)
  )
  config.augment = dict(visual=dict(name='image', size=224))
  config.head = dict(name='shared')
  config.method = dict(name='mla')
  config.phases = (('lap', 100),)
  config.optim = dict(name='sgd', lr=1e-3, momentum=0.9, weight_decay=1e-4)
  config.schedule = dict(name='staircase', every_epochs=70, factor=0.1)
  config.eval_batch_size = 64
  config.reader = dict(threads=4, ahead=4)
  return thin(config) if sample else config


def thin(config):
  """What a CPU can do in a few minutes, on what is rendered."""
  common.rendered(config)
  config.data.update(frames=1, size=72)
  config.width = 64
  thin = dict(name='resnet', depth=18, channels=8)
  config.encoders = dict(audio=thin, visual=thin)
  config.augment = dict(
    visual=dict(name='image', size=64, scale=(0.6, 1.0)),
    audio=dict(name='standardize', mean=-6.0, std=4.0),
  )
  config.optim.lr = 0.02
  config.phases = (('lap', 16),)
  return config
