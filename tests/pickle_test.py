"""Pickles of data: what is read, what is refused, and that nothing runs."""

import collections
import copyreg
import os
import pickle
import time

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mmjax import _pickle

SHARED = np.arange(6.0).reshape(2, 3)
PLAIN = {
  'numbers': (1, -5, 10**30, 2.5, 1 + 2j, None, True),
  'texts': ['é', b'x\xff', b'', bytearray(b'yy'), bytearray(), 'x' * 300],
  'sets': ({1, 'x', 2.0}, frozenset([1, 2]), set()),
  ('a', 1): collections.OrderedDict(b=1, a=[]),
  'scalars': [np.float32(3), np.int64(7), np.bool_(True), np.str_('z')],
}
ARRAYS = [
  SHARED,
  np.asfortranarray(SHARED),
  np.arange(3, dtype='>i2'),
  np.array(['ab', 'ü']),
  np.array([b'a', b'bcd']),
  np.array(5.0),
  np.zeros((0, 3)),
  np.array([True, False]),
  np.array([1j], np.complex64),
  np.ones(3, np.float16),
]
OBJECTS = np.array([[np.ones(2), 'a'], [None, {'b': SHARED}]], object)


def load(folder, content: bytes):
  path = folder / 'file.pkl'
  path.write_bytes(content)
  return _pickle.load(path)


def reduced(*result):
  """An object that a pickle makes by calling what `result` says."""

  class Made:
    def __reduce_ex__(self, protocol):
      del protocol
      return result

  return Made()


@pytest.mark.parametrize('protocol', range(pickle.HIGHEST_PROTOCOL + 1))
def test_data_are_read(tmp_path, protocol):
  data = {'plain': PLAIN, 'arrays': ARRAYS, 'again': SHARED, 'o': OBJECTS}
  got = load(tmp_path, pickle.dumps(data, protocol))
  assert got['plain'] == PLAIN
  assert list(map(type, got['plain']['texts'])) == list(
    map(type, PLAIN['texts'])
  )
  assert list(map(type, got['plain']['scalars'])) == list(
    map(type, PLAIN['scalars'])
  )
  for a, b in zip(got['arrays'], ARRAYS, strict=True):
    assert type(a) is np.ndarray and a.dtype == b.dtype
    np.testing.assert_array_equal(a, b)
  assert got['again'] is got['arrays'][0]
  np.testing.assert_array_equal(got['o'][0, 0], np.ones(2))
  assert got['o'][0, 1] == 'a' and got['o'][1, 1]['b'] is got['again']


def test_older_names_and_python_2(tmp_path):
  now = pickle.dumps([SHARED, np.float32(2)], 2)
  assert b'numpy._core' in now
  old = load(tmp_path, now.replace(b'numpy._core', b'numpy.core'))
  np.testing.assert_array_equal(old[0], SHARED)
  content = np.array([1.5, -2]).tobytes()
  python2 = (
    b'\x80\x02}U\x01k](U\x02\xe9x' + b'cnumpy.core.multiarray\n_reconstruct\n'
    b'cnumpy\nndarray\nK\x00\x85U\x01b\x87R(K\x01K\x02\x85'
    b'cnumpy\ndtype\nU\x02f8K\x00K\x01\x87R(K\x03U\x01<NNNJ\xff\xff\xff\xff'
    b'J\xff\xff\xff\xffK\x00tb\x89U\x10' + content + b'tb'
    b'c__builtin__\nset\n](K\x01K\x02e\x85R' + b'es.'
  )
  got = load(tmp_path, python2)['k']
  assert got[0] == 'éx' and got[2] == {1, 2}
  np.testing.assert_array_equal(got[1], [1.5, -2])


def test_cycles_are_kept(tmp_path):
  data: list = [1]
  data.append((data,))
  got = load(tmp_path, pickle.dumps(data))
  assert got[1][0] is got


class Setting:
  def __init__(self, state):
    self.__dict__.update(state)

  def __setstate__(self, state):
    raise AssertionError('was called')


