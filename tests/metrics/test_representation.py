import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.linear_model import LogisticRegression

from metrics.declaration import Unresolved
from metrics.representation import (
    RepresentedModel,
    debiased_linear_cka,
    linear_cka,
    linear_probe_accuracy,
    score_representation,
)

seeds = st.integers(0, 2**32 - 1)
BOTH = [linear_cka, debiased_linear_cka]


def features(seed, images=30, width=6):
    return np.random.default_rng(seed).normal(size=(images, width)) + 2


def hsic_from_gram_matrices(x, y):
    """The unbiased estimator as Song et al. (2012) state it, with both n x n matrices."""
    n, ones = len(x), np.ones(len(x))
    k, m = x @ x.T, y @ y.T
    np.fill_diagonal(k, 0)
    np.fill_diagonal(m, 0)
    totals = (ones @ k @ ones) * (ones @ m @ ones) / ((n - 1) * (n - 2))
    return (np.trace(k @ m) + totals - 2 * (ones @ k @ m @ ones) / (n - 2)) / (n * (n - 3))


# CKA


@given(seeds)
def test_linear_cka_is_the_alignment_of_the_centred_gram_matrices(seed):
    x, y = features(seed), features(seed + 1, width=4)
    centring = np.eye(30) - 1 / 30
    k, m = centring @ x @ x.T @ centring, centring @ y @ y.T @ centring
    expected = np.sum(k * m) / np.sqrt(np.sum(k * k) * np.sum(m * m))
    assert linear_cka(x, y) == pytest.approx(expected)


@given(seeds)
def test_the_debiased_form_is_what_it_says_with_gram_matrices(seed):
    x, y = features(seed), features(seed, width=4) @ np.eye(4) + features(seed + 1, width=4)
    expected = hsic_from_gram_matrices(x, y)
    expected /= np.sqrt(hsic_from_gram_matrices(x, x) * hsic_from_gram_matrices(y, y))
    assert debiased_linear_cka(x, y) == pytest.approx(expected)


@pytest.mark.parametrize("cka", BOTH)
@settings(max_examples=50, deadline=None)
@given(seed=seeds, scale=st.floats(1e-6, 1e6), shift=st.floats(-100, 100))
def test_rotation_scale_and_shift_of_the_features_change_nothing(cka, seed, scale, shift):
    x, y = features(seed), features(seed, width=9)[:, 2:] ** 2
    rotation = np.linalg.qr(np.random.default_rng(seed).normal(size=(6, 6)))[0]
    assert cka(scale * x @ rotation + shift * scale, y) == pytest.approx(cka(x, y), abs=1e-7)
    assert cka(y, x) == pytest.approx(cka(x, y))
    assert cka(x, scale * x @ rotation) == pytest.approx(1)


def test_stretching_one_direction_does_change_something():
    x = features(0)
    assert linear_cka(x, x * [10, 1, 1, 1, 1, 1]) < 0.9


def test_with_fewer_images_than_features_only_the_debiased_form_tells_unrelated_features_apart():
    pairs = [(features(seed, 50, 200), features(seed + 1000, 50, 200)) for seed in range(40)]
    assert min(linear_cka(*pair) for pair in pairs) > 0.7
    assert np.mean([debiased_linear_cka(*pair) for pair in pairs]) == pytest.approx(0, abs=0.02)


def test_features_as_large_as_a_float_can_be_do_not_overflow():
    x, y = features(0), features(1)
    assert linear_cka(1e200 * x, 1e-200 * y) == pytest.approx(linear_cka(x, y))


@pytest.mark.parametrize(("cka", "fewest"), [(linear_cka, 2), (debiased_linear_cka, 4)])
def test_too_few_or_equal_images_have_no_similarity(cka, fewest):
    with pytest.raises(Unresolved, match=f"needs {fewest}"):
        cka(features(0, fewest - 1), features(1, fewest - 1))
    with pytest.raises(Unresolved, match="same for all images"):
        cka(features(0), np.full((30, 2), 0.1))
    with pytest.raises(ValueError, match="30 and of 29 images"):
        cka(features(0), features(1, 29))


# the probe


def clusters(seed, images=600, classes=4, distance=3.0):
    """Gaussian classes around the corners of a simplex, in 12 dimensions."""
    generator = np.random.default_rng(seed)
    labels = np.arange(images) % classes
    return generator.normal(size=(images, 12)) + distance * np.eye(12)[labels], labels


ROWS = np.arange(600)


