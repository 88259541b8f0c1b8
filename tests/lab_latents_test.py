"""Worlds of latents: formulas against the golden table and against samples."""

import itertools

import hypothesis
import hypothesis.strategies as st
import jax
import numpy as np
import pytest

from mmjax.lab import latents
from mmjax.lab.latents import Dials

few = hypothesis.settings(deadline=None, max_examples=20)
key = jax.random.key

WORLD = Dials(
  modalities=('audio', 'video', 'text'),
  unique=(1.0, 0.0, -0.7),
  redundant=(('audio', 'text', 1.2), ('video', 'text', 0.4)),
  synergy=(('audio', 'video', 0.9), ('text', 'audio', -0.5)),
  noise=(0.3, 0.8, 0.0),
  label_noise=0.4,
)


def subsets(names):
  sizes = range(len(names) + 1)
  return list(
    itertools.chain(*(itertools.combinations(names, k) for k in sizes))
  )


# The overlap of Huang et al.


def test_overlap_risk_is_the_golden_table(shared):
  path = shared / 'golden' / 'whatmakes_synthetic_expected.npz'
  with np.load(path, allow_pickle=False) as golden:
    for w, k in itertools.product((1, 0.8, 0.5, 0.2, 0), range(1, 5)):
      want = golden[f'expected_mse_w{w}_k{k}']
      got = latents.overlap_risk(w, k)
      np.testing.assert_allclose(got, want, rtol=1e-12, err_msg=f'{w} {k}')
    assert len(golden.files) == 20


def test_overlap_draws_what_it_says():
  inputs, target_N = latents.overlap(key(0), 4000, 0.3, width=3)
  assert list(inputs) == ['m1', 'm2', 'm3', 'm4']
  x_ND = np.concatenate(list(inputs.values()), axis=1).astype(float)
  assert x_ND.shape == (4000, 12) and target_N.shape == (4000,)
  # The mixed modalities give the target exactly; their weights are the betas.
  beta_D, *_ = np.linalg.lstsq(x_ND, np.asarray(target_N, float))
  np.testing.assert_allclose(x_ND @ beta_D, target_N, atol=1e-5)
  squares = np.square(beta_D.reshape(4, 3)).sum(1)
  np.testing.assert_allclose(squares, 3, rtol=1e-4)
  assert not np.allclose(np.abs(beta_D), 1, atol=0.1)  # a direction, no signs
  mix_MM = np.array([[1, 0, 0, 0], *(0.3 * np.eye(4)[0] + 0.7 * np.eye(4)[1:])])
  want = np.kron(mix_MM @ mix_MM.T, np.eye(3))
  np.testing.assert_allclose(x_ND.T @ x_ND / 4000, want, atol=5 * 4000**-0.5)


def test_overlap_at_its_ends():
  copies, _ = latents.overlap(key(1), 50, 1.0, width=5)
  for x_ND in copies.values():
    np.testing.assert_array_equal(x_ND, copies['m1'])
  mixed, _ = latents.overlap(key(1), 50, 0.3, width=5)
  alone, _ = latents.overlap(key(1), 50, 0.0, width=5)
  np.testing.assert_array_equal(mixed['m1'], alone['m1'])
  want = 0.3 * alone['m1'] + 0.7 * alone['m2']
  np.testing.assert_allclose(mixed['m2'], want, atol=1e-6)
  one = latents.overlap_risk(0.2, 1, num_modalities=1, width=5)
  assert one == 0


@pytest.mark.parametrize(
  'w, seen, count', [(0.0, 2, 30), (0.5, 1, 20), (0.7, 3, 60)]
)
def test_least_squares_on_overlap_has_the_predicted_test_risk(w, seen, count):
  """Mean over worlds within 4 standard errors, which are 3% or less."""
  worlds, width = 300, 5
  draw = jax.vmap(lambda k: latents.overlap(k, 250, w, width=width))
  inputs, target_SN = draw(jax.random.split(key(2), worlds))
  x_SND = np.concatenate(list(inputs.values())[:seen], axis=2).astype(float)
  risks = []
  for x_ND, y_N in zip(x_SND, np.asarray(target_SN, float)):
    weights_D, *_ = np.linalg.lstsq(x_ND[:count], y_N[:count])
    risks.append(np.mean((x_ND[count:] @ weights_D - y_N[count:]) ** 2))
  least = latents.overlap_risk(w, seen, width=width)
  want = least * latents.overlap_excess(count, seen * width)
  error = np.std(risks, ddof=1) / worlds**0.5
  assert error < 0.03 * want
  assert abs(np.mean(risks) - want) < 4 * error
  assert abs(np.mean(risks) - least) > 4 * error  # not without the factor


