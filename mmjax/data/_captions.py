"""Things and their captions, to be found by each other: what such sets share.

A thing with fewer captions than its split's usual number is left out, so that
an example is one of a whole number of captions per thing.
"""

import pathlib
from collections.abc import Callable, Iterable

from mmjax.data import _corpus, _kinds

COUNT = 5  # captions of a thing
CLASS_NAMES = ('pair',)  # there are none: every example has label 0


def corpus(
  name: str,
  modality: str,
  kind: _kinds.Kind,
  *,
  scan: Callable[[pathlib.Path], _corpus.Found],
  render: Callable[[pathlib.Path], None],
  tokenizer: str,
  max_tokens: int,
) -> _corpus.Corpus:
  return _corpus.Corpus(
    name=name,
    version='1.0.0',
    class_names=CLASS_NAMES,
    kinds={
      modality: kind,
      'text': _kinds.text(tokenizer, max_tokens, COUNT),
    },
    scan=scan,
    render=render,
    reading=('tokenizer', 'max_tokens'),
  )


def add(
  found: _corpus.Found,
  name: str,
  split: str,
  part: tuple[str, pathlib.Path | None],
  captions: Iterable[str],
  count: int = COUNT,
) -> None:
  """Adds a thing, `part` its modality and file, or why it is left out."""
  modality, file = part
  texts = tuple(t for t in (' '.join(c.split()) for c in captions) if t)
  if name in found.entries or name in found.skipped:
    found.skipped[f'{name} again'] = 'is listed twice'
  elif file is None:
    found.skipped[name] = 'is not in the folder'
  elif len(texts) < count:
    found.skipped[name] = f'has {len(texts)} captions, not {count}'
  else:
    parts = {
      modality: _kinds.Part(file),
      'text': _kinds.Part(texts=texts[:count]),
    }
    found.entries[name] = _corpus.Entry(0, parts, split)
