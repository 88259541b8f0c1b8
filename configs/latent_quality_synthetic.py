r"""Is another modality worth it? In a synthetic world whose answer is known.

Four modalities of 100 numbers that overlap by w, and a target that all of them
make up (Huang et al., NeurIPS 2021, section 5.2): the least risk of the first k
is 100 (4 - k)(1 - w)^2. The argument is w; at 1 all four are the same.

  python -m mmjax.main --mode=advise --config=configs/latent_quality_synthetic.py
  python -m mmjax.main --mode=advise --config=configs/latent_quality_synthetic.py:0.2
  python benchmarks/overlap_table.py     the published table, for all w

As published (mean squared error, k = 1, 2, 3, 4) for w = 0.5: 75.9, 51.3, 26.1,
0.0.
"""

from configs import common


def get_config(w: str = '0.5'):
  config = common.get_config()
  config.advise = dict(
    world=dict(name='overlap', w=float(w), train=4000, test=5000),
    lattice='all',
    fractions=(0.05, 0.15, 0.5, 1.0),
    num_seeds=5,
    learner=dict(
      encoder='linear',
      head='linear',
      width=128,
      lr=0.003,
      batch_size=2048,
      steps=400,
      eval_steps=20,
      patience=3,
    ),
    margin=0.02,
  )
  return config
