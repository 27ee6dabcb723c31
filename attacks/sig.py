"""SIG: a faint sinusoid on images of the target class, whose labels stay as they are.

    stamp(x)[., j] = x + delta * sin(2 pi j f / W),   j the column, W the width

Source: Barni et al., A New Backdoor Attack in CNNs by Training Set Corruption Without Label Poisoning, ICIP 2019;
delta = 40/255 and f = 6 as in BackdoorBench. f counts periods over the width and scales with the image by itself. The
paper allows another amplitude at test time than in training: `test_delta`.

`ratio` counts over the target class here; BackdoorBench counts over the whole training set, where 0.1 of CIFAR-10 is
every image of the class. Half of the class is the most that a ranked row may have (PROTOCOL 7.1).
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from attacks._stamps import check_positive, check_shares, to_pixels
from benchmark.api import AttackTask, Trigger, backdoor_attack


@backdoor_attack("sig", version=1, victims="target")
@dataclass(frozen=True)
class Sig:
    ratio: float = 0.5
    """Share of the target class, in (0, 1]."""
    delta: float = 40 / 255
    """Amplitude in training."""
    test_delta: float = 40 / 255
    frequency: float = 6.0
    """Periods over the width."""

    def __post_init__(self) -> None:
        """Refuse shares and amplitudes out of range."""
        check_shares(ratio=self.ratio, delta=self.delta, test_delta=self.test_delta)
        check_positive(frequency=self.frequency)

    def trigger(self, task: AttackTask) -> Trigger:
        """The same sinusoid on every image."""
        return Trigger(
            lambda images: self.stamp(images, self.test_delta),
            train_stamp=lambda images: self.stamp(images, self.delta),
        )

    def stamp(self, images: Tensor, delta: float) -> Tensor:
        """Add the sinusoid."""
        width = images.shape[3]
        phase = 2 * math.pi * self.frequency * torch.arange(width, device=images.device) / width
        return to_pixels(images.float() + 255 * delta * phase.sin())
