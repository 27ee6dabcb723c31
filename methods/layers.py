"""What several defences ask of a network: its last linear layer and what goes into it, and its batch norms."""

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor, nn
from torch.func import functional_call

from benchmark.api import Split, Unsupported

Statistics = Literal["batch", "running"]
"""What batch norms normalise with: the batch's own mean and variance (training mode) or the stored ones (eval)."""


def final_linear(model: nn.Module) -> nn.Linear:
    """The last linear layer.

    Raises:
        Unsupported: there is none.
    """
    linear = [module for module in model.modules() if isinstance(module, nn.Linear)]
    if not linear:
        raise Unsupported("the architecture has no linear layer")
    return linear[-1]


@torch.no_grad()
def penultimate_features(model: nn.Module, split: Split, batch_size: int = 1024) -> Tensor:
    """What goes into the last linear layer, in eval mode and in the order of the split: float32 (n, features)."""
    found: list[Tensor] = []
    hook = final_linear(model).register_forward_pre_hook(lambda _, inputs: found.append(inputs[0].detach().flatten(1)))
    model.eval()
    try:
        for images, _ in split.in_order(batch_size):
            model(images)
    finally:
        hook.remove()
    return torch.cat(found)


def batch_norms(model: nn.Module) -> list[nn.BatchNorm2d]:
    """All batch norms over feature maps that have scale and shift, in module order.

    Raises:
        Unsupported: there is none.
    """
    norms = [module for module in model.modules() if isinstance(module, nn.BatchNorm2d) and module.affine]
    if not norms:
        raise Unsupported("the architecture has no batch norm to prune")
    return norms


def convolution_norm_pairs(model: nn.Module) -> list[tuple[nn.Conv2d, nn.BatchNorm2d]]:
    """Each batch norm with the convolution that comes last before it in module order, if the channels agree.

    Raises:
        Unsupported: no two agree.
    """
    pairs: list[tuple[nn.Conv2d, nn.BatchNorm2d]] = []
    waiting: nn.Conv2d | None = None
    for module in model.modules():
        if isinstance(module, nn.Conv2d):
            waiting = module
        elif isinstance(module, nn.BatchNorm2d) and waiting is not None:
            if module.affine and module.running_var is not None and module.num_features == waiting.out_channels:
                pairs.append((waiting, module))
            waiting = None
    if not pairs:
        raise Unsupported("the architecture has no convolution with a batch norm behind it")
    return pairs


@torch.no_grad()
def prune_channels(norms: Sequence[nn.BatchNorm2d], pruned: Tensor, *, shift: bool) -> None:
    """Zero the scale of channels, and with `shift` what is added to them too.

    `pruned`: boolean, the channels of all the norms one after another.
    """
    for norm, rows in zip(norms, pruned.split([norm.num_features for norm in norms]), strict=True):
        norm.weight[rows] = 0
        if shift:
            norm.bias[rows] = 0


class RescaledNorms:
    """Forward passes of a model whose batch norms are rescaled channel by channel; the model keeps all its tensors.

    y = scale * gamma * x_normalised + shift * beta,   scale and shift holding all norms' channels one after another

    No gradient reaches the model's own weights, so none is computed. Under `batch` statistics the stored ones are
    neither used nor changed. Whatever else knows a training mode, such as dropout, stays in eval mode.
    """

    def __init__(self, model: nn.Module, statistics: Statistics) -> None:
        norms = batch_norms(model)
        names = {module: name for name, module in model.named_modules()}
        self.model = model.eval()
        self.channels = [norm.num_features for norm in norms]
        self.scale_names = [f"{names[norm]}.weight" for norm in norms]
        self.shift_names = [f"{names[norm]}.bias" for norm in norms]
        self.gamma = torch.cat([norm.weight.detach() for norm in norms])
        self.beta = torch.cat([norm.bias.detach() for norm in norms])
        self.tensors = {name: parameter.detach() for name, parameter in model.named_parameters()}
        self.tensors |= {name: buffer.clone() for name, buffer in model.named_buffers()}  # training mode writes to them
        for module in model.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.train(statistics == "batch")

    def __call__(self, images: Tensor, scale: Tensor, shift: Tensor | float = 1.0) -> Tensor:
        """The logits."""
        scales = zip(self.scale_names, (scale * self.gamma).split(self.channels), strict=True)
        shifts = zip(self.shift_names, (shift * self.beta).split(self.channels), strict=True)
        logits: Tensor = functional_call(self.model, self.tensors | dict(scales) | dict(shifts), (images,))
        return logits
