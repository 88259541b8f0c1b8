r"""FuseMix on 600 birds: GoogLeNet latents of pictures, doc2vec of their texts.

Real frozen encoders, and few pairs: 360 train, 60 validate, 180 test.
CUB-200-2011 (Wah et al. 2011), as CPM-Nets prepared ten of its classes: free for
research. The file has image_googlenet1024, text_doc2vec300, label, split.

  python -m mmjax.main --config=configs/fusemix_cub.py
  python -m mmjax.main --config=configs/fusemix_cub.py:none

The argument is how latents are mixed: fusemix, separate, slerp, noise, quantize,
or none. With `swap` another encoder of the pictures is trained without labels
(configs/encoders_cub.py), run once, and aligned in place of the first:

  python -m mmjax.main --config=configs/fusemix_cub.py:swap
"""

from typing import Any

from configs import common

MODALITIES = ('image_googlenet1024', 'text_doc2vec300')


def get_config(mixing: str = 'fusemix'):
  config: Any = common.get_config()
  config.data = dict(
    name='arrays',
    path='../shared/data/cub_emb/data.npz',
    modalities=MODALITIES,
  )
  if mixing == 'swap':
    mixing = 'fusemix'
    config.extract = dict(recipe='configs/encoders_cub.py', path='latents/cub')
    config.data = dict(
      name='latents', path='latents/cub', modalities=MODALITIES
    )
  adapter = dict(name='adapter', blocks=1, expansion=0.25, dropout=0.6)
  config.encoders = {m: dict(adapter) for m in MODALITIES}
  config.width = 64
  config.head = dict(name='similarity', temperature=0.2)
  config.method = dict(name='fusemix', mixing=mixing)
  config.phases = (('align', 90, 'steps'),)
  config.optim = dict(
    name='adamw', lr=3e-4, weight_decay=0.1, decayed='matrices'
  )
  config.batch_size = 360
  config.num_seeds = 5
  config.seeds_how = 'vmap'
  config.evals = dict(
    retrieval={},
    zeroshot=dict(by='text_doc2vec300'),
    probe={},
    geometry={},
  )
  config.run.watch = 'retrieval/retrieval/mean/r_mean'
  config.run.eval_epochs = 30.0
  config.run.checkpoint_epochs = 90.0
  return config
