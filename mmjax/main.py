"""Flags, and nothing else: python -m mmjax.main --help."""

import os
import sys
import warnings

from absl import app, flags, logging
from ml_collections import config_flags

from mmjax import _main_modes as modes
from mmjax import _main_recipe as recipes

if str(recipes.ROOT) not in sys.path:  # they say `from configs import common`
  sys.path.insert(0, str(recipes.ROOT))

MODES = {
  each.__name__: each
  for each in (
    *(modes.train, modes.eval, modes.prepare),
    *(modes.advise, modes.extract, modes.generate, modes.export),
  )
}
flags.DEFINE_enum(
  'mode',
  'train',
  list(MODES),
  'train a config, evaluate a run folder, prepare raw data, advise which '
  'modalities of a data set, or of a run, are worth having, extract the latents '
  'of a run, of the section extract of a config, or of its encoders as they '
  'begin, generate one modality from another (the section generate), or export '
  'a trained model for who has jax and numpy alone.',
)
flags.DEFINE_string(
  'workdir', None, 'Run folder; default runs/<recipe>-<date and time>.'
)
flags.DEFINE_string('raw_dir', None, 'Folder of raw files, to prepare.')
flags.DEFINE_integer(
  'workers', None, 'Threads of --mode=prepare; default one per core.'
)
flags.DEFINE_enum(
  'on_corrupt',
  'skip',
  ['skip', 'stop'],
  'What --mode=prepare does about a file that cannot be read.',
)
flags.DEFINE_bool(
  'overwrite',
  False,
  'Let --mode=prepare replace data of other settings, and --mode=export an '
  'export.',
)
flags.DEFINE_enum(
  'split', 'test', ['train', 'validation', 'test'], 'For --mode=eval.'
)
flags.DEFINE_list('drop', [], 'Modalities to hide, for --mode=eval.')
flags.DEFINE_integer(
  'model', 0, 'Which of several seeds --mode=export takes, from 0.'
)
flags.DEFINE_string(
  'out', None, 'Folder of --mode=export; default <workdir>/export.'
)
flags.DEFINE_string(
  'coordinator', None, 'host:port of process 0, for several processes.'
)
flags.DEFINE_integer('num_processes', None, 'How many there are.')
flags.DEFINE_integer('process_id', None, 'Which of them this is, from 0.')
FLAGS = flags.FLAGS


def main(argv):  # noqa: ARG001
  warnings.showwarning = _show_warning
  if not FLAGS['verbosity'].present:  # orbax tells its life at INFO
    logging.set_verbosity(logging.WARNING)
  try:
    _distribute()
    MODES[FLAGS.mode]()
  except (ValueError, FloatingPointError, OSError) as error:
    if logging.get_verbosity() > 0:
      raise
    logging.debug('where it happened', exc_info=True)
    sys.exit(f'\nmmjax: {error}\n(--verbosity=1 shows where in the code.)')
  except KeyboardInterrupt:
    sys.exit(130)


def _distribute():
  """Joins the other processes, if there are any.

  JAX reads the coordinator's address from the environment, but not these two.
  """
  coordinator = FLAGS.coordinator or os.environ.get('JAX_COORDINATOR_ADDRESS')
  if not coordinator and FLAGS.num_processes is FLAGS.process_id is None:
    return
  count = FLAGS.num_processes or os.environ.get('JAX_NUM_PROCESSES')
  index = FLAGS.process_id
  index = os.environ.get('JAX_PROCESS_ID') if index is None else index
  if not coordinator or count is None or index is None:
    raise ValueError(
      'Several processes need --coordinator, --num_processes and --process_id '
      '(or JAX_COORDINATOR_ADDRESS, JAX_NUM_PROCESSES and JAX_PROCESS_ID).'
    )
  if not coordinator.rpartition(':')[2].isdigit():
    raise ValueError(f'--coordinator={coordinator} must read host:port.')
  import jax

  try:
    jax.distributed.initialize(coordinator, int(count), int(index))
  except RuntimeError as error:  # what jax raises here has no better name
    raise ValueError(
      f'Process {index} of {count} could not join the others at {coordinator}: '
      f'{error}'
    ) from error


def _show_warning(message, category, filename, lineno, file=None, line=None):  # noqa: ARG001
  """A warning is a paragraph to a person, without the line that raised it."""
  print(f'{category.__name__}: {message}', file=sys.stderr, flush=True)


def _parse(argv):
  """Flags, with what is wrong in them said in a sentence."""
  try:
    argv = recipes.first(argv)
    # Here and not above: it reads the recipe. New keys are for `experiment` to
    # judge, which knows what every section takes.
    config_flags.DEFINE_config_file(
      'config',
      None,
      'Recipe, as file.py or file.py:argument; default '
      f'{recipes.DEFAULT}. Any value of it can be set: --config.optim.lr=0.01.',
      lock_config=False,
      accept_new_attributes=True,
      sys_argv=argv,
    )
    rest = flags.FLAGS(argv)
    if len(rest) > 1:
      raise ValueError(f'{" ".join(rest[1:])}: flags begin with --.')
    return rest
  except Exception as error:  # a recipe can raise anything
    told = recipes.told(error)
    sys.exit(f'mmjax: {told}\n(python -m mmjax.main --help lists the flags.)')


if __name__ == '__main__':
  app.run(main, flags_parser=_parse)
