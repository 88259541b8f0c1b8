"""All members of a grid together, against one after the other.

  python benchmarks/subset_training.py [--rounds=3] [--steps=500] [--json=..]

7 subsets x 5 sample sizes x 10 seeds of linear models of 128 per modality on
three modalities of 100, 73 and 100 numbers, 1,209 examples (the shapes of
CMU-MOSI), a fixed number of full-batch Adam steps. "One by one" is the same
compiled step with one subset and one seed, called 70 times for each sample
size; both sides are compiled beforehand and take turns.

What can be expected, from operation counts, is in `benchmarks/README.md`.
"""

import argparse
import json
import pathlib
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))

import jax  # noqa: E402
import numpy as np  # noqa: E402

from mmjax.lab import subsets  # noqa: E402

WIDTHS = {'text': 100, 'audio': 73, 'video': 100}
COUNTS, SEEDS = (12, 36, 121, 363, 1209), 10
VALIDATION, TEST = 200, 300


def main():
  parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
  parser.add_argument('--rounds', type=int, default=3)
  parser.add_argument('--steps', type=int, default=500)
  parser.add_argument('--lanes', type=int)
  parser.add_argument('--json', help='write the numbers there as well')
  args = parser.parse_args()
  fixed = subsets.Learner(patience=0, steps=args.steps)
  stopped = subsets.Learner(steps=args.steps)
  data, lattice = world(), subsets.lattice(list(WIDTHS))

  def together(count, learner=fixed):
    cube = subsets.train(
      data, lattice, (count,), SEEDS, learner, lanes=args.lanes
    )
    return cube.risk_LSK[0]

  def one_by_one(count, learner=fixed):
    def alone(subset, seed):
      made = subsets.train(data, (subset,), (count,), 1, learner, seed=seed)
      return made.risk_LSK[0, 0, 0]

    return np.array(
      [[alone(s, seed) for s in lattice] for seed in range(SEEDS)]
    )

  device = jax.devices()[0]
  print(f'{device.platform}: {device.device_kind}, {args.steps} steps')
  total, told = np.zeros(2), []
  for count in COUNTS:
    a, b = together(count, stopped), one_by_one(count, stopped)
    apart = float(abs(a - b).max())
    together(count), one_by_one(count)  # compile
    seconds = []
    for _ in range(args.rounds):
      seconds.append([clock(f, count) for f in (together, one_by_one)])
    best = np.min(seconds, axis=0)
    total += best
    told.append(
      dict(count=count, together=best[0], one_by_one=best[1], apart=apart)
    )
    print(
      f'{count:5d} examples: together {best[0]:.2f} s, one by one {best[1]:.2f} s,'
      f' ratio {best[1] / best[0]:.2f}; risks differ by at most {apart:.1e}',
      flush=True,
    )
  print(
    f'whole grid: {total[0]:.2f} s against {total[1]:.2f} s, ratio '
    f'{total[1] / total[0]:.2f}'
  )
  if args.json:
    pathlib.Path(args.json).write_text(json.dumps(told, indent=1), 'utf8')


def clock(f, count: int) -> float:
  start = time.perf_counter()
  f(count)
  return time.perf_counter() - start


def world() -> subsets.Data:
  rng = np.random.default_rng(0)

  def part(size):
    label = rng.integers(0, 2, size)
    return {
      m: rng.normal(size=(size, width)) + 0.2 * label[:, None]
      for m, width in WIDTHS.items()
    }, label

  train, validation, test = part(COUNTS[-1]), part(VALIDATION), part(TEST)
  return subsets.gather(train, validation, test, 'cross_entropy')


if __name__ == '__main__':
  main()
