r"""Weights, inputs and outputs of published architectures, as PyTorch has them.

Random weights of tiny sizes under the names that the published files have, so
that the suite can check our encoders without PyTorch. Run where torch and
transformers are installed:

  python tests/golden/make_encoders.py
"""

import pathlib
import tempfile

import numpy as np
import safetensors.numpy
import torch
import transformers as hf

HERE = pathlib.Path(__file__).parent
SIZES = dict(
  hidden_size=24,
  num_hidden_layers=2,
  num_attention_heads=4,
  intermediate_size=40,
)
IMAGE = dict(image_size=28, patch_size=7)
TEXT = dict(vocab_size=60, max_position_embeddings=20)


def randomize(model: torch.nn.Module, seed: int) -> torch.nn.Module:
  """Every weight of a size at which it matters; norms about 1."""
  torch.manual_seed(seed)
  for name, value in [*model.named_parameters(), *model.named_buffers()]:
    if not value.dtype.is_floating_point:
      continue
    with torch.no_grad():
      if name.endswith('running_var'):
        value.uniform_(0.5, 1.5)
      elif value.ndim < 2:
        about = 1.0 if name.endswith('weight') else 0.0
        torch.nn.init.normal_(value, about, 0.2)
      else:
        fan_in = value[0].numel()
        torch.nn.init.normal_(value, 0, min(0.3, fan_in**-0.5))
  return model.eval()


def files_of(model) -> dict[str, np.ndarray]:
  """What a saved model holds: names in files are not those in memory."""
  with tempfile.TemporaryDirectory() as folder:
    model.save_pretrained(folder)
    return safetensors.numpy.load_file(f'{folder}/model.safetensors')


def gradients(output, mask=None, **weights) -> dict[str, np.ndarray]:
  """Of the sum of squares of what is no padding, by the weights' names."""
  if mask is not None and output.ndim == 3:
    output = output * torch.tensor(mask)[..., None]
  of = torch.autograd.grad((output**2).sum(), list(weights.values()))
  return {name: grad.numpy() for name, grad in zip(weights, of)}


def first(model, output, mask=None) -> dict[str, np.ndarray]:
  """Gradients of the first weight of a saved model."""
  name, weight = next(
    (name, weight)
    for name, weight in model.named_parameters()
    if weight.ndim == 4 or 'word_embeddings' in name
  )
  return gradients(output, mask, **{name: weight})


def save(name: str, weights, output, gradients, **inputs) -> None:
  told = {f'input/{key}': np.asarray(value) for key, value in inputs.items()}
  told |= {f'gradient/{key}': value for key, value in gradients.items()}
  weights = {k: np.asarray(v) for k, v in weights.items()}
  output = output.detach().numpy()
  np.savez_compressed(HERE / f'{name}.npz', **weights, **told, output=output)
  print(name, len(weights), output.shape, float(np.abs(output).mean()))


def tokens(pad: int = 0, end: int | None = None):
  """Two texts, of which the second is shorter: (ids, mask)."""
  ids = np.random.default_rng(0).integers(3, 55, (2, 9))
  mask = np.arange(9) < np.array([[9], [5]])
  if end is not None:
    ids[0, 8] = ids[1, 4] = end
  return np.where(mask, ids, pad), mask


def bert(name: str, config, model, pad: int) -> None:
  types = 2 if name == 'bert' else 1
  made = model(
    config(**SIZES, **TEXT, type_vocab_size=types, layer_norm_eps=1e-5)
  )
  randomize(made, 1)
  ids, mask = tokens(pad)
  out = made(torch.tensor(ids), torch.tensor(mask.astype(int)))
  out = out.last_hidden_state
  save(name, files_of(made), out, first(made, out, mask), ids=ids, mask=mask)


def pictures():
  x = np.random.default_rng(1).normal(size=(2, 28, 28, 3)).astype(np.float32)
  return x, torch.tensor(x.transpose(0, 3, 1, 2))


