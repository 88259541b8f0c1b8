"""Is one more modality worth it? Asked of data, answered with uncertainty.

A small model for every subset of modalities, sample size and seed is trained
(`lab.subsets`), and from their test risks follow learning curves, marginal and
Shapley values, the redundancy of pairs, the sample size at which a modality
begins to pay, latent representation quality, and the selection principle of
Huang et al. 2021 with both of its sides. `run` writes advice.json, advice.md
and advice.html.
"""

import math
import pathlib
from collections.abc import Callable, Mapping
from typing import Any

import jax

from mmjax import _advise_data as tables
from mmjax import _advise_judge, _advise_settings, folder
from mmjax import _advise_page as pages
from mmjax import _advise_tables as shown
from mmjax import _report_formats as formats
from mmjax._advise_settings import Settings
from mmjax._compose import plain
from mmjax.lab import subsets

settings = _advise_settings.settings
judge = _advise_judge.judge
JSON, TEXT, PAGE = 'advice.json', 'advice.md', 'advice.html'


def run(
  data: subsets.Data,
  name: str,
  asked: Settings,
  workdir: pathlib.Path,
  told: Callable[[str], None] = print,
) -> dict[str, Any]:
  """Trains, judges, writes, and returns what advice.json holds.

  Args:
    data: from `_advise_data`, or `lab.subsets.gather`.
    name: of the data, for titles.
    asked: from `settings`.
    workdir: must hold no advice yet.
    told: takes lines of progress.

  Raises:
    ValueError: the folder holds advice, or anything that the lab refuses.
  """
  claim(workdir)
  lattice = subsets.lattice(
    data.modalities, asked.lattice, limit=asked.limit, sample=asked.sample
  )
  counts = subsets.sizes(data.train.size, asked.fractions)
  members = len(lattice) * len(counts) * asked.num_seeds
  told(
    f'{len(lattice)} subsets x {len(counts)} sample sizes x {asked.num_seeds} '
    f'seeds: {members:,} models.'
  )
  cube = subsets.train(
    data,
    lattice,
    counts,
    asked.num_seeds,
    asked.learner,
    told=lambda i, n: told(
      f'sample size {i} of {n}: {counts[i - 1]:,} examples'
    ),
  )
  found = judge(data, cube, asked, name, told)
  write(found, workdir)
  return found


def is_run(workdir: pathlib.Path) -> bool:
  """Whether a folder holds a training run, whose latents can be asked about."""
  return (workdir / folder.CONFIG).exists()


def of_run(workdir: pathlib.Path, asked: Settings) -> subsets.Data:
  """The latents of a run's encoders, of its first seed.

  Raises ValueError if there is no checkpoint.
  """
  return tables.of_run(workdir, asked.held_out)


def of_config(config: Any, asked: Settings) -> tuple[subsets.Data, str]:
  """The data of a recipe, or the synthetic world it names, and their name.

  Raises ValueError with the place in the config and the way out.
  """
  if asked.world is not None:
    data = tables.of_world(asked.world, 'config.advise.world')
    return data, str(asked.world['name'])
  section = plain(config)['data']
  name = pathlib.Path(section.get('path', section['name']))
  name = name.parent.name if name.stem == 'data' else name.stem
  return tables.of_config(config, asked.held_out), name


def claim(workdir: pathlib.Path) -> None:
  """Makes the folder. Raises ValueError if advice stands in it."""
  taken = [n for n in (JSON, TEXT, PAGE) if (workdir / n).exists()]
  if taken:
    raise ValueError(
      f'{workdir} holds advice already ({", ".join(taken)}). Take another '
      '--workdir, or move these files away.'
    )
  workdir.mkdir(parents=True, exist_ok=True)


def write(found: Mapping[str, Any], workdir: pathlib.Path) -> None:
  """advice.json, advice.md and advice.html."""
  record = {**found, **folder.provenance()}
  folder.write_json(workdir / JSON, jax.tree.map(_number, record))
  sentences = '\n\n'.join(found.get('recommendation', ()))
  body = formats.markdown(shown.tables(found))
  (workdir / TEXT).write_text(f'{sentences}\n\n{body}'.lstrip(), 'utf8')
  (workdir / PAGE).write_text(pages.page(found), 'utf8')


def _number(value: Any) -> Any:
  return (
    None if isinstance(value, float) and not math.isfinite(value) else value
  )


def tell(found: Mapping[str, Any]) -> None:
  """Prints the tables and the recommendation."""
  console = formats.tell(shown.tables(found))
  for sentence in found.get('recommendation', ()):
    console.print(sentence, markup=False, highlight=False, style='bold')
