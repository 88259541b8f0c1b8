r"""Missing modalities: methods x rates, the same in training and in test.

  python -m mmjax.sweep --config=configs/sweeps/missing.py --root=runs/missing
  python -m mmjax.sweep --config=configs/sweeps/missing.py:cpm --root=runs/cpm

A rate is the share of entries (examples x modalities) that is missing. Every
example keeps one of its M modalities, so it ends at 1 - 1/M: .5 for two, .667
for three, which stand in place of all rates above. The published sampler
(`cpm`) takes any rate and saturates there, with a warning.
"""

from typing import Any

from configs.sweeps import _data, study

DATA = ('cmu_mosi', 'cremad_votes')
METHODS = ('mla', 'late', 'qmf', 'mmin', 'concat')
RATES = (0.0, 0.2, 0.4, 0.6, 0.8)


def rates(data, sampler):
  """Of one data set, ascending."""
  if sampler != 'exact':
    return RATES
  end = 1 - 1 / _data.modalities(data)
  return tuple(sorted({min(rate, end) for rate in RATES}))


def get_config(data, name, rate, sampler, data_root):
  """The config of one run."""
  config: Any = study.get_config(data, name, data_root)
  config.evals = dict(classification={}, subsets={}, gap={})
  config.missing.update(train=rate, validation=rate, test=rate, sampler=sampler)
  return config


def get_runs(data_root, sampler='exact'):
  return {
    f'{data}/missing_{100 * rate:.0f}/{name}': get_config(
      data, name, rate, sampler, data_root
    )
    for data in DATA
    for rate in rates(data, sampler)
    for name in METHODS
  }
