"""Step time against PyTorch eager: one lap of MLA, one joint step.

  python benchmarks/step_time.py [--rounds=10] [--json=out.json]

CREMA-D's shapes: two ResNet-18s, 8 clips, audio 257 x 188 x 1, 3 frames of
224 x 224 x 3, float32, SGD with momentum .9 and weight decay 1e-4. Both sides
start from the same weights, must agree on the losses of their first step, and
then take turns in one process. Needs torch (the `dev` extra).
"""

import argparse
import json
import os
import platform
import statistics
import time


def arguments():
  parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
  parser.add_argument('--rounds', type=int, default=10)
  parser.add_argument('--clips', type=int, default=8)
  parser.add_argument('--threads', type=int, default=2)
  parser.add_argument('--json', help='write the numbers there as well')
  return parser.parse_args()


ARGS = arguments()
# Before jax is imported: its thread pool is as large as the process may use.
os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[: ARGS.threads])

import jax  # noqa: E402
import jax.numpy as jnp  # noqa: E402
import numpy as np  # noqa: E402
import optax  # noqa: E402
import torch  # noqa: E402

from mmjax.models import resnet  # noqa: E402

torch.set_num_threads(ARGS.threads)
CLASSES, WIDTH, DECAY, RATE = 6, 512, 1e-4, 1e-3
SHAPES = {'audio': (257, 188, 1), 'visual': (3, 224, 224, 3)}


# The JAX side


ENCODER = resnet.make(width=WIDTH)
OPTIMIZER = optax.chain(
  optax.add_decayed_weights(DECAY), optax.trace(0.9), optax.scale(-RATE)
)


def jax_init(batch, inputs):
  valid_B = jnp.ones(ARGS.clips, bool)
  blocks, stats = {}, {}
  for i, name in enumerate(SHAPES):
    init = jax.jit(lambda key, x: ENCODER.init(key, x, valid_B, False))
    variables = init(jax.random.key(i), batch[name])
    blocks[name], stats[name] = variables['params'], variables['batch_stats']
  kernel = jax.random.normal(jax.random.key(9), (inputs, CLASSES)) * 0.05
  blocks['head'] = {'kernel': kernel, 'bias': jnp.zeros(CLASSES)}
  opt = {name: OPTIMIZER.init(block) for name, block in blocks.items()}
  return blocks, stats, opt, jnp.eye(WIDTH)


def jax_encode(name, blocks, stats, batch):
  valid_B = jnp.ones(ARGS.clips, bool)
  variables = {'params': blocks[name], 'batch_stats': stats[name]}
  z_BD, new = ENCODER.apply(
    variables, batch[name], valid_B, True, mutable=['batch_stats']
  )
  return z_BD, new['batch_stats']


def jax_loss(head, z_BD, batch):
  logits = z_BD @ head['kernel'] + head['bias'][None]
  return optax.softmax_cross_entropy_with_integer_labels(
    logits, batch['label']
  ).mean()


def jax_descend(blocks, opt, grads):
  blocks, opt = dict(blocks), dict(opt)
  for name, grad in grads.items():
    update, opt[name] = OPTIMIZER.update(grad, opt[name], blocks[name])
    blocks[name] = optax.apply_updates(blocks[name], update)
  return blocks, opt


def jax_lap(state, batch):
  blocks, stats, opt, P_DD = state
  stats, losses = dict(stats), []
  for name in SHAPES:

    def loss(moving, name=name):
      z_BD, new = jax_encode(name, moving, stats, batch)
      return jax_loss(moving['head'], z_BD, batch), (z_BD, new)

    moving = {name: blocks[name], 'head': blocks['head']}
    (value, (z_BD, stats[name])), grads = jax.value_and_grad(
      loss, has_aux=True
    )(moving)
    kernel = P_DD @ grads['head']['kernel']
    grads['head'] = {**grads['head'], 'kernel': kernel}
    blocks, opt = jax_descend(blocks, opt, grads)
    z_D = z_BD.mean(0)
    q_D = P_DD @ z_D
    P_DD = P_DD - jnp.outer(q_D, q_D) / (0.1 + z_D @ q_D)
    losses.append(value)
  return (blocks, stats, opt, P_DD), jnp.stack(losses)


def jax_joint(state, batch):
  blocks, stats, opt, P_DD = state

  def loss(blocks):
    outs = {name: jax_encode(name, blocks, stats, batch) for name in SHAPES}
    z_BD = jnp.concatenate([z_BD for z_BD, _ in outs.values()], -1)
    new = {name: out[1] for name, out in outs.items()}
    return jax_loss(blocks['head'], z_BD, batch), new

  (value, stats), grads = jax.value_and_grad(loss, has_aux=True)(blocks)
  blocks, opt = jax_descend(blocks, opt, grads)
  return (blocks, stats, opt, P_DD), value[None]


# The PyTorch side


def unit(inputs, outputs, kernel, stride):
  return torch.nn.Sequential(
    torch.nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, bias=False),
    torch.nn.BatchNorm2d(outputs),
  )


class Basic(torch.nn.Module):
  def __init__(self, inputs, outputs, stride):
    super().__init__()
    self.units = torch.nn.ModuleList(
      [unit(inputs, outputs, 3, stride), unit(outputs, outputs, 3, 1)]
    )
    if inputs != outputs:
      self.units.append(unit(inputs, outputs, 1, stride))

  def forward(self, x):
    y = torch.relu(self.units[0](x))
    x = self.units[2](x) if len(self.units) > 2 else x
    return torch.relu(x + self.units[1](y))


