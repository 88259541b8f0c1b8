"""CMU-MOSI and CMU-MOSEI: opinions in videos, as features (Zadeh et al.).

`prepare` reads the pickle files that MMSA gives out, without running them
(`_pickle`):

  raw_dir/MOSEI/Processed/unaligned_50.pkl, aligned_50.pkl
  raw_dir/MOSI/Processed/..

The file may also lie in raw_dir itself or in raw_dir/MOSEI. It is a dictionary
of train, valid and test, each one of arrays: text [N, 50, 768] of BERT,
text_bert [N, 3, 50] (its ids, mask, segments), audio, vision, raw_text, id
(`video$_$clip`), regression_labels in -3 .. 3 and, of unaligned ones,
audio_lengths and vision_lengths. MOSEI has 16,326 / 1,871 / 4,659 clips, 74
numbers of sound and 35 of face; MOSI 1,284 / 229 / 686, 5 and 20.

Steps are kept as far as they are real. In an unaligned file this is what the
lengths say; an aligned one has no lengths, and each clip is cut to the steps
that any modality fills, so that its modalities stay beside each other. What is
-inf or no number is 0, as in MMSA's loader. A clip whose sound or face is zeros
alone has one step of zeros, as there; with blank='missing' it has none of it.
"""

import pathlib
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from mmjax import _pickle
from mmjax.data import _cmu_mosei, _corpus, _kinds

_SPLITS = {'train': 'train', 'valid': 'validation', 'test': 'test'}
_TASKS = {
  'binary': ('negative', 'not negative'),
  'nonzero': ('negative', 'positive'),
  'three': ('negative', 'neutral', 'positive'),
  'seven': tuple(f'{score:+d}' for score in range(-3, 4)),
}


def corpus(
  *,
  which: str = 'mosei',
  aligned: bool = False,
  task: str = 'binary',
  blank: str = 'zeros',
  max_steps: int = 500,
) -> _corpus.Corpus:
  """'text', 'audio' and 'visual', `Ragged` f32[B, T, 768, 74 or 5, 35 or 20].

  T is 50, and `max_steps` of sound and face in unaligned files.

  Args:
    which: 'mosei' or 'mosi'.
    aligned: whether to read aligned_50.pkl.
    task: 'binary', negative or not; 'nonzero', negative or positive, without
      the neutral; 'three'; 'seven', the score rounded.
    blank: 'zeros', or 'missing': what is zeros alone is missing.
    max_steps: after which sound and face are cut.
  """
  if which not in _cmu_mosei.WIDTHS:
    raise ValueError(f"cmu_mosei: which={which!r} is not 'mosei' or 'mosi'.")
  if task not in _TASKS:
    raise ValueError(f'cmu_mosei: task={task!r} is not one of {list(_TASKS)}.')
  if blank not in ('zeros', 'missing'):
    raise ValueError(
      f"cmu_mosei: blank={blank!r} is neither 'zeros' nor 'missing'."
    )
  asked = _Asked(which, aligned, task, blank)
  longest = {'audio': max_steps, 'visual': max_steps} if not aligned else {}
  return _corpus.Corpus(
    name=f'cmu_{which}',
    version='1.0.0',
    class_names=_TASKS[task],
    kinds={
      m: _kinds.steps((width,), longest.get(m, 50))
      for m, width in _cmu_mosei.WIDTHS[which].items()
    },
    scan=lambda raw: _scan(raw, asked),
    render=lambda folder: _cmu_mosei.render(folder, which),
  )


make, prepare = _corpus.faces(corpus)


class _Asked(NamedTuple):
  which: str
  aligned: bool
  task: str
  blank: str


def _scan(raw: pathlib.Path, asked: _Asked) -> _corpus.Found:
  path = _find(raw, asked)
  content = _pickle.load(path)
  if not isinstance(content, dict) or not set(_SPLITS) <= set(content):
    raise ValueError(
      f"{path} is not MMSA's: a dictionary of train, valid and test."
    )
  entries: dict[str, _corpus.Entry] = {}
  skipped: dict[str, str] = {}
  for name, split in _SPLITS.items():
    # Let go of one after the other: the files are as large as the memory.
    fields = content.pop(name)
    score_N = _checked(path, name, fields, asked)
    for i, clip in enumerate(map(str, fields['id'])):
      label = _label(float(score_N[i]), asked.task)
      if clip in entries:
        skipped[f'{clip} of {name}, {i}'] = 'its name is taken'
      elif label is None:
        skipped[clip] = 'is neutral'
      else:
        parts = _parts(fields, i, asked)
        entries[clip] = _corpus.Entry(
          label, parts, split, clip.rpartition('$_$')[0]
        )
  return _corpus.Found(entries, skipped)


