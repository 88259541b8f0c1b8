"""Tables as text: for the terminal, Markdown, LaTeX."""

import re
from collections.abc import Iterable, Mapping
from typing import Any

from mmjax._report_tables import Table


def tell(tables: Iterable[Table]) -> Any:
  """Prints tables, their notes and doubts; returns the console."""
  import rich.console

  wide = rich.console.Console()
  if not wide.is_terminal:  # a file has no width that a table must fit
    wide = rich.console.Console(width=200)
  for table in tables:
    wide.print(console(table))
    for note in table.notes:
      wide.print(note, markup=False, highlight=False)
    for doubt in table.doubts:
      wide.print(f'Warning: {doubt}', style='yellow', markup=False)
  return wide


def console(table: Table):
  """Returns the table for the terminal."""
  import rich.table
  import rich.text

  made = rich.table.Table(title=rich.text.Text(table.title))
  for i, title in enumerate(table.header):
    made.add_column(rich.text.Text(title), justify='right' if i else 'left')
  for row, best in zip(table.rows, table.best):
    made.add_row(
      *(
        rich.text.Text(cell, 'bold' if lead else '')
        for cell, lead in zip(row, best)
      )
    )
  return made


def markdown(tables: Iterable[Table], titled: bool = True) -> str:
  """Returns the tables in Markdown, the best of each column in bold.

  Args:
    tables: one after the other.
    titled: whether the first has its title too.
  """
  parts = []
  for table in tables:
    if parts or titled:
      parts.append(f'**{_cell(table.title)}**')
    lines = [[*map(_cell, table.header)]]
    lines.append([':--'] + ['--:'] * (len(table.header) - 1))
    for row, best in zip(table.rows, table.best):
      lines.append(
        [f'**{_cell(c)}**' if b else _cell(c) for c, b in zip(row, best)]
      )
    parts.append('\n'.join(f'| {" | ".join(line)} |' for line in lines))
    parts += [*table.notes, *(f'Warning: {doubt}' for doubt in table.doubts)]
  return '\n\n'.join(parts) + '\n'


def _cell(text: str) -> str:
  return re.sub(r'([\\|])', r'\\\1', re.sub(r'\s+', ' ', text))


# What LaTeX reads as something else; one pass, so nothing is escaped twice.
LATEX: Mapping[str, str] = {
  **{sign: f'\\{sign}' for sign in '&%$#_{}'},
  '\\': r'\textbackslash{}',
  '~': r'\textasciitilde{}',
  '^': r'\textasciicircum{}',
  '<': r'\textless{}',
  '>': r'\textgreater{}',
  '|': r'\textbar{}',
  '"': r'\textquotedbl{}',
  '±': r'$\pm$',
  '†': r'$\dagger$',
  '−': r'$-$',
  '–': '--',
  '…': r'\dots{}',
  '’': "'",
}


def latex(tables: Iterable[Table]) -> str:
  """Returns floats in LaTeX, with rules of booktabs; notes stand below."""
  parts = ['% \\usepackage[T1]{fontenc}\n% \\usepackage{booktabs}']
  for table in tables:
    lines = [_row(table.header, [False] * len(table.header)), r'\midrule']
    lines += [_row(row, best) for row, best in zip(table.rows, table.best)]
    notes = [*table.notes, *(f'Warning: {doubt}' for doubt in table.doubts)]
    parts.append(
      '\n'.join(
        [
          r'\begin{table}',
          r'\centering',
          f'\\caption{{{tex(table.title)}}}',
          f'\\begin{{tabular}}{{l{"r" * (len(table.header) - 1)}}}',
          r'\toprule',
          *lines,
          r'\bottomrule',
          r'\end{tabular}',
          *(f'\\par\\smallskip\\footnotesize {tex(note)}' for note in notes),
          r'\end{table}',
        ]
      )
    )
  return '\n\n'.join(parts) + '\n'


def _row(cells, best) -> str:
  told = [rf'\textbf{{{tex(c)}}}' if b else tex(c) for c, b in zip(cells, best)]
  # Behind the \\ of the row above, a bracket or a star would be its option.
  guard = '{}' if told[0][:1] in ('[', '*') else ''
  return guard + ' & '.join(told) + r' \\'


def tex(text: str) -> str:
  """Returns a text as LaTeX shows it."""
  return ''.join(LATEX.get(sign, sign) for sign in re.sub(r'\s+', ' ', text))
