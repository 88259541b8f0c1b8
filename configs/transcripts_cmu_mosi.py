r"""A published text encoder on what was said: sentiment of CMU-MOSI utterances.

  python -m mmjax.main --config=configs/transcripts_cmu_mosi.py:lora

The argument says how much of the encoder learns: frozen, lora, last (two of its
layers) or all; random starts without its weights. Beside the words, the voice:
73 openSMILE numbers. Joint training of both, a head each and their sum.

Data: ../shared/data/cmu_mosi, transcripts and features. The encoder reads a
folder of the Hugging Face hub, sentence-transformers/all-MiniLM-L6-v2 (Apache
2.0, 91 MB), at models/all-MiniLM-L6-v2; any BERT does with its sizes below.
Learning rates are those usual for what learns; nothing was searched for, budgets
are equal, and the last model counts.
"""

from typing import Any

from configs import common

RATES = dict(frozen=3e-3, lora=1e-3, last=1e-4, all=1e-4, random=3e-4)
FOLDER = 'models/all-MiniLM-L6-v2'


def get_config(tune='lora', path='../shared/data/cmu_mosi/data.npz'):
  if tune not in RATES:
    raise ValueError(f'no argument {tune!r} here, but {", ".join(RATES)}.')
  config = common.get_config()
  config.data = dict(
    name='arrays',
    path=path,
    modalities=('transcript', 'audio'),
    tokenizer=FOLDER,
    max_tokens=40,  # two utterances of 100 are longer
  )
  text: Any = dict(
    name='bert',
    channels=384,
    layers=6,
    heads=12,
    hidden=1536,
    pool='mean',
  )
  if tune != 'random':
    text['pretrained'] = dict(weights=FOLDER, tune=tune, rank=8, last=2)
  config.encoders = dict(
    transcript=text, audio=dict(name='mlp', hidden=(128,), dropout=0.3)
  )
  config.width = 384
  config.head = dict(name='late')
  config.method = dict(name='joint', unimodal_weight=1.0)
  config.phases = (('joint', 3),)
  config.optim = dict(name='adamw', lr=RATES[tune], weight_decay=1e-2)
  config.batch_size, config.eval_batch_size = 32, 96
  config.evals = dict(classification={}, subsets={})
  config.num_seeds = 3
  return config
