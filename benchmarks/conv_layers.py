"""ResNet-18's convolutions at CREMA-D's shapes, layer by layer, on a CPU.

  python benchmarks/conv_layers.py [--rounds=15] [--threads=2]

Milliseconds of the forward pass, of the gradient of the input and of that of
the weights: PyTorch's, the library's (XLA) and our own (mmjax/models/_conv.py),
in turns in one process; nearly the least of all rounds, as others may be at work. Our
rule for choosing between the last two (`_conv.WORK`) comes from this table.
"""

import argparse
import functools
import math
import os
import pathlib
import sys
import time


def arguments():
  parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
  parser.add_argument('--rounds', type=int, default=15)
  parser.add_argument('--threads', type=int, default=2)
  return parser.parse_args()


ARGS = arguments()
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))
os.environ['JAX_PLATFORMS'] = 'cpu'
# Before jax is imported: its thread pool is as large as the process may use.
os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[: ARGS.threads])

import jax  # noqa: E402
import numpy as np  # noqa: E402
import torch  # noqa: E402

from mmjax.models import _conv  # noqa: E402

torch.set_num_threads(ARGS.threads)
# images, height, width, channels, kernel, stride, out
LAYERS = [(8, 257, 188, 1, 7, 2, 64), (24, 224, 224, 3, 7, 2, 64)]
for images, sizes in (
  (8, ((65, 47), (33, 24), (17, 12), (9, 6))),
  (24, ((56, 56), (28, 28), (14, 14), (7, 7))),
):
  LAYERS.append((images, *sizes[0], 64, 3, 1, 64))
  for i, (before, after) in enumerate(zip(sizes, sizes[1:])):
    C = 64 * 2**i
    LAYERS.append((images, *before, C, 3, 2, 2 * C))
    LAYERS.append((images, *before, C, 1, 2, 2 * C))
    LAYERS.append((images, *after, 2 * C, 3, 1, 2 * C))


def candidates(layer):
  """{column: function without arguments}, all of them run once."""
  images, height, width, channels, k, stride, out = layer
  rng = np.random.default_rng(0)
  x = rng.normal(size=(images, height, width, channels)).astype(np.float32)
  w = rng.normal(size=(k, k, channels, out)).astype(np.float32)
  forward = jax.jit(functools.partial(_conv._library, stride=stride))
  g = np.asarray(forward(x, w))

  def dx(w, g):
    transpose = jax.linear_transpose(
      lambda x: _conv._library(x, w, stride), jax.ShapeDtypeStruct(x.shape, 'f')
    )
    return transpose(g)

  def ours(function, *arrays):
    run, arrays = jax.jit(function), jax.device_put(arrays)
    return lambda: jax.block_until_ready(run(*arrays))

  x_t, g_t = (torch.tensor(a).permute(0, 3, 1, 2).contiguous() for a in (x, g))
  w_t = torch.tensor(w).permute(3, 2, 0, 1).contiguous()

  def theirs(mask):
    return lambda: torch.ops.aten.convolution_backward(
      g_t, x_t, w_t, None, [stride] * 2, [k // 2] * 2, [1, 1], False, [0, 0],
      1, mask,
    )  # fmt: skip

  library, own = (
    functools.partial(f, stride=stride)
    for f in (_conv._library_grad, _conv._scan_grad)
  )
  return {
    'forward torch': lambda: torch.conv2d(x_t, w_t, None, stride, k // 2),
    'forward xla': ours(forward, x, w),
    'dx torch': theirs([True, False, False]),
    'dx xla': ours(dx, w, g),
    'dw torch': theirs([False, True, False]),
    'dw xla': ours(library, x, w, g),
    'dw own': ours(own, x, w, g),
  }, g.size * k * k * channels


def measure(runs):
  """{column: milliseconds}: the second least of all rounds."""
  times = {name: [] for name in runs}
  for i in range(ARGS.rounds + 1):
    for name, run in runs.items():
      time.sleep(0.01)  # PyTorch's idle threads spin for a while
      start = time.perf_counter()
      run()
      if i:  # the first compiles
        times[name].append(1e3 * (time.perf_counter() - start))
  return {name: sorted(value)[1] for name, value in times.items()}


def main():
  titles = None
  for layer in LAYERS:
    runs, work = candidates(layer)
    times = measure(runs)
    if titles is None:
      titles = ['layer', 'log2 of work', *times, 'dw own / xla', 'taken']
      print('| ' + ' | '.join(titles) + ' |\n' + '|---' * len(titles) + '|')
    images, height, width, channels, k, stride, out = layer
    name = f'{images} x {height}x{width}x{channels}, {k}x{k}/{stride}, {out}'
    cells = [name, f'{math.log2(work):.1f}']
    cells += [f'{value:.1f}' for value in times.values()]
    cells.append(f'{times["dw own"] / times["dw xla"]:.2f}')
    cells.append('own' if work >= _conv.WORK else 'xla')
    print('| ' + ' | '.join(cells) + ' |', flush=True)


if __name__ == '__main__':
  main()
