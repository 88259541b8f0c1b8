r"""Per-modality heads with a curriculum on UTD-MHAD, cross-subject.

27 actions by 8 people, seen by an inertial sensor on the wrist or thigh, as a
skeleton, and as depth frames. Odd people train, even ones test. Without
validation people, a stratified draw from the training clips is the validation
split; it shares its people, so it looks better than the test.

  python -m mmjax.main --config=configs/curriculum_utd_mhad.py
  python -m mmjax.main --config=configs/curriculum_utd_mhad.py:concat

The argument is one of the baselines on the same encoders: concat (features
side by side, one loss), aggregate (per-modality heads without the alignment
before), probe (the alignment, then a linear probe on frozen encoders), late
(heads trained by the fused loss alone), unimodal (each modality by itself).
Chen, Jafari, Kehtarnavaz, "UTD-MHAD", ICIP 2015: free for research. The file
has the fields inertial, skeleton (ragged), depth, label, split.
"""

from configs import common

EPOCHS = 40
ALIGN = 8  # of them, at most

# What is trained, on which head, in which phases.
RUNS = {
  'curriculum': (
    dict(name='curriculum', temperature=0.5, patience=3, min_delta=0.02),
    'late',
    (('align', ALIGN), ('classify', EPOCHS - ALIGN)),
  ),
  'aggregate': (dict(name='curriculum'), 'late', (('classify', EPOCHS),)),
  'probe': (
    dict(name='curriculum', temperature=0.5),
    'late',
    (('align', EPOCHS - 10), ('probe', 10)),
  ),
  'concat': (dict(name='joint'), 'concat', (('joint', EPOCHS),)),
  'late': (dict(name='joint'), 'late', (('joint', EPOCHS),)),
  'unimodal': (dict(name='unimodal'), 'late', (('unimodal', EPOCHS),)),
}


def get_config(run: str = 'curriculum'):
  config = common.get_config()
  config.data = dict(
    name='arrays',
    path='../shared/data/utd_mhad/data.npz',
    modalities=('inertial', 'skeleton', 'depth'),
    max_len=192,
  )
  motion = dict(channels=64, blocks=3, dropout=0.1)
  config.width = 128
  config.encoders = dict(
    inertial=dict(name='tcn', stride=4, **motion),
    skeleton=dict(name='skeleton', stride=4, **motion),
    depth=dict(name='video', patch=4, stages=(32, 64), difference=True),
  )
  config.augment = dict(
    inertial=dict(name='sequence', rotate=30.0, noise=0.05, cut=0.1),
    skeleton=dict(name='sequence', rotate=15.0, noise=0.01, cut=0.1),
    depth=dict(name='shift', pixels=4, frames=1),
  )
  method, head, config.phases = RUNS[run]
  config.method, config.head = method, dict(name=head)
  config.optim = dict(name='adamw', lr=2e-3, weight_decay=1e-2, clip_norm=1.0)
  config.batch_size = 32
  config.num_seeds = 5
  config.evals = dict(classification={}, subsets={}, gap={}, probe={})
  config.run.watch = 'classification/joint/macro_f1'
  config.run.eval_epochs = 5.0
  return config
