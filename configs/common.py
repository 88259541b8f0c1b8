"""Defaults that every recipe starts from, each with what it does.

Take a copy of `get_config`, then assign whole sections: an assigned section
replaces the default, so no key of the old one survives.
"""

from typing import Any

from ml_collections import ConfigDict


def words(
  argument: str, recipe: str, known: tuple[str, ...] = ()
) -> tuple[list[str], bool]:
  """A recipe's argument: its words, and whether 'sample' is one of them.

  Words are separated by commas, in any order. Raises ValueError for one that is
  neither 'sample' nor `known`.
  """
  given = [word for word in argument.split(',') if word]
  for word in given:
    if word not in ('sample', *known):
      raise ValueError(
        f'configs/{recipe}.py has no argument {word!r}, but '
        f'{", ".join(("sample", *known))}.'
      )
  return [word for word in given if word != 'sample'], 'sample' in given


def rendered(config: Any) -> None:
  """A small set of the same layout, rendered, in batches that suit it."""
  config.data.update(sample=True, data_dir='data/sample')
  config.batch_size, config.eval_batch_size = 16, 48
  config.reader = dict(threads=2, ahead=2)
  config.run.checkpoint_epochs = 1.0


def get_config() -> Any:  # a ConfigDict, whose keys no checker knows
  """All keys that `experiment.build` knows."""
  config = ConfigDict()

  # Which data: mmjax/data/<name>.py: make(split, **the other keys).
  config.data = ConfigDict(dict(name='digits'))
  # Fewer, worse or other training pairs: mmjax/data/pairs.py: keep(source, ...).
  config.pairs = ConfigDict()
  # Share of entries (examples x modalities) made missing, per split: an exact
  # count, or as the authors of MLA draw them ('cpm', which saturates).
  config.missing = ConfigDict(
    dict(train=0.0, validation=0.0, test=0.0, seed=0, sampler='exact')
  )

  # One section per modality: mmjax/models/<name>.py: make(...); a modality
  # without one gets an encoder that fits the shape of its examples.
  config.encoders = ConfigDict()
  config.width = 64  # of the features, unless an encoder says otherwise
  config.dtype = 'float32'  # of products; 'bfloat16' pays on accelerators only
  # How modalities meet: mmjax/models/fusion/<name>.py.
  config.head = ConfigDict(dict(name='shared'))
  # What is done in a step: mmjax/methods/<name>.py.
  config.method = ConfigDict(dict(name='mla'))
  # (phase of the method, epochs) or (phase, amount, 'steps'), in order; their
  # sum is the length of training.
  config.phases = (('lap', 30),)

  # mmjax/optim.py; a schedule multiplies the lr of the optimizer.
  config.optim = ConfigDict(
    dict(name='sgd', lr=1e-2, momentum=0.9, weight_decay=1e-4)
  )
  config.schedule = ConfigDict(dict(name='cosine', warmup_epochs=1.0))
  config.batch_size = 64
  # Per modality, in the step: mmjax/data/augment.py.
  config.augment = ConfigDict()

  # Questions asked of the trained model: mmjax/evals/<name>.py.
  config.evals = ConfigDict(dict(classification={}, subsets={}, gap={}))
  config.eval_batch_size = 256

  # What --mode=advise does with these data: mmjax/advise.py: _settings(...).
  config.advise = ConfigDict()
  # Latents that training needs first, and the recipe of their encoders:
  # mmjax/_extract_recipe.py: _settings(...).
  config.extract = ConfigDict()
  # What --mode=generate draws: mmjax/_generate_settings.py: _settings(...).
  config.generate = ConfigDict()

  config.seed = 0  # of the first model: weights, dropout, augmentation
  config.order_seed = 0  # of the order of the examples, the same for all models
  config.num_seeds = 1  # models, with seeds seed, seed + 1, ...
  config.seeds_how = 'auto'  # 'loop', 'vmap'; auto: vmap on accelerators

  # Devices: a batch is split over `data` (-1: all), models over `seed`.
  config.mesh = ConfigDict(dict(data=-1, seed=1))
  config.shard_state = False  # split parameters over `data` too

  # Threads that read batches, and how many batches they hold ready. Latents up
  # to this size are put onto the devices once; 0 never does.
  config.reader = ConfigDict(dict(threads=1, ahead=4, resident_gb=4.0))

  config.run = ConfigDict(
    dict(
      log_steps=20,
      eval_epochs=1.0,  # validation, on the first of config.evals; 0: never
      checkpoint_epochs=5.0,
      keep=2,  # newest checkpoints, besides the best
      select='latest',  # or 'best': the model that the final numbers are of
      watch='classification/joint/accuracy',  # higher is better, on validation
    )
  )
  return config