def test_overlap_excess_ends_where_its_mean_does():
  assert latents.overlap_excess(10, 0) == 1
  assert latents.overlap_excess(12, 10) == 11
  assert latents.overlap_excess(10**9, 10) == pytest.approx(1, abs=1e-7)
  for count, features in ((11, 10), (5, 10), (1, 0), (10, -1)):
    with pytest.raises(ValueError, match=f'num_examples={count} with'):
      latents.overlap_excess(count, features)


@pytest.mark.parametrize(
  'call, says',
  [
    (lambda: latents.overlap(key(0), 5, 1.1), r'w=1\.1'),
    (lambda: latents.overlap(key(0), 5, float('nan')), 'w=nan'),
    (lambda: latents.overlap(key(0), 0, 0.5), 'num_examples=0'),
    (lambda: latents.overlap(key(0), 5, 0.5, width=0), 'width=0'),
    (lambda: latents.overlap_risk(-0.1, 1), r'w=-0\.1'),
    (lambda: latents.overlap_risk(0.5, 0), 'num_seen=0'),
    (lambda: latents.overlap_risk(0.5, 5), r'num_seen=5 must lie in 1\.\.4'),
  ],
)
def test_overlap_names_what_is_wrong(call, says):
  with pytest.raises(ValueError, match=says):
    call()


# The dials.


def products(inputs):
  """All columns, and all products of two columns of different modalities."""
  parts = list(inputs.values())
  for x_ND, y_ND in itertools.combinations(parts, 2):
    both = x_ND[:, :, None] * y_ND[:, None, :]
    parts = [*parts, both.reshape(len(both), -1)]
  return np.concatenate(parts, axis=1)


@pytest.mark.parametrize('subset', subsets(WORLD.modalities))
def test_dials_risk_is_what_the_best_predictor_reaches(dials_sample, subset):
  """E[target | inputs] is linear in `products`: less is wrong, and so is more."""
  inputs, target_N = dials_sample
  residual_N, p = target_N, 0
  if subset:
    x_NF = products({m: inputs[m] for m in subset})
    p = x_NF.shape[1]
    weights_F = np.linalg.solve(x_NF.T @ x_NF, x_NF.T @ target_N)
    residual_N = target_N - x_NF @ weights_F
  N = len(target_N)
  found = np.sum(residual_N**2) / (N - p)
  error = np.std(residual_N**2) / N**0.5
  want = latents.dials_risk(WORLD, subset)
  assert error < 0.02 * want
  assert abs(found - want) < 4 * error


@pytest.fixture(scope='module')
def dials_sample():
  inputs, target_N = latents.dials(key(3), 30_000, WORLD, width=5)
  made = {m: np.asarray(x, float) for m, x in inputs.items()}
  return made, np.asarray(target_N, float)


def test_every_term_of_dials_risk_by_hand():
  half = 1 / (1 + 0.3**2)  # explained by audio; by video 1 / 1.64, by text 1
  variance = 1 + 0.49 + 1.44 + 0.16 + 0.81 + 0.25 + 0.16
  assert latents.dials_risk(WORLD, ()) == pytest.approx(variance)
  audio = variance - half * (1 + 1.44)
  assert latents.dials_risk(WORLD, ('audio',)) == pytest.approx(audio)
  both = audio - 0.16 / 1.64 - 0.81 * half / 1.64
  assert latents.dials_risk(WORLD, ('video', 'audio')) == pytest.approx(both)
  everything = 0.16 + (1 - half) * (1 + 0.25) + 0.81 * (1 - half / 1.64)
  assert latents.dials_risk(WORLD, WORLD.modalities) == pytest.approx(
    everything
  )
  # Views of a shared latent add precisions: 1/4 and 1 leave 1/(1 + 1.25).
  pair = Dials(('a', 'b'), (0, 0), (('a', 'b', 3.0),), (), (2.0, 1.0), 0)
  assert latents.dials_risk(pair, ('a', 'b')) == pytest.approx(9 / 2.25)
  tiny = pair._replace(noise=(1e-200, 0.0))
  assert latents.dials_risk(tiny, ('a',)) == 0
  assert latents.dials_risk(tiny, ('a', 'b')) == 0


def test_inputs_are_turned_latents_and_distractors(dials_sample):
  inputs, target_N = dials_sample
  # Each has a unique latent and pairs: audio 1+1+2, video 1+1+1, text 1+2+1.
  for m, latent, noise in (
    ('audio', 4, 0.3),
    ('video', 3, 0.8),
    ('text', 4, 0.0),
  ):
    x_NF = inputs[m]
    assert x_NF.shape == (30_000, 5)
    found = np.linalg.eigvalsh(np.cov(x_NF.T))
    want = [1] * (5 - latent) + [1 + noise**2] * latent
    np.testing.assert_allclose(found, want, atol=0.05)
    cross_F = x_NF.T @ target_N / 30_000
    assert np.abs(cross_F).max() < 0.97 * np.linalg.norm(cross_F)  # no axis


