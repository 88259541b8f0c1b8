"""What each --mode of the command line does; the flags are in `main`."""

import datetime
import importlib
import pathlib

from absl import flags
from ml_collections import config_flags

FLAGS = flags.FLAGS


def train():
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


def eval():
  import jax

  from mmjax import checkpoint, evaluate, folder, log

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
  found = checkpoint.selected(workdir, exp.seeds.abstract, exp.run.select)
  results = evaluate.run(exp, found.state, (FLAGS.split,), drop=FLAGS.drop)
  if jax.process_index() == 0:
    from rich.console import Console

    Console().print(log.table(results, FLAGS.split))
    hidden = f'_without_{"_".join(FLAGS.drop)}' if FLAGS.drop else ''
    path = workdir / f'eval_{FLAGS.split}{hidden}.json'
    with folder.forgiving(path, 'give the same command again'):
      folder.write_json(path, {'step': found.step, **results})
      print(f'Checkpoint {found.step}; numbers: {path}')


def extract():
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


def export():
  from mmjax import export, folder

  if not FLAGS.workdir:
    raise ValueError('--mode=export needs the --workdir of a run.')
  workdir = pathlib.Path(FLAGS.workdir)
  exp = _build(_moved(folder.read_config(workdir)))
  asked = dict(model=FLAGS.model, overwrite=FLAGS.overwrite)
  export.run(exp, workdir, FLAGS.out or '', **asked)


def generate():
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


def prepare():
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


def advise():
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


def _build(config):
  """The experiment; a value of a wrong type is bad input as well."""
  from mmjax import experiment

  try:
    return experiment.build(config)
  except (TypeError, AttributeError) as error:
    raise ValueError(
      f'A value of the config has a type that does not fit: {error}.'
    ) from error
