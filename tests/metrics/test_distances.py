import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.spatial.distance import jensenshannon
from scipy.special import rel_entr, softmax

from metrics.declaration import Unresolved
from metrics.distances import (
    activation_distance,
    activation_distance_per_sample,
    js_per_sample,
    js_to_retrain,
    kl_per_sample,
    kl_to_retrain,
    zrf,
    zrf_per_sample,
)

ALL = [kl_per_sample, js_per_sample, activation_distance_per_sample, zrf_per_sample]
MEANS = [kl_to_retrain, js_to_retrain, activation_distance, zrf]
SYMMETRIC = [js_per_sample, activation_distance_per_sample, zrf_per_sample]
seeds = st.integers(0, 2**32 - 1)
scales = st.sampled_from([1e-6, 1.0, 30.0, 1e4])


def two_models(seed, scale=1.0, images=7, classes=5):
    return np.random.default_rng(seed).normal(scale=scale, size=(2, images, classes))


def logits_of(*probabilities):
    with np.errstate(divide="ignore"):
        return np.maximum(np.log(np.array(probabilities)), -1e4)


@given(seeds)
def test_the_divergences_are_those_of_scipy_on_the_softmax_outputs(seed):
    first, second = two_models(seed)
    u, r = softmax(first, axis=1), softmax(second, axis=1)
    assert kl_per_sample(first, second) == pytest.approx(rel_entr(u, r).sum(axis=1))
    assert js_per_sample(first, second) == pytest.approx(jensenshannon(u, r, axis=1) ** 2)
    assert activation_distance_per_sample(first, second) == pytest.approx(np.sqrt(((u - r) ** 2).sum(axis=1)))
    assert zrf_per_sample(first, second) == pytest.approx(1 - jensenshannon(u, r, axis=1) ** 2)


def test_two_answers_worked_by_hand():
    """u = (1/2, 1/2), r = (1/4, 3/4), m = (3/8, 5/8)."""
    u, r = logits_of([1 / 2, 1 / 2]), logits_of([1 / 4, 3 / 4])
    assert kl_per_sample(u, r) == pytest.approx([math.log(4 / 3) / 2])
    from_u = (math.log(4 / 3) + math.log(4 / 5)) / 2
    from_r = math.log(2 / 3) / 4 + 3 * math.log(6 / 5) / 4
    assert js_per_sample(u, r) == pytest.approx([(from_u + from_r) / 2])
    assert activation_distance_per_sample(u, r) == pytest.approx([math.sqrt(2) / 4])


@given(seeds, scales)
def test_a_model_is_at_distance_zero_from_itself_whatever_is_added_to_all_its_logits(seed, scale):
    model, _ = two_models(seed, scale)
    for distance in (kl_per_sample, js_per_sample, activation_distance_per_sample):
        assert distance(model, model).tolist() == [0.0] * 7
        assert distance(model, model + 3.0) == pytest.approx(0, abs=1e-9)
    assert zrf_per_sample(model, model).tolist() == [1.0] * 7


@given(seeds, scales)
def test_distances_stay_within_their_range_and_only_kl_has_a_direction(seed, scale):
    first, second = two_models(seed, scale)
    for distance, mean in zip(ALL, MEANS, strict=True):
        low, high = mean.info.range
        values = distance(first, second)
        assert np.isfinite(values).all()
        assert (low <= values).all()
        assert (values <= high + 1e-12).all()
    for distance in SYMMETRIC:
        assert distance(first, second) == pytest.approx(distance(second, first), abs=1e-12)
    assert kl_per_sample([[0.0, 2.0]], [[0.0, 0.0]]) != pytest.approx(kl_per_sample([[0.0, 0.0]], [[0.0, 2.0]]))


def test_certain_and_opposite_answers_are_as_far_apart_as_can_be():
    yes, no = [[0.0, 1e4]], [[1e4, 0.0]]
    assert kl_per_sample(yes, no) == pytest.approx([1e4])
    assert js_per_sample(yes, no) == pytest.approx([math.log(2)])
    assert activation_distance_per_sample(yes, no) == pytest.approx([math.sqrt(2)])
    assert zrf_per_sample(yes, no) == pytest.approx([1 - math.log(2)])


@pytest.mark.parametrize("distance", [kl_per_sample, js_per_sample])
def test_divergences_far_below_the_resolution_of_a_probability_are_kept_apart(distance):
    """A shift e of a coin's logit gives KL = p (1 - p) e^2 / 2, and a quarter of it as JS."""
    expected = 1e-10 / 8 / (1 if distance is kl_per_sample else 4)
    assert distance([[0.0, 1e-5]], [[0.0, 0.0]]) == pytest.approx([expected], rel=1e-4)


@given(seeds)
def test_the_means_are_means_over_images(seed):
    first, second = two_models(seed)
    for mean, distance in zip(MEANS, ALL, strict=True):
        assert mean(first, second) == pytest.approx(distance(first, second).mean())


@pytest.mark.parametrize("classes", [2, 11, 100])
def test_zrf_of_a_trained_model_does_not_creep_towards_one_with_the_number_of_classes(classes):
    certain = np.zeros((1, classes))
    certain[0, 0] = 1e3
    unsure = np.zeros((1, classes))
    share = 1 / classes
    log_m = math.log((1 + share) / 2)
    js = -log_m / 2 + (share * (math.log(share) - log_m) + (1 - share) * math.log(2)) / 2
    assert zrf(certain, unsure) == pytest.approx(1 - js)


@pytest.mark.parametrize("mean", MEANS)
def test_no_image_has_no_distance_and_other_images_or_classes_are_refused(mean):
    with pytest.raises(Unresolved, match="no images"):
        mean(np.empty((0, 3)), np.empty((0, 3)))
    for shape in [(4, 3), (5, 2)]:
        with pytest.raises(ValueError, match="same images and classes"):
            mean(np.zeros((5, 3)), np.zeros(shape))
