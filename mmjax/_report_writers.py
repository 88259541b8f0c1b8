"""A comparison in each format."""

import pathlib
from collections.abc import Callable, Mapping, Sequence

from mmjax import _report_formats as formats
from mmjax import _report_page as pages
from mmjax._report_compare import KINDS, Comparison, as_csv, in_order

Writer = Callable[[Comparison, Sequence[str]], str]


def markdown(found: Comparison, kinds: Sequence[str]) -> str:
  """Returns the tables; that of a single data set goes without a title."""
  several = len(found.groups) > 1
  return formats.markdown(in_order(found, kinds), several)


WRITERS: Mapping[str, Writer] = {
  'html': lambda found, kinds: pages.page(found),  # noqa: ARG005
  'csv': lambda found, kinds: as_csv(found),  # noqa: ARG005
  'md': markdown,
  'tex': lambda found, kinds: formats.latex(in_order(found, kinds)),
}


def of(path: pathlib.Path) -> Writer:
  """The format that a file's ending asks for; none asks for HTML.

  Raises ValueError if there is no such format.
  """
  ending = path.suffix.lower().removeprefix('.')
  ending = {'': 'html', 'htm': 'html'}.get(ending, ending)
  if ending not in WRITERS:
    raise ValueError(
      f'--out={path}: the ending says the format, and {path.suffix} is none of '
      f'{", ".join("." + name for name in WRITERS)}.'
    )
  return WRITERS[ending]


def kinds(listed: str) -> list[str]:
  """The kinds of table in 'results,cost'.

  Raises ValueError if one is not known.
  """
  names = [name.strip() for name in listed.split(',') if name.strip()]
  unknown = [name for name in names if name not in KINDS]
  if unknown:
    raise ValueError(
      f'--tables={listed}: there is no {", ".join(unknown)}; there are '
      f'{", ".join(KINDS)}.'
    )
  return names
