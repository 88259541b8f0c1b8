"""Vision transformers with published weights: ViT, DeiT, DINOv2, CLIP's, timm's.

Dosovitskiy et al. 2021; Oquab et al. 2024 (a learnt scale on every residual,
registers of Darcet et al. 2024); Radford et al. 2021 (a norm before the layers,
none of the patches has a bias, the first token projected).
"""

from typing import Any, NamedTuple

import flax.linen as nn
import jax.numpy as jnp

from mmjax.base import Array
from mmjax.models import _images, _layer, _sequence
from mmjax.models._layout import Layout, Rule, conv, norm


class _Family(NamedTuple):
  """What is not a size."""

  prefixes: tuple[str, ...]
  names: dict[str, str]  # of a layer, then of what is around them
  eps: float = 1e-6
  activation: str = 'gelu'
  scaled: bool = False
  patch_bias: bool = True
  norm_before: str = ''
  projection: str = ''
  ignored: tuple[str, ...] = ('pooler.', 'classifier.', 'head.', 'fc_norm.')


_HF = 'encoder.layer.{i}.'
_TIMM = 'blocks.{i}.'
_CLIP = 'vision_model.encoder.layers.{i}.'
_MLP = {'up': 'mlp.fc1', 'down': 'mlp.fc2'}


def _of_layers(start: str, **names: str) -> dict[str, str]:
  return {part: start + name for part, name in names.items()}


_ATTENTION = dict(
  query='attention.attention.query',
  key='attention.attention.key',
  value='attention.attention.value',
  out='attention.output.dense',
)
FAMILIES = {
  'vit': _Family(
    ('', 'vit.', 'deit.', 'model.'),
    dict(
      **_of_layers(
        _HF,
        **_ATTENTION,
        norm_attention='layernorm_before',
        norm_mlp='layernorm_after',
        up='intermediate.dense',
        down='output.dense',
      ),
      first='embeddings.cls_token',
      places='embeddings.position_embeddings',
      patches='embeddings.patch_embeddings.projection',
      norm='layernorm',
    ),
    eps=1e-12,
    ignored=('pooler.', 'classifier.', 'embeddings.mask_token'),
  ),
  'dinov2': _Family(
    ('', 'dinov2.', 'dinov2_with_registers.'),
    dict(
      **_of_layers(
        _HF,
        **_ATTENTION,
        **_MLP,
        norm_attention='norm1',
        norm_mlp='norm2',
        scale_attention='layer_scale1.lambda1',
        scale_mlp='layer_scale2.lambda1',
      ),
      first='embeddings.cls_token',
      places='embeddings.position_embeddings',
      registers='embeddings.register_tokens',
      patches='embeddings.patch_embeddings.projection',
      norm='layernorm',
    ),
    scaled=True,
    ignored=('classifier.', 'embeddings.mask_token'),
  ),
  'clip': _Family(
    ('',),
    dict(
      **_of_layers(
        _CLIP,
        **_MLP,
        query='self_attn.q_proj',
        key='self_attn.k_proj',
        value='self_attn.v_proj',
        out='self_attn.out_proj',
        norm_attention='layer_norm1',
        norm_mlp='layer_norm2',
      ),
      first='vision_model.embeddings.class_embedding',
      places='vision_model.embeddings.position_embedding.weight',
      patches='vision_model.embeddings.patch_embedding',
      norm='vision_model.post_layernorm',
    ),
    eps=1e-5,
    activation='quick_gelu',
    patch_bias=False,
    norm_before='vision_model.pre_layrnorm',
    projection='visual_projection',
    ignored=('text_model.', 'text_projection.', 'visual_projection.', 'logit'),
  ),
  'timm': _Family(
    ('', 'model.', 'module.', 'backbone.'),
    dict(
      **_of_layers(
        _TIMM,
        **_MLP,
        qkv='attn.qkv',
        out='attn.proj',
        norm_attention='norm1',
        norm_mlp='norm2',
        scale_attention='ls1.gamma',
        scale_mlp='ls2.gamma',
      ),
      first='cls_token',
      places='pos_embed',
      registers='reg_token',
      patches='patch_embed.proj',
      norm='norm',
    ),
  ),
}
POOLS = ('first', 'mean', 'both')


