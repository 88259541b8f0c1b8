"""IEMOCAP from its release: labels, speakers, halves of the film, splits."""

import shutil

import numpy as np
import pytest

from mmjax.data import iemocap

SMALL = dict(size=16, frames=2, audio='waveform', seconds=0.5, max_tokens=16)


@pytest.fixture(scope='module')
def raw(tmp_path_factory):
  folder = tmp_path_factory.mktemp('iemocap')
  iemocap.corpus().render(folder)
  return folder


@pytest.fixture(scope='module')
def prepared(raw, tmp_path_factory):
  data_dir = tmp_path_factory.mktemp('data')
  return data_dir, iemocap.prepare(raw, data_dir, **SMALL)


def scan(raw, **options):
  return iemocap.corpus(**options).scan(raw)


def test_layout_says_labels_spans_and_halves(raw):
  found = scan(raw)
  entry = found.entries['Ses01M_impro01_F000']  # the man wears the markers
  assert entry.label == 0 and entry.split == 'train' and entry.group == '1'
  home = raw / 'IEMOCAP_full_release/Session1'
  film = home / 'dialog/avi/DivX/Ses01M_impro01.avi'
  sound = home / 'sentences/wav/Ses01M_impro01/Ses01M_impro01_F000.wav'
  assert entry.parts['audio'].file == sound
  assert entry.parts['visual'] == (
    film,
    (0.0, 0.4),
    (0.5, 0.25, 1.0, 0.75),
    (),
    None,
  )
  man = found.entries['Ses01M_impro01_M001'].parts['visual']
  assert man.span == (0.4, 0.8) and man.box == (0.0, 0.25, 0.5, 0.75)
  script = (home / 'dialog/transcriptions/Ses01M_impro01.txt').read_text()
  said = script.splitlines()[0].partition(']: ')[2]
  assert entry.parts['text'].texts == (said,) and len(said) > 10
  assert (
    scan(raw, half=False).entries['Ses01M_impro01_M001'].parts['visual'].box
    is None
  )


def test_classes(raw):
  four = scan(raw)
  labels = {name[-4:]: e.label for name, e in four.entries.items()}
  order = ('neutral', 'angry', 'sad', 'happy')
  assert iemocap.corpus().class_names == order
  # The rendered order is neu, ang, sad, hap, exc, fru, xxx, both of each.
  assert labels == {
    **{'F000': 0, 'M001': 0, 'F002': 1, 'M003': 1, 'F004': 2, 'M005': 2},
    **{'F006': 3, 'M007': 3, 'F008': 3, 'M009': 3},
  }
  assert set(four.skipped.values()) == {
    'fru is none of the classes',
    'xxx is none of the classes',
  }
  dropped = scan(raw, excited='drop')
  assert len(dropped.entries) == 40
  six = scan(raw, classes=6)
  assert len(six.entries) == 60
  labels = {name[-4:]: e.label for name, e in six.entries.items()}
  assert labels['F006'] == 0 and labels['F008'] == 4 and labels['F010'] == 5


def test_take(prepared):
  data_dir, done = prepared
  assert done.counts == {'train': 30, 'validation': 10, 'test': 10}
  source = iemocap.make('test', data_dir=data_dir, **SMALL)
  batch = source.take(np.arange(source.size))
  assert source.modalities == ('audio', 'visual', 'text')
  assert np.bincount(batch['label']).tolist() == [2, 2, 2, 4]
  assert batch['label'].dtype == np.int32
  assert batch['audio'].values.shape == (10, 8000)
  assert batch['audio'].mask.sum(1).tolist() == [6400] * 10
  assert batch['visual'].shape == (10, 2, 16, 16, 3)
  assert batch['visual'].dtype == np.uint8
  assert batch['text'].values.shape == (10, 16)
  assert batch['text'].values.dtype == np.int32
  assert all(batch['present'][m].all() for m in source.modalities)
  # Of the grey other half nothing is seen: an even picture has no deviation.
  deviation = batch['visual'].astype(float).std(axis=(2, 3)).mean(-1)
  assert deviation.min() > 8


def test_splits(raw):
  by = {}
  for name, entry in scan(raw, test_session=2).entries.items():
    by.setdefault(entry.split, set()).add(name[4])
  assert by == {'test': {'2'}, 'train': {'1', '3', '4', '5'}}
  speakers = scan(raw, split_by='speaker').entries
  assert speakers['Ses03M_impro01_F000'].group == '3F'
  drawn = scan(raw, split_by='entry').entries
  assert {entry.split for entry in drawn.values()} == {''}
  draw = iemocap.corpus(split_by='entry').draw
  assert draw[:3] == ('entry', 0.2, 0.25)  # 60/20/20


def test_missing_files_are_counted(raw, tmp_path):
  shutil.copytree(raw, tmp_path / 'copy')
  home = tmp_path / 'copy/IEMOCAP_full_release/Session1'
  wavs = home / 'sentences/wav/Ses01M_impro01'
  (wavs / 'Ses01M_impro01_F000.wav').unlink()
  (wavs / 'Ses01M_impro01_MXX0.wav').write_bytes(b'')
  (home / 'dialog/transcriptions/Ses01M_impro01.txt').write_bytes(
    b'Ses01M_impro01_M001 [000.4000-000.8000]: caf\xe9\nM: hm\n'
  )
  (home / 'dialog/EmoEvaluation/._Ses01M_impro01.txt').write_bytes(b'\0')
  found = scan(tmp_path / 'copy')
  assert set(found.entries['Ses01M_impro01_F000'].parts) == {'visual'}
  assert found.entries['Ses01M_impro01_M001'].parts['text'].texts == ('café',)
  assert found.skipped['Ses01M_impro01_MXX0'] == 'is in no list'
  assert 'name' in found.skipped['._Ses01M_impro01.txt']
  sheet = home / 'dialog/EmoEvaluation/Ses01M_impro01.txt'
  sheet.write_text('%\n\n[0.1 - 0.2]\tSes02X_F000\tneu\n')
  with pytest.raises(ValueError, match=r'Ses01M_impro01.txt, line 3: .*Ses02X'):
    scan(tmp_path / 'copy')
  shutil.rmtree(home)
  with pytest.raises(ValueError, match='lacks 4 of 20 .*Session1/dialog/Emo'):
    scan(tmp_path / 'copy')


@pytest.mark.parametrize(
  'options, says',
  [
    (dict(classes=5), 'classes=5 must be 4 or 6'),
    (dict(excited='sad'), "excited='sad'"),
    (dict(modalities=('video',)), 'modalities='),
    (dict(split_by='actor'), "split_by='actor'"),
    (dict(test_session=6), 'test_session=6'),
  ],
)
def test_options_are_checked(options, says):
  with pytest.raises(ValueError, match=says):
    iemocap.corpus(**options)
