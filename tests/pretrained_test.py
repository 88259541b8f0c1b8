"""Published weights: parity with PyTorch, sizes, what learns, damaged files."""

import copy
import io
import json
import pathlib
import pickle
import zipfile

import hypothesis
import hypothesis.strategies as st
import jax
import jax.numpy as jnp
import numpy as np
import published
import pytest
import safetensors.numpy
import tiny
from flax import traverse_util
from published import GOLDEN, KEY, check_gradients, close, run, shapes

from mmjax import experiment, optim, train
from mmjax import kit as kits
from mmjax.base import Ragged
from mmjax.methods import joint
from mmjax.models import (
  _layout,
  _weights,
  bert,
  clip_text,
  net,
  pretrained,
  resnet,
  vit,
)
from mmjax.models.fusion import late

SIZES = dict(channels=24, layers=2, heads=4, hidden=40)
TEXT = dict(**SIZES, vocab=60, max_length=20)
IMAGE = dict(**SIZES, image=28, patch=7)
STAGES = dict(channels=2)
CASES = {
  'bert': bert.make(width=24, **TEXT, eps=1e-5, pool='steps'),
  'roberta': bert.make(
    width=24, family='roberta', types=1, **TEXT, eps=1e-5, pool='steps'
  ),
  'vit': vit.make(width=24, **IMAGE),
  'dinov2': vit.make(
    width=48,
    family='dinov2',
    registers=3,
    pool='both',
    **{**IMAGE, 'hidden': 48},
  ),
  'dinov2_giant': vit.make(
    width=24,
    family='dinov2',
    activation='swiglu',
    **{**IMAGE, 'hidden': 32},
  ),
  'clip_image': vit.make(width=12, family='clip', projection=12, **IMAGE),
  'clip_text': clip_text.make(width=12, projection=12, **TEXT),
  'resnet18': resnet.make(width=16, depth=18, **STAGES),
  'resnet50': resnet.make(width=64, depth=50, **STAGES),
}


def golden(name: str):
  """(weights' path, input, output) of a published architecture."""
  of = published.golden(name)
  x = of.inputs
  x = x['x'] if 'x' in x else Ragged(x['ids'], x['mask'])
  return GOLDEN / f'{name}.npz', x, of.output


def loaded(name: str, module=None):
  """(module, variables, input, output)."""
  module = module or CASES[name]
  path, x, want = golden(name)
  variables = shapes(module, x)
  read = quietly(path, module, variables)
  blank = jax.tree.map(lambda s: jnp.zeros(s.shape, s.dtype), variables)
  return module, _layout.fill(blank, read), x, want


def quietly(path, module, variables):
  """The goldens hold inputs and outputs as well, which are no weights."""
  layout = module.layout()
  ignored = (*layout.ignored, 'input/', 'gradient/', 'output')
  layout = layout._replace(ignored=ignored)
  return pretrained.load(str(path), layout, variables, 'config.encoders.m')


@pytest.mark.parametrize('name', CASES)
def test_outputs_are_pytorchs(name):
  module, variables, x, want = loaded(name)
  close(run(module, variables, x), want)


@pytest.mark.parametrize('name', CASES)
def test_gradients_are_pytorchs(name, tmp_path):
  of, x = published.golden(name), golden(name)[1]
  check_gradients(CASES[name], of.weights, of.gradients, x, tmp_path)


@pytest.mark.parametrize('name', CASES)
def test_every_parameter_has_a_rule(name):
  module, x = CASES[name], golden(name)[1]
  ours = set(traverse_util.flatten_dict(shapes(module, x)))
  rules = module.layout().rules
  assert {r.path for r in rules} == ours
  assert len(rules) == len(ours)
  assert {r.layer for r in rules} >= set(range(module.layout().layers + 1))


@pytest.mark.parametrize('name', ['bert', 'vit', 'clip_text'])
def test_remat_and_bfloat16(name):
  module, variables, x, want = loaded(name)
  grad = {}
  for remat in (False, True):
    same = module.clone(remat=remat, dropout=0.5)

    def loss(v, same=same):
      rngs = {'dropout': KEY}
      z = same.apply(v, x, jnp.ones(2, bool), True, rngs=rngs)
      return jnp.sum(getattr(z, 'values', z) ** 2)

    grad[remat] = jax.jit(jax.grad(loss))(variables)
  tiny.close(grad[True], grad[False], rtol=1e-4, atol=1e-4)
  z = run(module.clone(dtype='bfloat16'), variables, x)
  z = getattr(z, 'values', z)
  assert z.dtype == jnp.float32
  real = x.mask[:, :, None] if z.ndim == 3 else True
  assert np.abs(np.where(real, z - want, 0)).max() < 0.2


