"""CMU-MOSI and CMU-MOSEI: lengths, blank modalities, tasks, what is refused."""

import pickle

import numpy as np
import pytest

from mmjax.data import cmu_mosei

DIMS = {'text': 768, 'audio': 5, 'vision': 20}


def split(scores, prefix, **changes):
  """Clips of MOSI of which the first step is 1, the second 2 .. up to 4."""
  N = len(scores)
  fields = {
    field: np.zeros((N, 50 if field == 'text' else 60, width), np.float64)
    for field, width in DIMS.items()
  }
  for values in fields.values():
    values[:, :4] = np.arange(1, 5)[:, None]
  bert = np.zeros((N, 3, 50))
  bert[:, :2, :6] = 1
  return {
    **fields,
    'id': [f'{prefix}$_${i}' for i in range(N)],
    'raw_text': ['said'] * N,
    'text_bert': bert,
    'regression_labels': np.array(scores, np.float64),
    'audio_lengths': [4] * N,
    'vision_lengths': [4] * N,
    **changes,
  }


def content(**train):
  scores = [-3, -0.6, 0, 0.4, 1.5, 3]
  return {
    'train': split(scores, 'a', **train),
    'valid': split([-1.0, 1], 'b'),
    'test': split([2, -2.0], 'c'),
  }


def write(folder, value, name='unaligned_50.pkl', inner='MOSI/Processed'):
  path = folder / inner
  path.mkdir(parents=True, exist_ok=True)
  (path / name).write_bytes(pickle.dumps(value, 4))
  return folder


def scan(raw, **options):
  return cmu_mosei.corpus(which='mosi', **options).scan(raw)


def steps(found, clip, m):
  return found.entries[clip].parts[m].value[:, 0].tolist()


@pytest.mark.parametrize('inner', ['MOSI/Processed', 'MOSI', 'Processed', '.'])
def test_parts_and_groups(tmp_path, inner):
  found = scan(write(tmp_path, content(), inner=inner))
  assert {n: e.split for n, e in found.entries.items()} == {
    **dict.fromkeys([f'a$_${i}' for i in range(6)], 'train'),
    **dict.fromkeys(['b$_$0', 'b$_$1'], 'validation'),
    **dict.fromkeys(['c$_$0', 'c$_$1'], 'test'),
  }
  assert found.entries['b$_$1'].group == 'b'
  assert steps(found, 'a$_$0', 'audio') == [1, 2, 3, 4]
  assert steps(found, 'a$_$0', 'text') == [1, 2, 3, 4, 0, 0]  # as its mask


@pytest.mark.parametrize(
  'task, labels, names',
  [
    ('binary', [0, 0, 1, 1, 1, 1], ('negative', 'not negative')),
    ('nonzero', [0, 0, None, 1, 1, 1], ('negative', 'positive')),
    ('three', [0, 0, 1, 2, 2, 2], ('negative', 'neutral', 'positive')),
    ('seven', [0, 2, 3, 3, 5, 6], ('-3', '-2', '-1', '+0', '+1', '+2', '+3')),
  ],
)
def test_tasks(tmp_path, task, labels, names):
  found = scan(write(tmp_path, content()), task=task)
  got = [found.entries.get(f'a$_${i}') for i in range(6)]
  assert [entry and entry.label for entry in got] == labels
  assert cmu_mosei.corpus(task=task).class_names == names
  assert list(found.skipped) == (['a$_$2'] if task == 'nonzero' else [])


