"""UPMC Food-101: pictures of dishes and titles of their pages; 101 classes.

Wang et al., ICME workshops 2015. `prepare` reads the layout as released:

  raw_dir/images/train/apple_pie/apple_pie_0.jpg
  raw_dir/images/test/apple_pie/apple_pie_1.jpg
  raw_dir/texts/train_titles.csv   apple_pie_0.jpg,"Pie, by hand",apple_pie
  raw_dir/texts/test_titles.csv    without a header

The split is the release's, of about 67,970 and 22,715 examples. It has no
validation part: one is drawn from training, class by class, of the share that
MMBT drew (5,000). With MMBT's or QMF's train.jsonl, dev.jsonl and test.jsonl in
raw_dir, the splits are theirs; see `_mmbt`. Titles are kept as they are, where
MMBT took all signs out of them. An empty title is a missing text.
"""

import csv
import io
import pathlib

from mmjax.data import _corpus, _kinds, _mmbt, _raw, _render

CLASS_NAMES = tuple(
  """
  apple_pie baby_back_ribs baklava beef_carpaccio beef_tartare beet_salad
  beignets bibimbap bread_pudding breakfast_burrito bruschetta caesar_salad
  cannoli caprese_salad carrot_cake ceviche cheese_plate cheesecake
  chicken_curry chicken_quesadilla chicken_wings chocolate_cake
  chocolate_mousse churros clam_chowder club_sandwich crab_cakes
  creme_brulee croque_madame cup_cakes deviled_eggs donuts dumplings edamame
  eggs_benedict escargots falafel filet_mignon fish_and_chips foie_gras
  french_fries french_onion_soup french_toast fried_calamari fried_rice
  frozen_yogurt garlic_bread gnocchi greek_salad grilled_cheese_sandwich
  grilled_salmon guacamole gyoza hamburger hot_and_sour_soup hot_dog
  huevos_rancheros hummus ice_cream lasagna lobster_bisque
  lobster_roll_sandwich macaroni_and_cheese macarons miso_soup mussels
  nachos omelette onion_rings oysters pad_thai paella pancakes panna_cotta
  peking_duck pho pizza pork_chop poutine prime_rib pulled_pork_sandwich
  ramen ravioli red_velvet_cake risotto samosa sashimi scallops
  seaweed_salad shrimp_and_grits spaghetti_bolognese spaghetti_carbonara
  spring_rolls steak strawberry_shortcake sushi tacos takoyaki tiramisu
  tuna_tartare waffles
  """.split()
)
_LABELS = {name: label for label, name in enumerate(CLASS_NAMES)}
_SPLITS = ('train', 'test')


def corpus(
  *,
  size: int = 256,
  tokenizer: str = '',
  max_tokens: int = 128,
  split_seed: int = 0,
  validation_fraction: float = 0.0735,
) -> _corpus.Corpus:
  """'visual' u8[B, size, size, 3], 'text' `Ragged` i32[B, max_tokens].

  Args:
    size: pixels a side of the stored picture, which is squeezed to a square.
    tokenizer: '' for bytes, else a tokenizer's file or folder.
    max_tokens: of a title; what is longer is cut.
    split_seed: of the drawn validation part.
    validation_fraction: of the training examples of each class.
  """
  return _corpus.Corpus(
    name='food101',
    version='1.0.0',
    class_names=CLASS_NAMES,
    kinds={
      'visual': _kinds.picture(size),
      'text': _kinds.text(tokenizer, max_tokens),
    },
    scan=_scan,
    render=render,
    draw=_corpus.Draw(validation=validation_fraction, seed=split_seed),
    reading=('tokenizer', 'max_tokens'),
  )


make, prepare = _corpus.faces(corpus)


def _scan(raw: pathlib.Path) -> _corpus.Found:
  titles = [f'texts/{split}_titles.csv' for split in _SPLITS]
  _corpus.require(raw, [*titles, *(f'images/{split}' for split in _SPLITS)])
  listed = _mmbt.lists(raw)
  found = _corpus.Found({}, {})
  for split, table in zip(_SPLITS, titles):
    images = set((raw / 'images' / split).glob('*/*'))
    for number, fields in _raw.records(raw / table):
      if len(fields) < 3:
        raise ValueError(
          f'{raw / table}, line {number}: {",".join(fields)!r} is not '
          '`picture,title,class`.'
        )
      _add(found, raw / 'images' / split, fields, images, listed)
    found.skipped.update(
      {str(path.relative_to(raw)): 'is in no list' for path in sorted(images)}
    )
  return found


def _add(
  found: _corpus.Found,
  home: pathlib.Path,
  fields: list[str],
  images: set[pathlib.Path],
  listed: dict[str, _mmbt.Listed],
) -> None:
  """Adds what a line tells of; its picture is taken from `images`."""
  # Of a title without quotation marks, commas make several fields.
  picture, label = fields[0].strip(), fields[-1].strip()
  title = ' '.join(','.join(fields[1:-1]).split())
  name, file = pathlib.PurePosixPath(picture).stem, home / label / picture
  split, reason = _mmbt.place(listed, name, label, home.name)
  parts = {}
  if file in images:
    images.discard(file)
    parts['visual'] = _kinds.Part(file)
  if title:
    parts['text'] = _kinds.Part(texts=(title,))
  if name in found.entries:
    found.skipped[f'{home.name}/{picture} again'] = 'is listed twice'
  elif label not in _LABELS:
    found.skipped[name] = 'its label is none of the classes'
  elif reason:
    found.skipped[name] = reason
  else:
    found.entries[name] = _corpus.Entry(_LABELS[label], parts, split)


def render(folder: pathlib.Path) -> None:
  """Every 25th class, which are five: four training and two test examples."""
  for split, numbers in (('train', range(4)), ('test', range(4, 6))):
    rows = []
    for label, name in list(enumerate(CLASS_NAMES))[::25]:
      for number in numbers:
        draw = _render.rng(label, number)
        file = f'{name}_{number}.jpg'
        _render.write_image(
          folder / 'images' / split / name / file, _render.image(label, draw)
        )
        said = _render.sentence(label, draw).capitalize()
        rows.append((file, f'{said}, "best" recipe | Food &amp; more', name))
    with io.StringIO() as text:
      csv.writer(text).writerows(rows)
      _render.write(folder / f'texts/{split}_titles.csv', text.getvalue())
