"""Latents on disk and how they pair: folders, files of your own, and both."""

import collections
import concurrent.futures
import pathlib

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mmjax.data import _latents, feed, latents
from mmjax.data._latents_join import Side, join

SPLITS = ('train', 'validation', 'test')


def rng(seed=0):
  return np.random.default_rng(seed)


def everything(source):
  return source.take(np.arange(source.size))


def folder(path, z, *, counts=(6, 2, 2), entry=None, chunk=4, **facts):
  """A folder as an extraction leaves it; returns its path."""
  path = pathlib.Path(path)
  path.mkdir(parents=True)
  N, names = sum(counts), []
  entry = np.arange(N) if entry is None else np.asarray(entry)
  for i in range(-(-len(z) // chunk)):
    names.append(_latents.chunk_name(i, -(-len(z) // chunk)))
    _latents.write_chunk(path / names[-1], z[i * chunk : (i + 1) * chunk])
  nonfinite, zero = map(np.flatnonzero, _latents.faults(z))
  fields = dict(digest=_latents.digests(z), nonfinite=nonfinite, zero=zero)
  ends = np.cumsum([0, *counts])
  for s, a, b in zip(SPLITS, ends, ends[1:]):
    fields[f'{s}_entry'] = entry[a:b]
    fields[f'{s}_id'] = np.array([f'{s}/{i}' for i in range(b - a)], str)
    fields[f'{s}_label'] = np.arange(b - a, dtype=np.int32) % 2
  np.savez(path / 'examples.npz', class_names=np.array(['a', 'b']), **fields)
  files = {p: {'bytes': (path / p).stat().st_size} for p in names}
  files['examples.npz'] = {'bytes': (path / 'examples.npz').stat().st_size}
  made = dict(format=1, width=z.shape[1], rows=len(z), chunk=chunk)
  made |= dict(dtype=z.dtype.name, files=files, data={}, pairing='same')
  _latents.write_json(path / 'latents.json', made | facts)
  return path


def npz(path, z, **fields):
  np.savez(path, latents=z, **fields)
  return str(path)


def some(rows=10, width=3, seed=0, dtype=np.float32):
  return rng(seed).normal(size=(rows, width)).astype(dtype)


IDS = np.arange(10)
SPLIT = np.repeat([0, 1, 2], [6, 2, 2])


@pytest.fixture
def two(tmp_path):
  """Writes image.npz and text.npz with the same ids; changes by modality."""

  def write(image=None, text=None):
    for name, seed, width, own in (
      ('image', 0, 3, image),
      ('text', 1, 4, text),
    ):
      fields = dict(z=some(10, width, seed), id=IDS, split=SPLIT) | (own or {})
      kept = {k: v for k, v in fields.items() if v is not None}
      npz(tmp_path / f'{name}.npz', **kept)
    return str(tmp_path)

  return write


# ---------------------------------------------------------------- the folder


@pytest.mark.parametrize('dtype', _latents.DTYPES)
def test_what_is_written_is_read_by_row_and_by_chunk(tmp_path, dtype):
  z = some(10, 3, dtype=dtype)
  store = _latents.opened(folder(tmp_path / 'image', z))
  rows = np.array([9, 0, 3, 4, 9, 7])
  found = store.read(rows)
  assert found.dtype == np.float32
  np.testing.assert_array_equal(found, z[rows].astype(np.float32))
  assert store.read(np.array([], int)).shape == (0, 3)
  parts = [store.chunk(i) for i in range(3)]
  assert [len(part) for part in parts] == [4, 4, 2]
  np.testing.assert_array_equal(np.concatenate(parts), z)


def test_equal_rows_give_equal_files(tmp_path):
  (tmp_path / 'b.part').write_bytes(bytes(10**6))  # of who was killed
  for name in ('a', 'b'):
    _latents.write_chunk(tmp_path / name, some(50))
  assert (tmp_path / 'a').read_bytes() == (tmp_path / 'b').read_bytes()
  assert sorted(p.name for p in tmp_path.iterdir()) == ['a', 'b']


def test_a_chunk_counts_only_if_it_is_whole(tmp_path):
  path = tmp_path / 'chunk'
  assert not _latents.has_chunk(path, 50, 12)
  _latents.write_chunk(path, some(50))
  assert _latents.has_chunk(path, 50, 12)
  assert not _latents.has_chunk(path, 49, 12)
  assert not _latents.has_chunk(path, 50, 16)
  path.write_bytes(path.read_bytes()[:-1])
  assert not _latents.has_chunk(path, 50, 12)
  path.write_bytes(b'')
  assert not _latents.has_chunk(path, 50, 12)


def test_many_threads_may_read_with_few_files_open(tmp_path, monkeypatch):
  monkeypatch.setattr(_latents, 'OPEN_FILES', 3)
  z = some(400)
  store = _latents.opened(folder(tmp_path / 'image', z, counts=(400, 0, 0)))
  wanted = [rng(i).integers(0, 400, 64) for i in range(64)]
  with concurrent.futures.ThreadPoolExecutor(8) as pool:
    found = list(pool.map(store.read, wanted))
  for rows, got in zip(wanted, found):
    np.testing.assert_array_equal(got, z[rows])


def test_latents_that_are_not_there_are_told_with_the_command(tmp_path):
  told = 'does not exist. Extract .*--mode=extract --config='
  with pytest.raises(ValueError, match=told):
    latents.make('train', path=str(tmp_path / 'nowhere'))
  with pytest.raises(ValueError, match='neither path nor files'):
    latents.make('train')
  (tmp_path / 'image').mkdir()
  with pytest.raises(ValueError, match='image has no latents.json. Extract'):
    latents.make('train', files={'image': str(tmp_path / 'image')})
  with pytest.raises(ValueError, match=r'files.image: .*no.npz does not exist'):
    latents.make('train', files={'image': str(tmp_path / 'no.npz')})


def test_an_extraction_that_was_killed_is_told(tmp_path):
  path = folder(tmp_path / 'image', some())
  (path / 'latents.json').rename(path / 'work.json')
  (path / _latents.chunk_name(1, 3)).unlink()
  with pytest.raises(ValueError, match='image is unfinished: 2 of 3 files'):
    latents.make('train', path=str(tmp_path))


def test_damage_is_told_by_file(tmp_path):
  path = folder(tmp_path / 'image', some())
  file = path / _latents.chunk_name(1, 3)
  whole = file.read_bytes()
  file.write_bytes(whole[:-7])
  told = f'{file.name} is damaged: it holds {len(whole) - 7} bytes, not'
  with pytest.raises(ValueError, match=told):
    latents.make('train', path=str(tmp_path))
  flipped = bytearray(whole)
  at = whole.index(some()[5].tobytes())
  flipped[at] ^= 1
  file.write_bytes(flipped)
  with pytest.raises(ValueError, match=f'{file.name} is damaged: .*orrupt'):
    latents.make('train', path=str(tmp_path))


@pytest.mark.parametrize(
  'facts, told',
  [
    (dict(width=4), 'latent of 3 numbers, but its latents.json says width 4'),
    (dict(format=2), 'has format 2 of latents, this version of mmjax reads 1'),
  ],
)
def test_a_folder_that_contradicts_itself(tmp_path, facts, told):
  folder(tmp_path / 'image', some(), **facts)
  with pytest.raises(ValueError, match=told):
    latents.make('train', path=str(tmp_path))


def test_a_json_file_that_is_cut_short(tmp_path):
  path = folder(tmp_path / 'image', some())
  (path / 'latents.json').write_text('{"format": 1,')
  with pytest.raises(ValueError, match='latents.json cannot be read'):
    latents.make('train', path=str(tmp_path))


# ------------------------------------------------------------------ the join


def side(name, keys, **fields) -> Side:
  """A side of (split, id) pairs."""
  split = np.array([k[0] for k in keys], int)
  ids = np.array([k[1] for k in keys], str)
  made = dict(id=ids, split=split, label=None, class_names=None)
  made |= dict(entry=np.arange(len(keys)), width=1, bad=np.zeros(len(keys)))
  made |= dict(read=None, digest=None)
  return Side(name, f'{name}.npz', **{**made, **fields})


KEYS = st.lists(st.tuples(st.integers(0, 2), st.integers(0, 4)), max_size=8)


@given(st.lists(KEYS.filter(len), min_size=1, max_size=3))
def test_the_join_is_what_a_dictionary_says(all_keys):
  sides = [side(f's{i}', keys) for i, keys in enumerate(all_keys)]
  rows_of = [collections.defaultdict(list) for _ in sides]
  for keys, found in zip(all_keys, rows_of):
    for row, key in enumerate(keys):
      found[key].append(row)
  every = {key for keys in all_keys for key in keys}
  clash = [k for k in every if sum(len(r.get(k, ())) > 1 for r in rows_of) > 1]
  if clash:
    with pytest.raises(ValueError, match='several rows on more than one side'):
      join(sides)
    return
  paired = join(sides)
  want = []
  for key in dict.fromkeys(all_keys[0]):
    each = [r.get(key, ()) for r in rows_of]
    for nth in range(max(map(len, each)) if all(each) else 0):
      want.append(tuple(r[nth] if len(r) > 1 else r[0] for r in each))
  assert list(zip(*paired.rows)) == want
  assert paired.split.tolist() == [all_keys[0][row[0]][0] for row in want]
  for keys, found in zip(all_keys, paired.unpaired):
    lonely = [i for i, k in enumerate(keys) if not all(k in r for r in rows_of)]
    assert found.tolist() == lonely


@given(st.permutations(range(10)))
def test_the_order_of_a_file_says_nothing_where_there_are_ids(order):
  keys = [(s, i) for i, s in zip(IDS, SPLIT)]
  one = join([side('a', keys), side('b', [keys[i] for i in order])])
  assert one.rows[0].tolist() == list(range(10))
  assert [order[i] for i in one.rows[1]] == list(range(10))


def test_ids_may_be_numbers_on_one_side_and_words_on_the_other(two):
  source = latents.make('test', path=two(text=dict(id=IDS.astype(str))))
  assert source.size == 2 and source.modalities == ('image', 'text')
  np.testing.assert_array_equal(everything(source)['image'], some()[8:])


def test_splits_of_one_side_hold_for_a_side_without(two):
  order = rng().permutation(10)
  text = dict(z=some(10, 4, 1)[order], id=IDS[order], split=None)
  path = two(text=text)
  for i, split in enumerate(SPLITS):
    batch = everything(latents.make(split, path=path))
    np.testing.assert_array_equal(batch['image'], some()[i == SPLIT])
    np.testing.assert_array_equal(batch['text'], some(10, 4, 1)[i == SPLIT])


def test_named_splits_are_those_with_numbers(two):
  named = np.array(SPLITS)[SPLIT]
  batch = everything(latents.make('validation', path=two(dict(split=named))))
  np.testing.assert_array_equal(batch['image'], some()[6:8])


def test_an_id_in_two_splits_needs_splits_on_both_sides(two):
  ids = np.where(IDS == 9, 0, IDS)
  told = r"text.npz has no field split, and 1 ids are in several .*\('0', '0'\)"
  with pytest.raises(ValueError, match=told):
    latents.make('train', path=two(dict(id=ids), dict(split=None)))


def test_splits_are_drawn_by_id_and_stay(tmp_path):
  """80, 10 and 10 %: all captions of a picture are in one split."""
  ids = np.array([f'picture {i}' for i in range(100)])
  caption = np.repeat(rng().permutation(100), 3)
  npz(tmp_path / 'image.npz', some(100), id=ids)
  npz(tmp_path / 'text.npz', some(300, 4, 1), id=ids[caption])
  sizes, seen = [], []
  for split in SPLITS:
    source = latents.make(split, path=str(tmp_path))
    sizes.append(source.size)
    seen.append(set(map(bytes, source.pools['image'])))
  assert sizes == [240, 30, 30] and len(set.union(*seen)) == 100
  rank = [np.sort(ids).tolist().index(i) for i in ids]
  held = [rank[i] for i, z in enumerate(some(100)) if bytes(z) in seen[2]]
  assert np.ptp(held) > 20  # drawn, and not the first of them
  order = rng(1).permutation(100)  # of the file does not matter
  npz(tmp_path / 'image.npz', some(100)[order], id=ids[order])
  again = latents.make('test', path=str(tmp_path)).pools['image']
  assert set(map(bytes, again)) == seen[2]


def test_without_ids_rows_pair_by_their_order(two):
  path = two(dict(id=None), dict(id=None, split=None))
  batch = everything(latents.make('test', path=path))
  np.testing.assert_array_equal(batch['image'], some()[8:])
  np.testing.assert_array_equal(batch['text'], some(10, 4, 1)[8:])
  told = 'image.npz has no ids, so rows pair by their order.*image 10, text 9'
  with pytest.raises(ValueError, match=told):
    text = dict(z=some(9, 4), id=IDS[:9], split=None)
    latents.make('train', path=two(dict(id=None), text))


def test_captions_share_the_entry_of_their_picture(tmp_path):
  """Five rows of an id are five examples, wherever they stand in the file."""
  order = rng().permutation(50)
  caption = np.repeat(IDS, 5)[order]
  image, text = some(), some(50, 4, 1)
  npz(tmp_path / 'image.npz', image, id=IDS, split=SPLIT)
  npz(tmp_path / 'text.npz', text, id=caption)
  source = latents.make('train', path=str(tmp_path))
  assert source.size == 30 and set(source.entries) == {'image'}
  assert source.pools['image'].shape == (6, 3)
  assert source.pools['text'].shape == (30, 4)
  batch = feed.load(source, np.array([0, 4, 5, 29]), 5)
  assert batch['entry']['image'].tolist() == [0, 0, 1, 5, 0]
  np.testing.assert_array_equal(batch['image'], image[[0, 0, 1, 5, 0]])
  whole = everything(source)
  for z, shown in zip(whole['text'], whole['image']):
    picture = caption[(text == z).all(1)]
    np.testing.assert_array_equal(shown, image[picture[0]])


def test_ids_that_two_sides_repeat_are_refused(two):
  ids = np.where(IDS == 1, 0, IDS)
  told = (
    r"1 ids have several rows on more than one side: '0', in .*image.npz and"
  )
  with pytest.raises(ValueError, match=told):
    latents.make('train', path=two(dict(id=ids), dict(id=ids)))


def test_ids_that_only_one_side_has(two):
  path = two(dict(id=IDS + 3), dict(id=IDS))
  told = (
    r"split: 7 of 10 rows of .*image.npz \('6', '7', '8'\); 7 of .*text.npz "
    r"\('0', '1', '2'\).*unpaired='drop'"
  )
  with pytest.raises(ValueError, match=told):
    latents.make('test', path=path)
  with pytest.warns(UserWarning, match='Left out, since they do not pair: 3'):
    source = latents.make('train', path=path, unpaired='drop')
  np.testing.assert_array_equal(everything(source)['text'], some(10, 4, 1)[3:6])
  with pytest.raises(ValueError, match='do not pair at all: no id is in all'):
    latents.make('train', path=two(dict(id=IDS + 99)), unpaired='drop')


# ------------------------------------------------------- extracted on a side


def test_extracted_sides_pair_and_share_what_they_share(tmp_path):
  """A pool of three words that ten pictures show."""
  words = some(3, 4, 1)
  entry = np.array([0, 1, 0, 1, 0, 1, 2, 2, 0, 1])
  folder(tmp_path / 'image', some())
  folder(tmp_path / 'word', words, entry=entry)
  source = latents.make(
    'train', path=str(tmp_path), modalities=('word', 'image')
  )
  assert source.modalities == ('word', 'image') and source.size == 6
  assert source.class_names == ('a', 'b')
  assert source.entries['word'].tolist() == [0, 1, 0, 1, 0, 1]
  np.testing.assert_array_equal(source.pools['word'], words[:2])
  batch = everything(source)
  np.testing.assert_array_equal(batch['word'], words[entry[:6]])
  assert batch['label'].tolist() == [0, 1, 0, 1, 0, 1]
  assert all(has.all() for has in batch['present'].values())


def test_an_extracted_side_pairs_with_a_file_of_yours(tmp_path):
  folder(tmp_path / 'image', some())
  ids = [f'{s}/{i}' for s, n in zip(SPLITS, (6, 2, 2)) for i in range(n)]
  npz(tmp_path / 'text.npz', some(10, 4, 1)[::-1], id=np.array(ids)[::-1])
  batch = everything(latents.make('test', path=str(tmp_path)))
  np.testing.assert_array_equal(batch['text'], some(10, 4, 1)[8:])


def test_sides_of_different_data_are_strangers(tmp_path):
  one = dict(name='digits', seed=0, modalities=['image'])
  folder(tmp_path / 'image', some(), data=one)
  folder(tmp_path / 'text', some(10, 4), data=one | dict(modalities=['text']))
  assert latents.make('train', path=str(tmp_path)).size == 6
  folder(tmp_path / 'speech', some(10, 4), data=one | dict(seed=1))
  told = (
    r'image and .*speech were extracted from different .*: data.seed: 0 and 1'
  )
  with pytest.raises(ValueError, match=told):
    latents.make('train', path=str(tmp_path))
  few = folder(tmp_path / 'few', some(), data=one, pairs=dict(fraction=0.5))
  files = {'image': str(tmp_path / 'image'), 'few': str(few)}
  with pytest.raises(ValueError, match='pairs.fraction: None and 0.5'):
    latents.make('train', files=files)


def test_latents_that_do_not_fit_into_memory_are_read(tmp_path):
  entry = np.array([0, 1, 0, 1, 0, 1, 2, 2, 0, 1])
  folder(tmp_path / 'image', some())
  folder(tmp_path / 'word', some(3, 4, 1), entry=entry)
  limit = (10 * 3 + 3 * 4) * 4 / 1e9
  for normalize in (False, True):
    held, read = (
      latents.make(
        'train', path=str(tmp_path), memory_gb=gb, normalize=normalize
      )
      for gb in (limit, 0.99 * limit)
    )
    assert set(held.pools) == {'image', 'word'} and not read.pools
    rows = np.array([5, 0, 0, 3])
    for m in held.modalities:
      np.testing.assert_array_equal(held.take(rows)[m], read.take(rows)[m])
      at = held.entries.get(m, np.arange(6))
      np.testing.assert_array_equal(held.take(rows)[m], held.pools[m][at[rows]])


def test_normalized_latents_have_length_one(two):
  path = two(dict(z=some() * np.float32(1e25)))
  batch = everything(latents.make('train', path=path, normalize=True))
  want = some()[:6] / np.linalg.norm(some()[:6], axis=1, keepdims=True)
  np.testing.assert_allclose(batch['image'], want, rtol=1e-5)


# -------------------------------------------------------------- bad numbers


@pytest.mark.parametrize('value', [np.nan, np.inf, 0])
@pytest.mark.parametrize('kind', ['folder', 'npz'])
def test_bad_latents_are_told_or_left_out(tmp_path, value, kind):
  z = some()
  z[[1, 4]] = value
  if kind == 'npz':
    ids = np.array([f'train/{i}' for i in range(10)])
    npz(tmp_path / 'image.npz', z, id=ids, split=SPLIT * 0)
    counts = (10, 0, 0)
  else:
    folder(tmp_path / 'image', z)
    counts = (6, 2, 2)
  folder(tmp_path / 'text', some(10, 4, 1), counts=counts, pairing='other')
  told = (
    r"train split are NaN, infinite or zero: 'image' of 2 examples "
    r"\('train/1', 'train/4'\) in .*image.*bad='drop'"
  )
  with pytest.raises(ValueError, match=told):
    latents.make('train', path=str(tmp_path))
  with pytest.warns(UserWarning, match=f'2 of {counts[0]} examples are left'):
    source = latents.make('train', path=str(tmp_path), bad='drop')
  keep = np.delete(np.arange(counts[0]), [1, 4])
  np.testing.assert_array_equal(everything(source)['image'], z[keep])
  np.testing.assert_array_equal(
    everything(source)['text'], some(10, 4, 1)[keep]
  )
  if kind == 'folder':
    assert latents.make('test', path=str(tmp_path)).size == 2


def test_numbers_beyond_float32_are_infinite(two):
  z = some(dtype=np.float64)
  z[0] = 1e300
  with pytest.raises(ValueError, match=r"'image' of 1 examples \('0'\)"):
    latents.make('train', path=two(dict(z=z)))


# --------------------------------------------------------------- duplicates


def test_test_examples_that_training_has_seen(two):
  """Example 8 repeats 2 in both modalities."""
  repeat = np.where(IDS == 8, 2, IDS)
  path = two(dict(z=some()[repeat]), dict(z=some(10, 4, 1)[repeat]))
  assert latents.make('train', path=path).size == 6
  assert latents.make('validation', path=path).size == 2
  told = (
    r'1 of 2 examples of the test split equal a training example in every '
    r"modality \('8' of .*image.npz\).*'drop' leaves them.*'keep'"
  )
  with pytest.raises(ValueError, match=told):
    latents.make('test', path=path)
  with pytest.warns(UserWarning, match='1 of 2 examples .* are left out'):
    source = latents.make('test', path=path, duplicates='drop')
  np.testing.assert_array_equal(everything(source)['image'], some()[9:])
  assert latents.make('test', path=path, duplicates='keep').size == 2


def test_a_modality_alone_that_recurs_is_a_warning_unless_all_of_it_does(two):
  some_of_it = two(dict(z=some()[np.where(IDS == 8, 2, IDS)]))
  with pytest.warns(UserWarning, match="1 of 2 latents of 'image' in the test"):
    assert latents.make('test', path=some_of_it).size == 2
  vocabulary = two(dict(z=some()[IDS % 2]))  # pytest would raise on a warning
  assert latents.make('test', path=vocabulary).size == 2


def test_swapped_partners_are_no_duplicates(two):
  """Both latents are known from training, but not together."""
  image, text = IDS % 6, np.where(IDS < 6, IDS, (IDS + 1) % 6)
  path = two(dict(z=some()[image]), dict(z=some(10, 4, 1)[text]))
  assert latents.make('test', path=path).size == 2


# ------------------------------------------------------------------- labels


def test_labels_may_be_on_one_side_or_on_both(two):
  label = IDS % 3
  names = np.array(['a', 'b', 'c'])
  source = latents.make('train', path=two())
  assert source.class_names == ('pair',)
  assert not everything(source)['label'].any()
  source = latents.make('train', path=two(text=dict(label=label)))
  assert source.class_names == ('0', '1', '2')
  assert everything(source)['label'].tolist() == [0, 1, 2, 0, 1, 2]
  both = two(dict(label=label), dict(label=label, class_names=names))
  source = latents.make('train', path=both)
  assert source.class_names == ('a', 'b', 'c')
  assert everything(source)['label'].dtype == np.int32


def test_labels_that_contradict_each_other(two):
  label = IDS % 3
  other = np.where(IDS == 4, 0, label)
  told = r"other labels for 1 examples \('4'\)"
  with pytest.raises(ValueError, match=told):
    latents.make('train', path=two(dict(label=label), dict(label=other)))
  one, two_ = np.array(['a', 'b', 'c']), np.array(['a', 'c', 'b'])
  path = two(
    dict(label=label, class_names=one), dict(label=label, class_names=two_)
  )
  with pytest.raises(
    ValueError, match=r'differently: 3 \(a, b, c\) and 3 \(a, c'
  ):
    latents.make('train', path=path)


# ------------------------------------------------------------ what is refused


@pytest.mark.parametrize(
  'change, told',
  [
    (dict(z=some().astype(int)), r'latents must be floats \[R, D\].*int64'),
    (dict(z=some()[0]), r'latents must be floats \[R, D\].*\(3,\)'),
    (dict(id=IDS[:5]), r'id must have a value for each of the 10 latents'),
    (dict(id=IDS / 2), 'id must be integers or strings, is float64'),
    (
      dict(split=SPLIT + 1),
      'split must be train, validation, test or 0, 1, 2,',
    ),
    (dict(split=np.array(['dev'] * 10)), 'but has dev'),
    (dict(label=IDS - 1), 'image.npz: Labels must be'),
    (dict(class_names=np.array(['a'])), 'has class_names, but no label'),
    (dict(id=np.array([None] * 10)), "Field 'id' of .* cannot be read"),
  ],
)
def test_files_that_are_not_as_documented(two, change, told):
  with pytest.raises(ValueError, match=told):
    latents.make('train', path=two(change))


def test_a_file_without_latents(tmp_path):
  np.savez(tmp_path / 'image.npz', latent=some())
  with pytest.raises(ValueError, match="'latents' is no field .*'latent'"):
    latents.make('train', path=str(tmp_path))


@pytest.mark.parametrize(
  'options, told',
  [
    (dict(modalities=('imge',)), "no latents of 'imge' in .*mean 'image'"),
    (dict(modalities='image'), 'must be a tuple of different'),
    (dict(modalities=('text', 'text')), 'must be a tuple of different'),
    (dict(unpaired='keep'), 'config.data.unpaired=.* error, drop'),
    (dict(bad='keep'), 'config.data.bad='),
    (dict(duplicates='no'), 'config.data.duplicates='),
    (dict(memory_gb=float('nan')), 'config.data.memory_gb=nan'),
    (
      dict(modalities=('text',), files={'sound': 'x.npz'}),
      'config.data.files names sound, which is none of',
    ),
  ],
)
def test_options_that_mean_nothing(two, options, told):
  with pytest.raises(ValueError, match=told):
    latents.make('train', **{'path': two(), **options})
  with pytest.raises(ValueError, match="config.data.split='dev'"):
    latents.make('dev', path=two())


def test_the_folder_of_one_modality_is_no_folder_of_modalities(tmp_path):
  path = folder(tmp_path / 'image', some())
  told = 'is the folder of one modality: name the folder it is in'
  with pytest.raises(ValueError, match=told):
    latents.make('train', path=str(path))
  source = latents.make('train', files={'picture': str(path)})
  assert source.modalities == ('picture',) and source.size == 6


def test_files_stand_in_for_what_is_under_the_path(two, tmp_path):
  other = npz(tmp_path / 'o.npz', some(10, 7, 5))
  path = two()
  source = latents.make(
    'train', path=path, modalities=('image', 'text'), files={'text': other}
  )
  np.testing.assert_array_equal(everything(source)['text'], some(10, 7, 5)[:6])
