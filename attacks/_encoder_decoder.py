"""A small network from image to image: what draws masks and patterns for `input_aware`."""

import torch
from torch import Tensor, nn


def new_network(channels: int, outputs: int, width: int, generator: torch.Generator) -> nn.Module:
    """An encoder and decoder, initialised from the generator's stream and on its device."""
    seed = int(torch.randint(2**62, (1,), generator=generator, device=generator.device))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return EncoderDecoder(channels, outputs, width).to(generator.device)


class EncoderDecoder(nn.Module):
    """Two halvings and back, for images of any size in [0, 1]; what comes out lies in (0, 1)."""

    def __init__(self, channels: int, outputs: int, width: int) -> None:
        super().__init__()

        def block(before: int, after: int) -> list[nn.Module]:
            return [nn.Conv2d(before, after, 3, padding=1, bias=False), nn.BatchNorm2d(after), nn.ReLU(inplace=True)]

        self.layers = nn.Sequential(
            *block(channels, width), *block(width, width), nn.MaxPool2d(2, ceil_mode=True),
            *block(width, 2 * width), *block(2 * width, 2 * width), nn.MaxPool2d(2, ceil_mode=True),
            *block(2 * width, 2 * width),
            nn.Upsample(scale_factor=2), *block(2 * width, 2 * width), *block(2 * width, width),
            nn.Upsample(scale_factor=2), *block(width, width), nn.Conv2d(width, outputs, 3, padding=1, bias=False),
            nn.BatchNorm2d(outputs),
        )  # fmt: skip

    def forward(self, images: Tensor) -> Tensor:
        """(n, channels, height, width) -> (n, outputs, height, width)."""
        height, width = images.shape[2:]
        made: Tensor = self.layers(2 * images - 1)
        return made[..., :height, :width].tanh() / 2 + 0.5