def test_padding_and_pooling():
  module, variables, x, want = loaded('roberta')
  more = Ragged(
    np.pad(x.values, ((0, 0), (0, 3))), np.pad(x.mask, ((0, 0), (0, 3)))
  )
  for pool, expected in (
    ('first', want[:, 0]),
    ('mean', np.stack([want[0].mean(0), want[1, :5].mean(0)])),
  ):
    pooled = module.clone(pool=pool)
    np.testing.assert_allclose(
      run(pooled, variables, more), expected, atol=1e-5
    )
    unit = run(pooled.clone(normalize=True), variables, x)
    norm = np.linalg.norm(expected, axis=1, keepdims=True)
    np.testing.assert_allclose(unit, expected / norm, atol=1e-5)
  nobody = Ragged(x.values, np.zeros_like(x.mask))
  assert tiny.finite(run(module.clone(pool='mean'), variables, nobody))


def test_frames_are_encoded_one_by_one():
  module, variables, x, want = loaded('vit')
  z = run(module, variables, np.stack([x, x[::-1]], 1))
  np.testing.assert_allclose(z[0], want.mean(0), atol=1e-5)


def test_another_size_of_picture_and_other_channels():
  path, x, _ = golden('vit')
  larger = CASES['vit'].clone(image=42)
  x = np.zeros((2, 42, 42, 1), np.float32)
  read = quietly(path, larger, shapes(larger, x))
  with np.load(path) as file:
    places = file['embeddings.position_embeddings'][0]
    kernel = file['embeddings.patch_embeddings.projection.weight']
  assert read['params/places'].shape == (1, 37, 24)
  np.testing.assert_array_equal(read['params/places'][0, 0], places[0])
  # A resized grid keeps its corners' sides and, nearly, its mean.
  grid = read['params/places'][0, 1:].reshape(6, 6, 24)
  assert np.abs(grid.mean((0, 1)) - places[1:].mean(0)).max() < 0.15
  want = kernel.sum(1).transpose(1, 2, 0)
  np.testing.assert_allclose(
    read['params/patches/kernel'][:, :, 0], want, rtol=1e-5, atol=1e-6
  )
  four = np.zeros((2, 28, 28, 4), np.float32)
  read = quietly(path, CASES['vit'], shapes(CASES['vit'], four))
  kernel4 = read['params/patches/kernel']
  np.testing.assert_allclose(kernel4[:, :, 3], kernel4[:, :, 0], rtol=1e-6)
  np.testing.assert_allclose(
    kernel4[:, :, :3], 0.75 * kernel.transpose(2, 3, 1, 0), rtol=1e-6
  )


# --- What learns --------------------------------------------------------------


def tuned(**section):
  path, x, _ = golden('bert')
  module = bert.make(width=5, **TEXT, eps=1e-5, pool='mean', dropout=0.0)
  made = pretrained.tuned(
    module, 'config.encoders.text', weights='x', **section
  )
  variables = made.init({'params': KEY}, x, np.ones(2, bool), False)
  read = quietly(path, module, shapes(module, x))
  return made, _layout.fill(variables, read), x


def flat(tree) -> dict[str, jax.Array]:
  return {
    '/'.join(path): value
    for path, value in traverse_util.flatten_dict(dict(tree)).items()
  }


def learns(made, variables, x) -> set[str]:  # noqa: ARG001
  return {name.split('/')[0] for name in flat(variables['params'])}


def test_what_is_frozen_is_no_parameter():
  every = {'words', 'places', 'types', 'norm', 'layer_0', 'layer_1'}
  assert learns(*tuned()) == {*every, 'projection'}
  assert learns(*tuned(tune='frozen')) == {'projection'}
  assert learns(*tuned(tune='last', last=1)) == {'layer_1', 'projection'}
  assert learns(*tuned(tune='last', last=2)) == {
    *('layer_0', 'layer_1', 'projection'),
  }
  made, variables, _ = tuned(tune='lora', rank=3)
  sizes = {n: x.shape for n, x in flat(variables['params']).items()}
  assert sizes.pop('projection/kernel') == (24, 5)
  assert sizes.pop('projection/bias') == (5,)
  assert sizes['layer_1/up/thin_in'] == (24, 3)
  assert sizes['layer_1/up/thin_out'] == (3, 40)
  assert len(sizes) == 2 * 2 * 6


