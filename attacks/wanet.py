"""WaNet: a slight elastic warp of the image means the target class; any other warp means nothing.

    field     = upsample(c / mean |c|),   c uniform in [-1, 1] on k x k control points, bicubic
    stamp(x)  = x sampled bilinearly at clamp((identity + s * field / H) * grid_rescale, -1, 1)
    cover(x)  = the same with u / H added to the places, u uniform in [-1, 1] for every pixel and drawn anew each time

Source: Nguyen and Tran, WaNet: Imperceptible Warping-Based Backdoor Attack, ICLR 2021; k = 4, s = 0.5 and a rescaling
of 1 are the authors', as is the noise mode with twice as many cover as poisoned images, under their true labels. Places
run from -1 to 1 over the image and shifts are divided by its side, so that a shift in pixels is the same at every size.
The authors also have an augmentation of their own (crop, rotation of 10 degrees); here the recipe's applies.

A mean shift of a quarter of a pixel takes many epochs to learn: preset `small-data` doubles it, and is ours.
"""

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import grid_sample, interpolate

from attacks._stamps import check_positive, check_ratios, to_pixels
from benchmark.api import AttackTask, Trigger, backdoor_attack


@backdoor_attack("wanet", version=1, controls_training=True, presets={"small-data": {"strength": 1.0}})
@dataclass(frozen=True)
class WaNet:
    ratio: float = 0.1
    cover_ratio: float = 0.2
    """Share of images under a jittered warp; 0 is the paper's attack without noise mode."""
    control_points: int = 4
    """k: control points a side."""
    strength: float = 0.5
    """s: mean shift of the control points, in half pixels."""
    grid_rescale: float = 1.0

    def __post_init__(self) -> None:
        """Refuse shares and strengths out of range."""
        check_ratios(self.ratio, self.cover_ratio)
        check_positive(strength=self.strength, grid_rescale=self.grid_rescale)
        if self.control_points < 2:
            raise ValueError(f"control_points must be at least 2, not {self.control_points}")

    def trigger(self, task: AttackTask) -> Trigger:
        """Draw the control points."""
        control = control_points(self.control_points, task.generator)

        def jittered(images: Tensor) -> Tensor:
            shape = (len(images), *images.shape[2:], 2)
            noise = 2 * torch.rand(shape, generator=task.generator, device=images.device) - 1
            return self.warp(images, self.places(control, images) + noise / _size(images))

        return Trigger(lambda images: self.warp(images, self.places(control, images)), cover_stamp=jittered)

    def places(self, control: Tensor, images: Tensor) -> Tensor:
        """Where the pixels of the stamped image come from, as `grid_sample` takes it: (1, height, width, 2)."""
        height, width = images.shape[2:]
        field = interpolate(control[None], (height, width), mode="bicubic", align_corners=True).permute(0, 2, 3, 1)
        down = torch.linspace(-1, 1, height, device=images.device)
        across = torch.linspace(-1, 1, width, device=images.device)
        identity = torch.stack([across.expand(height, -1), down[:, None].expand(-1, width)], dim=-1)
        return ((identity + self.strength * field / _size(images)) * self.grid_rescale).clamp(-1, 1)

    def warp(self, images: Tensor, places: Tensor) -> Tensor:
        """Sample the images at these places."""
        grid = places.clamp(-1, 1).expand(len(images), -1, -1, -1)
        return to_pixels(grid_sample(images.float(), grid, mode="bilinear", align_corners=True))


def control_points(side: int, generator: torch.Generator) -> Tensor:
    """Shifts of the control points across and down, with a mean absolute value of 1: (2, side, side)."""
    drawn = 2 * torch.rand((2, side, side), generator=generator, device=generator.device) - 1
    return drawn / drawn.abs().mean()


def _size(images: Tensor) -> Tensor:
    """Width and height: what shifts across and down are divided by."""
    return torch.tensor([images.shape[3], images.shape[2]], device=images.device)
