"""KEMDy20-style speech + text: features in a `.npz`, compound emotions.

KEMDy20 (Noh and Jeong, ETRI) is given out on request only, so this reads what
you extract: a `.npz` without pickle that holds, row by row,

  speech    features of the utterance [N, F], or steps: flat values
            [sum of lengths, F] beside `speech_len` [N]
  text      the same of its transcript
  emotions  one or more of the seven classes: bool [N, 7] in the order neutral,
            happy, angry, surprise, sad, fear, disgust, or strings [N] such as
            'neutral;happy'
  groups    optional, [N]: the speaker or session

with `<name>_present` bool[N] where not every utterance has both. The work
(RSA-CFN) has wav2vec 2.0 features of 1024 numbers and RoBERTa ones of 768.

Labels are handled as the work does it. Utterances with one label, 12,828 there,
are split 80/20 by class, before anything else, with the call of the released
code, so that the same rows in the same order give the same split: 10,262 and
2,566. Then its label transform: utterances with two labels, one of them neutral
(612), join the training part as the other one, 10,874 in all. Other compound
utterances are left out, with a warning that counts them.

Two things differ. The work has no validation part: it chooses its epoch by the
test set, so its figures are too good. Here a tenth of the training utterances
with one label is held out first; validation_fraction=0 leaves that away, and
run.select='best' with it. And the work splits by utterance, so that speakers
and dialogues are in both parts; `groups` shares these out instead.
"""

import warnings

import numpy as np

from mmjax import base
from mmjax.data import _arrays, _kemdy20, _labels, _npz


def make(
  split: str,
  *,
  path: str,
  speech: str = 'speech',
  text: str = 'text',
  emotions: str = 'emotions',
  groups: str = '',
  label_transform: bool = True,
  test_fraction: float = 0.2,
  validation_fraction: float = 0.1,
  seed: int = 42,
  max_len: int = 0,
  standardize: bool = True,
) -> base.Source:
  """One split: 'train', 'validation' (which may be empty) or 'test'.

  `take` gives 'speech' and 'text' f32[B, F] or `Ragged` [B, T, F], 'label' and
  'present'.

  Args:
    split: which.
    path: the file.
    speech: field of the modality 'speech'.
    text: field of the modality 'text'.
    emotions: field of the labels.
    groups: field of the speaker or session, none of which is then in two
      splits; compound utterances of a group outside training are left out.
      '' splits by utterance, as published.
    label_transform: whether neutral + another joins training as the other.
    test_fraction: of the utterances with one label, or of the groups.
    validation_fraction: of what is left; 0 = no validation.
    seed: of the draws; give all three splits the same.
    max_len: steps after which sequences are cropped; 0 = never.
    standardize: features to mean 0, std 1 over the training part.

  Raises ValueError naming field, rows and way out, before anything is computed.
  """
  if split not in _labels.SPLITS:
    raise ValueError(f'There is no split {split!r}, but {_labels.SPLITS}.')
  with _npz.opened(path) as file:
    drawn = _kemdy20.draw(
      _kemdy20.flags(file.read(emotions, 'emotions')),
      file.read(groups, 'groups') if groups else None,
      transform=label_transform,
      test=test_fraction,
      validation=validation_fraction,
      seed=seed,
    )
    names, size = {'speech': speech, 'text': text}, len(drawn.label)
    fields = [
      _arrays.read(file, name, size, option=option, max_len=max_len)._replace(
        name=option
      )
      for option, name in names.items()
    ]
  _arrays.check_present(fields, drawn.part)
  if split == 'train':
    _tell(drawn)
  rows = np.flatnonzero(drawn.part == _labels.SPLITS.index(split))
  scaling = _arrays.scaling(fields, drawn.part == 0) if standardize else {}
  classes = _kemdy20.CLASS_NAMES
  return _arrays.table(fields, rows, drawn.label, classes, scaling)


def _tell(drawn: _kemdy20.Drawn) -> None:
  """Warns of utterances that are left out, and of classes without any."""
  dropped = drawn.dropped.sum()
  if dropped:
    warnings.warn(
      f'{dropped:,} of {len(drawn.label):,} utterances have several emotions '
      f'and are left out; {drawn.transformed.sum():,} others, neutral and one '
      'more, train as the latter.',
      stacklevel=3,
    )
  label = drawn.label[drawn.part == 0]
  empty = set(range(len(_kemdy20.CLASS_NAMES))) - set(label.tolist())
  if empty:
    lacking = ', '.join(_kemdy20.CLASS_NAMES[c] for c in sorted(empty))
    warnings.warn(
      f'No training utterance is {lacking}: this cannot be learnt.',
      stacklevel=3,
    )
