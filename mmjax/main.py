"""Flags, and nothing else: python -m mmjax.main --help."""

import datetime
import importlib
import os
import pathlib
import sys
import warnings

from absl import app, flags, logging
from ml_collections import config_flags

ROOT = pathlib.Path(__file__).resolve().parent.parent
if str(ROOT) not in sys.path:  # recipes say `from configs import common`
  sys.path.insert(0, str(ROOT))

DEFAULT = 'configs/mla_digits.py'

config_flags.DEFINE_config_file(
  'config', str(ROOT / DEFAULT), 'Recipe, as file.py or file.py:argument.'
)
flags.DEFINE_enum(
  'mode',
  'train',
  ['train', 'eval', 'prepare'],
  'train a config, evaluate a run folder, or prepare raw data.',
)
flags.DEFINE_string(
  'workdir', None, 'Run folder; default runs/<recipe>-<date and time>.'
)
flags.DEFINE_string('raw_dir', None, 'Folder of raw files, to prepare.')
flags.DEFINE_integer(
  'workers', None, 'Processes of --mode=prepare; default one per core.'
)
flags.DEFINE_enum(
  'on_corrupt',
  'skip',
  ['skip', 'stop'],
  'What --mode=prepare does about a file that cannot be read.',
)
flags.DEFINE_bool(
  'overwrite', False, 'Let --mode=prepare replace data of other settings.'
)
flags.DEFINE_enum(
  'split', 'test', ['train', 'validation', 'test'], 'For --mode=eval.'
)
flags.DEFINE_list('drop', [], 'Modalities to hide, for --mode=eval.')
flags.DEFINE_string(
  'coordinator', None, 'host:port of process 0, for several processes.'
)
flags.DEFINE_integer('num_processes', None, 'How many there are.')
flags.DEFINE_integer('process_id', None, 'Which of them this is, from 0.')
FLAGS = flags.FLAGS


def main(argv):
  if len(argv) > 1:
    raise app.UsageError(f'Unknown arguments: {" ".join(argv[1:])}')
  warnings.showwarning = _show_warning
  if not FLAGS['verbosity'].present:  # orbax tells its life at INFO
    logging.set_verbosity(logging.WARNING)
  try:
    _distribute()
    {'train': _train, 'eval': _eval, 'prepare': _prepare}[FLAGS.mode]()
  except (ValueError, FloatingPointError, OSError) as error:
    if FLAGS['verbosity'].value > 0:
      raise
    logging.debug('where it happened', exc_info=True)
    sys.exit(f'\nmmjax: {error}\n(--verbosity=1 shows where in the code.)')


def _train():
  from mmjax import experiment, train

  config = FLAGS.config
  workdir = pathlib.Path(FLAGS.workdir or _new_workdir())
  exp = experiment.build(config)
  print(f'Run folder: {workdir}', flush=True)
  try:
    train.run(exp, workdir)
  except train.Stopped as stopped:
    print(f'\n{stopped}', flush=True)


def _eval():
  import jax

  from mmjax import evaluate, experiment, folder, log
  from mmjax.checkpoint import Checkpoints

  if not FLAGS.workdir:
    raise ValueError('--mode=eval needs the --workdir of a run.')
  workdir = pathlib.Path(FLAGS.workdir)
  exp = experiment.build(folder.read_config(workdir))
  unknown = set(FLAGS.drop) - set(exp.kit.modalities)
  if unknown:
    raise ValueError(
      f'--drop={",".join(sorted(unknown))}: the modalities of this run are '
      f'{", ".join(exp.kit.modalities)}.'
    )
  if not exp.sources[FLAGS.split].size:
    raise ValueError(f'--split={FLAGS.split} has no example in these data.')
  with Checkpoints(workdir / 'checkpoints', read_only=True) as checkpoints:
    found = checkpoints.restore(exp.seeds.abstract, exp.run.select)
  if found is None:
    raise ValueError(f'{workdir} has no checkpoint yet.')
  results = evaluate.run(exp, found.state, (FLAGS.split,), drop=FLAGS.drop)
  if jax.process_index() == 0:
    hidden = f'_without_{"_".join(FLAGS.drop)}' if FLAGS.drop else ''
    path = workdir / f'eval_{FLAGS.split}{hidden}.json'
    folder.write_json(path, {'step': found.step, **results})
    from rich.console import Console

    Console().print(log.table(results, FLAGS.split))
    print(f'Checkpoint {found.step}; numbers: {path}')


def _prepare():
  from mmjax import _compose

  options = _compose.plain(FLAGS.config)['data']
  name = options.pop('name')
  if name not in _compose.available('data'):
    raise ValueError(f'config.data.name={name!r} is no file of mmjax/data.')
  module = importlib.import_module(f'mmjax.data.{name}')
  if not hasattr(module, 'prepare'):
    raise ValueError(f'config.data.name={name!r} needs no preparation.')
  asked = dict(
    workers=FLAGS.workers,
    on_corrupt=FLAGS.on_corrupt,
    overwrite=FLAGS.overwrite,
  )
  done = module.prepare(FLAGS.raw_dir, **options, **asked)
  print(done)


def _new_workdir() -> pathlib.Path:
  file = config_flags.get_config_filename(FLAGS['config'])
  name = pathlib.Path(file.split(':')[0]).stem
  now = datetime.datetime.now().strftime('%Y%m%d-%H%M%S')
  return pathlib.Path('runs') / f'{name}-{now}'


def _distribute():
  """Joins the other processes, if there are any.

  JAX reads the coordinator's address from the environment, but not these two.
  """
  coordinator = FLAGS.coordinator or os.environ.get('JAX_COORDINATOR_ADDRESS')
  if not coordinator:
    return
  import jax

  count = FLAGS.num_processes or os.environ.get('JAX_NUM_PROCESSES')
  index = FLAGS.process_id
  index = os.environ.get('JAX_PROCESS_ID') if index is None else index
  if count is None or index is None:
    raise ValueError(
      'Several processes need --coordinator, --num_processes and --process_id '
      '(or JAX_COORDINATOR_ADDRESS, JAX_NUM_PROCESSES and JAX_PROCESS_ID).'
    )
  jax.distributed.initialize(coordinator, int(count), int(index))


def _show_warning(message, category, filename, lineno, file=None, line=None):  # noqa: ARG001
  """A warning is a paragraph to a person, without the line that raised it."""
  print(f'{category.__name__}: {message}', file=sys.stderr, flush=True)


def _parse(argv):
  """Flags, with what is wrong in them said in a sentence."""
  try:
    return flags.FLAGS(argv)
  except (flags.Error, AttributeError, KeyError, TypeError, ValueError) as e:
    text = e.args[0] if isinstance(e, KeyError) and e.args else e
    sys.exit(f'mmjax: {text}\n(python -m mmjax.main --help lists the flags.)')


if __name__ == '__main__':
  app.run(main, flags_parser=_parse)
