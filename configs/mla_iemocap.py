r"""MLA on IEMOCAP: what is said, how, and with which face; 4 emotions.

Zhang et al., CVPR 2024, https://arxiv.org/abs/2311.10707: CAV-MAE's audio branch,
and M3AE for a frame and for the words.

  python -m mmjax.main --mode=prepare --config=configs/mla_iemocap.py \
    --raw_dir=/path/to/IEMOCAP_full_release
  python -m mmjax.main --config=configs/mla_iemocap.py \
    --config.encoders.audio.pretrained.weights=models/cav_mae.pth \
    --config.encoders.visual.pretrained.weights=models/m3ae_base.npz \
    --config.encoders.text.pretrained.weights=models/m3ae_base.npz \
    --config.data.tokenizer=models/bert-base-uncased

Expected, as published: fused 78.9 % accuracy. The split is drawn by utterance, as
there: the same people are on all sides. --config.data.split_by=session is the
harder, fairer one. What --config.missing does, the work's second table asks.

  python -m mmjax.main --config=configs/mla_iemocap.py:sample
"""

from configs import common, mla_food101


def get_config(arg=''):
  _, sample = common.words(arg, 'mla_iemocap')
  config = common.get_config()
  config.data = dict(
    name='iemocap',
    data_dir='data',
    classes=4,
    excited='happy',
    audio='fbank',
    frames=1,
    size=256,
    tokenizer='',
    max_tokens=256,
    split_by='entry',
    split_seed=0,
    test_fraction=0.2,
    validation_fraction=0.25,
    sample=False,
  )
  config = mla_food101.with_m3ae(config, sample)
  if sample:
    config.data.update(audio='spectrogram', seconds=1.0)
    config.encoders.audio = dict(name='resnet', channels=4)
    config.augment.audio = dict(name='standardize', mean=-6.0, std=4.0)
  else:
    config.encoders.audio = dict(
      name='cav_mae',
      branch='audio',
      pretrained=dict(weights='', tune='all', layer_decay=1.0),
    )
  return config
