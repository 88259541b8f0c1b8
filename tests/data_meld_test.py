"""MELD, from its three lists and folders to batches."""

import shutil

import numpy as np
import pytest

from mmjax import base
from mmjax.data import meld

pytest.importorskip('av', reason="needs PyAV: pip install 'mmjax[media]'")

SMALL = dict(size=16, frames=2, max_tokens=20)


@pytest.fixture(scope='module')
def raw(tmp_path_factory):
  folder = tmp_path_factory.mktemp('meld')
  meld.render(folder)
  return folder


@pytest.fixture
def copy(raw, tmp_path):
  return shutil.copytree(raw, tmp_path / 'raw')


def scan(folder, label='emotion'):
  return meld.corpus(label=label).scan(folder)


def test_layout(raw):
  lines = (raw / 'train_sent_emo.csv').read_bytes().decode().splitlines()
  assert lines[0].startswith('Sr No.,Utterance,Speaker,Emotion,Sentiment,Dia')
  assert lines[1].startswith('1,"It\x92s, ') and len(lines) == 13
  assert (raw / 'train/train_splits/dia3_utt2.mp4').is_file()
  assert (raw / 'dev/dev_splits_complete/._dia0_utt0.mp4').is_file()
  assert (raw / 'test/output_repeated_splits_test/dia1_utt0.mp4').is_file()


def test_labels_have_the_published_numbers(raw):
  entries = scan(raw).entries
  got = {n: (e.label, e.split) for n, e in entries.items() if 'dia0' in n}
  assert got == {
    **{'train_dia0_utt0': (4, 'train'), 'train_dia0_utt1': (0, 'train')},
    **{'train_dia0_utt2': (6, 'train'), 'dev_dia0_utt0': (4, 'validation')},
    **{'dev_dia0_utt1': (0, 'validation'), 'dev_dia0_utt2': (6, 'validation')},
    **{'test_dia0_utt0': (4, 'test'), 'test_dia0_utt1': (0, 'test')},
    'test_dia0_utt2': (6, 'test'),
  }
  entries = scan(raw, 'sentiment').entries
  labels = [entries[f'dev_dia1_utt{i}'].label for i in range(3)]
  assert labels == [1, 0, 2]  # positive, neutral, negative


def test_apostrophes_of_windows_are_mended(raw):
  (text,) = scan(raw).entries['train_dia0_utt0'].parts['text'].texts
  assert text.startswith('It’s, ')


def test_batches_and_what_is_left_out(copy, tmp_path):
  clips = copy / 'train/train_splits'
  (clips / 'dia0_utt0.mp4').write_bytes(b'broken')
  (clips / 'dia0_utt1.mp4').unlink()
  (clips / 'final_videos_testdia9_utt0.mp4').write_bytes(b'')
  done = meld.prepare(copy, tmp_path / 'data', **SMALL)
  assert done.counts == {'train': 10, 'validation': 6, 'test': 6}
  broken = done.skipped.pop('train_dia0_utt0')
  assert 'cannot be decoded' in broken
  assert done.skipped == {
    'train_dia0_utt1': 'has no audio and no visual',
    'train_splits/final_videos_testdia9_utt0.mp4': 'is in no list',
  }
  source = meld.make('train', data_dir=tmp_path / 'data', **SMALL)
  assert source.class_names[4] == 'joy' and source.size == 10
  batch = source.take(np.arange(3))
  assert batch['audio'].shape == (3, 1024, 128, 1)
  assert batch['visual'].shape == (3, 2, 16, 16, 3)
  assert isinstance(batch['text'], base.Ragged)
  assert batch['text'].values.shape == (3, 20)
  # The tokens are none of what is prepared.
  longer = meld.make(
    'train', data_dir=tmp_path / 'data', **SMALL | {'max_tokens': 30}
  )
  assert longer.take(np.arange(3))['text'].values.shape == (3, 30)


def test_a_missing_clip_leaves_the_text(copy):
  (copy / 'dev/dev_splits_complete/dia1_utt0.mp4').unlink()
  assert set(scan(copy).entries['dev_dia1_utt0'].parts) == {'text'}


def test_lists_of_excel_double_lines_and_unknown_labels(copy):
  path = copy / 'test_sent_emo.csv'
  lines = path.read_bytes().decode().splitlines(keepends=True)
  lines += [lines[1], lines[2].replace('neutral,neutral,0,1', 'bored,x,7,7')]
  path.write_bytes(''.join(lines).encode('latin-1'))
  found = scan(copy)
  assert found.entries['test_dia7_utt7'].label == -1
  assert found.skipped == {'test_dia0_utt0 again': 'is listed twice'}
  (said,) = found.entries['test_dia0_utt0'].parts['text'].texts
  assert said.startswith('It’s, ')


def test_what_is_no_release_is_named(copy):
  with pytest.raises(ValueError, match="label='mood'"):
    meld.corpus(label='mood')
  path = copy / 'dev_sent_emo.csv'
  text = path.read_text()
  path.write_text(text.replace(',0,1,8', ',0,one,8'))
  with pytest.raises(
    ValueError, match='dev_sent_emo.csv, line 3: .*two numbers'
  ):
    scan(copy)
  path.write_text(text + '7,Hello,Joey\n')
  with pytest.raises(ValueError, match='line 8 has fewer columns'):
    scan(copy)
  path.write_text(text.replace('Sentiment', 'Mood'))
  with pytest.raises(ValueError, match='has no column Sentiment'):
    scan(copy)
  path.unlink()
  shutil.rmtree(copy / 'train/train_splits')
  with pytest.raises(ValueError, match='lacks 2 .*train_splits, dev_sent_emo'):
    scan(copy)
