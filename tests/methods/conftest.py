"""A small trained model and the task of unlearning a part of its data."""

import pytest
import torch

from benchmark.api import Recipe, Split, UnlearningTask
from benchmark.data.datasets import load_dataset
from benchmark.models import build_model
from benchmark.training import silent, train

RECIPE = Recipe("test", "sgd", 0.05, epochs=3, batch_size=32)


@pytest.fixture(scope="session")
def blood():
    """(images, labels) of 240 real blood-cell images."""
    dataset = load_dataset("bloodmini")
    return dataset.images[:240], dataset.labels[:240]


@pytest.fixture(scope="session")
def weights(blood):
    """State dict of a model trained on all of them."""
    return train(
        build_model("cnn-small", channels=3, num_classes=8, seed=1), Split(*blood, seed=2), RECIPE
    ).state_dict()


@pytest.fixture
def trained(weights):
    """A fresh copy of that model for each call."""

    def make():
        model = build_model("cnn-small", channels=3, num_classes=8, seed=0)
        model.load_state_dict(weights)
        return model

    return make


@pytest.fixture
def task(blood):
    """The task of forgetting 48 of the 240; a new one for each call, since drawing from a task changes its streams."""
    images, labels = blood

    def make(seed=0, num_classes=8):
        return UnlearningTask(
            forget=Split(images[:48], labels[:48], seed),
            retain=Split(images[48:200], labels[48:200], seed + 1),
            validation=Split(images[200:], labels[200:], seed + 2),
            num_classes=num_classes,
            recipe=RECIPE,
            generator=torch.Generator().manual_seed(seed + 3),
            fresh_model=lambda: build_model("cnn-small", channels=3, num_classes=8, seed=seed + 4),
            fit=lambda model, split: train(model, split, RECIPE),
            progress=silent,
        )

    return make
