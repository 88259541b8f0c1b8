"""Predictions of the model in this folder; needs jax, flatbuffers and numpy.

  import serve

  predict = serve.load()
  outputs = predict({'audio': audio, 'text': text})  # arrays [b, ...], any b
  outputs['probabilities/joint']  # f32[b, classes]

signature.json lists inputs and outputs. Left out of the inputs may be
  a modality            nobody has it
  <modality>/mask       all of its steps are real
  present/<modality>    all examples have it, if it is given

  python serve.py examples.npz  # with the inputs as fields
"""

import json
import pathlib
import sys
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.export
import numpy as np

HERE = pathlib.Path(__file__).resolve().parent
TYPES = {
  **{'F16': 'float16', 'F32': 'float32', 'F64': 'float64', 'BF16': 'bfloat16'},
  **{'I8': 'int8', 'I16': 'int16', 'I32': 'int32', 'I64': 'int64'},
  **{'U8': 'uint8', 'U16': 'uint16', 'U32': 'uint32', 'U64': 'uint64'},
  'BOOL': 'bool',
}


def load(folder: Any = HERE) -> Callable[[Mapping[str, Any]], dict]:
  """Returns predict: inputs -> outputs, compiled once for each size of batch."""
  folder = pathlib.Path(folder)
  artefact = (folder / 'model.jaxexport').read_bytes()
  program = jax.jit(jax.export.deserialize(bytearray(artefact)).call)
  weights = jax.device_put(read(folder / 'model.safetensors'))
  specs = json.loads((folder / 'signature.json').read_text('utf8'))['inputs']
  return lambda inputs: program(weights, complete(specs, inputs))


def read(path: pathlib.Path) -> dict[str, np.ndarray]:
  """The arrays of a safetensors file, by name."""
  raw, arrays = path.read_bytes(), {}
  start = 8 + int.from_bytes(raw[:8], 'little')
  for name, about in json.loads(raw[8:start]).items():
    if name != '__metadata__':
      first, last = (start + at for at in about['data_offsets'])
      values = np.frombuffer(raw[first:last], np.dtype(TYPES[about['dtype']]))
      arrays[name] = values.reshape(about['shape'])
  return arrays


def complete(
  specs: Mapping[str, Any], inputs: Mapping[str, Any]
) -> dict[str, np.ndarray]:
  """All inputs of the program, with what may be left out filled in.

  Raises ValueError for an unknown name, another type or another shape.
  """
  given = [m for m in inputs if specs.get(m, {}).get('modality') == m]
  known = {name: s for name, s in specs.items() if s['modality'] in given}
  unknown = sorted(set(inputs) - set(known))
  if unknown or not given:
    raise ValueError(
      f'Inputs {unknown} are unknown, or of a modality that is not given. '
      f'There are: {", ".join(specs)}.'
    )
  size, made = len(inputs[given[0]]), {}
  for name, spec in specs.items():
    shape, dtype = (size, *spec['shape'][1:]), np.dtype(spec['dtype'])
    fill = name in known and dtype.kind == 'b'
    value = np.asarray(inputs.get(name, np.full(shape, fill, dtype)))
    if value.shape != shape or not np.can_cast(value.dtype, dtype, 'same_kind'):
      raise ValueError(
        f'{name} is {value.dtype}{list(value.shape)}, not {dtype}{list(shape)}.'
      )
    made[name] = value.astype(dtype)
  return made


def main(path: str) -> None:
  """Prints a line per example of a .npz: class and probability."""
  about = json.loads((HERE / 'signature.json').read_text('utf8'))
  with np.load(path, allow_pickle=False) as file:
    outputs = load()(dict(file))
  for p_C in np.asarray(outputs['probabilities/joint']):
    print(f'{about["class_names"][int(p_C.argmax())]}\t{p_C.max():.4f}')


if __name__ == '__main__':
  main(*sys.argv[1:])
