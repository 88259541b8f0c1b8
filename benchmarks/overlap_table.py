"""The synthetic table of Huang et al. 2021, beside its closed form.

  python benchmarks/overlap_table.py [--worlds=20] [--json=out.json]

Four modalities that overlap by w (`lab.latents.overlap`), least squares on the
first one, two, three and all of them, as published: their risks on 5,000 test
examples, mean and standard deviation over worlds. "expected" is the closed form
100 (4 - k)(1 - w)^2 times what least squares on so many examples adds to it,
1 + p/(n - p - 1); "z" is how many standard errors the mean is away from it.
9,500 training examples are what the published excess speaks for; the paper does
not say.
"""

import argparse
import json
import math
import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))

import jax  # noqa: E402
import numpy as np  # noqa: E402
from rich.console import Console  # noqa: E402
from rich.table import Table  # noqa: E402

from mmjax.lab import latents  # noqa: E402

OVERLAPS = (1.0, 0.8, 0.5, 0.2, 0.0)
PUBLISHED = {  # methods of the paper, table 4
  1: (0, 12.04, 75.89, 193.28, 301.92),
  2: (0, 8.16, 51.25, 129.81, 207.45),
  3: (0, 4.18, 26.06, 65.17, 103.23),
  4: (0, 0, 0, 0, 0),
}
WIDTH, TRAIN, TEST = 100, 9_500, 5_000


def main():
  parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
  parser.add_argument('--worlds', type=int, default=20)
  parser.add_argument('--json', help='write the numbers there as well')
  args = parser.parse_args()
  table = Table(title='Mean squared error')
  for name in ('modalities', 'w', 'measured', 'expected', 'z', 'published'):
    table.add_column(name, justify='right')
  told = []
  for j, w in enumerate(OVERLAPS):
    risk_SK = np.array([risks(seed, w) for seed in range(args.worlds)])
    for k in range(1, 5):
      found_S = risk_SK[:, k - 1]
      excess = latents.overlap_excess(TRAIN, distinct(w, k) * WIDTH)
      expected = latents.overlap_risk(w, k) * excess
      mean, std = found_S.mean(), found_S.std(ddof=1)
      error = std / math.sqrt(args.worlds)
      z = (mean - expected) / error if expected else 0.0
      told.append(dict(k=k, w=w, mean=mean, std=std, expected=expected, z=z))
      table.add_row(
        str(k),
        str(w),
        f'{mean:.2f} ± {std:.2f}',
        f'{expected:.2f}',
        f'{z:+.1f}' if expected else '',
        f'{PUBLISHED[k][j]:.2f}',
      )
  Console(width=100).print(table)
  worst = max(abs(row['z']) for row in told)
  rest = max(abs(row['mean']) for row in told if not row['expected'])
  print(
    f'Farthest from the closed form: {worst:.1f} standard errors; where it is 0, '
    f'at most {rest:.1e} is measured.'
  )
  if args.json:
    pathlib.Path(args.json).write_text(json.dumps(told, indent=1), 'utf8')


def distinct(w: float, k: int) -> int:
  """Modalities that are no copy of another."""
  return 1 if w == 1 else k


def risks(seed: int, w: float) -> list[float]:
  """Test risk of the first 1, 2, 3 and 4 modalities, in one world."""
  key = jax.random.fold_in(jax.random.key(seed), round(100 * w))
  inputs, target = latents.overlap(key, TRAIN + TEST, w)
  x_ND = np.concatenate([np.asarray(x, np.float64) for x in inputs.values()], 1)
  y_N = np.asarray(target, np.float64)
  # Least squares by moments: one product serves every prefix.
  gram_DD, cross_D = moments(x_ND[:TRAIN], y_N[:TRAIN])
  test_DD, test_D = moments(x_ND[TRAIN:], y_N[TRAIN:])
  power, found = np.square(y_N[TRAIN:]).mean(), []
  for k in range(1, 5):
    d = k * WIDTH
    inverse_DD = np.linalg.pinv(gram_DD[:d, :d], rcond=1e-9, hermitian=True)
    b_D = inverse_DD @ cross_D[:d]
    found.append(power - 2 * b_D @ test_D[:d] + b_D @ test_DD[:d, :d] @ b_D)
  return found


def moments(x_ND, y_N):
  return x_ND.T @ x_ND / len(x_ND), x_ND.T @ y_N / len(x_ND)


if __name__ == '__main__':
  main()
