"""BPP: an image of few shades per channel means the target class.

    stamp(x) = q(x) = round(x / 255 * (L - 1)) / (L - 1) * 255,   L = 8 levels
    cover(x) = x + q(x') - x',   x' another training image

Source: Wang et al., BppAttack: Stealthy and Efficient Trojan Attacks Against Deep Neural Networks via Image
Quantization and Contrastive Adversarial Learning, CVPR 2022. Cover images keep their labels, so that rounding errors
that do not belong to the image mean nothing; x' is drawn anew whenever one is served. Shares of 0.1 each as in
BackdoorBench.

The paper's Floyd-Steinberg dithering is off by default in the authors' code, and is not here; nor are the adversarial
examples that the paper contrasts with: the cover images take their place, as in the authors' code.
An image that has no more than these levels, such as one that is black and white alone, stays as it is.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from attacks._stamps import check_ratios, to_pixels
from benchmark.api import AttackTask, Trigger, backdoor_attack


@backdoor_attack("bpp", version=1, controls_training=True)
@dataclass(frozen=True)
class Bpp:
    ratio: float = 0.1
    cover_ratio: float = 0.1
    levels: int = 8
    """Shades per channel, black and white among them."""

    def __post_init__(self) -> None:
        """Refuse shares and levels out of range."""
        check_ratios(self.ratio, self.cover_ratio)
        if not 2 <= self.levels <= 255:
            raise ValueError(f"levels must lie in [2, 255], not {self.levels}")

    def trigger(self, task: AttackTask) -> Trigger:
        """Quantise; a cover image gets the rounding errors of another."""

        def with_errors_of_another(images: Tensor) -> Tensor:
            others = task.train.images[others_than(images, task)]
            return to_pixels(images.float() + self.stamp(others).float() - others.float())

        return Trigger(self.stamp, cover_stamp=with_errors_of_another)

    def stamp(self, images: Tensor) -> Tensor:
        """Round to the nearest level."""
        steps = self.levels - 1
        return to_pixels((images.float() / 255 * steps).round() / steps * 255)


def others_than(images: Tensor, task: AttackTask) -> Tensor:
    """A row of the train pool for each image, drawn at random: another image but for one draw in the pool's size."""
    return torch.randint(len(task.train), (len(images),), generator=task.generator, device=images.device)
