"""Channel-Lipschitz pruning: without any data, prune the channels that can amplify their input far more than the rest.

    L_c = || K_c * gamma_c / sqrt(var_c + e) ||_2,   K_c: kernel of output channel c as a matrix (inputs, k * k)
    prune (gamma = beta = 0) where  L_c > mean(L) + u * std(L)  over the channels of the layer

Source: Zheng et al., Data-free Backdoor Removal based on Channel Lipschitzness, ECCV 2022; u = 3. std is the sample's
(n - 1). Of n channels none can lie more than (n - 1) / sqrt(n) deviations above the mean: layers of ten channels or
fewer are never pruned at u = 3.

Which batch norm follows which convolution is read off the order of modules and the number of channels, as in
BackdoorBench. In pre-activation nets a block's first batch norm is thus paired with the last convolution before it,
although the shortcut's sum lies between the two.
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from benchmark.api import DefenseTask, backdoor_defense
from methods.layers import convolution_norm_pairs, prune_channels


@backdoor_defense("clp", version=1, data_free=True)
@dataclass(frozen=True)
class ChannelLipschitzPruning:
    u: float = 3.0
    """Standard deviations above a layer's mean bound from which on a channel is pruned."""

    def __post_init__(self) -> None:
        """Refuse a limit below the mean."""
        if self.u < 0:
            raise ValueError(f"u must be at least 0, not {self.u}")

    def defend(self, model: nn.Module, task: DefenseTask) -> nn.Module:
        """Prune outliers layer by layer; each bound depends on its own layer alone."""
        for convolution, norm in convolution_norm_pairs(model):
            bounds = lipschitz_bounds(convolution, norm)
            prune_channels([norm], bounds > bounds.mean() + self.u * bounds.std(), shift=True)
        return model


@torch.no_grad()
def lipschitz_bounds(convolution: nn.Conv2d, norm: nn.BatchNorm2d) -> Tensor:
    """Bound of each output channel: float (channels,)."""
    kernels = convolution.weight.flatten(2)
    spectral: Tensor = torch.linalg.matrix_norm(kernels, ord=2)
    return spectral * (norm.weight / torch.sqrt(norm.get_buffer("running_var") + norm.eps)).abs()