class Vit(nn.Module):
  """Patches, places, pre-LN layers, norm, pooling, Dense where widths differ."""

  width: int
  family: str
  image: int
  patch: int
  channels: int
  layers: int
  heads: int
  hidden: int
  registers: int
  activation: str
  eps: float
  scaled: bool
  projection: int
  pool: str
  dropout: float
  remat: bool
  dtype: str

  @nn.compact
  def __call__(self, x: Any, valid_B: Array, train: bool) -> Array:  # noqa: ARG002
    """[B, H, W, C] or frames [B, T, H, W, C], standardised -> z_BD."""
    frames, mask_BT = _images.frames('vit', x)
    B, T, H, W, _ = frames.shape
    if (H, W) != (self.image, self.image):
      raise ValueError(
        f'vit got pictures of {H} x {W} and is for image={self.image}: set it, '
        "or the size in config.augment (name='image')."
      )
    h_NPD = self._embed(frames.reshape(B * T, H, W, -1))
    h_NPD = nn.Dropout(self.dropout, deterministic=not train)(h_NPD)
    h_NPD = _layer.stack(self, h_NPD, None, train, scaled=self.scaled)
    z_BTD = self._pool(h_NPD.astype(jnp.float32)).reshape(B, T, -1)
    z_BD = _sequence.mean(z_BTD, mask_BT)
    if z_BD.shape[-1] != self.width:
      z_BD = nn.Dense(self.width, name='head')(z_BD)
    return z_BD

  def _embed(self, x_NHWC: Array) -> Array:
    family, D = FAMILIES[self.family], self.channels
    h = nn.Conv(
      D,
      (self.patch, self.patch),
      self.patch,
      'VALID',
      use_bias=family.patch_bias,
      dtype=self.dtype,
      name='patches',
    )(x_NHWC)
    N, count = h.shape[0], h.shape[1] * h.shape[2]
    small = nn.initializers.normal(0.02)
    first = self.param('first', small, (1, 1, D))
    places = self.param('places', small, (1, 1 + count, D))
    h = jnp.concatenate(
      [jnp.broadcast_to(first, (N, 1, D)), h.reshape(N, count, D)], 1
    )
    h = h + places
    if self.registers:
      extra = self.param('registers', small, (1, self.registers, D))
      extra = jnp.broadcast_to(extra, (N, self.registers, D))
      h = jnp.concatenate([h[:, :1], extra, h[:, 1:]], 1)
    if family.norm_before:
      h = nn.LayerNorm(self.eps, dtype=self.dtype, name='norm_before')(h)
    return h

  def _pool(self, h_NPD: Array) -> Array:
    """CLIP's norm is of the first token alone, which is the same there."""
    h_NPD = nn.LayerNorm(self.eps, name='norm')(h_NPD)
    first, patches = h_NPD[:, 0], h_NPD[:, 1 + self.registers :]
    if self.pool == 'mean':
      z = patches.mean(1)
    elif self.pool == 'both':
      z = jnp.concatenate([first, patches.mean(1)], -1)
    else:
      z = first
    if self.projection:
      z = nn.Dense(self.projection, use_bias=False, name='projection')(z)
    return z

  def layout(self) -> Layout:
    family, at = FAMILIES[self.family], ('params',)
    names = dict(family.names)
    if self.activation == 'swiglu':
      start = names['up'].removesuffix('mlp.fc1')
      names |= {
        'up': f'{start}mlp.weights_in',
        'down': f'{start}mlp.weights_out',
      }
    rules = [
      *conv((*at, 'patches'), names['patches'], 0, bias=family.patch_bias),
      Rule((*at, 'first'), (names['first'],), 'same', 0),
      Rule((*at, 'places'), (names['places'],), 'positions:1', 0),
      *norm((*at, 'norm'), names['norm'], self.layers),
      *_layer.rules(self.layers, names, scaled=self.scaled),
    ]
    if self.registers:
      rules.append(Rule((*at, 'registers'), (names['registers'],), 'same', 0))
    if family.norm_before:
      rules += norm((*at, 'norm_before'), family.norm_before, 0)
    if self.projection:
      path, name = (*at, 'projection', 'kernel'), f'{family.projection}.weight'
      rules.append(Rule(path, (name,), 'linear', self.layers))
    return Layout(rules, family.prefixes, family.ignored)


def make(
  *,
  width: int = 768,
  family: str = 'vit',
  image: int = 224,
  patch: int = 16,
  channels: int = 768,
  layers: int = 12,
  heads: int = 12,
  hidden: int = 0,
  registers: int = 0,
  activation: str = '',
  eps: float = 0.0,
  scaled: bool | None = None,
  projection: int = 0,
  pool: str = 'first',
  dropout: float = 0.0,
  remat: bool = False,
  dtype: str = 'float32',
) -> nn.Module:
  """Picture encoder with the published weights of vision transformers.

  The defaults are ViT-B/16. Frames are encoded one by one and averaged. DINOv2:
  family='dinov2', patch=14; its giant has channels=1536, layers=40, heads=24,
  hidden=4096, activation='swiglu'. CLIP ViT-B/32: family='clip', patch=32,
  projection=512. Positions of another `image` are interpolated when loaded.

  Args:
    width: feature width D; other than what comes out, a Dense layer projects.
    family: of the file: 'vit', 'dinov2', 'clip' (Hugging Face) or 'timm'.
    image: pixels a side; see config.augment for how pictures get there.
    patch: pixels a side.
    channels: width of the layers.
    layers: of the transformer.
    heads: of the attention.
    hidden: width of the MLPs; 0 is 4 channels.
    registers: tokens besides the first that are of no patch.
    activation: of the MLPs, of which 'swiglu' has gates; '' is the family's.
    eps: of the LayerNorms; 0 is the family's.
    scaled: learnt scales on the residuals; None is the family's.
    projection: CLIP's common width; 0 leaves it out.
    pool: 'first' token, 'mean' over the patches, or 'both', side by side.
    dropout: rate after embeddings, attention and MLP.
    remat: compute activations again for the gradient, to save memory.
    dtype: of the layers; parameters stay float32.

  Returns:
    Module: (x, valid_B, train) -> z_BD float32.

  Raises:
    ValueError: an unknown family, pool or activation, sizes that do not divide,
      a projection in a family without one.
  """
  if family not in FAMILIES or pool not in POOLS:
    raise ValueError(
      f'vit: family={family!r} is one of {", ".join(FAMILIES)}, and '
      f'pool={pool!r} one of {", ".join(POOLS)}.'
    )
  of = FAMILIES[family]
  activation = activation or of.activation
  _layer.check('vit', channels, heads, activation)
  if image % patch:
    image_ = image - image % patch
    raise ValueError(
      f'vit.patch={patch} does not divide image={image}; take {image_}.'
    )
  if projection and not of.projection:
    raise ValueError(f'vit.projection is for CLIP; family={family!r} has none.')
  return Vit(
    width,
    family,
    image,
    patch,
    channels,
    layers,
    heads,
    hidden or 4 * channels,
    registers,
    activation,
    eps or of.eps,
    of.scaled if scaled is None else scaled,
    projection,
    pool,
    dropout,
    remat,
    dtype,
  )
