"""Flags, and nothing else: python -m mmjax.main --help."""

import datetime
import importlib
import os
import pathlib
import sys
import warnings

from absl import app, flags, logging
from ml_collections import config_flags

from mmjax import _main_recipe as recipes

if str(recipes.ROOT) not in sys.path:  # they say `from configs import common`
  sys.path.insert(0, str(recipes.ROOT))

flags.DEFINE_enum(
  'mode',
  'train',
  ['train', 'eval', 'prepare', 'advise', 'extract', 'generate'],
  'train a config, evaluate a run folder, prepare raw data, advise which '
  'modalities of a data set, or of a run, are worth having, extract the latents '
  'of a run, of the section extract of a config, or of its encoders as they '
  'begin, or generate one modality from another (the section generate).',
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


def main(argv):  # noqa: ARG001
  warnings.showwarning = _show_warning
  if not FLAGS['verbosity'].present:  # orbax tells its life at INFO
    logging.set_verbosity(logging.WARNING)
  try:
    _distribute()
    modes = dict(train=_train, eval=_eval, prepare=_prepare, advise=_advise)
    modes |= dict(extract=_extract, generate=_generate)
    modes[FLAGS.mode]()
  except (ValueError, FloatingPointError, OSError) as error:
    if logging.get_verbosity() > 0:
      raise
    logging.debug('where it happened', exc_info=True)
    sys.exit(f'\nmmjax: {error}\n(--verbosity=1 shows where in the code.)')
  except KeyboardInterrupt:
    sys.exit(130)


def _build(config):
  """The experiment; a value of a wrong type is bad input as well."""
  from mmjax import experiment

  try:
    return experiment.build(config)
  except (TypeError, AttributeError) as error:
    raise ValueError(
      f'A value of the config has a type that does not fit: {error}.'
    ) from error


def _train():
  import jax

  from mmjax import extract, train

  if not FLAGS.workdir and jax.process_count() > 1:
    raise ValueError('Several processes need a --workdir that all of them see.')
  try:
    extract.ensure(FLAGS.config.get('extract', {}))
    exp = _build(FLAGS.config)
    workdir = pathlib.Path(FLAGS.workdir or _new_workdir())
    if jax.process_index() == 0:
      print(f'Run folder: {workdir}', flush=True)
    train.run(exp, workdir)
  except train.Stopped as stopped:
    print(f'\n{stopped}', flush=True)


def _eval():
  import jax

  from mmjax import evaluate, folder, log
  from mmjax.checkpoint import Checkpoints

  if not FLAGS.workdir:
    raise ValueError('--mode=eval needs the --workdir of a run.')
  workdir = pathlib.Path(FLAGS.workdir)
  exp = _build(_moved(folder.read_config(workdir)))
  unknown = set(FLAGS.drop) - set(exp.kit.modalities)
  if unknown:
    raise ValueError(
      f'--drop={",".join(sorted(unknown))}: the modalities of this run are '
      f'{", ".join(exp.kit.modalities)}.'
    )
  if set(FLAGS.drop) == set(exp.kit.modalities):
    raise ValueError('--drop leaves no modality: keep at least one.')
  if not exp.sources[FLAGS.split].size:
    raise ValueError(f'--split={FLAGS.split} has no example in these data.')
  with Checkpoints(workdir / 'checkpoints', read_only=True) as checkpoints:
    found = checkpoints.restore(exp.seeds.abstract, exp.run.select)
  if found is None:
    raise ValueError(
      f'{workdir} has no checkpoint yet. Start the run again, and it goes on '
      'to the first one.'
    )
  results = evaluate.run(exp, found.state, (FLAGS.split,), drop=FLAGS.drop)
  if jax.process_index() == 0:
    from rich.console import Console

    Console().print(log.table(results, FLAGS.split))
    hidden = f'_without_{"_".join(FLAGS.drop)}' if FLAGS.drop else ''
    path = workdir / f'eval_{FLAGS.split}{hidden}.json'
    with folder.forgiving(path, 'give the same command again'):
      folder.write_json(path, {'step': found.step, **results})
      print(f'Checkpoint {found.step}; numbers: {path}')


def _extract():
  from mmjax import extract, folder, train

  section = FLAGS.config.get('extract', {})
  given = pathlib.Path(FLAGS.workdir) if FLAGS.workdir else None
  try:
    if given and (given / folder.CONFIG).exists():
      config = _moved(folder.read_config(given), 'extract')
      extract.of_run(given, config, section)
    elif section and given:
      raise ValueError(
        f'--workdir={given} is no run folder. Leave it out: config.extract says '
        'where the latents, and their encoders, go.'
      )
    elif section:
      extract.ensure(section, FLAGS.config)
    elif given:
      extract.initial(FLAGS.config, given)
    else:
      raise ValueError(
        '--mode=extract needs the --workdir of a run, a --config with a section '
        'extract, or, for encoders as they begin, a --config and a new --workdir.'
      )
  except train.Stopped as stopped:
    print(f'\n{stopped}', flush=True)


def _generate():
  from mmjax import _compose, extract, folder, generate, train

  section = _compose.plain(FLAGS.config)['generate']
  asked = generate.settings(section)
  if not asked.data:
    raise ValueError(
      '--mode=generate needs a --config with a section generate, such as '
      'configs/generate_digits.py.'
    )
  workdir = pathlib.Path(FLAGS.workdir or _new_workdir())
  generate.claim(workdir)
  run = pathlib.Path(asked.run or workdir / 'aligned')
  print(f'Folder: {workdir}; aligned run: {run}', flush=True)
  try:
    if not (run / folder.RESULTS).exists():
      extract.ensure(FLAGS.config.get('extract', {}))
      train.run(_build(FLAGS.config), run)
    found = generate.run({**section, 'run': str(run)}, workdir)
  except train.Stopped as stopped:
    print(f'\n{stopped}', flush=True)
    return
  generate.tell(found)
  print(f'Numbers: {workdir / generate.JSON}; page: {workdir / generate.PAGE}')


def _moved(config, *also):
  """The config of a run, at the place that this command line names.

  Raises ValueError for a flag that would make it another run; sections that are
  `also` free are no part of it.
  """
  from mmjax import folder

  for path in config_flags.get_override_values(FLAGS['config']):
    section = path.split('.')[0]
    if section in also:
      continue
    if section not in folder.PLACES:
      raise ValueError(
        f'--config.{path}: --mode={FLAGS.mode} takes the config of the run, and only '
        f'{" and ".join(folder.PLACES)} may differ from it.'
      )
    config[section] = FLAGS.config[section].to_dict()
  return config


def _prepare():
  from mmjax import _compose

  section = _compose.plain(FLAGS.config)['data']
  _compose.lookup('data', section, 'config.data')  # the checks of training
  options = {key: value for key, value in section.items() if key != 'name'}
  name = section['name']
  module = importlib.import_module(f'mmjax.data.{name}')
  if not hasattr(module, 'prepare'):
    raise ValueError(f'config.data.name={name!r} needs no preparation.')
  asked = dict(
    workers=FLAGS.workers,
    on_corrupt=FLAGS.on_corrupt,
    overwrite=FLAGS.overwrite,
  )
  module.prepare(FLAGS.raw_dir, **options, **asked)


def _advise():
  from mmjax import advise

  asked = advise.settings(FLAGS.config.get('advise', {}))
  given = pathlib.Path(FLAGS.workdir) if FLAGS.workdir else None
  if given and advise.is_run(given):
    advise.claim(given)
    data, name = advise.of_run(given, asked), given.resolve().name
    workdir = given
  else:
    if given:
      advise.claim(given)
    data, name = advise.of_config(FLAGS.config, asked)
    workdir = given or _new_workdir()
  print(f'Folder: {workdir}', flush=True)
  found = advise.run(data, name, asked, workdir)
  advise.tell(found)
  print(f'Numbers: {workdir / advise.JSON}; page: {workdir / advise.PAGE}')


def _new_workdir() -> pathlib.Path:
  """Makes runs/<recipe>-<date and time>, for this run alone."""
  file = config_flags.get_config_filename(FLAGS['config'])
  name = pathlib.Path(file.split(':')[0]).stem
  now = datetime.datetime.now().strftime('%Y%m%d-%H%M%S')
  for suffix in ('', *(f'-{i}' for i in range(2, 1000))):
    path = pathlib.Path('runs') / f'{name}-{now}{suffix}'
    try:
      path.mkdir(parents=True)
      break
    except FileExistsError:  # of a run that started in the same second
      pass
  return path


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