@pytest.mark.parametrize('tune', pretrained.TUNES)
def test_it_begins_as_published(tune):
  made, variables, x = tuned(tune=tune)
  plain = bert.make(width=24, **TEXT, eps=1e-5, pool='mean')
  _, published, _, _ = loaded('bert', plain)
  projection = variables['params']['projection']
  want = run(plain, published, x) @ projection['kernel']

  def apply(variables, x):
    valid_B, parts = jnp.ones(2, bool), [c for c in variables if c != 'params']
    return made.apply(variables, x, valid_B, True, rngs={}, mutable=parts)

  z, new = jax.jit(apply)(variables, x)
  np.testing.assert_allclose(z, want, atol=1e-5)
  assert tiny.same(new, {k: v for k, v in variables.items() if k != 'params'})


def test_thin_matrices_add_their_product():
  made, variables, x = tuned(tune='lora', rank=2, alpha=6.0)
  params = traverse_util.flatten_dict(variables['params'])
  params = {
    p: jnp.ones_like(v) if 'thin' in p[-1] else v for p, v in params.items()
  }
  variables['params'] = traverse_util.unflatten_dict(params)
  whole = copy.deepcopy(variables['frozen'])
  for path in params:
    if path[-1] == 'thin_in':
      kernel = whole[path[0]][path[1]]['kernel']
      more = 3.0 * 2 * jnp.ones_like(kernel)  # alpha / rank, 1s times 1s
      whole[path[0]][path[1]]['kernel'] = kernel + more
  whole['projection'] = variables['params']['projection']
  z, _ = made.apply(variables, x, jnp.ones(2, bool), False)
  want = made.module.apply({'params': whole}, x, jnp.ones(2, bool), False)
  np.testing.assert_allclose(z, want, rtol=1e-5, atol=1e-5)


def test_rates_fall_from_layer_to_layer():
  made, variables, _ = tuned(layer_decay=0.5)
  factors = flat(made.scales(variables['params']))
  assert factors['projection/kernel'] == 1
  assert factors['layer_1/up/bias'] == 0.5
  assert factors['layer_0/query/kernel'] == 0.25
  assert factors['words/embedding'] == factors['norm/scale'] == 0.125
  assert tuned()[0].scales(variables['params']) is None
  made, variables, _ = tuned(tune='lora', layer_decay=0.5)
  factors = flat(made.scales(variables['params']))
  assert factors['layer_0/query/thin_in'] == 0.25


def test_a_step_moves_layers_at_their_own_rates():
  """One of plain gradient descent, so that moves are rates times gradients."""
  x = golden('bert')[1]
  batch = {
    'text': x,
    'label': np.array([0, 1]),
    'index': np.arange(2),
    'mask': np.ones(2, bool),
    'present': {'text': np.ones(2, bool)},
  }
  moved = {}
  for decay in (1.0, 0.5):
    encoder = tuned(layer_decay=decay)[0]
    made = net.compose(
      {'text': encoder}, late.make(modalities=('text',), num_classes=2)
    )
    optimizer = optim.sgd(lr=0.1, momentum=0.0, weight_decay=0.0)
    kit = kits.make(
      made,
      optimizer,
      lambda step: 0.1,  # noqa: ARG005
      modalities=('text',),
      class_names=('a', 'b'),
      num_examples=2,
      steps_per_epoch=1,
      head='late',
    )
    method = joint.make(kit)
    state = jax.jit(
      lambda key, m=made, o=optimizer, j=method: kits.init(m, o, j, batch, key)
    )(KEY)
    after, _ = jax.jit(method.phases['joint'].step)(state, batch)
    moved[decay] = flat(
      jax.tree.map(lambda a, b: a - b, after.params, state.params)['text']
    )
  for name, factor in (
    ('projection/kernel', 1.0),
    ('layer_1/up/kernel', 0.5),
    ('layer_0/up/kernel', 0.25),
    ('words/embedding', 0.125),
  ):
    assert np.abs(moved[1.0][name]).max() > 0
    want = factor * moved[1.0][name]
    scale = np.abs(moved[1.0][name]).max()
    np.testing.assert_allclose(moved[0.5][name], want, atol=1e-3 * scale)


