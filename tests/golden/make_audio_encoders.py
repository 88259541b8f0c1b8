r"""As `make_encoders`: encoders of sound, CAV-MAE and M3AE, Whisper's spectrum.

Run where torch and transformers are installed:

  cd tests && python -m golden.make_audio_encoders
"""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import torch
import transformers as hf
from flax import traverse_util

from golden import make_encoders
from golden.make_encoders import HERE, SIZES, files_of, gradients, randomize

D, HEADS, HIDDEN = 24, 4, 40
LENGTHS = (400, 263)  # samples of two waveforms
SPEECH = dict(
  **SIZES,
  conv_dim=(16, 16, 16),
  conv_kernel=(10, 3, 2),
  conv_stride=(5, 2, 2),
  num_feat_extract_layers=3,
  num_conv_pos_embeddings=8,
  num_conv_pos_embedding_groups=4,
  layer_norm_eps=1e-5,
  vocab_size=9,
)
CONV = 'feature_extractor.conv_layers.0.conv.weight'
LARGE = dict(
  feat_extract_norm='layer', do_stable_layer_norm=True, conv_bias=True
)


def waves(seed: int):
  """Two waveforms with rubbish behind the second, and their mask."""
  rng = np.random.default_rng(seed)
  mask = np.arange(max(LENGTHS)) < np.array(LENGTHS)[:, None]
  return rng.normal(size=mask.shape).astype(np.float32), mask


def speech(made, seed: int):
  """Without padding, one by one: GroupNorm would count it."""
  x, mask = waves(seed)
  randomize(made, seed)
  alone = [torch.tensor(row[real])[None] for row, real in zip(x, mask)]
  out = torch.cat([made(row).last_hidden_state.mean(1) for row in alone])
  of = gradients(out, **{CONV: made.get_parameter(CONV)})
  return files_of(made), out, dict(x=x, mask=mask), of


def wav2vec2(seed: int):
  return speech(hf.Wav2Vec2Model(hf.Wav2Vec2Config(**SPEECH)), seed)


def hubert(seed: int):
  made = hf.HubertForCTC(hf.HubertConfig(**SPEECH))
  _, out, inputs, of = speech(made.hubert, seed)
  of = {f'hubert.{name}': gradient for name, gradient in of.items()}
  return files_of(made), out, inputs, of


def wav2vec2_large(seed: int):
  """Padded, with transformers' mask; the names of a file from before 2023."""
  x, mask = waves(seed)
  made = hf.Wav2Vec2ForCTC(hf.Wav2Vec2Config(**SPEECH, **LARGE))
  randomize(made, seed)
  seen = torch.tensor(np.where(mask, x, 0))
  out = made.wav2vec2(seen, attention_mask=torch.tensor(mask.astype(int)))
  old = {'original0': 'weight_g', 'original1': 'weight_v'}
  weights = {
    name.replace(f'parametrizations.weight.{end}', old[end])
    if (end := name.rsplit('.', 1)[1]) in old
    else name: value
    for name, value in files_of(made).items()
  }
  name, out = f'wav2vec2.{CONV}', out.last_hidden_state
  steps = made.wav2vec2._get_feat_extract_output_lengths(torch.tensor(LENGTHS))
  real = np.arange(out.shape[1]) < steps.numpy()[:, None]
  of = gradients(out, real, **{name: made.get_parameter(name)})
  return weights, out, dict(x=x, mask=mask), of


def whisper(seed: int):
  config = hf.WhisperConfig(
    d_model=D,
    encoder_layers=2,
    decoder_layers=1,
    encoder_attention_heads=HEADS,
    encoder_ffn_dim=HIDDEN,
    decoder_attention_heads=HEADS,
    decoder_ffn_dim=8,
    num_mel_bins=10,
    max_source_positions=20,
    max_target_positions=4,
    vocab_size=9,
    **dict(pad_token_id=0, bos_token_id=1, eos_token_id=2),
    decoder_start_token_id=1,
  )
  made = hf.WhisperForConditionalGeneration(config)
  places = made.model.encoder.embed_positions.weight.detach().clone()
  randomize(made, seed)
  with torch.no_grad():  # no weights, though they are saved
    made.model.encoder.embed_positions.weight.copy_(places)
  x = np.random.default_rng(seed).normal(size=(2, 40, 10)).astype(np.float32)
  out = made.model.encoder(torch.tensor(x.transpose(0, 2, 1)))
  out, name = out.last_hidden_state.mean(1), 'model.encoder.conv1.weight'
  of = gradients(out, **{name: made.get_parameter(name)})
  return files_of(made), out, dict(x=x), of


def ast(seed: int):
  config = hf.ASTConfig(
    **SIZES,
    max_length=26,
    num_mel_bins=16,
    patch_size=8,
    time_stride=5,
    frequency_stride=5,
  )
  made = randomize(hf.ASTForAudioClassification(config), seed)
  x = np.random.default_rng(seed).normal(-4, 4, (2, 26, 16)).astype(np.float32)
  seen = (torch.tensor(x) + 4.2677393) / (2 * 4.5689974)
  out = made.audio_spectrogram_transformer(seen).pooler_output
  return files_of(made), out, dict(x=x), make_encoders.first(made, out)


