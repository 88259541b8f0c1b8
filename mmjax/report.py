"""Run folders in, pages and tables out.

python -m mmjax.report runs/a                 writes runs/a/report.html
python -m mmjax.report runs/a runs/b ...      compares; writes compare.html
python -m mmjax.report runs/study             the same, of all runs below
python -m mmjax.report runs/a ... --markdown  prints tables; --latex, --csv too
python -m mmjax.report runs/a ... --out=a.tex writes; .html, .md and .csv too
"""

import argparse
import os
import pathlib
import warnings
from collections.abc import Sequence

import rich.console

from mmjax import _report_compare as side_by_side
from mmjax import _report_formats as formats
from mmjax import _report_html as html
from mmjax import _report_load as folders
from mmjax import _report_runs as runs
from mmjax import _report_sections as sections
from mmjax import _report_writers as writers
from mmjax import log


def write(workdir: str | os.PathLike) -> pathlib.Path:
  """Writes report.html into a run folder and returns its path.

  A run that is not finished is reported as far as it got. A section that fails
  is a warning and a sentence in the page: a picture must not cost a run.

  Raises:
    ValueError: there is no such folder, or no run in it.
  """
  run = folders.load(workdir)
  body = ''
  if not run.results:
    body = html.paragraph(runs.how_to_resume(run.path), 'warning')
  for title, section in sections.SECTIONS.items():
    inside = _safely(title, section, run)
    body += html.section(title, inside) if inside else ''
  out = run.path / 'report.html'
  out.write_text(html.page(run.name, _subtitle(run), body), encoding='utf-8')
  return out


def _safely(title, section, run) -> str:
  try:
    return section(run)
  except Exception as error:
    problem = f'{type(error).__name__}: {error}'
    warnings.warn(
      f'The section {title!r} of the report of {run.path} could not be drawn: '
      f'{problem}',
      stacklevel=3,
    )
    return html.missing(f'This section could not be drawn ({problem}).')


def _subtitle(run: runs.Run) -> str:
  method, data = (runs.kind(run.config.get(k, '')) for k in ('method', 'data'))
  every = [rows['label'] for rows in run.rows.values() if 'label' in rows]
  label = every[0] if every else ()
  steps = max((line['step'] for line in run.lines), default=0)
  seeds = run.num_seeds
  parts = [
    method and f'{method} on {data}' if data else method,
    f'{steps:,} steps' if steps else '',
    f'{seeds} seeds' if seeds > 1 else '',
    f'{len(label):,} {run.split} examples' if len(label) else '',
  ]
  return ' · '.join(filter(None, parts))


def compare(
  workdirs: Sequence[str | os.PathLike],
  out: str | os.PathLike = 'compare.html',
  metric: str = '',
  against: str = 'best',
) -> pathlib.Path:
  """Writes a file that sets runs side by side, and returns its path.

  Args:
    workdirs: run folders, or folders of run folders.
    out: .html for a page with pictures, .md, .tex or .csv for tables.
    metric: which measure of results.json; '' is accuracy, or R@1 where no run
      has one.
    against: the run that the others are tested against: 'best', 'first', or
      a run's name or folder.

  Raises:
    ValueError: no such folder, no such measure, no such run, another ending.
  """
  path = pathlib.Path(out)
  write_as = writers.of(path)
  found = side_by_side.comparison(load_all(workdirs), metric, against)
  path.write_text(write_as(found, side_by_side.KINDS), encoding='utf-8')
  return path


def load_all(workdirs: Sequence[str | os.PathLike]) -> list[runs.Run]:
  """Reads run folders, and those in folders of runs; each once.

  A folder without a run among others is a warning.

  Raises:
    ValueError: there is no such folder, or no run in any.
  """
  paths, found = folders.folders(workdirs), []
  for path in paths:
    if len(paths) > 1 and path.is_dir() and not folders.holds_run(path):
      warnings.warn(f'{path} holds no run and is left out.', stacklevel=2)
      continue
    found.append(folders.load(path, ('classification',)))
  if not found:
    raise ValueError(f'None of {", ".join(map(str, paths))} holds a run.')
  return found


def main(argv: Sequence[str] | None = None) -> None:
  parser = argparse.ArgumentParser(
    prog='python -m mmjax.report', description='Reports and compares runs.'
  )
  parser.add_argument(
    'workdirs', nargs='+', help='run folders, or folders of run folders'
  )
  parser.add_argument(
    '--out',
    action='append',
    help='where the comparison goes: .html (default compare.html), .csv, .md '
    'or .tex; may be given several times',
  )
  parser.add_argument(
    '--metric',
    default='',
    help=f'{" ".join(log.MEASURES)}; of retrieval r1 r5 r10 r_mean map '
    '(accuracy, or r1 where no run has one)',
  )
  parser.add_argument(
    '--against',
    default='best',
    help='the run that the others are tested against: best, first, or its '
    'name or folder',
  )
  parser.add_argument(
    '--tables',
    default=','.join(side_by_side.KINDS),
    help='which tables to print, or to write as Markdown and LaTeX '
    '(%(default)s)',
  )
  shown = parser.add_mutually_exclusive_group()
  for name, title in (
    ('--markdown', 'Markdown'),
    ('--latex', 'LaTeX with booktabs'),
    ('--csv', 'CSV, one line per run'),
  ):
    shown.add_argument(name, action='store_true', help=f'print {title}')
  args = parser.parse_args(argv)
  try:
    _main(args)
  except (ValueError, OSError) as error:
    parser.error(str(error))


def _main(args) -> None:
  console = rich.console.Console()
  printed = [args.markdown and 'md', args.latex and 'tex', args.csv and 'csv']
  printed = next(filter(None, printed), None)
  paths = folders.folders(args.workdirs)
  alone = len(paths) == 1 and not args.out and not printed
  if alone and paths[0] == pathlib.Path(args.workdirs[0]):
    _one(paths[0], console)
    return
  outs = [pathlib.Path(out) for out in args.out or ()]
  outs = outs if outs or printed else [pathlib.Path('compare.html')]
  written = [writers.of(out) for out in outs]
  kinds = writers.kinds(args.tables)
  found = side_by_side.comparison(
    load_all(args.workdirs), args.metric, args.against
  )
  if printed:
    print(
      writers.WRITERS[printed](found, kinds),
      end='' if printed == 'csv' else '\n',
    )
  else:
    formats.tell(side_by_side.in_order(found, kinds))
  for out, write_as in zip(outs, written):
    out.write_text(write_as(found, kinds), encoding='utf-8')
    if not printed:
      console.print(f'Wrote {out}', markup=False, soft_wrap=True)


def _one(path: pathlib.Path, console: rich.console.Console) -> None:
  run = folders.load(path, ())
  if run.results:
    console.print(log.table(run.results, run.split))
  else:
    console.print(runs.how_to_resume(run.path), style='yellow', markup=False)
  console.print(f'Wrote {write(run.path)}', markup=False, soft_wrap=True)


if __name__ == '__main__':
  main()
