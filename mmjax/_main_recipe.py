"""The recipe on a command line, and what may be wrong with it in a sentence."""

import difflib
import pathlib
import re
import traceback

ROOT = pathlib.Path(__file__).resolve().parent.parent
DEFAULT = 'configs/mla_digits.py'


def first(argv: list[str]) -> list[str]:
  """The arguments with a --config=<file that exists> in front.

  A file is looked for here, then beside the code. Raises ValueError if there is
  none of that name.
  """
  value, rest = DEFAULT, []
  arguments = iter(argv[1:])
  for argument in arguments:
    if re.fullmatch('--?config', argument):
      value = next(arguments, '')
    elif re.match('--?config=', argument):
      value = argument.partition('=')[2]
    else:
      rest.append(argument)
  name, colon, variant = value.partition(':')
  found = [p for p in (pathlib.Path(name), ROOT / name) if p.is_file()]
  if not found:
    there = sorted(str(p.relative_to(ROOT)) for p in ROOT.glob('configs/*.py'))
    close = difflib.get_close_matches(name, there, 1)
    hint = f' Did you mean {close[0]}?' if close else ''
    raise ValueError(
      f'--config={value} is no file.{hint} There are: {", ".join(there)}.'
    )
  return [argv[0], f'--config={found[0]}{colon}{variant}', *rest]


def told(error: Exception) -> str:
  """What was wrong with a flag or in a recipe, in a sentence."""
  if isinstance(error, SyntaxError):
    return f'{error.filename}, line {error.lineno}: {error.msg}.'
  text = str(error.args[0]) if isinstance(error, KeyError) else str(error)
  if 'Error whilst parsing config file' in text:  # and then a trace
    flag, last = text.split(': Error')[0], text.strip().splitlines()[-1]
    if 'get_config() takes 0 positional' in last:
      last = "this recipe takes no argument after ':'."
    elif 'get_config() missing' in last:
      last = 'this recipe needs an argument, as in --config=file.py:argument.'
    return f'{flag}: {last}'
  frames = traceback.extract_tb(error.__traceback__)
  if any(frame.name == 'get_config' for frame in frames):
    last = frames[-1]
    kind = type(error).__name__
    return f'{last.filename}, line {last.lineno}: {kind}: {text}'
  if isinstance(error, KeyError):  # of a path through the config
    name, _, hint = text.partition('\n')
    hint = hint or (
      'A new one is given whole, as in --config.encoders.audio='
      "\"{'name': 'mlp'}\"."
    )
    return f'The config has no section {name}. {hint}'
  if 'as a ConfigDict' in text:
    return (
      f'{text.split(": ")[0]}: this is a section. Set a key of it (such as '
      ".name=..) or the whole, as in --config.method=\"{'name': 'joint'}\"."
    )
  return text
