"""Run folders in, pages and tables out.

python -m mmjax.report runs/a                 writes runs/a/report.html
python -m mmjax.report runs/a runs/b ...      compares; writes compare.html
python -m mmjax.report runs/a ... --markdown  prints the table for a README
"""

import argparse
import os
import pathlib
import warnings
from collections.abc import Sequence

import rich.console

from mmjax import _report_compare as side_by_side
from mmjax import _report_html as html
from mmjax import _report_runs as runs
from mmjax import _report_sections as sections
from mmjax import log


def write(workdir: str | os.PathLike) -> pathlib.Path:
  """Writes report.html into a run folder and returns its path.

  A run that is not finished is reported as far as it got. A section that fails
  is a warning and a sentence in the page: a picture must not cost a run.

  Raises:
    ValueError: there is no such folder, or no run in it.
  """
  run = runs.load(workdir)
  body = ''
  if not run.results:
    body = html.paragraph(runs.how_to_resume(run.path), 'warning')
  for title, section in sections.SECTIONS.items():
    body += html.section(title, _safely(title, section, run))
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
    return sections.missing(f'This section could not be drawn ({problem}).')


def _subtitle(run: runs.Run) -> str:
  method, data = (runs.kind(run.config.get(k, '')) for k in ('method', 'data'))
  label = run.rows.get('classification', {}).get('label', ())
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
  metric: str = 'accuracy',
  against: str = 'best',
) -> pathlib.Path:
  """Writes a page that sets runs side by side, and returns its path.

  Raises:
    ValueError: no such folder, a run that is not finished, no such measure.
  """
  found = load_all(workdirs)
  table = side_by_side.comparison(found, metric, against)
  path = pathlib.Path(out)
  path.write_text(side_by_side.page(found, table), encoding='utf-8')
  return path


def load_all(workdirs: Sequence[str | os.PathLike]) -> list[runs.Run]:
  """Reads run folders, under names that tell them apart."""
  found = [runs.load(workdir) for workdir in workdirs]
  names = [run.name for run in found]
  return [
    run._replace(name=str(run.path)) if names.count(run.name) > 1 else run
    for run in found
  ]


def main(argv: Sequence[str] | None = None) -> None:
  parser = argparse.ArgumentParser(
    prog='python -m mmjax.report', description='Reports and compares runs.'
  )
  parser.add_argument('workdirs', nargs='+', help='run folders')
  parser.add_argument('--out', help='where the comparison goes (compare.html)')
  parser.add_argument(
    '--metric', default='accuracy', help=' '.join(log.MEASURES)
  )
  parser.add_argument('--against', choices=('best', 'first'), default='best')
  parser.add_argument(
    '--markdown', action='store_true', help='print the table as Markdown'
  )
  args = parser.parse_args(argv)
  try:
    _main(args, rich.console.Console())
  except (ValueError, OSError) as error:
    parser.error(str(error))


def _main(args, console) -> None:
  if len(args.workdirs) == 1 and not (args.out or args.markdown):
    run = runs.load(args.workdirs[0])
    if run.results:
      console.print(log.table(run.results, run.split))
    else:
      console.print(runs.how_to_resume(run.path), style='yellow', markup=False)
    console.print(f'Wrote {write(run.path)}', markup=False, soft_wrap=True)
    return
  found = load_all(args.workdirs)
  table = side_by_side.comparison(found, args.metric, args.against)
  if args.markdown:
    print(side_by_side.markdown(table))
  else:
    console.print(side_by_side.console(table))
    for note in table.notes:
      console.print(note, markup=False, highlight=False)
    for doubt in table.doubts:
      console.print(f'Warning: {doubt}', style='yellow', markup=False)
  if args.out or not args.markdown:
    out = args.out or 'compare.html'
    path = compare(args.workdirs, out, args.metric, args.against)
    if not args.markdown:
      console.print(f'Wrote {path}', markup=False, soft_wrap=True)


if __name__ == '__main__':
  main()
