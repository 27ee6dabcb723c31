"""TrivialAugment-Wide: one randomly chosen operation of random strength for every image.

    operation ~ U{14 operations},   level ~ U{0, ..., 30},   sign ~ U{-1, 1};   strength = sign * level / 30 * maximum

Source: Müller & Hutter, TrivialAugment: Tuning-free Yet State-of-the-Art Data Augmentation, ICCV 2021, "wide" space.
Translations scale with the image: the paper's 32 pixels belong to images of 32 pixels, so the maximum is the side.
On grey images `colour` changes nothing. Areas that come in from outside of the image are black.
"""

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import affine_grid, conv2d, grid_sample

OPERATIONS = (
    "identity",
    "shear_x",
    "shear_y",
    "translate_x",
    "translate_y",
    "rotate",
    "brightness",
    "colour",
    "contrast",
    "sharpness",
    "posterize",
    "solarize",
    "autocontrast",
    "equalize",
)
GEOMETRIC = range(1, 6)
LEVELS = 31
MAX_SHEAR = 0.99  # as a slope
MAX_ROTATION = 135.0  # degrees
MAX_BLEND = 0.99  # brightness, colour, contrast, sharpness: factors from 0.01 to 1.99


class Draws(NamedTuple):
    """What happens to each image; all int64 (n,), on the device.

    Attributes:
        operation: index into OPERATIONS.
        level: 0 to 30; ignored by identity, autocontrast, equalize.
        sign: -1 or 1; only for geometric operations and blends.
    """

    operation: Tensor
    level: Tensor
    sign: Tensor

    def of(self, rows: Tensor) -> "Draws":
        """The draws of some of the images."""
        return Draws(*(values[rows] for values in self))


def trivialaugment(images: Tensor, generator: torch.Generator) -> Tensor:
    """Augment a batch.

    Args:
        images: uint8 (n, channels, height, width), 1 or 3 channels.
        generator: on the device of the images.

    Returns:
        uint8 of the same shape and memory format.
    """
    return apply(images, draw(len(images), generator))


def draw(count: int, generator: torch.Generator) -> Draws:
    """Draw operation, level and sign for each of `count` images."""
    operation, level, side = (
        torch.randint(options, (count,), generator=generator, device=generator.device)
        for options in (len(OPERATIONS), LEVELS, 2)
    )
    return Draws(operation, level, 2 * side - 1)


def apply(images: Tensor, draws: Draws) -> Tensor:
    """Do to each image what was drawn for it; geometric operations all at once, the others one kind at a time."""
    result = images.clone()
    geometric = (draws.operation >= GEOMETRIC.start) & (draws.operation < GEOMETRIC.stop)
    for chosen, operation in [(geometric, _move), *((draws.operation == i, kind) for i, kind in _IN_PLACE.items())]:
        rows = chosen.nonzero()[:, 0]
        if len(rows):
            result[rows] = operation(images[rows], draws.of(rows))
    return result


def _move(images: Tensor, draws: Draws) -> Tensor:
    """Shear, translate and rotate by one resampling to the nearest pixel."""
    height, width = images.shape[2:]
    linear, shift = _inverse_map(draws, height, width)
    # affine_grid measures both sides from -1 to 1, hence the ratio of the sides.
    aspect = linear.new_tensor([[1.0, height / width], [width / height, 1.0]])
    scale = linear.new_tensor([2 / width, 2 / height])
    theta = torch.cat([linear * aspect, (shift * scale)[:, :, None]], dim=2)
    grid = affine_grid(theta, list(images.shape), align_corners=False)
    return grid_sample(images.float(), grid, mode="nearest", padding_mode="zeros", align_corners=False).to(torch.uint8)


