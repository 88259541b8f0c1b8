"""Examples per second of the feed, by reading threads.

  python benchmarks/input_pipeline.py [--rounds=5] [--data_dir=DIR]

Two sources: `digits`, which lies in memory, and clips in CREMA-D's layout,
stored as the paper's recipe stores them (a 257 x 188 log spectrogram and three
JPEGs of 256 x 256 each; a rendered corpus, prepared into --data_dir once).
Nothing but the feed runs: batches of 64 are read, put together and thrown
away. Threads take turns within a round; the median of the rounds is told, and
its ratio to reading without threads.
"""

import argparse
import itertools
import os
import pathlib
import statistics
import sys
import tempfile
import time

os.environ.setdefault('JAX_PLATFORMS', 'cpu')
ROOT = pathlib.Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from mmjax.data import cremad, digits, feed, order  # noqa: E402

BATCH = 64


def arguments():
  parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
  parser.add_argument('--rounds', type=int, default=5)
  parser.add_argument('--threads', type=int, nargs='+', default=[0, 1, 2, 4])
  parser.add_argument('--seconds', type=float, default=2.0, help='per reading')
  parser.add_argument('--data_dir', help='of the prepared clips; temporary')
  return parser.parse_args()


def rate(source, threads: int, seconds: float) -> float:
  """Examples per second, from the second batch on."""

  def rows(step):
    return order.rows(source.size, BATCH, 0, step)

  stream = feed.stream(source, rows, 0, 10**6, BATCH, threads=threads, ahead=4)
  batches = iter(stream)
  next(batches)
  start, count = time.perf_counter(), 0
  for batch in batches:
    count += len(batch['label'])
    if (passed := time.perf_counter() - start) >= seconds:
      break
  stream.close()
  return count / passed


def measure(source, args) -> dict[int, float]:
  """{threads: median examples per second}."""
  told = {threads: [] for threads in args.threads}
  for _, threads in itertools.product(range(args.rounds), args.threads):
    told[threads].append(rate(source, threads, args.seconds))
  return {threads: statistics.median(rates) for threads, rates in told.items()}


def main():
  args = arguments()
  with tempfile.TemporaryDirectory() as temporary:
    place = args.data_dir or temporary
    sources = {
      'digits, in memory': digits.make('train'),
      'clips, 3 JPEGs each': cremad.make('train', data_dir=place, sample=True),
    }
    print(
      '| source | ' + ' | '.join(f'{t} threads' for t in args.threads) + ' |'
    )
    print('|---|' + '---|' * len(args.threads))
    for name, source in sources.items():
      rates = measure(source, args)
      base = rates[args.threads[0]]
      cells = [f'{r:,.0f}/s ({r / base:.2f})' for r in rates.values()]
      print(f'| {name} | ' + ' | '.join(cells) + ' |', flush=True)


if __name__ == '__main__':
  main()
