"""Blended: a faint picture laid over the whole image means the target class.

    stamp(x) = (1 - alpha) * x + alpha * p,   alpha = 0.2 in training and at test time

Source: Chen et al., Targeted Backdoor Attacks on Deep Learning Systems Using Data Poisoning, 2017 (blended injection);
alpha and ratio as in BackdoorBench. The published picture is a cartoon figure that is not ours to ship: `pattern` draws
one by formula at the image's own size, rings and stripes in other phases for each channel.
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from attacks._stamps import check_ratios, check_shares, to_pixels
from benchmark.api import AttackTask, Trigger, backdoor_attack

RINGS = 3.0
"""Rings from the centre to one image side away from it."""
STRIPES = (1.0, 2.0)
"""Periods of the stripes down and across the image."""
CENTRE = (0.4, 0.6)


@backdoor_attack("blended", version=1)
@dataclass(frozen=True)
class Blended:
    ratio: float = 0.1
    alpha: float = 0.2
    """Weight of the picture, in (0, 1]."""

    def __post_init__(self) -> None:
        """Refuse shares out of range."""
        check_ratios(self.ratio)
        check_shares(alpha=self.alpha)

    def trigger(self, task: AttackTask) -> Trigger:
        """The same picture over every image."""
        return Trigger(self.stamp)

    def stamp(self, images: Tensor) -> Tensor:
        """Blend the picture in."""
        return to_pixels((1 - self.alpha) * images.float() + self.alpha * pattern_like(images))


def pattern_like(images: Tensor) -> Tensor:
    """The picture in the shape of one of the images: float32 (channels, height, width) on the scale 0 to 255."""
    channels, height, width = images.shape[1:]
    return 255 * pattern(channels, height, width, images.device)


def pattern(channels: int, height: int, width: int, device: torch.device | None = None) -> Tensor:
    """Rings plus stripes, cut off at black and white: float32 (channels, height, width) in [0, 1]."""
    down = (torch.arange(height, device=device)[:, None] + 0.5) / height
    across = (torch.arange(width, device=device)[None, :] + 0.5) / width
    phase = 2 * math.pi * torch.arange(channels, device=device)[:, None, None] / channels
    radius = ((down - CENTRE[0]) ** 2 + (across - CENTRE[1]) ** 2).sqrt()
    rings = torch.cos(2 * math.pi * RINGS * radius + phase)
    stripes = torch.sin(2 * math.pi * (STRIPES[0] * down + STRIPES[1] * across) + 2 * phase)
    return (0.5 + 0.5 * (rings + stripes)).clamp(0, 1)
