"""Soft vote of models that were trained apart.

python -m mmjax.vote runs/early runs/late runs/residual --workdir=runs/vote

The hybrid of the RSA-CFN work: class probabilities of finished runs, averaged
over the same examples. No model is run; the votes are read from each run's
predictions_classification.npz. The new folder is one that `mmjax.report`
compares with others, and belongs to no training.
"""

import argparse
import os
import pathlib
from collections.abc import Sequence
from typing import Any

import numpy as np
import rich.console

from mmjax import _vote_members, folder, log, report
from mmjax._vote_members import Member
from mmjax.evals import classification

SEEDS = ('paired', 'pooled')


def run(
  members: Sequence[str | os.PathLike],
  workdir: str | os.PathLike,
  *,
  weights: Sequence[float] | None = None,
  seeds: str = 'paired',
) -> dict[str, Any]:
  """Lets finished runs vote, and writes a run folder of the outcome.

  p(c) = sum_k w_k p_k(c) / sum_k w_k, for the fused prediction and for that of
  each modality that all members tell. A member that sees none of an example's
  modalities abstains; if all do, all are heard.

  Args:
    members: two run folders or more, over the same examples.
    workdir: new or empty; nothing is ever overwritten.
    weights: w, one for each member; default equal.
    seeds: 'paired' lets models of the same seed vote, so that there are as many
      votes as seeds, which members must share; 'pooled' averages the models of
      each member first and gives one vote of all.

  Returns:
    What results.json holds: the split whose predictions the members have kept.

  Raises:
    ValueError: a member is not finished or not finite, members differ in what
      they must share, or the folder is taken.
  """
  weight_K = _weights(weights, len(members))
  if seeds not in SEEDS:
    raise ValueError(f'--seeds={seeds}: {" or ".join(SEEDS)} it is.')
  found = [_vote_members.read(path) for path in members]
  _vote_members.check(found, paired=seeds == 'paired')
  path, names = pathlib.Path(workdir), found[0].class_names
  rows, modalities = _rows(found, weight_K, pooled=seeds == 'pooled')
  results = {found[0].split: _measured(rows, modalities, found[0].bins)}
  config = _config(found, weight_K, seeds)
  facts = {'modalities': list(modalities), 'class_names': list(names)}
  with folder.claimed(path, config, facts):
    if (path / folder.RESULTS).exists():
      raise ValueError(f'{path} holds this very vote. Take another --workdir.')
    np.savez_compressed(path / _vote_members.ROWS, **rows)  # pyright: ignore
    folder.write_json(path / folder.RESULTS, results)
  return results


def _weights(weights: Sequence[float] | None, count: int) -> np.ndarray:
  weight_K = np.ones(count) if weights is None else np.array(weights, float)
  if len(weight_K) != count or count < 2:
    raise ValueError(
      f'A vote takes two runs or more and a weight for each; here are {count} '
      f'runs and {len(weight_K)} weights.'
    )
  if not (np.isfinite(weight_K) & (weight_K > 0)).all():
    raise ValueError(
      f'--weights={",".join(f"{w:g}" for w in weight_K)}: each must be above 0.'
    )
  return weight_K / weight_K.sum()


def _rows(
  members: Sequence[Member], weight_K: np.ndarray, pooled: bool
) -> tuple[dict[str, np.ndarray], tuple[str, ...]]:
  """Rows as the eval classification has them, and the modalities voted on."""
  first = members[0].rows
  every = [*dict.fromkeys(m for run in members for m in run.modalities)]
  rows = {key: first[key] for key in ('label', 'index')}
  for run in members:
    rows |= {f'present/{m}': run.rows[f'present/{m}'] for m in run.modalities}
  sees_KN = np.stack([run.sees for run in members])
  nobody_1N = ~np.any(sees_KN, axis=0, keepdims=True)
  weight_KN = np.where(sees_KN | nobody_1N, weight_K[:, None], 0)
  for name in (*every, 'joint'):
    if any(f'logits/{name}' not in run.rows for run in members):
      continue
    votes = [run.rows[f'logits/{name}'] for run in members]
    rows[f'logits/{name}'] = mean_vote(votes, weight_KN, pooled)
  return rows, tuple(every)