def test_features_that_hardly_an_image_has_leave_nothing_to_compare():
    features = np.zeros((50, 8))
    features[0] = np.random.default_rng(0).normal(size=8)
    with pytest.raises(Unresolved, match="too few for the spread"):
        debiased_linear_cka(features, features)


def test_the_probe_finds_separated_classes_and_only_chance_among_equal_ones():
    assert linear_probe_accuracy(*clusters(0, distance=20), ROWS[:400], ROWS[400:]) == 1
    assert linear_probe_accuracy(*clusters(0, distance=0), ROWS[:400], ROWS[400:]) == pytest.approx(0.25, abs=0.09)


def test_the_probe_is_about_as_good_as_logistic_regression():
    inputs, labels = clusters(0)
    reference = LogisticRegression().fit(inputs[:400], labels[:400]).score(inputs[400:], labels[400:])
    assert linear_probe_accuracy(inputs, labels, ROWS[:400], ROWS[400:]) == pytest.approx(reference, abs=0.02)


@settings(max_examples=20, deadline=None)
@given(seeds)
def test_neither_scale_nor_shift_of_a_feature_matters_nor_the_order_of_the_rows(seed):
    generator = np.random.default_rng(seed)
    inputs, labels = clusters(seed, distance=1.5)
    plain = linear_probe_accuracy(inputs, labels, ROWS[:400], ROWS[400:])
    moved = inputs * generator.uniform(1e-3, 1e3, 12) + generator.normal(size=12)
    shuffled = generator.permutation(400)
    assert linear_probe_accuracy(moved, labels, shuffled, ROWS[400:]) == pytest.approx(plain, abs=0.011)


def test_the_probe_sees_what_a_swapped_last_layer_hides():
    inputs, labels = clusters(0)
    logits = inputs[:, :4]
    assert np.mean(logits[:, [1, 2, 3, 0]].argmax(axis=1) == labels) < 0.05
    assert linear_probe_accuracy(inputs, labels, ROWS[:400], ROWS[400:]) > 0.9


def test_a_probe_is_not_scored_on_what_it_was_fitted_on_and_needs_two_classes():
    inputs, labels = clusters(0)
    with pytest.raises(ValueError, match="both fitted and scored"):
        linear_probe_accuracy(inputs, labels, ROWS[:400], ROWS[399:])
    with pytest.raises(ValueError, match="600 rows of features, but 599 labels"):
        linear_probe_accuracy(inputs, labels[1:], ROWS[:400], ROWS[400:599])
    with pytest.raises(Unresolved, match="1 class"):
        linear_probe_accuracy(inputs, labels, ROWS[labels == 0], ROWS[labels == 1])
    with pytest.raises(Unresolved, match="0 images to score"):
        linear_probe_accuracy(inputs, labels, ROWS[:400], [])


@pytest.fixture
def represented():
    """Scores of a model whose features on forget and test images are these, beside Retrains."""

    def go(model, retrains):
        return score_representation(RepresentedModel(model, LABELS, retrains)).values

    return go


PARTS = {"non_members": ROWS[:300], "forget": ROWS[300:400], "test": ROWS[400:]}
LABELS = {part: clusters(0)[1][rows] for part, rows in PARTS.items()}


def parted(inputs):
    return {part: inputs[rows] for part, rows in PARTS.items()}


def test_similarity_is_a_mean_over_retrains_of_the_same_images(represented):
    inputs, _ = clusters(0)
    others = [inputs + np.random.default_rng(seed).normal(size=inputs.shape) for seed in (1, 2)]
    scores = represented(parted(inputs), [parted(other) for other in others])
    for part in ("forget", "test"):
        pairs = [debiased_linear_cka(inputs[PARTS[part]], other[PARTS[part]]) for other in others]
        assert scores[f"cka_{part}"] == pytest.approx(np.mean(pairs), rel=1e-12)


def test_a_single_retrain_has_a_probe_and_no_similarity(represented):
    scores = represented(parted(clusters(0)[0]), [])
    assert (scores["cka_forget"], scores["cka_test"]) == (None, None)
    assert scores["probe_forget"] > 0.9


def test_the_probe_learns_from_images_that_no_model_saw(represented):
    inputs, _ = clusters(0)
    blind = parted(inputs) | {"non_members": np.random.default_rng(3).normal(size=(300, inputs.shape[1]))}
    assert represented(blind, [])["probe_forget"] < 0.5
    by_hand = linear_probe_accuracy(inputs, clusters(0)[1], PARTS["non_members"], PARTS["test"])
    assert represented(parted(inputs), [])["probe_test"] == by_hand
