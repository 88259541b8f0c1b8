"""The model card: what a person should know who did not train the model."""

import importlib
import math
from collections.abc import Mapping
from typing import Any

from mmjax import _export_tables as tables
from mmjax.experiment import Experiment

Signature = Mapping[str, Any]


def card(
  exp: Experiment, signature: Signature, results: Mapping[str, Any]
) -> str:
  """Markdown, from what signature.json and results.json hold."""
  parts = (
    ('', _what(exp, signature)),
    ('Use', _use(signature)),
    ('Inputs', _inputs(signature)),
    ('Outputs', _outputs(signature)),
    ('Numbers', tables.numbers(exp, signature, results)),
    ('Training', _training(exp, signature)),
    ('Limits', _limits(exp, signature)),
    ('Licence', LICENCE),
  )
  title = f'# {signature["origin"]["run"]}\n'
  return title + '\n'.join(
    (f'\n## {name}\n' if name else '') + f'\n{text}\n' for name, text in parts
  )


LICENCE = (
  '**Not stated yet.** Whoever passes this model on writes its licence here, '
  'and whether those of the training data and of published weights it began '
  'with allow that.'
)


def _what(exp: Experiment, signature: Signature) -> str:
  config, names = exp.config, signature['class_names']
  shown = ', '.join(f'`{name}`' for name in names[:20])
  more = f' and {len(names) - 20} more' if len(names) > 20 else ''
  count = sum(math.prod(w['shape']) for w in signature['weights'].values())
  lines = [
    f'A model of {" + ".join(exp.kit.modalities)} with {len(names)} classes: '
    f'{shown}{more}. {count:,} numbers, trained with mmjax.',
    '',
    '**To fill in: what it is for, and what it must not be used for.**',
    '',
    f'- method: {_about("methods", config["method"]["name"])}',
    f'- head: {_about("models.fusion", config["head"]["name"])}',
    f'- data: {_about("data", config["data"]["name"])}',
  ]
  for m in exp.kit.modalities:
    section = config['encoders'].get(m)
    told = _about('models', section['name']) if section else 'by the shape'
    lines.append(f'- encoder of {m}: {told}')
  return '\n'.join(lines)


def _about(package: str, name: str) -> str:
  """The name of a file, and the first sentence that it says of itself."""
  module = importlib.import_module(f'mmjax.{package}.{name}')
  first = (module.__doc__ or '').strip().split('\n\n')[0]
  return f'`{name}`. {" ".join(first.split())}'


def _use(signature: Signature) -> str:
  given = []
  for m in signature['modalities']:
    spec = signature['inputs'][m]
    shape = ', '.join(map(str, (2, *spec['shape'][1:])))
    given.append(f"  '{m}': np.zeros(({shape}), '{spec['dtype']}'),")
  return '\n'.join(
    [
      'With `pip install jax numpy flatbuffers`, in this folder:',
      '',
      '```python',
      'import numpy as np',
      'import serve',
      '',
      'predict = serve.load()',
      'inputs = {  # of two examples',
      *given,
      '}',
      'outputs = predict(inputs)',
      "print(outputs['probabilities/joint'])",
      '```',
      '',
      'or `python serve.py examples.npz`. `serve.py` is all there is to it: '
      '`model.safetensors` read with NumPy, and `model.jaxexport` called with '
      'these weights and the inputs. It was exported for '
      f'{", ".join(signature["platforms"])}, with jax '
      f'{signature["versions"]["jax"]}.',
      *(
        f'It cannot run on {platform}: {why}'
        for platform, why in signature['left_out'].items()
      ),
    ]
  )


def _inputs(signature: Signature) -> str:
  rows = []
  for name, spec in signature['inputs'].items():
    m = spec['modality']
    if name == m:
      steps = signature['modalities'][m]['ragged']
      told = 'steps, padded with zeros behind' if steps else 'examples'
    elif name == f'{m}/mask':
      told = 'True where a step is real; left out: all are'
    else:
      told = f'who has {m}; left out: all, if {m} is given'
    rows.append([f'`{name}`', _kind(spec), told])
  lines = tables.table(['input', 'type', ''], rows)
  inside = signature['preprocessing']
  return lines + (
    '\n\n`b` is any number of examples. A modality may be left out as a whole; '
    'its examples then count as absent.\n\n'
    + (
      f'Inside the program is what `config.augment` does at test time: '
      f'`{inside}`. '
      if inside
      else 'Nothing is done to the inputs inside the program. '
    )
    + 'What the data set does as it is read (`config.data`: decoding, '
    'standardising, tokens) has to be done before.'
  )


def _outputs(signature: Signature) -> str:
  rows = [[f'`{n}`', _kind(s)] for n, s in signature['outputs'].items()]
  return tables.table(['output', 'type'], rows) + (
    '\n\n`joint` is the fusion of all modalities that are present, the others '
    "are a modality's own. Logits and probabilities are in the order of "
    '`class_names` in `signature.json`.'
  )


def _training(exp: Experiment, signature: Signature) -> str:
  config, origin = exp.config, signature['origin']
  which = f'checkpoint {origin["step"]} of {exp.plan[-1].stop} steps'
  if config['run']['select'] == 'best':
    which += f', the best on validation by `{config["run"]["watch"]}`'
  if origin['models'] > 1:
    which += f'; model {origin["model"]} (from 0) of {origin["models"]}'
  versions = ', '.join(f'{n} {v}' for n, v in signature['versions'].items())
  rows = [
    ['run', f'`{origin["run"]}`: {which}; seed {origin["seed"]}'],
    ['examples', f'{exp.sources["train"].size:,}'],
    *([key, f'`{config[key]}`'] for key in SHOWN if config.get(key)),
    ['versions', versions],
    ['revision', f'`{signature["revision"] or "unknown"}`'],
  ]
  return tables.table(['', ''], rows) + (
    '\n\nThe whole config is in `signature.json`, and in `config.json` of the '
    'run folder; versions and revision are those of the export.'
  )


SHOWN = (
  *('data', 'pairs', 'missing', 'encoders', 'head', 'method', 'phases'),
  *('optim', 'schedule', 'batch_size', 'dtype', 'augment'),
)


def _limits(exp: Experiment, signature: Signature) -> str:
  lines = [
    'It knows the classes above and no others: every input gets one of them, '
    'also one that is of none.',
    'The numbers are of data that were gathered as the training data were. '
    'On others they were not measured, nor for groups of people apart.',
    'Shapes are fixed but for `b`; longer sequences have to be cut, shorter '
    'ones padded and masked.',
    'Predictions are those of mmjax to about 1e-5 on the same kind of device; '
    'accelerators may multiply with fewer bits.',
    'A program of this kind is promised to be readable by releases of jax of '
    'the following six months. The weights are readable for ever; export the '
    'run anew for newer releases.',
  ]
  if exp.kit.head == 'similarity':
    lines.append(
      'It has no classifier: its logits are zero, and the features are what '
      'it has learned.'
    )
  published = [
    m for m, s in exp.config['encoders'].items() if s.get('pretrained')
  ]
  if published:
    lines.append(
      f'The encoders of {", ".join(published)} began with published weights, '
      'with whatever these have learned from.'
    )
  if signature['left_out']:
    lines.append(f'Not for {", ".join(signature["left_out"])}.')
  return '\n'.join(f'- {line}' for line in lines)


def _kind(spec: Mapping[str, Any]) -> str:
  return f'{spec["dtype"]} [{", ".join(map(str, spec["shape"]))}]'
