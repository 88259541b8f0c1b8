"""Places as sines and cosines, as masked autoencoders have them: constants."""

import numpy as np


def line(places: np.ndarray, channels: int) -> np.ndarray:
  """f32[P, D] of places [P]: sines, then cosines, at falling rates.

  The rates are 10000^(-2 i / D) for i = 0 .. D / 2 - 1.
  """
  half = channels // 2
  angle_PE = places[:, None] * 10000.0 ** (-np.arange(half) / half)[None]
  both = np.concatenate([np.sin(angle_PE), np.cos(angle_PE)], 1)
  return both.astype(np.float32)


def grid(rows: int, columns: int, channels: int) -> np.ndarray:
  """f32[rows * columns, D], row after row.

  The first half of the channels tells the column, the second the row: so do He
  et al. 2022, though they call it the other way round.
  """
  row, column = np.divmod(np.arange(rows * columns), columns)
  half = channels // 2
  return np.concatenate([line(column, half), line(row, half)], 1)


def check(name: str, channels: int) -> None:
  """Raises ValueError for channels that do not fall into four equal parts."""
  if channels % 4:
    raise ValueError(
      f'{name}.channels={channels}: sines and cosines of rows and columns need '
      'a multiple of 4.'
    )
