"""Exposure of single images, and the mean exposure that is an attack's AUC, with DeLong's intervals."""

import numpy as np
import pytest
from scipy.stats import norm

from metrics.declaration import Unresolved
from metrics.exposure import exposure, exposure_change, mean_exposure, removed
from metrics.membership import attack_auc


def test_exposure_is_the_share_of_non_members_below_ties_counting_half():
    np.testing.assert_allclose(exposure([0.0, 1.0, 2.0, 9.0], [1.0, 2.0, 2.0, 3.0]), [0, 1 / 8, 4 / 8, 1])


def test_mean_exposure_is_the_attacks_auc():
    rng = np.random.default_rng(0)
    members, others = rng.normal(0.5, 1, 50).round(1), rng.normal(0, 1, 70).round(1)  # with ties
    assert mean_exposure(members, others).value == pytest.approx(attack_auc(members, others), abs=1e-12)


def covered(draw, truth, trials=400):
    intervals = [draw(np.random.default_rng(seed)) for seed in range(trials)]
    return np.mean([low <= truth <= high for _, low, high in intervals])


def test_two_gaussians_one_apart_have_the_known_auc_within_95_of_100_intervals():
    share = covered(lambda rng: mean_exposure(rng.normal(1, 1, 120), rng.normal(0, 1, 300)), norm.cdf(1 / np.sqrt(2)))
    assert 0.92 < share < 0.98  # three standard errors of a share of 400


def test_the_change_between_correlated_models_has_a_paired_interval():
    def draw(rng):
        images, others = rng.normal(1, 1, 120), rng.normal(0, 1, 300)  # how suspicious they are to both models
        noise = [rng.normal(0, 0.3, size) for size in (120, 300, 120, 300)]
        before = images + noise[0], others + noise[1]
        return exposure_change(before, (images - 0.5 + noise[2], others + noise[3]))

    spread = np.sqrt(2 * (1 + 0.3**2))
    truth = norm.cdf(0.5 / spread) - norm.cdf(1 / spread)
    assert 0.92 < covered(draw, truth) < 0.98
    unpaired = mean_exposure(np.random.default_rng(1).normal(1, 1, 120), np.random.default_rng(2).normal(0, 1, 300))
    _, low, high = draw(np.random.default_rng(3))
    assert high - low < unpaired.high - unpaired.low  # what both models share cancels


def test_the_same_scores_have_not_changed():
    sides = np.arange(5.0), np.arange(20.0)
    assert exposure_change(sides, sides) == (0, 0, 0)


@pytest.mark.parametrize(("images", "others"), [([1.0], [1.0, 2.0]), ([1.0, 2.0], [1.0]), ([], [])])
def test_too_few_images_have_no_interval(images, others):
    with pytest.raises(Unresolved):
        mean_exposure(images, others)


@pytest.mark.parametrize(("own", "share"), [(0.8, 0.0), (0.5, 1.0), (0.65, 0.5), (0.35, 1.5)])
def test_what_is_removed_is_a_share_of_what_retrain_removes(own, share):
    assert removed(own, 0.8, [0.49, 0.51]) == pytest.approx(share)


@pytest.mark.parametrize(
    ("original", "retrains"), [(0.53, [0.45, 0.55]), (0.53, [0.6, 0.61]), (0.9, [0.5]), (0.9, []), (0.5002, [0.5, 0.5])]
)
def test_where_the_original_is_not_clearly_above_two_retrains_and_their_difference_no_share_is_a_number(
    original, retrains
):
    with pytest.raises(Unresolved):
        removed(0.5, original, retrains)
