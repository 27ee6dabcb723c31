"""The gallery: a picture of what triggers do."""

import subprocess
import sys

import numpy as np
import pytest
import torch

from benchmark.gallery import draw_gallery


def images(channels, seed=0, count=3):
    return torch.randint(256, (count, channels, 12, 12), generator=torch.Generator().manual_seed(seed)).byte()


def read(path):
    from matplotlib.image import imread

    return imread(path)


@pytest.mark.parametrize("channels", [1, 3])
def test_a_row_for_each_attack_is_written_as_a_png(tmp_path, channels):
    rows = [(title, images(channels), images(channels, seed=1)) for title in ("badnets", "wanet")]
    path = draw_gallery(rows, tmp_path / "new folder" / "gallery.png")
    picture = read(path)
    assert picture.shape[1] > 1200  # 9 columns of an inch
    assert not np.allclose(picture, picture[0, 0])


def test_an_unchanged_image_has_a_difference_of_mid_grey(tmp_path):
    clean = torch.full((1, 3, 8, 8), 255, dtype=torch.uint8)
    picture = read(draw_gallery([("clean", clean, clean)], tmp_path / "grey.png"))[..., :3]
    assert np.isclose(picture, 127 / 255, atol=1e-3).all(axis=2).mean() > 0.05


def test_a_difference_is_amplified(tmp_path):
    clean = torch.full((1, 1, 8, 8), 100, dtype=torch.uint8)
    picture = read(draw_gallery([("faint", clean, clean + 10)], tmp_path / "faint.png", factor=5))[..., :3]
    assert np.isclose(picture, 177 / 255, atol=1e-3).all(axis=2).mean() > 0.05


@pytest.mark.parametrize(
    "rows", [[], [("a", images(3), images(1))], [("a", images(3), images(3)), ("b", images(3)[:1], images(3)[:1])]]
)
def test_rows_that_do_not_belong_together_are_refused(tmp_path, rows):
    with pytest.raises(ValueError, match="a gallery takes at least one row"):
        draw_gallery(rows, tmp_path / "none.png")


def test_the_drawing_library_is_loaded_only_when_something_is_drawn():
    code = "import sys, benchmark.gallery; assert 'matplotlib' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)
