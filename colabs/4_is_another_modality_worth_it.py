# ---
# jupyter:
#   jupytext:
#     text_representation:
#       extension: .py
#       format_name: percent
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # Is another modality worth it?
#
# More sensors cost money, and more modalities can make a model worse. Before you
# build a large model, small ones can tell what to expect: one for every subset of
# your modalities, several sample sizes, several seeds. Here we do it first in a
# world whose right answer we know, then read the same answer off a bound, and at
# the end with one command on data of your own.
#
# It takes about two minutes on two CPU cores, and downloads nothing but packages.

# %%
import importlib.util
import pathlib
import subprocess
import sys

REPOSITORY = ''  # on a fresh machine: git+https address of your copy  # @param

if importlib.util.find_spec('mmjax') is None:
  here = pathlib.Path('..').resolve()
  source = str(here) if (here / 'mmjax').is_dir() else REPOSITORY
  if not source:
    raise RuntimeError('Set REPOSITORY to where mmjax can be installed from.')
  subprocess.check_call([sys.executable, '-m', 'pip', 'install', '-q', source])

# %%
import jax
import matplotlib.pyplot as plt
import numpy as np

from mmjax.lab import advice, curves, latents, quality, subsets

# %% [markdown]
# ## A world with dials
#
# `camera` and `depth` see the same thing, `heart` and `clock` are a riddle
# together (their product counts, neither alone tells anything), and every
# modality but `clock` knows something of its own. `dials_risk` is the least
# mean squared error that any model of a subset can have.

# %%
names = ('camera', 'depth', 'heart', 'clock')
world = latents.Dials(
  modalities=names,
  unique=(0.5, 0.2, 0.8, 0.0),
  redundant=(('camera', 'depth', 1.2),),
  synergy=(('heart', 'clock', 1.0),),
  noise=(0.1, 0.2, 0.1, 0.1),
  label_noise=0.3,
)
for subset in [(), ('clock',), ('heart',), ('heart', 'clock'), names]:
  print(
    f'{"+".join(subset) or "nothing":30} {latents.dials_risk(world, subset):.2f}'
  )

# %% [markdown]
# ## All subsets, all sample sizes, all seeds
#
# 15 subsets x 4 sample sizes x 3 seeds are 180 models and four compiled programs.
# A product needs a head that can see interactions: an MLP.

# %%
sizes = dict(train=1200, validation=500, test=2000)
inputs, target = latents.dials(jax.random.key(0), sum(sizes.values()), world)
ends = np.cumsum([0, *sizes.values()])
splits = [
  ({m: x[a:b] for m, x in inputs.items()}, target[a:b])
  for a, b in zip(ends, ends[1:])
]
data = subsets.gather(*splits, 'squared_error')
learner = subsets.Learner(
  encoder='mlp', head='mlp', width=32, batch_size=256, steps=1000, eval_steps=50
)
lattice = subsets.lattice(names)
cube = subsets.train(data, lattice, (75, 300, 1200), 3, learner)
print(cube.risk_LSK.shape)  # sample sizes, seeds, subsets

# %% [markdown]
# ## Learning curves
#
# The dashed lines are the best that any model can do.

# %%
figure, axes = plt.subplots(figsize=(7, 4))
for subset in [('camera',), ('heart',), ('camera', 'heart'), names]:
  risk_LS = cube.risk_LSK[:, :, cube.at(subset)]
  (line,) = axes.plot(
    cube.counts, risk_LS.mean(1), 'o-', label='+'.join(subset)
  )
  axes.fill_between(
    cube.counts,
    risk_LS.min(1),
    risk_LS.max(1),
    color=line.get_color(),
    alpha=0.2,
  )
  axes.axhline(
    latents.dials_risk(world, subset), color=line.get_color(), ls='--'
  )
axes.set(xscale='log', xlabel='training examples', ylabel='mean squared error')
axes.legend()
plt.show()

# %% [markdown]
# ## Advice
#
# Worth is how far the risk falls below that of the best constant. Intervals count
# seeds and test examples.

# %%
losses = {s: cube.losses_LSKN[-1, :, k] for k, s in enumerate(lattice)}
found = advice.advise(losses, subsets.chance(data.test, 0))
for m, one in found.modalities.items():
  print(
    f'{m:7} alone {one.alone.mean:5.2f}  added to all others {one.gain.mean:5.2f} '
    f'({one.gain.low:.2f} to {one.gain.high:.2f})  Shapley '
    f'{one.shapley.mean:5.2f}  {one.verdict}'
  )
for pair, one in found.pairs.items():
  e = one.interaction
  print(
    f'{"+".join(pair):14} {e.mean:5.2f} ({e.low:.2f} to {e.high:.2f})  {one.verdict}'
  )

# %%
assert found.pairs['camera', 'depth'].verdict == 'redundant'
assert found.pairs['heart', 'clock'].verdict == 'synergistic'

# %% [markdown]
# From how many examples on does a modality pay? Within the samples the curve is
# interpolated, beyond them a power law extrapolates, and says that it does.

# %%
pays = {}
for m in names:
  rest = tuple(n for n in names if n != m)
  gain_LS = (
    cube.risk_LSK[:, :, cube.at(rest)] - cube.risk_LSK[:, :, cube.at(names)]
  )
  pays[m] = curves.begins_to_pay(cube.counts, gain_LS, least=found.margin / 2)
print(
  '\n'.join(advice.sentences(found, 'squared units', pays, cube.counts[-1]))
)

# %% [markdown]
# ## Latent representation quality
#
# $\eta(g)$ freezes the encoder and asks how far the best head is from the best
# model there is; $\gamma(M, N) = \eta(g_M) - \eta(g_N)$ is below 0 where the larger
# set has the better latents. In this world the best model is known.


# %%
def eta(subset):
  params = jax.tree.map(lambda x: x[0, cube.at(subset)], cube.params[-1])
  mask = {m: jax.numpy.ones(()) for m in subset}
  seen = {m: data.test.inputs[m] for m in subset}
  z_ND = subsets.encode(params, mask, seen, data.test.present)
  oracle = latents.dials_risk(world, names)
  return quality.eta(
    np.asarray(z_ND), data.test.target, oracle=oracle, num_classes=0
  )


one, two = eta(('camera',)), eta(('camera', 'heart'))
gamma = quality.gamma(two, one)
print(f'eta camera {one.value:.2f}, camera+heart {two.value:.2f}')
print(f'gamma {gamma.value:.2f} ({gamma.low:.2f} to {gamma.high:.2f})')

# %% [markdown]
# A linear head on the latents of `heart` and `clock` cannot see their product,
# however good the encoders are; eta says what *this kind* of head leaves.
#
# ## Your own data
#
# One command, no code: a `.npz` with a field per modality, or any recipe, or a
# run folder, whose latents it then asks about.
#
# ```
# python -m mmjax.main --mode=advise --config=configs/mla_arrays.py \
#   --config.data.path=my.npz
# python -m mmjax.main --mode=advise --workdir=runs/mla
# ```
