"""Step time against PyTorch eager: a lap of MLA, a step of joint training.

  python benchmarks/step_time.py [--rounds=10] [--json=out.json]

CREMA-D's shapes on a CPU: two ResNet-18s, 8 clips, audio 257 x 188, 3 frames
of 224 x 224 x 3, float32, SGD with momentum .9 and weight decay 1e-4. Our side
is the training step that `experiment.build` compiles. Both sides start from the
same weights, must agree on the losses of their first steps, and then take turns
in one process. Rounds in which other processes took more than 5% of the CPUs
are repeated, up to three times as many; the quietest count. Needs torch (the
extra `torch`) and Linux.
"""

import argparse
import json
import os
import pathlib
import statistics
import sys
import tempfile
import time


def arguments():
  parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
  parser.add_argument('--rounds', type=int, default=10)
  parser.add_argument('--clips', type=int, default=8)
  parser.add_argument('--threads', type=int, default=2)
  parser.add_argument('--json', help='write the numbers there as well')
  return parser.parse_args()


ARGS = arguments()
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))
os.environ['JAX_PLATFORMS'] = 'cpu'
# Before jax is imported: its thread pool is as large as the process may use.
os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[: ARGS.threads])

import jax  # noqa: E402
import numpy as np  # noqa: E402
import torch  # noqa: E402

from configs import common  # noqa: E402
from mmjax import experiment  # noqa: E402

torch.set_num_threads(ARGS.threads)
CLASSES, WIDTH, DECAY, RATE, ALPHA = 6, 512, 1e-4, 1e-3, 0.1
SHAPES = {'audio': (257, 188), 'visual': (3, 224, 224, 3)}
QUIET = 0.05  # share of the CPUs that others may take in a round
METHODS = {'lap': ('mla', 'shared'), 'joint': ('joint', 'concat')}


# Our side


def build(phase):
  """The experiment of a phase, on random clips."""
  method, head = METHODS[phase]
  config = common.get_config()
  split = np.repeat([0, 1, 2], (ARGS.clips, CLASSES, CLASSES))
  size = len(split)
  rng = np.random.default_rng(0)
  fields = {
    name: rng.normal(size=(size,) + shape).astype(np.float32)
    for name, shape in SHAPES.items()
  }
  fields['label'] = np.arange(size) % CLASSES
  fields['split'] = split
  with tempfile.TemporaryDirectory() as folder:
    path = os.path.join(folder, 'clips.npz')
    np.savez(path, **fields)
    config.data = dict(name='arrays', path=path, standardize=False)
    config.encoders = {name: dict(name='resnet') for name in SHAPES}
    config.width = WIDTH
    config.head = dict(name=head)
    config.method = dict(name=method)
    config.phases = ((phase, 1),)
    config.optim = dict(name='sgd', lr=RATE, momentum=0.9, weight_decay=DECAY)
    config.schedule = dict(name='constant')
    config.batch_size = config.eval_batch_size = ARGS.clips
    return experiment.build(config)


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


def torch_encoder(channels, params):
  """ResNet-18 as torchvision's, without classifier, with our weights."""
  layers = [
    unit(channels, 64, 7, 2),
    torch.nn.ReLU(),
    torch.nn.MaxPool2d(3, 2, 1),
  ]
  for i in range(4):
    inputs, outputs = 64 * 2 ** max(i - 1, 0), 64 * 2**i
    layers.append(Basic(inputs, outputs, 2 if i else 1))
    layers.append(Basic(outputs, outputs, 1))
  net = torch.nn.Sequential(*layers)
  owners = [(net[0:1], params)]
  blocks = [layer.units for layer in net if isinstance(layer, Basic)]
  owners += [(units, params[f'Block_{i}']) for i, units in enumerate(blocks)]
  for units, own in owners:
    for i, (conv, _) in enumerate(units):
      kernel = torch.tensor(np.array(own[f'Conv_{i}']['kernel']))
      conv.weight.data = kernel.permute(3, 2, 0, 1).contiguous()
  return net


