"""Data sets of files: what they share, from the raw folder to a `Source`.

A file of `data/` that has one says `corpus(*, ...) -> Corpus`: what its release
looks like. `make, prepare = faces(corpus)` gives it the two functions that the
commands call, with its own arguments and those that all have:

  data_dir    where prepared data lie
  sample      render a small set in the published layout, prepare and use that
  on_missing  an example that lacks a file is left out ('skip') or kept, with
              'present' False ('present')
"""

import functools
import inspect
import os
import pathlib
from collections.abc import Callable, Mapping
from typing import Any

from mmjax.data import _corpus_recipe as recipes
from mmjax.data import _prepare, _prepared
from mmjax.data._corpus_release import Corpus, Draw, Entry, Found, require
from mmjax.data._corpus_source import opened

__all__ = ['Corpus', 'Draw', 'Entry', 'Found', 'faces', 'require']

_OURS = ('split', 'raw_dir', 'data_dir', 'sample', 'on_missing')
_RUNNING = ('workers', 'on_corrupt', 'overwrite', 'wait')


def faces(corpus: Callable[..., Corpus]) -> tuple[Callable, Callable]:
  """(make, prepare) of a data set, with the keywords of its `corpus`."""

  @_signed(corpus, ('split',), {'data_dir': 'data'})
  def make(split: str, data_dir: str, sample: bool, on_missing: str, **options):
    settings = _settings(corpus, options, on_missing)
    made = corpus(**options)
    if sample and not _prepared.exists(data_dir, made.name, made.version):
      prepare(None, data_dir, sample=True, wait=True, **options)
    return opened(made, split, data_dir, settings)

  running = dict(workers=None, on_corrupt='skip', overwrite=False, wait=False)

  @_signed(corpus, ('raw_dir', 'data_dir'), running)
  def prepare(
    raw_dir: str | os.PathLike | None,
    data_dir: str | os.PathLike,
    sample: bool,
    on_missing: str,
    workers: int | None,
    on_corrupt: str,
    overwrite: bool,
    wait: bool,
    **options,
  ) -> _prepare.Prepared:
    settings = _settings(corpus, options, on_missing)
    made = corpus(**options)
    root = pathlib.Path(data_dir).expanduser()
    if sample:
      raw_dir = raw_dir or root / f'{made.name}_raw'
      recipes.render(made, pathlib.Path(raw_dir).expanduser())
    raw = recipes.raw_folder(made, raw_dir)
    return _prepare.run(
      recipes.recipe(made, raw, settings, on_missing),
      root,
      workers=workers,
      on_corrupt=on_corrupt,
      overwrite=overwrite,
      wait=wait,
    )

  make.__doc__ = f"""Opens a split of the prepared {_title(corpus)}.

  `take` gives what `corpus` says of each modality, 'label' and 'present'; what
  an example lacks is zeros. Raises ValueError if the data are not prepared,
  damaged, or prepared with other settings.
  """
  prepare.__doc__ = f"""Prepares the raw files of {_title(corpus)}.

  Run again, it goes on or is done. Raises what `_prepare.run` does.
  """
  return make, prepare


def _title(corpus: Callable) -> str:
  return corpus.__module__.rpartition('.')[2]


def _signed(corpus, positional: tuple[str, ...], more: Mapping[str, Any]):
  """Calls by keyword, with the signature written out for who inspects it."""
  own = list(inspect.signature(corpus).parameters.values())
  clash = [p.name for p in own if p.name in (*_OURS, *_RUNNING)]
  if clash or any(p.kind != p.KEYWORD_ONLY for p in own):
    raise TypeError(f'corpus({clash}): all keyword-only, and not ours')
  both, only = inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter
  first = [only(name, both) for name in positional]
  if 'data_dir' in positional:
    first[-1] = first[-1].replace(default='data')
  ours = {**more, 'sample': False, 'on_missing': 'skip'}
  rest = [only(n, only.KEYWORD_ONLY, default=d) for n, d in ours.items()]
  signature = inspect.Signature([*first, *own, *rest])

  def decorate(function):
    @functools.wraps(function)
    def called(*args, **kwargs):
      bound = signature.bind(*args, **kwargs)
      bound.apply_defaults()
      return function(**bound.arguments)

    vars(called)['__signature__'] = signature
    return called

  return decorate


def _settings(corpus, options: Mapping, on_missing: str) -> dict[str, Any]:
  """All that the prepared data depend on."""
  if on_missing not in ('skip', 'present'):
    raise ValueError(
      f"on_missing={on_missing!r} is neither 'skip' nor 'present'."
    )
  reading = corpus(**options).reading
  kept = {k: v for k, v in options.items() if k not in reading}
  return {**kept, 'on_missing': on_missing}
