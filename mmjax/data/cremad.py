"""CREMA-D: acted emotions, seen and heard (Cao et al., 2014); 6 classes.

`prepare` reads the layout as published,

  raw_dir/AudioWAV/1001_DFA_ANG_XX.wav      ACTOR_SENTENCE_EMOTION_LEVEL
  raw_dir/VideoFlash/1001_DFA_ANG_XX.flv

once, into an array_record data set that `make` reads. One config section
serves both: every argument of `make` but `split` is one of `prepare`, and
prepared data of other settings are an error.

Audio, one channel, time last or first as the references have it:
  'spectrogram'  OGM-GE's: 22,050 Hz, repeated and cut to 3 s, clipped to +-1,
                 log(|STFT| + 1e-7), 512 points every 353 -> 257 x 188. The
                 clip is repeated as often as needed (three times there, which
                 is the same for clips of a second or more); resampling is
                 polyphase (there: librosa's).
  'fbank'        MLA's: 128 kaldi log mel bands of 16 kHz every 10 ms, padded
                 or cut to 1024 frames -> 1024 x 128. Not normalised.
Neither is normalised; `augment` may.

Visual: `frames` JPEGs, size x size, from the middles of equal segments of the
clip, in order of time. The references list a folder of 1-fps frames with an
unsorted `os.listdir`, so which frames they take, and in which order, depends
on the machine: this is a deviation. Frames are squeezed to a square here, so
a crop's ratio is one of the square: the references' 3/4 to 4/3 of the 4:3
video is 9/16 to 1.
"""

import functools
import hashlib
import os
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

from mmjax import base
from mmjax.data import _cremad, _cremad_sample, _prepare, _prepared, _splits

VERSION = '1.0.0'
_REMEDY = (
  'To prepare CREMA-D, which has to be downloaded by hand: `python -m '
  'mmjax.main --mode=prepare --config=configs/mla_cremad.py '
  '--raw_dir=/path/to/CREMA-D`. To run the same path on a small corpus that '
  'is rendered on the spot: `python -m mmjax.main '
  '--config=configs/mla_cremad.py:sample`.'
)


def make(
  split: str,
  *,
  data_dir: str | os.PathLike = 'data',
  audio: str = 'spectrogram',
  frames: int = 3,
  size: int = 256,
  split_by: str = 'clip',
  split_files: str | Sequence[str | os.PathLike] = (),
  split_seed: int = 0,
  test_fraction: float = 0.1,
  validation_fraction: float = 0.1,
  on_missing: str = 'skip',
  sample: bool = False,
) -> base.Source:
  """Opens a split of the prepared data.

  With `sample`, a small corpus is rendered in CREMA-D's layout and prepared
  first, if `data_dir` does not have it yet; without, the data are as published.

  `take` gives 'audio' f32[B, 257, 188, 1] or f32[B, 1024, 128, 1], 'visual'
  u8[B, frames, size, size, 3], 'label' and 'present'; a modality that a clip
  lacks is zeros. Raises ValueError if the data are not prepared, damaged, or
  prepared with other settings.
  """
  options: dict[str, Any] = dict(
    audio=audio,
    frames=frames,
    size=size,
    split_by=split_by,
    split_files=split_files,
    split_seed=split_seed,
    test_fraction=test_fraction,
    validation_fraction=validation_fraction,
    on_missing=on_missing,
  )
  if sample and not _prepared.exists(data_dir, 'cremad', VERSION):
    prepare(None, data_dir, sample=True, wait=True, **options)
  settings = _settings(*options.values())
  builder: Any = _prepared.load(data_dir, 'cremad', VERSION, settings, _REMEDY)
  if split not in _splits.SPLITS:
    raise ValueError(f'cremad has no split {split!r}, but {_splits.SPLITS}.')
  names = _cremad.MODALITIES, _cremad.CLASS_NAMES
  if split not in builder.info.splits:  # validation_fraction = 0
    return base.Source(*names, 0, lambda rows: {})  # noqa: ARG005
  rows = builder.as_data_source(
    split=split, decoders={'visual': _prepared.StoredBytes()}
  )
  return base.Source(*names, len(rows), functools.partial(_cremad.take, rows))


