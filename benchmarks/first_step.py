"""Seconds from the command to the first step, and where they go.

  python benchmarks/first_step.py [--rounds=3] [--config=configs/mla_digits.py]

'command' is `python -m mmjax.main` until its first step is in metrics.jsonl;
the parts are those of a second process that does the same things one by one:
imports, building the experiment (data included), the first states, the first
evaluation (one batch, which also checks the recipe), the first step (compiled
there), the second step. Medians over rounds of three ways: without a
compilation cache, filling an empty one (JAX_COMPILATION_CACHE_DIR), and with
the full one.
"""

import argparse
import json
import os
import pathlib
import statistics
import subprocess
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent
PARTS = ('imports', 'build', 'init', 'evaluation', 'step 1', 'step 2')


def arguments():
  parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
  parser.add_argument('--rounds', type=int, default=3)
  parser.add_argument('--config', default='configs/mla_digits.py')
  parser.add_argument('--parts', help=argparse.SUPPRESS)  # start of this child
  return parser.parse_args()


def environment(cache: str | None) -> dict[str, str]:
  told = {k: v for k, v in os.environ.items() if 'COMPILATION_CACHE' not in k}
  told.setdefault('JAX_PLATFORMS', 'cpu')
  told['PYTHONPATH'] = str(ROOT)
  if cache:
    told['JAX_COMPILATION_CACHE_DIR'] = cache
    told['JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS'] = '0'
  return told


def command(args, cache: str | None) -> float:
  """Seconds until the whole command has logged its first step."""
  with tempfile.TemporaryDirectory() as workdir:
    metrics = pathlib.Path(workdir) / 'run' / 'metrics.jsonl'
    start = time.time()
    process = subprocess.Popen(
      [
        *(sys.executable, '-m', 'mmjax.main', f'--config={args.config}'),
        f'--workdir={metrics.parent}',
        '--config.run.log_steps=1',
      ],
      cwd=ROOT,
      env=environment(cache),
      stdout=subprocess.DEVNULL,
    )
    while not (metrics.exists() and metrics.stat().st_size):
      if process.poll() is not None:
        sys.exit(f'The command failed with {process.returncode}.')
      time.sleep(0.005)
    passed = time.time() - start
    process.kill()
    process.wait()
  return passed


def parts(args, cache: str | None) -> list[float]:
  """Seconds of each part, in a process of its own."""
  told = subprocess.run(
    [
      *(sys.executable, __file__, f'--config={args.config}'),
      f'--parts={time.time()}',
    ],
    cwd=ROOT,
    env=environment(cache),
    capture_output=True,
    text=True,
    check=True,
  )
  return json.loads(told.stdout.splitlines()[-1])


def child(args) -> None:
  """Does what the command does, and tells how long each part took."""
  times = [float(args.parts)]

  def tick():
    times.append(time.time())

  import runpy

  import jax

  from mmjax import evaluate, experiment, train  # noqa: F401 (as the command)

  tick()
  config = runpy.run_path(args.config)['get_config']()
  exp = experiment.build(config)
  tick()
  states = jax.block_until_ready(exp.seeds.init())
  tick()
  name = config.run.watch.split('/')[0]
  evaluate.ask(exp, states, 'validation', name, batches=1)
  tick()
  step = exp.lifted[exp.plan[0].phase]
  for i in range(2):
    states, _ = jax.block_until_ready(step(states, exp.batch(i)))
    tick()
  print(json.dumps([b - a for a, b in zip(times, times[1:])]))


def main():
  args = arguments()
  if args.parts:
    child(args)
    return
  told = {'no cache': [], 'empty cache': [], 'full cache': []}
  for _ in range(args.rounds):
    with tempfile.TemporaryDirectory() as cache:
      parts_of = {'no cache': None, 'empty cache': cache, 'full cache': cache}
      for way, where in parts_of.items():
        split = parts(args, where)
        told[way].append([command(args, where), *split])
      # The command filled the cache only after `parts` had: count it alone.
    with tempfile.TemporaryDirectory() as cache:
      told['empty cache'][-1][0] = command(args, cache)
  print(f'| {args.config} | command | ' + ' | '.join(PARTS) + ' |')
  print('|---' * (len(PARTS) + 2) + '|')
  for way, rounds in told.items():
    cells = [f'{statistics.median(c):.2f}' for c in zip(*rounds)]
    print(f'| {way} | ' + ' | '.join(cells) + ' |')


if __name__ == '__main__':
  main()
