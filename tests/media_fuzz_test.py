"""Damaged media: an array or a `MediaError` that names the file, and soon."""

import io
import time
import zlib

import numpy as np
import PIL.Image
import pytest

from mmjax.data import _media, _render

READERS = {
  'sound.wav': lambda path: _media.audio(path, 16000),
  'film.mp4': lambda path: _media.frames(path, 2, 16),
  'film.avi': lambda path: _media.audio(path, 16000),
  'picture.jpg': lambda path: _media.picture(path, 16),
  'picture.png': lambda path: _media.picture(path, 16),
}


@pytest.fixture(scope='module')
def whole_files(tmp_path_factory):
  """A file of each sort: {name: (path, its bytes)}."""
  folder, draw = tmp_path_factory.mktemp('media'), _render.rng(0)
  x_T = _render.sound(1, draw, seconds=0.5)
  _render.write_wav(folder / 'sound.wav', x_T)
  images = _render.film(2, draw, seconds=0.5, size=(48, 32))
  for name in ('film.mp4', 'film.avi'):
    _render.write_video(folder / name, images, x_T)
  for name in ('picture.jpg', 'picture.png'):
    _render.write_image(folder / name, _render.image(3, draw, (48, 32)))
  paths = [folder / name for name in READERS]
  return {path.name: (path, path.read_bytes()) for path in paths}


@pytest.mark.parametrize('name', READERS)
def test_whole_files_are_read(whole_files, name):
  assert np.isfinite(READERS[name](whole_files[name][0])).all()


@pytest.mark.parametrize('name', READERS)
def test_flipped_bytes_and_cut_ends(whole_files, name):
  path, content = whole_files[name]
  broken = path.with_name(f'broken_{name}')
  for seed in range(40):
    draw = np.random.default_rng(seed)
    damaged = bytearray(content)
    for _ in range(seed % 8):
      # Most of what decides is in the first bytes.
      end = draw.choice((64, len(content)))
      damaged[draw.integers(end)] = draw.integers(256)
    if seed % 3 == 0:
      damaged = damaged[: draw.integers(len(content))]
    broken.write_bytes(bytes(damaged))
    start = time.monotonic()
    try:
      x = READERS[name](broken)
    except _media.MediaError as error:
      assert broken.name in str(error) and error.reason
    else:
      assert x.size and np.isfinite(x).all()
    assert time.monotonic() - start < 10  # a hang, not a speed


def test_an_image_bomb_is_not_unfolded(tmp_path):
  """A few kilobytes that would be 30 GB of pixels."""
  side = 100_000
  with io.BytesIO() as file:
    PIL.Image.new('L', (1, 1)).save(file, 'PNG')
    small = file.getvalue()
  header = b'IHDR' + side.to_bytes(4, 'big') * 2 + bytes([8, 0, 0, 0, 0])
  crc = zlib.crc32(header).to_bytes(4, 'big')
  bomb = small[:8] + (13).to_bytes(4, 'big') + header + crc + small[33:]
  path = tmp_path / 'bomb.png'
  path.write_bytes(bomb)
  with pytest.raises(_media.MediaError, match=r'bomb\.png.*cannot be decoded'):
    _media.picture(path, 16)
