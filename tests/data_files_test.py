"""Any table of files, to batches."""

import importlib.util
import io
import json
import sys

import numpy as np
import PIL.Image
import pytest

from mmjax import base
from mmjax.data import files

TEXT = dict(words=dict(kind='text'))
MIXED = dict(
  sound=dict(kind='waveform', column='clip', seconds=0.5),
  film=dict(kind='frames', column='clip', size=16, frames=2),
  body=dict(kind='numbers', column=('age', 'height')),
  grid=dict(kind='array', shape=(2, 3)),
  path=dict(kind='steps', shape=(3,), longest=5),
)


def table(folder, text, name='table.csv'):
  (folder / name).write_text(text)
  return folder


def scan(folder, **options):
  return files.corpus(**{'columns': TEXT} | options).scan(folder)


def test_sample_of_the_default(tmp_path):
  sources = [
    files.make(split, data_dir=tmp_path, sample=True)
    for split in ('train', 'validation', 'test')
  ]
  assert [s.size for s in sources] == [18, 6, 6]
  assert sources[0].class_names == ('ash', 'birch', 'cedar')
  batch = sources[0].take(np.array([3, 1]))
  assert batch['image'].shape == (2, 64, 64, 3)
  assert isinstance(batch['text'], base.Ragged)


def test_every_other_kind_and_parquet(tmp_path):
  pytest.importorskip('av', reason='needs PyAV')
  pytest.importorskip('pyarrow', reason='needs pyarrow')
  options = dict(
    columns=MIXED, table='a.parquet', dataset='mixed', class_names=('x', 'y')
  )
  files.prepare(None, tmp_path, sample=True, **options)
  source = files.make('train', data_dir=tmp_path, **options)
  assert source.class_names == ('x', 'y') and source.size == 12
  assert (tmp_path / 'mixed').is_dir()
  batch = source.take(np.arange(12))
  assert batch['sound'].values.shape == (12, 8000)
  assert batch['film'].shape == (12, 2, 16, 16, 3)
  assert batch['body'].shape == (12, 2)
  assert batch['grid'].shape == (12, 2, 3) and batch['grid'].dtype == np.float32
  assert batch['path'].values.shape == (12, 5, 3)
  lengths = batch['path'].mask.sum(1)
  np.testing.assert_array_equal(lengths, 4 + batch['label'])
  assert (np.abs(batch['body'].mean(1) - batch['label']) < 1).all()


def test_labels_splits_and_what_is_left_out(tmp_path):
  lines = (
    'words,label,split\na,10,train\nb,2,dev\nc,2,Test\n,2,test\nd,,train\n'
  )
  found = scan(table(tmp_path, '\ufeff' + lines))
  assert found.class_names == ('2', '10')
  got = {n: (e.label, e.split) for n, e in found.entries.items()}
  assert got == {
    'row0000001': (1, 'train'),
    'row0000002': (0, 'validation'),
    'row0000003': (0, 'test'),
    'row0000004': (0, 'test'),
  }
  assert not found.entries['row0000004'].parts
  assert found.skipped == {'row0000005': 'has no label'}
  assert not any(
    e.split for e in scan(tmp_path, split_column='').entries.values()
  )
  found = scan(tmp_path, class_names=(2,))
  assert found.class_names == ('2',)
  assert found.entries['row0000001'].label == -1


def test_files_are_relative_to_the_raw_folder(tmp_path):
  (tmp_path / 'a').mkdir()
  (tmp_path / 'a/1.npy').write_bytes(b'')
  columns = dict(x=dict(kind='array', shape=(2,)))
  found = scan(
    table(tmp_path, 'x\tlabel\na/1.npy\tu\na/2.npy\tu\n', 't.tsv'),
    columns=columns,
    table='t.tsv',
  )
  assert found.entries['row0000001'].parts['x'].file == tmp_path / 'a/1.npy'
  assert found.skipped == {'row0000002': 'its x is not in the folder'}


