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
# # Train MLA, and see what joint training leaves unlearned
#
# Ten digits, each written, spoken and spelled. We look at the data, train the
# same three encoders in three ways, and measure what each encoder has learned:
#
# * **joint**: one loss on the concatenated features, the usual way;
# * **MLA**: the modalities take turns at one shared head
#   ([Zhang et al., CVPR 2024](https://arxiv.org/abs/2311.10707));
# * **unimodal**: each modality on its own, which shows what there is to learn.
#
# It takes about a minute on two CPU cores, and downloads nothing but packages.

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
import matplotlib.pyplot as plt
import numpy as np
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import cross_val_score

from configs import joint_digits, mla_digits, unimodal_digits
from mmjax import experiment, log, train

EPOCHS = 12

# %% [markdown]
# ## A config, and what it builds
#
# A config says which file does what: `config.method.name = 'mla'` is
# `mmjax/methods/mla.py`, and the other keys of the section are the arguments of
# its `make`. `experiment.build` turns it into pure, compiled functions, and
# complains about what does not fit before anything is compiled.


# %%
def small(config):
  """One seed, and fewer epochs than the recipe."""
  config.num_seeds = 1
  name, _ = config.phases[0]
  config.phases = ((name, EPOCHS),)
  return config


configs = {
  'joint': small(joint_digits.get_config()),
  'MLA': small(mla_digits.get_config()),
  'unimodal': small(unimodal_digits.get_config()),
}
experiments = {
  name: experiment.build(config) for name, config in configs.items()
}
exp = experiments['MLA']
print(configs['MLA'].encoders)
print(exp.plan, f'{exp.kit.steps_per_epoch} steps an epoch')

# %% [markdown]
# ## The data
#
# A batch holds one entry per modality, the labels, and who has which modality.
# Sequences of different lengths are `Ragged`: padded values and a mask. All
# three modalities are noisy, or each of them alone would be enough.

# %%
batch = exp.batch(0)
jax.tree.map(lambda x: f'{x.dtype}{list(x.shape)}', batch)

# %%
COLUMNS = 8
figure, axes = plt.subplots(2, COLUMNS, figsize=(10, 3.2), layout='constrained')
for i in range(COLUMNS):
  letters = [chr(96 + c) for c in np.asarray(batch['text'][i]) if c]
  axes[0, i].imshow(batch['image'][i, :, :, 0], cmap='gray_r')
  axes[0, i].set_title(exp.kit.class_names[batch['label'][i]])
  frames = int(batch['speech'].mask[i].sum())
  axes[1, i].imshow(
    np.asarray(batch['speech'].values[i, :frames]).T,
    origin='lower',
    aspect='auto',
    cmap='magma',
  )
  axes[1, i].set_xlabel(f'“{"".join(letters)}”')
for each in axes.flat:
  each.set(xticks=[], yticks=[])
axes[0, 0].set_ylabel('image')
axes[1, 0].set_ylabel('log-mel')
plt.show()

# %% [markdown]
# ## One step by hand
#
# A step is a pure function `(state, batch) -> (state, metrics)`. That is all a
# method is made of, so you can call it, differentiate it, or scan over it.

# %%
state = exp.init(jax.random.key(0))
for step in range(3):
  state, metrics = exp.steps['lap'](state, exp.batch(step))
{name: round(float(value), 3) for name, value in metrics.items()}

# %% [markdown]
# ## Three runs
#
# `train.run` is the loop behind `python -m mmjax.main`: it logs, evaluates,
# saves, and goes on where it was if you run the cell again on the same folder.

# %%
root = pathlib.Path(tempfile.mkdtemp())
results = {}
for name, each in experiments.items():
  print(f'\n{name}')
  results[name] = train.run(each, root / name)['test']

# %% [markdown]
# ## Learning curves
#
# Validation accuracy of each modality's own logits, and of the fused ones. With
# a concatenating head, a modality's own logits are its slice of the head.

# %%
modalities = exp.kit.modalities
figure, axes = plt.subplots(
  1, len(results), figsize=(11, 3.2), sharey=True, layout='constrained'
)
for axis, name in zip(axes, results):
  lines = [r for r in log.read(root / name) if r['split'] == 'validation']
  epochs = [line['epoch'] for line in lines]
  for m in (*modalities, 'joint'):
    accuracy = [
      100 * np.mean(line['values'][f'{m}/accuracy']) for line in lines
    ]
    style = dict(color='black', lw=2.5) if m == 'joint' else {}
    axis.plot(epochs, accuracy, label='fused' if m == 'joint' else m, **style)
  axis.set(title=name, xlabel='epoch')
axes[0].set_ylabel('validation accuracy, %')
figure.legend(*axes[0].get_legend_handles_labels(), loc='outside right center')
plt.show()

# %% [markdown]
# ## Modality laziness, in numbers
#
# A modality's own logits say how far the *head* has learned to use it. To ask
# what the *encoder* knows, we freeze it and fit a new linear classifier on its
# test features (five-fold cross-validation).


# %%
def probe(name, modality):
  """Accuracy of a fresh linear classifier on frozen features."""
  with np.load(root / name / 'predictions_gap.npz') as rows:
    feats_ND, label_N = rows[f'feats/{modality}'][0], rows['label']
  model = LogisticRegression(C=0.1, max_iter=2000)
  return cross_val_score(model, feats_ND, label_N, cv=5).mean()


def row(title, cells):
  print(f'{title:24}' + ''.join(f'{100 * cell:10.1f}' for cell in cells))


print(f'{"test accuracy, %":24}' + ''.join(f'{n:>10}' for n in results))
for m in (*modalities, 'joint'):
  cells = [r[m]['accuracy']['mean'] for r in results.values()]
  row('fused' if m == 'joint' else f'{m}, own logits', cells)
for m in modalities:
  row(f'{m}, linear probe', [probe(name, m) for name in results])

# %% [markdown]
# Read a line of *own logits* from right to left: what a modality can do alone,
# what of it is there under MLA, and what under joint training, whose gradient
# fades as soon as the fused loss is small, whatever the harder modalities still
# had to learn. The *linear probe* tells how much of the loss is the encoder's:
# where it recovers the accuracy, only the head had not learned to use it.
#
# What is lost shows when a modality is missing at test time:

# %%
print(f'{"test accuracy, %":24}' + ''.join(f'{n:>10}' for n in results))
for subset in results['MLA']['subsets']:
  cells = [r['subsets'][subset]['accuracy']['mean'] for r in results.values()]
  row(subset, cells)

# %% [markdown]
# One seed and a short run: for numbers to quote, take several seeds and the
# whole recipe (`python -m mmjax.main --config=configs/joint_digits.py`), and
# compare the runs with `python -m mmjax.report`. Next:
# `3_evaluate_checkpoint` opens a run folder and asks it more.
