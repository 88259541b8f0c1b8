"""Pictures from a modality that the generator has never seen.

A generator of pictures is trained under the embeddings of one modality, `text`
say. Another, `speech`, is aligned to it by a run (FuseMix); asked with its
embeddings, the generator draws what is said. Vouitsis et al., CVPR 2024,
section 5.3, turn a text-to-image generator into an audio-to-image one so.

Whether it does is asked of a classifier that has learnt from real pictures.
`run` writes generator.npz, generated.npz, generate.json, generated.png and
generated.html.
"""

import pathlib
import time
from collections.abc import Callable, Mapping
from typing import Any

import jax
import numpy as np

from mmjax import (
  _generate_data,
  _generate_files,
  _generate_judge,
  _generate_net,
  folder,
)
from mmjax import _generate_page as pages
from mmjax import _generate_pictures as pictures
from mmjax import _generate_settings as asking
from mmjax import _report_formats as formats
from mmjax._generate_data import Data, Part
from mmjax._generate_net import Generator
from mmjax._generate_settings import Settings

settings = asking.settings
train, sample = _generate_net.train, _generate_net.sample
save, load = _generate_files.save, _generate_files.load
of_run = _generate_data.of_run
Judge = _generate_judge.Judge
judge = _generate_judge.judge
JSON, PAGE, PNG = 'generate.json', 'generated.html', 'generated.png'
ARRAYS, GENERATOR = 'generated.npz', 'generator.npz'
ALIGNED = 'aligned'  # the run, if config.generate names none


def run(
  section: Mapping[str, Any],
  workdir: pathlib.Path,
  told: Callable[[str], None] = print,
) -> dict[str, Any]:
  """Trains, generates, judges, writes, and returns what generate.json holds.

  Args:
    section: config.generate, see `_generate_settings`.
    workdir: must hold none of the results; it may hold the aligned run.
    told: takes lines of progress.

  Raises:
    ValueError: there are results already, or whatever does not fit.
    FloatingPointError: training diverged.
  """
  asked, workdir = settings(section), pathlib.Path(workdir)
  claim(workdir)
  run_folder = pathlib.Path(asked.run or workdir / ALIGNED)
  data = of_run(
    run_folder, asked.data, asked.source, asked.condition, asked.target
  )
  name = run_folder.resolve().name
  generator, found, made = evaluate(data, asked, told)
  found = {'name': name, 'step': data.step, **found}
  write(generator, found, made, workdir)
  return found


def claim(workdir: pathlib.Path) -> None:
  """Makes the folder. Raises ValueError if results stand in it."""
  files = (JSON, PAGE, PNG, ARRAYS, GENERATOR)
  taken = [name for name in files if (workdir / name).exists()]
  if taken:
    raise ValueError(
      f'{workdir} holds generated pictures already ({", ".join(taken)}). Take '
      'another --workdir, or move these files away.'
    )
  workdir.mkdir(parents=True, exist_ok=True)


def evaluate(
  data: Data, asked: Settings, told: Callable[[str], None] = print
) -> tuple[Generator, dict[str, Any], dict[str, np.ndarray]]:
  """Trains on (picture, condition) of train; generates for each of test.

  Returns:
    The generator, what generate.json holds, and what generated.npz holds.
  """
  train_part, test = data.parts['train'], data.parts['test']
  judge_ = judge(train_part.images, train_part.label, test.images, test.label)
  began = time.monotonic()
  generator = train(train_part.images, train_part.condition, asked, told)
  trained = time.monotonic()
  made = {
    'label': test.label,
    'entry': test.entry,
    'real/images': test.images,
    'real/recognised': judge_.recognise(test.images),
    **_generated(generator, test, asked, judge_, told),
  }
  sampled = time.monotonic()
  found = {
    **{role: getattr(asked, role) for role in ('source', 'condition')},
    'class_names': list(data.class_names),
    'sizes': {split: part.size for split, part in data.parts.items()},
    'entries': len(np.unique(test.entry)),
    **_numbers(made, data),
    **_alignment(train_part, test),
    'parameters': sum(x.size for x in jax.tree.leaves(generator.params)),
    'seconds': {'training': trained - began, 'sampling': sampled - trained},
    'settings': asked._asdict(),
  }
  return generator, found, made


