"""Meshes, and what of a state or a batch lies where.

Nothing here reaches into a step: batches are split over the axis 'data', seeds
over the axis 'seed', and jit does the rest.
"""

import math
from typing import Any

import jax
import numpy as np
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

AXES = ('seed', 'data')


def make_mesh(*, data: int = -1, seed: int = 1) -> Mesh:
  """A mesh over all devices of all processes.

  Args:
    data: devices that a batch is split over; -1 is all that are left.
    seed: groups of devices that train different seeds.

  Raises ValueError if the devices do not fill the mesh.
  """
  total = len(jax.devices())
  if seed < 1 or (data < 1 and data != -1):
    raise ValueError(f'config.mesh: data={data}, seed={seed} must be above 0.')
  data = total // seed if data == -1 else data
  if data * seed > total or data < 1 or total % (data * seed):
    raise ValueError(
      f'config.mesh asks for seed={seed} x data={data} devices, but there are '
      f'{total} ({jax.devices()[0].platform}). Let data=-1 take what is there.'
    )
  used = jax.devices()[: data * seed]
  if len({d.process_index for d in used}) < jax.process_count():
    raise ValueError(
      f'config.mesh: data={data}, seed={seed} leaves some of the '
      f'{jax.process_count()} processes without a device. Let data=-1 take all.'
    )
  devices = np.asarray(used).reshape(seed, data)
  return Mesh(devices, AXES, axis_types=(AxisType.Auto,) * len(AXES))


def batch(mesh: Mesh) -> NamedSharding:
  """Batches: examples over 'data'."""
  return NamedSharding(mesh, PartitionSpec('data'))


def replicated(mesh: Mesh) -> NamedSharding:
  return NamedSharding(mesh, PartitionSpec())


def state(mesh: Mesh, abstract: Any, *, shard: bool, seeds: bool) -> Any:
  """Shardings of a state, leaf by leaf.

  Args:
    mesh: to lie on.
    abstract: the state's shapes.
    shard: split every large leaf over 'data' too, along its longest axis that
      divides evenly (fully sharded data parallel).
    seeds: the leading axis of every leaf counts seeds.
  """
  size = mesh.shape['data']

  def spec(leaf) -> NamedSharding:
    axes: list[str | None] = [None] * leaf.ndim
    lead = 1 if seeds and leaf.ndim else 0
    if lead:
      axes[0] = 'seed'
    key = jax.dtypes.issubdtype(leaf.dtype, jax.dtypes.prng_key)
    if shard and not key and math.prod(leaf.shape[lead:]) >= 2**12:
      fit = [i for i in range(lead, leaf.ndim) if leaf.shape[i] % size == 0]
      if fit:
        axes[max(fit, key=lambda i: leaf.shape[i])] = 'data'
    return NamedSharding(mesh, PartitionSpec(*axes))

  return jax.tree.map(spec, abstract)


def local_part(mesh: Mesh, batch_size: int) -> slice:
  """The rows of a batch that this process has to read."""
  where = batch(mesh).addressable_devices_indices_map((batch_size,))
  bounds = [s[0].indices(batch_size) for s in where.values() if s]
  return slice(min(b[0] for b in bounds), max(b[1] for b in bounds))


def put(mesh: Mesh, local: Any, batch_size: int, part: slice) -> Any:
  """The global batch, of which this process has read `part`."""
  sharding = batch(mesh)

  def place(x: np.ndarray) -> jax.Array:
    def piece(index):
      start, stop, _ = index[0].indices(batch_size)
      return x[start - part.start : stop - part.start]

    shape = (batch_size, *x.shape[1:])
    return jax.make_array_from_callback(shape, sharding, piece)

  return jax.tree.map(place, local)