def test_dials_shares_what_it_should_and_nothing_else(dials_sample):
  inputs, _ = dials_sample
  names = WORLD.modalities
  shared = {('audio', 'video'): 0, ('audio', 'text'): 1, ('video', 'text'): 1}
  for a, b in itertools.combinations(names, 2):
    cross_FF = inputs[a].T @ inputs[b] / 30_000
    found = np.linalg.svd(cross_FF, compute_uv=False)
    want = np.eye(5)[0] * shared[a, b]
    np.testing.assert_allclose(found, want, atol=0.04)


def test_rotations_favour_no_sign():
  """In one dimension there are two, 1 and -1."""
  world = Dials(('a',), (1.0,), (), (), (0.0,), 0.0)
  signs = []
  for i in range(24):
    inputs, target_N = latents.dials(key(i), 3, world, width=1)
    sign_N = np.asarray(inputs['a'])[:, 0] / target_N
    np.testing.assert_allclose(sign_N, np.sign(sign_N[0]), rtol=1e-6)
    signs.append(sign_N[0])
  assert 4 < np.sum(np.array(signs) > 0) < 20


def test_a_key_is_a_world():
  for draw in (
    lambda k: latents.overlap(k, 50, 0.5, width=5),
    lambda k: latents.dials(k, 30_000, WORLD, width=5),  # compiled above
  ):
    inputs, target_N = draw(key(7))
    again, same_N = draw(key(7))
    other, other_N = draw(key(8))
    np.testing.assert_array_equal(target_N, same_N)
    assert target_N.dtype == np.float32
    assert not np.allclose(target_N, other_N)
    for m, x_NF in inputs.items():
      np.testing.assert_array_equal(x_NF, again[m])
      assert not np.allclose(x_NF, other[m])
      assert x_NF.dtype == np.float32
  shapes, _ = jax.eval_shape(lambda k: latents.dials(k, 20, WORLD), key(0))
  assert [x.shape for x in shapes.values()] == 3 * [(20, 8)]


weights = st.floats(-2, 2)
stds = st.floats(0, 3)
names3 = ('a', 'b', 'c')
pairs = st.sampled_from(list(itertools.permutations(names3, 2)))
listed = st.lists(st.builds(lambda p, w: (*p, w), pairs, weights), max_size=3)
worlds = st.builds(
  Dials,
  st.just(names3),
  st.tuples(weights, weights, weights),
  listed.map(tuple),
  listed.map(tuple),
  st.tuples(stds, stds, stds),
  stds,
)


@few
@hypothesis.given(worlds)
def test_more_modalities_never_hurt_and_the_label_noise_stays(world):
  risks = {s: latents.dials_risk(world, s) for s in subsets(names3)}
  for small, large in itertools.product(risks, risks):
    if set(small) <= set(large):
      assert risks[large] <= risks[small] + 1e-12
  assert risks[names3] >= world.label_noise**2 - 1e-12
  # Products alone tell nothing to one modality, whatever the noise.
  alone = world._replace(unique=(0, 0, 0), redundant=())
  for m in names3:
    assert latents.dials_risk(alone, (m,)) == latents.dials_risk(alone, ())
  clear = world._replace(noise=(0, 0, 0))
  left = latents.dials_risk(clear, names3)
  np.testing.assert_allclose(left, world.label_noise**2, atol=1e-12)


@pytest.mark.parametrize(
  'change, says',
  [
    (dict(modalities=('a', 'a', 'b')), 'different names'),
    (dict(unique=(1.0, 2.0)), r'unique=\(1\.0, 2\.0\)'),
    (dict(noise=(0.0,)), r'noise=\(0\.0,\)'),
    (dict(noise=(0.0, -0.1, 0.0)), 'standard'),
    (dict(label_noise=-1.0), 'label_noise=-1'),
    (dict(label_noise=float('nan')), 'label_noise=nan'),
    (dict(unique=(1.0, float('inf'), 0.0)), 'finite'),
    (dict(redundant=(('audio', 'smell', 1.0),)), "redundant .*'smell'"),
    (dict(synergy=(('text', 'text', 1.0),)), "synergy pairs 'text' with 'tex"),
  ],
)
def test_a_world_that_contradicts_itself_is_refused(change, says):
  world = WORLD._replace(**change)
  with pytest.raises(ValueError, match=says):
    latents.dials(key(0), 5, world)
  with pytest.raises(ValueError, match=says):
    latents.dials_risk(world, ())


