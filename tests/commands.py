"""Commands as a person gives them: in processes of their own."""

import json
import os
import pathlib
import socket
import subprocess
import sys
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent


def recipe(folder, data, modalities, **sections) -> pathlib.Path:
  """A recipe file for the tiny world, with `sections` replaced."""
  path = pathlib.Path(folder) / 'tiny_recipe.py'
  path.write_text(
    'import sys\n'
    f'sys.path.insert(0, {str(ROOT / "tests")!r})\n'
    'import tiny\n\n\n'
    'def get_config():\n'
    f'  return tiny.config({str(data)!r}, {modalities!r}, **{sections!r})\n'
  )
  return path


def start(*arguments, devices: int = 1, cwd=ROOT) -> subprocess.Popen:
  """python -m mmjax.main with so many CPU devices."""
  environment = {
    **os.environ,
    'JAX_PLATFORMS': 'cpu',
    'XLA_FLAGS': _flags(devices),
    'PYTHONPATH': str(ROOT),
  }
  return subprocess.Popen(
    [sys.executable, '-m', 'mmjax.main', *map(str, arguments)],
    cwd=cwd,
    env=environment,
    stdout=subprocess.PIPE,
    stderr=subprocess.STDOUT,
    text=True,
  )


def end(process: subprocess.Popen, seconds: float = 120) -> tuple[int, str]:
  """Its exit code and all it said; killed if it takes too long."""
  try:
    text, _ = process.communicate(timeout=seconds)
  except subprocess.TimeoutExpired:
    process.kill()
    raise
  return process.returncode, text


def wait_for_step(process: subprocess.Popen, workdir, step: int) -> None:
  """Returns when a running command has logged `step`."""
  path = pathlib.Path(workdir) / 'metrics.jsonl'
  stop = time.monotonic() + 120
  while process.poll() is None and time.monotonic() < stop:
    lines = path.read_bytes().split(b'\n')[:-1] if path.exists() else []
    if lines and json.loads(lines[-1])['step'] >= step:
      return
    time.sleep(0.002)
  process.kill()
  raise AssertionError(f'no step {step}:\n{process.communicate()[0]}')


def free_port() -> int:
  with socket.socket() as server:
    server.bind(('127.0.0.1', 0))
    return server.getsockname()[1]


def _flags(devices: int) -> str:
  """Compiled as the suite is, or bits would differ, for so many devices."""
  flags = os.environ.get('XLA_FLAGS', '').split()
  own = [f for f in flags if 'device_count' not in f]
  return ' '.join([f'--xla_force_host_platform_device_count={devices}', *own])
