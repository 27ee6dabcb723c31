"""Activation clustering on planted clusters, by both reductions and both rules, and from end to end."""

from functools import partial

import numpy as np
import pytest
import torch

from methods.defenses.activation_clustering import ActivationClustering
from tests.helpers import poisoned_task, same_bits


@pytest.fixture
def poisoned(dataset):
    """The task of training on poisoned images; a new one for each call."""
    return partial(poisoned_task, dataset)


def clusters(sizes, dimensions=20, distance=10.0, seed=0):
    """(features, labels, planted): one class for each entry, so many of its 200 images in a cluster of their own."""
    generator = torch.Generator().manual_seed(seed)
    features = torch.randn(200 * len(sizes), dimensions, generator=generator)
    planted = torch.cat([torch.arange(200) < size for size in sizes])
    features[planted] += distance / dimensions**0.5
    return features, torch.arange(len(sizes)).repeat_interleave(200), planted


@pytest.mark.parametrize("reduction", ["ica", "pca"])
@pytest.mark.parametrize("size", [20, 60])
def test_a_planted_cluster_is_found_and_no_other_class_is_touched(reduction, size):
    features, labels, planted = clusters([0, size, 0])
    suspects = ActivationClustering(reduction=reduction).suspects(features, labels, seed=0)
    assert torch.equal(suspects, planted)


@pytest.mark.parametrize("reduction", ["ica", "pca"])
def test_a_cluster_above_the_threshold_of_size_is_kept(reduction):
    features, labels, planted = clusters([80])
    assert not ActivationClustering(reduction=reduction).suspects(features, labels, seed=0).any()
    wider = ActivationClustering(reduction=reduction, size_threshold=0.45, silhouette_threshold=0.05)
    assert torch.equal(wider.suspects(features, labels, seed=0), planted)


def test_a_small_cluster_that_is_not_apart_is_kept():
    features, labels, _ = clusters([20])
    assert not ActivationClustering(silhouette_threshold=0.9).suspects(features, labels, seed=0).any()


def test_dropping_always_takes_the_smaller_half_of_every_class():
    features, labels, planted = clusters([0, 20, 0])
    suspects = ActivationClustering(drop="always").suspects(features, labels, seed=0)
    assert torch.equal(suspects[labels == 1], planted[labels == 1])
    for label in (0, 2):
        assert 0 < suspects[labels == label].sum() <= 100


@pytest.mark.parametrize("drop", ["suspicious", "always"])
@pytest.mark.parametrize("count", [1, 2, 10])
def test_a_class_with_no_more_images_than_dimensions_is_kept(drop, count):
    features = torch.randn(count, 20, generator=torch.Generator().manual_seed(0))
    method = ActivationClustering(drop=drop, dimensions=10)
    assert not method.suspects(features, torch.zeros(count, dtype=torch.int64), seed=0).any()


@pytest.mark.parametrize("drop", ["suspicious", "always"])
def test_a_class_of_equal_features_is_kept(drop):
    features, labels = torch.full((40, 20), 0.1), torch.zeros(40, dtype=torch.int64)
    assert not ActivationClustering(drop=drop).suspects(features, labels, seed=0).any()


@pytest.mark.parametrize("reduction", ["ica", "pca"])
def test_features_are_reduced_to_ten_dimensions_or_to_those_that_they_span(reduction):
    features = np.random.default_rng(0).normal(size=(50, 20)).astype(np.float32).astype(float)
    assert ActivationClustering(reduction=reduction).reduce(features, seed=0).shape == (50, 10)
    features[:, 4:] = 0.0  # dead channels
    reduced = ActivationClustering(reduction=reduction).reduce(features, seed=0)
    assert reduced.shape == (50, 4)
    assert np.isfinite(reduced).all()


def test_where_nothing_is_suspected_the_model_is_that_of_ordinary_training(poisoned):
    served = []
    model = ActivationClustering(silhouette_threshold=1.0).train(poisoned(served=served))
    assert len(served) == 1
    expected = poisoned().fit(poisoned().fresh_model(), poisoned().train)
    assert same_bits(model.state_dict(), expected.state_dict())


@pytest.mark.parametrize("reduction", ["ica", "pca"])
def test_the_model_is_trained_anew_without_the_suspects_and_the_same_seeds_give_the_same_bits(poisoned, reduction):
    served, method = [], ActivationClustering(drop="always", reduction=reduction)
    first, second = method.train(poisoned(served=served)), method.train(poisoned())
    assert 120 <= len(served[1]) < len(served[0]) == 240
    assert all(bool(torch.isfinite(weight).all()) for weight in first.state_dict().values())
    assert first.state_dict().keys() == poisoned().fresh_model().state_dict().keys()
    assert same_bits(first.state_dict(), second.state_dict())


@pytest.mark.parametrize(
    ("name", "value"), [("dimensions", 0), ("restarts", 0), ("size_threshold", 0.6), ("silhouette_threshold", 1.5)]
)
def test_hyper_parameters_out_of_range_are_refused(name, value):
    with pytest.raises(ValueError, match=f"{name}.* must"):
        ActivationClustering(**{name: value})
