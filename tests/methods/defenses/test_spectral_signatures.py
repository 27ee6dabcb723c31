"""Spectral signatures against numpy's SVD, on planted directions, and from end to end."""

from functools import partial

import numpy as np
import pytest
import torch
from torch import nn

from methods.defenses.ordinary_training import OrdinaryTraining
from methods.defenses.spectral_signatures import SpectralSignatures, outlier_scores
from tests.helpers import poisoned_task, same_bits


@pytest.fixture
def poisoned(dataset):
    """The task of training on poisoned images; a new one for each call."""
    return partial(poisoned_task, dataset)


@pytest.fixture(scope="module")
def features():
    """(features, labels, planted) of 3 classes of 100, the last 15 of class 1 moved along one direction."""
    generator = torch.Generator().manual_seed(0)
    found, labels = torch.randn(300, 20, generator=generator), torch.arange(3).repeat_interleave(100)
    planted = torch.zeros(300, dtype=torch.bool)
    planted[185:200] = True
    found[planted] += 3 * torch.ones(20)
    return found, labels, planted


def test_the_scores_are_squared_projections_on_numpys_top_right_singular_vector(features):
    found, labels, _ = features
    scores = outlier_scores(found, labels).numpy()
    for label in range(3):
        own = found[labels == label].double().numpy()
        centred = own - own.mean(axis=0)
        direction = np.linalg.svd(centred, full_matrices=False)[2][0]
        np.testing.assert_allclose(scores[labels.numpy() == label], (centred @ direction) ** 2, rtol=1e-6, atol=1e-9)


def test_a_planted_direction_is_found(features):
    found, labels, planted = features
    suspects = SpectralSignatures().suspects(found, labels)
    assert torch.equal(suspects[labels == 1], planted[labels == 1])


@pytest.mark.parametrize("share", [0.0, 0.15, 0.4])
def test_the_same_share_goes_from_every_class_and_they_are_its_highest_scores(features, share):
    found, labels, _ = features
    scores, suspects = outlier_scores(found, labels), SpectralSignatures(removed_share=share).suspects(found, labels)
    for label in range(3):
        gone, kept = scores[suspects & (labels == label)], scores[~suspects & (labels == label)]
        assert len(gone) == round(share * 100)
        assert len(gone) == 0 or gone.min() >= kept.max()


def test_a_class_of_one_image_is_kept():
    suspects = SpectralSignatures().suspects(torch.randn(21, 4), torch.tensor([0] * 20 + [1]))
    assert suspects.sum() == 3
    assert not suspects[20]


def test_the_model_is_trained_anew_on_what_is_left(poisoned):
    served = []
    model = SpectralSignatures().train(poisoned(served=served))
    labels = served[0].labels
    left = torch.bincount(labels) - torch.tensor([round(0.15 * int(count)) for count in torch.bincount(labels)])
    assert torch.equal(torch.bincount(served[1].labels), left)
    assert all(bool(torch.isfinite(weight).all()) for weight in model.state_dict().values())
    assert isinstance(model[-1][-1], nn.Linear)
    ordinary = OrdinaryTraining().train(poisoned())
    assert ordinary.state_dict().keys() == model.state_dict().keys()
    assert not same_bits(ordinary.state_dict(), model.state_dict())


def test_the_same_seeds_give_the_same_bits(poisoned):
    first, second = (SpectralSignatures().train(poisoned()) for _ in range(2))
    assert same_bits(first.state_dict(), second.state_dict())


def test_ordinary_training_is_the_suites_training(poisoned):
    task = poisoned()
    expected = task.fit(task.fresh_model(), poisoned().train)
    assert same_bits(OrdinaryTraining().train(task).state_dict(), expected.state_dict())


@pytest.mark.parametrize("share", [-0.1, 1.0])
def test_a_share_out_of_range_is_refused(share):
    with pytest.raises(ValueError, match="removed_share must lie in"):
        SpectralSignatures(removed_share=share)
