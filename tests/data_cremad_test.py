"""CREMA-D from raw files to batches, on a corpus rendered in its layout."""

import concurrent.futures
import errno
import json
import os
import pathlib
import re
import shutil
import signal
import subprocess
import sys
import textwrap
import time
from collections import Counter

import numpy as np
import pytest
import scipy.io.wavfile

from mmjax.data import (
  _cremad,
  _cremad_sample,
  _disk,
  _media,
  _prepare,
  _spectrogram,
  _splits,
  cremad,
)

av = pytest.importorskip('av', reason="needs PyAV: pip install 'mmjax[media]'")

ROOT = pathlib.Path(__file__).resolve().parent.parent
SMALL = dict(size=32, frames=2)
TINY = dict(sentences=3, seconds=(0.3, 0.4), width=96, height=72)


@pytest.fixture(scope='module')
def corpus(tmp_path_factory):
  """18 clips: one actor, three sentences, six emotions."""
  return _cremad_sample.render(tmp_path_factory.mktemp('raw'), actors=1, **TINY)


@pytest.fixture
def raw(corpus, tmp_path):
  """A copy of the corpus that a test may damage."""
  return pathlib.Path(
    shutil.copytree(corpus, tmp_path / 'raw', copy_function=shutil.copy2)
  )


@pytest.fixture(scope='module')
def prepared(corpus, tmp_path_factory):
  data_dir = tmp_path_factory.mktemp('data')
  cremad.prepare(corpus, data_dir, **SMALL)
  return data_dir


def names(data_dir, split='train', **settings):
  """The clip names of a prepared split."""
  import tensorflow_datasets as tfds

  cremad.make(split, data_dir=data_dir, **(SMALL | settings))
  path = pathlib.Path(data_dir) / 'cremad' / cremad.VERSION
  rows = tfds.builder_from_directory(path).as_data_source(split)
  return [row['name'].decode() for row in rows]


def facts(data_dir):
  path = pathlib.Path(data_dir) / 'cremad' / cremad.VERSION / 'prepared.json'
  return json.loads(path.read_text())


def clip_of(folder, emotion, suffix):
  return sorted(folder.glob(f'*/*_{emotion}_*{suffix}'))[0]


# The rendered corpus.


def test_corpus_has_the_published_layout(corpus):
  wav = sorted(p.stem for p in (corpus / 'AudioWAV').iterdir())
  flv = sorted(p.stem for p in (corpus / 'VideoFlash').iterdir())
  assert wav == flv and len(wav) == 18
  for name in wav:
    actor, sentence, emotion, level = name.split('_')
    assert actor == '1001' and sentence in _cremad_sample.SENTENCES
    assert emotion in _cremad.CLASS_NAMES
    graded = sentence == 'IEO' and emotion != 'NEU'
    assert level in (('LO', 'MD', 'HI') if graded else ('XX',))


def test_corpus_has_the_published_codecs(corpus):
  rate, x_T = scipy.io.wavfile.read(clip_of(corpus, 'ANG', '.wav'))
  assert rate == 16000 and x_T.dtype == np.int16 and x_T.ndim == 1
  with av.open(str(clip_of(corpus, 'ANG', '.flv'))) as container:
    video, audio = container.streams.video[0], container.streams.audio[0]
    assert video.codec_context.name == 'flv'  # Sorenson H.263
    assert (video.width, video.height) == (96, 72)
    assert audio.codec_context.name.startswith('mp3')
    assert float(video.average_rate) == pytest.approx(29.97, abs=0.05)


def test_corpus_is_the_same_each_time_and_kept(corpus, tmp_path):
  again = _cremad_sample.render(tmp_path / 'again', actors=1, **TINY)
  files = sorted(p.relative_to(corpus) for p in corpus.rglob('*.*'))
  assert len(files) == 37
  for file in files:
    assert (again / file).read_bytes() == (corpus / file).read_bytes()
  before = {file: (again / file).stat().st_mtime_ns for file in files[:-1]}
  lost = clip_of(again, 'SAD', '.flv')
  lost.unlink()
  _cremad_sample.render(again, actors=1, **TINY)
  assert lost.read_bytes() == (corpus / lost.relative_to(again)).read_bytes()
  changed = [f for f, t in before.items() if (again / f).stat().st_mtime_ns > t]
  assert {file.stem for file in changed} <= {lost.stem}


