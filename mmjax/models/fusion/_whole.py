"""What heads need that look at all modalities at once."""

from collections.abc import Iterable, Mapping
from typing import Any


def require_all(
  head: str, modalities: Iterable[str], feats: Mapping[str, Any]
) -> None:
  """Raises ValueError unless there are features of every modality."""
  missing = [m for m in modalities if m not in feats]
  if missing:
    raise ValueError(
      f'head {head!r} needs the features of all of {tuple(modalities)} at '
      f'once, but got none of {missing}. Take another head (shared, sum, late) '
      'for a method that forwards modalities one at a time.'
    )