def test_a_run_with_published_weights(tmp_path):
  """From a folder to a trained model that does not need the folder any more."""
  model, data = tmp_path / 'model', tiny.write(tmp_path, ('audio',))
  model.mkdir()
  weights = published.golden('bert').weights
  safetensors.numpy.save_file(weights, str(model / 'model.safetensors'))
  with np.load(data) as file:
    fields = dict(file)
  N = len(fields['label'])
  ids = np.random.default_rng(0).integers(3, 40, (N, 6))
  ids[:, 2] = 40 + fields['label']
  np.savez(data, **fields, text=ids.reshape(-1), text_len=np.full(N, 6))
  config = tiny.config(data, ('audio', 'text'))
  config.encoders.text = dict(
    name='bert',
    **TEXT,
    eps=1e-5,
    dropout=0.0,
    pretrained=dict(weights=str(model), tune='last', layer_decay=0.5),
  )
  config.head, config.method = dict(name='late'), dict(name='joint')
  config.phases, config.num_seeds = (('joint', 6),), 2
  config.optim = dict(name='adamw', lr=0.02, weight_decay=0.1)
  exp = experiment.build(config)
  first = exp.init(KEY)
  want = weights['encoder.layer.1.output.dense.weight'].T
  kernel = first.params['text']['layer_1']['down']['kernel']
  np.testing.assert_array_equal(kernel, want)
  results = train.run(exp, tmp_path / 'run')
  accuracy = results['test']['joint']['accuracy']['mean']
  assert accuracy > 0.8
  (model / 'model.safetensors').unlink()
  again = experiment.build(config)
  assert train.run(again, tmp_path / 'run')['test'] == results['test']
  with pytest.raises(ValueError, match=r'holds none of model\.safetensors'):
    train.run(again, tmp_path / 'other')
  assert not (tmp_path / 'other').exists()


# --- What is wrong with it ----------------------------------------------------


@pytest.mark.parametrize(
  'section, told',
  [
    (dict(tune='some'), "tune='some': all, frozen, last, lora"),
    (dict(rank=0), 'rank=0 must be at least 1'),
    (dict(tune='last', last=3), r'last=3 in 1\.\.2'),
    (dict(layer_decay=1.5), 'layer_decay=1.5 in'),
    (dict(tune='frozen', weights=''), 'would keep random weights'),
  ],
)
def test_wrong_options_are_told(section, told):
  section = {'weights': 'x', **section}
  with pytest.raises(ValueError, match=told):
    pretrained.tuned(CASES['bert'], 'config.encoders.text', **section)


def test_an_encoder_without_published_weights():
  module = tiny.PLAIN['audio']
  from mmjax.models import mlp

  assert module['name'] == 'mlp'
  with pytest.raises(ValueError, match='has no published weights'):
    pretrained.tuned(mlp.make(width=3), 'config.encoders.audio')


def refused(path, module=None, told='', x=None):
  module = module or CASES['bert']
  x = golden('bert')[1] if x is None else x
  with pytest.raises(ValueError, match=told):
    quietly(path, module, shapes(module, x))


def test_weights_that_do_not_fit_are_told():
  path = golden('bert')[0]
  refused(path, CASES['vit'], 'another architecture', golden('vit')[1])
  deeper = CASES['bert'].clone(layers=3)
  refused(path, deeper, r'lacks 16 of the 53 weights .*encoder\.layer\.2\.')
  wide = CASES['bert'].clone(hidden=48)
  refused(path, wide, r'another size .*\(24, 40\) there, \(24, 48\) here')


def saved(folder, **change) -> pathlib.Path:
  """BERT's as a .npz, with some tensors replaced."""
  np.savez(folder / 'w.npz', **{**published.golden('bert').weights, **change})
  return folder / 'w.npz'


def test_nan_is_refused_and_what_is_left_over_told(tmp_path):
  name = 'embeddings.LayerNorm.bias'
  refused(
    saved(tmp_path, **{name: np.full(24, np.nan, np.float32)}),
    told=f'{name} holds NaN',
  )
  with pytest.warns(
    UserWarning, match='holds 1 weights .* no place for: extra'
  ):
    path = saved(tmp_path, extra=np.zeros(2))
    quietly(path, CASES['bert'], shapes(CASES['bert'], golden('bert')[1]))


