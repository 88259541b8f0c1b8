"""From trained members to everything that is said of them, in plain numbers."""

import itertools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from mmjax import _advise_data as tables
from mmjax._advise_settings import Settings
from mmjax.lab import advice, bounds, curves, quality, rademacher, subsets

EDGES = 40  # pairs of nested subsets that gamma and the principle are told for


def judge(
  data: subsets.Data,
  cube: subsets.Cube,
  asked: Settings,
  name: str,
  told: Callable[[str], None] = print,
) -> dict[str, Any]:
  """Everything that can be said of trained members, as plain numbers."""
  constant = subsets.chance(data.test, data.num_classes)
  if asked.measure == 'accuracy':
    constant = 100 * (1 - np.bincount(data.test.target).max() / data.test.size)
  losses_LSKN = _measured(cube, asked)
  last = {s: losses_LSKN[-1, :, k] for k, s in enumerate(cube.subsets)}
  edges = _edges(cube)
  found: dict[str, Any] = dict(
    name=name,
    loss=cube.loss,
    unit=_unit(cube, asked),
    risk_unit='nats' if data.num_classes else 'squared units',
    level=asked.level,
    modalities=list(cube.modalities),
    num_seeds=losses_LSKN.shape[1],
    counts=list(cube.counts),
    sizes={s: getattr(data, s).size for s in tables.SPLITS},
    num_classes=data.num_classes,
    constant=constant,
    curves={
      _name(s): dict(
        risk=_estimates(losses_LSKN[:, :, k], asked),
        accuracy=None
        if cube.right_LSKN is None
        else _estimates(cube.right_LSKN[:, :, k], asked),
      )
      for k, s in enumerate(cube.subsets)
    },
    modality={},
    pairs={},
    best=[],
    notes=_notes(cube),
  )
  if all((m,) in last for m in cube.modalities) and cube.modalities in last:
    found |= _advice(cube, last, constant, asked, found['unit'])
  told('Latent representation quality: fitting the best heads')
  etas = _etas(data, cube, asked)
  found |= _quality(etas, cube, edges, asked)
  found['principle'] = _principle(data, cube, edges, asked)
  return found


def _advice(cube, last, constant: float, asked: Settings, unit: str) -> dict:
  made = advice.advise(last, constant, margin=asked.margin, level=asked.level)
  pays, gains = {}, {}
  for m in cube.modalities:
    rest = tuple(n for n in cube.modalities if n != m)
    if not rest or rest not in last:
      continue
    gain_LSN = _gain(_measured(cube, asked), cube, cube.modalities, rest)
    gains[m] = _estimates(gain_LSN, asked)
    pays[m] = curves.begins_to_pay(
      cube.counts,
      gain_LSN.mean(2),
      least=made.margin / 2,
      horizon=asked.horizon,
      level=asked.level,
    )
  told = advice.sentences(made, unit, pays, cube.counts[-1])
  return dict(
    modality={
      m: dict(
        alone=_plain(one.alone),
        gain=_plain(one.gain),
        shapley=None if one.shapley is None else _plain(one.shapley),
        verdict=one.verdict,
        gains=gains.get(m, []),
        pays=pays[m]._asdict() if m in pays else None,
      )
      for m, one in made.modalities.items()
    },
    pairs={
      _name(pair): dict(
        interaction=_plain(one.interaction), verdict=one.verdict
      )
      for pair, one in made.pairs.items()
    },
    best=list(made.best),
    margin=made.margin,
    least=made.margin / 2,
    informative=made.informative,
    explained=_plain(made.explained),
    recommendation=list(told),
  )


def _measured(cube: subsets.Cube, asked: Settings) -> np.ndarray:
  """The losses f[L, S, K, N] that worth is counted in."""
  if asked.measure == 'risk':
    return cube.losses_LSKN
  if cube.right_LSKN is None:
    raise ValueError(
      "config.advise.measure='accuracy': the target is numbers; take 'risk'."
    )
  return 100.0 * ~cube.right_LSKN  # points


