r"""MLA, its ablations and released code, against late fusion and joint training.

python -m mmjax.sweep --config=configs/sweeps/mla.py --root=runs/mla
"""

from configs.sweeps import _data

DATA = ('digits', 'cmu_mosi', 'cremad_votes', 'utd_mhad')

# name: (method, head, phases)
METHODS = {
  'late': (dict(name='unimodal'), 'late', ('unimodal',)),
  'sum': (dict(name='joint'), 'sum', ('joint',)),
  'concat': (dict(name='joint'), 'concat', ('joint',)),
  'mla_no_projection': (
    dict(name='mla', projection='none'),
    'shared',
    ('lap',),
  ),
  'mla_fixed_fusion': (dict(name='mla', fusion='fixed'), 'shared', ('lap',)),
  'mla_released': (dict(name='mla_released'), 'shared', ('lap',)),
  'mla_released_forced': (
    dict(name='mla_released', projection=True, fusion='entropy_released'),
    'shared',
    ('lap',),
  ),
  'mla': (dict(name='mla'), 'shared', ('lap',)),
}


def get_runs(data_root):
  return {
    f'{data}/{name}': _data.run(data, data_root, *how)
    for data in DATA
    for name, how in METHODS.items()
  }
