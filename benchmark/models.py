"""Architectures by name. Every model takes float images in [0, 1]; normalisation is its first layer (PROTOCOL 8.1)."""

from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from benchmark.errors import MedsafeError, unknown


class Normalise(nn.Module):
    """(x - mean) / std, with buffers that travel with the weights."""

    mean: Tensor
    std: Tensor

    def __init__(self, mean: float, std: float) -> None:
        super().__init__()
        self.register_buffer("mean", torch.tensor(mean))
        self.register_buffer("std", torch.tensor(std))

    def forward(self, images: Tensor) -> Tensor:
        """Float (n, channels, height, width) -> the same shape."""
        return (images - self.mean) / self.std


def cnn_small(channels: int, num_classes: int) -> nn.Module:
    """Three conv-BN-ReLU blocks of 16, 32 and 64 channels with max-pooling between: for a CPU."""

    def block(inputs: int, outputs: int) -> list[nn.Module]:
        return [nn.Conv2d(inputs, outputs, 3, padding=1, bias=False), nn.BatchNorm2d(outputs), nn.ReLU(inplace=True)]

    return nn.Sequential(
        *block(channels, 16), nn.MaxPool2d(2),
        *block(16, 32), nn.MaxPool2d(2),
        *block(32, 64), nn.AdaptiveAvgPool2d(1),
        nn.Flatten(), nn.Linear(64, num_classes),
    )  # fmt: skip


def resnet18(channels: int, num_classes: int, width: int = 64) -> nn.Module:
    """MedMNIST's ResNet-18 for 28 px: a 3x3 stem of stride 1, no max-pooling. `width` is the first stage's channels."""
    from torchvision.models.resnet import BasicBlock  # its import takes a second, and the small net needs none of it

    def stage(inputs: int, outputs: int, stride: int) -> list[nn.Module]:
        shortcut = nn.Sequential(nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs))
        first = BasicBlock(inputs, outputs, stride, shortcut if stride > 1 else None)
        return [first, BasicBlock(outputs, outputs)]

    stages = [stage(width, width, 1), *(stage(width << i, width << i + 1, 2) for i in range(3))]
    return nn.Sequential(
        nn.Conv2d(channels, width, 3, padding=1, bias=False), nn.BatchNorm2d(width), nn.ReLU(inplace=True),
        *(block for blocks in stages for block in blocks),
        nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8 * width, num_classes),
    )  # fmt: skip


def _timm(name: str, channels: int, num_classes: int) -> nn.Module:
    import timm

    model: nn.Module = timm.create_model(name, pretrained=False, in_chans=channels, num_classes=num_classes)
    return model


ARCHITECTURES: dict[str, Callable[[int, int], nn.Module]] = {
    "cnn-small": cnn_small,
    "resnet18-quarter": lambda channels, num_classes: resnet18(channels, num_classes, width=16),
    "resnet18": resnet18,
}


INSERTION_POINTS = {
    "cnn-small": "network.11",  # pooling: behind the last stage
    "resnet18-quarter": "network.11",
    "resnet18": "network.11",
}
"""In front of which module a layer sees an architecture's late feature maps (n, channels, height, width).

Behind the last stage, where Neural Polarizer's authors put their layer in networks that end a stage with a ReLU.
"""


def insertion_point(name: str, model: nn.Module) -> str | None:
    """The architecture's entry; else global pooling; else the last convolution with a window, not the stem; or None."""
    if name in INSERTION_POINTS:
        return INSERTION_POINTS[name]
    pools: list[str] = [path for path, _ in model.named_modules() if path.rpartition(".")[2] == "global_pool"]
    if pools:
        return pools[0]
    convolutions = [(path, module) for path, module in model.named_modules() if isinstance(module, nn.Conv2d)]
    windows = [path for path, module in convolutions[1:] if max(module.kernel_size) > 1]
    return windows[-1] if windows else None


def check_architecture(name: str) -> None:
    """Raise MedsafeError unless `build_model` knows the name."""
    if name.startswith("timm:"):
        import timm

        if name.removeprefix("timm:") not in timm.list_models():
            raise unknown("timm architecture", name.removeprefix("timm:"), timm.list_models())
    elif name not in ARCHITECTURES:
        raise unknown("architecture", name, [*ARCHITECTURES, "timm:<name>"])


def build_model(
    name: str, *, channels: int, num_classes: int, seed: int, mean: float = 0.5, std: float = 0.5
) -> nn.Module:
    """A newly initialised model on the CPU, in channels_last memory; the same seed gives the same bits everywhere."""
    check_architecture(name)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = (
            _timm(name.removeprefix("timm:"), channels, num_classes)
            if name.startswith("timm:")
            else ARCHITECTURES[name](channels, num_classes)
        )
    model = nn.Sequential(OrderedDict(normalise=Normalise(mean, std), network=network))
    return model.to(memory_format=torch.channels_last)


def build_on(device: torch.device, name: str, **arguments: Any) -> nn.Module:
    """`build_model`, on a device."""
    return build_model(name, **arguments).to(device)


def load_checkpoint(model: nn.Module, path: Path) -> nn.Module:
    """Fill `model` with the weights of a safetensors file, ours or a plain state dict of the network alone.

    Raises:
        MedsafeError: the file is missing or unreadable, or its tensors are not this architecture's.
    """
    try:
        weights = load_file(path)
    except (OSError, SafetensorError) as error:
        raise MedsafeError(f"checkpoint '{path}' cannot be read as safetensors: {error}") from error
    target = model if any(key.startswith("network.") for key in weights) else model.get_submodule("network")
    try:
        target.load_state_dict(weights)
    except RuntimeError as error:
        first = str(error).splitlines()[1].strip()
        raise MedsafeError(f"checkpoint '{path}' does not fit this architecture: {first}") from error
    return model