def _unit(cube: subsets.Cube, asked: Settings) -> str:
  if asked.measure == 'accuracy':
    return 'points'
  return 'nats' if cube.loss == 'cross_entropy' else 'squared units'


def _gain(loss_LSKN: np.ndarray, cube: subsets.Cube, of, minus) -> np.ndarray:
  """f64[L, S, N]: how much lower the losses of a subset are than another's."""
  loss_LSKN = np.asarray(loss_LSKN, np.float64)
  return loss_LSKN[:, :, cube.at(minus)] - loss_LSKN[:, :, cube.at(of)]


def _steps(cube: subsets.Cube) -> list[tuple]:
  """Nested pairs (larger, smaller) that differ by one modality."""
  return [
    (of, minus)
    for of, minus in itertools.product(cube.subsets, repeat=2)
    if len(of) == len(minus) + 1 and set(minus) < set(of)
  ]


def _edges(cube: subsets.Cube) -> list[tuple]:
  """The steps that are told, the largest subsets first if they are many."""
  steps = _steps(cube)
  if len(steps) > EDGES:
    steps = sorted(steps, key=lambda pair: -len(pair[0]))
  return steps[:EDGES]


def _etas(data, cube: subsets.Cube, asked: Settings) -> dict[tuple, list]:
  """Held-out losses of the best head on each member's frozen features.

  Of the largest sample; the oracle is that of a synthetic world, or else the
  least risk that any of them has.
  """
  losses: dict[tuple, list[np.ndarray]] = {}
  for k, subset in enumerate(cube.subsets):
    inputs = {m: data.test.inputs[m] for m in subset}
    for s in range(asked.num_seeds):
      params = jax.tree.map(lambda x, s=s, k=k: x[s, k], cube.params[-1])
      one = {m: jnp.ones(()) for m in subset}
      z_ND = subsets.encode(params, one, inputs, data.test.present)
      found_N = quality.best_head_losses(
        np.asarray(z_ND),
        data.test.target,
        num_classes=data.num_classes,
        folds=asked.folds,
      )
      losses.setdefault(subset, []).append(found_N)
  flat = {
    f'{_name(subset)}, seed {s}': x
    for subset, each in losses.items()
    for s, x in enumerate(each)
  }
  known = None if asked.world is None else tables.ORACLES[asked.world['name']]
  made = iter(quality.etas(flat, oracle=known).values())
  return {subset: [next(made) for _ in each] for subset, each in losses.items()}


def _quality(etas, cube: subsets.Cube, edges, asked: Settings) -> dict:
  first = next(iter(etas.values()))[0]
  table, gammas = {}, []
  for subset, each in etas.items():
    losses_SN = np.stack([e.losses_N for e in each])
    risk = advice.estimate(losses_SN, asked.level)
    table[_name(subset)] = dict(
      eta=risk.mean - first.oracle,
      low=risk.low - first.oracle,
      high=risk.high - first.oracle,
      risk=risk.mean,
    )
  right_LSKN = cube.right_LSKN
  for of, minus in edges:
    gamma = quality.gamma(etas[of], etas[minus], level=asked.level)
    gain_SN = _gain(_measured(cube, asked), cube, of, minus)[-1]
    right = None
    if right_LSKN is not None:
      right = -_gain(right_LSKN, cube, of, minus)[-1]
    gammas.append(
      dict(
        of=_name(of),
        minus=_name(minus),
        value=gamma.value,
        low=gamma.low,
        high=gamma.high,
        gain=gamma.gain,
        risk_gain=_plain(advice.estimate(gain_SN, asked.level)),
        accuracy_gain=None
        if right is None
        else _plain(advice.estimate(right, asked.level)),
      )
    )
  return dict(
    quality=table,
    gamma=gammas,
    oracle=first.oracle,
    oracle_known=first.is_oracle_known,
  )


