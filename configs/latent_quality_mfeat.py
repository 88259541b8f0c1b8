r"""Is another modality worth it? Three descriptions of handwritten digits.

2,000 digits described by 76 Fourier coefficients of their shape, 47 Zernike
moments and 6 morphological features (UCI Multiple Features, CC BY 4.0): weak
views that complete each other. The models of Huang et al., NeurIPS 2021.

  python -m mmjax.main --mode=advise --config=configs/latent_quality_mfeat.py
"""

from configs import common


def get_config():
  config = common.get_config()
  config.data = dict(
    name='arrays',
    path='../shared/data/mfeat/data.npz',
    modalities=('fou76', 'zer47', 'mor6'),
  )
  encoder = dict(name='mlp', hidden=(), width=128)
  config.encoders = dict(fou76=encoder, zer47=encoder, mor6=encoder)
  config.head = dict(name='concat')
  config.method = dict(name='joint')
  config.phases = (('joint', 100),)
  config.optim = dict(name='adamw', lr=0.01, weight_decay=0.0)
  config.schedule = dict(name='constant')
  config.batch_size = 1024
  config.advise = dict(
    fractions=(0.02, 0.06, 0.2, 0.5, 1.0),
    num_seeds=10,
    learner=dict(encoder='linear', head='linear', width=128, lr=0.01),
  )
  return config
