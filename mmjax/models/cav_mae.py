"""A branch of CAV-MAE (Gong et al. 2023): sound or pictures to a vector.

Layers of its own, then layers whose attention and MLP both branches share and
of which each has norms of its own; the mean over all patches. Names and numbers
are those of github.com/YuanGongND/cav-mae. MLA encodes IEMOCAP's audio with the
audio branch, without standardising it: mean=0, std=1.
"""

from typing import Any

import flax.linen as nn
import jax.numpy as jnp

from mmjax.base import Array
from mmjax.models import _images, _layer, _sequence, _sincos, _spectra
from mmjax.models._layout import Layout, Rule, conv, norm

BRANCHES = {'audio': 'a', 'visual': 'v'}
_PARTS = {'qkv': 'attn.qkv', 'out': 'attn.proj'}
_PARTS |= {'up': 'mlp.fc1', 'down': 'mlp.fc2'}


def _names(blocks: str, norms: str) -> dict[str, str]:
  parts = _PARTS | {'norm_attention': 'norm1', 'norm_mlp': 'norm2'}
  return {
    part: f'{blocks}.{{i}}.{name}{norms if part.startswith("norm") else ""}'
    for part, name in parts.items()
  }


class CavMae(nn.Module):
  """Patches, places, the branch, pre-LN layers, norm, mean over the patches."""

  width: int
  branch: str
  frames: int
  mels: int
  mean: float
  std: float
  image: int
  patch: int
  channels: int
  layers: int
  shared: int
  heads: int
  hidden: int
  activation: str
  eps: float
  dropout: float
  remat: bool
  dtype: str

  @nn.compact
  def __call__(self, x: Any, valid_B: Array, train: bool) -> Array:  # noqa: ARG002
    """audio [B, T, M] or [B, T, M, 1], visual as of `vit` -> z_BD."""
    x_NHWC, mask_BT = self._pictures(x)
    h_NPD = self._embed(x_NHWC)
    h_NPD = nn.Dropout(self.dropout, deterministic=not train)(h_NPD)
    h_NPD = _layer.stack(
      self, h_NPD, None, train, layers=self.layers + self.shared
    ).astype(jnp.float32)
    z_ND = nn.LayerNorm(self.eps, name='norm')(h_NPD).mean(1)
    z_BD = _sequence.mean(z_ND.reshape(*mask_BT.shape, -1), mask_BT)
    if self.width != self.channels:
      z_BD = nn.Dense(self.width, name='projection')(z_BD)
    return z_BD

  def _pictures(self, x: Any) -> tuple[Array, Array]:
    """All pictures [N, H, W, C], and which of [B, T] are real."""
    if self.branch == 'audio':
      scale = (self.mean, self.std)
      x = _spectra.picture('cav_mae', x, self.frames, self.mels, *scale)
      return x, jnp.ones((x.shape[0], 1), bool)
    frames, mask_BT = _images.frames('cav_mae', x)
    if frames.shape[2:4] != (self.image, self.image):
      raise ValueError(
        f'cav_mae got pictures of {frames.shape[2]} x {frames.shape[3]} and is '
        f'for image={self.image}: set it, or the size in config.augment '
        "(name='image')."
      )
    return frames.reshape(-1, *frames.shape[2:]), mask_BT

  def _embed(self, x_NHWC: Array) -> Array:
    D = self.channels
    h = nn.Conv(
      D,
      (self.patch, self.patch),
      self.patch,
      'VALID',
      dtype=self.dtype,
      name='patches',
    )(x_NHWC)
    _, rows, columns, _ = h.shape
    places = self.param(
      'places', lambda _: jnp.asarray(_sincos.grid(rows, columns, D))[None]
    )
    small = nn.initializers.normal(0.02)
    return (
      h.reshape(h.shape[0], -1, D)
      + places
      + self.param('branch_token', small, (1, 1, D))
    )

  def layout(self) -> Layout:
    at, b = ('params',), BRANCHES[self.branch]
    top = self.layers + self.shared
    how = 'positions:0' if self.branch == 'visual' else 'same'
    rules = [
      *conv((*at, 'patches'), f'patch_embed_{b}.proj', 0),
      Rule((*at, 'places'), (f'pos_embed_{b}',), how, 0),
      Rule((*at, 'branch_token'), (f'modality_{b}',), 'same', 0),
      *_layer.rules(self.layers, _names(f'blocks_{b}', '')),
      *norm((*at, 'norm'), f'norm_{b}', top),
    ]
    for rule in _layer.rules(self.shared, _names('blocks_u', f'_{b}')):
      nth = self.layers + rule.layer
      path = (*at, f'layer_{nth - 1}', *rule.path[2:])
      rules.append(rule._replace(path=path, layer=nth))
    return Layout(rules, ('', 'module.'), self._ignored())

  def _ignored(self) -> tuple[str, ...]:
    """The other branch, the decoder, heads, and norms that nothing uses."""
    own = BRANCHES[self.branch]
    other = 'v' if own == 'a' else 'a'
    parts = ('patch_embed', 'pos_embed', 'modality', 'blocks', 'norm')
    places = [(f'blocks_{own}.{i}.', '_') for i in range(self.layers)]
    for end in ('.', f'_{other}'):
      places += [(f'blocks_u.{i}.', end) for i in range(self.shared)]
    return (
      *('decoder_', 'mask_token', 'norm.', 'mlp_head.'),
      *(f'{part}_{other}' for part in parts),
      *(f'{at}norm{k}{end}' for at, end in places for k in (1, 2)),
    )


