"""Checks the run that a log of `python -m mmjax.main` tells of."""

import json
import pathlib
import re
import sys

LEAST = 0.97  # mean fused test accuracy of the default run

log = pathlib.Path(sys.argv[1]).read_text('utf8')
(folder,) = re.findall(r'^Run folder: (.+)$', log, re.M)
results = json.loads((pathlib.Path(folder) / 'results.json').read_text('utf8'))
accuracy = results['test']['joint']['accuracy']
print(f'fused test accuracy of {folder}: {accuracy}')
if not accuracy['mean'] >= LEAST:
  sys.exit(f'{accuracy["mean"]} is below {LEAST}.')
