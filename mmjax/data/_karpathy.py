"""Pictures and captions in Karpathy's lists (Karpathy & Fei-Fei, 2015).

  {"images": [{"filepath": "val2014", "filename": "COCO_val2014_..5.jpg",
               "imgid": 0, "split": "test", "sentids": [..], "cocoid": 5,
               "sentences": [{"raw": "A man ..", "tokens": ["a", "man", ..],
                              "imgid": 0, "sentid": 7}, ..]}, ..],
   "dataset": "coco"}

`filepath` and `cocoid` are COCO's alone. Splits are train, val, test and, of
COCO, restval: what is left of its validation part, commonly trained on.
"""

import json
import os
import pathlib
import re
from collections.abc import Sequence
from typing import Any

from mmjax.data import _captions, _corpus, _kinds, _raw, _render

_SPLITS = {
  **{'train': 'train', 'restval': 'train'},
  **{'val': 'validation', 'test': 'test'},
}


def corpus(
  name: str,
  folders: Sequence[str],
  *,
  size: int,
  tokenizer: str,
  max_tokens: int,
  render,
) -> _corpus.Corpus:
  return _captions.corpus(
    name,
    'image',
    _kinds.picture(size),
    scan=lambda raw: scan(raw, f'dataset_{name}.json', folders),
    render=render,
    tokenizer=tokenizer,
    max_tokens=max_tokens,
  )


def scan(
  raw: pathlib.Path, table: str, folders: Sequence[str]
) -> _corpus.Found:
  path, *homes = _raw.find(raw, table, *folders)
  homes = dict(zip(folders, homes))
  there = {folder: set(os.listdir(home)) for folder, home in homes.items()}
  found, listed = _corpus.Found({}, {}), set()
  for number, image in enumerate(_images(path)):
    try:
      folder = image.get('filepath', folders[0])
      file, split = str(image['filename']), image['split']
      captions = [str(sentence['raw']) for sentence in image['sentences']]
    except (AttributeError, KeyError, TypeError) as error:
      raise ValueError(
        f'{path}: image {number} of its list is not as in the release '
        f'({error!r}).'
      ) from error
    name = pathlib.PurePosixPath(file).stem
    has = file in there.get(folder, ())
    listed.add((folder, file))
    if split not in _SPLITS:
      found.skipped[name] = f'its split is none of {", ".join(_SPLITS)}'
      continue
    part = ('image', homes[folder] / file if has else None)
    _captions.add(found, name, _SPLITS[split], part, captions)
  rest = {(folder, file) for folder in there for file in there[folder]} - listed
  found.skipped.update({'/'.join(r): 'is in no list' for r in sorted(rest)})
  return found


def _images(path: pathlib.Path) -> list[Any]:
  content = _raw.parse(path)
  images = content.get('images') if isinstance(content, dict) else None
  if not isinstance(images, list):
    raise ValueError(f"{path} has no list 'images'.")
  return images


def render(
  raw: pathlib.Path, dataset: str, images: Sequence[dict[str, Any]]
) -> None:
  """Writes the list and its pictures, into the folder that `home` of each says.

  `images` has what the list says of a picture, but its captions.
  """
  listed = []
  for number, told in enumerate(images):
    image = {k: v for k, v in told.items() if k != 'home'}
    label, draw = number % 8, _render.rng(number)
    _render.write_image(
      raw / told['home'] / image['filename'], _render.image(label, draw)
    )
    count = _captions.COUNT + (number == 0)  # some have more
    first = number * (_captions.COUNT + 1)
    sentences = [
      _sentence(label, draw, number, first + i) for i in range(count)
    ]
    image |= {
      'imgid': number,
      'sentids': [s['sentid'] for s in sentences],
      'sentences': sentences,
    }
    listed.append(image)
  content = json.dumps({'images': listed, 'dataset': dataset})
  _render.write(raw / f'dataset_{dataset}.json', content)


def _sentence(label: int, draw, imgid: int, sentid: int) -> dict[str, Any]:
  raw = f'{_render.sentence(label, draw)}. '.capitalize()
  tokens = re.findall(r'\w+', raw.lower())
  return {'tokens': tokens, 'raw': raw, 'imgid': imgid, 'sentid': sentid}