def test_groups_stay_together(tmp_path):
  lines = [f'w{i},{"uv"[i % 2]},p{i // 4}' for i in range(40)]
  table(tmp_path, 'words,label,who\n' + '\n'.join(lines) + '\n')
  options = dict(columns=TEXT, group_column='who')
  files.prepare(tmp_path, tmp_path / 'data', **options)
  seen = {}
  for split in ('train', 'validation', 'test'):
    source = files.make(split, data_dir=tmp_path / 'data', **options)
    text = source.take(np.arange(source.size))['words']
    for values, mask in zip(text.values, text.mask):
      word = bytes((values[mask] - 1).astype(np.uint8)).decode()
      assert seen.setdefault(int(word[1:]) // 4, split) == split
  assert len(seen) == 10 and set(seen.values()) == {
    'train',
    'validation',
    'test',
  }


def test_damaged_arrays_are_counted(tmp_path):
  values = {'a': np.zeros(2), 'b': np.ones(2), 'c': np.ones(2)}
  values |= {'long': np.zeros(3), 'nan': np.full(2, np.nan)}
  values |= {'object': np.array([{}, 1])}
  splits = ('train', 'validation', 'test', 'train', 'train', 'train')
  rows = []
  for (name, value), split in zip(values.items(), splits):
    np.save(tmp_path / f'{name}.npy', value, allow_pickle=True)
    rows.append(f'{name}.npy,u,{split}\n')
  table(tmp_path, 'x,label,split\n' + ''.join(rows))
  columns = dict(x=dict(kind='array', shape=(2,)))
  done = files.prepare(tmp_path, tmp_path / 'data', columns=columns)
  assert done.counts == {'train': 1, 'validation': 1, 'test': 1}
  assert done.skipped['row0000004'] == 'is of shape (3,), not (2,)'
  assert done.skipped['row0000005'] == 'is not finite'
  assert done.skipped['row0000006'].startswith('is no array')


@pytest.mark.parametrize(
  'text, words',
  [
    ('words,label\na\n', 'line 2 has not as many cells'),
    ('words,label\na,b,c\n', 'line 2 has not as many cells'),
    ('word,label\na,b\n', 'has no column words; its columns are word, label'),
    ('words,words,label\na,b,c\n', 'two columns of one name'),
    ('words,label,split\na,b,training set\n', "line 2: split 'training set'"),
  ],
)
def test_bad_tables_are_named(tmp_path, text, words):
  with pytest.raises(ValueError, match=words):
    scan(table(tmp_path, text))


def test_bad_files_of_tables(tmp_path, monkeypatch):
  with pytest.raises(ValueError, match='lacks 1 of 1 .*table.csv'):
    scan(tmp_path)
  (tmp_path / 'table.csv').write_bytes('words,label\né,b\n'.encode('latin-1'))
  with pytest.raises(ValueError, match='table.csv is not UTF-8'):
    scan(tmp_path)
  table(tmp_path, '', 'table.xlsx')
  with pytest.raises(
    ValueError, match='a table is .csv, .tsv, .parquet or a folder'
  ):
    scan(tmp_path, table='table.xlsx')
  table(tmp_path, 'words,label,n\na,b,tall\n')
  numbers = dict(body=dict(kind='numbers', column='n'))
  with pytest.raises(ValueError, match="line 2: n='tall' is no number"):
    scan(tmp_path, columns=numbers)
  table(tmp_path, 'no parquet', 't.parquet')
  if importlib.util.find_spec('pyarrow'):
    with pytest.raises(ValueError, match='t.parquet is no Parquet file'):
      scan(tmp_path, table='t.parquet')
  monkeypatch.setitem(sys.modules, 'pyarrow.parquet', None)
  monkeypatch.setitem(sys.modules, 'pyarrow', None)
  with pytest.raises(ModuleNotFoundError, match='needs pyarrow'):
    scan(tmp_path, table='t.parquet')


@pytest.mark.parametrize(
  'columns, words',
  [
    ({}, 'names no modality'),
    (dict(label=dict(kind='text')), 'columns.label: .* rename it'),
    (dict(x='text'), r"columns.x is dict\(kind=..\), not 'text'"),
    (dict(x=dict(kind='words')), "columns.x.kind='words' is none of fbank"),
    (dict(x=dict(kind='text', size=3)), "columns.x has no option 'size'"),
    (dict(x=dict(kind='steps', shape=(2,))), 'needs longest; it takes shape'),
    (dict(x=dict(kind='text', column=('a', 'b'))), "'text' is of one column"),
  ],
)
def test_bad_columns_are_named(columns, words):
  with pytest.raises(ValueError, match=words):
    files.corpus(columns=columns)


def test_a_bad_name():
  with pytest.raises(ValueError, match="dataset='../x'"):
    files.corpus(dataset='../x')


# --- What `datasets` has saved --------------------------------------------------

SAVED = dict(columns=MIXED, table='.', dataset='saved')


def saved(folder, splits=('train',), **names):
  """One text and one class per split, as `save_to_disk` writes them."""
  pa = pytest.importorskip('pyarrow', reason='needs pyarrow')
  for i, split in enumerate(splits):
    home = folder / split
    home.mkdir(parents=True)
    features = {
      'label': {'_type': 'ClassLabel', 'names': names.get(split, ['b', 'a'])}
    }
    told = {'huggingface': json.dumps({'info': {'features': features}})}
    table = pa.table(
      {'words': ['x', 'y', 'z'], 'label': [i, 1 - i, -1]}
    ).replace_schema_metadata(told)
    with pa.ipc.new_stream(str(home / 'd.arrow'), table.schema) as writer:
      writer.write_table(table)
    state = {'_data_files': [{'filename': 'd.arrow'}]}
    (home / 'state.json').write_text(json.dumps(state))
  told = json.dumps({'splits': list(splits)})
  (folder / 'dataset_dict.json').write_text(told)
  return folder


def test_a_saved_data_set_holds_what_files_do(tmp_path):
  pytest.importorskip('av', reason='needs PyAV')
  pytest.importorskip('pyarrow', reason='needs pyarrow')
  plain = dict(columns=MIXED, dataset='plain')
  for options in (plain, SAVED):
    files.prepare(None, tmp_path, sample=True, **options)
  for split in ('train', 'validation', 'test'):
    one, other = (
      files.make(split, data_dir=tmp_path, **options)
      for options in (plain, SAVED)
    )
    assert one.size == other.size and one.class_names == other.class_names
    a, b = (s.take(np.arange(s.size)) for s in (one, other))
    key = [np.lexsort(x['body'].T) for x in (a, b)]  # rows have other names
    for m in (*MIXED, 'label'):
      x, y = (
        np.asarray(base_values(batch[m]))[i] for batch, i in zip((a, b), key)
      )
      np.testing.assert_array_equal(x, y)


def base_values(x):
  return x.values if isinstance(x, base.Ragged) else x


def test_class_names_keep_their_order_and_splits_are_folders(tmp_path):
  folder = saved(tmp_path, ('train', 'test'))
  found = scan(folder, table='.')
  assert found.class_names == ('b', 'a')
  train, test = (
    [e.label for e in found.entries.values() if e.split == split]
    for split in ('train', 'test')
  )
  assert (train, test) == ([0, 1], [1, 0])
  assert set(found.skipped.values()) == {'has no label'}


def test_parquet_files_of_the_hub(tmp_path):
  pa = pytest.importorskip('pyarrow', reason='needs pyarrow')
  import pyarrow.parquet

  (tmp_path / 'data').mkdir()
  for split in ('train', 'test'):
    table = pa.table({'words': [f'{split} {i}' for i in range(4)]})
    table = table.append_column('label', [['u', 'v', 'u', 'v']])
    name = f'data/{split}-00000-of-00001-0123456789abcdef.parquet'
    pyarrow.parquet.write_table(table, tmp_path / name)
  found = scan(tmp_path, table='.')
  assert [e.split for e in found.entries.values()] == ['test'] * 4 + [
    'train'
  ] * 4
  assert found.class_names == ('u', 'v')


def test_saved_data_sets_that_cannot_be_read(tmp_path):
  with pytest.raises(ValueError, match='is no table: it holds neither'):
    scan(tmp_path, table='.')
  other = saved(tmp_path / 'a', ('train', 'test'), test=['a', 'b'])
  with pytest.raises(ValueError, match='has other classes than'):
    scan(other, table='.')
  whole = saved(tmp_path / 'b')
  (whole / 'train/d.arrow').unlink()
  with pytest.raises(ValueError, match='lacks 1 of its 1 files: d.arrow'):
    scan(whole, table='.')
  (whole / 'train/d.arrow').write_bytes(b'12345678')
  with pytest.raises(ValueError, match=r'd\.arrow is no Arrow file'):
    scan(whole, table='.')
  (whole / 'train/state.json').write_text('{}')
  with pytest.raises(ValueError, match='is not what save_to_disk writes'):
    scan(whole, table='.')
  for files_told in ('[1]', '[{}]', '3'):
    told = f'{{"_data_files": {files_told}}}'
    (whole / 'train/state.json').write_text(told)
    with pytest.raises(ValueError, match='is not what save_to_disk writes'):
      scan(whole, table='.')
  told = {'_data_files': [], '_indices_data_files': [{'filename': 'i'}]}
  (whole / 'train/state.json').write_text(json.dumps(told))
  with pytest.raises(ValueError, match='flatten_indices'):
    scan(whole, table='.')


def test_lists_are_arrays_and_nothing_else(tmp_path):
  pa = pytest.importorskip('pyarrow', reason='needs pyarrow')
  import pyarrow.parquet

  table = pa.table({'words': [['a', 'b']], 'x': [[1, 2]], 'label': ['u']})
  pyarrow.parquet.write_table(table, tmp_path / 't.parquet')
  with pytest.raises(ValueError, match=r"row 1: words is a list, which 'text'"):
    scan(tmp_path, table='t.parquet')
  columns = dict(words=dict(kind='array', shape=(2,)))
  with pytest.raises(ValueError, match='words is no array'):
    scan(tmp_path, table='t.parquet', columns=columns)
  columns = dict(x=dict(kind='array', shape=(2,)))
  found = scan(tmp_path, table='t.parquet', columns=columns)
  value = found.entries['row0000001'].parts['x'].value
  np.testing.assert_array_equal(value, [1, 2])


def hub(folder, metadata, **columns):
  """A Parquet file with what `datasets` notes in its schema."""
  pa = pytest.importorskip('pyarrow', reason='needs pyarrow')
  import pyarrow.parquet

  table = pa.table(columns).replace_schema_metadata({'huggingface': metadata})
  pyarrow.parquet.write_table(table, folder / 't.parquet')


def classes(names):
  label = {'_type': 'ClassLabel', 'names': names}
  return json.dumps({'info': {'features': {'label': label}}})


@pytest.mark.parametrize('metadata', [classes(None), '[]', '{', '{"info": 1}'])
def test_notes_of_classes_that_cannot_be_read(metadata, tmp_path):
  hub(tmp_path, metadata, words=['a'], label=[0])
  with pytest.raises(ValueError, match='its schema says of the classes'):
    scan(tmp_path, table='t.parquet')


def test_a_class_that_has_no_name_is_told(tmp_path):
  hub(tmp_path, classes(['u', 'v']), words=['a', 'b'], label=[0, 2])
  with pytest.raises(ValueError, match='label=2 in row 2 is none of the 2'):
    scan(tmp_path, table='t.parquet')


def test_a_file_is_no_text(tmp_path):
  cell = {'bytes': b'hello', 'path': 'x.txt'}
  hub(tmp_path, '{}', words=[cell], label=['u'])
  with pytest.raises(
    ValueError, match="row 1: words holds a file, which 'text'"
  ):
    scan(tmp_path, table='t.parquet')


def test_damaged_tables_are_named_or_read(tmp_path):
  """Any byte: no crash, and no error but a named one."""
  folder = saved(tmp_path / 'a')
  file = folder / 'train/d.arrow'
  whole = np.frombuffer(file.read_bytes(), np.uint8)
  draw = np.random.default_rng(0)
  refused = 0
  for _ in range(300):
    damaged = whole.copy()
    damaged[draw.integers(len(whole), size=3)] = draw.integers(256, size=3)
    file.write_bytes(damaged.tobytes())
    try:
      scan(folder, table='.')
    except ValueError:
      refused += 1
  assert refused > 30


def test_damaged_pictures_within_a_table_are_counted(tmp_path):
  pa = pytest.importorskip('pyarrow', reason='needs pyarrow')
  import pyarrow.parquet

  file = io.BytesIO()
  PIL.Image.new('RGB', (9, 5), (200, 0, 0)).save(file, 'PNG')
  good = {'bytes': file.getvalue(), 'path': None}
  rows = [
    {'image': good, 'label': 'u'},
    {'image': {**good, 'bytes': b'rubbish'}, 'label': 'u'},
    {'image': {'bytes': None, 'path': 'gone.png'}, 'label': 'u'},
    *[{'image': good, 'label': label} for label in 'uvuvuv'],
  ]
  table = pa.Table.from_pylist(rows)
  pyarrow.parquet.write_table(table, tmp_path / 't.parquet')
  columns = dict(image=dict(kind='picture', size=4))
  done = files.prepare(
    tmp_path, tmp_path / 'data', columns=columns, table='t.parquet'
  )
  assert len(done.skipped) == 2
  assert done.skipped['row0000003'] == 'its image is not in the folder'
  assert 'its picture cannot be decoded' in done.skipped['row0000002']
