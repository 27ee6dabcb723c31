"""A small model with a BadNets backdoor, and the task of a defender who holds 64 clean images."""

import pytest
import torch

from attacks.badnets import BadNets
from benchmark.api import DefenseTask, Recipe, Split
from benchmark.data.datasets import load_dataset
from benchmark.models import build_model
from benchmark.training import silent, train

TARGET = 0
RECIPE = Recipe("test", "sgd", 0.05, epochs=15, batch_size=16, schedule="onecycle")


@pytest.fixture(scope="session")
def dataset():
    return load_dataset("bloodmini")


@pytest.fixture(scope="session")
def backdoored_weights(dataset):
    """State dict of a cnn-small trained on 240 images, the first 60 of other classes stamped and called TARGET."""
    images, labels = dataset.images[:240].clone(), dataset.labels[:240].clone()
    poisoned = torch.nonzero(labels != TARGET).flatten()[:60]
    images[poisoned] = BadNets().stamp(images[poisoned])
    labels[poisoned] = TARGET
    model = build_model("cnn-small", channels=3, num_classes=8, seed=1)
    return train(model, Split(images, labels, seed=2), RECIPE).state_dict()


@pytest.fixture
def backdoored(backdoored_weights):
    """A fresh copy of the backdoored model for each call; of another architecture it is an untrained one."""

    def make(architecture="cnn-small", channels=3):
        model = build_model(architecture, channels=channels, num_classes=8, seed=1)
        if (architecture, channels) == ("cnn-small", 3):
            model.load_state_dict(backdoored_weights)
        return model

    return make


@pytest.fixture
def defense_task(dataset):
    """The task with images 240 to 303, which the model has not seen, or with a split of the test's own.

    A new one for each call, since drawing from a task changes its streams.
    """

    def make(seed=0, clean=None, insertion_point="network.8"):
        pool = Split(dataset.images[240:304], dataset.labels[240:304], seed) if clean is None else clean
        return DefenseTask(
            clean=pool,
            num_classes=8,
            recipe=RECIPE,
            generator=torch.Generator().manual_seed(seed + 1),
            fresh_model=lambda: build_model("cnn-small", channels=pool.images.shape[1], num_classes=8, seed=seed + 2),
            fit=lambda model, split: train(model, split, RECIPE),
            insertion_point=insertion_point,
            progress=silent,
        )

    return make


@pytest.fixture
def triggered(dataset):
    """200 stamped test images of other classes under the label TARGET: accuracy on them is the attack's success."""
    rows = torch.nonzero(dataset.labels[304:] != TARGET).flatten()[:200] + 304
    return Split(BadNets().stamp(dataset.images[rows]), torch.full((200,), TARGET), seed=0)