def make(
  *,
  width: int = 768,
  branch: str = 'audio',
  frames: int = 1024,
  mels: int = 128,
  mean: float = -5.081,
  std: float = 4.4849,
  image: int = 224,
  patch: int = 16,
  channels: int = 768,
  layers: int = 11,
  shared: int = 1,
  heads: int = 12,
  hidden: int = 0,
  activation: str = 'gelu',
  eps: float = 1e-5,
  dropout: float = 0.0,
  remat: bool = False,
  dtype: str = 'float32',
) -> nn.Module:
  """Encoder with the published weights of CAV-MAE, whose defaults these are.

  Frames of a video are encoded one by one and averaged. Positions of another
  `image` are interpolated when loaded, those of other `frames` are not.

  Args:
    width: feature width D; other than `channels`, a Dense layer projects.
    branch: 'audio' or 'visual'.
    frames: of the spectrogram, 10 ms each, padding included; 'audio'.
    mels: its bands; 'audio'.
    mean: taken from the spectrogram, which is then divided by
    std: the released recipes' for AudioSet and VGGSound; 'audio'.
    image: pixels a side; 'visual'.
    patch: frames and bands, or pixels, a side.
    channels: width of the layers.
    layers: of the branch alone.
    shared: layers above them, of both branches.
    heads: of the attention.
    hidden: width of the MLPs; 0 is 4 channels.
    activation: of the MLPs.
    eps: of the LayerNorms.
    dropout: rate after embeddings, attention and MLP.
    remat: compute activations again for the gradient, to save memory.
    dtype: of the layers; parameters stay float32.

  Returns:
    Module: (x, valid_B, train) -> z_BD float32.

  Raises:
    ValueError: an unknown branch or activation, sizes that do not divide, a std
      that is not above 0.
  """
  if branch not in BRANCHES or not std > 0:
    raise ValueError(
      f'cav_mae: branch={branch!r} is one of {", ".join(BRANCHES)}, and '
      f'std={std} must be above 0.'
    )
  sizes = (frames, mels) if branch == 'audio' else (image,)
  if any(size % patch for size in sizes):
    raise ValueError(f'cav_mae.patch={patch} does not divide {sizes}.')
  _layer.check('cav_mae', channels, heads, activation)
  _sincos.check('cav_mae', channels)
  return CavMae(
    width,
    branch,
    frames,
    mels,
    mean,
    std,
    image,
    patch,
    channels,
    layers,
    shared,
    heads,
    hidden or 4 * channels,
    activation,
    eps,
    dropout,
    remat,
    dtype,
  )
