r"""MLA on MVSA-Single: a tweet's picture and its words, 3 sentiments.

Zhang et al., CVPR 2024, https://arxiv.org/abs/2311.10707; encoders as in
configs/mla_food101.py, whose flags name the published weights.

  python -m mmjax.main --mode=prepare --config=configs/mla_mvsa.py \
    --raw_dir=/path/to/MVSA_Single
  python -m mmjax.main --config=configs/mla_mvsa.py

With QMF's train.jsonl, dev.jsonl and test.jsonl in the folder, the split is
theirs, as in the work (1,555 train, 519 test). Expected, as published: fused
79.9 % accuracy.

  python -m mmjax.main --config=configs/mla_mvsa.py:sample
"""

from configs import common, mla_food101


def get_config(arg=''):
  _, sample = common.words(arg, 'mla_mvsa')
  config = common.get_config()
  config.data = dict(
    name='mvsa_single',
    data_dir='data',
    labels='agree',  # as QMF and MLA; 'merged' has more tweets
    size=256,
    tokenizer='',
    max_tokens=256,
    split_seed=0,
    test_fraction=0.2,  # where there are no lists
    validation_fraction=0.1,
    sample=False,
  )
  return mla_food101.with_m3ae(config, sample)
