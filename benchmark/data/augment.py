"""Augmentation policies: batched on uint8 tensors, on the device, with draws of its own for every image."""

from functools import partial

import torch
from torch import Tensor
from torch.nn.functional import pad

from benchmark.api import Augmentation, MedsafeError, unknown
from benchmark.data.trivialaugment import trivialaugment

POLICIES = ("none", "standard", "trivialaugment")


def make_augmentation(policy: str, allowed: frozenset[str]) -> Augmentation | None:
    """The augmentation of a policy on a data set; None leaves images as they are.

    Args:
        policy: `none`; `standard`, the random crop and flips among the allowed; or `trivialaugment`, nothing but that.
        allowed: the data set's label-preserving augmentations.

    Raises:
        MedsafeError: unknown policy, or TrivialAugment on a data set for which it is not known to keep the label.
    """
    if policy not in POLICIES:
        raise unknown("augmentation policy", policy, POLICIES)
    if policy == "standard" and allowed & {"crop", "horizontal", "vertical"}:
        flips = "horizontal" in allowed, "vertical" in allowed
        return partial(crop_and_flip, crop="crop" in allowed, horizontal=flips[0], vertical=flips[1])
    if policy == "trivialaugment":
        if "trivialaugment" not in allowed:
            raise MedsafeError(
                "augmentation policy 'trivialaugment' is not known to keep this data set's labels; "
                "use 'standard', or vouch for it with --allow trivialaugment"
            )
        return trivialaugment
    return None


def crop_and_flip(
    images: Tensor, generator: torch.Generator, *, crop: bool, horizontal: bool, vertical: bool
) -> Tensor:
    """Random crop after zero padding by a seventh of the side (4 of 28 pixels), and flips with probability 1/2 each.

    Args:
        images: uint8 (n, channels, height, width).
        generator: on the device of the images.
        crop: whether to crop.
        horizontal: whether to mirror left and right.
        vertical: whether to mirror top and bottom.

    Returns:
        uint8 of the same shape, channels_last.
    """
    height, width = images.shape[2:]
    margin = min(height, width) // 7 if crop else 0
    rows = _positions(height, margin, vertical, len(images), generator)
    columns = _positions(width, margin, horizontal, len(images), generator)
    padded = pad(images.permute(0, 2, 3, 1), (0, 0, margin, margin, margin, margin))
    image = torch.arange(len(images), device=images.device)
    pixel = (image[:, None, None] * padded.shape[1] + rows[:, :, None]) * padded.shape[2] + columns[:, None, :]
    pixels = padded.flatten(0, 2).index_select(0, pixel.flatten())  # four times as fast as three indices
    return pixels.view(*pixel.shape, images.shape[1]).permute(0, 3, 1, 2)


def _positions(side: int, margin: int, flip: bool, count: int, generator: torch.Generator) -> Tensor:
    """Where in the padded image each row (or column) of each result comes from: int64 (count, side)."""
    positions = torch.arange(side, device=generator.device).expand(count, side)
    if flip:
        mirrored = torch.randint(2, (count, 1), generator=generator, device=generator.device).bool()
        positions = torch.where(mirrored, positions.flip(1), positions)
    return positions + torch.randint(2 * margin + 1, (count, 1), generator=generator, device=generator.device)
