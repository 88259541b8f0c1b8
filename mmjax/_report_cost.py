"""What a run costs, as its cost.json tells."""

import math
from typing import Any

from mmjax import _report_runs as runs
from mmjax._report_groups import Group
from mmjax._report_tables import Table, plain


def table(group: Group) -> Table | None:
  """Speed and size, of the runs that have a cost.json."""
  told = [numbers(run) for run in group.runs]
  if not any(told):
    return None
  rows = [
    [
      run.name,
      short(cost.get('parameters')),
      short(cost.get('flops_per_step')),
      short(cost.get('examples_per_s')),
      clock(cost.get('train_s')),
      str(cost.get('device', '–')),
    ]
    for run, cost in zip(group.runs, told)
  ]
  header = ['run', 'parameters', 'FLOPs/step', 'examples/s', 'time', 'device']
  devices = {cost['device'] for cost in told if 'device' in cost}
  said = 'Measured on different devices, so times do not compare.'
  note = (
    'FLOPs of a training step of one model, as XLA counts them; examples/s '
    'counts those of all models of the run, and time is that of all.'
  )
  return plain(
    'Cost of training',
    header,
    rows,
    [note],
    [said] if len(devices) > 1 else [],
  )


def numbers(run: runs.Run) -> dict[str, Any]:
  """cost.json as far as it makes sense, and FLOPs of a step: 'flops_per_step'."""
  found = {
    key: run.cost[key]
    for key in ('parameters', 'flops_per_example', 'examples_per_s', 'train_s')
    if isinstance(run.cost.get(key), (int, float))
  }
  batch = run.config.get('batch_size')
  if isinstance(batch, int) and 'flops_per_example' in found:
    found['flops_per_step'] = found['flops_per_example'] * batch
  if run.cost.get('device'):
    found['device'] = str(run.cost['device'])
  return found


def short(number: float | None) -> str:
  """Returns 1.23M for 1234567; '–' for nothing."""
  if number is None or not math.isfinite(number):
    return '–'
  for size, letter in ((1e12, 'T'), (1e9, 'G'), (1e6, 'M'), (1e3, 'k')):
    if abs(number) >= 0.9995 * size:
      return f'{_three(number / size)}{letter}'
  return _three(number)


def _three(number: float) -> str:
  return f'{number:.0f}' if abs(number) >= 999.5 else f'{number:.3g}'


def clock(seconds: float | None) -> str:
  """Returns 1:02:03 for 3723 seconds; '–' for nothing."""
  if seconds is None or not math.isfinite(seconds):
    return '–'
  whole = round(seconds)
  return f'{whole // 3600}:{whole // 60 % 60:02}:{whole % 60:02}'
