"""What the pruning defences share, against a network of which every value can be written down."""

import pytest
import torch
from torch import nn

from benchmark.api import Split, Unsupported
from benchmark.models import build_model
from methods.layers import RescaledNorms, batch_norms, convolution_norm_pairs, penultimate_features, prune_channels
from tests.helpers import same_bits

ARCHITECTURES = ["cnn-small", "resnet18-quarter", "timm:resnet10t"]


@pytest.fixture
def images():
    return torch.rand((6, 3, 28, 28), generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("statistics", ["batch", "running"])
@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_rescaled_norms_compute_what_the_model_with_multiplied_weights_computes(
    backdoored, architecture, statistics, images
):
    network = RescaledNorms(backdoored(architecture), statistics)
    draw = torch.Generator().manual_seed(1)
    scale, shift = torch.rand((2, sum(network.channels)), generator=draw)

    expected = backdoored(architecture).train(statistics == "batch")
    norms = batch_norms(expected)
    sizes = [norm.num_features for norm in norms]
    with torch.no_grad():
        for norm, factor, offset in zip(norms, scale.split(sizes), shift.split(sizes), strict=True):
            norm.weight *= factor
            norm.bias *= offset
    torch.testing.assert_close(network(images, scale, shift), expected(images))


@pytest.mark.parametrize("statistics", ["batch", "running"])
def test_rescaled_norms_leave_the_model_as_it_was(backdoored, statistics, images):
    model = backdoored()
    network = RescaledNorms(model, statistics)
    scale = torch.ones(sum(network.channels), requires_grad=True)
    network(images, scale).sum().backward()
    assert same_bits(model.state_dict(), backdoored().state_dict())
    assert all(parameter.grad is None and parameter.requires_grad for parameter in model.parameters())
    assert scale.grad is not None


def test_pruned_channels_are_zero_whatever_comes_in(backdoored, images):
    model = backdoored().eval()
    pruned = torch.zeros(16 + 32 + 64, dtype=torch.bool)
    pruned[[3, 16, 111]] = True
    prune_channels(batch_norms(model), pruned, shift=True)
    blocks = model.get_submodule("network")
    assert not blocks[:2](images)[:, 3].any()
    assert blocks[:2](images)[:, 2].any()
    assert not blocks[:6](images)[:, 0].any()
    assert not blocks[:10](images)[:, 63].any()


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_every_batch_norm_of_a_post_activation_net_belongs_to_the_convolution_that_feeds_it(architecture, images):
    model = build_model(architecture, channels=3, num_classes=8, seed=0).eval()
    produced, fed = [], {}  # outputs are kept: an id is unique among living tensors alone

    def note(module, inputs, output):
        if isinstance(module, nn.BatchNorm2d):
            fed[module] = next(source for source, made in produced if made is inputs[0])
        produced.append((module, output))

    for module in model.modules():
        module.register_forward_hook(note)
    model(images)
    assert {norm: convolution for convolution, norm in convolution_norm_pairs(model)} == fed


def test_a_batch_norm_is_not_paired_across_another_one_or_with_other_channels():
    first, second = nn.Conv2d(3, 4, 1), nn.Conv2d(4, 5, 1)
    norm = nn.BatchNorm2d(4)
    model = nn.Sequential(nn.BatchNorm2d(3), first, norm, nn.BatchNorm2d(4), second, nn.BatchNorm2d(4))
    assert convolution_norm_pairs(model) == [(first, norm)]


def test_penultimate_features_through_the_last_layer_are_the_logits(backdoored, dataset):
    split = Split(dataset.images[:40], dataset.labels[:40], seed=0)
    model = backdoored().eval()
    logits = model(split.images.float() / 255)
    features = penultimate_features(model, split, batch_size=16)
    torch.testing.assert_close(model.get_submodule("network")[-1](features), logits)


def test_nets_without_what_is_asked_for_are_refused_in_words():
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.Flatten(), nn.Linear(4, 2))
    with pytest.raises(Unsupported, match="no batch norm"):
        batch_norms(model)
    with pytest.raises(Unsupported, match="no convolution with a batch norm"):
        convolution_norm_pairs(model)
    with pytest.raises(Unsupported, match="no linear layer"):
        penultimate_features(nn.Sequential(nn.Flatten()), Split(torch.zeros(1), torch.zeros(1), 0))


def test_pruning_the_scale_alone_is_what_a_mask_of_zero_computes(backdoored, images):
    pruned = torch.zeros(16 + 32 + 64, dtype=torch.bool)
    pruned[[3, 16, 111]] = True
    masked = RescaledNorms(backdoored(), "running")(images, (~pruned).float())
    model = backdoored().eval()
    prune_channels(batch_norms(model), pruned, shift=False)
    torch.testing.assert_close(model(images), masked)
