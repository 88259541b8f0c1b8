"""Runs every notebook from its .py, and checks that its .ipynb is the same."""

import pathlib
import sys
import time

import jupytext
import nbclient

COLABS = pathlib.Path(__file__).resolve().parent.parent / 'colabs'


def sources(book):
  return [(cell.cell_type, cell.source) for cell in book.cells]


for path in sorted(COLABS.glob('*.py')):
  start, book = time.monotonic(), jupytext.read(path)
  if sources(book) != sources(jupytext.read(path.with_suffix('.ipynb'))):
    sys.exit(f'Not the same: jupytext --to ipynb --update colabs/{path.name}')
  where = {'metadata': {'path': str(COLABS)}}
  nbclient.NotebookClient(
    book, timeout=600, resources=where, extra_arguments=['--log-level=ERROR']
  ).execute()
  print(f'colabs/{path.name}: {time.monotonic() - start:.0f} s', flush=True)
