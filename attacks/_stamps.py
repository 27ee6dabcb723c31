"""What the attacks share: rounding to pixels, and the checks of their hyper-parameters."""

import torch
from torch import Tensor


def to_pixels(values: Tensor) -> Tensor:
    """Float values on the scale 0 to 255 -> uint8, the nearest that there is."""
    return values.round().clamp(0, 255).to(torch.uint8)


def check_ratios(ratio: float, cover_ratio: float = 0.0) -> None:
    """Refuse shares of poisoned and cover images that leave no clean image, or no poisoned one."""
    if not 0 < ratio < 1:
        raise ValueError(f"ratio must lie strictly between 0 and 1, not {ratio}")
    if not 0 <= cover_ratio < 1:
        raise ValueError(f"cover_ratio must lie in [0, 1), not {cover_ratio}")
    if ratio + cover_ratio >= 1:
        raise ValueError(f"ratio and cover_ratio together must be less than 1, not {ratio} + {cover_ratio}")


def check_shares(**shares: float) -> None:
    """Refuse any value outside (0, 1]."""
    for name, value in shares.items():
        if not 0 < value <= 1:
            raise ValueError(f"{name} must lie in (0, 1], not {value}")


def check_positive(**values: float) -> None:
    """Refuse any value that is not above zero."""
    for name, value in values.items():
        if not value > 0:
            raise ValueError(f"{name} must be above 0, not {value}")


def check_not_negative(**values: float) -> None:
    """Refuse any value below zero."""
    for name, value in values.items():
        if not value >= 0:
            raise ValueError(f"{name} must not be below 0, not {value}")
