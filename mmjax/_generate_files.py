"""The generator as a file."""

import functools
import json
import os
import pathlib
import zipfile
from typing import Any

import jax
import numpy as np

from mmjax import _generate_net as nets
from mmjax._generate_net import Generator
from mmjax._generate_settings import settings


def save(generator: Generator, path: str | os.PathLike) -> None:
  """Writes a .npz: an array for each parameter, and settings as JSON."""
  flat, _ = jax.tree.flatten_with_path(generator.params)
  arrays = {
    'params/' + jax.tree_util.keystr(at, simple=True, separator='/'): value
    for at, value in flat
  }
  facts = {
    'shape': generator.shape,
    'width': generator.width,
    'asked': generator.asked._asdict(),
  }
  np.savez(path, facts=np.array(json.dumps(facts)), **arrays)  # pyright: ignore


def load(path: str | os.PathLike) -> Generator:
  """What `save` wrote. Raises ValueError for a file that is none of these."""
  path = pathlib.Path(path)
  try:
    with np.load(path, allow_pickle=False) as file:
      facts = json.loads(str(file['facts']))
      params: dict[str, Any] = {}
      for name in file.files:
        *parents, leaf = name.split('/')
        if parents:
          node = functools.reduce(
            lambda node, part: node.setdefault(part, {}), parents[1:], params
          )
          node[leaf] = file[name]
    asked = settings(facts['asked'])
    made = Generator(params, tuple(facts['shape']), facts['width'], asked)
    _check_params(made)
  except (OSError, ValueError, KeyError, zipfile.BadZipFile) as error:
    raise ValueError(f'{path} is no generator: {error}') from error
  return made


def _check_params(made: Generator) -> None:
  init = nets.network(made.asked).init
  want = jax.eval_shape(init, jax.random.key(0), *nets.example(made))
  shapes = [
    jax.tree.map(lambda x: x.shape, tree)
    for tree in (want['params'], made.params)
  ]
  if shapes[0] != shapes[1]:
    raise ValueError('its parameters are not those of its net.')
