r"""FuseMix on the embedded digits: frozen encoders, small adapters, one device.

Vouitsis et al., CVPR 2024, "Data-Efficient Multimodal Fusion on a Single GPU",
https://arxiv.org/abs/2312.10144

  python -m mmjax.main --config=configs/fusemix_digits.py
  python -m mmjax.main --config=configs/fusemix_digits.py:speech-image

Where there are no latents yet, the encoders of configs/encoders_digits.py are
trained first, without labels, and each runs once over the data.
"""

from typing import Any

from configs import common


def get_config(pair: str = 'speech-text'):
  modalities = tuple(pair.split('-'))
  config: Any = common.get_config()
  config.extract = dict(
    recipe='configs/encoders_digits.py', path='latents/digits'
  )
  config.data = dict(
    name='latents', path='latents/digits', modalities=modalities
  )
  adapter = dict(name='adapter', blocks=1, dropout=0.3)
  config.encoders = {m: dict(adapter) for m in modalities}
  config.head = dict(name='similarity')
  config.method = dict(name='fusemix')
  config.phases = (('align', 200),)
  config.optim = dict(
    name='adamw', lr=1e-3, weight_decay=0.1, decayed='matrices'
  )
  config.schedule = dict(name='cosine', warmup_epochs=5.0)
  config.batch_size = 512  # 256 mixed pairs
  config.num_seeds = 5
  config.evals = dict(retrieval={}, probe={}, geometry={})
  if 'text' in modalities:
    config.evals = dict(config.evals, zeroshot=dict(by='text'))
  config.run.watch = 'retrieval/retrieval/mean/r_mean'
  config.run.eval_epochs = 20.0
  return config