def prepare(
  raw_dir: str | os.PathLike | None,
  data_dir: str | os.PathLike = 'data',
  *,
  audio: str = 'spectrogram',
  frames: int = 3,
  size: int = 256,
  split_by: str = 'clip',
  split_files: str | Sequence[str | os.PathLike] = (),
  split_seed: int = 0,
  test_fraction: float = 0.1,
  validation_fraction: float = 0.1,
  on_missing: str = 'skip',
  sample: bool = False,
  workers: int | None = None,
  on_corrupt: str = 'skip',
  overwrite: bool = False,
  wait: bool = False,
) -> _prepare.Prepared:
  """Prepares raw files under `data_dir`; run again, it goes on or is done.

  `split_by`: 'clip' draws clips, class by class; 'actor' draws actors, so that
  none is in two splits; 'file' reads `split_files` (see `_splits.read`; the
  published lists of OGM-GE and MLA have this form) and draws a validation
  split from their training part unless they have one. `on_missing`: a clip
  without its .wav or .flv is left out ('skip') or kept with 'present' False
  ('present'). `on_corrupt`: a file that cannot be decoded leaves its clip out
  ('skip') or ends the preparation ('stop'). With `sample` the raw files are
  rendered, into `data_dir`/sample_raw unless `raw_dir` is given. Raises what
  `_prepare.run` does.
  """
  if sample:
    raw_dir = _cremad_sample.render(
      raw_dir or pathlib.Path(data_dir).expanduser() / 'sample_raw'
    )
  if not raw_dir:
    raise ValueError(
      'CREMA-D is prepared from its raw files: give --raw_dir, the folder that '
      'holds AudioWAV and VideoFlash.'
    )
  settings = _settings(
    audio,
    frames,
    size,
    split_by,
    split_files,
    split_seed,
    test_fraction,
    validation_fraction,
    on_missing,
  )
  recipe = _recipe(
    pathlib.Path(raw_dir).expanduser(), settings, _paths(split_files)
  )
  return _prepare.run(
    recipe,
    data_dir,
    workers=workers,
    on_corrupt=on_corrupt,
    overwrite=overwrite,
    wait=wait,
  )


def _recipe(
  raw_dir: pathlib.Path,
  settings: Mapping[str, Any],
  files: Sequence[pathlib.Path],
) -> _prepare.Recipe:
  clips, skipped = _cremad.scan(raw_dir, settings['on_missing'])
  splits = _draw(clips, settings, files)
  unlisted = {c: 'is in no split file' for c in clips if c not in splits}
  absent = {c: 'is not in the folder' for c in splits if c not in clips}
  wanted = {'train', 'test', *splits.values()}
  if settings['validation_fraction']:
    wanted.add('validation')
  kind = {key: settings[key] for key in ('audio', 'frames', 'size')}
  return _prepare.Recipe(
    name='cremad',
    version=VERSION,
    settings=settings,
    splits=[split for split in _splits.SPLITS if split in wanted],
    features=_cremad.features(kind['audio'], kind['size']),
    items=[
      _prepare.Item(clip, splits[clip], clips[clip])
      for clip in sorted(clips)
      if clip in splits
    ],
    skipped=unlisted | absent | skipped,
    encode=functools.partial(_cremad.encode, **kind),
    example=functools.partial(_cremad.example, **kind),
  )


def _settings(
  audio: str,
  frames: int,
  size: int,
  split_by: str,
  split_files: str | Sequence[str | os.PathLike],
  split_seed: int,
  test_fraction: float,
  validation_fraction: float,
  on_missing: str,
) -> dict[str, Any]:
  """All that the prepared data depend on; raises ValueError if it is wrong."""
  for name, value, known in (
    ('audio', audio, tuple(_cremad.SHAPES)),
    ('split_by', split_by, ('clip', 'actor', 'file')),
    ('on_missing', on_missing, ('skip', 'present')),
  ):
    if value not in known:
      raise ValueError(f'cremad: {name}={value!r} is not one of {known}')
  if frames < 1 or size < 1:
    raise ValueError(f'cremad: frames={frames} and size={size} are at least 1')
  if bool(split_files) != (split_by == 'file'):
    raise ValueError(
      f'cremad: split_by={split_by!r} with split_files={split_files!r}; list '
      "files go with split_by='file', and it with them"
    )
  settings = dict(
    audio=audio,
    frames=frames,
    size=size,
    split_by=split_by,
    split_seed=split_seed,
    validation_fraction=validation_fraction,
    on_missing=on_missing,
  )
  if split_by == 'file':
    return settings | dict(
      split_files=[_fingerprint(f) for f in _paths(split_files)]
    )
  return settings | dict(test_fraction=test_fraction)


def _paths(files: str | Sequence[str | os.PathLike]) -> list[pathlib.Path]:
  files = [files] if isinstance(files, str) else files
  return [pathlib.Path(file).expanduser() for file in files]


def _fingerprint(path: pathlib.Path) -> str:
  if not path.is_file():
    raise ValueError(f'cremad: split_files names {path}, which is not a file')
  return f'{path.name} {hashlib.sha256(path.read_bytes()).hexdigest()[:12]}'


def _draw(
  clips: Mapping[str, Any],
  settings: Mapping[str, Any],
  files: Sequence[pathlib.Path],
) -> dict[str, str]:
  labels = {clip: _cremad.label(clip) for clip in clips}
  seed, validation = settings['split_seed'], settings['validation_fraction']
  if settings['split_by'] == 'file':
    listed = _splits.read(files)
    if 'validation' in listed.values():
      return listed
    train = {c: y for c, y in labels.items() if listed.get(c) == 'train'}
    return listed | _splits.draw(
      train, test=0.0, validation=validation, seed=seed
    )
  share = dict(test=settings['test_fraction'], validation=validation)
  if settings['split_by'] == 'clip':
    return _splits.draw(labels, **share, seed=seed)
  actors = {clip: clip.split('_')[0] for clip in clips}
  return _splits.draw_groups(actors, **share, seed=seed)
