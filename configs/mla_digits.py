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
    speech=dict(name='tcn'),
    text=dict(name='text', vocab=27, layers=0),
  )
  config.num_seeds = 3
  return config
