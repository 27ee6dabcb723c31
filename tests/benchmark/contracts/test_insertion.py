"""Inserted layers: a model that has them is stored as weights and built again from them, to the last bit."""

import json

import pytest
import torch
from torch import nn

from benchmark.api import insert_before
from benchmark.contracts.insertion import insertions_of, rebuild
from benchmark.models import INSERTION_POINTS, build_model
from tests.helpers import same_bits

ARCHITECTURES = {"cnn-small": (64, 64), "resnet18-quarter": (128, 128)}
"""Name -> channels at its insertion point, and inputs of its last linear layer `network.13`."""


def convolution(channels):
    return ("Conv2d", {"in_channels": channels, "out_channels": channels, "kernel_size": 1})


def block(channels):
    return [convolution(channels), ("BatchNorm2d", {"num_features": channels}), ("ReLU", {})]


def dense(features):
    return [("Linear", {"in_features": features, "out_features": features, "bias": False})]


def fresh(architecture, seed=0):
    return build_model(architecture, channels=3, num_classes=4, seed=seed)


def changed(model):
    """Every weight and statistic moved, so that nothing equals a fresh model by chance."""
    generator = torch.Generator().manual_seed(7)
    with torch.no_grad():
        for value in model.state_dict().values():
            if value.is_floating_point() and value.ndim:
                value.add_(0.05 * torch.rand(value.shape, generator=generator))
    return model.eval()


def late(architecture):
    return [(INSERTION_POINTS[architecture], block(ARCHITECTURES[architecture][0]))]


def at_two_places(architecture):
    return [*late(architecture), ("network.13", dense(ARCHITECTURES[architecture][1]))]


def at_two_places_backwards(architecture):
    return at_two_places(architecture)[::-1]


def nested(architecture):
    point, channels = INSERTION_POINTS[architecture], ARCHITECTURES[architecture][0]
    return [(point, block(channels)), (point, [convolution(channels)]), (point, block(channels)[1:])]


def nested_and_elsewhere(architecture):
    return [("network.13", dense(ARCHITECTURES[architecture][1])), *nested(architecture)]


PLANS = [late, at_two_places, at_two_places_backwards, nested, nested_and_elsewhere]


def inserted(architecture, plan):
    model = fresh(architecture)
    for path, layers in plan(architecture):
        insert_before(model, path, layers)
    return changed(model)


@pytest.fixture(scope="module")
def images():
    return torch.rand(5, 3, 28, 28, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("plan", PLANS)
@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_a_rebuilt_model_takes_the_weights_and_gives_the_same_logits(architecture, plan, images):
    model = inserted(architecture, plan)
    stored = json.loads(json.dumps(insertions_of(model)))  # as an artifact keeps it
    again = rebuild(fresh(architecture, seed=1), stored)
    again.load_state_dict(model.state_dict())
    assert insertions_of(again) == insertions_of(model)
    assert len(stored) == len(plan(architecture))
    with torch.no_grad():
        assert torch.equal(again.eval()(images), model(images))


def test_layers_within_a_block_and_in_front_of_it_are_rebuilt(images):
    model = fresh("resnet18-quarter")
    insert_before(model, "network.3.conv1", [convolution(16)])
    insert_before(model, "network.3", block(16))
    again = rebuild(fresh("resnet18-quarter", seed=1), insertions_of(model))
    again.load_state_dict(changed(model).state_dict())
    with torch.no_grad():
        assert torch.equal(again.eval()(images), model(images))


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_a_model_without_insertions_has_none(architecture):
    assert insertions_of(fresh(architecture)) == []


@pytest.mark.parametrize("plan", PLANS)
@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_identity_layers_keep_the_logits(architecture, plan, images):
    model = fresh(architecture).eval()
    with torch.no_grad():
        before = model(images)
        for path, layers in plan(architecture):
            added = insert_before(model, path, [layer for layer in layers if layer[0] in ("Conv2d", "Linear", "ReLU")])
            for layer in added:
                for name, weight in layer.named_parameters():
                    weight.copy_(torch.eye(len(weight)).view_as(weight) if name == "weight" else torch.zeros(1))
        # ReLU follows ReLU or pooling here: what comes in is not negative, and it changes nothing.
        torch.testing.assert_close(model(images), before, rtol=0, atol=1e-5)


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_the_layers_that_come_back_are_those_of_the_model(architecture):
    model = fresh(architecture)
    added = insert_before(model, *late(architecture)[0])
    assert [type(layer) for layer in added] == [nn.Conv2d, nn.BatchNorm2d, nn.ReLU]
    own = {id(parameter) for parameter in model.parameters()}
    assert all(id(parameter) in own for parameter in added.parameters())
    assert sum(1 for _ in model.parameters()) == sum(1 for _ in fresh(architecture).parameters()) + 4


@pytest.mark.parametrize(
    ("path", "layers", "error"),
    [
        ("network.8", [("Dropout", {"p": 0.5})], KeyError),
        ("network.8", [convolution(32), ("Sequential", {})], KeyError),
        ("network.99", [convolution(32)], AttributeError),
    ],
)
def test_what_cannot_be_inserted_is_refused_and_leaves_the_model_alone(path, layers, error):
    model = fresh("cnn-small")
    with pytest.raises(error):
        insert_before(model, path, layers)
    assert insertions_of(model) == []
    assert same_bits(model.state_dict(), fresh("cnn-small").state_dict())
