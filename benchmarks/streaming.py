"""Latency and throughput of predictions over sliding windows.

  python benchmarks/streaming.py [--streams=1,8,32] [--pushes=50]

The nets of configs/curriculum_utd_mhad.py with drawn weights: 3.84 s of an
inertial sensor (50 Hz), of a skeleton (30 Hz) and of 16 depth frames; each push
brings 0.24 s of all three. Beside it the same windows through the same jitted
predict, cut from the recording on the host and sent whole, as one would without
buffers on the device. The two ways take turns, push by push.
"""

import argparse
import pathlib
import statistics
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))

import jax  # noqa: E402
import numpy as np  # noqa: E402

from configs import curriculum_utd_mhad  # noqa: E402
from mmjax import _compose, streaming  # noqa: E402
from mmjax.base import Ragged  # noqa: E402
from mmjax.models import net  # noqa: E402
from mmjax.models.fusion import late  # noqa: E402

WINDOW = {'inertial': 192, 'skeleton': 115, 'depth': 16}
BRINGS = {'inertial': 12, 'skeleton': 7, 'depth': 1}  # 0.24 s
STEP = {'inertial': (6,), 'skeleton': (20, 3), 'depth': (48, 48, 1)}


def model():
  """(predict(params, batch), params)."""
  config = curriculum_utd_mhad.get_config()
  encoders = {
    m: _compose.lookup('models', {'width': config.width, **section}, m)()
    for m, section in config.encoders.to_dict().items()
  }
  head = late.make(modalities=tuple(WINDOW), num_classes=27)
  network = net.compose(encoders, head)
  params, stats = jax.jit(network.init)(jax.random.key(0), whole(1))
  key = jax.random.key(1)

  def predict(params, batch):
    return network.forward(params, stats, batch, key)[0]

  return predict, params


def whole(streams: int) -> dict:
  rng = np.random.default_rng(0)
  values = {
    m: rng.standard_normal((streams, WINDOW[m], *STEP[m]), np.float32)
    for m in WINDOW
  }
  full = {m: np.ones((streams, WINDOW[m]), bool) for m in WINDOW}
  return {
    **{m: Ragged(values[m], full[m]) for m in ('inertial', 'skeleton')},
    'depth': values['depth'],
    'label': np.zeros(streams, np.int32),
    'index': np.arange(streams, dtype=np.int32),
    'mask': np.ones(streams, bool),
    'present': {m: np.ones(streams, bool) for m in WINDOW},
  }


def measure(predict, params, streams: int, pushes: int) -> None:
  live = streaming.make(predict, streaming.windows(whole(streams)))
  rng = np.random.default_rng(1)
  record = {
    m: rng.standard_normal(
      (streams, WINDOW[m] + (pushes + 2) * n, *STEP[m]), np.float32
    )
    for m, n in BRINGS.items()
  }
  plain, seen = jax.jit(predict), whole(streams)
  buffers = live.init(streams)
  times = {'pushed': [], 'sent whole': []}
  for i in range(pushes + 2):
    at = {m: WINDOW[m] + i * n for m, n in BRINGS.items()}
    start = time.perf_counter()
    if i:
      chunk = {m: record[m][:, at[m] - n : at[m]] for m, n in BRINGS.items()}
    else:
      chunk = {m: record[m][:, : at[m]] for m in BRINGS}
    buffers, out = live.push(params, buffers, chunk)
    pushed = np.asarray(out.joint)
    middle = time.perf_counter()
    cut = {m: record[m][:, at[m] - WINDOW[m] : at[m]] for m in WINDOW}
    for m in ('inertial', 'skeleton'):
      cut[m] = Ragged(cut[m], seen[m].mask)
    sent = np.asarray(plain(params, {**seen, **cut}).joint)
    end = time.perf_counter()
    np.testing.assert_allclose(pushed, sent, rtol=1e-3, atol=1e-3)
    if i > 1:  # the first two compile
      times['pushed'].append(middle - start)
      times['sent whole'].append(end - middle)
  for way, seconds in times.items():
    cuts = statistics.quantiles(seconds, n=20)
    print(
      f'| {streams} | {way} | {1e3 * statistics.median(seconds):.1f} '
      f'| {1e3 * cuts[-1]:.1f} | {streams / statistics.mean(seconds):.0f} |'
    )
  ratio = statistics.median(times['sent whole']) / statistics.median(
    times['pushed']
  )
  print(f'| {streams} | ratio of the medians | {ratio:.2f} | | |')


def main():
  parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
  parser.add_argument('--streams', default='1,8,32')
  parser.add_argument('--pushes', type=int, default=50)
  flags = parser.parse_args()
  predict, params = model()
  print(f'{jax.devices()[0].device_kind}, jax {jax.__version__}\n')
  print('| streams | way | median, ms | 95 %, ms | windows/s |')
  print('| --: | :-- | --: | --: | --: |')
  for streams in map(int, flags.streams.split(',')):
    measure(predict, params, streams, flags.pushes)


if __name__ == '__main__':
  main()