def attacks(marker: str) -> dict[str, bytes]:
  """Pickles that ask for more than data, by what their refusal must say."""
  run, name = (os.mkdir, (marker,)), marker.encode()
  inner = reduced(*run)
  hidden = {'a': [1, {'b': (inner,)}]}
  stack_global = b'\x80\x04\x8c\x02os\x8c\x06system\x93\x8c\x04true\x85R.'
  inst = b"(S'" + name + b"'\nios\nmkdir\n."
  asked = f'{os.name}.mkdir' if os.name == 'posix' else 'nt.mkdir'
  return {
    f'{asked} 0': pickle.dumps(inner, 0),
    f'{asked} 2': pickle.dumps(inner, 2),
    f'{asked} 5': pickle.dumps(hidden, 5),
    f'{asked} in an array': pickle.dumps(np.array([inner, 1], object)),
    f'{asked} as state': pickle.dumps(reduced(set, ([],), {'x': inner})),
    f'{asked} as items': pickle.dumps(
      reduced(collections.OrderedDict, (), None, None, iter([('k', inner)]))
    ),
    'os.system': stack_global,
    'os.mkdir': inst,
    'builtins.eval': pickle.dumps(reduced(eval, ('1',))),
    'builtins.exec': pickle.dumps(reduced(exec, ('1',))),
    'builtins.getattr': pickle.dumps(reduced(getattr, ('a', 'upper'))),
    'builtins.__import__': pickle.dumps(reduced(__import__, ('os',))),
    'numpy.load': b'\x80\x02cnumpy\nload\nU\x01x\x85R.',
    'numpy.fromfile': b'\x80\x02cnumpy\nfromfile\nU\x01x\x85R.',
    'numpy.zeros': b'\x80\x02cnumpy\nzeros\nJ\xff\xff\xff\x7f\x85R.',
    'numpy._core.multiarray.frombuffer': (
      b'cnumpy._core.multiarray\nfrombuffer\n.'
    ),
    'collections.OrderedDict.fromkeys': (
      b'\x80\x04\x8c\x0bcollections\x8c\x14OrderedDict.fromkeys\x93.'
    ),
    'copyreg._reconstructor': b'ccopyreg\n_reconstructor\n.',
    'tests.data_pickle_test.Setting': b'ctests.data_pickle_test\nSetting\n.',
    'step PERSID': b'Pname\n.',
    'step BINPERSID': b'\x80\x02K\x01Q.',
    'step EXT1': b'\x80\x02\x82\x05.',
    'step EXT2': b'\x80\x02\x83\x05\x00.',
    'step EXT4': b'\x80\x02\x84\x05\x00\x00\x00.',
    'step NEWOBJ': b'\x80\x02c__builtin__\nset\n)\x81.',
    'step NEWOBJ_EX': b'\x80\x04c__builtin__\nset\n)}\x92.',
    'step OBJ': b'(c__builtin__\nset\no.',
    'step NEXT_BUFFER': b'\x80\x05\x97.',
    'instance of collections.OrderedDict': b'(icollections\nOrderedDict\n.',
    'state of a dict': b'}}b.',
    'state of a Call': b'c__builtin__\nset\n}b.',
    'calls a object': b'cnumpy\nndarray\n(K\x02tR.',
    'calls a str': b'Vx\n)R.',
    'function or a class': b'](c__builtin__\nset\ne.',
    'encoding': b"c_codecs\nencode\n(Vx\nS'rot13'\ntR.",
  }


def test_attacks_are_refused(tmp_path):
  marker = tmp_path / 'ran'
  copyreg.add_extension('os', 'system', 5)
  try:
    for says, content in attacks(str(marker)).items():
      asked = says.split(' as ')[0].split(' in ')[0].removesuffix(' 0')
      asked = asked.removesuffix(' 2').removesuffix(' 5')
      with pytest.raises(ValueError, match='executed') as error:
        load(tmp_path, content)
      assert asked in str(error.value), (says, str(error.value))
      assert 'file.pkl' in str(error.value)
  finally:
    copyreg.remove_extension('os', 'system', 5)
  assert not marker.exists()


def dtype(text: bytes, state: bytes = b'') -> bytes:
  made = b'cnumpy\ndtype\nU' + bytes([len(text)]) + text + b'\x89\x88\x87R'
  return made + state


def array(shape: bytes, kind: bytes, content: bytes) -> bytes:
  made = b'cnumpy._core.multiarray\n_reconstruct\ncnumpy\nndarray\n'
  return (
    b'\x80\x02' + made + b'K\x00\x85U\x01b\x87R(K\x01' + shape + kind + b'\x89'
  ) + content


