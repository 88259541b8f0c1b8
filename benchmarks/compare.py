"""Every method of the first stone on the same nets, data and budget.

  python benchmarks/compare.py --out=runs/compare [--data=digits,cmu_mosi]
    [--methods=mla,concat] [--seeds=5]

Trains each pair that has no results yet (kill it and start it again at will),
then prints one Markdown table per data set. All but `digits` read
`--root`/<name>/data.npz, by default ../shared/data; a data set that is not
there is left out, and said.
"""

import argparse
import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))

from configs import common  # noqa: E402
from mmjax import experiment, report, train  # noqa: E402

# name: (method section, head, phase)
METHODS = {
  'late': (dict(name='unimodal'), 'late', 'unimodal'),
  'sum': (dict(name='joint'), 'sum', 'joint'),
  'concat': (dict(name='joint'), 'concat', 'joint'),
  'mla_no_projection': (dict(name='mla', projection='none'), 'shared', 'lap'),
  'mla_fixed_fusion': (dict(name='mla', fusion='fixed'), 'shared', 'lap'),
  'mla_released': (dict(name='mla_released'), 'shared', 'lap'),
  'mla_released_forced': (
    dict(name='mla_released', projection=True, fusion='entropy_released'),
    'shared',
    'lap',
  ),
  'mla': (dict(name='mla'), 'shared', 'lap'),
}

SGD = dict(name='sgd', momentum=0.9, weight_decay=1e-4)
TCN = dict(name='tcn', channels=32, blocks=3)


def digits(config):
  config.encoders = dict(
    image=dict(name='mlp', hidden=(128,)),
    speech=TCN,
    text=dict(name='text', vocab=27, layers=0),
  )
  config.optim = dict(SGD, lr=0.1)
  return 30


def cmu_mosi(config):
  """Utterance features; text is strong, audio and video are weak."""
  config.data.modalities = ('text', 'audio', 'video')
  config.encoders = {
    m: dict(name='mlp', hidden=(128,), dropout=0.3)
    for m in config.data.modalities
  }
  config.optim = dict(SGD, lr=0.01)
  return 30


def utd_mhad(config):
  """Actions, cross-subject: inertial and skeleton sequences, depth frames."""
  config.data.modalities = ('inertial', 'skeleton', 'depth')
  config.encoders = dict(
    inertial=TCN,
    skeleton=TCN,
    depth=dict(name='mlp', hidden=(128,), dropout=0.3),
  )
  config.data.max_len = 128
  config.batch_size = 32
  config.optim = dict(SGD, lr=0.03)
  return 40


def cremad_votes(config):
  """What people heard in the voice and saw in the face of CREMA-D's clips."""
  config.data.modalities = ('voice_votes', 'face_votes')
  config.encoders = {
    m: dict(name='mlp', hidden=(128,)) for m in config.data.modalities
  }
  config.optim = dict(SGD, lr=0.01)
  return 20


DATA = dict(
  digits=digits,
  cmu_mosi=cmu_mosi,
  cremad_votes=cremad_votes,
  utd_mhad=utd_mhad,
)


def recipe(data: str, method: str, seeds: int, root: pathlib.Path):
  """The config of one pair; the net and the budget depend on data alone."""
  config = common.get_config()
  if data != 'digits':
    config.data = dict(name='arrays', path=str(root / data / 'data.npz'))
    config.data.modalities = ()
    config.data.max_len = 0
  epochs = DATA[data](config)
  section, head, phase = METHODS[method]
  config.method, config.head = dict(section), dict(name=head)
  config.phases = ((phase, epochs),)
  config.num_seeds = seeds
  config.run.checkpoint_epochs = float(epochs)
  config.run.eval_epochs = 5.0
  return config


def main():
  parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
  parser.add_argument('--out', type=pathlib.Path, default='runs/compare')
  parser.add_argument('--data', default=','.join(DATA))
  parser.add_argument('--methods', default=','.join(METHODS))
  parser.add_argument('--seeds', type=int, default=5)
  parser.add_argument('--root', type=pathlib.Path, default='../shared/data')
  flags = parser.parse_args()
  for names, known in ((flags.data, DATA), (flags.methods, METHODS)):
    unknown = set(names.split(',')) - set(known)
    if unknown:
      parser.error(f'{", ".join(unknown)}: there are {", ".join(known)}')
  for data in flags.data.split(','):
    if data != 'digits' and not (flags.root / data / 'data.npz').exists():
      print(f'{data}: not in {flags.root}, left out')
      continue
    folders = []
    for method in flags.methods.split(','):
      folder = flags.out / data / method
      folders.append(folder)
      if not (folder / 'results.json').exists():
        config = recipe(data, method, flags.seeds, flags.root)
        train.run(experiment.build(config), folder)
    print(f'\n## {data}\n')
    page = flags.out / f'{data}.html'
    report.main([*map(str, folders), f'--out={page}', '--markdown'])


if __name__ == '__main__':
  main()
