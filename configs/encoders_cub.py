r"""Another encoder for the birds' pictures, to swap in: trained without labels.

A small net on the GoogLeNet latents, by SimCLR with dropout as the only
difference between two views (Gao et al. 2021, "SimCSE"); the texts stay what
they are. What configs/fusemix_cub.py:swap aligns.

  python -m mmjax.main --config=configs/encoders_cub.py
"""

from configs import common, fusemix_cub


def get_config():
  config = common.get_config()
  config.data = fusemix_cub.get_config().data.to_dict()
  image, text = config.data.modalities
  config.encoders = {
    image: dict(
      name='mlp', hidden=(256,), norm='layer', dropout=0.5, width=128
    ),
    text: dict(name='identity'),
  }
  config.head = dict(name='late')
  config.method = dict(name='simclr', temperature=0.2)
  config.phases = (('pretrain', 200, 'steps'),)
  config.optim = dict(name='adamw', lr=1e-3, weight_decay=1e-2)
  config.batch_size = 180
  config.evals = dict(probe={})
  config.run.watch = f'probe/{image}/probe'
  config.run.eval_epochs = 20.0
  return config
