"""Does the adviser name what is useless, redundant, synergistic?

  python benchmarks/dial_worlds.py [--worlds=100] [--examples=1000] [--json=..]

Random worlds of `lab.latents.random_dials`, whose right answer is known. In
each, models of all 15 subsets of four modalities are trained (MLP encoders and
head, three seeds), and `lab.advice` judges. A world counts as named if the
answer is the one that the adviser would name: of the modalities the one with
the verdict 'useless', of the pairs the most negative (redundant) or positive
(synergistic) interaction whose verdict says so. The others are listed with what
was said instead.
"""

import argparse
import json
import pathlib
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))

import jax  # noqa: E402
import numpy as np  # noqa: E402
from scipy import stats  # noqa: E402

from mmjax.lab import advice, latents, subsets  # noqa: E402

LEARNER = subsets.Learner(
  encoder='mlp',
  head='mlp',
  width=32,
  lr=1e-2,
  batch_size=256,
  steps=1500,
  eval_steps=50,
  patience=4,
)
VALIDATION, TEST, SEEDS = 500, 2000, 3


def main():
  parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
  parser.add_argument('--worlds', type=int, default=100)
  parser.add_argument('--examples', type=int, default=1000)
  parser.add_argument('--kinds', default=','.join(latents.KINDS))
  parser.add_argument('--json', help='write the numbers there as well')
  args = parser.parse_args()
  told = {}
  for kind in args.kinds.split(','):
    start, missed = time.monotonic(), []
    for i in range(args.worlds):
      key = jax.random.fold_in(jax.random.key(0), i)
      world, answer = latents.random_dials(key, kind)
      made = judge(key, world, args.examples)
      said = named(made, kind)
      if said != answer:
        missed.append((i, answer, said, why(made, kind, answer)))
    right = args.worlds - len(missed)
    low, high = stats.binomtest(right, args.worlds).proportion_ci()
    print(
      f'{kind}: {right} of {args.worlds} named at {args.examples} examples '
      f'(95 % interval {100 * low:.0f} to {100 * high:.0f} %), '
      f'{time.monotonic() - start:.0f} s',
      flush=True,
    )
    for i, answer, said, reason in missed:
      print(f'  world {i}: {"+".join(answer)} was it, said {said}: {reason}')
    told[kind] = dict(right=right, worlds=args.worlds, missed=missed)
  if args.json:
    pathlib.Path(args.json).write_text(json.dumps(told, indent=1), 'utf8')


def judge(key, world, examples: int) -> advice.Advice:
  sizes = (examples, VALIDATION, TEST)
  inputs, target = latents.dials(key, sum(sizes), world)
  ends = np.cumsum([0, *sizes])
  scale = np.std(target[:examples])
  parts = [
    (
      {m: np.asarray(x)[a:b] for m, x in inputs.items()},
      np.asarray(target)[a:b] / scale,
    )
    for a, b in zip(ends, ends[1:])
  ]
  data = subsets.gather(parts[0], parts[1], parts[2], 'squared_error')
  lattice = subsets.lattice(data.modalities)
  cube = subsets.train(data, lattice, (examples,), SEEDS, LEARNER)
  losses = {s: cube.losses_LSKN[0, :, k] for k, s in enumerate(lattice)}
  return advice.advise(losses, subsets.chance(data.test, 0))


def named(made: advice.Advice, kind: str) -> tuple[str, ...]:
  """What the adviser names; () for nothing."""
  if kind == 'useless':
    return tuple(m for m, x in made.modalities.items() if x.verdict == kind)
  sign = -1 if kind == 'redundant' else 1
  found = {p: x for p, x in made.pairs.items() if x.verdict == kind}
  by_size = sorted(found, key=lambda p: -sign * found[p].interaction.mean)
  return by_size[0] if by_size else ()


def why(made: advice.Advice, kind: str, answer: tuple[str, ...]) -> str:
  if kind == 'useless':
    e = made.modalities[answer[0]].shapley
    assert e is not None
    label = 'Shapley value'
  else:
    e, label = made.pairs[answer].interaction, 'interaction'
  return (
    f'its {label} is {e.mean:.3f} ({e.low:.3f} to {e.high:.3f}), the margin '
    f'{made.margin:.3f}'
  )


if __name__ == '__main__':
  main()