def test_corpus_of_other_arguments_or_foreign_clips_is_refused(
  corpus, tmp_path
):
  with pytest.raises(ValueError, match='sample of other settings'):
    _cremad_sample.render(corpus, seed=1, actors=1, **TINY)
  (tmp_path / 'AudioWAV').mkdir()
  (tmp_path / 'AudioWAV' / '1001_DFA_ANG_XX.wav').touch()
  with pytest.raises(ValueError, match='no sample of ours'):
    _cremad_sample.render(tmp_path)
  with pytest.raises(ValueError, match='sentences=13'):
    _cremad_sample.render(tmp_path / 'new', sentences=13)


def test_both_modalities_of_the_corpus_carry_the_label(tmp_path):
  """Nearest class mean on new sentences of known actors beats chance, 1/6."""
  raw = _cremad_sample.render(tmp_path, actors=2, **(TINY | dict(sentences=6)))
  clips, _ = _cremad.scan(raw, 'skip')
  labels = np.array([_cremad.label(clip) for clip in clips])
  sentence = np.array([clip.split('_')[1] for clip in clips])
  seen = np.isin(sentence, _cremad_sample.SENTENCES[:4])
  item = [_prepare.Item(clip, '', files) for clip, files in clips.items()]
  rows = [_cremad.encode(i, audio='fbank', frames=1, size=16) for i in item]
  video = [_cremad._pixels(row['visual_0'].tobytes()) for row in rows]
  views = {
    'audio': [row['audio'].astype(float)[:28].mean(0) for row in rows],
    'visual': [image.astype(float) for image in video],
  }
  for view in views.values():
    x_ND = np.stack(view).reshape(len(labels), -1)
    for actor in range(2):  # without the actor's own face and voice
      own = np.arange(len(labels)) // 36 == actor
      x_ND[own] -= x_ND[own & seen].mean(0)
    mean_CD = [x_ND[seen & (labels == c)].mean(0) for c in range(6)]
    distance_NC = ((x_ND[:, None] - np.stack(mean_CD)[None]) ** 2).sum(2)
    accuracy = (distance_NC.argmin(1) == labels)[~seen].mean()
    assert accuracy > 0.4


# Preparing and reading.


def test_batches_are_what_the_files_hold(corpus, prepared):
  source = cremad.make('train', data_dir=prepared, **SMALL)
  assert source.modalities == ('audio', 'visual')
  assert source.class_names == ('NEU', 'HAP', 'SAD', 'FEA', 'DIS', 'ANG')
  rows_B = np.array([3, 0, 5])
  batch = source.take(rows_B)
  assert batch['audio'].shape == (3, 257, 188, 1)
  assert batch['audio'].dtype == np.float32
  assert batch['visual'].shape == (3, 2, 32, 32, 3)
  assert batch['visual'].dtype == np.uint8
  assert batch['label'].dtype == np.int32
  assert batch['present']['audio'].all() and batch['present']['visual'].all()
  clips = names(prepared)
  assert len(clips) == source.size == 6
  for i, row in enumerate(rows_B):
    wav = corpus / 'AudioWAV' / f'{clips[row]}.wav'
    flv = corpus / 'VideoFlash' / f'{clips[row]}.flv'
    x_T = np.tile(_media.audio(wav, 22050), 12)[:66150]
    want_FT = _spectrogram.log_spectrogram(np.clip(x_T, -1, 1))
    np.testing.assert_allclose(
      batch['audio'][i, ..., 0], want_FT, atol=0.01, rtol=0.001
    )
    difference = batch['visual'][i] - _media.frames(flv, 2, 32).astype(float)
    assert np.abs(difference).mean() < 6  # JPEG
    emotion = clips[row].split('_')[2]
    assert source.class_names[batch['label'][i]] == emotion


