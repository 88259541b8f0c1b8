"""Settings that hold for the whole suite, and for the processes it starts."""

import gc
import os
import pathlib
import shutil
import tempfile

import jaxlib

# Nearly all of the suite's time is spent on compiling small programs that run
# once: they are compiled in haste, and each only once for all processes.
SETTINGS = {
  'JAX_PLATFORMS': 'cpu',
  'XLA_FLAGS': '--xla_force_host_platform_device_count=8',
  'JAX_DISABLE_MOST_OPTIMIZATIONS': '1',
  'JAX_COMPILATION_CACHE_DIR': '',
  'JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS': '0',
  'JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES': '-1',
}
if jaxlib.__version__.startswith('0.10.'):
  # A third of the compiler's time. XLA dies of flags that it does not know.
  SETTINGS['XLA_FLAGS'] += ' --xla_cpu_use_fusion_emitters=false'
if 'JAX_COMPILATION_CACHE_DIR' not in os.environ:
  SETTINGS['JAX_COMPILATION_CACHE_DIR'] = tempfile.mkdtemp(prefix='mmjax-jit-')
for name, value in SETTINGS.items():
  os.environ.setdefault(name, value)

import hypothesis  # noqa: E402
import jax  # noqa: E402
import pytest  # noqa: E402

jax.config.update('jax_numpy_rank_promotion', 'raise')
gc.set_threshold(100_000, 20, 20)  # most of what JAX keeps is no garbage

# The same examples everywhere, so that a change is all that can turn a test;
# --hypothesis-profile=default goes looking for others.
hypothesis.settings.register_profile('same', derandomize=True, deadline=None)
hypothesis.settings.load_profile('same')

ROOT = pathlib.Path(__file__).resolve().parent.parent


@pytest.fixture(scope='session')
def shared() -> pathlib.Path:
  """The folder of reference outputs and real data beside the repository."""
  path = ROOT.parent / 'shared'
  if not path.is_dir():
    pytest.skip('needs the reference data in ../shared, which is not here')
  return path


def pytest_runtest_teardown(item, nextitem):
  """What a file leaves behind is not looked through again.

  JAX keeps millions of objects for good, and some libraries (statsmodels)
  collect garbage at every call.
  """
  if nextitem is None or nextitem.path != item.path:
    gc.collect()
    gc.freeze()


def pytest_unconfigure():
  """The process that made the folder of compiled programs removes it."""
  if made := SETTINGS['JAX_COMPILATION_CACHE_DIR']:
    shutil.rmtree(made, ignore_errors=True)
