"""What can be read, and told apart, on a light page and on a dark one."""

from itertools import combinations

import numpy as np
import pytest
from matplotlib.colors import to_rgb

from benchmark.leaderboard.figures.heatmap import COLOR, opacity
from benchmark.leaderboard.figures.settings import colors_and_markers
from benchmark.leaderboard.figures.style import PALETTE, plain

LIGHT, DARK = (("#ffffff", "#1a1a1a"), ("#15181c", "#e6e6e6"))
"""Background and ink."""
DEFICIENCIES = {
    "none": np.eye(3),
    "protan": [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]],
    "deutan": [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]],
    "tritan": [[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602], [0.004733, 0.691367, 0.303900]],
}
"""Simulation in linear RGB: Machado, Oliveira and Fernandes, IEEE TVCG 2009, at full severity."""
TO_LMS = [[0.41222, 0.53633, 0.05145], [0.21190, 0.68070, 0.10740], [0.08830, 0.28172, 0.62998]]
TO_LAB = [[0.21045, 0.79362, -0.00407], [1.97800, -2.42859, 0.45059], [0.02590, 0.78277, -0.80868]]
"""OKLab: Ottosson 2020."""


def linear(color):
    rgb = np.asarray(to_rgb(color))
    return np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)


def contrast(first, second):
    """Of WCAG 2."""
    brighter, darker = sorted((linear(color) @ [0.2126, 0.7152, 0.0722] for color in (first, second)), reverse=True)
    return (brighter + 0.05) / (darker + 0.05)


def seen(color, deficiency):
    simulated = np.clip(np.asarray(DEFICIENCIES[deficiency]) @ linear(color), 0, 1)
    return np.asarray(TO_LAB) @ np.cbrt(np.asarray(TO_LMS) @ simulated)


def test_black_on_white_has_the_contrast_that_the_definition_gives():
    assert contrast("black", "white") == pytest.approx(21)


@pytest.mark.parametrize("background", [LIGHT[0], DARK[0]])
@pytest.mark.parametrize("color", PALETTE)
def test_every_colour_stands_out_from_either_page(color, background):
    assert contrast(color, background) >= 3


@pytest.mark.parametrize("deficiency", DEFICIENCIES)
def test_no_two_colours_look_the_same(deficiency):
    colors = [seen(color, deficiency) for color in PALETTE]
    assert min(np.linalg.norm(one - other) for one, other in combinations(colors, 2)) > 0.07


def test_forty_two_methods_each_have_a_colour_and_marker_of_their_own():
    pairs = colors_and_markers(f"method_{number}" for number in range(42))
    assert len(set(pairs.values())) == 42


@pytest.mark.parametrize(("background", "ink"), [LIGHT, DARK])
@pytest.mark.parametrize("percent", [-5, 0, 1, 5, 20, 50, 80, 100, 130])
def test_the_number_in_a_cell_can_be_read(background, ink, percent):
    share = opacity(percent)
    cell = tuple(share * np.asarray(to_rgb(COLOR)) + (1 - share) * np.asarray(to_rgb(background)))
    assert contrast(cell, ink) >= 4.5


def test_a_worse_cell_is_more_opaque():
    shares = [opacity(percent) for percent in (0, 1, 5, 20, 50, 100)]
    assert shares == sorted(set(shares))


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("salun", "salun"),
        ("two\nlines\x00\x1b", "two lines"),
        ("right\u202eto left", "right to left"),
        ("x" * 40, "x" * 33 + "…"),
        ("half a character \ud800", "half a character"),
        ("", ""),
    ],
)
def test_a_name_is_one_line_that_can_be_printed(name, shown):
    assert plain(name) == shown
