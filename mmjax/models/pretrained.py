"""Published weights into our encoders, and which of them learn.

In a config, a section of an encoder's:

  config.encoders.text = dict(
    name='bert', pretrained=dict(weights='/models/klue', tune='lora', rank=8))

An encoder that has published weights has a method `layout`, a table of where
they are in the files. Parts that do not learn move from the parameters to a
collection 'frozen' beside the statistics: no gradient, no optimizer memory.
"""

import dataclasses
import math
import warnings
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import traverse_util

from mmjax.base import Array, PyTree
from mmjax.models import _weights
from mmjax.models._layout import Layout, Path, Rule, flat, whole

TUNES = ('all', 'frozen', 'last', 'lora')


@dataclasses.dataclass(frozen=True)
class Tuned:
  """An encoder of which some parameters rest; used as a Linen module is.

  `rests(path)` and `low_rank(path)` say of a parameter whether it is frozen,
  and whether a learnt product of two thin matrices is added to it.
  """

  module: Any
  layout: Layout
  rests: Callable[[Path], bool]
  low_rank: Callable[[Path], bool]
  rank: int
  alpha: float
  asleep: bool  # no dropout, no moving statistics: nothing of it learns
  decay: float

  def init(self, rngs: Mapping, x: Any, valid_B: Any, train: bool) -> dict:
    variables = dict(self.module.init(rngs, x, valid_B, train))
    every = flat(variables.pop('params'))
    frozen = {p: v for p, v in every.items() if self.rests(p)}
    params = {p: v for p, v in every.items() if not self.rests(p)}
    for nth, (path, kernel) in enumerate(sorted(frozen.items())):
      if self.low_rank(path):
        key = jax.random.fold_in(rngs['params'], nth)
        params |= _thin(path, kernel.shape, self.rank, key)
    variables['params'] = traverse_util.unflatten_dict(params)
    if frozen:
      variables['frozen'] = traverse_util.unflatten_dict(frozen)
    return variables

  def apply(
    self,
    variables: Mapping,
    x: Any,
    valid_B: Array,
    train: bool,
    *,
    rngs: Mapping | None = None,
    mutable: Any = (),
  ) -> tuple[Any, dict]:
    others = {
      k: v for k, v in variables.items() if k not in ('params', 'frozen')
    }
    frozen = variables.get('frozen', {})
    z, new = self.module.apply(
      {'params': self._whole(variables['params'], frozen), **others},
      x,
      valid_B,
      train and not self.asleep,
      rngs=rngs,
      mutable=[c for c in mutable if c != 'frozen'],
    )
    return z, {**new, 'frozen': frozen} if 'frozen' in mutable else dict(new)

  def scales(self, params: PyTree) -> PyTree | None:
    """Factors of the learning rate, one per parameter; None if all are 1."""
    if self.decay == 1:
      return None
    layer = {rule.path: rule.layer for rule in self.layout.rules}
    top = self.layout.layers + 1

    def scale(path: Path) -> float:
      if path[-1] in ('thin_in', 'thin_out'):
        path = (*path[:-1], 'kernel')
      return self.decay ** (top - layer.get(('params', *path), top))

    return traverse_util.unflatten_dict({p: scale(p) for p in flat(params)})

  def _whole(self, params: Mapping, frozen: Mapping) -> PyTree:
    """The parameters that the module knows."""
    whole = {**flat(params), **flat(frozen)}
    for path in [p for p in whole if p[-1] == 'thin_in']:
      thin_in, at = whole.pop(path), path[:-1]
      thin_out = whole.pop((*at, 'thin_out'))
      kernel = whole[(*at, 'kernel')]
      more = self.alpha / self.rank * (thin_in @ thin_out)
      whole[(*at, 'kernel')] = kernel + more.reshape(kernel.shape)
    return traverse_util.unflatten_dict(whole)


