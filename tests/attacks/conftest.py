"""Real images in grey and in colour, of any size, and what an attacker is handed."""

import copy

import pytest
import torch
from torch.nn.functional import interpolate

from benchmark.api import AttackTask, Recipe, Split
from benchmark.data.datasets import load_dataset
from benchmark.models import build_model
from benchmark.training import silent, train

RECIPE = Recipe("test", "sgd", 0.1, epochs=12, batch_size=32)


@pytest.fixture(scope="session")
def pictures():
    """How to get 240 blood cells, (images, labels), with so many channels and of this size."""
    dataset = load_dataset("bloodmini")

    def get(channels=3, height=28, width=None):
        images = dataset.images[:240].float()
        images = images if channels == 3 else images.mean(dim=1, keepdim=True)
        images = interpolate(images, (height, width or height), mode="bilinear", antialias=True)
        return images.round().clamp(0, 255).byte(), dataset.labels[:240]

    return get


@pytest.fixture(scope="session")
def clean_model(pictures):
    """A model trained on 28-pixel images with so many channels."""
    trained = {}

    def get(channels=3):
        if channels not in trained:
            model = build_model("cnn-small", channels=channels, num_classes=8, seed=1)
            trained[channels] = train(model, Split(*pictures(channels), seed=2), RECIPE)
        return copy.deepcopy(trained[channels])

    return get


@pytest.fixture(scope="session")
def attack_task(pictures, clean_model):
    """The task on such images with target 2; a new one for each call, since drawing from a task changes its streams."""

    def make(channels=3, height=28, width=None, seed=0):
        return AttackTask(
            train=Split(*pictures(channels, height, width), seed=seed),
            target=2,
            poisoned=torch.arange(0, 24),
            cover=torch.arange(24, 48),
            num_classes=8,
            generator=torch.Generator().manual_seed(seed + 1),
            clean_model=lambda: clean_model(channels),
            progress=silent,
        )

    return make
