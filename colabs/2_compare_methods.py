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
# # Compare methods fairly
#
# One net, one budget, the same batches, several seeds, and a test that knows how
# many comparisons were made. We write a small study as a file, train it with one
# command, stop and resume it, and read what the report says: who is best, whose
# encoders were left behind, what each modality contributes, what it cost, and
# what happens when modalities go missing.
#
# It takes a few minutes on two CPU cores, and downloads nothing but packages.

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
import contextlib
import io
import json
import tempfile

import matplotlib.pyplot as plt
import numpy as np
from IPython.display import Markdown

from mmjax import report, sweep

root = pathlib.Path(tempfile.mkdtemp())

# %% [markdown]
# ## A study is a file
#
# `get_runs` returns named configs. Everything that is not the method is shared:
# encoders, optimizer, epochs, batches. `missing` hides a share of the entries
# (examples x modalities) in training and in test.

# %%
STUDY = """
from configs import common

ENCODERS = dict(
  image=dict(name='mlp', hidden=(64,)),
  speech=dict(name='tcn', stride=4, channels=16, blocks=2),
  text=dict(name='text', vocab=27, layers=0),
)

# name: (method, head, phase)
METHODS = {
  'unimodal': (dict(name='unimodal'), 'late', 'unimodal'),
  'concat': (dict(name='joint'), 'concat', 'joint'),
  'qmf': (dict(name='qmf'), 'late', 'joint'),
  'mla': (dict(name='mla'), 'shared', 'lap'),
}


def get_config(name, rate):
  method, head, phase = METHODS[name]
  config = common.get_config()
  config.encoders = ENCODERS
  config.method, config.head = method, dict(name=head)
  config.phases = ((phase, 12),)
  config.optim = dict(name='adamw', lr=3e-3, weight_decay=1e-2)
  config.num_seeds = 3
  config.evals = dict(classification={}, subsets={}, gap={}, probe={})
  config.missing.update(train=rate, validation=rate, test=rate)
  config.run.eval_epochs = 4.0
  return config


def get_runs(data_root):
  return {
    f'missing_{100 * rate:.0f}/{name}': get_config(name, rate)
    for rate in (0.0, 0.4)
    for name in METHODS
  }
"""
file = root / 'study.py'
_ = file.write_text(STUDY)

# %% [markdown]
# ## One command trains it
#
# The same as `python -m mmjax.sweep --config=study.py --root=...`. Start it
# again and it skips what is done, goes on with what was stopped, and refuses a
# folder whose config is another one.


# %%
def run(*flags):
  """What the command prints, without the tables in the end."""
  told = io.StringIO()
  with contextlib.redirect_stdout(told):
    code = sweep.main([f'--config={file}', f'--root={root}/runs', *flags])
  lines = told.getvalue().splitlines()
  print(
    '\n'.join(line for line in lines if ' of 8 ' in line or '/' in line[:9])
  )
  return code


run('--only=missing_0')

# %%
run()  # skips four, trains the other four

# %% [markdown]
# ## The results
#
# Mean and standard deviation over seeds. The p is of a paired t-test over seeds
# against the best run, corrected (Holm) for all comparisons made. Three seeds
# are few: only large differences can show.


# %%
def show(*tables):
  told = io.StringIO()
  with contextlib.redirect_stdout(told):
    report.main([f'{root}/runs', '--markdown', f'--tables={",".join(tables)}'])
  return Markdown(told.getvalue())


show('results')

# %% [markdown]
# ## Who was left behind
#
# A linear classifier is fitted on each trained encoder's features. The **probe
# gap** is how much better the encoder is when it was trained alone: what joint
# training cost it. **Shapley** values share the fused accuracy out among the
# modalities.

# %%
show('probe', 'contributions')

# %% [markdown]
# ## What it cost

# %%
show('cost')

# %% [markdown]
# ## When modalities are missing

# %%
show('missing')

# %% [markdown]
# ## From the numbers yourself
#
# Every run folder holds its numbers for each seed in `results.json`, under every
# subset of the modalities. Here: all methods, trained on complete data, asked
# with one modality hidden at test time.

# %%
names = ['unimodal', 'concat', 'qmf', 'mla']
subsets = ['image+speech+text', 'speech+text', 'image+text', 'image+speech']
figure, axes = plt.subplots(figsize=(8, 3.4), layout='constrained')
for i, name in enumerate(names):
  path = root / 'runs' / 'missing_0' / name / 'results.json'
  told = json.loads(path.read_text())['test']['subsets']
  values = np.array([told[s]['accuracy']['values'] for s in subsets])
  place = np.arange(len(subsets)) + 0.2 * (i - 1.5)
  axes.bar(place, values.mean(1), 0.18, yerr=values.std(1, ddof=1), label=name)
axes.set_xticks(range(len(subsets)), subsets)
axes.set(ylabel='fused test accuracy', ylim=(0.4, 1))
axes.legend(ncols=4, frameon=False, loc='lower left')
axes.spines[['top', 'right']].set_visible(False)
plt.show()

# %% [markdown]
# The same as one self-contained page, with learning curves and calibration, is
# `report.html` in the folder of the study;
# `python -m mmjax.report RUNS... --out=table.tex` writes it for a paper.

# %%
page = root / 'runs' / 'report.html'
print(page.name, f'{page.stat().st_size // 1024} kB')
