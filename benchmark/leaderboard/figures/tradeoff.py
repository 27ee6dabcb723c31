"""Forgetting against what it breaks: error on the forgotten images and test accuracy, with Retrain as the target.

The second axis is TA, not RA: RA is taken on images that every model was fitted to, and stays near 100 % until a method
wrecks the model; TA is what a clinic would lose.
"""

from collections.abc import Iterable, Mapping
from typing import NamedTuple

from matplotlib.axes import Axes
from matplotlib.patches import Rectangle

from benchmark.leaderboard.figures.numbers import Measured
from benchmark.leaderboard.figures.style import (
    DASHED,
    INK,
    REFERENCE,
    SMALL,
    TEXT,
    WIDTH,
    Drawing,
    Entry,
    add_key,
    band,
    canvas,
    few_ticks,
    key_height,
    panel,
    plot,
)
from benchmark.leaderboard.figures.unlearning import Comparison, Row

CROWDED = 0.15
"""Share of the panel's area in which Original, Retrain and the better half of the methods lie, below which they get a
panel of their own."""

RESOLVED = ("ua", "ta", "retrain_ua", "retrain_ta", "original_ua", "original_ta")
"""Columns of the CSV without which there is nothing to draw."""
LEFT, RIGHT = 0.6, 0.28
"""Inches beside the first and behind every panel."""


class Point(NamedTuple):
    """Where a model stands."""

    ua: Measured
    ta: Measured


class Box(NamedTuple):
    """Part of the plane, in percent."""

    left: float
    right: float
    bottom: float
    top: float

    @property
    def area(self) -> float:
        return (self.right - self.left) * (self.top - self.bottom)


def draw(comparison: Comparison) -> Drawing | None:
    """One point a method; a second panel where most of them crowd in a corner of the first."""
    retrain, original = (Point(of("ua"), of("ta")) for of in (comparison.retrain, comparison.original))
    points = {row: Point(row.measured("ua"), row.measured("ta")) for row in comparison.methods(*RESOLVED)}
    if not points:
        return None
    boxes = _boxes([retrain, original], list(points.values()))
    foot = key_height(["Original", *(row.name for row in points)])
    figure = canvas(3.1 + foot)
    across = (WIDTH - LEFT) / len(boxes)
    for number, box in enumerate(boxes):
        right = RIGHT + across * (len(boxes) - 1 - number)
        axes = panel(figure, left=LEFT + across * number, right=right, top=0.12, bottom=foot + 0.5)
        entries = _draw(axes, points, retrain, original, box)
    if len(boxes) > 1:
        _frame(figure.axes[0], boxes[1])
    figure.axes[0].set_ylabel("TA: accuracy on the test images (%)")
    figure.supxlabel("UA: error on the forgotten images (%)", y=foot / figure.get_figheight(), fontsize=TEXT)
    add_key(figure, entries)
    return Drawing("Forgetting against test accuracy", _description(comparison, points, retrain, original), figure)


def _boxes(targets: list[Point], points: list[Point]) -> list[Box]:
    """Everything; and the part that most crowd in, if they do."""
    whole, detail = _around([*targets, *points]), _around([*targets, *points[: (len(points) + 1) // 2]])
    return [whole, detail] if detail.area < CROWDED * whole.area else [whole]


def _around(points: Iterable[Point]) -> Box:
    """What holds all points with their intervals, and a margin."""
    uas, tas = zip(*points, strict=True)
    left, right = min(ua.low for ua in uas), max(ua.high for ua in uas)
    bottom, top = min(ta.low for ta in tas), max(ta.high for ta in tas)
    across, up = max(right - left, 1) * 0.06, max(top - bottom, 1) * 0.06
    return Box(left - across, right + across, bottom - up, top + up)


def _draw(axes: Axes, points: Mapping[Row, Point], retrain: Point, original: Point, box: Box) -> list[Entry]:
    axes.set(xlim=(box.left, box.right), ylim=(box.bottom, box.top))
    few_ticks(axes)
    band(axes.axvspan, axes.axvline, retrain.ua)
    band(axes.axhspan, axes.axhline, retrain.ta)
    side = -1 if retrain.ua.mean > box.left + 0.7 * (box.right - box.left) else 1
    axes.annotate(
        "Retrain", (retrain.ua.mean, 1), xycoords=("data", "axes fraction"), xytext=(3 * side, -2),
        textcoords="offset points", ha="left" if side > 0 else "right", va="top", fontsize=SMALL,
    )  # fmt: skip
    entries = []
    for row, point in reversed(list(points.items())):  # the best ones on top
        _cross(axes, point, row.look.color)
        entries.append(plot(axes, point.ua.mean, point.ta.mean, row.look.point, row.name))
    _cross(axes, original, INK)
    return [plot(axes, original.ua.mean, original.ta.mean, REFERENCE.point, "Original"), *reversed(entries)]


def _cross(axes: Axes, point: Point, color: str) -> None:
    """Both intervals."""
    axes.plot([point.ua.low, point.ua.high], [point.ta.mean] * 2, color=color, linewidth=1)
    axes.plot([point.ua.mean] * 2, [point.ta.low, point.ta.high], color=color, linewidth=1)


def _frame(axes: Axes, box: Box) -> None:
    """Say which part the next panel shows."""
    corner, width, height = (box.left, box.bottom), box.right - box.left, box.top - box.bottom
    axes.add_patch(Rectangle(corner, width, height, fill=False, linewidth=0.7, linestyle=DASHED))


def _description(comparison: Comparison, points: Mapping[Row, Point], retrain: Point, original: Point) -> str:
    first, best = next(iter(points.items()))
    return (
        f"Error on the forgotten images and accuracy on the test images of {comparison.count(points)}, with 95 % "
        f"t-intervals over blocks; the lines cross at Retrain, the target. Retrain: {_said(retrain)}; Original: "
        f"{_said(original)}; {first.name}: {_said(best)}."
    )


def _said(point: Point) -> str:
    return f"{point.ua.mean:.1f} % and {point.ta.mean:.1f} %"
