"""BadNets: a small patch in the corner means the target class.

    stamp(x) = x outside the patch, the patch's own pixels inside

Source: Gu et al., BadNets: Identifying Vulnerabilities in the Machine Learning Model Supply Chain, 2017. As in
BackdoorBench the patch is 3x3 of 32 pixels, white, flush in the bottom-right corner; the side scales with the image.
`pattern="checkerboard"` alternates white and black: it also shows where the corner is white.
"""

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from attacks._stamps import check_ratios, check_shares
from benchmark.api import AttackTask, Trigger, backdoor_attack


@backdoor_attack("badnets", version=1)
@dataclass(frozen=True)
class BadNets:
    ratio: float = 0.1
    patch_share: float = 3 / 32
    """Side of the patch over that of the image; at least one pixel."""
    pattern: Literal["white", "checkerboard"] = "white"

    def __post_init__(self) -> None:
        """Refuse shares out of range."""
        check_ratios(self.ratio)
        check_shares(patch_share=self.patch_share)

    def trigger(self, task: AttackTask) -> Trigger:
        """The same patch on every image."""
        return Trigger(self.stamp)

    def stamp(self, images: Tensor) -> Tensor:
        """Overwrite the corner."""
        side = max(1, round(self.patch_share * min(images.shape[2:])))
        place = torch.arange(side, device=images.device)
        odd = (place[:, None] + place[None, :]) % 2 == 1
        white = ~odd if self.pattern == "checkerboard" else torch.ones_like(odd)
        stamped = images.clone()
        stamped[..., -side:, -side:] = torch.where(white, 255, 0).to(images.dtype)
        return stamped
