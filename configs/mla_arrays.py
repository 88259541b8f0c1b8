r"""MLA on your own arrays: a .npz file (no pickle) with one field per modality.

  python -m mmjax.main --config=configs/mla_arrays.py --config.data.path=my.npz

The fields: for each modality an array [N, ...], or ragged sequences as flat
values plus `<name>_len`; `label` i[N]; optionally `split` (0 train,
1 validation, 2 test) and `<name>_present` bool[N]. Encoders are chosen by
shape; to name one: --config.encoders="{'audio': {'name': 'mlp'}}".
"""

from configs import common


def get_config():
  config = common.get_config()
  config.data = dict(
    name='arrays',
    path='',
    modalities=(),  # () takes every numeric field with two axes or more
    label='label',
    split_field='split',
    splits=(0, 1, 2),  # values of train, validation, test
    pairs=(),  # (('logmel', 'pair_audio'), ..): field, its field of indices
    tokens=(),  # fields that hold token ids, 0 = padding
    tokenizer='',  # of fields of texts (str) that modalities names; '': bytes
    max_tokens=128,
    validation_fraction=0.15,  # of train, if no split is the validation's
    test_fraction=0.2,  # of all, if there is no split field
    max_len=0,  # crop longer sequences; 0 keeps them
    standardize=True,
    seed=0,
  )
  config.optim = dict(name='adamw', lr=1e-3, weight_decay=1e-2, clip_norm=1.0)
  config.phases = (('lap', 40),)
  config.num_seeds = 3
  return config
