"""The plan of a run: which phase runs from which step to which."""

import difflib
import math
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple


class Segment(NamedTuple):
  """Steps start <= step < stop belong to one phase."""

  phase: str
  start: int
  stop: int


def make(
  phases: Sequence[tuple], steps_per_epoch: int, menu: Iterable[str]
) -> tuple[Segment, ...]:
  """Lays phases end to end.

  Args:
    phases: (name, epochs) or (name, amount, 'epochs' | 'steps'), in order.
    steps_per_epoch: of the training data.
    menu: the phases that the method has.

  Raises ValueError for an unknown phase or unit, or an amount below one step.
  """
  menu, plan, start = tuple(menu), [], 0
  if not phases:
    raise ValueError(
      'config.phases is empty: name what to train, and how long.'
    )
  for entry in phases:
    if not isinstance(entry, (tuple, list)) or len(entry) not in (2, 3):
      raise ValueError(
        f'config.phases: {entry!r} must be (name, epochs) or (name, amount, '
        "unit). One phase alone needs a comma behind it: (('lap', 30),)."
      )
    name, amount, unit = (*entry, 'epochs') if len(entry) == 2 else entry
    if name not in menu:
      close = difflib.get_close_matches(name, menu, 1)
      hint = f' Did you mean {close[0]!r}?' if close else ''
      raise ValueError(
        f'config.phases names {name!r}, but the method has the phases '
        f'{", ".join(menu)}.{hint}'
      )
    if unit not in ('epochs', 'steps'):
      raise ValueError(
        f"config.phases: {entry} counts in {unit!r}; 'epochs' or 'steps' it is."
      )
    scale = steps_per_epoch if unit == 'epochs' else 1
    steps = math.floor(amount * scale + 0.5)
    if steps < 1:
      raise ValueError(f'config.phases: {entry} is shorter than one step.')
    plan.append(Segment(name, start, start + steps))
    start += steps
  return tuple(plan)


def remaining(plan: Sequence[Segment], step: int) -> tuple[Segment, ...]:
  """What is left of the plan from `step` on."""
  left = [s for s in plan if s.stop > step]
  return tuple(s._replace(start=max(s.start, step)) for s in left)


def shortened(
  plan: Sequence[Segment], enough: Mapping[str, int]
) -> tuple[Segment, ...]:
  """The plan with phases that were enough before their stop.

  The next phase takes over the steps that are left, so the last one stops
  where it did. A phase that comes a second time is over at once.

  Args:
    plan: from `make`.
    enough: {phase: step at which it was enough} of those that can be.
  """
  moved, start = [], 0
  for segment in plan[:-1]:
    stop = min(segment.stop, enough.get(segment.phase, segment.stop))
    moved.append(Segment(segment.phase, start, max(start, stop)))
    start = moved[-1].stop
  return (*moved, plan[-1]._replace(start=start))


def every(epochs: float, steps_per_epoch: int) -> int:
  """A period in epochs as steps: at least one; 0 (never) stays 0."""
  return max(1, round(epochs * steps_per_epoch)) if epochs else 0
