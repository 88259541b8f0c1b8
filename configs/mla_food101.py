r"""MLA on UPMC Food-101: a picture and the title of its page, 101 dishes.

Zhang et al., CVPR 2024, https://arxiv.org/abs/2311.10707: two copies of M3AE,
one reads the text, one sees the picture.

  python -m mmjax.main --mode=prepare --config=configs/mla_food101.py \
    --raw_dir=/path/to/UPMC_Food101
  python -m mmjax.main --config=configs/mla_food101.py \
    --config.encoders.visual.pretrained.weights=models/m3ae_base.npz \
    --config.encoders.text.pretrained.weights=models/m3ae_base.npz \
    --config.data.tokenizer=models/bert-base-uncased

docs/datasets.md says what the folder holds, mmjax/models/m3ae.py how the weights
become a .npz. Without weights and tokenizer, encoders start at random and texts
are bytes. Expected, as published: fused 93.3 % accuracy.

  python -m mmjax.main --config=configs/mla_food101.py:sample

is the same path on a small rendered set, with small encoders.
"""

from configs import common


def get_config(arg=''):
  _, sample = common.words(arg, 'mla_food101')
  config = common.get_config()
  config.data = dict(
    name='food101',
    data_dir='data',
    size=256,  # pixels a side of the stored pictures
    tokenizer='',
    max_tokens=256,
    split_seed=0,
    validation_fraction=0.0735,  # 5,000 of the training part, about
    sample=False,
  )
  return with_m3ae(config, sample)


def with_m3ae(config, sample=False):
  """Encoders and budget of MLA's experiments on pictures and texts."""
  encoder = dict(name='m3ae', pretrained=dict(weights='', tune='all'))
  config.encoders = dict(
    visual=dict(encoder, branch='image', image=256),
    text=dict(encoder, branch='text'),
  )
  config.width = 768
  config.augment = dict(visual=dict(name='image', size=256))
  config.method = dict(name='mla')
  config.phases = (('lap', 100),)
  config.optim = dict(name='sgd', lr=1e-3, momentum=0.9, weight_decay=1e-4)
  config.schedule = dict(name='staircase', every_epochs=70, factor=0.1)
  config.eval_batch_size = 64
  config.reader = dict(threads=4, ahead=4)
  return small(config) if sample else config


def small(config):
  """What a CPU can do in a minute or two, on what is rendered."""
  common.rendered(config)
  config.data.update(size=48, max_tokens=64)
  tiny = dict(name='m3ae', channels=32, layers=2, heads=4)
  config.encoders.visual = dict(tiny, branch='image', image=48)
  config.encoders.text = dict(tiny, branch='text', vocab=257)
  config.augment.visual = dict(name='image', size=48, scale=(0.6, 1.0))
  config.width = 32
  config.optim.lr = 0.02
  config.phases = (('lap', 20),)
  return config
