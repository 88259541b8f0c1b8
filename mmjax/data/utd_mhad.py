"""UTD-MHAD: 27 actions before a Kinect, with a sensor worn (Chen et al., 2015).

`prepare` reads the release, its zip files unpacked anywhere below the folder:

  raw_dir/**/Inertial/a1_s1_t1_inertial.mat   d_iner [T, 6] at 50 Hz: three
                                              accelerations, three rotations
  raw_dir/**/Skeleton/a1_s1_t1_skeleton.mat   d_skel [20, 3, T] at 30 Hz
  raw_dir/**/RGB/a1_s1_t1_color.avi           640 x 480 at 30 Hz
  raw_dir/**/Depth/a1_s1_t1_depth.mat         not read

a is the action, s one of eight subjects, t one of four trials; 861 of 864 clips
are whole. The sensor was on the right wrist for actions 1 to 21, on the right
thigh for the others. The split of the paper is across subjects: odd ones train,
even ones test. It has no validation part; here one is drawn from the training
subjects, so that nobody is on two sides.
"""

import functools
import io
import pathlib
import re

import numpy as np

from mmjax.data import _corpus, _kinds, _media, _render

CLASS_NAMES = (
  *('swipe left', 'swipe right', 'wave', 'clap', 'throw', 'cross arms'),
  *('basketball shoot', 'draw x', 'draw circle', 'draw circle backwards'),
  *('draw triangle', 'bowling', 'boxing', 'baseball swing', 'tennis swing'),
  *('arm curl', 'tennis serve', 'push', 'knock', 'catch'),
  *('pick up and throw', 'jog', 'walk', 'sit to stand', 'stand to sit'),
  *('lunge', 'squat'),
)
_NAME = re.compile(r'a(\d\d?)_s([1-8])_t(\d)')
_SUFFIXES = {
  'inertial': 'inertial.mat',
  'skeleton': 'skeleton.mat',
  'rgb': 'color.avi',
}
_FIELDS = {'inertial': 'd_iner', 'skeleton': 'd_skel'}


def corpus(
  *,
  modalities: tuple[str, ...] = ('inertial', 'skeleton'),
  inertial_steps: int = 326,
  skeleton_steps: int = 125,
  frames: int = 8,
  size: int = 128,
  test_subjects: tuple[int, ...] = (2, 4, 6, 8),
  split_seed: int = 0,
  validation_fraction: float = 0.25,
) -> _corpus.Corpus:
  """'inertial' `Ragged` f32[B, T, 6], 'skeleton' `Ragged` f32[B, T, 20, 3],
  'rgb' u8[B, frames, size, size, 3].

  Args:
    modalities: which of the three.
    inertial_steps: T, after which recordings are cut.
    skeleton_steps: T of skeletons.
    frames: of each clip.
    size: pixels a side of the stored frames.
    test_subjects: 1 to 8; as published, the even ones.
    split_seed: of the drawn validation part.
    validation_fraction: of the training subjects.
  """
  strange = [m for m in modalities if m not in _SUFFIXES]
  if strange or not modalities:
    raise ValueError(
      f'utd_mhad: modalities={modalities}: some of {tuple(_SUFFIXES)}.'
    )
  kinds = {
    'inertial': _kinds.steps((6,), inertial_steps, _inertial),
    'skeleton': _kinds.steps((20, 3), skeleton_steps, _skeleton),
    'rgb': _kinds.frames(frames, size),
  }
  return _corpus.Corpus(
    name='utd_mhad',
    version='1.0.0',
    class_names=CLASS_NAMES,
    kinds={m: kinds[m] for m in modalities},
    scan=lambda raw: _scan(raw, modalities, test_subjects),
    render=render,
    draw=_corpus.Draw('group', 0.0, validation_fraction, split_seed),
  )


make, prepare = _corpus.faces(corpus)


def _scan(
  raw: pathlib.Path, modalities: tuple[str, ...], test: tuple[int, ...]
) -> _corpus.Found:
  clips: dict[str, dict[str, _kinds.Part]] = {}
  skipped = {}
  for m in modalities:
    files = sorted(raw.rglob(f'a*_{_SUFFIXES[m]}'))
    if not files:
      raise ValueError(
        f'{raw} has no file such as a1_s1_t1_{_SUFFIXES[m]}, of which UTD-MHAD '
        f'has 861. Is {m} downloaded and unpacked?'
      )
    for file in files:
      clip = file.name.removesuffix(f'_{_SUFFIXES[m]}')
      match = _NAME.fullmatch(clip)
      if not match or not 1 <= int(match[1]) <= len(CLASS_NAMES):
        skipped[file.name] = 'the name is not one of UTD-MHAD'
      elif m in clips.setdefault(clip, {}):
        skipped[str(file.relative_to(raw))] = 'its name is taken'
      else:
        clips[clip][m] = _kinds.Part(file)
  entries = {}
  for clip, parts in clips.items():
    action, subject = (int(number) for number in re.findall(r'\d+', clip)[:2])
    entries[clip] = _corpus.Entry(
      action - 1,
      parts,
      'test' if subject in test else 'train',
      str(subject),
    )
  return _corpus.Found(entries, skipped)


def _inertial(part: _kinds.Part) -> np.ndarray:
  """[T, 6]"""
  return _field(part, 'inertial', 2)


def _skeleton(part: _kinds.Part) -> np.ndarray:
  """[T, 20, 3]"""
  return np.moveaxis(_field(part, 'skeleton', 3), 2, 0)


def _field(part: _kinds.Part, m: str, ndim: int) -> np.ndarray:
  import scipy.io

  assert part.file is not None
  try:
    content = scipy.io.loadmat(part.file, variable_names=[_FIELDS[m]])
    value = np.asarray(content[_FIELDS[m]], np.float32)
  except Exception as error:  # what garbage ends in cannot be listed
    raise _media.MediaError(
      part.file, f'holds no {_FIELDS[m]} ({type(error).__name__}: {error})'
    ) from error
  if value.ndim != ndim:
    raise _media.MediaError(part.file, f'holds {_FIELDS[m]} of {value.shape}')
  return value


def render(folder: pathlib.Path, actions: int = 3) -> None:
  """Two trials of the first actions by all subjects."""
  import scipy.io

  write = functools.partial(scipy.io.savemat, do_compression=True)
  for label in range(actions):
    for subject in range(1, 9):
      for trial in (1, 2):
        draw = _render.rng(label, subject, trial)
        name = f'a{label + 1}_s{subject}_t{trial}'
        steps = int(draw.integers(40, 60))
        x_TJ = _render.motion(label, draw, steps, 60)
        values = {
          'inertial': _render.motion(label, draw, 2 * steps, 6),
          'skeleton': x_TJ.reshape(steps, 20, 3).transpose(1, 2, 0),
        }
        for m, value in values.items():
          file = io.BytesIO()
          write(file, {_FIELDS[m]: value.astype(np.float64)})
          path = folder / m.title() / f'{name}_{_SUFFIXES[m]}'
          _render.write(path, file.getvalue())
        film = _render.film(label, draw, seconds=0.4, size=(64, 48))
        _render.write_video(folder / 'RGB' / f'{name}_{_SUFFIXES["rgb"]}', film)
