"""Settings that hold for the whole suite."""

import os

os.environ.setdefault('JAX_PLATFORMS', 'cpu')
os.environ.setdefault('XLA_FLAGS', '--xla_force_host_platform_device_count=8')

import pathlib

import hypothesis
import jax
import pytest

jax.config.update('jax_numpy_rank_promotion', 'raise')

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