def _generated(
  generator: Generator, test: Part, asked: Settings, judge_: Judge, told
) -> dict[str, np.ndarray]:
  """Pictures for each role, `samples` times over, and what they look like."""
  root = jax.random.key(asked.seed + 1)
  other_N = np.random.default_rng(asked.seed).permutation(test.size)
  asks = {
    'condition': test.condition,
    'source': test.source,
    'shuffled': test.source[other_N],
  }
  made = {}
  for i, (role, condition_ND) in enumerate(asks.items()):
    wanted = np.tile(condition_ND, (asked.samples, 1))
    images = sample(generator, wanted, jax.random.fold_in(root, i))
    made[f'{role}/images'] = images
    made[f'{role}/recognised'] = judge_.recognise(images)
    told(f'{len(images):,} pictures: {role}')
  return made


def _numbers(made: Mapping[str, np.ndarray], data: Data) -> dict[str, Any]:
  """Fractions recognised, in all and by class, and the pictures' variety.

  The intervals are Wilson's at 95 %, of as many trials as there are different
  entries: two pictures of one recording are no two trials.
  """
  from statsmodels.stats import proportion

  label_N, training = made['label'], data.parts['train'].images
  entries = len(np.unique(made['entry']))

  def recognised(role):
    right_N = made[f'{role}/recognised']
    wanted_N = np.tile(label_N, len(right_N) // len(label_N))
    right_N = right_N == wanted_N
    by_class = {
      data.class_names[c]: float(right_N[wanted_N == c].mean())
      for c in np.unique(wanted_N)
    }
    mean = float(right_N.mean())
    ends: Any = proportion.proportion_confint(
      mean * entries, entries, method='wilson'
    )
    ends = {'low': float(ends[0]), 'high': float(ends[1])}
    return {'mean': mean, **ends, 'classes': by_class}

  def variety(role):
    images = made[f'{role}/images'][: len(label_N)]
    return _generate_judge.variety(images, label_N, training)._asdict()

  return {
    'judge': recognised('real'),
    'recognised': {role: recognised(role) for role in pages.ROLES},
    'variety': {r: variety(r) for r in ('real', 'condition', 'source')},
  }


def _alignment(train_part: Part, test: Part) -> dict[str, float]:
  """How well what the generator is asked with fits what it has seen.

  'aligned' is the fraction of test whose source is nearest to a condition of
  its own class, 'cosine' the mean of source and condition of one example.
  """
  key_ND = np.asarray(_generate_net.unit(train_part.condition))
  ask_ND = np.asarray(_generate_net.unit(test.source))
  own_ND = np.asarray(_generate_net.unit(test.condition))
  nearest_N = np.argmax(ask_ND @ key_ND.T, axis=1)
  right_N = train_part.label[nearest_N] == test.label
  cosine_N = np.sum(ask_ND * own_ND, axis=1)
  return {
    'aligned': float(right_N.mean()),
    'cosine': float(cosine_N.mean()),
  }


def write(
  generator: Generator,
  found: Mapping[str, Any],
  made: Mapping[str, np.ndarray],
  workdir: pathlib.Path,
) -> None:
  """The five files; generate.json is the last."""
  save(generator, workdir / GENERATOR)
  np.savez_compressed(workdir / ARRAYS, **made)  # pyright: ignore
  classes, columns = pictures.columns(made, found)
  svg = pictures.grid(
    classes, columns, found['class_names'], found['source'], workdir / PNG
  )
  (workdir / PAGE).write_text(pages.page(found, made, svg), 'utf8')
  folder.write_json(workdir / JSON, {**found, **folder.provenance()})


def tell(found: Mapping[str, Any]) -> None:
  """Prints the tables."""
  formats.tell(pages.tables(found))
