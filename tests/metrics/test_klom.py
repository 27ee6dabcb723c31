import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from metrics.declaration import Unresolved
from metrics.klom import GAUSSIAN_LIMIT, gaussian_klom, klom, summarise

seeds = st.integers(0, 2**32 - 1)
BOTH = [klom, gaussian_klom]


def margins(seed, images=6, models=40, mean=0.0, deviation=1.0):
    return np.random.default_rng(seed).normal(mean, deviation, size=(images, models))


def restated(unlearned, retrained, *, closed=True):
    """KLoM of one image, bin by bin; without the upper end of the last bin as in the published code."""
    first, second = np.clip(unlearned, -100, 100), np.clip(retrained, -100, 100)
    low, high = min(first.min(), second.min()), max(first.max(), second.max())
    counts = [np.histogram(side[closed | (side < high)], 20, (low, high))[0] for side in (first, second)]
    total = 0.0
    for p, q in zip(*(each / each.sum() for each in counts), strict=True):
        if p:
            total += p * math.log(p / max(q, 1e-5))
    return max(total, 0.0)


# the histogram form


@given(seeds, st.sampled_from([1e-3, 1.0, 80.0]), st.integers(32, 70))
def test_klom_is_what_it_says_bin_by_bin(seed, deviation, models):
    unlearned, retrained = margins(seed, deviation=deviation), margins(seed + 1, models=models, mean=0.5)
    assert klom(unlearned, retrained) == pytest.approx([*map(restated, unlearned, retrained)])


@pytest.mark.parametrize(("models", "bias"), [(16, 3.87), (32, 1.70), (64, 0.632), (100, 0.354), (200, 0.151)])
def test_two_sides_that_are_equal_in_truth_get_the_known_bias(models, bias):
    first, second = margins(0, 8000, models), margins(1, 8000, models)
    assert klom(first, second, fewest_models=16).mean() == pytest.approx(bias, rel=0.025)


@pytest.mark.parametrize(("models", "bias"), [(16, 3.83), (100, 0.341)])
def test_the_margin_that_the_published_code_drops_lowers_that_bias_by_a_few_percent(models, bias):
    first, second = margins(0, 1500, models), margins(1, 1500, models)
    published = np.mean([restated(*image, closed=False) for image in zip(first, second, strict=True)])
    assert published == pytest.approx(bias, rel=0.05)
    assert 0.95 < published / klom(first, second, fewest_models=16).mean() < 1


def test_sides_that_never_overlap_are_at_the_log_of_the_floor():
    assert klom(margins(0, deviation=0.01), margins(1) + 50) == pytest.approx([math.log(1e5)] * 6)
    assert klom.info.range == pytest.approx((0, math.log(1e5)))


def test_the_largest_margin_counts_and_margins_beyond_the_clip_are_equal():
    certain, beyond = np.full((1, 32), 100.0), np.full((1, 32), 1e4)
    assert klom(certain, margins(0, 1)) == pytest.approx([math.log(1e5)])
    assert klom(beyond, certain).tolist() == [0.0]


def test_fewer_than_32_models_on_either_side_are_no_klom():
    with pytest.raises(Unresolved, match="31 unlearned and 40 retrained models; needs 32 of each"):
        klom(margins(0, models=31), margins(1))
    with pytest.raises(Unresolved, match="40 unlearned and 31"):
        klom(margins(0), margins(1, models=31))


# the Gaussian form


@pytest.mark.parametrize(("mean", "deviation"), [(0.0, 1.0), (1.0, 1.0), (-2.0, 0.5), (0.5, 2.0)])
def test_gaussian_klom_of_many_models_is_the_closed_form_between_two_gaussians(mean, deviation):
    expected = -math.log(deviation) + (deviation**2 + mean**2 - 1) / 2
    found = gaussian_klom(margins(0, 100, 20_000, mean, deviation), margins(1, 100, 20_000))
    assert found.mean() == pytest.approx(expected, rel=0.01, abs=2e-4)


@pytest.mark.parametrize("models", [6, 16, 32])
def test_the_bias_of_the_gaussian_form_is_known_in_closed_form(models):
    """E[v_u / v_r] = (N - 1) / (N - 3), E[(m_u - m_r)^2] = 2 v / N, and the logarithms cancel."""
    expected = ((1 + 2 / models) * (models - 1) / (models - 3) - 1) / 2
    found = gaussian_klom(margins(0, 60_000, models), margins(1, 60_000, models)).mean()
    assert found == pytest.approx(expected, rel=0.05)


@given(seeds, st.floats(-20, 20), st.floats(0.1, 10))
def test_gaussian_klom_ignores_a_common_shift_and_scale(seed, shift, scale):
    first, second = margins(seed, models=8), margins(seed + 1, models=8, mean=1)
    moved = gaussian_klom(first * scale + shift, second * scale + shift)
    assert moved == pytest.approx(gaussian_klom(first, second), rel=1e-6, abs=1e-9)


def test_a_method_that_always_answers_alike_is_at_the_cap_from_all_but_itself():
    constant, varied = np.full((3, 16), -math.log(7)), margins(0, 3, 16)
    for pair in [(constant, varied), (varied, constant), (constant, constant + 0.1)]:
        assert gaussian_klom(*pair).tolist() == [GAUSSIAN_LIMIT] * 3
    assert gaussian_klom(constant, constant).tolist() == [0.0] * 3


def test_three_models_have_no_gaussian_form():
    with pytest.raises(Unresolved, match="needs 4 of each"):
        gaussian_klom(margins(0, models=3), margins(1))


# both


@given(seeds)
def test_a_set_of_models_is_at_distance_zero_from_itself_in_any_order(seed):
    models = margins(seed)
    assert klom(models, models[:, ::-1]).tolist() == [0.0] * 6
    assert gaussian_klom(models, models[:, ::-1]) == pytest.approx([0.0] * 6, abs=1e-12)


@pytest.mark.parametrize("form", BOTH)
def test_both_sides_need_the_same_images(form):
    with pytest.raises(ValueError, match="6 and of 5 images"):
        form(margins(0), margins(1, images=5))


@pytest.mark.parametrize("form", BOTH)
def test_no_image_has_an_empty_klom_and_no_summary(form):
    nothing = form(np.empty((0, 40)), np.empty((0, 40)))
    assert nothing.shape == (0,)
    with pytest.raises(Unresolved, match="no images"):
        summarise(nothing)


def test_the_summary_is_the_mean_and_the_95th_percentile():
    assert summarise(np.arange(101.0)) == (50.0, 95.0)
