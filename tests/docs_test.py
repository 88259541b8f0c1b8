"""What README, CONTRIBUTING and the notebooks say is so."""

import importlib
import inspect
import pathlib
import re
import shlex
import subprocess
import sys

import jax
import methods_test
import numpy as np
import pytest
from absl import flags

from mmjax import _compose, experiment, extract, main, report, sweep, vote

ROOT = pathlib.Path(__file__).resolve().parent.parent
PAGES = {
  n: (ROOT / n).read_text('utf8') for n in ('README.md', 'CONTRIBUTING.md')
}
EXAMPLE = r'<!-- example: (\w+) (\w+) -->\n```python\n(.*?)```'
EXAMPLES = {
  name: (kind, code)
  for kind, name, code in re.findall(EXAMPLE, PAGES['CONTRIBUTING.md'], re.S)
}
FOLDERS = {'method': 'methods', 'data': 'data'}
OTHERS = {'help', 'check', 'to', 'update'}  # flags of other programs
# As ml_collections reads recipes.
pytestmark = pytest.mark.filterwarnings(
  'ignore:the load_module:DeprecationWarning'
)


def blocks(page: str, language: str) -> list[str]:
  return re.findall(rf'```{language}\n(.*?)```', PAGES[page], re.S)


def commands(program: str) -> list[tuple[str, ...]]:
  """Arguments of every call of a program that a page shows."""
  found = []
  for page, text in PAGES.items():
    lines = ''.join(blocks(page, 'bash')).splitlines()
    lines += re.findall(r'`(python -m [^`]*)`', text)
    parts = [p for line in lines for p in line.split(' && ')]
    found += [tuple(shlex.split(p, comments=True)) for p in parts]
  start = ('python', '-m', program)
  calls = [a[3:] for a in found if a[:3] == start and '--help' not in a]
  return list(dict.fromkeys(calls))


def parse(*arguments):
  """The flags as `main` reads them; the config of the recipe."""
  for name in list(flags.FLAGS):
    if name == 'config' or name.startswith('config.'):
      delattr(flags.FLAGS, name)
  flags.FLAGS.unparse_flags()
  with pytest.MonkeyPatch.context() as patch:
    patch.setattr(sys, 'argv', ['mmjax', *arguments])
    main._parse(sys.argv)
    config = flags.FLAGS.config
  flags.FLAGS.unparse_flags()
  return config


@pytest.fixture(autouse=True)
def at_home(tmp_path, monkeypatch):
  """A person's folder, with the example files of CONTRIBUTING in the house."""
  monkeypatch.chdir(tmp_path)
  listed = _compose.available
  added = {FOLDERS[kind]: [name] for name, (kind, _) in EXAMPLES.items()}
  monkeypatch.setattr(
    _compose,
    'available',
    lambda package: listed(package) + added.get(package, []),
  )
  for name, (kind, code) in EXAMPLES.items():
    package = importlib.import_module(f'mmjax.{FOLDERS[kind]}')
    folder = tmp_path / FOLDERS[kind]
    folder.mkdir()
    (folder / f'{name}.py').write_text(code)
    monkeypatch.setattr(package, '__path__', [*package.__path__, str(folder)])
    monkeypatch.delitem(sys.modules, f'{package.__name__}.{name}', False)


def test_the_two_commands_stand_there():
  shown = [b.strip() for b in blocks('README.md', 'bash')]
  assert 'pip install -e . && python -m mmjax.main' in shown
  assert "pip install -e '.[dev]' && pytest" in shown


@pytest.mark.parametrize('arguments', commands('mmjax.main'), ids=' '.join)
def test_commands_of_main_are_understood(arguments):
  config = parse(*arguments)
  if config.data.name == 'cremad':  # not prepared here
    return
  if config.data.name == 'arrays':
    run_block('motion_len')
  if config.data.name == 'latents' and not config.extract:
    run_block('captions')
  if config.extract:  # these are made first, in their own tests
    assert extract.settings(config.extract).path == config.data.path
    return
  if not any(a.startswith('--mode') for a in arguments):
    assert experiment.build(config).plan[-1].stop > 0


@pytest.mark.parametrize('arguments', commands('mmjax.report'), ids=' '.join)
def test_commands_of_report_are_understood(arguments, capsys):
  with pytest.raises(SystemExit):
    report.main(arguments)
  assert 'There is no run folder' in capsys.readouterr().err


@pytest.mark.parametrize('arguments', commands('mmjax.sweep'), ids=' '.join)
def test_commands_of_sweep_are_understood(arguments, capsys, tmp_path):
  root = [a for a in arguments if a.startswith('--root=')]
  rest = [a for a in arguments if a not in root and a != '--list']
  assert len(root) == 1
  shown = [*rest, f'--root={tmp_path}', '--data_root=nowhere', '--list']
  assert sweep.main(shown) == 0
  assert re.search(r'\w+/\w+ +(new|no data)', capsys.readouterr().out)