NORMS = ('', '_a', '_v')


class CavMae(torch.nn.Module):
  """The encoder of github.com/YuanGongND/cav-mae by its definition."""

  def __init__(self, patches: dict[str, int], own: int, shared: int):
    super().__init__()
    blocks = {'a': own, 'v': own, 'u': shared}
    for m, count in blocks.items():
      many = torch.nn.ModuleList(self.block() for _ in range(count))
      setattr(self, f'blocks_{m}', many)
    for m, count in patches.items():
      conv = torch.nn.Conv2d(1 if m == 'a' else 3, D, 8, 8)
      setattr(self, f'patch_embed_{m}', torch.nn.ModuleDict({'proj': conv}))
      for name, places in (('pos_embed', count), ('modality', 1)):
        value = torch.nn.Parameter(torch.zeros(1, places, D))
        setattr(self, f'{name}_{m}', value)
      setattr(self, f'norm_{m}', torch.nn.LayerNorm(D))
    self.norm = torch.nn.LayerNorm(D)
    self.decoder_embed = torch.nn.Linear(D, 4)
    self.mask_token = torch.nn.Parameter(torch.zeros(1, 1, 4))

  def block(self):
    dense = torch.nn.Linear
    parts = {f'norm{k}{m}': torch.nn.LayerNorm(D) for k in '12' for m in NORMS}
    parts['attn'] = torch.nn.ModuleDict(
      {'qkv': dense(D, 3 * D), 'proj': dense(D, D)}
    )
    parts['mlp'] = torch.nn.ModuleDict(
      {'fc1': dense(D, HIDDEN), 'fc2': dense(HIDDEN, D)}
    )
    return torch.nn.ModuleDict(parts)

  def forward(self, x_BCHW, m: str):
    x = getattr(self, f'patch_embed_{m}')['proj'](x_BCHW).flatten(2).mT
    x = x + getattr(self, f'pos_embed_{m}') + getattr(self, f'modality_{m}')
    for block in getattr(self, f'blocks_{m}'):
      x = self.through(block, x, '')
    for block in self.blocks_u:
      x = self.through(block, x, f'_{m}')
    return getattr(self, f'norm_{m}')(x).mean(1)

  def through(self, block, x, norms: str):
    qkv = block['attn']['qkv'](block[f'norm1{norms}'](x))
    q, k, v = (
      part.unflatten(-1, (HEADS, -1)).transpose(1, 2)
      for part in qkv.chunk(3, -1)
    )
    weight = torch.softmax(q @ k.mT / (D // HEADS) ** 0.5, -1)
    x = x + block['attn']['proj']((weight @ v).transpose(1, 2).flatten(2))
    inner = torch.nn.functional.gelu(
      block['mlp']['fc1'](block[f'norm2{norms}'](x))
    )
    return x + block['mlp']['fc2'](inner)


def cav_mae(seed: int):
  """Both branches: [2, B, D]."""
  made = randomize(CavMae({'a': 8, 'v': 4}, 2, 1), seed)
  rng = np.random.default_rng(seed)
  audio = rng.normal(-5, 4, (2, 32, 16)).astype(np.float32)
  visual = rng.normal(size=(2, 16, 16, 3)).astype(np.float32)
  sound = (torch.tensor(audio) + 5.081) / 4.4849
  out = torch.stack(
    [
      made(sound.mT[:, None], 'a'),
      made(torch.tensor(visual.transpose(0, 3, 1, 2)), 'v'),
    ]
  )
  weights = {f'module.{k}': v for k, v in made.state_dict().items()}
  of = {
    f'module.patch_embed_{m}.proj.weight': dict(made.named_parameters())[
      f'patch_embed_{m}.proj.weight'
    ]
    for m in 'av'
  }
  inputs = dict(audio=audio, visual=visual)
  return weights, out, inputs, gradients(out, **of)


class Attention(nn.Module):
  @nn.compact
  def __call__(self, x, away):
    """away: 1 for tokens that nobody may look at."""
    q, k, v = (
      part.reshape(*part.shape[:2], HEADS, -1)
      for part in jnp.split(nn.Dense(3 * D)(x), 3, -1)
    )
    score = jnp.einsum('bqhd,bkhd->bhqk', q, k) / jnp.sqrt(D / HEADS)
    score = jnp.where(away[:, None, None] > 0, -1e7, score)
    y = jnp.einsum('bhqk,bkhd->bqhd', nn.softmax(score), v)
    return nn.Dense(D)(y.reshape(x.shape))


class TransformerMLP(nn.Module):
  @nn.compact
  def __call__(self, x):
    return nn.Dense(D, name='fc2')(nn.gelu(nn.Dense(HIDDEN, name='fc1')(x)))


class Block(nn.Module):
  @nn.compact
  def __call__(self, x, away):
    x = x + Attention()(nn.LayerNorm()(x), away)
    return x + TransformerMLP()(nn.LayerNorm()(x))


class Transformer(nn.Module):
  @nn.compact
  def __call__(self, x, away):
    for _ in range(2):
      x = Block()(x, away)
    return nn.LayerNorm()(x)


class M3ae(nn.Module):
  """github.com/young-geng/m3ae_public by its definition; Flax names its parts."""

  @nn.compact
  def __call__(self, patches_BPE, ids_BT, away_BT):
    def vector(name):
      return self.param(name, nn.initializers.normal(), (1, 1, D))

    encoder, first = Transformer(name='encoder'), vector('cls_token')
    side, T = round(patches_BPE.shape[1] ** 0.5), ids_BT.shape[1]
    image = nn.Dense(D, name='image_embedding')(patches_BPE)
    image = (
      image + places(side, side)[None] + vector('encoder_image_type_embedding')
    )
    text = nn.Embed(60, D, name='text_embedding')(ids_BT)
    text = text + waves_of(np.arange(T), D)[None]
    text = text + vector('encoder_text_type_embedding')
    out = []
    for x, away in ((image, np.zeros(image.shape[:2])), (text, away_BT)):
      x = jnp.concatenate([jnp.repeat(first, len(x), 0), x], 1)
      out.append(encoder(x, jnp.pad(away, ((0, 0), (1, 0)))))
    vector('text_mask_embedding')
    nn.Dense(4, name='decoder_input_projection')(out[0])
    return out


def waves_of(place, size: int):
  """The imaginary part of a phase that turns, then the real one."""
  rate = np.exp(-np.log(1e4) * np.linspace(0, 1, size // 2, endpoint=False))
  turned = np.exp(1j * np.outer(place, rate))
  return np.concatenate([turned.imag, turned.real], 1).astype(np.float32)


def places(rows: int, columns: int):
  """Of each patch, its column and then its row."""
  where = [(c, r) for r in range(rows) for c in range(columns)]
  column, row = np.array(where).T
  return np.concatenate([waves_of(column, D // 2), waves_of(row, D // 2)], 1)


def m3ae(seed: int):
  """Both branches: [2, B, D], means over what is no padding."""
  rng = np.random.default_rng(seed)
  x = rng.normal(size=(2, 12, 12, 3)).astype(np.float32)
  cut = x.reshape(2, 3, 4, 3, 4, 3).swapaxes(2, 3).reshape(2, 9, 48)
  ids, mask = make_encoders.tokens()
  told = cut, ids, ~mask * 1.0
  params = jax.eval_shape(M3ae().init, jax.random.key(seed), *told)['params']
  flat = traverse_util.flatten_dict(params, sep='/')
  weights = {
    name: (name.endswith('scale') + 0.2 * rng.normal(size=value.shape))
    for name, value in sorted(flat.items())
  }
  weights = {name: value.astype(np.float32) for name, value in weights.items()}
  real = np.pad(mask, ((0, 0), (1, 0)), constant_values=True)[..., None]

  def loss(tree):
    image, text = M3ae().apply({'params': tree}, *told)
    text = (text * real).sum(1) / real.sum(1)
    out = jnp.stack([image.mean(1), text])
    return jnp.sum(out**2), out

  tree = traverse_util.unflatten_dict(weights, sep='/')
  grad, out = jax.jit(jax.grad(loss, has_aux=True))(tree)
  grad = traverse_util.flatten_dict(grad, sep='/')
  of = ('image_embedding/kernel', 'text_embedding/embedding')
  of = {name: np.asarray(grad[name]) for name in of}
  inputs = dict(image=x, ids=ids, mask=mask)
  return weights, torch.tensor(np.asarray(out)), inputs, of


def wave(seconds: float = 1.0) -> np.ndarray:
  """A rising tone that fades in, two others that stay, and a silence."""
  t = np.arange(round(16000 * seconds)) / 16000
  x = t * np.sin(2 * np.pi * (200 + 1800 * t) * t)
  x = (
    x + 0.1 * np.sin(2 * np.pi * 440 * t) + 0.05 * np.cos(2 * np.pi * 5000 * t)
  )
  return np.where((0.4 < t) & (t < 0.5), 0, 0.5 * x).astype(np.float32)


def spectrum(x_T: np.ndarray) -> np.ndarray:
  """Whisper's log mel bands [3000, 80] of transformers."""
  extract = hf.WhisperFeatureExtractor()
  return extract(x_T, sampling_rate=16000)['input_features'][0].T


CASES = {
  'wav2vec2': wav2vec2,
  'wav2vec2_large': wav2vec2_large,
  'whisper': whisper,
  'ast': ast,
  'cav_mae': cav_mae,
  'm3ae': m3ae,
}


if __name__ == '__main__':
  for name, case in CASES.items():
    weights, output, inputs, of = case(0)
    make_encoders.save(name, weights, output, of, **inputs)
  frames = spectrum(wave())[:110].astype(np.float32)  # the rest is silence
  np.savez_compressed(HERE / 'whisper_mel.npz', output=frames)