def test_fbank_variant(corpus, tmp_path):
  kind = dict(audio='fbank', **SMALL)
  cremad.prepare(corpus, tmp_path, **kind)
  batch = cremad.make('test', data_dir=tmp_path, **kind).take(np.arange(2))
  assert batch['audio'].shape == (2, 1024, 128, 1)


def test_splits_are_disjoint_and_complete(prepared):
  found = {split: names(prepared, split) for split in _splits.SPLITS}
  together = sum(found.values(), [])
  assert len(together) == len(set(together)) == 18
  for split in ('validation', 'test'):  # one of each class
    assert len({clip.split('_')[2] for clip in found[split]}) == 6


def test_take_is_safe_in_threads_and_pure(prepared):
  source = cremad.make('train', data_dir=prepared, **SMALL)
  want = [source.take(np.array([i])) for i in range(6)]
  with concurrent.futures.ThreadPoolExecutor(8) as pool:
    rows = [np.array([i % 6]) for i in range(48)]
    for i, got in enumerate(pool.map(source.take, rows)):
      for key in ('audio', 'visual', 'label'):
        np.testing.assert_array_equal(got[key], want[i % 6][key])


def test_preparing_and_reading_need_no_tensorflow(corpus, tmp_path):
  code = f"""
    import sys
    from mmjax.data import cremad
    kind = dict(size=16, frames=1)
    cremad.prepare({str(corpus)!r}, {str(tmp_path)!r}, **kind)
    assert 'av' in sys.modules
    batch = cremad.make('test', data_dir={str(tmp_path)!r}, **kind).take([0])
    assert batch['visual'].shape == (1, 1, 16, 16, 3)
    assert 'tensorflow' not in sys.modules
  """
  subprocess.run(
    [sys.executable, '-c', textwrap.dedent(code)], cwd=ROOT, check=True
  )


def test_reading_needs_no_pyav(prepared):
  code = f"""
    import sys
    sys.modules['av'] = None
    from mmjax.data import cremad
    kind = dict(size=32, frames=2)
    cremad.make('test', data_dir={str(prepared)!r}, **kind).take([0])
  """
  subprocess.run(
    [sys.executable, '-c', textwrap.dedent(code)], cwd=ROOT, check=True
  )


def test_two_preparations_give_the_same_files(corpus, prepared, tmp_path):
  cremad.prepare(corpus, tmp_path, workers=1, **SMALL)
  folder = pathlib.Path('cremad') / cremad.VERSION
  for path in (prepared / folder).iterdir():
    assert (tmp_path / folder / path.name).read_bytes() == path.read_bytes()


def test_work_folder_and_lock_are_gone_and_facts_are_noted(prepared):
  assert [p.name for p in prepared.iterdir()] == ['cremad']
  noted = facts(prepared)
  assert noted['settings']['frames'] == 2
  assert noted['counts'] == {'train': 6, 'validation': 6, 'test': 6}
  assert noted['sources']['files'] == 36 and not noted['skipped']
  assert str(prepared) not in json.dumps(noted)


# What is absent, damaged, or other than asked for.


def test_unprepared_data_name_the_two_commands(tmp_path):
  with pytest.raises(ValueError, match='no prepared') as error:
    cremad.make('train', data_dir=tmp_path)
  text = str(error.value)
  assert '--mode=prepare --config=configs/mla_cremad.py --raw_dir=' in text
  assert 'python -m mmjax.main --config=configs/mla_cremad.py:sample' in text


@pytest.mark.parametrize(
  'other',
  [
    dict(frames=3),
    dict(size=64),
    dict(audio='fbank'),
    dict(split_by='actor'),
    dict(split_seed=1),
    dict(validation_fraction=0.2),
    dict(on_missing='present'),
  ],
)
def test_other_settings_are_told(corpus, prepared, other):
  settings = SMALL | other
  (key, value) = next(iter(other.items()))
  told = re.escape(f'wanted {value!r}')
  with pytest.raises(ValueError, match=rf'{key}: prepared .*{told}'):
    cremad.make('train', data_dir=prepared, **settings)
  with pytest.raises(ValueError, match='overwrite=True'):
    cremad.prepare(corpus, prepared, **settings)


