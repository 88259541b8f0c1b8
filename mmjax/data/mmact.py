"""MMAct: 37 actions before four cameras, with sensors worn (Kong et al., 2019).

`prepare` reads the trimmed clips, unpacked anywhere below the folder:

  raw_dir/**/subject1/cam1/scene1/session1/carrying.mp4
  raw_dir/**/acc_phone_clip/subject1/scene1/session1/carrying.csv
  raw_dir/**/acc_watch_clip/.., gyro_clip/.., orientation_clip/..

A line of a .csv is `20180712_10:15:30.123,x,y,z`, without a header, at 100 Hz
of the two accelerometers, at 50 of the others. An example is a film of one
camera; the sensors are those of its recording, brought to one clock: that of
the first of them, the others interpolated. Names of actions differ in case.
Two actions have the same name at the desk and elsewhere; those of scene 3 are
told apart as `.._desk`.

Splits are across subjects (1 to 16 train, 17 to 20 test) or across sessions
(the fifth is the test set), all cameras in both. There is no validation part;
one is drawn from training, by subject or by subject and session. Layout, desk
and fifth session are those of public programs which agree; the release itself
could not be looked at.
"""

import pathlib
import re
from collections.abc import Mapping

from mmjax.data import _corpus, _kinds, _mmact

CLASS_NAMES = (
  *('carrying', 'carrying_heavy', 'carrying_light', 'checking_time'),
  *('closing', 'crouching', 'drinking', 'entering', 'exiting', 'fall'),
  *('jumping', 'kicking', 'loitering', 'looking_around', 'opening'),
  *('picking_up', 'pocket_in', 'pocket_out', 'pointing', 'pulling'),
  *('pushing', 'running', 'setting_down', 'sitting', 'sitting_down'),
  *('standing', 'standing_up', 'talking', 'talking_on_phone'),
  *('talking_on_phone_desk', 'throwing', 'transferring_object', 'using_pc'),
  *('using_phone', 'using_phone_desk', 'walking', 'waving_hand'),
)
_AT_DESK = ('talking_on_phone', 'using_phone')
_PLACE = re.compile(
  r'subject(\d+)/(?:cam(\d)/)?scene(\d)/session(\d)/([^/]+)\.\w+$',
  re.IGNORECASE,
)
Recording = tuple[int, int, int, str]  # subject, scene, session, action


def corpus(
  *,
  modalities: tuple[str, ...] = ('rgb', 'imu'),
  protocol: str = 'cross_subject',
  cameras: tuple[int, ...] = (1, 2, 3, 4),
  sensors: tuple[str, ...] = _mmact.SENSORS,
  imu_rate: float = 50.0,
  imu_steps: int = 500,
  frames: int = 8,
  size: int = 224,
  split_seed: int = 0,
  validation_fraction: float = 0.1,
) -> _corpus.Corpus:
  """'rgb' u8[B, frames, size, size, 3], 'imu' `Ragged` f32[B, T, 3 sensors].

  Args:
    modalities: 'rgb', 'imu' or both.
    protocol: 'cross_subject' or 'cross_session'.
    cameras: whose films are examples.
    sensors: folders of them; the first one's clock is that of all.
    imu_rate: steps a second.
    imu_steps: T, after which they are cut.
    frames: of each clip.
    size: pixels a side of the stored frames.
    split_seed: of the drawn validation part.
    validation_fraction: of the training subjects, or of their sessions.
  """
  if protocol not in ('cross_subject', 'cross_session'):
    raise ValueError(
      f"mmact: protocol={protocol!r}: 'cross_subject' or 'cross_session'."
    )
  for name, chosen, known in (
    ('modalities', modalities, ('rgb', 'imu')),
    ('sensors', sensors, _mmact.SENSORS),
    ('cameras', cameras, (1, 2, 3, 4)),
  ):
    if not chosen or not set(chosen) <= set(known):
      raise ValueError(f'mmact: {name}={chosen}: some of {known}.')
  if not imu_rate > 0:
    raise ValueError(f'mmact: imu_rate={imu_rate} must be above 0.')
  kinds = {
    'rgb': _kinds.frames(frames, size),
    'imu': _kinds.steps(
      (3 * len(sensors),),
      imu_steps,
      lambda part: _mmact.imu(part, sensors, imu_rate, imu_steps),
    ),
  }
  return _corpus.Corpus(
    name='mmact',
    version='1.0.0',
    class_names=CLASS_NAMES,
    kinds={m: kinds[m] for m in modalities},
    scan=lambda raw: _scan(raw, modalities, protocol, cameras, sensors),
    render=_mmact.render,
    draw=_corpus.Draw('group', 0.0, validation_fraction, split_seed),
  )


make, prepare = _corpus.faces(corpus)


def _scan(
  raw: pathlib.Path,
  modalities: tuple[str, ...],
  protocol: str,
  cameras: tuple[int, ...],
  sensors: tuple[str, ...],
) -> _corpus.Found:
  skipped: dict[str, str] = {}
  films, found = {}, []
  if 'rgb' in modalities:
    films = _files(raw, 'subject*/cam*/scene*/session*/*.mp4', skipped)
  if 'imu' in modalities:
    inner = 'subject*/scene*/session*/*.csv'
    found = [_files(raw, f'{sensor}/{inner}', skipped) for sensor in sensors]
  imu = {
    recording: _kinds.Part(file)
    for (recording, _), file in (found[0] if found else {}).items()
    if all((recording, '') in files for files in found)
  }
  clips = {
    (recording, camera): {'rgb': _kinds.Part(file)}
    for (recording, camera), file in films.items()
    if int(camera) in cameras
  }
  filmed = {recording for recording, _ in clips}
  clips |= {(recording, ''): {} for recording in imu if recording not in filmed}
  entries = {}
  for (recording, camera), parts in clips.items():
    if recording in imu:
      parts['imu'] = imu[recording]
    entries[_name(recording, camera)] = _entry(recording, parts, protocol)
  return _corpus.Found(entries, skipped)


def _files(
  raw: pathlib.Path, pattern: str, skipped: dict[str, str]
) -> dict[tuple[Recording, str], pathlib.Path]:
  """{(recording, camera or ''): file} of the cameras or of one sensor."""
  files = {}
  for file in sorted(raw.rglob(pattern)):
    match = _PLACE.search('/'.join(file.parts[-5:]))
    name = match[5].strip().lower() if match else ''
    if not match or name not in CLASS_NAMES:
      skipped[str(file.relative_to(raw))] = 'the name is none of the actions'
      continue
    subject, scene, session = (int(match[n]) for n in (1, 3, 4))
    if scene == _mmact.DESK and name in _AT_DESK:
      name = f'{name}_desk'
    key = (subject, scene, session, name), match[2] or ''
    if files.setdefault(key, file) != file:
      skipped[str(file.relative_to(raw))] = 'its name is taken'
  if not files:
    raise ValueError(f'{raw} has no file {pattern} anywhere below it.')
  return files


def _name(recording: Recording, camera: str) -> str:
  subject, scene, session, action = recording
  film = f'cam{camera}-' if camera else ''
  return f'subject{subject}-{film}scene{scene}-session{session}-{action}'


def _entry(
  recording: Recording, parts: Mapping[str, _kinds.Part], protocol: str
) -> _corpus.Entry:
  subject, _, session, action = recording
  group, test = f'{subject}', subject > 16
  if protocol == 'cross_session':
    group, test = f'{subject}-{session}', session == 5
  return _corpus.Entry(
    CLASS_NAMES.index(action), parts, 'test' if test else 'train', group
  )
