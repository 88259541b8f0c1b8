r"""How fast clips are prepared, and whether all cores work.

Renders RAVDESS' layout, 16 clips of sound and film by each of `--actors`, 3
seconds each (the release's are 3 to 5, at 1280 x 720), and prepares it with one
thread and with one per core, in turn. Only the first four actors are drawn; the
others' files are copies, since encoding films takes longer than reading them.

  python benchmarks/prepare_speed.py --actors=63
"""

import argparse
import os
import pathlib
import resource
import shutil
import tempfile
import time

from mmjax.data import ravdess

_DRAWN = 4


def rendered(raw: pathlib.Path, actors: int, size: tuple[int, int]) -> None:
  ravdess.render(raw, actors=min(actors, _DRAWN), seconds=3.0, size=size)
  for actor in range(_DRAWN + 1, actors + 1):
    home = raw / f'Actor_{actor:02}'
    home.mkdir()
    drawn = (actor - 1) % _DRAWN + 1
    for file in (raw / f'Actor_{drawn:02}').iterdir():
      shutil.copy(file, home / f'{file.stem[:-2]}{actor:02}{file.suffix}')


def prepared(raw: pathlib.Path, workers: int) -> tuple[int, float, float]:
  """Clips, seconds by the clock, seconds of CPU."""
  with tempfile.TemporaryDirectory() as folder:
    wall, cpu = time.monotonic(), _cpu()
    done = ravdess.prepare(raw, folder, audio='spectrogram', workers=workers)
    return sum(done.counts.values()), time.monotonic() - wall, _cpu() - cpu


def _cpu() -> float:
  used = resource.getrusage(resource.RUSAGE_SELF)
  return used.ru_utime + used.ru_stime


def main() -> None:
  parser = argparse.ArgumentParser()
  parser.add_argument('--actors', type=int, default=63)
  parser.add_argument('--rounds', type=int, default=1)
  parser.add_argument('--size', type=int, nargs=2, default=(320, 180))
  asked = parser.parse_args()
  cores = os.cpu_count() or 1
  with tempfile.TemporaryDirectory() as folder:
    raw = pathlib.Path(folder) / 'raw'
    rendered(raw, asked.actors, tuple(asked.size))
    for _ in range(asked.rounds):
      for workers in (1, cores):
        clips, wall, cpu = prepared(raw, workers)
        print(
          f'{workers} threads: {clips} clips in {wall:.1f} s, '
          f'{clips / wall:.1f} clips/s, {cpu / wall:.2f} cores busy'
        )


if __name__ == '__main__':
  main()
