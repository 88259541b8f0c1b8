"""MMSA's files of CMU-MOSI and CMU-MOSEI: what they hold, and small ones."""

import pathlib
import pickle
from typing import Any

import numpy as np

from mmjax.data import _render

WIDTHS = {
  'mosei': {'text': 768, 'audio': 74, 'visual': 35},
  'mosi': {'text': 768, 'audio': 5, 'visual': 20},
}
FIELDS = {'text': 'text', 'audio': 'audio', 'visual': 'vision'}
LENGTHS = {'audio': 'audio_lengths', 'visual': 'vision_lengths'}
_WORDS = ('Neutral', 'Positive', 'Negative')  # 0, 1 and -1


def render(folder: pathlib.Path, which: str) -> None:
  """Both files of a set, each with clips of every score."""
  home = folder / which.upper() / 'Processed'
  for aligned in (True, False):
    content = {
      split: _split(number, clips, which, aligned)
      for number, (split, clips) in enumerate(
        {'train': 28, 'valid': 7, 'test': 14}.items()
      )
    }
    name = f'{"" if aligned else "un"}aligned_50.pkl'
    _render.write(home / name, pickle.dumps(content, protocol=4))


def _split(seed: int, clips: int, which: str, aligned: bool) -> dict[str, Any]:
  """Clips whose sound and face end before the steps do, in zeros."""
  widths = WIDTHS[which]
  longest = {'text': 50, 'audio': 50, 'visual': 50}
  if not aligned:
    longest |= {'audio': 500 if which == 'mosei' else 375, 'visual': 500}
  fields: dict[str, Any] = {
    FIELDS[m]: np.zeros((clips, longest[m], widths[m]), np.float32)
    for m in widths
  }
  lengths = {m: np.zeros(clips, np.int64) for m in widths}
  score_N = np.arange(clips) % 7 - 3.0
  ids = np.zeros((clips, 3, 50), np.float32)
  said = []
  for i, score in enumerate(score_N):
    draw, label = _render.rng(seed, i), int(score) + 3
    for m, field in FIELDS.items():
      count = 8 + i if aligned or m == 'text' else 20 + i
      fields[field][i, :count] = _render.motion(label, draw, count, widths[m])
      lengths[m][i] = count
    ids[i, :2, : 8 + i] = 1
    said.append(_render.sentence(label, draw))
  fields['audio'][0, 3, 0] = -np.inf  # as COVAREP has it
  more = {
    'raw_text': np.array(said),
    'id': [f'clip{seed}{i // 4:03}$_${i % 4}' for i in range(clips)],
    'text_bert': ids,
    'annotations': [_WORDS[int(np.sign(score))] for score in score_N],
    'classification_labels': np.sign(score_N) + 1,
    'regression_labels': score_N,
  }
  if not aligned:
    more |= {field: lengths[m].tolist() for m, field in LENGTHS.items()}
  return fields | more
