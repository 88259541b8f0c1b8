"""Texts -> token ids, by a tokenizer of the library `tokenizers`, or as bytes."""

import pathlib
from collections.abc import Callable, Sequence

import numpy as np

from mmjax import base


def load(path: str, max_tokens: int) -> Callable[[Sequence[str]], base.Ragged]:
  """Texts -> `Ragged` i32[B, max_tokens]; what is longer is cut.

  `path` is '' for the bytes of UTF-8 as ids 1 to 256, without any special
  token; else a tokenizer.json, or a folder with one or with BERT's vocab.txt.
  The tokenizer's own special tokens are added, and kept when a text is cut.
  Raises ValueError for a file that is missing or no tokenizer, and max_tokens
  below 1.
  """
  if max_tokens < 1:
    raise ValueError(f'max_tokens={max_tokens} must be at least 1.')
  return _bytes(max_tokens) if not path else _tokenizer(path, max_tokens)


def _bytes(max_tokens: int):
  def encode(texts: Sequence[str]) -> base.Ragged:
    rows = [np.frombuffer(t.encode()[:max_tokens], np.uint8) for t in texts]
    return _padded([row.astype(np.int32) + 1 for row in rows], max_tokens)

  return encode


def _tokenizer(path: str, max_tokens: int):
  tokenizer = _read(pathlib.Path(path).expanduser())
  tokenizer.no_padding()
  tokenizer.enable_truncation(max_tokens)

  def encode(texts: Sequence[str]) -> base.Ragged:
    rows = [np.asarray(e.ids) for e in tokenizer.encode_batch(list(texts))]
    return _padded(rows, max_tokens)

  return encode


def _read(path: pathlib.Path):
  try:
    import tokenizers
  except ModuleNotFoundError as error:
    raise ModuleNotFoundError(
      "a tokenizer needs the library tokenizers: pip install 'mmjax[pretrained]'"
    ) from error
  files = [path] if path.is_file() else []
  files += [path / 'tokenizer.json', path / 'vocab.txt']
  found = next((file for file in files if file.is_file()), None)
  if found is None:
    raise ValueError(
      f'There is no tokenizer in {path}: it is a tokenizer.json, or a folder '
      "with one or with a vocab.txt. tokenizer='' reads texts as bytes."
    )
  try:
    if found.suffix == '.txt':
      return _wordpiece(found)
    return tokenizers.Tokenizer.from_file(str(found))
  except Exception as error:  # the library raises bare Exception
    raise ValueError(f'{found} is no tokenizer: {error}') from error


def _wordpiece(vocab: pathlib.Path):
  """BERT's own, as its older folders have it: a word a line, cased or not."""
  import json

  from tokenizers.implementations import BertWordPieceTokenizer

  config = vocab.with_name('tokenizer_config.json')
  told = json.loads(config.read_text('utf8')) if config.is_file() else {}
  lower = bool(told.get('do_lower_case', True))
  return BertWordPieceTokenizer(str(vocab), lowercase=lower)


def _padded(rows: Sequence[np.ndarray], max_tokens: int) -> base.Ragged:
  ids = np.zeros((len(rows), max_tokens), np.int32)
  lengths = np.array([len(row) for row in rows])
  for i, row in enumerate(rows):
    ids[i, : len(row)] = row
  return base.Ragged(ids, np.arange(max_tokens) < lengths[:, None])
