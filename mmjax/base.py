"""The nouns of mmjax: what flows between its rooms. Imports nothing of ours.

Shapes stand in names: `z_BD`, `P_DD`, `logits_BC`. The letters are
  B examples in a batch   C classes          D feature width
  H height                W image width      T time steps or frames
  K slots of a schedule   M modalities       S seeds
  N examples in a split   F features of a raw input vector
"""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import flax.struct
import jax
import numpy as np

PyTree = Any
Array = jax.Array

Blocks = Mapping[str, PyTree]
"""One entry per modality encoder, and 'head': {'audio': .., 'head': ..}."""

Batch = Mapping[str, Any]
"""One entry per modality (an array [B, ...] or a `Ragged`) and
  'label'    i32[B]
  'index'    i32[B], the row of the split that the example came from
  'mask'     bool[B], False for padding rows
  'present'  {modality: bool[B]}, False where the example lacks the modality
  'entry'    {modality: i32[B]}, only of modalities whose entries are shared:
             examples with the same number show the same thing (one picture with
             several captions, one word said by many)
"""

Metrics = dict[str, Array]
"""f32[] each; names are paths: 'loss', 'loss/audio'. One that is 'warn/' and a
sentence is none to be logged: the sentence is said once where it is not 0.
"""

NEVER = 2**31 - 1  # a step that no training reaches

RESERVED = (
  *('label', 'index', 'mask', 'present', 'entry'),  # keys of a batch
  *('head', 'joint'),  # of blocks and of results
  *('subsets', 'shapley', 'gap', 'attention'),  # of results
  *('retrieval', 'geometry'),
)
"""Names that no modality may have."""


class Ragged(NamedTuple):
  """Sequences of different lengths, padded to one."""

  values: Any  # [B, T, ...]
  mask: Any  # bool[B, T], True where `values` is real


class Outputs(NamedTuple):
  """Everything that one forward pass tells; jit prunes what is not used."""

  feats: dict[str, Array]  # z_BD per modality
  unis: dict[str, Array]  # logits_BC per modality
  joint: Array  # logits_BC, fused
  extras: dict[str, Array] = {}  # what the head shows: attention [B, ...], ..


class TrainState(flax.struct.PyTreeNode):
  """All that the next step needs, and nothing else."""

  step: Array  # i32[], the only clock
  params: Blocks
  stats: Blocks  # running statistics of BatchNorm; {} for a block without
  opt: Blocks  # optimizer state per block: a block at rest stays bitwise still
  method: PyTree  # the method's memory: projection, schedule, turn; () if none
  key: Array  # root PRNG key, only ever folded


StepFn = Callable[[TrainState, Batch], tuple[TrainState, Metrics]]


class Phase(NamedTuple):
  """One compiled program of a method.

  `until` tells the step at which the phase has been enough, `NEVER` as long as
  it has not. The loop asks at the end of each epoch; once every model has had
  enough, the next phase takes over what is left of the steps, so that the
  length of training and its schedule stay. Without it, or in the last phase,
  the plan alone decides.

  With `views` above 1 the step sees the batch so many times in a row, each time
  augmented anew: rows i, i + B, i + 2 B .. are of one example.
  """

  step: StepFn
  enter: Callable[[TrainState], TrainState] = lambda state: state
  until: Callable[[TrainState], Array] | None = None  # -> i32[]
  views: int = 1


class Method(NamedTuple):
  """A paper as pure functions over an explicit state."""

  init: Callable[[Blocks, Blocks], PyTree]  # (params, stats) -> memory
  phases: Mapping[str, Phase]
  predict: Callable[
    [TrainState, Batch], Outputs
  ]  # fused at test time in .joint


class Eval(NamedTuple):
  """A question about a trained model.

  `observe` is jitted and returns rows {name: [B, ...]}; `report` sees the rows
  of the whole split as NumPy arrays [N, ...], padding dropped, and returns
  {path: number}, with paths such as 'joint/accuracy'. An eval that learns from
  other splits names them in `also`; their rows follow by name:
  `report(rows, train=rows)`.
  """

  observe: Callable[[TrainState, Batch], dict[str, Array]]
  report: Callable[..., dict[str, float]]
  also: tuple[str, ...] = ()


class Kit(NamedTuple):
  """What a method or an eval may touch, bound to net, optimizer and data."""

  modalities: tuple[str, ...]
  class_names: tuple[str, ...]
  num_examples: int  # in the training split
  steps_per_epoch: int
  head: str  # name of the head, for error messages
  forward: Callable  # (state, blocks, batch, *, only=None, edit=None, train=False) -> (Outputs, stats)
  descend: (
    Callable  # (state, grads, *, when={}, stats=None, method=None) -> state
  )
  tick: Callable  # state -> state with step + 1
  epoch: Callable  # state -> f32[], epochs done, with a fraction
  key: Callable  # (state, stream name) -> key of this step
  mesh: jax.sharding.Mesh | None = None  # that a batch is split over, if known

  @property
  def num_classes(self) -> int:
    return len(self.class_names)


class Source(NamedTuple):
  """One split of a data set, read by row.

  `take(rows)` maps i64[B] to {modality: np array [B, ...] or Ragged,
  'label': i32[B], 'present': {modality: bool[B]}}; it is called from several
  threads and must be a pure function of the rows.

  `entries[m]` i64[size], where given, tells which entry of a modality each
  example shows, where several show the same one. `pools[m]`, where given, is
  the modality as a whole in memory, of which nobody lacks any: take(rows)[m] is
  pools[m][entries[m][rows]], or pools[m][rows] without entries; `labels`
  i32[size] are those of all rows. A source that has all of that is put onto the
  devices once.
  """

  modalities: tuple[str, ...]
  class_names: tuple[str, ...]
  size: int
  take: Callable[[np.ndarray], dict[str, Any]]
  entries: Mapping[str, np.ndarray] = {}
  pools: Mapping[str, np.ndarray] = {}
  labels: np.ndarray | None = None
