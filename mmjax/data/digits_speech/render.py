"""Renders the spoken digits with espeak-ng: many voices, seeded prosody.

  apt-get install espeak-ng
  python -m mmjax.data.digits_speech.render --out=speech.npz

The same seed and the same version of espeak-ng give the same bytes. README.md
in this folder describes the fields.
"""

import argparse
import pathlib
import shutil
import subprocess
import zipfile

import numpy as np
import scipy.signal

from mmjax.data import _logmel

WORDS = (
  'zero', 'one', 'two', 'three', 'four',
  'five', 'six', 'seven', 'eight', 'nine',
)  # fmt: skip
ACCENTS = (
  'en-us', 'en-us-nyc', 'en-gb', 'en-gb-x-rp',
  'en-gb-scotland', 'en-gb-x-gbclan', 'en-gb-x-gbcwmd', 'en-029',
)  # fmt: skip
# A speaker is a voice variant of espeak-ng; the comic ones are left out.
SPEAKERS = (
  'm1', 'm2', 'm3', 'm4', 'm5', 'm6', 'm7', 'm8',
  'Andy', 'Denis', 'Lee', 'Michael', 'croak', 'whisper',
  'f1', 'f2', 'f3', 'f4', 'f5',
  'Alicia', 'Annie', 'belinda', 'grandma', 'linda',
)  # fmt: skip
ACCENTS_PER_SPEAKER = 4
SPEED = (140, 210)  # words per minute
PITCH = (30, 70)  # of 0..99, where 50 is the voice's own
SAMPLE_RATE = 8000
QUIET = 0.01  # of the peak: what is below it at either end is cut off
MARGIN = 80  # samples of that silence that stay, 10 ms


def program() -> str:
  """Path of espeak-ng; RuntimeError with the way out if it is not there."""
  path = shutil.which('espeak-ng')
  if path is None:
    raise RuntimeError(
      'espeak-ng is not installed, and only it can render the spoken digits. '
      'Install it (apt-get install espeak-ng, brew install espeak-ng) and run '
      'this again. Training does not need it: it reads the rendered file.'
    )
  return path


def check_voices(voices: set[str]) -> None:
  """RuntimeError for a voice that espeak-ng lacks: it would use another one."""

  def column(which: str, number: int) -> set[str]:
    listed = subprocess.run(
      [program(), f'--voices={which}'], capture_output=True
    )
    return {
      line.split()[number] for line in listed.stdout.decode().splitlines()
    }

  known = column('en', 1), {name[3:] for name in column('variant', 4)}
  for voice in sorted(voices):
    for part, names in zip(voice.split('+'), known):
      if part not in names:
        raise RuntimeError(
          f'This espeak-ng has no voice {voice!r}: {part!r} is not in its list '
          '(espeak-ng --voices). README.md names the version that was used.'
        )


def say(word: str, voice: str, speed: int, pitch: int) -> np.ndarray:
  """One utterance at 8 kHz, f32[S], trimmed, peak 1; RuntimeError if it fails."""
  command = [program(), '-v', voice, '-s', str(speed), '-p', str(pitch)]
  done = subprocess.run([*command, '--stdout', word], capture_output=True)
  if done.returncode or not done.stdout:
    raise RuntimeError(f'{" ".join(command)} failed: {done.stderr.decode()}')
  # Not a .wav reader: into a pipe it writes a header with a made-up length.
  rate = int.from_bytes(done.stdout[24:28], 'little')
  wave = np.frombuffer(done.stdout, '<i2', offset=44).astype(np.float64)
  wave = scipy.signal.resample_poly(wave, SAMPLE_RATE, rate)
  loud = np.flatnonzero(np.abs(wave) > QUIET * np.abs(wave).max())
  wave = wave[max(0, loud[0] - MARGIN) : loud[-1] + 1 + MARGIN]
  return (wave / np.abs(wave).max()).astype(np.float32)


def plan(seed: int) -> list[tuple[str, int, int, int]]:
  """(voice, digit, speed, pitch) of every utterance; voice = accent+speaker."""
  rng = np.random.default_rng(seed)
  rows = []
  for speaker in SPEAKERS:
    for accent in sorted(rng.permutation(ACCENTS)[:ACCENTS_PER_SPEAKER]):
      for digit in range(len(WORDS)):
        speed, pitch = rng.integers(*SPEED), rng.integers(*PITCH)
        rows.append((f'{accent}+{speaker}', digit, int(speed), int(pitch)))
  return rows


def render(rows: list[tuple[str, int, int, int]], seed: int) -> dict:
  """The fields of speech.npz for these utterances."""
  check_voices({row[0] for row in rows})
  waves = [_logmel.mulaw_encode(say(WORDS[d], v, s, p)) for v, d, s, p in rows]
  names = list(dict.fromkeys(voice for voice, *_ in rows))
  version = subprocess.run([program(), '--version'], capture_output=True)
  return dict(
    wave=np.concatenate(waves),
    wave_len=np.array([len(wave) for wave in waves], np.int32),
    digit=np.array([row[1] for row in rows], np.uint8),
    voice=np.array([names.index(row[0]) for row in rows], np.uint8),
    voice_names=np.array(names),
    speed=np.array([row[2] for row in rows], np.int16),
    pitch=np.array([row[3] for row in rows], np.int16),
    sample_rate=np.array(SAMPLE_RATE),
    seed=np.array(seed),
    # Without the path of the voices, which differs between machines.
    made_by=np.array(version.stdout.decode().split('  Data at')[0].strip()),
  )


def save(path: pathlib.Path, fields: dict) -> None:
  """A .npz with LZMA inside, a fifth smaller; np.load reads it as any other."""
  with zipfile.ZipFile(path, 'w', zipfile.ZIP_LZMA) as file:
    for name, value in fields.items():
      # A ZipInfo of our own has no time of writing: same input, same bytes.
      entry = zipfile.ZipInfo(f'{name}.npy')
      entry.compress_type = zipfile.ZIP_LZMA
      with file.open(entry, 'w') as out:
        np.lib.format.write_array(out, value, allow_pickle=False)


def main() -> None:
  parser = argparse.ArgumentParser(description='Renders the spoken digits.')
  here = pathlib.Path(__file__).with_name('speech.npz')
  parser.add_argument('--out', type=pathlib.Path, default=here)
  parser.add_argument('--seed', type=int, default=0)
  flags = parser.parse_args()
  try:
    fields = render(plan(flags.seed), flags.seed)
  except RuntimeError as error:
    raise SystemExit(f'{error}') from None
  save(flags.out, fields)
  print(
    f'{len(fields["digit"])} utterances of {len(fields["voice_names"])} voices,'
    f' {len(fields["wave"]) / SAMPLE_RATE:.0f} s, '
    f'{flags.out.stat().st_size / 1e6:.2f} MB in {flags.out}'
  )


if __name__ == '__main__':
  main()