def _thin(path: Path, shape, rank: int, key) -> dict[Path, Array]:
  """Hu et al. 2022: the second of the two is zero, so nothing changes yet."""
  fan_in, fan_out = math.prod(shape[:-1]), shape[-1]
  start = jax.random.normal(key, (fan_in, rank)) / math.sqrt(fan_in)
  return {
    (*path[:-1], 'thin_in'): start,
    (*path[:-1], 'thin_out'): jnp.zeros((rank, fan_out)),
  }


def tuned(
  module: Any,
  place: str,
  *,
  weights: str = '',
  tune: str = 'all',
  last: int = 1,
  rank: int = 8,
  alpha: float = 16.0,
  layer_decay: float = 1.0,
) -> Tuned:
  """An encoder with published weights, or a part of it, to be learnt.

  Args:
    module: of an encoder that has a `layout`.
    place: of its section in the config, for errors.
    weights: folder or file, see `_weights.read`; '' keeps those of `init`.
    tune: 'all' of it learns; nothing does ('frozen'), not even statistics; the
      `last` layers and what lies above them; or ('lora') what lies above, and
      thin matrices beside the kernels of all layers (Hu et al. 2022).
    last: layers that learn, for 'last'.
    rank: of the thin matrices.
    alpha: what they add is scaled by alpha / rank.
    layer_decay: factor of the learning rate from each layer to the one below.

  Raises ValueError for an encoder without published weights, an unknown value,
  or random weights that would never learn.
  """
  if not hasattr(module, 'layout'):
    raise ValueError(
      f'{place}.pretrained: this encoder has no published weights. Leave the '
      'section out, or take another encoder.'
    )
  layout: Layout = module.layout()
  if tune not in TUNES:
    raise ValueError(f'{place}.pretrained.tune={tune!r}: {", ".join(TUNES)}.')
  if tune != 'all' and not weights:
    raise ValueError(
      f'{place}.pretrained.tune={tune!r} would keep random weights as they are. '
      'Name the published ones: pretrained.weights=/path/to/model.'
    )
  if rank < 1 or not 0 < layer_decay <= 1 or not 1 <= last <= layout.layers:
    raise ValueError(
      f'{place}.pretrained: rank={rank} must be at least 1, layer_decay='
      f'{layer_decay} in (0, 1] and last={last} in 1..{layout.layers}.'
    )
  layers = {rule.path[1:]: rule.layer for rule in layout.rules}
  lowest = {'all': 0, 'last': layout.layers - last + 1}.get(tune, math.inf)

  def rests(path: Path) -> bool:
    return layers.get(path, math.inf) < lowest

  def low_rank(path: Path) -> bool:
    return tune == 'lora' and path[-1] == 'kernel' and layers.get(path, 0) > 0

  return Tuned(
    module,
    layout,
    rests,
    low_rank,
    rank,
    alpha,
    tune == 'frozen',
    layer_decay,
  )


def load(
  path: str, layout: Layout, template: Mapping[str, PyTree], place: str
) -> dict[str, np.ndarray]:
  """Reads what a layout names: {'params/layer_0/query/kernel': f32 array}.

  Args:
    path: of the weights.
    layout: of the encoder.
    template: its variables, or their shapes.
    place: of its section in the config, for errors.

  Raises ValueError for weights that are missing, of other shapes, or not
  finite. Warns of those that are there and have no place here.
  """
  stored = _weights.read(path)
  prefix = _prefix(stored, layout, path, place)
  names = {n.removeprefix(prefix): n for n in stored if n.startswith(prefix)}
  shapes = {p: tuple(x.shape) for p, x in flat(template).items()}
  found, used, wrong = {}, set(), []
  for rule in layout.rules:
    parts = rule.among(names)
    used.update(parts)
    name = ' and '.join(parts)
    arrays = [np.asarray(stored[names[part]]) for part in parts]
    try:
      array = _fitted(whole(*arrays), rule, shapes[rule.path])
    except ValueError as error:
      raise ValueError(f'{path}: {name} cannot be used: {error}.') from error
    if array.shape != shapes[rule.path]:
      wrong.append(f'{name}: {array.shape} there, {shapes[rule.path]} here')
      continue
    if not np.isfinite(array).all():
      raise ValueError(f'{path}: {name} holds NaN or infinity.')
    found['/'.join(rule.path)] = array
  if wrong:
    raise ValueError(
      f'{place} has another size than the weights in {path}: '
      f'{_some(wrong, "; ")}. Set the sizes of the section to those of the '
      "model's config.json."
    )
  unused = [n for n in names if n not in used and not _ignored(n, layout)]
  if unused:
    warnings.warn(
      f'{path} holds {len(unused)} weights that {place} has no place for: '
      f'{_some(unused, ", ")}.',
      stacklevel=2,
    )
  return found