def test_overwrite_replaces(corpus, tmp_path):
  cremad.prepare(corpus, tmp_path, **SMALL)
  cremad.prepare(corpus, tmp_path, size=16, frames=1, overwrite=True)
  source = cremad.make('train', data_dir=tmp_path, size=16, frames=1)
  assert source.take(np.array([0]))['visual'].shape == (1, 1, 16, 16, 3)
  assert [p.name for p in tmp_path.iterdir()] == ['cremad']


def test_truncated_shard_is_told_and_redone(corpus, tmp_path):
  done = cremad.prepare(corpus, tmp_path, **SMALL)
  shard = next(done.path.glob('*train*'))
  shard.write_bytes(shard.read_bytes()[:1000])
  with pytest.raises(ValueError, match='damaged: .*train.* 1000 bytes'):
    cremad.make('train', data_dir=tmp_path, **SMALL)
  cremad.prepare(corpus, tmp_path, **SMALL)
  assert cremad.make('train', data_dir=tmp_path, **SMALL).size == 6


@pytest.mark.parametrize(
  'wrong, text',
  [
    (dict(audio='mfcc'), "audio='mfcc' is not one of"),
    (dict(split_by='speaker'), "split_by='speaker' is not one of"),
    (dict(on_missing='zero'), "on_missing='zero' is not one of"),
    (dict(frames=0), 'at least 1'),
    (dict(split_by='file'), "go with split_by='file'"),
    (dict(split_by='file', split_files=('no.csv',)), 'no.csv.* not a file'),
    (dict(test_fraction=1.5), r'1.5: it is in \[0, 1\)'),
    (dict(on_corrupt='ignore'), "'skip' or 'stop'"),
  ],
)
def test_wrong_arguments_are_named(corpus, tmp_path, wrong, text):
  with pytest.raises(ValueError, match=text):
    cremad.prepare(corpus, tmp_path, **wrong)


def test_unknown_split_is_named(corpus, prepared, tmp_path):
  with pytest.raises(ValueError, match="no split 'dev'"):
    cremad.make('dev', data_dir=prepared, **SMALL)
  settings = SMALL | dict(validation_fraction=0.0)
  done = cremad.prepare(corpus, tmp_path, **settings)
  assert done.counts == {'train': 12, 'test': 6}
  # Asked to leave validation out, it is there, but empty.
  assert cremad.make('validation', data_dir=tmp_path, **settings).size == 0


def test_a_folder_that_is_no_corpus_is_named(tmp_path):
  with pytest.raises(ValueError, match='neither AudioWAV/'):
    cremad.prepare(tmp_path, tmp_path / 'data')


def test_clips_without_a_file_are_skipped_or_marked(raw, tmp_path):
  wav, flv = clip_of(raw, 'NEU', '.wav'), clip_of(raw, 'FEA', '.flv')
  wav.unlink()
  flv.unlink()
  (raw / 'AudioWAV' / 'notes.wav').touch()
  done = cremad.prepare(raw, tmp_path / 'skip', **SMALL)
  assert sum(done.counts.values()) == 16
  assert done.skipped == {
    'notes': 'the name is not ACTOR_SENTENCE_EMOTION_LEVEL',
    wav.stem: 'has no audio file',
    flv.stem: 'has no video file',
  }
  kind = SMALL | dict(on_missing='present')
  cremad.prepare(raw, tmp_path / 'present', **kind)
  lacking = {'audio': [], 'visual': []}
  for split in _splits.SPLITS:
    source = cremad.make(split, data_dir=tmp_path / 'present', **kind)
    batch = source.take(np.arange(source.size))
    clips = names(tmp_path / 'present', split, **kind)
    for modality, lost in lacking.items():
      there_B = batch['present'][modality]
      lost += [clip for clip, there in zip(clips, there_B) if not there]
      assert (batch[modality][~there_B] == 0).all()
      assert (batch[modality][there_B] != 0).any()
  assert lacking == {'audio': [wav.stem], 'visual': [flv.stem]}