def bombs() -> list[bytes]:
  """States that no NumPy wrote, and announcements of what does not follow."""
  huge, order = b'\x8a\x08' + b'\xff' * 7 + b'\x7f', b'(K\x03U\x01<'
  f8, o8 = dtype(b'f8'), dtype(b'O8')
  deep = b'K\x01' + b'\x85' * 60
  for _ in range(60):
    deep += b'2\x86'  # DUP TUPLE2: shared, so small, but endless to hash
  return [
    array(huge + b'\x85', f8, b'U\x00tb.'),
    array(b'K\x02\x85', o8, b']K\x01atb.'),  # fewer objects than places
    array(b'K\x02\x85', o8, b'U\x02xxtb.'),
    array(b'K\x01\x85', dtype(b'S0'), b'U\x00tb.'),
    array(b'J\xff\xff\xff\xff\x85', f8, b'U\x00tb.'),
    array(b'K\x01\x85', dtype(b'i4,i4'), b'U\x08' + b'x' * 8 + b'tb.'),
    array(b'K\x01\x85', dtype(b'V8'), b'U\x08' + b'x' * 8 + b'tb.'),
    array(b'K\x01\x85', dtype(b'U1'), b'U\x04' + b'\xff' * 4 + b'tb.'),
    array(
      b'K\x01\x85', dtype(b'f8', order + b'N(U\x01atNK\x08K\x01K\x00tb'), b'.'
    ),
    array(b'K\x00\x85', f8, b'U\x00tb(K\x01K\x00\x85' + f8 + b'\x89U\x00tb.'),
    array(b'K\x01\x85', f8, b'U\x08' + b'x' * 8 + b'tb')[:-1],
    b'\x80\x04\x8e' + b'\xff' * 7 + b'\x7f.',  # BINBYTES8
    b'\x80\x05\x96' + b'\xff' * 7 + b'\x7f.',  # BYTEARRAY8
    b'\x80\x04\x95' + b'\xff' * 7 + b'\x7f.',  # FRAME
    b'\x80\x02\x8b\xff\xff\xff\x7f.',  # LONG4
    b'T\xff\xff\xff\x7f.',
    b'c__builtin__\nbytearray\n' + huge + b'\x85R.',
    b'c__builtin__\nbytes\n' + huge + b'\x85R.',
    b'}' + deep + b'K\x01s.',
    b'\x80\x04\x8f(' + deep + b'\x90.',
    b'](' + b'](' * 5000 + b'e' * 5001 + b'.',
    b'\x80\x02X\x00\x00\x10\x00' + b'x' * 2**20 + b'q\x00'
    b'](' + b'c_codecs\nencode\nh\x00U\x06latin1\x86R' * 99 + b'e.',
    b'L' + b'9' * 9999 + b'L\n.',
    *(b'', b'.', b'0', b'u.', b'b.', b'R.', b'h\x05.', b'\x80\x09N.', b'\xff'),
  ]


def test_bombs_and_garbage_are_named(tmp_path):
  start = time.monotonic()
  for i, content in enumerate(bombs()):
    with pytest.raises(ValueError, match='file.pkl .*executed'):
      print(i, load(tmp_path, content))
  assert time.monotonic() - start < 10
  with pytest.raises(FileNotFoundError):
    _pickle.load(tmp_path / 'nothing.pkl')


@settings(
  max_examples=400,
  suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(data=st.data(), protocol=st.integers(0, pickle.HIGHEST_PROTOCOL))
def test_flipped_bytes_end_in_data_or_value_error(tmp_path, data, protocol):
  marker = tmp_path / 'ran'
  harmless = {'plain': PLAIN, 'arrays': ARRAYS, 'o': OBJECTS}
  chosen = data.draw(
    st.sampled_from([harmless, [SHARED] * 3, reduced(os.mkdir, (str(marker),))])
  )
  content = bytearray(pickle.dumps(chosen, protocol))
  for at, value in data.draw(
    st.lists(
      st.tuples(st.integers(0, len(content) - 1), st.integers(0, 255)),
      max_size=6,
    )
  ):
    content[at] = value
  cut = data.draw(st.integers(0, 2 * len(content)))
  start = time.monotonic()
  try:
    load(tmp_path, bytes(content[:cut]))
  except ValueError as error:
    assert 'file.pkl' in str(error)
  assert time.monotonic() - start < 10
  assert not marker.exists()
