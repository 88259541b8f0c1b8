"""kill -9 at random moments, resumed each time: the same model, bit for bit.

  python benchmarks/kill_resume.py [--kills=10] [--epochs=30] [--draw=0]

Trains a recipe (the default one, with one seed) twice by command: once without
interruption, and once killed with SIGKILL when it has logged a random step and
some random milliseconds more have passed, then started again with the same
command, until it has been killed so often and reaches the end. Parameters,
optimizer state, statistics, the method's memory, random keys, metrics.jsonl
(times aside) and results.json must be identical; exits with 1 if they are not.
"""

import argparse
import json
import os
import pathlib
import random
import re
import subprocess
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent


def arguments():
  parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
  parser.add_argument('--kills', type=int, default=10)
  parser.add_argument('--epochs', type=int, default=30)
  parser.add_argument('--draw', type=int, default=0, help='seed of the moments')
  parser.add_argument('--recipe', default='configs/mla_digits.py')
  parser.add_argument('--phase', default='lap', help='of the recipe')
  parser.add_argument('--workdir', help='where to keep both runs; temporary')
  return parser.parse_args()


def start(args, workdir: pathlib.Path) -> subprocess.Popen:
  command = [
    *(sys.executable, '-m', 'mmjax.main', f'--config={args.recipe}'),
    f'--workdir={workdir}',
    f'--config.phases=(("{args.phase}", {args.epochs}),)',
    '--config.num_seeds=1',
    '--config.run.log_steps=1',
    '--config.run.checkpoint_epochs=0.5',
  ]
  log = open(f'{workdir}.log', 'a')  # the child has it from here on
  return subprocess.Popen(command, cwd=ROOT, stdout=log, stderr=log)


def last_step(workdir: pathlib.Path) -> int:
  path = workdir / 'metrics.jsonl'
  lines = path.read_bytes().split(b'\n')[:-1] if path.exists() else []
  return json.loads(lines[-1])['step'] if lines else 0


def finish(process: subprocess.Popen, workdir: pathlib.Path) -> None:
  if process.wait():
    sys.exit(f'The run failed:\n{pathlib.Path(f"{workdir}.log").read_text()}')


def kill(args, workdir: pathlib.Path, step: int, delay: float) -> list:
  """Starts, kills after a step and some seconds; a row of the table."""
  began, process = time.monotonic(), start(args, workdir)
  while last_step(workdir) < step and process.poll() is None:
    time.sleep(0.002)
  time.sleep(delay)
  process.kill()
  if process.wait() == 0:
    sys.exit('The run ended before it was killed; give it more --epochs.')
  folder = workdir / 'checkpoints'
  names = os.listdir(folder) if folder.exists() else []
  saved = max((int(name) for name in names if name.isdigit()), default=0)
  writing = any('tmp' in name for name in names)
  died, spent = last_step(workdir), time.monotonic() - began
  return [died, saved, died - saved, 'yes' if writing else 'no', f'{spent:.1f}']


def leaves(exp, workdir: pathlib.Path) -> tuple[int, dict]:
  """The last checkpoint: its step and {path: array}."""
  import jax
  import numpy as np

  from mmjax.checkpoint import Checkpoints

  with Checkpoints(workdir / 'checkpoints', read_only=True) as checkpoints:
    step, state = checkpoints.restore(exp.seeds.abstract)
  flat = jax.tree.flatten_with_path(state)[0]
  bare = {
    jax.tree_util.keystr(path): jax.random.key_data(x)
    if jax.dtypes.issubdtype(x.dtype, jax.dtypes.prng_key)
    else x
    for path, x in flat
  }
  return step, {path: np.asarray(x) for path, x in bare.items()}


def differences(whole: pathlib.Path, killed: pathlib.Path) -> list[str]:
  """What is not the same in two run folders."""
  from mmjax import experiment, folder, log

  exp = experiment.build(folder.read_config(whole))
  (step, want), (other, found) = leaves(exp, whole), leaves(exp, killed)
  told = [] if step == other else [f'steps {step} and {other}']
  told += [
    path
    for path, x in want.items()
    if x.dtype != found[path].dtype or x.tobytes() != found[path].tobytes()
  ]
  lines = [[{**r, 'time': 0} for r in log.read(w)] for w in (whole, killed)]
  told += [] if lines[0] == lines[1] else ['metrics.jsonl']
  texts = [(w / 'results.json').read_bytes() for w in (whole, killed)]
  told += [] if texts[0] == texts[1] else ['results.json']
  size = sum(x.nbytes for x in want.values())
  print(
    f'\nCompared at step {step}: {len(want)} arrays of {size / 1e6:.2f} MB, '
    f'{len(lines[0])} lines of metrics.jsonl, results.json.'
  )
  return told


def main():
  args = arguments()
  draw = random.Random(args.draw)
  with tempfile.TemporaryDirectory() as temporary:
    place = pathlib.Path(args.workdir or temporary).absolute()
    place.mkdir(parents=True, exist_ok=True)
    whole, killed = place / 'whole', place / 'killed'
    finish(start(args, whole), whole)
    total = last_step(whole)
    print(f'Uninterrupted: {total} steps. Now with {args.kills} kills.\n')
    print('| kill | at step | saved | lost | while writing | seconds |')
    print('|---|---|---|---|---|---|', flush=True)
    for i, step in enumerate(
      sorted(draw.randrange(total * 9 // 10) for _ in range(args.kills)), 1
    ):
      row = kill(args, killed, step, draw.uniform(0, 0.1))
      print(f'| {i} | ' + ' | '.join(map(str, row)) + ' |', flush=True)
    finish(start(args, killed), killed)
    resumed = re.findall(r'Resuming at step', open(f'{killed}.log').read())
    told = differences(whole, killed)
  if told:
    sys.exit(f'DIFFERENT: {", ".join(told)}')
  print(f'Identical, bit for bit, after {len(resumed)} resumptions.')


if __name__ == '__main__':
  sys.path.insert(0, str(ROOT))
  os.environ.setdefault('JAX_PLATFORMS', 'cpu')
  main()