def test_dials_refuses_what_does_not_fit():
  with pytest.raises(ValueError, match="'audio' sees 4 latents.* width=3"):
    latents.dials(key(0), 5, WORLD, width=3)
  fits = jax.eval_shape(lambda k: latents.dials(k, 5, WORLD, width=4), key(0))
  assert fits[0]['audio'].shape == (5, 4)
  with pytest.raises(ValueError, match='num_examples=0'):
    latents.dials(key(0), 0, WORLD)
  for subset in (('smell',), 'audio'):
    with pytest.raises(ValueError, match='subset='):
      latents.dials_risk(WORLD, subset)


# Classes.


@few
@hypothesis.given(
  st.lists(st.integers(-999, 999), min_size=5, max_size=60, unique=True),
  st.integers(2, 5),
)
def test_classes_are_full_alike_and_in_order(values, classes):
  label_N = latents.as_classes(np.array(values, np.float32), classes)
  assert label_N.dtype == np.int32
  count_C = np.bincount(label_N, minlength=classes)
  assert len(count_C) == classes and np.ptp(count_C) <= 1
  assert (np.diff(label_N[np.argsort(values)]) >= 0).all()


def test_classes_keep_ties_together_or_give_up():
  label_N = latents.as_classes(np.array([1.0, 0.0, 1.0, 1.0]), 2)
  np.testing.assert_array_equal(label_N, [1, 0, 1, 1])
  for values, classes in ((np.ones(9), 2), (np.arange(3.0), 4)):
    with pytest.raises(ValueError, match=f'num_classes={classes} quantile'):
      latents.as_classes(values, classes)
  with pytest.raises(ValueError, match='num_classes=1 '):
    latents.as_classes(np.arange(3.0), 1)
  for bad in (np.array([1.0, np.nan]), np.ones((2, 2))):
    with pytest.raises(ValueError, match='finite'):
      latents.as_classes(bad, 2)


# Worlds whose right answer is known.


def answers(kind, count, modalities=4):
  made = [latents.random_dials(key(i), kind, modalities) for i in range(count)]
  assert made[0] == latents.random_dials(key(0), kind, modalities)
  for world, answer in made:
    assert answer == tuple(m for m in world.modalities if m in answer)
    assert all(0 <= s <= 0.3 for s in world.noise)
    assert 0 <= world.label_noise <= 0.5
  assert len({answer for _, answer in made}) > 1
  assert len({world for world, _ in made}) == count
  return made


def without(world, *names):
  rest = tuple(m for m in world.modalities if m not in names)
  return latents.dials_risk(world, rest)


def test_a_useless_modality_is_the_only_one_to_miss_nothing():
  for world, answer in answers('useless', 8):
    assert not world.redundant and not world.synergy
    full = without(world)
    for m, u in zip(world.modalities, world.unique):
      if (m,) == answer:
        assert u == 0 and without(world, m) == full
      else:
        assert 0.5 <= u <= 1.5 and without(world, m) > full + 0.2


def test_of_a_redundant_pair_one_is_enough():
  for world, answer in answers('redundant', 8):
    assert all(u > 0 for u in world.unique)  # it is small, not gone
    ((*pair, weight),) = world.redundant
    assert tuple(pair) == answer and 0.8 <= weight <= 1.5
    assert not world.synergy
    for m, u in zip(world.modalities, world.unique):
      assert 0 <= u <= 0.3 if m in answer else 0.5 <= u <= 1.5
    full, each = without(world), [without(world, m) for m in answer]
    both = without(world, *answer)
    assert both - full > 0.6 > 0.2 > max(each) - full
    assert both - full > sum(each) - 2 * full  # together they matter more


def test_a_synergistic_pair_gains_from_meeting():
  for world, answer in answers('synergistic', 8):
    ((*pair, weight),) = world.synergy
    assert tuple(pair) == answer and 0.8 <= weight <= 1.5
    assert not world.redundant
    assert all(0.5 <= u <= 1.5 for u in world.unique)
    none, pair = (
      latents.dials_risk(world, ()),
      latents.dials_risk(world, answer),
    )
    alone = [none - latents.dials_risk(world, (m,)) for m in answer]
    assert none - pair > sum(alone) + 0.5
  for world, answer in answers('synergistic', 6, modalities=3):
    assert len(world.modalities) == 3 and set(answer) <= set(world.modalities)


def test_random_dials_says_what_it_knows():
  with pytest.raises(ValueError, match="kind='unique'.*useless"):
    latents.random_dials(key(0), 'unique')
  with pytest.raises(ValueError, match='num_modalities=1'):
    latents.random_dials(key(0), 'useless', 1)
