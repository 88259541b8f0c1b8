r"""MLA, concatenation, late fusion and their rivals on more real data sets.

Six views of written digits (mfeat), spoken letters seen and heard (avletters),
embeddings of birds (cub_emb) and actions (utd_mhad), each with a net and a
budget of its own, and the optimizer of the study:

  python -m mmjax.sweep --config=configs/sweeps/real.py --root=runs/real
"""

from configs.sweeps import study

DATA = ('mfeat', 'avletters', 'cub_emb', 'utd_mhad')
METHODS = ('mla', 'concat', 'late', 'sum', 'curriculum', 'unimodal')


def get_runs(data_root):
  return {
    f'{data}/{name}': study.get_config(data, name, data_root)
    for data in DATA
    for name in METHODS
  }
