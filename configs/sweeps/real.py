r"""MLA, concatenation, late fusion and their rivals on two more real data sets.

Six views of written digits (mfeat), and spoken letters seen and heard
(avletters), with the nets, budget and optimizer of the study:

  python -m mmjax.sweep --config=configs/sweeps/real.py --root=runs/real
"""

from configs.sweeps import study

DATA = ('mfeat', 'avletters')
METHODS = ('mla', 'concat', 'late', 'sum', 'curriculum', 'unimodal')


def get_runs(data_root):
  return {
    f'{data}/{name}': study.get_config(data, name, data_root)
    for data in DATA
    for name in METHODS
  }
