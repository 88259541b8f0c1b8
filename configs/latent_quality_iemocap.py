r"""Is another modality worth it? IEMOCAP: text 100, visual 512, audio 100.

The experiment of Huang et al., "What makes multi-modal learning better than
single (provably)", NeurIPS 2021: six emotions (happy, sad, neutral, angry,
excited, frustrated), one linear layer of 128 per modality, concatenation, a
linear head, Adam at 0.01, batches of 2,048.

  python -m mmjax.main --mode=prepare --config=configs/latent_quality_iemocap.py \
    --raw_dir=/path/to/folder/of/IEMOCAP_features.pkl
  python -m mmjax.main --mode=advise --config=configs/latent_quality_iemocap.py

The file is that of DialogueRNN, read without running it: utterance features, of
an IEMOCAP that its authors give out on request (Busso et al. 2008). With
configs/latent_quality_iemocap.py:sample a small one is rendered. Published test accuracy: text 49.9 %,
text and one more 51.1 and 53.0 %, all three 53.9 %. Which second modality the
53.0 belongs to, the paper's tables disagree about; its 13,200 + 3,410 examples
are more than the usual 7,433 utterances of these six classes, and it does not
say what they are.
"""

from typing import Any

from configs import common


def get_config(arg=''):
  _, sample = common.words(arg, 'latent_quality_iemocap')
  config: Any = common.get_config()
  config.data = dict(
    name='iemocap_features',
    data_dir='data',
    file='IEMOCAP_features.pkl',
    text_width=100,
    audio_width=100,
    visual_width=512,
    validation_fraction=0.1,
    sample=False,
  )
  encoder = dict(name='mlp', hidden=(), width=128)
  config.encoders = dict(text=encoder, visual=encoder, audio=encoder)
  config.head = dict(name='concat')
  config.method = dict(name='joint')
  config.phases = (('joint', 30),)
  config.optim = dict(name='adamw', lr=0.01, weight_decay=0.0)
  config.schedule = dict(name='constant')
  config.batch_size = 2048
  config.advise = dict(
    # 1e-4 of the paper is one example or two, which leaves classes empty.
    fractions=(0.001, 0.01, 0.1, 1.0),
    num_seeds=10,
    learner=dict(encoder='linear', head='linear', width=128, lr=0.01),
  )
  if sample:
    common.rendered(config)
    config.advise = {
      **config.advise,
      'fractions': (0.3, 0.6, 1.0),
      'num_seeds': 3,
    }
  return config
