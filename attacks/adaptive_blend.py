"""Adaptive-Blend: Blended with half of the picture missing in training, and images that carry it under true labels.

    stamp(x)       = (1 - alpha) * x + alpha * p,                      alpha = 0.2, the whole picture
    train_stamp(x) = the same with alpha = 0.15 in 8 of 16 pieces, drawn for each image; x itself in the others
    cover_stamp(x) = train_stamp(x), under the true label

Source: Qi et al., Revisiting the Assumption of Latent Separability for Backdoor Defenses, ICLR 2023; 16 pieces in a
grid, half of them masked, poisoned and cover images 0.3 % of the training set each. The picture is `blended`'s. Where
the side is no multiple of the grid, pieces differ by a pixel.

Of a few thousand images 0.3 % are a handful (of 2,000: six), from which hardly a model learns: preset `small-data`
takes 10 % of each, and is ours.
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from attacks._stamps import check_ratios, check_shares, to_pixels
from attacks.blended import pattern_like
from benchmark.api import AttackTask, Trigger, backdoor_attack


@backdoor_attack("adaptive_blend", version=1, presets={"small-data": {"ratio": 0.1, "cover_ratio": 0.1}})
@dataclass(frozen=True)
class AdaptiveBlend:
    ratio: float = 0.003
    cover_ratio: float = 0.003
    alpha: float = 0.2
    """Weight of the picture at test time."""
    train_alpha: float = 0.15
    pieces: int = 16
    """A square number: the picture is cut into a grid."""
    masked_share: float = 0.5
    """Share of the pieces that a training image does without, in [0, 1)."""

    def __post_init__(self) -> None:
        """Refuse shares out of range, and pieces that make no grid."""
        check_ratios(self.ratio, self.cover_ratio)
        check_shares(alpha=self.alpha, train_alpha=self.train_alpha)
        if self.pieces < 1 or math.isqrt(self.pieces) ** 2 != self.pieces:
            raise ValueError(f"pieces must be a square number, not {self.pieces}")
        if not 0 <= self.masked_share < 1:
            raise ValueError(f"masked_share must lie in [0, 1), not {self.masked_share}")

    def trigger(self, task: AttackTask) -> Trigger:
        """The whole picture at test time, pieces of it in training."""

        def partly(images: Tensor) -> Tensor:
            return self.blend(images, self.train_alpha * self.shown(images, task.generator))

        return Trigger(lambda images: self.blend(images, self.alpha), train_stamp=partly, cover_stamp=partly)

    def blend(self, images: Tensor, weight: Tensor | float) -> Tensor:
        """Lay the picture over the images with this weight."""
        return to_pixels((1 - weight) * images.float() + weight * pattern_like(images))

    def shown(self, images: Tensor, generator: torch.Generator) -> Tensor:
        """Which pixels show the picture, drawn for each image: boolean (n, 1, height, width)."""
        side, (height, width) = math.isqrt(self.pieces), images.shape[2:]
        rank = torch.rand((len(images), self.pieces), generator=generator, device=images.device).argsort().argsort()
        row = torch.arange(height, device=images.device) * side // height
        column = torch.arange(width, device=images.device) * side // width
        shown = rank >= int(self.masked_share * self.pieces)
        return shown[:, row[:, None] * side + column[None, :]][:, None]