class TorchSide:
  """Both methods in eager PyTorch, from the weights of one of our states."""

  def __init__(self, params, batch):
    # As a PyTorch pipeline has them: channels first, frames in the batch.
    audio, visual = (torch.tensor(np.array(batch[m])) for m in SHAPES)
    visual = visual.flatten(0, 1).permute(0, 3, 1, 2).contiguous()
    self.batch = {'audio': audio[:, None], 'visual': visual}
    self.label = torch.tensor(np.array(batch['label'])).long()
    self.nets = {
      m: torch_encoder(x.shape[1], params[m]) for m, x in self.batch.items()
    }
    head = params['head']
    slices = (
      ('kernel',) if 'kernel' in head else map('kernel_{}'.format, SHAPES)
    )
    kernel = np.concatenate([np.array(head[name]) for name in slices])
    self.head = torch.nn.Linear(*kernel.shape)
    self.head.weight.data = torch.tensor(kernel.T.copy())
    self.head.bias.data.zero_()
    sgd = dict(lr=RATE, momentum=0.9, weight_decay=DECAY)
    self.optimizers = {
      name: torch.optim.SGD(net.parameters(), **sgd)
      for name, net in {**self.nets, 'head': self.head}.items()
    }
    self.P = torch.eye(WIDTH)

  def encode(self, name):
    h = self.nets[name](self.batch[name]).mean((2, 3))
    return h.reshape(ARGS.clips, -1, WIDTH).mean(1)

  def descend(self, *names):
    for name in names:
      self.optimizers[name].step()
      self.optimizers[name].zero_grad(set_to_none=True)

  def lap(self):
    losses = {}
    for name in SHAPES:
      z = self.encode(name)
      loss = torch.nn.functional.cross_entropy(self.head(z), self.label)
      loss.backward()
      self.head.weight.grad = self.head.weight.grad @ self.P
      self.descend(name, 'head')
      mean = z.detach().mean(0)
      q = self.P @ mean
      self.P = self.P - torch.outer(q, q) / (ALPHA + mean @ q)
      losses[f'loss/{name}'] = loss.item()
    return losses

  def joint(self):
    z = torch.cat([self.encode(name) for name in SHAPES], -1)
    loss = torch.nn.functional.cross_entropy(self.head(z), self.label)
    loss.backward()
    self.descend(*SHAPES, 'head')
    return {'loss/joint': loss.item()}


# Taking turns


def used():
  """CPU seconds that all processes together, and that this one have used."""
  with open('/proc/stat') as file:
    ticks = [int(n) for n in file.readline().split()[1:9]]
  idle = ticks[3] + ticks[4]
  return (sum(ticks) - idle) / os.sysconf('SC_CLK_TCK'), time.process_time()


def timed(function):
  """(seconds, share of the CPUs that others took meanwhile, result)."""
  time.sleep(0.2)  # PyTorch's idle threads spin for a while after their work
  all_before, own_before = used()
  start = time.perf_counter()
  result = function()
  seconds = time.perf_counter() - start
  all_after, own_after = used()
  others = (all_after - all_before) - (own_after - own_before)
  return seconds, max(0, others) / seconds / os.cpu_count(), result


def compare(phase):
  """The quietest rounds: (our seconds, disturbance, PyTorch's, disturbance)."""
  made = build(phase)
  batch = made.batch(0)
  state = made.init(jax.random.key(0))
  side = TorchSide(state.params, batch)
  step = jax.jit(made.steps[phase], donate_argnums=0)

  def ours():
    nonlocal state
    state, metrics = step(state, batch)
    return jax.block_until_ready((state, metrics))[1]

  theirs = getattr(side, phase)
  for _ in range(2):  # compilation, first touch, and the proof of sameness
    metrics = ours()
    for name, loss in theirs().items():
      np.testing.assert_allclose(metrics[name], loss, rtol=5e-3)
  rounds = []
  for _ in range(3 * ARGS.rounds):
    rounds.append((*timed(ours)[:2], *timed(theirs)[:2]))
    rounds.sort(key=lambda r: max(r[1], r[3]))
    if len(rounds) >= ARGS.rounds and max(disturbed(rounds)) < QUIET:
      break
  return rounds[: ARGS.rounds]


def disturbed(rounds):
  """Share of the CPUs that others took in the quietest rounds."""
  return [max(r[1], r[3]) for r in rounds[: ARGS.rounds]]


def main():
  print(
    f'{ARGS.clips} clips, {ARGS.threads} threads, jax {jax.__version__}, '
    f'torch {torch.__version__}\n\n'
    '| step | mmjax, median (min) s | torch, median (min) s | '
    'ratio of medians (minima) | CPUs taken by others, at most |\n'
    '|---|---|---|---|---|'
  )
  results = {}
  for phase in METHODS:
    rounds = results[phase] = compare(phase)
    ours, theirs = [r[0] for r in rounds], [r[2] for r in rounds]
    a, b = statistics.median(ours), statistics.median(theirs)
    print(
      f'| {phase} | {a:.3f} ({min(ours):.3f}) | {b:.3f} ({min(theirs):.3f}) | '
      f'{a / b:.2f} ({min(ours) / min(theirs):.2f}) | '
      f'{max(disturbed(rounds)):.0%} |',
      flush=True,
    )
  if ARGS.json:
    with open(ARGS.json, 'w') as file:
      json.dump(results, file)


if __name__ == '__main__':
  main()