def test_flags_exist():
  made = (report.main, sweep._arguments, vote.main)
  sources = [inspect.getsource(function) for function in made]
  sources += [p.read_text('utf8') for p in (ROOT / 'benchmarks').glob('*.py')]
  options = set(re.findall(r"'--(\w+)'", ''.join(sources)))
  for page, text in PAGES.items():
    named = set(re.findall(r'(?<![\w=-])--([a-z]\w*)(?![\w.])', text))
    unknown = named - set(flags.FLAGS) - options - OTHERS - {'config'}
    assert not unknown, f'{page} names --{", --".join(unknown)}'


def test_keys_of_the_config_exist():
  known = set()
  for path in (ROOT / 'configs').glob('*.py'):
    known |= set(keys(parse(f'--config={path}').to_dict()))
  for name in _compose.available('methods'):
    make = importlib.import_module(f'mmjax.methods.{name}').make
    known |= {f'method.{p}' for p in inspect.signature(make).parameters}
  for page, text in PAGES.items():
    prose = re.sub(r'```python\n.*?```', '', text, flags=re.S)
    named = re.findall(r'\bconfig\.(?!json|yaml)([a-z_]+(?:\.[a-z_]+)*)', prose)
    assert named and set(named) <= known, (page, set(named) - known)


def keys(tree, path=''):
  for key, value in tree.items():
    yield path + key
    if isinstance(value, dict):
      yield from keys(value, f'{path}{key}.')


def test_paths_exist():
  for page, text in PAGES.items():
    paths = set(
      re.findall(
        r'(?<![\w/.-])((?:mmjax|configs|tests|benchmarks|colabs|docs|\.ci)/'
        r'[\w./*-]*|(?:README|CONTRIBUTING|LICENSE)[\w.]*)',
        re.sub(r'```python\n.*?```', '', text, flags=re.S),
      )
    )
    assert len(paths) > 10, page
    for path in paths:
      if pathlib.Path(path).stem not in EXAMPLES:
        assert list(ROOT.glob(path.rstrip('.'))), f'{page} names {path}'


def run_block(word: str) -> dict:
  """Runs the block of README's Python that has a word in it."""
  (code,) = (b for b in blocks('README.md', 'python') if word in b)
  names: dict = {}
  exec(compile(code, 'README.md', 'exec'), names)
  return names


def test_python_of_the_readme_runs():
  names = run_block('experiment.build')
  assert np.isfinite(names['metrics']['loss'])
  assert names['logits_BC'].shape == (256, 10)
  assert int(names['state'].step) == 20


def test_examples_are_found():
  assert {kind for kind, _ in EXAMPLES.values()} == set(FOLDERS)


# The rest of the suite takes longer and asks the same questions.
@pytest.mark.parametrize(
  'question',
  [
    methods_test.test_it_learns_with_one_compilation,
    methods_test.test_a_modality_that_nobody_has_rests,
    methods_test.test_what_does_not_count_leaves_no_trace,
  ],
)
def test_the_example_of_a_method_conforms(question):
  (name,) = (n for n, (kind, _) in EXAMPLES.items() if kind == 'method')
  methods_test.test_hyper_parameters_are_keywords_with_defaults(name)
  for phase in methods_test.world(name).method.phases:
    question(name, phase)


def test_the_example_of_a_data_set_trains():
  (name,) = (n for n, (kind, _) in EXAMPLES.items() if kind == 'data')
  (command,) = (c for c in commands('mmjax.main') if any(name in a for a in c))
  exp = experiment.build(parse(*command, '--config.phases=(("lap", 8),)'))
  sizes = [exp.sources[s].size for s in ('train', 'validation', 'test')]
  assert sizes == [106, 27, 45]
  state, first = exp.steps['lap'](exp.init(jax.random.key(0)), exp.batch(0))
  for step in range(1, exp.plan[-1].stop):
    state, last = exp.steps['lap'](state, exp.batch(step))
  assert last['loss'] < 0.8 * first['loss']


@pytest.mark.parametrize(
  'path', sorted((ROOT / 'colabs').glob('*.py')), ids=lambda p: p.stem
)
def test_notebooks_are_paired(path):
  jupytext = pytest.importorskip('jupytext', reason='an extra: notebooks')
  pair = [jupytext.read(p) for p in (path, path.with_suffix('.ipynb'))]
  text, notebook = (
    [(cell.cell_type, cell.source) for cell in book.cells] for book in pair
  )
  assert text == notebook, f'jupytext --to ipynb --update colabs/{path.name}'
  assert not any(cell.get('outputs') for cell in pair[1].cells)


def test_no_place_of_one_machine_is_named():
  """No registry's host, and no home or work folder."""
  listed = subprocess.run(
    ['git', 'ls-files', '--cached', '--others', '--exclude-standard'],
    cwd=ROOT,
    capture_output=True,
    text=True,
  )
  if listed.returncode:
    pytest.skip('not a git checkout')
  hosts = 'py' + r'pi\.|python' + r'hosted|npm' + r'js\.|deb' + r'ian\.org'
  places = r'(?<![\w.:/*])/(?:work|root|home|Users)/'
  options = '--index' + '-url|--extra' + '-index|find' + '-links'
  bad = re.compile(f'{hosts}|{places}|{options}')
  for name in listed.stdout.splitlines():
    path = ROOT / name
    if path.suffix in ('.npz', '.npy') or not path.is_file():
      continue
    found = bad.search(path.read_text('utf8'))
    assert not found, f'{name} names {found.group()!r}'