def _ignored(name: str, layout: Layout) -> bool:
  return name.startswith(layout.ignored) or name.endswith(
    ('position_ids', 'num_batches_tracked')
  )


def _prefix(stored: Mapping, layout: Layout, path: str, place: str) -> str:
  """The one under which most is found; all must be."""
  missing = {
    prefix: [
      rule.names[0] if isinstance(rule.names[0], str) else rule.names[0][0]
      for rule in layout.rules
      if not rule.among(stored, prefix)
    ]
    for prefix in layout.prefixes
  }
  best = min(missing, key=lambda prefix: len(missing[prefix]))
  if missing[best]:
    raise ValueError(
      f'{path} lacks {len(missing[best])} of the {len(layout.rules)} weights '
      f'that {place} needs: {_some(missing[best], ", ")}. It has '
      f'{_some(sorted(stored), ", ", 3)}. Is it of another architecture, or of '
      'more or fewer layers?'
    )
  return best


def _some(what: list[str], between: str, most: int = 10) -> str:
  more = f'{between}and {len(what) - most} more' if len(what) > most else ''
  return between.join(what[:most]) + more


def _fitted(x: np.ndarray, rule: Rule, shape: tuple[int, ...]) -> np.ndarray:
  """An array of a file as ours: transposed, cut, and adapted where it can be."""
  x = x.astype(np.float32)
  how, _, nth = rule.how.partition(':')
  if how == 'positions':
    return _places(x.reshape(-1, x.shape[-1]), shape[-2], int(nth)).reshape(
      shape
    )
  if nth:
    x = np.split(x, 3, 0 if how == 'linear' else -1)[int(nth)]
  if how == 'linear':
    return x.T
  if how == 'conv':
    return _channels(np.moveaxis(x, (0, 1), (-1, -2)), shape)
  return x.reshape(shape) if x.size == math.prod(shape) else x


def _channels(kernel: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
  """For input of another number of channels, keeping the size of what comes out.

  One channel gets the sum, as of a grey picture; more get the kernels in turn,
  scaled to the same sum.
  """
  have, want = kernel.shape[-2], shape[-2]
  if have == want or kernel.ndim < 4 or have != 3:
    return kernel
  if want == 1:
    return kernel.sum(-2, keepdims=True)
  return kernel[..., np.arange(want) % have, :] * np.float32(have / want)


def _places(x_PD: np.ndarray, count: int, special: int) -> np.ndarray:
  """A square grid of positions at another size, bicubic, as timm does it."""
  if len(x_PD) == count:
    return x_PD
  first, grid_PD = x_PD[:special], x_PD[special:]
  old, new = math.isqrt(len(grid_PD)), math.isqrt(count - special)
  if old**2 != len(grid_PD) or new**2 != count - special:
    return x_PD  # no squares: the caller says that sizes differ
  grid = jax.image.resize(
    grid_PD.reshape(old, old, -1), (new, new, x_PD.shape[1]), 'cubic'
  )
  return np.concatenate([first, np.asarray(grid).reshape(new * new, -1)])
