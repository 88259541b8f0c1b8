"""AudioCaps from its tables and fetched sounds to batches."""

import csv
import shutil

import numpy as np
import pytest

from mmjax.data import audiocaps

pytest.importorskip('av', reason="needs PyAV: pip install 'mmjax[media]'")
SMALL = dict(audio='waveform', seconds=0.4)


@pytest.fixture(scope='module')
def released(tmp_path_factory):
  folder = tmp_path_factory.mktemp('audiocaps')
  audiocaps.render(folder)
  return folder


@pytest.fixture
def raw(released, tmp_path):
  return shutil.copytree(released, tmp_path / 'raw')


def scan(raw):
  return audiocaps.corpus().scan(raw)


def table(raw, split):
  with open(raw / f'{split}.csv', newline='') as file:
    return list(csv.DictReader(file))


def test_layout_is_the_released_one(released):
  for split, lines in (('train', 12), ('val', 30), ('test', 30)):
    rows = table(released, split)
    assert len(rows) == lines
    assert list(rows[0]) == [
      *('audiocap_id', 'youtube_id', 'start_time', 'caption')
    ]
    names = {path.name for path in (released / split).iterdir()}
    assert names == {f'{row["audiocap_id"]}.wav' for row in rows}
    assert {len(row['youtube_id']) for row in rows} == {11}
  # The five captions of a sound are apart.
  assert len({row['youtube_id'] for row in rows[:6]}) == 6


def test_scan(released):
  found = scan(released)
  assert found.skipped == {}
  for split, name, count in (
    ('train', 'train', 1),
    ('val', 'validation', 5),
    ('test', 'test', 5),
  ):
    rows = table(released, split)
    entries = {n: e for n, e in found.entries.items() if e.split == name}
    assert set(entries) == {
      f'{row["youtube_id"]}_{row["start_time"]}' for row in rows
    }
    row = rows[0]
    entry = entries[f'{row["youtube_id"]}_{row["start_time"]}']
    own = [r for r in rows if r['youtube_id'] == row['youtube_id']]
    assert len(own) == count and entry.label == 0
    assert entry.parts['text'].texts == tuple(r['caption'] for r in own)
    assert entry.parts['audio'].file == (
      released / split / f'{row["audiocap_id"]}.wav'
    )


def test_batches(released, tmp_path):
  done = audiocaps.prepare(released, tmp_path, **SMALL)
  assert done.counts == {'train': 12, 'validation': 6, 'test': 6}
  train = audiocaps.make('train', data_dir=tmp_path, **SMALL)
  assert train.size == 12 and train.entries == {}
  source = audiocaps.make('test', data_dir=tmp_path, **SMALL)
  assert source.modalities == ('audio', 'text')
  assert source.size == 30 and list(source.entries) == ['audio']
  assert source.entries['audio'].tolist() == np.repeat(range(6), 5).tolist()
  batch = source.take(np.array([0, 4, 5]))
  sound, text = batch['audio'], batch['text']
  assert sound.values.shape == sound.mask.shape == (3, 6400)
  assert sound.values.dtype == np.float32
  assert text.values.shape == (3, 128) and text.values.dtype == np.int32
  assert (sound.values[0] == sound.values[1]).all()
  assert (sound.values[0] != sound.values[2]).any()
  assert batch['label'].tolist() == [0, 0, 0]


@pytest.mark.parametrize(
  'name',
  [
    *('{id}.wav', 'Y{id}.wav', '{id}_{start}.wav', 'Y{id}_{start}.flac'),
    *('{id}_{start}000_{end}000.wav', '{id}_{start}.000_{end}.000.wav'),
    *('{id}_{start}-{end}.m4a', '{caption}.OGG'),
  ],
)
def test_names_that_downloaders_give(raw, name):
  shutil.rmtree(raw / 'val')
  (raw / 'audio' / 'val').mkdir(parents=True)  # also deeper
  for row in table(raw, 'val'):
    start = int(row['start_time'])
    named = name.format(
      id=row['youtube_id'],
      start=start,
      end=start + 10,
      caption=row['audiocap_id'],
    )
    (raw / 'audio/val' / named).write_bytes(b'')
  found = scan(raw)
  assert found.skipped == {}
  assert len(found.entries) == 24


def test_ids_may_look_like_something_else(raw):
  rows = ['audiocap_id,youtube_id,start_time,caption\n']
  (raw / 'train.csv').write_text(''.join(rows))
  shutil.rmtree(raw / 'train')
  (raw / 'train').mkdir()
  files = {
    'Yabcdefghi_': 'Yabcdefghi__30.wav',
    'Ybcdefghijk': 'Ybcdefghijk.wav',
    '-_cdefgh_30': 'Y-_cdefgh_30_30.wav',
    '12345678_90': '12345678_90_30_40.wav',
  }
  for number, (video, file) in enumerate(files.items()):
    rows.append(f'{number},{video},30,a sound\n')
    (raw / 'train' / file).write_bytes(b'')
  (raw / 'train.csv').write_text(''.join(rows))
  found = scan(raw)
  assert found.skipped == {}
  for video, file in files.items():
    part = found.entries[f'{video}_30'].parts['audio']
    assert part.file == raw / 'train' / file


def test_two_parts_of_a_video_are_two_sounds(raw):
  row = table(raw, 'train')[0]
  video = row['youtube_id']
  with open(raw / 'train.csv', 'a') as file:
    file.write(f'1,{video},510,another part\n')
  (raw / f'train/{video}_510.wav').write_bytes(b'')
  found = scan(raw)
  assert found.skipped == {}
  first = found.entries[f'{video}_{row["start_time"]}'].parts['audio'].file
  assert first != found.entries[f'{video}_510'].parts['audio'].file


def test_what_is_left_out(raw):
  rows = table(raw, 'test')
  videos = list(dict.fromkeys(row['youtube_id'] for row in rows))
  with open(raw / 'test.csv', 'w', newline='') as file:
    writer = csv.DictWriter(file, list(rows[0]))
    writer.writeheader()
    writer.writerows(rows[1:])  # one caption less of the first
  for row in rows:
    if row['youtube_id'] == videos[1]:
      (raw / f'test/{row["audiocap_id"]}.wav').unlink()
  (raw / 'test/odd.wav').write_bytes(b'')
  starts = {row['youtube_id']: row['start_time'] for row in rows}
  assert scan(raw).skipped == {
    f'{videos[0]}_{starts[videos[0]]}': 'has 4 captions, not 5',
    f'{videos[1]}_{starts[videos[1]]}': 'is not in the folder',
    f'test/{rows[0]["audiocap_id"]}.wav': 'is in no list',
    'test/odd.wav': 'is in no list',
  }


def test_errors(raw):
  path = raw / 'val.csv'
  header = 'audiocap_id,youtube_id,start_time,caption\n'
  path.write_text(f'{header}1,abcdefghijk,half,x\n')
  with pytest.raises(ValueError, match="val.csv, line 2: start_time='half'"):
    scan(raw)
  path.write_text(f'{header}1,abcdefghijk,0,a, b\n')
  with pytest.raises(ValueError, match='val.csv, line 2: it has 5 fields, not'):
    scan(raw)
  path.write_text('id,youtube_id,start_time,caption\n')
  with pytest.raises(ValueError, match='line 1: .* has no audiocap_id'):
    scan(raw)
  path.write_text('')
  with pytest.raises(ValueError, match='line 1: .* has no audiocap_id and no'):
    scan(raw)
  path.unlink()
  with pytest.raises(ValueError, match=r'lacks 1 of 3 .* val\.csv'):
    scan(raw)
