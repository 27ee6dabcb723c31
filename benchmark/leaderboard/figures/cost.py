"""What a method costs against how far from Retrain it stays."""

from collections.abc import Mapping

from matplotlib.axes import Axes

from benchmark.leaderboard.figures.numbers import over_blocks
from benchmark.leaderboard.figures.style import (
    DASHED,
    INK,
    REFERENCE,
    SMALL,
    Drawing,
    Entry,
    add_key,
    band,
    canvas,
    key_height,
    log_ticks,
    panel,
    plot,
)
from benchmark.leaderboard.figures.unlearning import Comparison, Row

SHOWN_BELOW = 0.6
"""How far the axis goes down, over the lowest mean: intervals that reach zero have no end on a log axis."""


def draw(comparison: Comparison) -> Drawing | None:
    """One point a method on log axes; what chance alone gives, and what doing nothing does, are lines."""
    methods = [row for row in comparison.methods("flops_share", "avg_gap") if _has_place(row)]
    retrain = comparison.run_reference("retrain")
    shown = [retrain, *methods] if retrain is not None and _has_place(retrain) else methods
    if not methods:
        return None
    foot = key_height([_name(row) for row in shown])
    figure = canvas(3.2 + foot)
    axes = panel(figure, left=0.62, right=0.75, top=0.12, bottom=foot + 0.5)
    axes.set(xscale="log", yscale="log", xlabel="cost: FLOPs, % of the Original's training")
    axes.set_ylabel("Avg. Gap to Retrain (points)")
    entries = [_plot(axes, row) for row in reversed(shown)]  # the best ones on top
    lines = _lines(axes, comparison)
    axes.set_ylim(bottom=SHOWN_BELOW * min([*lines.values(), *(row.percent("avg_gap") for row in shown)]))
    for axis in (axes.xaxis, axes.yaxis):
        log_ticks(axis)
    add_key(figure, entries[::-1])
    return Drawing("Cost against the gap to Retrain", _description(comparison, methods, lines), figure)


def _has_place(row: Row) -> bool:
    """Whether it can stand on log axes."""
    return row.percent("flops_share") > 0 and row.percent("avg_gap") > 0


def _plot(axes: Axes, row: Row) -> Entry:
    cost, gap = row.percent("flops_share"), row.measured("avg_gap")
    axes.plot([cost, cost], [max(gap.low, gap.mean * 1e-3), gap.high], color=row.look.color, linewidth=1)
    return plot(axes, cost, gap.mean, row.look.point, _name(row))


def _name(row: Row) -> str:
    return "retrain, run like a method" if row.look == REFERENCE else row.name


def _lines(axes: Axes, comparison: Comparison) -> dict[str, float]:
    """The gaps that need no method, with their names at the right."""
    lines = {}
    nulls, original = comparison.fullest.group.null_average_gap, comparison.run_reference("original")
    if nulls is not None:
        null = over_blocks(nulls)
        band(axes.axhspan, axes.axhline, null)
        lines["null"] = null.mean
    if original is not None:
        lines["Original"] = original.percent("avg_gap")
        axes.axhline(lines["Original"], color=INK, linewidth=0.8, linestyle=DASHED)
    for number, (name, gap) in enumerate(sorted(lines.items(), key=lambda item: -item[1])):
        axes.annotate(
            name, (1, gap), xycoords=("axes fraction", "data"), xytext=(4, 0), textcoords="offset points",
            va="top" if number else "bottom", fontsize=SMALL,
        )  # fmt: skip
    return lines


def _description(comparison: Comparison, methods: list[Row], lines: Mapping[str, float]) -> str:
    first, cheapest = methods[0], min(methods, key=lambda row: row.percent("flops_share"))
    references = ", ".join(f"{name} {gap:.1f}" for name, gap in lines.items())
    return (
        f"Avg. Gap with 95 % t-interval against cost of {comparison.count(methods)}, both on log axes. {_said(first)}; "
        f"the cheapest, {_said(cheapest)}.{references and f' Lines, in points: {references}.'}"
    )


def _said(row: Row) -> str:
    cost, gap = row.percent("flops_share"), row.percent("avg_gap")
    return f"{row.name}: {gap:.1f} points at {cost:.3g} % of the Original's FLOPs"
