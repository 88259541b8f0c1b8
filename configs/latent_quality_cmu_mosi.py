r"""Is another modality worth it? CMU-MOSI: text 100, audio 73, video 100.

The setting of Huang et al., "What makes multi-modal learning better than single
(provably)", NeurIPS 2021, on the features of the same authors for the sibling
of their data set: one linear layer of 128 per modality, concatenation, a linear
head, Adam at 0.01, batches of 2,048.

  python -m mmjax.main --mode=advise --config=configs/latent_quality_cmu_mosi.py

As published on IEMOCAP: text alone 49.9 %, all three 53.9 %; the paper's tables
disagree about which second modality helps more. Zadeh et al. 2016 (CMU-MOSI),
Poria et al. 2017 (features): for research.
"""

from configs import common


def get_config():
  config = common.get_config()
  config.data = dict(
    name='arrays',
    path='../shared/data/cmu_mosi/data.npz',
    modalities=('text', 'audio', 'video'),
  )
  # The same model as a training recipe: python -m mmjax.main --config=...
  encoder = dict(name='mlp', hidden=(), width=128)
  config.encoders = dict(text=encoder, audio=encoder, video=encoder)
  config.head = dict(name='concat')
  config.method = dict(name='joint')
  config.phases = (('joint', 30),)
  config.optim = dict(name='adamw', lr=0.01, weight_decay=0.0)
  config.schedule = dict(name='constant')
  config.batch_size = 2048
  config.advise = dict(
    lattice='all',  # or 'prefixes', 'leave_one_out'; sample=n takes n at random
    fractions=(0.01, 0.03, 0.1, 0.3, 1.0),  # of the training examples
    num_seeds=10,  # draws of examples and of initial weights
    learner=dict(
      encoder='linear',  # 'mlp' has a hidden layer
      head='linear',  # 'mlp' sees what only a combination tells
      width=128,
      lr=0.01,
      batch_size=2048,
      steps=300,
      eval_steps=10,  # a look at the validation part
      patience=5,  # looks without a better one, then the model stops
    ),
    # Worth is counted in 'risk' (nats), or in 'accuracy': here the features were
    # learnt on the training part, so that risks on others are no fair measure.
    measure='accuracy',
    margin=0.02,  # share of the whole worth that counts as something
    level=0.95,  # of intervals
    horizon=10.0,  # how far to extrapolate, in multiples of the training part
    folds=5,  # of the best head; 0 as published, on the examples it is told by
  )
  return config
