"""One branch of M3AE (Geng et al. 2022): pictures or token ids to a vector.

One transformer for both, and places that are computed; a branch is what it
makes of one modality. From github.com/young-geng/m3ae_public, a Flax model:
GELU by its tanh approximation, LayerNorms with eps 1e-6.

Its weights are nested dicts of arrays, read from a pickle of nothing else or
under joined names, 'encoder/Block_0/LayerNorm_0/scale'. The released pickle has
a class around them, which is not read. Where that code can be run, once:

  flat = flatten_dict(released['state'].params['params'], sep='/')  # of flax
  numpy.savez('m3ae_base.npz', **flat)

MLA has a copy for each modality. Its PyTorch port is not quite this model: it
takes the exact GELU and eps 1e-5, orders the numbers of a patch as (channel,
row, column) although the weights are for (row, column, channel), and its mean
over the tokens of a text includes padding, which ours leaves out.
"""

from typing import Any

import flax.linen as nn
import jax.numpy as jnp
import numpy as np

from mmjax import base
from mmjax.base import Array
from mmjax.models import _images, _layer, _sequence, _sincos
from mmjax.models._layout import Layout, Path, Rule

BRANCHES = ('image', 'text')
POOLS = ('mean', 'first')


class M3ae(nn.Module):
  """Tokens and a first one, pre-LN layers, norm, pooling."""

  width: int
  branch: str
  vocab: int
  image: int
  patch: int
  channels: int
  layers: int
  heads: int
  hidden: int
  typed: bool
  activation: str
  eps: float
  pool: str
  dropout: float
  remat: bool
  dtype: str

  @nn.compact
  def __call__(self, x: Any, valid_B: Array, train: bool) -> Array:  # noqa: ARG002
    """Pictures as of `vit`, or token ids i32[B, T], 0 = padding -> z_BD."""
    text = self.branch == 'text'
    h_NTD, mask_NT, mask_BF = self._words(x) if text else self._patches(x)
    h_NTD = self._begin(h_NTD)
    mask_NT = jnp.pad(mask_NT, ((0, 0), (1, 0)), constant_values=True)
    h_NTD = _layer.stack(
      self, h_NTD, _layer.keys(mask_NT) if text else None, train
    ).astype(jnp.float32)
    h_NTD = nn.LayerNorm(self.eps, name='norm')(h_NTD)
    first = self.pool == 'first'
    z_ND = h_NTD[:, 0] if first else _sequence.mean(h_NTD, mask_NT)
    z_BD = _sequence.mean(z_ND.reshape(*mask_BF.shape, -1), mask_BF)
    if self.width != self.channels:
      z_BD = nn.Dense(self.width, name='projection')(z_BD)
    return z_BD

  def _words(self, x: Any) -> tuple[Array, Array, Array]:
    """Tokens, which of them are real, and one 'frame' per example."""
    ragged = isinstance(x, base.Ragged)
    ids_BT = jnp.asarray(x.values if ragged else x)
    mask_BT = jnp.asarray(x.mask) if ragged else ids_BT != 0
    h_BTD = nn.Embed(self.vocab, self.channels, name='words')(ids_BT)
    places = _sincos.line(np.arange(ids_BT.shape[1]), self.channels)
    return h_BTD + places[None], mask_BT, jnp.ones((ids_BT.shape[0], 1), bool)

  def _patches(self, x: Any) -> tuple[Array, Array, Array]:
    """Patches of all frames, which all are real, and the mask of the frames."""
    frames, mask_BF = _images.frames('m3ae', x)
    if frames.shape[2:4] != (self.image, self.image):
      raise ValueError(
        f'm3ae got pictures of {frames.shape[2]} x {frames.shape[3]} and is for '
        f'image={self.image}: set it, or the size in config.augment '
        "(name='image')."
      )
    D, side = self.channels, self.image // self.patch
    h = nn.Conv(
      D,
      (self.patch, self.patch),
      self.patch,
      'VALID',
      dtype=self.dtype,
      name='patches',
    )(frames.reshape(-1, *frames.shape[2:]))
    h_NPD = h.reshape(-1, side**2, D) + _sincos.grid(side, side, D)[None]
    return h_NPD, jnp.ones(h_NPD.shape[:2], bool), mask_BF

  def _begin(self, h_NTD: Array) -> Array:
    """With the branch's own vector on each token, and the first token."""
    small = nn.initializers.normal(0.02)
    shape = (1, 1, self.channels)
    if self.typed:
      h_NTD = h_NTD + self.param('branch_token', small, shape)
    first = self.param('first', small, shape)
    first = jnp.broadcast_to(first, (h_NTD.shape[0], *shape[1:]))
    return jnp.concatenate([first, h_NTD], 1)

  def layout(self) -> Layout:
    at = ('params',)
    rules = [
      Rule((*at, 'first'), ('cls_token',), 'same', 0),
      *_norm((*at, 'norm'), 'encoder/LayerNorm_0', self.layers),
    ]
    if self.branch == 'text':
      path = (*at, 'words', 'embedding')
      rules.append(Rule(path, ('text_embedding/embedding',), 'same', 0))
    else:  # a patch is a vector there, in the order that a kernel has
      rules += _dense((*at, 'patches'), 'image_embedding', 0)
    if self.typed:
      name = f'encoder_{self.branch}_type_embedding'
      rules.append(Rule((*at, 'branch_token'), (name,), 'same', 0))
    for i in range(self.layers):
      rules += _block((*at, f'layer_{i}'), f'encoder/Block_{i}', i + 1)
    prefixes = ('', 'params/', 'params/params/', 'state/params/params/')
    ignored = ('decoder', 'image_', 'text_', 'encoder_')
    return Layout(rules, prefixes, ignored)


