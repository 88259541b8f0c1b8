"""COCO captions: 123,287 pictures of five captions each (Lin et al., 2014).

`prepare` reads the pictures of 2014 as released, and Karpathy's list:

  raw_dir/train2014/COCO_train2014_000000000009.jpg
  raw_dir/val2014/COCO_val2014_000000000042.jpg
  raw_dir/dataset_coco.json                 or in a folder of raw_dir

Splits are the list's: 113,287 for training (82,783 of its train and 30,504 of
its restval), 5,000 for validation, 5,000 for test. An example is a picture with
one of its captions, so a picture is shown by five (of those with six or seven,
the first five); there are no classes.
"""

import pathlib

from mmjax.data import _corpus, _karpathy

_FOLDERS = ('train2014', 'val2014')


def corpus(
  *, size: int = 256, tokenizer: str = '', max_tokens: int = 128
) -> _corpus.Corpus:
  """'image' u8[B, size, size, 3], 'text' `Ragged` i32[B, max_tokens].

  Args:
    size: pixels a side of the stored picture, which is squeezed to a square.
    tokenizer: '' for bytes, else a tokenizer's file or folder.
    max_tokens: of a caption; what is longer is cut.
  """
  return _karpathy.corpus(
    'coco',
    _FOLDERS,
    size=size,
    tokenizer=tokenizer,
    max_tokens=max_tokens,
    render=render,
  )


make, prepare = _corpus.faces(corpus)


def render(folder: pathlib.Path) -> None:
  splits = ['train'] * 12 + ['restval'] * 4 + ['val'] * 8 + ['test'] * 8
  images = []
  for i, split in enumerate(splits):
    home = _FOLDERS[split != 'train']
    name = f'COCO_{home}_{9 + 33 * i:012}.jpg'
    images.append(
      dict(
        home=home,
        filepath=home,
        filename=name,
        split=split,
        cocoid=9 + 33 * i,
      )
    )
  _karpathy.render(folder, 'coco', images)
