"""The gap to Retrain of every method with its interval, beside what chance alone gives."""

import pandas as pd
from matplotlib.axes import Axes

from benchmark.leaderboard.figures.numbers import Measured, over_blocks
from benchmark.leaderboard.figures.style import FAINT, INK, SMALL, Drawing, canvas, name_width, panel
from benchmark.leaderboard.figures.unlearning import Comparison, Row

LINE = 0.23
"""Inches."""


def draw(comparison: Comparison) -> Drawing | None:
    """One line a method, by rank; below them the references that were run like methods."""
    methods = comparison.methods("avg_gap")
    if not methods:
        return None
    references = [row for row in map(comparison.run_reference, ("retrain", "original")) if row is not None]
    rows = [*methods, *references]
    names = [row.name if pd.isna(row.cells["rank"]) else f"{row.cells['rank']:.0f}. {row.name}" for row in rows]
    figure = canvas(0.65 + LINE * (len(rows) + 1))
    axes = panel(figure, left=name_width(names), right=1.35, top=0.1 + LINE, bottom=0.55)
    for height, row in enumerate(rows):
        _draw_null(axes, height, _null(row))
        _draw_gap(axes, height, row)
    axes.set(xlim=(0, None), ylim=(len(rows) - 0.5, -0.5), xlabel="Avg. Gap to Retrain (points)")
    axes.set_yticks(range(len(rows)), names)
    axes.tick_params(axis="y", length=0)
    axes.spines["left"].set_visible(False)
    return Drawing("Gaps to Retrain and their null", _description(comparison, methods), figure)


def _null(row: Row) -> Measured | None:
    """Of the row's own blocks; None with a single Retrain."""
    return None if row.group.null_average_gap is None else over_blocks(row.group.null_average_gap)


def _draw_null(axes: Axes, height: int, null: Measured | None) -> None:
    if null is not None:
        edges = (height - 0.5, height + 0.5)
        axes.fill_betweenx(edges, null.low, null.high, color=INK, alpha=FAINT, linewidth=0)
        axes.plot([null.mean] * 2, edges, color=INK, linewidth=0.8)
        if height == 0:
            axes.text(null.mean, -0.6, "null", fontsize=SMALL, ha="center", va="bottom")


def _draw_gap(axes: Axes, height: int, row: Row) -> None:
    gap = row.measured("avg_gap")
    axes.plot([gap.low, gap.high], [height] * 2, color=row.look.color, linewidth=1.2)
    axes.plot(gap.mean, height, **row.look.point)
    axes.annotate(
        f"{gap.mean:.1f} [{gap.low:.1f}, {gap.high:.1f}]", (1, height), xycoords=("axes fraction", "data"),
        xytext=(8, 0), textcoords="offset points", va="center", fontsize=SMALL,
    )  # fmt: skip


def _description(comparison: Comparison, methods: list[Row]) -> str:
    first, last = methods[0], methods[-1]
    known = [(row.measured("avg_gap"), null) for row in methods if (null := _null(row)) is not None]
    above = sum(gap.low > null.mean for gap, null in known)
    chance = f" The null, the gap between two Retrains, is {known[0][1].mean:.1f}; " if known else ""
    chance += f"{above} of {len(known)} intervals lie above their own." if known else ""
    return (
        f"Avg. Gap of {comparison.count(methods)} in the order of the table, with 95 % t-intervals over blocks: from "
        f"{first.name} with {first.percent('avg_gap'):.1f} points to {last.name} with {last.percent('avg_gap'):.1f}."
        f"{chance} Hollow: not the published hyper-parameters."
    )
