"""Channel-Lipschitz pruning against numpy, channel by channel."""

import numpy as np
import pytest
import torch
from torch import nn

from methods.defenses.clp import ChannelLipschitzPruning, lipschitz_bounds
from methods.layers import convolution_norm_pairs
from tests.helpers import same_bits

ARCHITECTURES = ["cnn-small", "resnet18-quarter", "timm:resnet10t"]


def bounds_in_numpy(convolution, norm):
    scale = np.abs(norm.weight.detach().numpy() / np.sqrt(norm.running_var.numpy() + norm.eps))
    kernels = convolution.weight.detach().numpy()
    return np.array(
        [
            np.linalg.svd(kernel.reshape(kernel.shape[0], -1) * factor, compute_uv=False)[0]
            for kernel, factor in zip(kernels, scale, strict=True)
        ]
    )


def shaken(model):
    """Every batch norm with scales of both signs and variances of its own, as after training."""
    draw = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for _, norm in convolution_norm_pairs(model):
            norm.weight.copy_(torch.randn(norm.num_features, generator=draw))
            norm.bias.copy_(torch.randn(norm.num_features, generator=draw))
            norm.running_var.copy_(torch.rand(norm.num_features, generator=draw) + 0.1)
    return model


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_the_bound_is_the_spectral_norm_of_each_scaled_kernel(backdoored, architecture):
    for convolution, norm in convolution_norm_pairs(shaken(backdoored(architecture))):
        expected = bounds_in_numpy(convolution, norm)
        np.testing.assert_allclose(lipschitz_bounds(convolution, norm).numpy(), expected, rtol=1e-4)


def test_a_grouped_convolutions_kernels_are_as_narrow_as_their_groups():
    convolution, norm = nn.Conv2d(12, 12, 3, groups=12), nn.BatchNorm2d(12)
    expected = convolution.weight.flatten(1).norm(dim=1) / np.sqrt(1 + norm.eps)
    torch.testing.assert_close(lipschitz_bounds(convolution, norm), expected.detach())


@pytest.mark.parametrize("u", [0.0, 1.0, 3.0])
@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_the_pruned_channels_are_the_outliers_of_their_own_layer(backdoored, defense_task, architecture, u):
    before, after = shaken(backdoored(architecture)), shaken(backdoored(architecture))
    ChannelLipschitzPruning(u=u).defend(after, defense_task())
    for (convolution, old), (_, new) in zip(convolution_norm_pairs(before), convolution_norm_pairs(after), strict=True):
        bounds = bounds_in_numpy(convolution, old)
        pruned = torch.from_numpy(bounds > bounds.mean() + u * bounds.std(ddof=1))
        assert torch.equal(new.weight, torch.where(pruned, 0, old.weight))
        assert torch.equal(new.bias, torch.where(pruned, 0, old.bias))


@pytest.mark.parametrize("block", [0, 1, 2])
def test_a_planted_amplifier_is_pruned_and_nothing_else_changes(backdoored, defense_task, block):
    model, untouched = backdoored(), backdoored()
    pairs, others = convolution_norm_pairs(model), convolution_norm_pairs(untouched)
    for norms in (pairs, others):
        with torch.no_grad():
            norms[block][0].weight[5] *= 100
    ChannelLipschitzPruning().defend(model, defense_task())
    assert not pairs[block][1].weight[5]
    assert not pairs[block][1].bias[5]
    with torch.no_grad():
        others[block][1].weight[5] = others[block][1].bias[5] = 0
    assert same_bits(pairs[block][0].state_dict(), others[block][0].state_dict())
    assert same_bits(pairs[block][1].state_dict(), others[block][1].state_dict())


def test_in_a_layer_of_ten_channels_even_an_extreme_one_stays(defense_task):
    model = nn.Sequential(nn.Conv2d(3, 10, 3), nn.BatchNorm2d(10))
    with torch.no_grad():
        model[0].weight[0] *= 1e6
    assert ChannelLipschitzPruning().defend(model, defense_task())[1].weight.all()


def test_no_image_is_looked_at(backdoored):
    model = ChannelLipschitzPruning().defend(backdoored(), task=None)
    assert isinstance(model, torch.nn.Module)


def test_a_limit_below_the_mean_is_refused():
    with pytest.raises(ValueError, match="u must be at least 0"):
        ChannelLipschitzPruning(u=-1.0)