def vits() -> None:
  x, seen = pictures()
  made = randomize(hf.ViTModel(hf.ViTConfig(**SIZES, **IMAGE)), 2)
  out = made(seen).last_hidden_state[:, 0]
  save('vit', files_of(made), out, first(made, out), x=x)
  sizes = {k: v for k, v in SIZES.items() if k != 'intermediate_size'}
  config = hf.Dinov2WithRegistersConfig(
    **sizes, **IMAGE, mlp_ratio=2, num_register_tokens=3
  )
  made = randomize(hf.Dinov2WithRegistersModel(config), 3)
  out = made(seen).last_hidden_state
  both = torch.cat([out[:, 0], out[:, 4:].mean(1)], 1)
  save('dinov2', files_of(made), both, first(made, both), x=x)
  config = hf.Dinov2Config(**sizes, **IMAGE, mlp_ratio=2, use_swiglu_ffn=True)
  made = randomize(hf.Dinov2Model(config), 5)
  out = made(seen).last_hidden_state[:, 0]
  save('dinov2_giant', files_of(made), out, first(made, out), x=x)


def clip() -> None:
  ids, mask = tokens(end=59)
  text = dict(**SIZES, **TEXT, bos_token_id=58, eos_token_id=59, pad_token_id=0)
  made = hf.CLIPModel(
    hf.CLIPConfig(
      text_config=text, vision_config=dict(**SIZES, **IMAGE), projection_dim=12
    )
  )
  randomize(made, 4)
  weights, (x, seen) = files_of(made), pictures()
  pooled = made.vision_model(seen).pooler_output
  image = made.visual_projection(pooled)
  save('clip_image', weights, image, first(made, image), x=x)
  pooled = made.text_model(
    torch.tensor(ids), torch.tensor(mask.astype(int))
  ).pooler_output
  out = made.text_projection(pooled)
  words = 'text_model.embeddings.token_embedding.weight'
  of = gradients(out, **{words: made.get_parameter(words)})
  save('clip_text', weights, out, of, ids=ids, mask=mask)


class Block(torch.nn.Module):
  """A residual block with torchvision's names."""

  def __init__(self, into: int, channels: int, stride: int, bottleneck: bool):
    super().__init__()
    out = channels * (4 if bottleneck else 1)
    plan = [(into, channels, 3, stride), (channels, out, 3, 1)]
    if bottleneck:
      plan = [
        (into, channels, 1, 1),
        (channels, channels, 3, stride),
        (channels, out, 1, 1),
      ]
    for i, (a, b, k, s) in enumerate(plan, 1):
      conv = torch.nn.Conv2d(a, b, k, s, k // 2, bias=False)
      setattr(self, f'conv{i}', conv)
      setattr(self, f'bn{i}', torch.nn.BatchNorm2d(b))
    self.count = len(plan)
    self.downsample = None
    if stride != 1 or into != out:
      self.downsample = torch.nn.Sequential(
        torch.nn.Conv2d(into, out, 1, stride, bias=False),
        torch.nn.BatchNorm2d(out),
      )

  def forward(self, x):
    y = x
    for i in range(1, self.count + 1):
      y = getattr(self, f'bn{i}')(getattr(self, f'conv{i}')(y))
      y = torch.relu(y) if i < self.count else y
    return torch.relu(y + (self.downsample(x) if self.downsample else x))


class ResNet(torch.nn.Module):
  """He et al. 2016 with torchvision's names."""

  def __init__(self, stages, channels: int, bottleneck: bool):
    super().__init__()
    self.conv1 = torch.nn.Conv2d(3, channels, 7, 2, 3, bias=False)
    self.bn1 = torch.nn.BatchNorm2d(channels)
    into = channels
    for i, blocks in enumerate(stages):
      made = []
      for j in range(blocks):
        stride = 2 if i and not j else 1
        made.append(Block(into, channels * 2**i, stride, bottleneck))
        into = channels * 2**i * (4 if bottleneck else 1)
      setattr(self, f'layer{i + 1}', torch.nn.Sequential(*made))
    self.stages = len(stages)
    self.fc = torch.nn.Linear(into, 5)

  def forward(self, x):
    x = torch.relu(self.bn1(self.conv1(x)))
    x = torch.nn.functional.max_pool2d(x, 3, 2, 1)
    for i in range(self.stages):
      x = getattr(self, f'layer{i + 1}')(x)
    return x.mean((2, 3))


def resnets() -> None:
  x, seen = pictures()
  for depth, stages in ((18, (2, 2, 2, 2)), (50, (3, 4, 6, 3))):
    made = randomize(ResNet(stages, 2, depth == 50), depth)
    out = made(seen)
    save(f'resnet{depth}', made.state_dict(), out, first(made, out), x=x)


if __name__ == '__main__':
  bert('bert', hf.BertConfig, hf.BertModel, 0)
  bert('roberta', hf.RobertaConfig, hf.RobertaModel, 1)
  vits()
  clip()
  resnets()
