"""A trained model as a folder that jax and numpy alone can use.

python -m mmjax.main --mode=export --workdir=runs/x

The folder holds
  model.safetensors  what is learned, by name: 'params/audio/Dense_0/kernel',
                     'stats/..', and of the method's memory what predict reads
  model.jaxexport    predict as a program of (weights, inputs), for a batch of
                     any size on cpu, cuda and tpu; without the weights
  signature.json     inputs, outputs, classes, where all this comes from
  serve.py           predictions from the three, and from nothing of mmjax
  README.md          a model card, with places for a person to fill in
"""

import json
import os
import pathlib
from collections.abc import Callable
from importlib import metadata
from typing import Any

import jax

from mmjax import _export_card as cards
from mmjax import _export_files as files
from mmjax import _export_model as models
from mmjax import _export_program as programs
from mmjax import _export_serve, folder
from mmjax._export_model import Model
from mmjax._export_program import Program
from mmjax.base import Batch, Ragged
from mmjax.checkpoint import anywhere
from mmjax.experiment import Experiment

FOLDER = 'export'  # in the run folder
FORMAT = 1  # of signature.json


def run(
  exp: Experiment,
  workdir: str | os.PathLike,
  out: str | os.PathLike = '',
  *,
  model: int = 0,
  overwrite: bool = False,
  told: Callable[[str], None] = print,
) -> dict[str, Any]:
  """Exports a model of a run; what is there of the very same model stays.

  Args:
    exp: of the run.
    workdir: the run folder.
    out: folder to write; default <workdir>/export.
    model: which of several seeds, from 0.
    overwrite: replaces an export of another model, or the same one.
    told: takes what a person should know.

  Returns:
    What signature.json holds; {} in processes other than the first, which
    writes.

  Raises:
    ValueError: no checkpoint, no such model, no library to write with, or the
      folder holds something else.
  """
  workdir = pathlib.Path(workdir)
  out = pathlib.Path(out or workdir / FOLDER).expanduser().absolute()
  files.check_libraries()
  chosen = models.of_run(exp, workdir, model)
  example = jax.tree.map(
    lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype), exp.batch()
  )
  signature, failed = {}, None
  if jax.process_index() == 0:
    try:
      signature, new = _written(exp, chosen, example, workdir, out, overwrite)
      told(_said(signature, out, new))
    except Exception as error:  # whatever it is, the others must not wait
      failed = error
  if anywhere(failed is not None):
    raise failed or ValueError(
      f'Process 0 could not export to {out}; it says why.'
    )
  return signature


def _written(
  exp: Experiment,
  model: Model,
  example: Batch,
  workdir: pathlib.Path,
  out: pathlib.Path,
  overwrite: bool,
) -> tuple[dict[str, Any], bool]:
  """The signature, and whether it is new."""
  origin = {
    **model.origin,
    'digest': models.digest(models.named(model.parts)),
  }
  with files.alone(out):
    found = files.there(out, origin, overwrite)
    if found:
      return found, False
    program = programs.make(exp, model, example)
    signature = describe(exp, program, origin, example)
    serve = pathlib.Path(_export_serve.__file__).read_text('utf8')
    card = cards.card(exp, signature, _results(workdir))
    with files.whole(out) as part:
      signature = files.write(
        part, program.weights, program.artefact, signature, card, serve
      )
  return signature, True


def _said(signature: dict[str, Any], out: pathlib.Path, new: bool) -> str:
  origin = signature['origin']
  which = f'checkpoint {origin["step"]}'
  if origin['models'] > 1:
    which += f', model {origin["model"]} of {origin["models"]} (from 0)'
  where = f'for {", ".join(signature["platforms"])}: {out}'
  if new:
    return f'Exported {which}, {where}'
  return (
    f'There already, and left as it is: {which}, {where} (--overwrite writes '
    'it anew)'
  )


def describe(
  exp: Experiment, program: Program, origin: dict[str, Any], example: Batch
) -> dict[str, Any]:
  """What signature.json holds, without the digests of the files."""
  inputs, provenance = {}, folder.provenance()
  for name, spec in program.inputs.items():
    modality = name.removeprefix('present/').removesuffix('/mask')
    inputs[name] = {**_array(spec, 'b'), 'modality': modality}
  return {
    'format': FORMAT,
    'origin': origin,
    'platforms': list(program.platforms),
    'left_out': program.left_out,
    'modalities': {
      m: {'ragged': isinstance(example[m], Ragged)} for m in exp.kit.modalities
    },
    'class_names': list(exp.kit.class_names),
    'inputs': inputs,
    'outputs': {n: _array(x, 'b') for n, x in program.outputs.items()},
    'weights': {n: _array(x) for n, x in program.weights.items()},
    'preprocessing': exp.config['augment'],
    'config': exp.config,
    **provenance,
    'versions': {'mmjax': metadata.version('mmjax'), **provenance['versions']},
  }


def _array(x: Any, *batch: str) -> dict[str, Any]:
  return {'shape': [*batch, *x.shape], 'dtype': str(x.dtype)}


def _results(workdir: pathlib.Path) -> dict[str, Any]:
  """results.json, {} of a run that has not ended."""
  path = workdir / folder.RESULTS
  try:
    return json.loads(path.read_text('utf8')) if path.exists() else {}
  except ValueError as error:
    raise ValueError(f'{path} cannot be read: {error}') from error
