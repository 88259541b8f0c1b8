"""The published sampler of missing modalities, beside the exact one."""

import re
import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mmjax.data import arrays, missing


def sourced(n, modalities, present=None):
  names = [f'm{i}' for i in range(modalities)]
  inputs = {name: np.ones((n, 2)) for name in names}
  return arrays.source(inputs, np.zeros(n, int), present=present)


def kept(source, rate, seed=0, sampler='cpm'):
  """What stays, bool[N, M]."""
  dropped = missing.drop(source, rate, seed, sampler=sampler)
  present = dropped.take(np.arange(source.size))['present']
  return np.stack([present[name] for name in source.modalities], axis=1)


@settings(deadline=None, max_examples=15)
@given(
  m=st.integers(2, 5),
  part=st.floats(0, 1),
  seed=st.integers(0, 99),
)
def test_the_rate_is_met_and_everybody_keeps_something(m, part, seed):
  rate = part * (1 - 1 / m)
  mask = kept(sourced(1000, m), rate, seed)
  assert abs((~mask).mean() - rate) < 0.005
  assert mask.any(axis=1).all()
  np.testing.assert_array_equal(mask, kept(sourced(1000, m), rate, seed))


@pytest.mark.parametrize('m', [2, 3])
def test_it_is_distributed_as_the_published_masks(shared, m):
  """Rates, and how many examples are left with one, two or three."""
  golden = np.load(shared / 'golden/mla_random_mask.npz')
  for tenth in range(9):
    want = golden[f'V{m}_rate{tenth / 10}_seed0'].astype(bool)
    with warnings.catch_warnings():
      warnings.simplefilter('ignore')  # that it saturates
      mask = kept(sourced(3000, m), tenth / 10)
    for one in (mask, want):
      top = 1 - 1 / m
      assert abs((~one).mean() - min(tenth / 10, top)) < 0.005
      assert one.any(axis=1).all()
      assert tenth / 10 < top or (one.sum(axis=1) == 1).all()
    counts = [np.bincount(x.sum(axis=1), minlength=m + 1) for x in (mask, want)]
    # Five deviations of a count of 3000, and what the tolerance leaves open.
    np.testing.assert_allclose(*counts, atol=5 * 27 + 0.01 * 3000 * m)
    np.testing.assert_allclose(mask.mean(0), want.mean(0), atol=0.05)


@pytest.mark.parametrize('m, rate', [(1, 0.5), (2, 0.6), (3, 0.8), (3, 1.0)])
def test_above_the_saturation_exactly_one_stays_and_it_warns(m, rate):
  with pytest.warns(UserWarning, match=f'rate={rate} is above .* saturates'):
    mask = kept(sourced(3000, m), rate)
  assert (mask.sum(axis=1) == 1).all()
  np.testing.assert_allclose(mask.mean(axis=0), 1 / m, atol=0.05)


def test_at_the_saturation_there_is_nothing_to_warn_of():
  assert (kept(sourced(30, 3), 2 / 3).sum(axis=1) == 1).all()
  assert (kept(sourced(30, 2), 0.5).sum(axis=1) == 1).all()


def test_modalities_of_an_example_stay_independently_but_for_the_first():
  """With p of the others staying, all three stay with p squared."""
  mask = kept(sourced(20000, 3), 0.4)
  whole = (mask.sum(axis=1) == 3).mean()
  np.testing.assert_allclose(whole, 0.4**2, atol=0.015)


@pytest.mark.parametrize('n', [1, 2, 3, 7])
def test_few_examples_end_with_a_warning_that_names_the_rate(n):
  with pytest.warns(UserWarning, match='none of 200 masks') as told:
    mask = kept(sourced(n, 3), 0.3)
  named = re.search(r'; ([\d.]+) are missing', str(told[0].message))
  assert named and float(named[1]) == pytest.approx((~mask).mean(), abs=1e-4)
  assert mask.any(axis=1).all()
  assert abs((~mask).mean() - 0.3) <= 1 / 3 + 0.1  # the nearest of its draws


def test_few_examples_whose_rate_can_be_met_meet_it():
  assert (~kept(sourced(10, 2), 0.25)).sum() == 5


@settings(deadline=None, max_examples=25)
@given(
  data=st.data(),
  n=st.integers(1, 30),
  rate=st.floats(0, 1),
  seed=st.integers(0, 9),
)
def test_what_is_missing_already_stays_so(data, n, rate, seed):
  row = st.lists(st.booleans(), min_size=3, max_size=3).filter(any)
  has = np.array(data.draw(st.lists(row, min_size=n, max_size=n)))
  present = {f'm{i}': has[:, i] for i in range(3)}
  with warnings.catch_warnings():
    warnings.simplefilter('ignore')
    mask = kept(sourced(n, 3, present), rate, seed)
    whole = kept(sourced(n, 3), rate, seed)
  assert not (mask & ~has).any()
  assert mask.any(axis=1).all()
  # Where it had what the mask for complete data keeps, that is what it keeps.
  luck = (has & whole).any(axis=1)
  np.testing.assert_array_equal(mask[luck], (has & whole)[luck])
  assert (mask[~luck].sum(axis=1) == 1).all()


def test_values_of_what_is_missing_are_zero():
  source = sourced(40, 2)
  dropped = missing.drop(source, 0.5, 0, sampler='cpm')
  batch = dropped.take(np.arange(40))
  for name in source.modalities:
    has = batch['present'][name]
    assert 0 < has.sum() < 40
    np.testing.assert_array_equal(batch[name].any(axis=1), has)


def test_exact_is_the_default():
  source = sourced(50, 3)
  mask = kept(source, 0.37, 5, sampler='exact')
  dropped = missing.drop(source, 0.37, 5).take(np.arange(50))['present']
  np.testing.assert_array_equal(mask, np.stack(list(dropped.values()), axis=1))
  assert (~mask).sum() == round(0.37 * 150)


def test_bad_options_are_errors():
  with pytest.raises(ValueError, match="sampler='cmp' is none of exact, cpm"):
    missing.drop(sourced(4, 2), 0.2, 0, sampler='cmp')
  for rate in (-0.1, 1.1, float('nan')):
    with pytest.raises(ValueError, match='must be from 0 to 1'):
      missing.drop(sourced(4, 2), rate, 0, sampler='cpm')
  with pytest.raises(ValueError, match='from 0 to 1 - 1/M = 0.5'):
    missing.drop(sourced(4, 2), 0.6, 0)
