"""Every operation agrees with torchvision's, image by image, and the draws are the published ones."""

import math

import pytest
import torch

from benchmark.data.datasets import load_dataset
from benchmark.data.trivialaugment import OPERATIONS, Draws, apply, draw, trivialaugment

LEVELS = torch.tensor([0, 1, 3, 7, 10, 12, 15, 18, 20, 23, 27, 30]).repeat(2)
SIGNS = torch.tensor([1, -1]).repeat_interleave(12)


def restated(image: torch.Tensor, operation: str, level: int, sign: int) -> torch.Tensor:
    """One image under torchvision's functions, with the ranges of the wide space."""
    from torchvision.transforms.v2 import functional as vision

    height, width = image.shape[-2:]
    share = level / 30
    factor, slope = 1 + sign * share * 0.99, math.degrees(math.atan(sign * share * 0.99))

    def affine(translate=(0, 0), shear=(0.0, 0.0), center=None) -> torch.Tensor:
        return vision.affine(image, 0.0, list(translate), 1.0, list(shear), center=center)

    return {
        "identity": lambda: image,
        "shear_x": lambda: affine(shear=(slope, 0.0), center=[0, 0]),
        "shear_y": lambda: affine(shear=(0.0, slope), center=[0, 0]),
        "translate_x": lambda: affine(translate=(int(sign * width * share), 0)),
        "translate_y": lambda: affine(translate=(0, int(sign * height * share))),
        "rotate": lambda: vision.rotate(image, sign * share * 135),
        "brightness": lambda: vision.adjust_brightness(image, factor),
        "colour": lambda: vision.adjust_saturation(image, factor),
        "contrast": lambda: vision.adjust_contrast(image, factor),
        "sharpness": lambda: vision.adjust_sharpness(image, factor),
        "posterize": lambda: vision.posterize(image, 8 - round(level / 5)),
        "solarize": lambda: vision.solarize(image, 255 * (1 - share)),
        "autocontrast": lambda: vision.autocontrast(image),
        "equalize": lambda: vision.equalize(image),
    }[operation]()


@pytest.fixture(params=["RGB", "grey", "real grey", "constant", "oblong"])
def images(request, bloodmini) -> torch.Tensor:
    colour = bloodmini.images[:24]
    if request.param == "real grey":
        return load_dataset("pneumoniamnist", request.getfixturevalue("real_files")).images[:24]
    if request.param == "constant":
        return torch.arange(24, dtype=torch.uint8)[:, None, None, None].expand(24, 3, 8, 8) * 4
    return {"RGB": colour, "grey": colour[:, 1:2], "oblong": colour[..., 3:23]}[request.param]


@pytest.mark.parametrize("operation", OPERATIONS)
def test_each_operation_agrees_with_torchvision_at_all_strengths(images, operation):
    code = torch.full((24,), OPERATIONS.index(operation))
    result = apply(images, Draws(code, LEVELS, SIGNS))
    cases = zip(images, LEVELS.tolist(), SIGNS.tolist(), strict=True)
    expected = torch.stack([restated(image, operation, level, sign) for image, level, sign in cases])
    assert result.shape == images.shape
    assert result.dtype == torch.uint8
    apart = (result.int() - expected.int()).abs() > 1
    moved = operation in ("shear_x", "shear_y", "rotate")
    # A sampling point half-way between two pixels may be rounded to either.
    assert apart.float().mean() <= (0.001 if moved else 0)


def test_a_mixed_batch_gets_what_each_image_alone_would_get(bloodmini):
    images = bloodmini.images[:84]
    draws = draw(84, torch.Generator().manual_seed(0))
    together = apply(images, draws)
    for i in range(84):
        alone = apply(images[i : i + 1], draws.of(torch.tensor([i])))[0]
        assert (together[i].int() - alone.int()).abs().max() <= 1


def test_equal_images_get_different_draws(bloodmini):
    images = bloodmini.images[:1].expand(200, -1, -1, -1)
    assert len(trivialaugment(images, torch.Generator().manual_seed(0)).flatten(1).unique(dim=0)) > 100


@pytest.mark.parametrize(("field", "values"), [("operation", range(14)), ("level", range(31)), ("sign", (-1, 1))])
def test_draws_are_uniform(field, values):
    drawn = getattr(draw(100_000, torch.Generator().manual_seed(0)), field)
    counts = torch.stack([(drawn == value).sum() for value in values]).double()
    assert counts.sum() == 100_000
    expected, freedom = 100_000 / len(values), len(values) - 1
    assert ((counts - expected) ** 2 / expected).sum() < freedom + 4 * math.sqrt(2 * freedom)


def test_draws_are_independent_of_each_other():
    draws = torch.stack(draw(100_000, torch.Generator().manual_seed(0))).double()
    assert (torch.corrcoef(draws) - torch.eye(3)).abs().max() < 0.02


def test_colour_changes_nothing_on_grey_images(bloodmini):
    grey = bloodmini.images[:24, :1]
    assert torch.equal(apply(grey, Draws(torch.full((24,), OPERATIONS.index("colour")), LEVELS, SIGNS)), grey)