def _find(raw: pathlib.Path, asked: _Asked) -> pathlib.Path:
  file = f'{"" if asked.aligned else "un"}aligned_50.pkl'
  home = raw / asked.which.upper()
  for folder in (home / 'Processed', home, raw / 'Processed', raw):
    if (folder / file).is_file():
      return folder / file
  _corpus.require(raw, [f'{home.name}/Processed/{file}'])
  raise AssertionError('required')


def _checked(
  path: pathlib.Path, split: str, fields: Any, asked: _Asked
) -> np.ndarray:
  """The scores of a split, whose other fields are as they should be."""
  needed = ['id', 'regression_labels', *_cmu_mosei.FIELDS.values()]
  if not asked.aligned:
    needed += _cmu_mosei.LENGTHS.values()
  lacking = [
    f for f in needed if not isinstance(fields, dict) or f not in fields
  ]
  if lacking:
    raise ValueError(f'{path}: {split} has no {", ".join(lacking)}.')
  score_N = np.asarray(fields['regression_labels'], np.float64).reshape(-1)
  uneven = [f for f in needed if len(fields[f]) != len(score_N)]
  if uneven:
    raise ValueError(
      f'{path}: {split} has {len(score_N)} scores, but '
      f'{len(fields[uneven[0]])} of {uneven[0]}.'
    )
  steps = set()
  for m, field in _cmu_mosei.FIELDS.items():
    shape, width = np.shape(fields[field]), _cmu_mosei.WIDTHS[asked.which][m]
    if len(shape) != 3 or shape[2] != width:
      raise ValueError(
        f'{path}: {field} of {split} is {list(shape)}, not [N, T, {width}], '
        f'as in {asked.which}.'
      )
    steps.add(shape[1])
  if asked.aligned and len(steps) > 1:
    raise ValueError(f'{path}: {split} is not aligned: it has {steps} steps.')
  T = np.shape(fields['text'])[1]
  if np.shape(fields.get('text_bert', ())) not in ((0,), (len(score_N), 3, T)):
    raise ValueError(f'{path}: text_bert of {split} is not [N, 3, {T}].')
  if len(score_N) and not np.abs(score_N).max() <= 3:
    raise ValueError(f'{path}: a score of {split} is not in -3 .. 3.')
  return score_N


def _label(score: float, task: str) -> int | None:
  if task == 'binary':
    return int(score >= 0)
  if task == 'nonzero':
    return int(score > 0) if score else None
  if task == 'three':
    return int(np.sign(score)) + 1
  return int(np.round(score)) + 3


def _parts(fields: Mapping, i: int, asked: _Asked) -> dict[str, _kinds.Part]:
  """Modalities of a clip, as far as their steps are real."""
  steps = {
    m: np.nan_to_num(
      np.asarray(fields[field][i], np.float32), nan=0, posinf=0, neginf=0
    )
    for m, field in _cmu_mosei.FIELDS.items()
  }
  real: dict[str, Any] = {m: x.any(axis=1) for m, x in steps.items()}
  if 'text_bert' in fields:
    real['text'] = np.asarray(fields['text_bert'][i][1]) > 0
  spans = {m: _span(real_T) for m, real_T in real.items()}
  if asked.aligned:
    spans = dict.fromkeys(spans, _span(np.stack([*real.values()]).any(axis=0)))
  else:
    for m, field in _cmu_mosei.LENGTHS.items():
      told = slice(0, int(fields[field][i]))
      # Some count up to a first step of zeros only.
      spans[m] = told if real[m][told].any() else spans[m]
  blank = [m for m in steps if asked.blank == 'missing' and not real[m].any()]
  return {
    m: _kinds.Part(value=x_TD[spans[m]].copy())
    for m, x_TD in steps.items()
    if m not in blank
  }


def _span(real_T: Any) -> slice:
  """From the first real step to the last; one step if there is none."""
  at = np.flatnonzero(real_T)
  return slice(at[0], at[-1] + 1) if len(at) else slice(0, 1)
