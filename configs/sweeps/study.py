r"""The study: all methods x data sets, five seeds, one net and budget per data.

  python -m mmjax.sweep --config=configs/sweeps/study.py --root=runs/study

One optimizer for all, AdamW with the settings of BalanceBenchmark: with plain
SGD at any rate that suits the shallow nets, the deep one of MMIN never starts.
"""

from configs.sweeps import _data

DATA = ('digits', 'cmu_mosi', 'cremad_votes', 'wikipedia_xmodal')
JOINT = dict(name='joint')

# name: (method, head, phases, which share the epochs)
METHODS = {
  'unimodal': (dict(name='unimodal'), 'late', ('unimodal',)),
  'sum': (JOINT, 'sum', ('joint',)),
  'concat': (JOINT, 'concat', ('joint',)),
  'late': (JOINT, 'late', ('joint',)),
  'film': (JOINT, 'film', ('joint',)),  # 'bifilm' for more than two modalities
  'bigated': (JOINT, 'bigated', ('joint',)),
  'ogm': (dict(name='ogm'), 'concat', ('joint',)),
  'ogm_ge': (dict(name='ogm', enhance=True), 'concat', ('joint',)),
  'qmf': (dict(name='qmf'), 'late', ('joint',)),
  'mmin': (dict(name='mmin'), 'mmin', ('pretrain', 'imagine')),
  'curriculum': (
    dict(name='curriculum'),
    'late',
    {'align': 0.25, 'classify': 0.75},
  ),
  'mla': (dict(name='mla'), 'shared', ('lap',)),
}


def get_config(data, name, data_root):
  """The config of one run."""
  method, head, phases = METHODS[name]
  if head == 'film' and _data.modalities(data) > 2:
    head = 'bifilm'
  config = _data.run(data, data_root, method, head, phases)
  config.optim = dict(name='adamw', lr=1e-3, weight_decay=1e-2)
  config.evals = dict(classification={}, subsets={}, gap={}, probe={})
  return config


def get_runs(data_root):
  return {
    f'{data}/{name}': get_config(data, name, data_root)
    for data in DATA
    for name in METHODS
  }
