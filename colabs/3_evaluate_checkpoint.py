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
# # Evaluate a checkpoint
#
# A run folder holds all that it takes to ask a trained model something new: its
# config and its parameters. We restore them, check that the numbers are those
# of `results.json`, take modalities away, and look at confusions and features.
#
# Give the folder of a run in `WORKDIR` (the first line that
# `python -m mmjax.main` prints). Without one, a short run is trained first.

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
import json
import tempfile

import matplotlib.pyplot as plt
import numpy as np
from rich.console import Console
from sklearn.decomposition import PCA
from sklearn.metrics import confusion_matrix

from configs import mla_digits
from mmjax import evaluate, experiment, folder, log, train
from mmjax.checkpoint import Checkpoints

WORKDIR = ''  # @param

# %%
if WORKDIR:
  workdir = pathlib.Path(WORKDIR)
else:
  workdir = pathlib.Path(tempfile.mkdtemp()) / 'run'
  config = mla_digits.get_config()
  config.num_seeds = 2
  config.phases = (('lap', 6),)
  train.run(experiment.build(config), workdir)
sorted(path.name for path in workdir.iterdir())

# %% [markdown]
# ## From the folder alone
#
# `config.json` builds the experiment; the checkpoint fills its states. Sums of
# every array are checked on the way, and a damaged checkpoint is passed over for
# the one before it, with a warning. `states` holds all seeds of the run.

# %%
exp = experiment.build(folder.read_config(workdir))
with Checkpoints(workdir / 'checkpoints', read_only=True) as checkpoints:
  found = checkpoints.restore(exp.seeds.abstract, exp.run.select)
states = found.state
print(f'step {found.step}, {exp.seeds.num} seeds')

results = evaluate.run(exp, states, ('test',))
Console().print(log.table(results, 'test'))

# %% [markdown]
# These are the numbers of the end of training; on other devices, rounding may
# move an example that was on the edge.

# %%
before = json.loads((workdir / 'results.json').read_text())
for name in (*exp.kit.modalities, 'joint'):
  now = results['test'][name]['accuracy']
  np.testing.assert_allclose(
    now['values'], before['test'][name]['accuracy']['values'], atol=5e-3
  )
  print(f'{name:8} {log.spread(now)}')

# %% [markdown]
# ## Every subset of the modalities
#
# `present` says who has which modality; hiding one is a matter of a mask, and
# fusion shares its weights out among the others. `subsets` does it for all
# subsets in one pass. `drop=` hides a modality from any eval, as `--drop` does.

# %%
subsets = results['test']['subsets']
names = sorted(subsets, key=lambda name: (name.count('+'), name))
means = [100 * subsets[name]['accuracy']['mean'] for name in names]
spread = [100 * subsets[name]['accuracy']['std'] for name in names]
figure, axes = plt.subplots(
  figsize=(7, 0.4 * len(names) + 0.8), layout='constrained'
)
axes.barh(names, means, xerr=spread, color='steelblue')
axes.axvline(100 / exp.kit.num_classes, color='gray', ls=':')
axes.invert_yaxis()
axes.set(xlabel='test accuracy, % (dotted: chance)', xlim=(0, 100))
plt.show()

# %%
for m in exp.kit.modalities:
  less = evaluate.run(exp, states, ('test',), ['classification'], drop=(m,))
  cells = less['test']['joint']
  print(
    f'without {m:8} accuracy {log.spread(cells["accuracy"]):12}'
    f' ECE {log.spread(cells["ece"])}'
  )

# %% [markdown]
# ## What is taken for what
#
# An eval has two halves: `observe` runs on the device and returns rows,
# `report` turns the rows of the whole split into numbers. The rows, logits in
# this one, are there for whatever the report does not tell.

# %%
rows = evaluate.rows(exp, states, 'test', 'classification')  # [seeds, N, ...]
label_N = rows['label'][0]
shown = (*exp.kit.modalities, 'joint')
figure, axes = plt.subplots(
  1, len(shown), figsize=(3 * len(shown), 3.4), layout='constrained'
)
for axis, name in zip(axes, shown):
  guess_N = rows[f'logits/{name}'][0].argmax(-1)
  counts_CC = confusion_matrix(label_N, guess_N, normalize='true')
  axis.imshow(counts_CC, cmap='Blues', vmin=0, vmax=1)
  ticks = range(exp.kit.num_classes)
  axis.set_xticks(ticks, exp.kit.class_names, rotation=90)
  axis.set_yticks(ticks, exp.kit.class_names)
  axis.set_title('fused' if name == 'joint' else name)
axes[0].set_ylabel('true class')
figure.supxlabel('predicted class, first seed')
plt.show()

# %% [markdown]
# ## Where the modalities lie
#
# The modality gap is the distance between the centres of two modalities'
# features on the unit sphere (Liang et al., 2022). Here they are projected on the
# plane through the centres, where the gap between three is seen whole. A shared
# head need not close it: it only has to separate the classes.

# %%
rows = evaluate.rows(exp, states, 'test', 'gap')
unit = {}
for m in exp.kit.modalities:
  feats_ND = rows[f'feats/{m}'][0][rows[f'present/{m}'][0]]
  length_N1 = np.linalg.norm(feats_ND, axis=1, keepdims=True)
  unit[m] = feats_ND / np.maximum(length_N1, 1e-12)
plane = PCA(2).fit(np.stack([feats_ND.mean(0) for feats_ND in unit.values()]))
figure, axes = plt.subplots(figsize=(6, 4.5), layout='constrained')
for i, (m, feats_ND) in enumerate(unit.items()):
  point_N2 = plane.transform(feats_ND)
  axes.scatter(*point_N2.T, s=8, alpha=0.4, color=f'C{i}')
  axes.scatter(
    *point_N2.mean(0), s=160, ec='black', color=f'C{i}', label=m, zorder=3
  )
axes.legend()
axes.set(xlabel='first axis', ylabel='second axis', aspect='equal')
plt.show()
for pair, cell in results['test']['gap'].items():
  print(f'{pair:16} {log.spread(cell, scale=1)}')

# %% [markdown]
# ## Predictions as a file
#
# `predictions_<eval>.npz` in the run folder are these rows, for other tools.
# Any split can be written anywhere:

# %%
out = pathlib.Path(tempfile.mkdtemp())
evaluate.run(exp, states, ('validation',), ['classification'], save_to=out)
with np.load(out / 'predictions_classification.npz') as file:
  for name, values in file.items():
    print(f'{name:16} {values.dtype}{list(values.shape)}')
