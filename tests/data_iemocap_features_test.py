"""IEMOCAP's feature pickles: dialogues, widths, parts, and what is refused."""

import pickle

import numpy as np
import pytest

from mmjax.data import iemocap_features

WIDTHS = dict(text_width=5, audio_width=3, visual_width=4)


def content(**changes):
  """Four dialogues of two utterances; changes by place in the tuple."""
  dialogues = ['Ses01F_a', 'Ses02F_a', 'Ses03F_a', 'Ses05F_a']
  rng = np.random.default_rng(0)
  fields = [
    {d: [f'{d}_F000', f'{d}_M001'] for d in dialogues},
    {d: ['F', 'M'] for d in dialogues},
    {d: [i, 5 - i] for i, d in enumerate(dialogues)},
    *(
      {d: list(rng.standard_normal((2, width))) for d in dialogues}
      for width in (5, 3, 4)
    ),
    {d: ['one', 'two'] for d in dialogues},
    set(dialogues[:3]),
    [dialogues[3]],
  ]
  for place, value in changes.items():
    fields[int(place[1:])] = value
  return tuple(fields)


def write(folder, value, protocol=2):
  path = folder / 'IEMOCAP_features.pkl'
  path.write_bytes(pickle.dumps(value, protocol))
  return folder


def scan(raw, **options):
  return iemocap_features.corpus(**{**WIDTHS, **options}).scan(raw)


def test_examples_are_utterances(tmp_path):
  value = content()
  found = scan(write(tmp_path, value))
  assert len(found.entries) == 8 and not found.skipped
  entry = found.entries['Ses02F_a_M001']
  assert (entry.label, entry.split, entry.group) == (4, 'train', 'Ses02F_a')
  assert found.entries['Ses05F_a_F000'].split == 'test'
  for m, place in (('text', 3), ('audio', 4), ('visual', 5)):
    want = value[place]['Ses02F_a'][1].astype(np.float32)
    np.testing.assert_array_equal(entry.parts[m].value, want)


def test_sample(tmp_path):
  made = iemocap_features.make('train', data_dir=tmp_path, sample=True)
  parts = {
    split: iemocap_features.make(split, data_dir=tmp_path)
    for split in ('train', 'validation', 'test')
  }
  assert [p.size for p in parts.values()] == [60, 12, 24] and made.size == 60
  assert made.class_names == (
    *('happy', 'sad', 'neutral', 'angry', 'excited', 'frustrated'),
  )
  for source in parts.values():
    batch = source.take(np.arange(source.size))
    assert batch['text'].shape == batch['audio'].shape == (source.size, 100)
    assert batch['visual'].shape == (source.size, 512)
    assert batch['visual'].dtype == np.float32
    assert len(set(np.bincount(batch['label']).tolist())) == 1


def test_lists_and_dialogues(tmp_path):
  found = scan(write(tmp_path, content(p7=['Ses01F_a', 'Ses09F_a'])))
  assert found.skipped['Ses09F_a'] == 'is not in the file'
  assert found.skipped['Ses02F_a'] == 'is in no list'
  assert {e.group for e in found.entries.values()} == {'Ses01F_a', 'Ses05F_a'}
  names = {d: ['same', 'same'] for d in content()[0]}
  found = scan(write(tmp_path, content(p0=names)))
  assert len(found.entries) == 1 and len(found.skipped) == 7
  assert set(found.skipped.values()) == {'its name is taken'}


def test_bad_content_is_named(tmp_path):
  def says(match, value, **options):
    with pytest.raises(ValueError, match=match):
      scan(write(tmp_path, value), **options)

  says('features.pkl is not the tuple of nine', content()[:8])
  says('is not the tuple of nine', (1,) * 9)
  says("'Ses01F_a' is of both parts", content(p8=['Ses01F_a']))
  says('text have 5 numbers, not 7: give text_width=5', content(), text_width=7)
  short = {d: [0] for d in content()[0]}
  says("'Ses01F_a' with 2 utterances, a field has 1", content(p2=short))
  says('a field has nothing', content(p4={}))
  words = {d: ['a', 'b'] for d in content()[0]}
  says('are no numbers', content(p3=words))
  with pytest.raises(ValueError, match='lacks 1 of 1 .*IEMOCAP_features.pkl'):
    scan(tmp_path / 'nowhere')
  (tmp_path / 'IEMOCAP_features.pkl').write_bytes(b'cos\nsystem\n.')
  with pytest.raises(ValueError, match='features.pkl asks for os.system'):
    scan(tmp_path)
