r"""MLA on Kinetics-Sounds: audio and visual ResNet-18 from scratch, 31 classes.

Zhang et al., CVPR 2024, https://arxiv.org/abs/2311.10707

  python -m mmjax.main --mode=prepare --config=configs/mla_ks.py \
    --raw_dir=/path/to/kinetics
  python -m mmjax.main --config=configs/mla_ks.py

docs/datasets.md says what the folder holds. Expected, as published: audio 54.7,
visual 51.0, fused 71.4 % accuracy; BalanceBenchmark's own run of it has 69.1.

  python -m mmjax.main --config=configs/mla_ks.py:sample

is the same path on a small rendered set, in a minute or two on a CPU.
"""

from configs import common, mla_cremad


def get_config(arg=''):
  _, sample = common.words(arg, 'mla_ks')
  config = mla_cremad.get_config()
  config.data = dict(
    name='kinetics_sounds',
    data_dir='data',
    audio='fbank',
    frames=3,
    size=256,  # pixels a side of the stored frames
    test_from='test',  # 'val', where the test part is not to be had
    split_seed=0,
    validation_fraction=0.1,
    sample=False,
  )
  config.augment = dict(
    visual=dict(name='image', size=224),
    # OGM-GE's numbers, of the whole training set.
    audio=dict(name='standardize', mean=-4.503877, std=2 * 5.141276),
  )
  return mla_cremad.thin(config) if sample else config
