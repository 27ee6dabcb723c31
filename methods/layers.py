"""What several defences ask of a network: its last linear layer and what goes into it, and its batch norms."""

import torch
from torch import Tensor, nn

from benchmark.api import Split, Unsupported


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