def test_lengths(tmp_path):
  raw = content(audio_lengths=[2, 1, 60, 4, 4, 4])
  audio, vision = raw['train']['audio'], raw['train']['vision']
  audio[1] = np.roll(audio[1], 1, axis=0)  # a first step of zeros: counted 1
  vision[0] = np.roll(vision[0], 56, axis=0)  # filled up in front
  vision[1, 1] = 0
  audio[3, 1, 0], audio[3, 2, 0] = -np.inf, np.nan
  vision[4] = 0
  found = scan(write(tmp_path, raw))
  assert steps(found, 'a$_$0', 'audio') == [1, 2]
  assert steps(found, 'a$_$1', 'audio') == [1, 2, 3, 4]
  assert len(steps(found, 'a$_$2', 'audio')) == 60
  assert steps(found, 'a$_$0', 'visual') == [1, 2, 3, 4]
  assert steps(found, 'a$_$1', 'visual') == [1, 0, 3, 4]
  assert steps(found, 'a$_$3', 'audio') == [1, 0, 0, 4]
  assert steps(found, 'a$_$4', 'visual') == [0]
  lacking = scan(tmp_path, blank='missing').entries['a$_$4']
  assert set(lacking.parts) == {'text', 'audio'}


def test_aligned_modalities_stay_beside_each_other(tmp_path):
  raw = content()
  train = raw['train']
  with pytest.raises(ValueError, match='train is not aligned: it has .50, 60'):
    scan(write(tmp_path, raw, 'aligned_50.pkl'), aligned=True)
  for part in raw.values():
    del part['audio_lengths'], part['vision_lengths']
    for field in ('audio', 'vision'):
      part[field] = part[field][:, :50]
  train['audio'][0] = np.roll(train['audio'][0], 3, axis=0)
  found = scan(write(tmp_path, raw, 'aligned_50.pkl'), aligned=True)
  assert steps(found, 'a$_$0', 'text') == [1, 2, 3, 4, 0, 0, 0]
  assert steps(found, 'a$_$0', 'audio') == [0, 0, 0, 1, 2, 3, 4]
  with pytest.raises(ValueError, match='lacks 1 of 1 .*MOSI/Processed/unal'):
    scan(tmp_path)


def test_sample(tmp_path):
  options = dict(which='mosi', max_steps=32)
  made = cmu_mosei.make('train', data_dir=tmp_path, sample=True, **options)
  sizes = [
    cmu_mosei.make(s, data_dir=tmp_path, **options).size
    for s in ('train', 'validation', 'test')
  ]
  assert sizes == [28, 7, 14]
  batch = made.take(np.arange(28))
  assert np.bincount(batch['label']).tolist() == [12, 16]
  for m, T, D in (('text', 50, 768), ('audio', 32, 5), ('visual', 32, 20)):
    assert batch[m].values.shape == (28, T, D)
    assert batch[m].values.dtype == np.float32
    assert batch['present'][m].all()
  text = sorted(batch['text'].mask.sum(1).tolist())
  assert text == list(range(8, 36))
  assert sorted(batch['audio'].mask.sum(1).tolist())[:3] == [20, 21, 22]
  assert (tmp_path / 'cmu_mosi').is_dir()
  kinds = cmu_mosei.corpus().kinds
  assert kinds['audio'].feature.shape == (None, 74)
  assert kinds['visual'].feature.shape == (None, 35)


def test_bad_content_is_named(tmp_path):
  def says(match, value):
    with pytest.raises(ValueError, match=f'unaligned_50.pkl.*{match}'):
      scan(write(tmp_path, value))

  says("is not MMSA's", [1])
  says("is not MMSA's", {'train': {}})
  says('train has no id, ', content() | {'train': {}})
  says('train has no audio, vis', content() | {'train': {
    k: v for k, v in split([1], 'a').items() if k in ('id', 'text', 'regression_labels')
  }})  # fmt: skip
  says('6 scores, but 5 of id', content(id=['x'] * 5))
  says('not .N, T, 5., as in mosi', content(audio=np.zeros((6, 50, 74))))
  says('text_bert of train is not .N, 3, 50.', content(text_bert=[[1]] * 6))
  says('not in -3 .. 3', content(regression_labels=[9] * 6))
  found = scan(write(tmp_path, content(id=['x'] * 6)))
  assert list(found.skipped.values()) == ['its name is taken'] * 5
  with pytest.raises(ValueError, match="which='mose'"):
    cmu_mosei.corpus(which='mose')
  with pytest.raises(ValueError, match="task='two'"):
    cmu_mosei.corpus(task='two')
  with pytest.raises(ValueError, match="blank='drop'"):
    cmu_mosei.corpus(blank='drop')
