r"""Published encoders for pictures or sounds and their captions, to be frozen.

DINOv2 ViT-g/14, BGE-large and Whisper large-v2, as FuseMix puts them to use
(there, HTS-AT stands beside Whisper). What configs/fusemix_{flickr30k,coco,
audiocaps,clotho}.py extract from; the argument is the data set:

  python -m mmjax.main --mode=prepare --raw_dir=/path/to/flickr30k \
    --config=configs/encoders_pairs.py:flickr30k

The weights are looked for in models/dinov2-giant, models/bge-large-en-v1.5 and
models/whisper-large-v2, folders as Hugging Face's hub has them. With `sample`,
as in `:flickr30k,sample`, small random encoders look at what is rendered.
"""

from configs import common

AUDIO = ('audiocaps', 'clotho')
SETS = ('flickr30k', 'coco', *AUDIO)


def get_config(arg: str = 'flickr30k'):
  given, sample = common.words(arg, 'encoders_pairs', SETS)
  name = given[0] if given else 'flickr30k'
  first = 'audio' if name in AUDIO else 'image'
  config = common.get_config()
  config.data = dict(
    name=name,
    data_dir='data',
    tokenizer='models/bge-large-en-v1.5',
    max_tokens=128,
    sample=False,
  )
  config.data.update(
    dict(audio='whisper') if first == 'audio' else dict(size=256)
  )
  config.encoders = {first: _first(first), 'text': _text()}
  if first == 'image':
    config.augment = dict(image=dict(name='image', size=224))
  config.head = dict(name='late')
  config.method = dict(name='simclr')  # is never asked: nothing is trained
  config.phases = (('pretrain', 1, 'steps'),)
  config.evals = dict(probe={})
  config.run.watch = 'probe/joint/probe'
  config.reader = dict(threads=4, ahead=4)
  return _small(config, first) if sample else config


def _first(modality: str):
  if modality == 'audio':
    return dict(
      name='whisper',
      width=1280,
      channels=1280,
      layers=32,
      heads=20,
      pretrained=dict(weights='models/whisper-large-v2', tune='frozen'),
    )
  return dict(
    name='vit',
    family='dinov2',
    width=1536,
    patch=14,
    channels=1536,
    layers=40,
    heads=24,
    hidden=4096,
    activation='swiglu',
    pretrained=dict(weights='models/dinov2-giant', tune='frozen'),
  )


def _text():
  return dict(
    name='bert',
    width=1024,
    channels=1024,
    layers=24,
    heads=16,
    pool='first',
    normalize=True,
    pretrained=dict(weights='models/bge-large-en-v1.5', tune='frozen'),
  )


def _small(config, first):
  common.rendered(config)
  config.data.tokenizer = ''
  text = dict(name='bert', vocab=257, channels=32, layers=1, heads=2)
  config.encoders.text = dict(text, width=32, pool='mean')
  if first == 'audio':
    config.data.update(audio='spectrogram', seconds=2.0)
    config.encoders.audio = dict(name='resnet', channels=4, width=32)
  else:
    config.data.size = 48
    image = dict(name='vit', image=48, patch=16, channels=32, layers=1)
    config.encoders.image = dict(image, heads=2, width=32, pool='mean')
    config.augment.image = dict(name='image', size=48)
  return config