def test_corrupt_files_are_skipped_or_stop(raw, tmp_path, shared):
  flv, wav = clip_of(raw, 'SAD', '.flv'), clip_of(raw, 'DIS', '.wav')
  shutil.copyfile(shared / 'data/media_samples/corrupted.mp4', flv)
  wav.write_bytes(b'RIFF')
  with pytest.raises(ValueError, match="cannot be decoded.*on_corrupt='skip'"):
    cremad.prepare(raw, tmp_path / 'd', on_corrupt='stop', **SMALL)
  assert not (tmp_path / 'd' / 'cremad').exists()
  done = cremad.prepare(raw, tmp_path / 'd', **SMALL)
  assert sum(done.counts.values()) == 16
  assert set(done.skipped) == {flv.stem, wav.stem}
  assert 'video cannot be decoded' in facts(tmp_path / 'd')['skipped'][flv.stem]


def test_a_split_without_examples_is_an_error(raw, tmp_path):
  for flv in (raw / 'VideoFlash').iterdir():
    flv.write_text('version https://git-lfs.github.com/spec/v1')
  with pytest.raises(ValueError, match='no example is left.*git lfs pull'):
    cremad.prepare(raw, tmp_path / 'd', **SMALL)
  with pytest.raises(ValueError, match='left for validation and test, of 18'):
    cremad.prepare(raw, tmp_path / 'd', split_by='actor', **SMALL)
  assert not (tmp_path / 'd' / 'cremad').exists()


def test_changed_raw_files_are_told(raw, tmp_path):
  cremad.prepare(raw, tmp_path / 'd', **SMALL)
  clip_of(raw, 'SAD', '.flv').unlink()
  with pytest.warns(UserWarning, match='raw files have changed'):
    cremad.prepare(raw, tmp_path / 'd', **SMALL)


# Killed, locked, full.

SLOW = """
import time
from mmjax.data import _media, cremad
frames = _media.frames
def slow(*args):
  time.sleep(.2)
  return frames(*args)
_media.frames = slow
cremad.prepare({raw!r}, {data!r}, workers=1, size=32, frames=2)
"""


def start_slow(raw, data, at_least):
  """Starts a preparation; returns when it has encoded a few clips."""
  code = SLOW.format(raw=str(raw), data=str(data))
  process = subprocess.Popen(
    [sys.executable, '-c', code], cwd=ROOT, stderr=subprocess.DEVNULL
  )
  for _ in range(600):
    if len(list(data.glob('cremad.work/*.npz'))) >= at_least:
      return process
    assert process.poll() is None
    time.sleep(0.05)
  raise AssertionError('the preparation does not get on')


def test_kill_and_resume(corpus, prepared, tmp_path, monkeypatch):
  process = start_slow(corpus, tmp_path, 4)
  process.send_signal(signal.SIGKILL)
  process.wait()
  assert (tmp_path / 'cremad.lock').exists()  # of a dead process
  assert not (tmp_path / 'cremad').exists()
  kept = len(list(tmp_path.glob('cremad.work/*.npz')))
  encode, calls = _cremad.encode, []

  def counted(item, **kwargs):
    calls.append(item.name)
    return encode(item, **kwargs)

  monkeypatch.setattr(_cremad, 'encode', counted)
  cremad.prepare(corpus, tmp_path, **SMALL)
  assert kept >= 4 and len(calls) == 18 - kept
  folder = pathlib.Path('cremad') / cremad.VERSION
  for path in (prepared / folder).iterdir():
    assert (tmp_path / folder / path.name).read_bytes() == path.read_bytes()
  assert [p.name for p in tmp_path.iterdir()] == ['cremad']


def test_a_changed_file_is_encoded_again(raw, tmp_path, monkeypatch):
  with monkeypatch.context() as patch:
    patch.setattr(_prepare, '_write', lambda *_: 1 / 0)  # dies before writing
    with pytest.raises(ZeroDivisionError):
      cremad.prepare(raw, tmp_path / 'd', **SMALL)
  changed = clip_of(raw, 'SAD', '.wav')
  shutil.copyfile(clip_of(raw, 'ANG', '.wav'), changed)
  os.utime(changed, ns=(1, 1))
  encode, calls = _cremad.encode, []

  def counted(item, **kwargs):
    calls.append(item.name)
    return encode(item, **kwargs)

  monkeypatch.setattr(_cremad, 'encode', counted)
  cremad.prepare(raw, tmp_path / 'd', **SMALL)
  assert calls == [changed.stem]


