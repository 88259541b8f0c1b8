r"""Unimodal encoders of the digits, pretrained without a label, to be frozen.

SimCLR on pictures, voices and spelled words, each by itself:

  python -m mmjax.main --config=configs/encoders_digits.py

The argument is another speech encoder, to see what a swap takes:

  python -m mmjax.main --config=configs/encoders_digits.py:patch
"""

from configs import common

SPEECH = {
  'tcn': dict(name='tcn', channels=32, blocks=3),
  'patch': dict(name='patch', patch=(4, 32), channels=64, layers=2),
}


def get_config(speech: str = 'tcn'):
  config = common.get_config()
  config.data = dict(
    name='digits', image_noise=0.0, speech_noise=0.3, text_noise=0.0
  )
  config.width = 64
  config.encoders = dict(
    image=dict(name='mlp', hidden=(256,)),
    speech=SPEECH[speech],
    text=dict(name='text', vocab=27, layers=0),
  )
  config.augment = dict(
    image=dict(name='picture'),
    speech=dict(name='voice', bands=3.0),
    text=dict(name='tokens', replace=0.2, vocab=27),
  )
  config.head = dict(name='late')
  config.method = dict(name='simclr', temperature=0.2)
  config.phases = (('pretrain', 40),)
  config.optim = dict(name='adamw', lr=1e-3, weight_decay=1e-4)
  config.batch_size = 128
  config.evals = dict(probe={}, gap={})
  config.run.watch = 'probe/joint/probe'
  config.run.eval_epochs = 20.0
  return config