def test_folders_and_formats(tmp_path):
  with pytest.raises(ValueError, match='There are no weights at'):
    _weights.read(str(tmp_path / 'nothing'))
  with pytest.raises(ValueError, match='holds none of'):
    _weights.read(str(tmp_path))
  other = tmp_path / 'w.h5'
  other.write_bytes(b'x')
  with pytest.raises(ValueError, match='is of no known format'):
    _weights.read(str(other))
  lfs = tmp_path / 'w.safetensors'
  lfs.write_bytes(b'version https://git-lfs.github.com/spec/v1\n')
  with pytest.raises(ValueError, match='git lfs pull'):
    _weights.read(str(lfs))
  parts = {'a': 'model-1.safetensors', 'b': 'model-2.safetensors'}
  index = tmp_path / 'model.safetensors.index.json'
  index.write_text(json.dumps({'weight_map': parts}))
  save = safetensors.numpy.save_file
  save({'a': np.ones(2, np.float32)}, str(tmp_path / parts['a']))
  with pytest.raises(ValueError, match='lacks 1 of its 2 parts: model-2'):
    _weights.read(str(tmp_path))
  save({'b': np.zeros(3, np.float16)}, str(tmp_path / parts['b']))
  read = _weights.read(str(tmp_path))
  assert {n: x.shape for n, x in read.items()} == {'a': (2,), 'b': (3,)}
  outside = {'a': '../other.safetensors'}
  index.write_text(json.dumps({'weight_map': outside}))
  save({'a': np.ones(1)}, str(tmp_path.parent / 'other.safetensors'))
  with pytest.raises(ValueError, match='outside its folder'):
    _weights.read(str(tmp_path))


class _Global:
  """Pickles as a call of a function by name."""

  def __init__(self, call, *arguments):
    self.call, self.arguments = call, arguments

  def __reduce__(self):
    return self.call, self.arguments


def torch_zip(path, content: bytes, storages=(), method=zipfile.ZIP_STORED):
  with zipfile.ZipFile(path, 'w', method) as archive:
    archive.writestr('model/data.pkl', content)
    for i, data in enumerate(storages):
      archive.writestr(f'model/data/{i}', data)
  return str(path)


def test_files_of_pytorch(tmp_path):
  torch = pytest.importorskip('torch')
  tensors = {
    'a': torch.arange(12.0).reshape(3, 4),
    'b': torch.arange(6).reshape(2, 3).T,  # strided
    'c': torch.ones(3, dtype=torch.bfloat16),
    'd': torch.nn.Parameter(torch.tensor(2.0).half()),
  }
  for tree in (tensors, {'state_dict': tensors, 'epoch': 3}):
    torch.save(tree, tmp_path / 'w.pth')
    read = _weights.read(str(tmp_path / 'w.pth'))
    assert set(read) == set(tensors)
    for name, tensor in tensors.items():
      want = tensor.detach().float().numpy()
      np.testing.assert_array_equal(read[name].astype(np.float32), want)
  torch.save(tensors, tmp_path / 'old.pt', _use_new_zipfile_serialization=False)
  with pytest.raises(ValueError, match='before 1.6 have another format'):
    _weights.read(str(tmp_path / 'old.pt'))
  torch.save(torch.nn.Linear(2, 2), tmp_path / 'module.pt')
  with pytest.raises(ValueError, match=r'asks for torch\.nn.*not executed'):
    _weights.read(str(tmp_path / 'module.pt'))


def test_no_code_of_a_file_is_run(tmp_path):
  import os

  flag = tmp_path / 'ran'
  evil = {'a': _Global(os.system, f'touch {flag}')}
  path = torch_zip(tmp_path / 'evil.pt', pickle.dumps(evil, 2))
  with pytest.raises(
    ValueError, match=r'(posix|nt)\.system, which is no tensor'
  ):
    _weights.read(path)
  evil = {'a': _Global(eval, f'open({str(flag)!r}, "w")')}
  path = torch_zip(tmp_path / 'evil.pt', pickle.dumps(evil, 2))
  with pytest.raises(ValueError, match='eval, which is no tensor'):
    _weights.read(path)
  assert not flag.exists()