def _principle(data, cube: subsets.Cube, edges, asked: Settings) -> list[dict]:
  """Both sides of the selection principle over the sample sizes.

  Only for linear encoders and heads: their class is that of all maps whose
  norm is at most the largest that training has come to.
  """
  if (asked.learner.encoder, asked.learner.head) != ('linear', 'linear'):
    return []
  price_LSK = _complexities(data, cube, asked)
  told = []
  for of, minus in edges:
    a, b = cube.at(of), cube.at(minus)
    sides = [
      bounds.principle(
        cube.train_LSK[:, s, a],
        cube.train_LSK[:, s, b],
        bounds.capacity(price_LSK[:, s, a], np.array(cube.counts)),
        bounds.capacity(price_LSK[:, s, b], np.array(cube.counts)),
        np.array(cube.counts),
      )
      for s in range(asked.num_seeds)
    ]
    gain_LS = np.stack([x.right for x in sides], 1)
    price_LS = np.stack([x.left for x in sides], 1)
    told.append(
      dict(
        of=_name(of),
        minus=_name(minus),
        gain=_estimates(gain_LS, asked),
        price=_estimates(price_LS, asked),
        prefers=[bool(x) for x in gain_LS.mean(1) >= price_LS.mean(1)],
        helps=[
          bool(x)
          for x in _gain(_measured(cube, asked), cube, of, minus).mean((1, 2))
          > 0
        ],
      )
    )
  return told


def _complexities(data, cube: subsets.Cube, asked: Settings) -> np.ndarray:
  """f64[L, S, K]: Rademacher complexity of each class on each draw."""
  norm_K = [_norm(cube, k) for k in range(len(cube.subsets))]
  made = np.empty(cube.train_LSK.shape)
  for k, subset in enumerate(cube.subsets):
    x_NF = np.concatenate([data.train.inputs[m] for m in subset], axis=1)
    for i, rows_Sn in enumerate(cube.rows):
      for s, rows_n in enumerate(rows_Sn):
        key = jax.random.fold_in(jax.random.key(s), i)
        made[i, s, k] = rademacher.linear(
          key,
          x_NF[rows_n],
          norm_K[k],
          num_outputs=data.outputs,
          draws=asked.draws,
        ).value
  return made


def _norm(cube: subsets.Cube, k: int) -> float:
  """The largest Frobenius norm of a subset's composed map, of any member."""
  largest = 0.0
  for params in cube.params:
    square_S = 0.0
    for m in cube.subsets[k]:
      kernel_SFD = params['encoders'][m][-1]['kernel'][:, k]
      block_SCD = params['head']['blocks'][m][:, k]
      map_SFC = np.einsum('sfd,scd->sfc', kernel_SFD, block_SCD)
      square_S = square_S + np.square(map_SFC).sum((1, 2))
    largest = max(largest, float(np.sqrt(np.max(square_S))))
  return largest


def _notes(cube: subsets.Cube) -> list[str]:
  notes, steps = [], _steps(cube)
  if len(steps) > EDGES:
    notes.append(
      f'gamma and the principle are told for {EDGES} of {len(steps)} steps from a '
      'subset to one with a modality more, those of the largest subsets first.'
    )
  open_ended = ~cube.stopped_LSK
  if open_ended.mean() > 0.1:
    notes.append(
      f'{100 * open_ended.mean():.0f} % of the models were still improving when '
      'their steps were over: raise advise.learner.steps.'
    )
  return notes


def _estimates(values_LS: np.ndarray, asked: Settings) -> list[dict]:
  return [_plain(advice.estimate(v_S, asked.level)) for v_S in values_LS]


def _plain(e: advice.Estimate) -> dict[str, Any]:
  return {**e._asdict(), 'values': list(e.values)}


def _name(subset) -> str:
  return '+'.join(subset)
