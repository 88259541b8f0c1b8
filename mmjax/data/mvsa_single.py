"""MVSA-Single: tweets and their pictures, positive, neutral or negative.

Niu et al., MMM 2016. `prepare` reads the layout as released, which may lie in a
folder of raw_dir as well:

  raw_dir/labelResultAll.txt       ID<tab>text,image
                                   1<tab>neutral,positive
  raw_dir/data/1.jpg, data/1.txt

Text and picture of a tweet are labelled each. Where both agree, or one is
neutral, the other decides; tweets with positive and negative are left out
(Xu & Mao, CIKM 2017), which leaves 4,511 of 4,869. MLA and QMF keep only those
that agree, 2,592: labels='agree'.

Texts are in GB18030, for the most part (their ellipses are its bytes A1 AD,
which work that read them as Latin-1 has as two odd signs), else in UTF-8, and
are read as Latin-1 where they are in neither. An empty one is a missing text.

No split is published: 8:1:1 is drawn, class by class. With QMF's train.jsonl,
dev.jsonl and test.jsonl (which MLA used too: 1,555 / 518 / 519) beside
labelResultAll.txt, the splits are theirs; see `_mmbt`.
"""

import pathlib

from mmjax.data import _corpus, _kinds, _mmbt, _raw, _render

CLASS_NAMES = ('positive', 'neutral', 'negative')
_ENCODINGS = ('utf-8-sig', 'gb18030', 'latin-1')
_HEADER = 'ID\ttext,image'


def corpus(
  *,
  labels: str = 'merged',
  size: int = 256,
  tokenizer: str = '',
  max_tokens: int = 128,
  split_seed: int = 0,
  test_fraction: float = 0.1,
  validation_fraction: float = 1 / 9,
) -> _corpus.Corpus:
  """'visual' u8[B, size, size, 3], 'text' `Ragged` i32[B, max_tokens].

  Args:
    labels: 'merged', or 'agree' for tweets whose two labels are the same.
    size: pixels a side of the stored picture, which is squeezed to a square.
    tokenizer: '' for bytes, else a tokenizer's file or folder.
    max_tokens: of a tweet; what is longer is cut.
    split_seed: of the drawn splits.
    test_fraction: of the tweets of each class.
    validation_fraction: of what is left.
  """
  if labels not in ('merged', 'agree'):
    raise ValueError(
      f"mvsa_single: labels={labels!r}: 'merged' or 'agree' it is."
    )
  return _corpus.Corpus(
    name='mvsa_single',
    version='1.0.0',
    class_names=CLASS_NAMES,
    kinds={
      'visual': _kinds.picture(size),
      'text': _kinds.text(tokenizer, max_tokens),
    },
    scan=lambda raw: _scan(raw, labels),
    render=render,
    draw=_corpus.Draw('entry', test_fraction, validation_fraction, split_seed),
    reading=('tokenizer', 'max_tokens'),
  )


make, prepare = _corpus.faces(corpus)


def _scan(raw: pathlib.Path, rule: str) -> _corpus.Found:
  (table,) = _raw.find(raw, 'labelResultAll.txt')
  _corpus.require(table.parent, ['data'])
  listed = _mmbt.lists(table.parent)
  home = table.parent / 'data'
  there = {path.name for path in home.iterdir()}
  found = _corpus.Found({}, {})
  for number, (name, seen) in _labels(table):
    label, reason = merge(*seen, rule)
    split = ''
    if not reason:
      split, reason = _mmbt.place(listed, name, label)
    parts = _parts(home, name, there)
    there -= {f'{name}.jpg', f'{name}.txt'}
    if name in found.entries or name in found.skipped:
      found.skipped[f'{name} (line {number})'] = 'is listed twice'
    elif reason:
      found.skipped[name] = reason
    elif not parts:
      found.skipped[name] = 'is not in the folder'
    else:
      entry = _corpus.Entry(CLASS_NAMES.index(label), parts, split)
      found.entries[name] = entry
  found.skipped.update({name: 'is in no list' for name in sorted(there)})
  return found


def _labels(path: pathlib.Path):
  """(line, (id, (label of the text, label of the picture)))."""
  lines = _raw.text(path).splitlines()
  for number, line in enumerate(lines, start=1):
    if not line.strip() or line.strip() == _HEADER:
      continue
    name, _, both = line.partition('\t')
    seen = tuple(label.strip().lower() for label in both.split(','))
    if len(seen) != 2 or not name.strip():
      raise ValueError(
        f'{path}, line {number}: {line!r} is not `ID<tab>text,image`.'
      )
    yield number, (name.strip(), seen)


def merge(text: str, image: str, rule: str = 'merged') -> tuple[str, str]:
  """(label of a tweet, '') or ('', why it has none)."""
  if not {text, image} <= set(CLASS_NAMES):
    return '', f'its labels are not of {", ".join(CLASS_NAMES)}'
  if text == image:
    return text, ''
  if rule == 'agree' or 'neutral' not in (text, image):
    return '', 'its labels of text and picture differ'
  return (image if text == 'neutral' else text), ''


def _parts(
  home: pathlib.Path, name: str, there: set[str]
) -> dict[str, _kinds.Part]:
  parts = {}
  if f'{name}.jpg' in there:
    parts['visual'] = _kinds.Part(home / f'{name}.jpg')
  if f'{name}.txt' in there:
    file = home / f'{name}.txt'
    said = ' '.join(_raw.text(file, _ENCODINGS).split())
    if said:
      parts['text'] = _kinds.Part(file, texts=(said,))
  return parts


def render(folder: pathlib.Path) -> None:
  """30 tweets, of which three have labels that contradict each other."""
  lines = [_HEADER]
  for i in range(30):
    label, draw = i % 3, _render.rng(i)
    name, said = CLASS_NAMES[label], _render.sentence(label, draw)
    text = image = name
    if i % 10 == 9:  # one of each class
      text, image = 'positive', 'negative'
    elif label != 1 and i % 5 == 0:
      text = 'neutral'
    lines.append(f'{i + 1}\t{text},{image}')
    content = f'RT @someone: {said}… http://t.co/{i}'
    encoding = 'utf-8' if i % 4 == 1 else 'gb18030'
    _render.write(folder / f'data/{i + 1}.txt', content.encode(encoding))
    _render.write_image(
      folder / f'data/{i + 1}.jpg', _render.image(label, draw)
    )
  _render.write(folder / 'labelResultAll.txt', '\n'.join(lines) + '\n')
