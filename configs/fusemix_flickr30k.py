r"""FuseMix on Flickr30k: pictures and their captions, on frozen latents.

Vouitsis et al., CVPR 2024, "Data-Efficient Multimodal Fusion on a Single GPU",
https://arxiv.org/abs/2312.10144: the adapters, loss and budget of the released
configuration (DINOv2 ViT-g/14 of width 1536 with BGE-large of width 1024).

  python -m mmjax.main --mode=prepare --raw_dir=/path/to/flickr30k \
    --config=configs/encoders_pairs.py:flickr30k
  python -m mmjax.main --config=configs/fusemix_flickr30k.py

runs the published encoders of configs/encoders_pairs.py once over the pictures
and captions, then aligns what they tell; `:sample` does all of it with small
encoders on a few rendered pairs:

  python -m mmjax.main --config=configs/fusemix_flickr30k.py:sample

With latents of your own,

  python -m mmjax.main --config=configs/fusemix_flickr30k.py:latents/dinov2

the argument is their folder: image.npz and text.npz, each with
`latents` [R, D], `id` [R] (the picture's file name, five times among the texts)
and, in one of them, `split`; see mmjax/data/latents.py. Splits are Karpathy's,
with 1,000 test pictures. Published after training on 5 M pairs of four other
sets as well, R@1 / 5 / 10 in percent: text to image 71.2 / 91.4 / 94.7, image to
text 84.8 / 97.2 / 99.1; on 3 M pairs 59.9 / 86.4 / 91.6 and 74.4 / 94.0 / 97.4.
"""

from configs import common


def get_config(path: str = ''):
  return aligned('flickr30k', path, ('image', 'text'))


def aligned(name, path, modalities, batch_size: int = 40_960):
  """What the recipes of the work share: on your latents, or on extracted ones."""
  config = common.get_config()
  sample = path == 'sample'
  if sample or not path:
    path = f'latents/{"sample_" * sample}{name}'
    config.extract = dict(
      recipe=f'configs/encoders_pairs.py:{name}{",sample" * sample}',
      path=path,
      train=False,  # published weights as they are
      batch_size=32,
      dtype='float16',
    )
  config.data = dict(name='latents', path=path, modalities=modalities)
  adapter = dict(name='adapter', blocks=4, expansion=4.0, dropout=0.6)
  config.encoders = {m: dict(adapter) for m in modalities}
  config.width = 512
  config.head = dict(name='similarity', temperature=0.07)
  # Tiles, so that half a batch of similarities need not lie in memory.
  config.method = dict(name='fusemix', block=2048)
  config.phases = (('align', 500),)
  config.optim = dict(
    name='adamw', lr=1e-3, weight_decay=0.1, decayed='matrices'
  )
  config.schedule = dict(name='cosine', warmup_epochs=1.0, final=1e-3)
  config.batch_size = batch_size  # half as many mixed pairs
  config.eval_batch_size = 1024
  config.evals = dict(retrieval={}, geometry={})
  config.run.watch = 'retrieval/retrieval/mean/r_mean'
  config.run.eval_epochs = 10.0
  config.run.checkpoint_epochs = 10.0
  config.run.select = 'best'  # on validation, where the authors took test
  return _small(config) if sample else config


def _small(config):
  """For the few pairs that are rendered, of encoders that know nothing."""
  adapter = dict(name='adapter', blocks=1, dropout=0.1)
  config.encoders = {m: dict(adapter) for m in config.data.modalities}
  config.width = 32
  config.method = dict(name='fusemix')
  config.phases = (('align', 100, 'steps'),)
  config.batch_size, config.eval_batch_size = 12, 32
  config.run.eval_epochs = config.run.checkpoint_epochs = 20.0
  return config
