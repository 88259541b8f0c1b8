"""KEMDy20 from its files: sheets, encodings, the published split, groups."""

import collections
import shutil

import numpy as np
import pytest
from sklearn import model_selection

from mmjax.data import kemdy20_release

SMALL = dict(seconds=0.25, max_tokens=12)
ORDER = ('neutral', 'happy', 'angry', 'surprise', 'sad', 'fear', 'disgust')
PUBLISHED = dict(validation_fraction=0.0)


@pytest.fixture(scope='module')
def raw(tmp_path_factory):
  folder = tmp_path_factory.mktemp('kemdy')
  kemdy20_release.corpus().render(folder)
  return folder


@pytest.fixture
def copy(raw, tmp_path):
  shutil.copytree(raw / 'KEMDy20_v1_1', tmp_path / 'copy')
  return tmp_path / 'copy'


def scan(raw, **options):
  return kemdy20_release.corpus(**options).scan(raw)


def sheet(raw, session):
  """Lines of a sheet, without its header, split at commas."""
  path = raw / f'KEMDy20_v1_1/annotation/Sess{session:02}_eval.csv'
  return [line.split(',') for line in path.read_text().splitlines()[2:]]


def test_the_split_is_the_published_one(raw):
  rows = [row[3:5] for n in range(1, 41) for row in sheet(raw, n)]
  rows = [(name, e.replace('disqust', 'disgust')) for name, e in rows]
  single = [(name, e) for name, e in rows if ';' not in e]
  train, test = model_selection.train_test_split(
    single,
    test_size=0.2,
    random_state=42,
    shuffle=True,
    stratify=[ORDER.index(emotion) for _, emotion in single],
  )
  found = scan(raw, **PUBLISHED)
  parts = collections.defaultdict(set)
  for name, entry in found.entries.items():
    parts[entry.split].add(name)
  joined = {n for n, e in rows if e in ('neutral;happy', 'neutral;angry')}
  assert parts['test'] == {name for name, _ in test}
  assert parts['train'] == {name for name, _ in train} | joined
  assert set(parts) == {'train', 'test'}
  assert kemdy20_release.corpus().class_names == ORDER
  for name, emotion in single:
    assert ORDER[found.entries[name].label] == emotion
  assert {ORDER[found.entries[name].label] for name in joined} == {
    *('happy', 'angry'),
  }
  assert set(found.skipped.values()) == {'has several emotions'}
  assert len(found.skipped) == sum(e == 'happy;angry' for _, e in rows)
  apart = scan(raw, label_transform=False, **PUBLISHED)
  assert not joined & set(apart.entries)


def test_take(raw, tmp_path):
  done = kemdy20_release.prepare(raw, tmp_path, **SMALL)
  assert list(done.counts) == ['train', 'validation', 'test']
  source = kemdy20_release.make('test', data_dir=tmp_path, **SMALL)
  batch = source.take(np.arange(source.size))
  assert source.modalities == ('speech', 'text')
  assert source.size == done.counts['test'] == 11
  assert batch['speech'].values.shape == (11, 4000)
  assert batch['speech'].values.dtype == np.float32
  assert batch['text'].values.shape == (11, 12)
  # 'n/ 네': the bytes of UTF-8, one more each, though the file is in cp949.
  want = np.frombuffer('n/ 네'.encode(), np.uint8).astype(int) + 1
  assert batch['text'].values[0, : len(want)].tolist() == want.tolist()
  assert batch['text'].mask.all() and batch['present']['text'].all()


@pytest.mark.parametrize('split_by, part', [('session', 0), ('speaker', 2)])
def test_groups_are_shared_out(raw, split_by, part):
  seen = collections.defaultdict(set)
  for name, entry in scan(raw, split_by=split_by).entries.items():
    fields = name.split('_')
    seen[fields[0] + fields[part]].add(entry.split)
  assert {len(splits) for splits in seen.values()} == {1}
  assert {s for splits in seen.values() for s in splits} == {
    *('train', 'validation', 'test'),
  }


def test_files_and_encodings(copy):
  one, other = 'Sess01_script01_User001M_001', 'Sess01_script01_User001F_002'
  home = copy / 'wav/Session01'
  (home / f'{one}.txt').write_text('네, 그래', 'utf8')
  (home / f'{other}.wav').unlink()
  (home / 'Sess01_script01_User001M_999.wav').write_bytes(b'')
  two = 'Sess02_script01_User002M_001'
  (copy / f'wav/Session02/{two}.txt').write_bytes(b'\xff\xff\xff')
  sheets = copy / 'annotation'
  text = (sheets / 'Sess03_eval.csv').read_text().splitlines()
  text[2] = text[2].replace(text[2].split(',')[4], '')
  text += [text[3], '', ',,,']
  (sheets / 'Sess03_eval.csv').write_text('\n'.join(text), 'utf-8-sig')
  found = scan(copy, **PUBLISHED)
  assert found.entries[one].parts['text'].texts == ('네, 그래',)
  if other in found.entries:
    assert set(found.entries[other].parts) == {'text'}
  assert found.skipped['Sess01_script01_User001M_999'] == 'is in no list'
  assert 'neither in UTF-8' in found.skipped[two]
  assert found.skipped['Sess03_script01_User003M_001'] == 'has no emotion'
  assert 'its name is taken' in found.skipped.values()


def test_bad_sheets_are_named(copy):
  path = copy / 'annotation/Sess07_eval.csv'
  text = path.read_text()
  path.write_text(text.replace('Sess07_script01_User007M_001', 'Sess07'))
  with pytest.raises(ValueError, match="Sess07_eval.csv, line 3: .*'Sess07'"):
    scan(copy)
  row = text.splitlines()[2].split(',')
  path.write_text(text.replace(f',{row[4]},', ',bored,', 1))
  with pytest.raises(
    ValueError, match="Sess07_eval.csv.*'bored' is no emotion"
  ):
    scan(copy)
  path.write_bytes(b'\xff\xff\xff')
  with pytest.raises(ValueError, match='Sess07_eval.csv is neither in UTF-8'):
    scan(copy)
  path.unlink()
  with pytest.raises(ValueError, match='lacks 1 of 41 .*Sess07_eval.csv'):
    scan(copy)
  with pytest.raises(ValueError, match="split_by='actor'"):
    kemdy20_release.corpus(split_by='actor')
