"""Clotho from its tables and sounds to batches."""

import shutil
import unicodedata

import numpy as np
import pytest

from mmjax.data import clotho

pytest.importorskip('av', reason="needs PyAV: pip install 'mmjax[media]'")
SMALL = dict(audio='waveform', seconds=0.4)


@pytest.fixture(scope='module')
def released(tmp_path_factory):
  folder = tmp_path_factory.mktemp('clotho')
  clotho.render(folder)
  return folder


@pytest.fixture
def raw(released, tmp_path):
  return shutil.copytree(released, tmp_path / 'raw')


def scan(raw):
  return clotho.corpus().scan(raw)


def test_layout_is_the_released_one(released):
  for split, count in (('development', 12), ('validation', 6)):
    path = released / f'clotho_captions_{split}.csv'
    lines = path.read_text('utf8').splitlines()
    assert lines[0] == (
      'file_name,caption_1,caption_2,caption_3,caption_4,caption_5'
    )
    assert len(lines) == 1 + count
    assert lines[1].startswith(' Rain on a roof 0.wav,')
    assert lines[2].startswith('"Création d\'un pas, no. 1.wav",')
    names = sorted(p.name for p in (released / split).iterdir())
    assert len(names) == count and ' Rain on a roof 0.wav' in names


def test_scan(released):
  found = scan(released)
  assert found.skipped == {}
  splits = [e.split for e in found.entries.values()]
  assert splits == ['train'] * 12 + ['validation'] * 6 + ['test'] * 6
  entry = found.entries['evaluation_2_Stream (near) - water #2 & wind']
  assert entry.split == 'test' and entry.label == 0
  assert len(entry.parts['text'].texts) == 5
  assert entry.parts['audio'].file == (
    released / 'evaluation/2_Stream (near) - water #2 & wind.wav'
  )


def test_every_sound_is_heard_in_five(released, tmp_path):
  done = clotho.prepare(released, tmp_path, **SMALL)
  assert done.counts == {'train': 12, 'validation': 6, 'test': 6}
  for split, size in (('train', 60), ('validation', 30), ('test', 30)):
    source = clotho.make(split, data_dir=tmp_path, **SMALL)
    assert source.size == size and source.class_names == ('pair',)
    assert (
      source.entries['audio'].tolist()
      == np.repeat(np.arange(size // 5), 5).tolist()
    )
  batch = source.take(np.array([0, 4, 5]))
  sound, text = batch['audio'], batch['text']
  assert sound.values.shape == (3, 6400) and sound.values.dtype == np.float32
  assert text.values.shape == text.mask.shape == (3, 128)
  assert (sound.values[0] == sound.values[1]).all()
  assert (sound.values[0] != sound.values[2]).any()


def test_names_that_an_archiver_changed_are_found(raw):
  home = raw / 'validation'
  renamed = {
    ' Rain on a roof 0.wav': 'Rain on a roof 0.wav',
    "Création d'un pas, no. 1.wav": unicodedata.normalize(
      'NFD', "Création d'un pas, no. 1.wav"
    ),
    '2_Stream (near) - water #2 & wind.wav': '2_Stream (near) - water _2.wav',
    '5_Stream (near) - water #2 & wind.wav': '5_Stream (near)_water #2_wind.wav',
  }
  for old, new in renamed.items():
    (home / old).rename(home / new)
  found = scan(raw)
  assert found.skipped == {
    'validation_2_Stream (near) - water #2 & wind': 'is not in the folder',
    'validation/2_Stream (near) - water _2.wav': 'is in no list',
  }
  file = found.entries['validation_ Rain on a roof 0'].parts['audio'].file
  assert file.name == 'Rain on a roof 0.wav'


def test_two_files_that_one_name_could_be_are_neither(raw):
  home = raw / 'validation'
  shutil.copy(home / ' Rain on a roof 0.wav', home / 'Rain on a roof-0.wav')
  (home / ' Rain on a roof 0.wav').rename(home / 'Rain_on_a_roof 0.wav')
  found = scan(raw)
  assert found.skipped['validation_ Rain on a roof 0'] == 'is not in the folder'
  assert len(found.skipped) == 3


def test_what_is_left_out(raw):
  with open(raw / 'clotho_captions_evaluation.csv', 'a') as file:
    file.write('gone.wav,a,b,c,d,e\n0_few.wav,a,b,c,d,\n')
    file.write(' Rain on a roof 0.wav,a,b,c,d,e\n')
  for name in ('0_few.wav', 'unlisted.wav'):
    shutil.copy(
      raw / 'evaluation/ Rain on a roof 0.wav', raw / 'evaluation' / name
    )
  assert scan(raw).skipped == {
    'evaluation_gone': 'is not in the folder',
    'evaluation_0_few': 'has 4 captions, not 5',
    'evaluation_ Rain on a roof 0 again': 'is listed twice',
    'evaluation/unlisted.wav': 'is in no list',
  }


def test_folders_of_the_raw_folder(raw, tmp_path):
  outer = tmp_path / 'outer'
  for path in list(raw.iterdir()):
    home = outer / ('sounds' if path.is_dir() else 'tables')
    home.mkdir(parents=True, exist_ok=True)
    path.rename(home / path.name)
  assert len(scan(outer).entries) == 24


def test_errors(raw):
  path = raw / 'clotho_captions_development.csv'
  path.write_text('file_name,caption_1\n')
  with pytest.raises(ValueError, match='line 1: .* no caption_2 and no'):
    scan(raw)
  path.write_bytes(b'file_name\xff')
  with pytest.raises(ValueError, match='development.csv is no text in utf-8'):
    scan(raw)
  shutil.rmtree(raw / 'validation')
  with pytest.raises(ValueError, match=r'lacks 1 of 3 .* validation\. Is'):
    scan(raw)