def tensor_pickle(
  offset=0, size=(2,), stride=(1,), count=2, kind='FloatStorage'
):
  """data.pkl of one tensor, written by hand."""
  content = io.BytesIO()

  class Pickler(pickle.Pickler):
    def persistent_id(self, obj):
      if isinstance(obj, complex):  # stands for the storage
        return ('storage', _named('torch', kind), '0', 'cpu', count)
      return None

  call = _named('torch._utils', '_rebuild_tensor_v2')
  value = _Global(call, 1j, offset, size, stride, False, None)
  Pickler(content, 2).dump({'w': value})
  return content.getvalue()


def _named(module: str, name: str):
  """Something that pickles as module.name."""
  import sys
  import types

  made = type(name, (), {'__module__': module, '__qualname__': name})
  made.__new__ = lambda cls, *args: args  # noqa: ARG005
  sys.modules.setdefault(module, types.ModuleType(module))
  if not hasattr(sys.modules[module], name):
    setattr(sys.modules[module], name, made)
  return getattr(sys.modules[module], name)


@pytest.mark.parametrize(
  'described, told',
  [
    (dict(size=(3,)), 'reaches beyond its storage'),
    (dict(offset=1), 'reaches beyond its storage'),
    (dict(stride=(-1,)), 'negative size'),
    (dict(count=5), 'holds 2 numbers, not 5'),
  ],
)
def test_tensors_stay_inside_their_storage(tmp_path, described, told):
  pytest.importorskip('torch')  # whose names the pickle holds
  data = np.arange(2, dtype=np.float32).tobytes()
  path = torch_zip(tmp_path / 'w.pt', tensor_pickle(), [data])
  np.testing.assert_array_equal(_weights.read(path)['w'], [0, 1])
  path = torch_zip(tmp_path / 'w.pt', tensor_pickle(**described), [data])
  with pytest.raises(ValueError, match=told):
    _weights.read(path)


def test_archives_that_are_no_torch_files(tmp_path):
  path = torch_zip(tmp_path / 'w.pt', b'garbage')
  with pytest.raises(ValueError, match='w.pt is damaged'):
    _weights.read(path)
  path = torch_zip(tmp_path / 'w.pt', b'x' * 99, method=zipfile.ZIP_DEFLATED)
  with pytest.raises(ValueError, match='is compressed'):
    _weights.read(path)
  with zipfile.ZipFile(tmp_path / 'w.pt', 'w') as archive:
    archive.writestr('../outside', b'x')
  with pytest.raises(ValueError, match=r'holds no data\.pkl'):
    _weights.read(path)
  assert not (tmp_path.parent / 'outside').exists()


@pytest.fixture(scope='module')
def whole_files(tmp_path_factory):
  """One file of each format: (path, its bytes)."""
  folder = tmp_path_factory.mktemp('whole')
  tensors = {'a': np.arange(6, dtype=np.float32).reshape(2, 3), 'b': np.ones(2)}
  safetensors.numpy.save_file(tensors, str(folder / 'w.safetensors'))
  np.savez(folder / 'w.npz', **tensors)
  paths = [folder / 'w.safetensors', folder / 'w.npz']
  try:
    import torch
  except ModuleNotFoundError:
    pass
  else:
    torch.save(
      {n: torch.tensor(x) for n, x in tensors.items()}, folder / 'w.pt'
    )
    paths.append(folder / 'w.pt')
  return [(path, path.read_bytes()) for path in paths]


@hypothesis.settings(max_examples=150)
@hypothesis.given(data=st.data())
def test_damaged_files_are_values_or_errors(whole_files, data):
  """Flipped bytes and cut ends: arrays, or a ValueError that names the file."""
  path, content = data.draw(st.sampled_from(whole_files))
  damaged = bytearray(content)
  for _ in range(data.draw(st.integers(0, 4))):
    at = data.draw(st.integers(0, len(content) - 1))
    damaged[at] = data.draw(st.integers(0, 255))
  damaged = damaged[: data.draw(st.integers(0, len(content)))]
  broken = path.with_name(f'broken{path.suffix}')
  broken.write_bytes(bytes(damaged))
  try:
    read = _weights.read(str(broken))
  except ValueError as error:
    assert broken.name in str(error)
  else:
    assert all(isinstance(x, np.ndarray) for x in read.values())
