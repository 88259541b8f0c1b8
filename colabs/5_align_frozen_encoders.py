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
# # Align frozen encoders
#
# Encoders of single modalities are everywhere, and pairs of modalities are not.
# FuseMix (Vouitsis et al., CVPR 2024) leaves the encoders frozen, runs each once
# over the data, and trains two small adapters on the latents: minutes on one
# device. Here: encoders of spoken digits and of spelled words that have never seen
# a label, aligned, then asked which word a new voice says.
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
import tempfile

import jax
import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np

from configs import encoders_digits, fusemix_digits
from mmjax import evaluate, experiment, extract
from mmjax.ops import contrastive, mixup

folder = pathlib.Path(tempfile.mkdtemp())


def train(exp):
  """The loop of `mmjax.train`, without checkpoints and logs."""
  states = exp.seeds.init()
  for segment in exp.plan:
    steps = exp.stream(
      exp.sources['train'],
      exp.train_rows,
      segment.start,
      segment.stop,
      exp.batch_size,
    )
    for batch in steps:
      states, metrics = exp.lifted[segment.phase](states, batch)
  print({k: round(float(v), 2) for k, v in metrics[0].items() if 'loss' in k})
  return states


# %% [markdown]
# ## Encoders without labels
#
# SimCLR, for each modality by itself: two augmented views of an example are told
# from all others. Yours may be DINOv2 and Whisper; then begin at the next step,
# with their latents in two `.npz` files.

# %%
config = encoders_digits.get_config()
config.data.modalities = ('speech', 'text')
for name in ('encoders', 'augment'):
  del config[name].image
config.phases = (('pretrain', 15),)
print(config.encoders)
encoders = experiment.build(config)
frozen = train(encoders)

# %% [markdown]
# ## Extract once
#
# From here on nobody needs the encoders. Each latent is stored with where it comes
# from; what several examples share (the ten words) is stored once.

# %%
(one,) = frozen
facts = extract.run(encoders, one, folder, origin={'step': int(one.step)})
for name, told in facts.items():
  print(name, told['rows'], 'latents of width', told['width'])

# %% [markdown]
# ## Mix in latent space
#
# Two pairs, one lambda: what is mixed in both modalities alike is a pair again.

# %%
x_BD, y_BD = np.eye(4, 2), np.eye(4, 3)
print(mixup.fusemix(x_BD, y_BD, 0.7, np.array([1, 0, 3, 2]))[0])

# %% [markdown]
# ## Align

# %%
config = fusemix_digits.get_config('speech-text')
config.data.path = str(folder)
config.phases, config.num_seeds = (('align', 100),), 1
print(config.encoders, config.method)
aligned = experiment.build(config)
states = train(aligned)
for name in ('zeroshot', 'retrieval'):
  _, told = evaluate.ask(aligned, states, 'test', name)
  for path, (value,) in told.items():
    print(f'{path:40} {value:.3f}')

# %% [markdown]
# `zero_shot` is how often the nearest of the ten spelled words is what a voice of
# the test split says; no encoder has heard that voice.

# %%
rows, _ = evaluate.ask(aligned, states, 'test', 'geometry')
speech, text = (rows[f'feats/{m}'][0] for m in ('speech', 'text'))
unit = [z / np.linalg.norm(z, axis=1, keepdims=True) for z in (speech, text)]
cosine = unit[0] @ unit[1].T
same = rows['label'].reshape(-1)[: len(cosine)]
same = same[:, None] == same[None]
fig, axes = plt.subplots(figsize=(6, 3))
bins = np.linspace(-1, 1, 60)
axes.hist(cosine[same], bins, density=True, alpha=0.6, label='the same digit')
axes.hist(cosine[~same], bins, density=True, alpha=0.6, label='another digit')
axes.set_xlabel('cosine similarity of speech and word')
axes.legend()
plt.show()

# %% [markdown]
# ## Batches of any size
#
# The loss compares all pairs of a batch. By tiles it is the same number, and the
# matrix is never there as a whole.

# %%
key = jax.random.key(0)
x_BD, y_BD = jax.random.normal(key, (2, 2048, 128))
whole = jax.jit(lambda x, y: contrastive.info_nce(x, y, 0.07))
tiles = jax.jit(lambda x, y: contrastive.info_nce(x, y, 0.07, block=256))
print(float(whole(x_BD, y_BD)), float(tiles(x_BD, y_BD)))
for name, run in (('whole', whole), ('by tiles', tiles)):
  grad = jax.jit(jax.grad(lambda x, y, run=run: jnp.sum(run(x, y)), (0, 1)))
  plan = grad.lower(x_BD, y_BD).compile().memory_analysis()
  print(f'{name:9} plans {plan.temp_size_in_bytes / 2**20:6.1f} MiB')
