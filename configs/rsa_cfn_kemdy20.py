r"""Emotion from speech and text: residual self-attention cross fusion, KEMDy20.

  python -m mmjax.main --config=configs/rsa_cfn_kemdy20.py:rsa_cfn \
    --config.data.path=kemdy20.npz

The argument is the head: early, late, mlp_mixer, stack, residual, rsa, rsa_cfn
or hybrid, at the published sizes. KEMDy20 is given out on request (ETRI); what
the file must hold stands in mmjax/data/kemdy20.py. Published, weighted F1 on
seven classes, one seed, the epoch chosen on the test part (a test part that is
all called neutral has about .805):

  speech alone .87966   text alone .87552
  early .89021   late .88820   mlp_mixer .88520   stack .89107
  residual .89149   rsa .89165   rsa_cfn .89254   hybrid .88477
  rsa_cfn without the label transform .89043

Test utterances that rsa_cfn calls neutral, happy, angry, surprise, sad, fear,
disgust: 2310, 193, 17, 12, 11, 2, 15; hybrid: 2224, 227, 24, 50, 15, 12, 8.

There, wav2vec 2.0 (1024 numbers, mean over frames) and RoBERTa (768, mean over
tokens) learn along, at batches of 6, of 4 for rsa_cfn and hybrid. Features in a
file are frozen, so that these figures are a landmark, not a promise; lr may want
to be higher. `mlp_mixer` takes their steps, the others the means. The paper's
hybrid lets models vote that were trained apart: `python -m mmjax.vote`.

With `release`, encoders learn along as well, from the files of the release and
the published weights (a Korean or cross-lingual wav2vec 2.0 of the large size,
KLUE-RoBERTa base):

  python -m mmjax.main --mode=prepare --raw_dir=/path/to/KEMDy20 \
    --config=configs/rsa_cfn_kemdy20.py:release
  python -m mmjax.main --config=configs/rsa_cfn_kemdy20.py:rsa_cfn,release \
    --config.encoders.speech.pretrained.weights=models/wav2vec2-large-xlsr-korean \
    --config.encoders.text.pretrained.weights=models/klue-roberta-base \
    --config.data.tokenizer=models/klue-roberta-base

and small ones do, from a small rendered release, with

  python -m mmjax.main --config=configs/rsa_cfn_kemdy20.py:sample
"""

from configs import common

HEADS = {
  'early': {},
  'late': dict(normalize=True),
  'mlp_mixer': dict(
    max_steps=dict(speech=299, text=256), width=256, hidden=512
  ),
  'stack': dict(samples=5, dropout=0.5),
  'residual': dict(hidden=512, dropout=0.3),
  'rsa': dict(attention=256, hidden=512, dropout=0.3),
  'rsa_cfn': dict(attention=96, hidden=1024, dropout=0.3),
  'hybrid': dict(residual_hidden=512, attention=96, hidden=1024, dropout=0.3),
}


def get_config(arg='rsa_cfn'):
  given, sample = common.words(arg, 'rsa_cfn_kemdy20', ('release', *HEADS))
  head = next((word for word in given if word != 'release'), 'rsa_cfn')
  config = common.get_config()
  config.data = dict(
    name='kemdy20',
    path='',
    speech='speech',
    text='text',
    emotions='emotions',
    groups='',  # a field of speakers or sessions: no one in two splits
    label_transform=True,
    test_fraction=0.2,
    validation_fraction=0.1,  # of training; published: 0, chosen on the test
    seed=42,
    max_len=0,
    standardize=True,
  )
  config.encoders = dict(
    speech=dict(name='identity'), text=dict(name='identity')
  )
  config.head = dict(name=head, **HEADS[head])
  config.method = dict(name='joint')
  config.phases = (('joint', 10),)
  config.optim = dict(name='adamw', lr=1e-5, weight_decay=0.0)
  config.schedule = dict(name='constant')
  config.batch_size = 4 if head in ('rsa_cfn', 'hybrid') else 6
  config.eval_batch_size = 16
  config.mesh.data = 1  # a batch of 6 is not for many devices
  shown = dict(attention=dict(neutral='neutral')) if head == 'rsa' else {}
  config.evals = dict(classification={}, subsets={}, **shown)
  config.run.watch = 'classification/joint/weighted_f1'
  config.run.select = 'best'
  if sample or 'release' in given:
    _release(config)
  return _small(config) if sample else config


def _release(config):
  """Encoders that learn along, from the sound and the words themselves."""
  config.data = dict(
    name='kemdy20_release',
    data_dir='data',
    audio='waveform',
    seconds=6.0,  # a frame every 20 ms
    tokenizer='',
    max_tokens=128,
    label_transform=True,
    split_by='entry',
    split_seed=42,
    test_fraction=0.2,
    validation_fraction=0.1,
    sample=False,
  )
  pool = 'steps' if config.head.name == 'mlp_mixer' else 'mean'
  learnt = dict(weights='', tune='all')
  config.encoders = dict(
    speech=dict(
      name='wav2vec2',
      width=1024,
      conv_norm='layer',
      conv_bias=True,
      channels=1024,
      layers=24,
      heads=16,
      order='pre',
      pool=pool,
      remat=True,
      pretrained=dict(learnt),
    ),
    text=dict(
      name='bert',
      family='roberta',
      width=768,
      vocab=32000,
      max_length=514,
      types=1,
      eps=1e-5,
      pool=pool,
      pretrained=dict(learnt),
    ),
  )


def _small(config):
  common.rendered(config)
  config.data.update(seconds=1.0)
  config.batch_size = 8
  speech = dict(conv_channels=16, channels=32, layers=1, heads=2, places=16)
  text = dict(vocab=257, channels=32, layers=1, heads=2)
  config.encoders.speech = dict(
    name='wav2vec2', width=32, places_groups=4, **speech
  )
  config.encoders.text = dict(name='bert', width=32, pool='mean', **text)
  config.optim.lr = 1e-3
  config.phases = (('joint', 8),)
  return config
