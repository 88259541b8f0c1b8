"""Any data set of files: a table that says what each example consists of.

  raw_dir/table.csv    or .tsv, or .parquet; UTF-8
  raw_dir/..           the files that it names

or, with table='.', a folder that Hugging Face's `datasets` has saved, or one of
Parquet files from the Hub (`_tables`); sounds and pictures may lie in the table.

  clip,words,label,split,speaker
  clips/1.mp4,hello there,joy,train,ann
  clips/2.mp4,oh no,anger,test,bob

`columns` says which modalities there are, and how each is kept:

  columns=dict(
    audio=dict(kind='fbank', column='clip'),
    visual=dict(kind='frames', column='clip', size=128),
    text=dict(kind='text', column='words'),
  )

  kind           what the column holds           options
  'fbank'        a sound, or a video with one
  'spectrogram'  the same                        seconds=3.0
  'waveform'     the same                        seconds=3.0
  'frames'       a video                         frames=3, size=256
  'picture'      an image                        size=256
  'text'         the text itself
  'array'        a .npy file [*shape], or lists  shape
  'steps'        the same, [T, *shape]           shape, longest
  'numbers'      a number, or many: column=('age', 'weight')

`_kinds` tells what each becomes. Without `column`, it is called as the modality.
Paths are relative to the raw folder. What a cell leaves empty, the example lacks.
"""

import pathlib
import re
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from mmjax.data import _corpus, _files, _files_sample, _tables

_SPLITS = {
  **{
    'train': 'train',
    'training': 'train',
    'test': 'test',
    'val': 'validation',
  },
  **{'valid': 'validation', 'dev': 'validation', 'validation': 'validation'},
}
_EXAMPLE = {
  'image': dict(kind='picture', size=64),
  'text': dict(kind='text'),
}


class _Told(NamedTuple):
  """Columns that say what an example is; '' for none."""

  label: str
  split: str
  group: str


def corpus(
  *,
  columns: Mapping[str, Mapping[str, Any]] = _EXAMPLE,
  table: str = 'table.csv',
  label_column: str = 'label',
  class_names: Sequence[str] = (),
  split_column: str = 'split',
  group_column: str = '',
  dataset: str = 'files',
  tokenizer: str = '',
  max_tokens: int = 256,
  split_seed: int = 0,
  test_fraction: float = 0.2,
  validation_fraction: float = 0.1,
) -> _corpus.Corpus:
  """The modalities of `columns`, each as `_kinds` keeps it.

  Args:
    columns: {modality: dict(kind=.., column=.., options)}.
    table: in the raw folder; '.' for the folder itself.
    label_column: of the class, a word or a number.
    class_names: in the order of their numbers; () for those of the table,
      sorted. An example of none of them is left out.
    split_column: of 'train', 'validation' or 'test'; what it leaves empty is
      drawn. 'split' is used where the table has it; '' draws all.
    group_column: of the person or recording, of which none is in two of the
      drawn splits; '' draws by example, class by class.
    dataset: what the prepared data are called; another for each table.
    tokenizer: a file, a folder, or '' for bytes; of all texts.
    max_tokens: after which a text is cut.
    split_seed: of the drawn splits.
    test_fraction: of all examples or groups, where none has a split.
    validation_fraction: of what is left, where the table has no validation.
  """
  if not re.fullmatch(r'[a-z][a-z0-9_]*', dataset):
    raise ValueError(
      f'files: dataset={dataset!r} names a folder: letters a-z, digits and _.'
    )
  wanted = _files.wanted(columns, tokenizer, max_tokens)
  told = _Told(label_column, split_column, group_column)
  names = tuple(str(name) for name in class_names)
  return _corpus.Corpus(
    name=dataset,
    version='1.0.0',
    class_names=names,
    kinds={m: column.kept for m, column in wanted.items()},
    scan=lambda raw: _scan(raw, table, wanted, told, names),
    render=lambda folder: _files_sample.render(
      folder, table, wanted, told, names
    ),
    draw=_corpus.Draw(
      *('group' if group_column else 'entry', test_fraction),
      *(validation_fraction, split_seed),
    ),
    reading=('tokenizer', 'max_tokens'),
  )


make, prepare = _corpus.faces(corpus)


def _scan(
  raw: pathlib.Path,
  table: str,
  wanted: Mapping[str, _files.Column],
  told: _Told,
  class_names: tuple[str, ...],
) -> _corpus.Found:
  _corpus.require(raw, [table])
  rows, known = _tables.read(raw / table)
  told = _checked(raw / table, rows, wanted, told)
  labels = [_tables.cell(row, told.label) for _, row in rows]
  names = class_names or known.get(told.label) or _sorted({*labels} - {''})
  number = {name: i for i, name in enumerate(names)}
  entries, skipped = {}, {}
  for i, ((place, row), label) in enumerate(zip(rows, labels), start=1):
    name = f'row{i:07}'
    parts, lost = _files.parts(raw, row, wanted, place)
    if lost:
      skipped[name] = f'its {lost} is not in the folder'
    elif not label:
      skipped[name] = f'has no {told.label}'
    else:
      split = _split(_tables.cell(row, told.split), place)
      group = _tables.cell(row, told.group) or name
      label = number.get(label, -1)
      entries[name] = _corpus.Entry(label, parts, split, group)
  return _corpus.Found(entries, skipped, names)


def _checked(
  path: pathlib.Path,
  rows: Sequence[_tables.Line],
  wanted: Mapping[str, _files.Column],
  told: _Told,
) -> _Told:
  """Without a split where the table has none; ValueError for other lacks."""
  known = list(rows[0][1]) if rows else []
  if told.split == 'split' and 'split' not in known:
    told = told._replace(split='')
  names = [name for column in wanted.values() for name in column.names]
  lacking = [n for n in (*names, *told) if n and n not in known]
  if rows and lacking:
    raise ValueError(
      f'{path} has no column {" and no ".join(dict.fromkeys(lacking))}; its '
      f'columns are {", ".join(known)}.'
    )
  return told


def _sorted(labels: set[str]) -> tuple[str, ...]:
  """As numbers if all are: 2 before 10."""
  whole = all(re.fullmatch(r'-?\d+', label) for label in labels)
  return tuple(sorted(labels, key=int if whole else str))


def _split(told: str, place: str) -> str:
  if told and told.lower() not in _SPLITS:
    raise ValueError(
      f"{place}: split {told!r} is not 'train', 'validation' or 'test'."
    )
  return _SPLITS[told.lower()] if told else ''
