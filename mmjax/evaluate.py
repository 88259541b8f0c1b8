"""Evaluation of a whole split: rows from the device, numbers from NumPy."""

import pathlib
from collections.abc import Iterable, Mapping
from typing import Any

import jax
import numpy as np

from mmjax import folder
from mmjax.data import feed
from mmjax.experiment import Experiment

SHARED = ('label', 'index')  # rows that are the same for every seed


def rows(
  exp: Experiment,
  states: Any,
  split: str,
  name: str,
  drop=(),
  batches: int | None = None,
) -> dict:
  """Rows [S, N, ...] of one eval over a split, padding dropped.

  Args:
    exp: the experiment.
    states: of all its seeds.
    split: with at least one example.
    name: of the eval.
    drop: modalities to hide.
    batches: to look at; default all.
  """
  source, size = exp.sources[split], exp.eval_batch_size
  order, steps = feed.in_order(source, size)
  told = []
  for batch in exp.stream(source, order, 0, min(steps, batches or steps), size):
    if drop:
      present = {
        m: jax.numpy.logical_and(has, m not in drop)
        for m, has in batch['present'].items()
      }
      batch = {**batch, 'present': present}
    told.append(exp.observers[name](states, batch))
  parts = [exp.seeds.stack(t) for t in told]
  return {
    key: np.concatenate([p[key] for p in parts], axis=1)[:, : source.size]
    for key in parts[0]
  }


def ask(
  exp: Experiment,
  states: Any,
  split: str,
  name: str,
  drop=(),
  batches: int | None = None,
) -> tuple[dict, dict[str, list[float]]]:
  """What `rows` returns, and {path: one number per seed} from them.

  Rows of the splits that the eval learns from are of the model as it is, with
  nothing dropped.
  """
  rows_SN = rows(exp, states, split, name, drop, batches)
  also = {
    other: rows(exp, states, other, name, batches=batches)
    for other in exp.evals[name].also
  }

  def of(s, told):
    return {k: v[s] for k, v in told.items()}

  each = [
    exp.evals[name].report(
      of(s, rows_SN), **{other: of(s, told) for other, told in also.items()}
    )
    for s in range(exp.seeds.num)
  ]
  return rows_SN, {p: [float(e[p]) for e in each] for p in each[0]}


def run(
  exp: Experiment,
  states: Any,
  splits: Iterable[str],
  evals: Iterable[str] | None = None,
  save_to: pathlib.Path | None = None,
  drop=(),
) -> dict[str, dict]:
  """Evaluates states on splits.

  Args:
    exp: the experiment.
    states: of all its seeds.
    splits: names; those without examples are left out.
    evals: names; default all of the experiment.
    save_to: folder for `predictions_<eval>.npz` of the last split; a warning
      if they cannot be written.
    drop: modalities to hide from the model.

  Returns:
    As results.json: {split: {path..: {'mean', 'std', 'values'}}}; std is that
    of a sample (n - 1), 0 for one seed.
  """
  results = {}
  splits = [s for s in splits if exp.sources[s].size]
  for split in splits:
    flat = {}
    for name in evals or exp.evals:
      rows_SN, numbers = ask(exp, states, split, name, drop)
      flat |= numbers
      if save_to is not None and split == splits[-1]:
        _save(save_to / f'predictions_{name}.npz', rows_SN)
    results[split] = _nest({k: _spread(v) for k, v in flat.items()})
  return results


def _save(path: pathlib.Path, rows_SN: Mapping[str, np.ndarray]) -> None:
  if jax.process_index() != 0:
    return
  once = {
    k: v[0] if k in SHARED or k.startswith('present/') else v
    for k, v in rows_SN.items()
  }
  temporary = path.with_suffix('.tmp.npz')
  with folder.forgiving(path, 'start the same run again'):
    try:
      np.savez_compressed(temporary, **once)  # pyright: ignore
      temporary.replace(path)
    finally:
      temporary.unlink(missing_ok=True)


def _spread(values: list[float]) -> dict[str, Any]:
  std = float(np.std(values, ddof=1)) if len(values) > 1 else 0.0
  return {'mean': float(np.mean(values)), 'std': std, 'values': values}


def _nest(flat: Mapping[str, Any]) -> dict[str, Any]:
  nested: dict[str, Any] = {}
  for path, value in flat.items():
    *parents, leaf = path.split('/')
    node = nested
    for parent in parents:
      node = node.setdefault(parent, {})
    node[leaf] = value
  return nested
