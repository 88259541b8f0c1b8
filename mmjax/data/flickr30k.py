"""Flickr30k: 31,014 pictures of five captions each (Young et al., 2014).

`prepare` reads the pictures as released, and Karpathy's list:

  raw_dir/flickr30k-images/1000092795.jpg
  raw_dir/dataset_flickr30k.json            or in a folder of raw_dir

Splits are the list's: 29,000 / 1,014 / 1,000 pictures. The folder has 769 more
than the list, which are left out. An example is a picture with one of its
captions, so a picture is shown by five; there are no classes.
"""

import pathlib

from mmjax.data import _corpus, _karpathy

_FOLDER = 'flickr30k-images'


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
    'flickr30k',
    (_FOLDER,),
    size=size,
    tokenizer=tokenizer,
    max_tokens=max_tokens,
    render=render,
  )


make, prepare = _corpus.faces(corpus)


def render(folder: pathlib.Path) -> None:
  splits = ['train'] * 16 + ['val'] * 8 + ['test'] * 8
  images = [
    dict(home=_FOLDER, filename=f'{1000092795 + 107 * i}.jpg', split=split)
    for i, split in enumerate(splits)
  ]
  _karpathy.render(folder, 'flickr30k', images)