def torch_encoder(inputs):
  """ResNet-18 as torchvision's, without classifier: a list of units first."""
  layers = [unit(inputs, 64, 7, 2), torch.nn.ReLU(), torch.nn.MaxPool2d(3, 2, 1)]
  for i in range(4):
    inputs, outputs = 64 * 2 ** max(i - 1, 0), 64 * 2**i
    layers += [
      Basic(inputs, outputs, 2 if i else 1), Basic(outputs, outputs, 1)
    ]
  return torch.nn.Sequential(*layers)


def torch_copy(net, params):
  """Sets the weights of `torch_encoder` from ours."""
  owners = [(net[0:1], params)]
  blocks = [layer.units for layer in net if isinstance(layer, Basic)]
  owners += [(units, params[f'Block_{i}']) for i, units in enumerate(blocks)]
  for units, own in owners:
    for i, (conv, _) in enumerate(units):
      kernel = np.array(own[f'Conv_{i}']['kernel'])
      conv.weight.data = torch.tensor(kernel).permute(3, 2, 0, 1).contiguous()


class TorchSide:
  """Both methods in eager PyTorch, from the weights of a JAX state."""

  def __init__(self, state, batch):
    blocks = state[0]
    self.nets = {}
    for name, shape in SHAPES.items():
      self.nets[name] = torch_encoder(shape[-1])
      torch_copy(self.nets[name], blocks[name])
    kernel = np.array(blocks['head']['kernel'])
    self.head = torch.nn.Linear(*kernel.shape)
    self.head.weight.data = torch.tensor(kernel.T.copy())
    self.head.bias.data.zero_()
    sgd = dict(lr=RATE, momentum=0.9, weight_decay=DECAY)
    self.optimizers = {
      name: torch.optim.SGD(net.parameters(), **sgd)
      for name, net in {**self.nets, 'head': self.head}.items()
    }
    self.P = torch.eye(WIDTH)
    # As a PyTorch pipeline has them: channels first, frames in the batch.
    self.batch = {
      name: torch.tensor(np.array(batch[name]))
      .reshape(-1, *shape[-3:])
      .permute(0, 3, 1, 2)
      .contiguous()
      for name, shape in SHAPES.items()
    }
    self.label = torch.tensor(np.array(batch['label'])).long()

  def encode(self, name):
    h = self.nets[name](self.batch[name]).mean((2, 3))
    return h.reshape(ARGS.clips, -1, WIDTH).mean(1)

  def descend(self, *names):
    for name in names:
      self.optimizers[name].step()
      self.optimizers[name].zero_grad(set_to_none=True)

  def lap(self):
    losses = []
    for name in SHAPES:
      z = self.encode(name)
      loss = torch.nn.functional.cross_entropy(self.head(z), self.label)
      loss.backward()
      self.head.weight.grad = self.head.weight.grad @ self.P
      self.descend(name, 'head')
      mean = z.detach().mean(0)
      q = self.P @ mean
      self.P = self.P - torch.outer(q, q) / (0.1 + mean @ q)
      losses.append(loss.item())
    return losses

  def joint(self):
    z = torch.cat([self.encode(name) for name in SHAPES], -1)
    loss = torch.nn.functional.cross_entropy(self.head(z), self.label)
    loss.backward()
    self.descend(*SHAPES, 'head')
    return [loss.item()]


# Taking turns


def draw_batch():
  keys = jax.random.split(jax.random.key(0), 3)
  batch = {
    name: jax.random.normal(key, (ARGS.clips,) + shape)
    for key, (name, shape) in zip(keys, SHAPES.items())
  }
  label = jax.random.randint(keys[2], (ARGS.clips,), 0, CLASSES)
  return {**batch, 'label': label}


def compare(name, jax_step, inputs):
  """Seconds per step of both sides, alternating."""
  batch = draw_batch()
  state = jax_init(batch, inputs)
  side = TorchSide(state, batch)
  step = jax.jit(jax_step, donate_argnums=0)
  times = {'jax': [], 'torch': []}
  for i in range(ARGS.rounds + 2):
    # PyTorch's idle threads spin for a while after their work.
    time.sleep(0.1)
    start = time.perf_counter()
    state, losses = step(state, batch)
    jax.block_until_ready((state, losses))
    middle = time.perf_counter()
    time.sleep(0.1)
    resumed = time.perf_counter()
    expected = getattr(side, name)()
    stop = time.perf_counter()
    if i < 2:  # compilation and first touch
      np.testing.assert_allclose(losses, expected, rtol=5e-3)
      continue
    times['jax'].append(middle - start)
    times['torch'].append(stop - resumed)
  return times


def main():
  results = {}
  print(f'{ARGS.clips} clips, {ARGS.threads} threads, {ARGS.rounds} rounds, '
        f'{platform.processor() or platform.machine()}, jax {jax.__version__}, '
        f'torch {torch.__version__}')
  print('| step | jax, median s | torch, median s | ratio of medians | '
        'ratio of minima |\n|---|---|---|---|---|')
  for name, step, inputs in (
    ('lap', jax_lap, WIDTH), ('joint', jax_joint, 2 * WIDTH)
  ):
    times = results[name] = compare(name, step, inputs)
    a, b = (statistics.median(times[k]) for k in ('jax', 'torch'))
    low = min(times['jax']) / min(times['torch'])
    print(f'| {name} | {a:.3f} | {b:.3f} | {a / b:.2f} | {low:.2f} |', flush=True)
  if ARGS.json:
    with open(ARGS.json, 'w') as file:
      json.dump(results, file)


if __name__ == '__main__':
  main()
