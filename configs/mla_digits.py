r"""MLA on the embedded digits: image, speech and text, three seeds.

Multimodal Representation Learning by Alternating Unimodal Adaptation,
Zhang, Yoon, Bansal, Yao, CVPR 2024, https://arxiv.org/abs/2311.10707

  python -m mmjax.main
"""

from configs import common


def get_config():
  config = common.get_config()
  config.data = dict(name='digits')
  config.encoders = dict(
    image=dict(name='mlp', hidden=(128,)),
    speech=dict(name='tcn', channels=32, blocks=3),
    text=dict(name='text', vocab=27, layers=0),
  )
  config.optim = dict(name='sgd', lr=0.1, momentum=0.9, weight_decay=1e-4)
  config.num_seeds = 3
  return config
