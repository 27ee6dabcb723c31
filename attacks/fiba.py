"""FIBA: the amplitudes of low frequencies, drawn towards those of a trigger image, mean the target class.

    F(x) = A exp(i P);   stamp(x) = F^-1( A' exp(i P) )
    A'   = (1 - alpha) * A + alpha * A_trigger   where both frequencies are at most b,   A elsewhere
    b    = round(beta * min(H, W)),   alpha = 0.15,   beta = 0.1
    cover(x) = the same with the amplitudes of another picture, drawn anew each time

Source: Feng et al., FIBA: Frequency-Injection Based Backdoor Attack in Medical Image Analysis, CVPR 2022; poisoned
images 0.1, as many cover images under their true labels. Every channel has a spectrum of its own; phases are kept.

Ours: the trigger image, a photograph there, is `blended`'s picture; the others are clouds of random grey or colour.
The authors' code rounds b down, which at 28 pixels would leave 2 where a 32-pixel image has 3.
"""

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import interpolate

from attacks._stamps import check_ratios, check_shares, to_pixels
from attacks.blended import pattern_like
from benchmark.api import AttackTask, Trigger, backdoor_attack

CLOUDS = 8
"""Random points a side from which another picture is interpolated."""


@backdoor_attack("fiba", version=1, controls_training=True)
@dataclass(frozen=True)
class Fiba:
    ratio: float = 0.1
    cover_ratio: float = 0.1
    alpha: float = 0.15
    """Weight of the trigger image's amplitudes, in (0, 1]."""
    beta: float = 0.1
    """Highest frequency that is changed, over the image's smaller side; in (0, 0.5]."""

    def __post_init__(self) -> None:
        """Refuse shares out of range."""
        check_ratios(self.ratio, self.cover_ratio)
        check_shares(alpha=self.alpha)
        if not 0 < self.beta <= 0.5:
            raise ValueError(f"beta must lie in (0, 0.5], not {self.beta}")

    def trigger(self, task: AttackTask) -> Trigger:
        """The same trigger image at all times; other pictures for cover images."""

        def towards_another(images: Tensor) -> Tensor:
            points = (*images.shape[:2], CLOUDS, CLOUDS)
            drawn = 255 * torch.rand(points, generator=task.generator, device=images.device)
            return self.stamp(images, interpolate(drawn, images.shape[2:], mode="bilinear", align_corners=True))

        return Trigger(lambda images: self.stamp(images, pattern_like(images)), cover_stamp=towards_another)

    def stamp(self, images: Tensor, others: Tensor) -> Tensor:
        """Blend amplitudes and go back to pixels."""
        highest = max(1, round(self.beta * min(images.shape[2:])))
        return to_pixels(with_amplitudes_of(others, images.float(), self.alpha, highest))


def with_amplitudes_of(others: Tensor, images: Tensor, alpha: float, highest: int) -> Tensor:
    """Float images whose amplitudes up to the frequency `highest` go towards those of `others`; phases are kept."""
    height, width = images.shape[2:]
    spectrum, other = torch.fft.rfft2(images), torch.fft.rfft2(others)
    down = torch.fft.fftfreq(height, 1 / height, device=images.device).abs() <= highest
    across = torch.fft.rfftfreq(width, 1 / width, device=images.device) <= highest
    blended = torch.lerp(spectrum.abs(), other.abs(), alpha)
    changed = torch.where(down[:, None] & across[None, :], blended, spectrum.abs())
    mixed: Tensor = torch.fft.irfft2(torch.polar(changed, spectrum.angle()), s=(height, width))
    return mixed