def _dense(path: Path, name: str, layer: int, third: str = '') -> list[Rule]:
  return _named(path, name, layer, ('kernel', 'bias'), f'same{third}')


def _norm(path: Path, name: str, layer: int) -> list[Rule]:
  return _named(path, name, layer, ('scale', 'bias'), 'same')


def _named(path, name, layer, parts, how) -> list[Rule]:
  return [Rule((*path, p), (f'{name}/{p}',), how, layer) for p in parts]


def _block(path: Path, name: str, layer: int) -> list[Rule]:
  rules = []
  for nth, part in enumerate(('query', 'key', 'value')):
    of = f'{name}/Attention_0/Dense_0'
    rules += _dense((*path, part), of, layer, f':{nth}')
  for part, of in (
    ('out', 'Attention_0/Dense_1'),
    ('up', 'TransformerMLP_0/fc1'),
    ('down', 'TransformerMLP_0/fc2'),
  ):
    rules += _dense((*path, part), f'{name}/{of}', layer)
  for nth, part in enumerate(('norm_attention', 'norm_mlp')):
    rules += _norm((*path, part), f'{name}/LayerNorm_{nth}', layer)
  return rules


def make(
  *,
  width: int = 768,
  branch: str = 'image',
  vocab: int = 30522,
  image: int = 256,
  patch: int = 16,
  channels: int = 768,
  layers: int = 12,
  heads: int = 12,
  hidden: int = 0,
  typed: bool = True,
  activation: str = 'gelu_tanh',
  eps: float = 1e-6,
  pool: str = 'mean',
  dropout: float = 0.0,
  remat: bool = False,
  dtype: str = 'float32',
) -> nn.Module:
  """Encoder with the published weights of M3AE; the defaults are of 'base'.

  Pictures are standardised before, by the mean and deviation of CC12M for the
  published weights; frames are encoded one by one and averaged. Texts are of
  bert-base-uncased's tokens, without special ones.

  Args:
    width: feature width D; other than `channels`, a Dense layer projects.
    branch: 'image' or 'text'.
    vocab: number of token ids; 'text'.
    image: pixels a side; 'image'.
    patch: pixels a side; 'image'.
    channels: width of the layers.
    layers: of the transformer.
    heads: of the attention.
    hidden: width of the MLPs; 0 is 4 channels.
    typed: a learnt vector on each token says of which branch it is; not so in
      the files of MAE that are published beside M3AE's.
    activation: of the MLPs.
    eps: of the LayerNorms.
    pool: 'mean' over all tokens, also the first, as MLA does, or the 'first'.
    dropout: rate after attention and MLP.
    remat: compute activations again for the gradient, to save memory.
    dtype: of the layers; parameters stay float32.

  Returns:
    Module: (x, valid_B, train) -> z_BD float32.

  Raises:
    ValueError: an unknown branch, pool or activation, sizes that do not divide.
  """
  if branch not in BRANCHES or pool not in POOLS:
    raise ValueError(
      f'm3ae: branch={branch!r} is one of {", ".join(BRANCHES)}, and '
      f'pool={pool!r} one of {", ".join(POOLS)}.'
    )
  if branch == 'image' and image % patch:
    raise ValueError(
      f'm3ae.patch={patch} does not divide image={image}; take '
      f'{image - image % patch}.'
    )
  _layer.check('m3ae', channels, heads, activation)
  _sincos.check('m3ae', channels)
  return M3ae(
    width,
    branch,
    vocab,
    image,
    patch,
    channels,
    layers,
    heads,
    hidden or 4 * channels,
    typed,
    activation,
    eps,
    pool,
    dropout,
    remat,
    dtype,
  )