def _inverse_map(draws: Draws, height: int, width: int) -> tuple[Tensor, Tensor]:
    """Where a pixel of the result comes from: `linear @ (x, y) + shift` in pixels from the centre, y pointing down.

    Shears keep the upper left corner in place, rotations the centre.

    Returns:
        float (n, 2, 2) and (n, 2).
    """
    strength = draws.sign * draws.level / (LEVELS - 1)
    slope_x, slope_y = (torch.where(draws.operation == code, strength * MAX_SHEAR, 0) for code in (1, 2))
    pixels_x, pixels_y = (
        torch.where(draws.operation == code, draws.sign * (side * draws.level // (LEVELS - 1)), 0)
        for code, side in ((3, width), (4, height))
    )
    angle = torch.where(draws.operation == 5, torch.deg2rad(strength * MAX_ROTATION), 0)
    cos, sin = angle.cos(), angle.sin()
    linear = torch.stack([cos, slope_x - sin, slope_y + sin, cos], dim=1).view(-1, 2, 2)
    return linear, torch.stack([slope_x * height / 2 - pixels_x, slope_y * width / 2 - pixels_y], dim=1)


def _blend(images: Tensor, draws: Draws, other: Tensor) -> Tensor:
    """Go from `other` to the image, and beyond: factor 0 is `other`, 1 the image, 2 its exaggeration."""
    factor = (1 + MAX_BLEND * draws.sign * draws.level / (LEVELS - 1))[:, None, None, None]
    return (images * factor + other * (1 - factor)).clamp_(0, 255).to(torch.uint8)


def _grey(images: Tensor) -> Tensor:
    """Luma in whole numbers, float (n, 1, height, width)."""
    if images.shape[1] == 1:
        return images.float()
    weights = torch.tensor([0.299, 0.587, 0.114], device=images.device)[:, None, None]
    return (images * weights).sum(dim=1, keepdim=True).floor_()


def _brightness(images: Tensor, draws: Draws) -> Tensor:
    return _blend(images, draws, torch.zeros((), device=images.device))


def _colour(images: Tensor, draws: Draws) -> Tensor:
    return images if images.shape[1] == 1 else _blend(images, draws, _grey(images))


def _contrast(images: Tensor, draws: Draws) -> Tensor:
    return _blend(images, draws, _grey(images).mean(dim=(1, 2, 3), keepdim=True))


def _sharpness(images: Tensor, draws: Draws) -> Tensor:
    """Blend with a smoothed image, whose border stays as it is."""
    smooth = images.float()
    if min(images.shape[2:]) > 2:
        kernel = torch.ones(1, 1, 3, 3, device=images.device)
        kernel[..., 1, 1] = 5
        inner = conv2d(smooth.flatten(0, 1)[:, None], kernel / 13).round_()
        smooth[..., 1:-1, 1:-1] = inner.view(*images.shape[:2], *inner.shape[2:])
    return _blend(images, draws, smooth)


def _posterize(images: Tensor, draws: Draws) -> Tensor:
    """Keep the 8 to 2 highest bits of every value."""
    dropped = (2 * draws.level + 5) // 10  # level / 5, rounded
    return images & (256 - 2**dropped).to(torch.uint8)[:, None, None, None]


def _solarize(images: Tensor, draws: Draws) -> Tensor:
    """Invert the values above a threshold."""
    threshold = 255 * (1 - draws.level / (LEVELS - 1))[:, None, None, None]
    return torch.where(images >= threshold, 255 - images, images)


def _autocontrast(images: Tensor, draws: Draws) -> Tensor:
    """Stretch every channel to the full range."""
    low, high = (bound(images, dim=(2, 3), keepdim=True).float() for bound in (torch.amin, torch.amax))
    stretched = ((images - low) * 255 / (high - low).clamp(min=1)).clamp_(0, 255).to(torch.uint8)
    return torch.where(high > low, stretched, images)


def _equalize(images: Tensor, draws: Draws) -> Tensor:
    """Flatten every channel's histogram, with the integer table that image libraries use."""
    values = images.flatten(0, 1).flatten(1).long()
    counts = torch.zeros(len(values), 256, dtype=torch.long, device=images.device)
    counts.scatter_add_(1, values, torch.ones_like(values))
    brightest = counts.gather(1, values.amax(dim=1, keepdim=True))
    step = (values.shape[1] - brightest) // 255
    darker = counts.cumsum(dim=1) - counts
    table = ((darker + step // 2) // step.clamp(min=1)).clamp_(max=255)
    return torch.where(step > 0, table.gather(1, values), values).to(torch.uint8).view(images.shape)


_IN_PLACE: dict[int, Callable[[Tensor, Draws], Tensor]] = {
    6: _brightness,
    7: _colour,
    8: _contrast,
    9: _sharpness,
    10: _posterize,
    11: _solarize,
    12: _autocontrast,
    13: _equalize,
}
"""The operations that leave every pixel in its place, by their index in OPERATIONS."""
