"""The house rules that a parser can see."""

import ast
import pathlib
import subprocess
import sys

import pytest

ROOT = pathlib.Path(__file__).resolve().parent.parent
PACKAGE = ROOT / 'mmjax'

# A module imports from the layers below its own only, and from files beside it
# whose name starts with `_`. A folder is one room; `_name_part.py` belongs to
# the layer of `name.py`.
LAYERS = (
  ('base',),
  ('ops',),
  ('models', 'lab'),
  ('data', 'methods', 'evals', 'streaming'),
  ('optim', 'plan', 'sharding', 'checkpoint', 'log', 'folder'),
  ('kit', 'seeds'),
  ('experiment',),
  ('evaluate', 'diagnose', 'report', 'cost'),
  ('train', 'vote', 'advise'),
  ('extract', 'export'),
  ('generate',),
  ('main', 'sweep'),
)
PARTS = {'_compose': 'experiment', '_pickle': 'ops', '_pickle_calls': 'ops'}

MODULES = {
  '.'.join(path.relative_to(ROOT).with_suffix('').parts): path
  for path in sorted(PACKAGE.rglob('*.py'))
  if path != PACKAGE / '__init__.py'
}


def tree(name: str) -> ast.Module:
  return ast.parse(MODULES[name].read_text('utf8'))


def imports(name: str) -> set[str]:
  """Every module that a module imports, also inside functions."""
  found = set()
  for node in ast.walk(tree(name)):
    if isinstance(node, ast.Import):
      found |= {alias.name for alias in node.names}
    elif isinstance(node, ast.ImportFrom):
      assert not node.level, f'{name} has a relative import'
      inner = {f'{node.module}.{alias.name}' for alias in node.names}
      found |= {i if i in MODULES else node.module for i in inner}
  return found


def room(name: str) -> str:
  """The entry of LAYERS that a module belongs to."""
  first = name.split('.')[1]
  if first in PARTS:
    return PARTS[first]
  if first.startswith('_'):
    return first.split('_')[1]
  return first


def layer(name: str) -> int:
  return next(i for i, rooms in enumerate(LAYERS) if room(name) in rooms)


def is_part(name: str) -> bool:
  return name.split('.')[-1].startswith('_')


def test_every_module_stands_in_a_layer():
  rooms = {room for layer in LAYERS for room in layer}
  lost = [n for n in MODULES if room(n) not in rooms]
  assert not lost, 'put these into LAYERS, or into the room they belong to'
  assert room('mmjax._report_html') == 'report'
  assert room('mmjax.models.fusion._linear') == 'models'


def test_imports_come_from_below():
  bad = []
  for name in MODULES:
    for other in imports(name):
      if other.split('.')[0] == 'mmjax':
        beside = is_part(other) and room(other) == room(name)
        if not beside and layer(other) >= layer(name):
          bad.append(f'{name} imports {other}')
  assert not bad


def test_linen_stays_in_the_models():
  bad = []
  for name in MODULES:
    found = {i for i in imports(name) if i.split('.')[0] == 'flax'}
    inside = room(name) == 'models'
    allowed = {'flax.linen', 'flax'} if inside else {'flax.struct'}
    bad += [f'{name} imports {i}' for i in found - allowed]
  assert not bad


def test_modules_say_what_they_are_for():
  mute = [
    name
    for name, path in MODULES.items()
    if path.read_text('utf8').strip() and not ast.get_docstring(tree(name))
  ]
  assert not mute


def test_nobody_imports_tensorflow():
  found = {i.split('.')[0] for name in MODULES for i in imports(name)}
  assert not found & {'tensorflow', 'tf_keras', 'clu'}


def test_the_whole_program_runs_without_tensorflow():
  """Also not by way of somebody else, such as tensorflow_datasets."""
  modules = [n for n in MODULES if not n.endswith(('__init__', 'render'))]
  code = (
    'import importlib, sys\n'
    f'for name in {modules}:\n'
    '  importlib.import_module(name)\n'
    "assert 'tensorflow_datasets' in sys.modules\n"
    "sys.exit('tensorflow' in sys.modules)\n"
  )
  done = subprocess.run(
    [sys.executable, '-c', code], cwd=ROOT, capture_output=True, text=True
  )
  assert done.returncode == 0, done.stderr


# Functions that a config section calls: `make` of these folders' files.
CALLED = [
  name
  for name in MODULES
  if room(name) in ('methods', 'evals', 'data', 'models') and not is_part(name)
]
# What the caller gives, not the config.
GIVEN = {
  'methods': ('kit',),
  'evals': ('kit', 'method'),
  'data': ('split',),
  'models': ('modalities', 'num_classes'),
}
# Rooms' own tools, which no section names.
TOOLS = ('mmjax.models.net', 'mmjax.data.augment')


def make_of(name: str) -> ast.FunctionDef | None:
  found = [
    node
    for node in tree(name).body
    if isinstance(node, ast.FunctionDef) and node.name == 'make'
  ]
  return found[0] if found and name not in TOOLS else None


@pytest.mark.parametrize('name', [n for n in CALLED if make_of(n)])
def test_no_parameter_of_a_section_is_dead(name):
  make = make_of(name)
  assert make.args.kwarg is None and make.args.vararg is None
  given = GIVEN[room(name)]
  for arg in make.args.args:
    assert arg.arg in given, f'{arg.arg} has to be given by keyword'
  used = {n.id for n in ast.walk(make) if isinstance(n, ast.Name)}
  for arg, default in zip(make.args.kwonlyargs, make.args.kw_defaults):
    needs_none = arg.arg in (*given, 'path')  # there is no default data set
    assert default is not None or needs_none, f'{arg.arg} has no default'
    assert arg.arg in used, f'{arg.arg} is never used'
  assert ast.get_docstring(make)
