r"""Memory and time of InfoNCE, whole and by tiles, over the batch size.

  python benchmarks/contrastive_memory.py
  python benchmarks/contrastive_memory.py --sizes=1024,4096 --rounds=5

Value and gradient of `ops.contrastive.info_nce` for B pairs of width 512. Each
cell runs in a process of its own, whose largest resident size tells what it took
beside an idle one; the two forms take turns, and their times are told as a ratio
of medians. What the compiler plans is told as well, and for a million pairs
that alone.
"""

import argparse
import json
import resource
import statistics
import subprocess
import sys
import time

WIDTH, BLOCK = 512, 512
LARGEST_PLAIN = 8192  # the whole matrix of more is only planned, not run
MILLION = 2**20


def compiled(size: int, block: int | None):
  """The program, and the GiB that it plans for beside its input."""
  import jax
  import jax.numpy as jnp

  from mmjax.ops import contrastive

  def loss(x_BD, y_BD, temperature):
    return contrastive.info_nce(x_BD, y_BD, temperature, block)

  x_BD = jax.ShapeDtypeStruct((size, WIDTH), jnp.float32)
  scale = jax.ShapeDtypeStruct((), jnp.float32)
  run = jax.jit(jax.value_and_grad(loss, (0, 1, 2)))
  run = run.lower(x_BD, x_BD, scale).compile()
  told = run.memory_analysis()
  return run, (told.temp_size_in_bytes + told.output_size_in_bytes) / 2**30


def measured(size: int, block: int | None, rounds: int) -> dict[str, float]:
  """In this process: GiB at the peak, and seconds."""
  import jax

  run, planned = compiled(size, block)
  x_BD, y_BD = (
    jax.random.normal(jax.random.key(i), (size, WIDTH)) for i in (0, 1)
  )
  jax.block_until_ready((x_BD, y_BD))
  before = _peak()
  seconds = []
  for _ in range(rounds + 1):
    start = time.perf_counter()
    value, _ = jax.block_until_ready(run(x_BD, y_BD, jax.numpy.float32(0.07)))
    seconds.append(time.perf_counter() - start)
  return {
    'planned': planned,
    'peak': _peak(),
    'grown': _peak() - before,
    'seconds': statistics.median(seconds[1:] or seconds),
    'value': float(value),
  }


def _peak() -> float:
  return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20


def apart(size: int, block: int | None, rounds: int) -> dict[str, float]:
  """`measured`, in a fresh process."""
  command = [
    sys.executable,
    __file__,
    '--cell',
    f'{size},{block or 0},{rounds}',
  ]
  told = subprocess.run(command, check=True, capture_output=True, text=True)
  return json.loads(told.stdout)


def main() -> None:
  parser = argparse.ArgumentParser(description=__doc__)
  parser.add_argument('--sizes', default='1024,2048,4096,8192,16384,32768')
  parser.add_argument('--rounds', type=int, default=2)
  parser.add_argument('--cell', help='size,block,rounds of one process')
  args = parser.parse_args()
  if args.cell:
    size, block, rounds = map(int, args.cell.split(','))
    print(json.dumps(measured(size, block or None, rounds)))
    return
  print('| pairs | whole: planned, peak GiB | by tiles: planned, peak | time |')
  print('|---|---|---|---|')
  for size in map(int, args.sizes.split(',')):
    tiles = apart(size, BLOCK, args.rounds)
    whole = f'{compiled(size, None)[1]:.2f}, not run'
    ratio = '-'
    if size <= LARGEST_PLAIN:
      told = apart(size, None, args.rounds)
      whole = f'{told["planned"]:.2f}, {told["peak"]:.2f}'
      ratio = f'{tiles["seconds"] / told["seconds"]:.2f}'
      assert abs(told['value'] - tiles['value']) < 1e-5 * told['value']
    print(
      f'| {size:,} | {whole} | {tiles["planned"]:.2f}, {tiles["peak"]:.2f} '
      f'({tiles["seconds"]:.1f} s) | {ratio} |',
      flush=True,
    )
  for block in (256, 1024, 4096):
    planned = compiled(MILLION, block)[1]
    given = 2 * MILLION * WIDTH * 4 / 2**30
    print(
      f'{MILLION:,} pairs by tiles of {block}: planned {planned:.1f} GiB beside '
      f'{given:.1f} GiB of input.',
      flush=True,
    )
  print(
    f'{MILLION:,} pairs whole: planned {compiled(MILLION, None)[1]:,.0f} GiB.'
  )


if __name__ == '__main__':
  main()
