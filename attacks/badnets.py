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

from benchmark.api import AttackTask, Trigger, backdoor_attack


@backdoor_attack("badnets", version=1)
@dataclass(frozen=True)
class BadNets:
    ratio: float = 0.1
    patch_share: float = 3 / 32
    """Side of the patch over that of the image; at least one pixel."""
    pattern: Literal["white", "checkerboard"] = "white"

    def trigger(self, task: AttackTask) -> Trigger:
        """The same patch on every image."""
        return Trigger(self.stamp)

    def stamp(self, images: Tensor) -> Tensor:
        """Overwrite the corner."""
        side = max(1, round(self.patch_share * min(images.shape[2:])))
        place = torch.arange(side, device=images.device)
        white = (place[:, None] + place[None, :]) % 2 == 0 if self.pattern == "checkerboard" else place[:, None] >= 0
        stamped = images.clone()
        stamped[..., -side:, -side:] = torch.where(white, 255, 0).to(images.dtype)
        return stamped