def test_the_second_process_is_told_or_waits(corpus, tmp_path):
  process = start_slow(corpus, tmp_path, 1)
  try:
    with pytest.raises(BlockingIOError, match=f'process {process.pid} ') as e:
      cremad.prepare(corpus, tmp_path, **SMALL)
    assert 'cremad.lock' in str(e.value) and 'another data_dir' in str(e.value)
    done = cremad.prepare(corpus, tmp_path, wait=True, **SMALL)
    assert process.wait(10) == 0
  finally:
    process.kill()
    process.wait()
  assert sum(done.counts.values()) == 18
  assert [p.name for p in tmp_path.iterdir()] == ['cremad']


def test_full_disk_while_decoding(corpus, tmp_path, monkeypatch):
  savez, calls = np.savez, []

  def full(file, **arrays):
    calls.append(file)
    if len(calls) > 5:
      file.write(b'half')
      raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    savez(file, **arrays)

  with monkeypatch.context() as patch:
    patch.setattr(np, 'savez', full)
    with pytest.raises(OSError, match='full.*5 of 18 examples') as error:
      cremad.prepare(corpus, tmp_path, workers=1, **SMALL)
  assert error.value.errno == errno.ENOSPC
  left = [path.suffix for path in (tmp_path / 'cremad.work').iterdir()]
  assert left == ['.npz'] * 5
  cremad.prepare(corpus, tmp_path, **SMALL)
  assert cremad.make('train', data_dir=tmp_path, **SMALL).size == 6


@pytest.mark.parametrize('ahead', [True, False])
def test_full_disk_while_writing(corpus, tmp_path, monkeypatch, ahead):
  text = 'write() failed: No space left on device'  # as array_record says it

  def full(*_args, **_kwargs):
    (tmp_path / 'cremad.work' / 'tfds' / 'half').mkdir(parents=True)
    raise RuntimeError(text)

  with monkeypatch.context() as patch:
    if ahead:
      usage = shutil.disk_usage(tmp_path)._replace(free=10_000)
      patch.setattr(_disk.shutil, 'disk_usage', lambda _: usage)
    else:
      patch.setattr(_prepare, '_builder', full)
    with pytest.raises(OSError, match='full.*18 of 18 examples'):
      cremad.prepare(corpus, tmp_path, **SMALL)
  assert not (tmp_path / 'cremad').exists()
  assert not (tmp_path / 'cremad.work' / 'tfds').exists()
  cremad.prepare(corpus, tmp_path, **SMALL)
  assert cremad.make('test', data_dir=tmp_path, **SMALL).size == 6


# Splits.


@pytest.fixture(scope='module')
def votes(shared):
  path = shared / 'data' / 'cremad_votes' / 'data.npz'
  with np.load(path, allow_pickle=False) as data:
    return {k: data[k] for k in ('clip', 'split_ogm', 'split_mla')}


def test_stratified_draw_of_the_real_clips(votes):
  labels = {str(c): _cremad.label(str(c)) for c in votes['clip']}
  splits = _splits.draw(labels, test=0.1, validation=0.1, seed=0)
  counts = Counter(splits.values())
  assert counts['test'] == 744 and sum(counts.values()) == 7442
  assert counts['validation'] == pytest.approx(670, abs=3)
  share = Counter(labels[c] for c, s in splits.items() if s == 'test')
  assert sorted(share.values()) == [109] + [127] * 5
  assert splits == _splits.draw(
    dict(reversed(labels.items())), test=0.1, validation=0.1, seed=0
  )
  assert splits != _splits.draw(labels, test=0.1, validation=0.1, seed=1)