def mean_vote(
  votes: Sequence[np.ndarray], weight_KN: np.ndarray, pooled: bool = False
) -> np.ndarray:
  """log of mean probabilities.

  Args:
    votes: of each member, logits_SNC.
    weight_KN: of each member and example.
    pooled: whether to average over the seeds, too.

  Returns:
    f32[S, N, C], S = 1 if pooled; they are logits whose softmax is the mean.
  """
  from scipy import special

  weight_KN = weight_KN / weight_KN.sum(0)
  told = []
  for logits_SNC in votes:
    log_SNC = special.log_softmax(logits_SNC.astype(np.float64), axis=-1)
    if pooled:
      log_SNC = special.logsumexp(log_SNC, axis=0, keepdims=True)
      log_SNC -= np.log(len(logits_SNC))
    told.append(log_SNC)
  mean_SNC = special.logsumexp(
    np.stack(told), axis=0, b=weight_KN[:, None, :, None]
  )
  return mean_SNC.astype(np.float32)


def _measured(rows, modalities, bins: int) -> dict[str, Any]:
  """{predictor: {measure: {'mean', 'std', 'values'}}}, as of other runs."""
  anyone_N = np.any([rows[f'present/{m}'] for m in modalities], axis=0)
  found = {}
  for name in (*modalities, 'joint'):
    if f'logits/{name}' not in rows:
      continue
    has_N = anyone_N if name == 'joint' else rows[f'present/{name}']
    label_N = rows['label'][has_N]
    each = [
      classification.measures(logits_NC[has_N], label_N, bins, name)
      for logits_NC in rows[f'logits/{name}']
    ]
    found[name] = {key: _spread([e[key] for e in each]) for key in each[0]}
  return found


def _spread(values: list[float]) -> dict[str, Any]:
  std = float(np.std(values, ddof=1)) if len(values) > 1 else 0.0
  return {'mean': float(np.mean(values)), 'std': std, 'values': values}


def _config(members: Sequence[Member], weight_K, seeds: str) -> dict[str, Any]:
  """The vote as a config: what all members share, and who they are."""
  shared = {
    key: members[0].config[key]
    for key in ('data', 'missing', 'order_seed')
    if all(run.config.get(key) == members[0].config.get(key) for run in members)
    and key in members[0].config
  }
  if seeds == 'paired':
    shared |= {key: members[0].config[key] for key in ('seed', 'num_seeds')}
  method = {
    'name': 'vote',
    'seeds': seeds,
    'weights': tuple(weight_K.tolist()),
    'members': {str(run.path): run.config for run in members},
  }
  return {**shared, 'method': method}


def main(argv: Sequence[str] | None = None) -> None:
  parser = argparse.ArgumentParser(
    prog='python -m mmjax.vote',
    description='Averages the class probabilities of finished runs.',
  )
  parser.add_argument('members', nargs='+', help='run folders')
  parser.add_argument('--workdir', required=True, help='new run folder')
  parser.add_argument('--weights', help='one for each run, as 2,1,1')
  parser.add_argument('--seeds', choices=SEEDS, default='paired')
  args = parser.parse_args(argv)
  try:
    weights = _numbers(args.weights) if args.weights else None
    results = run(args.members, args.workdir, weights=weights, seeds=args.seeds)
    console = rich.console.Console()
    console.print(log.table(results, next(iter(results))))
    page = report.write(args.workdir)
    console.print(f'Wrote {page}', markup=False, soft_wrap=True)
  except (ValueError, OSError) as error:
    parser.error(str(error))


def _numbers(text: str) -> list[float]:
  try:
    return [float(part) for part in text.split(',')]
  except ValueError as error:
    raise ValueError(
      f'--weights={text} must be numbers, one for each run, as in 2,1,1.'
    ) from error


if __name__ == '__main__':
  main()
