"""What triggers look like: one picture with a row for each attack."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from benchmark.data.poison import target_class
from benchmark.tracks.backdoor import BackdoorTrack
from benchmark.tracks.poisoning import stamped_test

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from benchmark.plan import Plan
    from benchmark.tracks.models import Workbench
    from benchmark.tracks.poisoning import Attack

FACTOR = 5
"""By how much a difference is amplified."""

Row = tuple[str, Tensor, Tensor]
"""Title, clean and stamped images: uint8 (n, channels, height, width)."""


def rows_of(plans: Sequence["Plan"], count: int) -> list[Row]:
    """What each plan's attack does in block 0 to the first test image of each of `count` classes but the target.

    Attacks that learn their trigger are carried out for it, or found in the cache.
    """
    return [_row(plan.bench, plan.track.attack, count) for plan in plans if isinstance(plan.track, BackdoorTrack)]


def _row(bench: "Workbench", attack: "Attack", count: int) -> Row:
    stamped, test = stamped_test(bench, attack, 0), bench.rows_on_device(bench.splits.test)
    labels = bench.dataset.labels[bench.splits.test]
    others = [label for label in labels.unique().tolist() if label != target_class(bench.dataset, 0)]
    chosen = torch.tensor([int((labels == label).nonzero()[0]) for label in others[:count]])
    return attack.info.name, bench.images[test].cpu()[chosen], stamped.cpu()[chosen]


def draw_gallery(rows: Sequence[Row], path: Path, *, factor: int = FACTOR) -> Path:
    """Write a PNG with, for each image of a row: clean, stamped, and their difference around mid-grey.

    Args:
        rows: one for each attack, all of them with the same number of images.
        path: of the PNG; its folder is made where it is missing.
        factor: by how much the difference is amplified.

    Raises:
        ValueError: no rows, or images that do not belong together.
    """
    from matplotlib.figure import Figure  # not pyplot: no window, no state that outlives the call

    if not rows or any(clean.shape != stamped.shape or len(clean) != len(rows[0][1]) for _, clean, stamped in rows):
        raise ValueError("a gallery takes at least one row, each with as many stamped as clean images")
    columns = 3 * len(rows[0][1])
    figure = Figure(figsize=(1.7 + columns, 0.5 + 1.05 * len(rows)), dpi=150, layout="constrained")
    axes = figure.subplots(len(rows), columns, squeeze=False)
    for line, (title, clean, stamped) in zip(axes, rows, strict=True):
        line[0].set_ylabel(title, rotation=0, ha="right", va="center", fontsize=10)
        difference = (127.5 + factor * (stamped.float() - clean.float())).clamp(0, 255).byte()
        for number, images in enumerate(zip(clean, stamped, difference, strict=True)):
            for axis, image in zip(line[3 * number :], images, strict=False):
                _show(axis, image)
    for number, axis in enumerate(axes[0]):
        axis.set_title(("clean", "stamped", f"difference ×{factor}")[number % 3], fontsize=9)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path)
    return path


def _show(axis: "Axes", image: Tensor) -> None:
    """One image, pixel by pixel, without ticks."""
    pixels = image.permute(1, 2, 0).cpu().numpy()
    if pixels.shape[2] == 1:
        axis.imshow(pixels[..., 0], cmap="gray", vmin=0, vmax=255, interpolation="nearest")
    else:
        axis.imshow(pixels, interpolation="nearest")
    axis.set_xticks([])
    axis.set_yticks([])