def test_actor_draw_of_the_real_clips(votes):
  actors = {str(c): str(c).split('_')[0] for c in votes['clip']}
  splits = _splits.draw_groups(actors, test=0.2, validation=0.1, seed=3)
  of = {
    s: {actors[c] for c in splits if splits[c] == s} for s in _splits.SPLITS
  }
  assert not of['train'] & of['test'] and not of['validation'] & of['test']
  assert not of['train'] & of['validation']
  assert [len(of[s]) for s in _splits.SPLITS] == [66, 7, 18]


EMOTIONS = dict(
  NEU='Neutral', HAP='Happy', SAD='Sad', FEA='Fear', DIS='Disgust', ANG='Anger'
)


def write_lists(votes, tmp_path, form):
  """Writes a published split in the form of its repository, or as one file."""
  field = 'split_mla' if form == 'mla' else 'split_ogm'
  lines = {'train': [], 'test': []}
  for clip, split in zip(votes['clip'], votes[field]):
    emotion = str(clip).split('_')[2]
    line = {
      'ogm': f'{clip},{emotion}',
      'mla': f'{clip}.flv {EMOTIONS[emotion]}',
      'one': f'{clip},{"test" if split else "train"}',
    }[form]
    lines['test' if split else 'train'].append(line)
  if form == 'one':
    path = tmp_path / 'splits.csv'
    path.write_text('\n'.join(['clip,split', *lines['train'], *lines['test']]))
    return (path,)
  for split, rows in lines.items():
    (tmp_path / f'{split}.txt').write_text('\n'.join(rows) + '\n')
  return tmp_path / 'train.txt', tmp_path / 'test.txt'


@pytest.mark.parametrize('form', ['ogm', 'mla', 'one'])
def test_published_lists(votes, tmp_path, form):
  splits = _splits.read(write_lists(votes, tmp_path, form))
  assert Counter(splits.values()) == {'train': 6698, 'test': 744}
  field = votes['split_mla' if form == 'mla' else 'split_ogm']
  for clip, split in zip(votes['clip'], field):
    assert splits[str(clip)] == ('test' if split else 'train')


def test_prepare_by_list(corpus, tmp_path):
  clips = sorted(p.stem for p in (corpus / 'AudioWAV').iterdir())
  train, test = tmp_path / 'train.csv', tmp_path / 'test.csv'
  train.write_text('\n'.join([*clips[:13], '1099_DFA_ANG_XX,ANG']))
  test.write_text('\n'.join(clips[13:17]))
  kind = SMALL | dict(split_by='file', split_files=(train, test))
  done = cremad.prepare(corpus, tmp_path / 'd', **kind)
  assert done.skipped == {
    clips[17]: 'is in no split file',
    '1099_DFA_ANG_XX': 'is not in the folder',
  }
  found = {s: names(tmp_path / 'd', s, **kind) for s in _splits.SPLITS}
  assert sorted(found['test']) == clips[13:17]
  assert sorted(found['train'] + found['validation']) == clips[:13]
  assert found['validation']
  test.write_text('\n'.join(clips[14:17]))
  with pytest.raises(ValueError, match='split_files: prepared .*test.csv'):
    cremad.make('train', data_dir=tmp_path / 'd', **kind)


@pytest.mark.parametrize(
  'texts, message',
  [
    (['a,train\nb,dev1'], "line 2: 'dev1' is no split"),
    (['a,train\na,test'], "'a' is in 'test' and in 'train'"),
    (['a', 'b\na.flv'], "line 2: 'a' is in 'test' and in 'train'"),
    (['a'] * 4, 'give one file'),
  ],
)
def test_bad_lists_are_named(tmp_path, texts, message):
  files = []
  for i, text in enumerate(texts):
    files.append(tmp_path / f'{i}.csv')
    files[-1].write_text(text)
  with pytest.raises(ValueError, match=message):
    _splits.read(files)


def test_lists_of_three_files_headers_and_comments(tmp_path):
  files = [tmp_path / f'{i}.csv' for i in range(3)]
  for file, text in zip(files, ('clip,y\na b\n\n# x\nc', 'd/e.wav', 'f\tg')):
    file.write_text(text)
  want = dict(a='train', c='train', e='validation', f='test')
  assert _splits.read(files) == want
