r"""What aligning frozen encoders takes: pairs, mixing, batches, depth.

  python -m mmjax.sweep --config=configs/sweeps/fusemix.py --root=runs/fusemix

Quantity: 1, 10 and 100 % of the training pairs, with and without mixing.
Quality: a share of the pairs is wrong. Diversity: a tenth of the pairs, spread
by k-center or by a determinantal point process over the latents of pictures or
speech, drawn at random, or all alike. Then batch size, what is mixed, and the
depth of the adapters. Latents of the digits are extracted first where there are
none; `cub` needs <data_root>/cub_emb/data.npz.
"""

import pathlib
from typing import Any

from configs import fusemix_cub, fusemix_digits

PAIRS = {'digits': 1078, 'cub': 360}  # in the training splits
LARGEST = 512
MIXINGS = ('none', 'fusemix', 'separate', 'slerp', 'noise', 'quantize')


def get_config(data: str, data_root: str) -> Any:
  """What all runs on one data set share."""
  if data == 'digits':
    config: Any = fusemix_digits.get_config()
    config.phases = (('align', 400, 'steps'),)
  else:
    config = fusemix_cub.get_config()
    config.data.path = str(pathlib.Path(data_root) / 'cub_emb' / 'data.npz')
  config.seeds_how = 'vmap'
  config.run.eval_epochs = 0.0
  config.run.checkpoint_epochs = 1000.0
  return config


def varied(
  data, data_root, *, method=None, blocks=None, batch=LARGEST, **pairs
):
  """One run: what differs from the others is named."""
  config = get_config(data, data_root)
  there = round(PAIRS[data] * pairs.get('fraction', 1.0))
  config.batch_size = min(batch, there - there % 2)
  config.pairs = pairs
  config.method.update(method or {})
  if blocks is not None:
    for encoder in config.encoders.values():
      encoder.blocks = blocks
  return config


def get_runs(data_root):
  runs = {}
  for data in PAIRS:
    made = {}
    for percent in (1, 10, 100) if data == 'digits' else (10, 30, 100):
      for mixing in MIXINGS if percent > 1 else MIXINGS[:2]:
        made[f'pairs_{percent}/{mixing}'] = dict(
          fraction=percent / 100, method=dict(mixing=mixing)
        )
      made[f'pairs_{percent}/per_example'] = dict(
        fraction=percent / 100,
        method=dict(lam='example', partner='permutation'),
      )
    for wrong in (20, 50):
      for mixing in MIXINGS[:2]:
        made[f'wrong_{wrong}/{mixing}'] = dict(
          mismatched=wrong / 100, method=dict(mixing=mixing)
        )
    for select in ('k_center', 'dpp', 'similar'):
      made[f'pairs_10/{select}'] = dict(fraction=0.1, select=select)
    for size in (16, 64, 256):
      made[f'batch_{size}/fusemix'] = dict(batch=size)
    for blocks in (0, 2, 4):
      made[f'depth_{blocks}/fusemix'] = dict(blocks=blocks)
    for name, options in made.items():
      runs[f'{data}/{name}'] = varied(data, data_root, **options)
  return runs
