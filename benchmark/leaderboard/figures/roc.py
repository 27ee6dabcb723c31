"""The loss attack's ROC on the forgotten images, on log axes: can they be told from images never trained on?

Close to the diagonal, where all curves of a weak attack lie, log axes show little. The lower panel therefore has the
same curves over the diagonal: how much more often a forgotten image is called a member than one never trained on.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.axes import Axes

from benchmark.leaderboard.blocks import Floats
from benchmark.leaderboard.figures.style import (
    DASHED,
    INK,
    Drawing,
    Entry,
    add_key,
    canvas,
    key_height,
    log_ticks,
    panel,
    plot,
)
from benchmark.leaderboard.figures.unlearning import Comparison
from benchmark.leaderboard.groups import Group

NAMED_RATE = 10
"""Percent: the false-positive rate at which the description gives numbers, or the nearest one."""
MARK_EVERY = 6
"""Points of a curve."""


@dataclass(frozen=True, eq=False)
class Curve:
    """The mean over blocks of one model's curves, in percent, one value for each false-positive rate."""

    name: str
    rates: Floats
    look: dict[str, Any]


def draw(comparison: Comparison) -> Drawing | None:
    """One curve a method, no further down than the sample resolves (PROTOCOL 3.4); None where old records have none."""
    false = _mean_rates(comparison.fullest.group, "fpr")
    if false is None:
        return None
    curves = _curves(comparison, false)
    foot = key_height([curve.name for curve in curves])
    figure = canvas(5 + foot)
    upper = panel(figure, left=0.62, right=0.15, top=0.12, bottom=foot + 2.45)
    lower = panel(figure, left=0.62, right=0.15, top=2.75, bottom=foot + 0.5)
    entries = _draw(upper, false, curves, np.ones_like(false))
    _draw(lower, false, curves, false)
    upper.tick_params(axis="x", labelbottom=False)
    upper.set_ylabel("true-positive rate (%)")
    lower.set(xlabel="false-positive rate (%)", ylabel="TPR / FPR")
    add_key(figure, entries)
    return Drawing("Membership ROC", _description(false, curves), figure)


def _curves(comparison: Comparison, false: Floats) -> list[Curve]:
    """Those of the references, and of every method that was judged at the same rates."""
    group = comparison.fullest.group
    found = [
        ("Retrain", _mean_rates(group, "retrain"), {"color": INK, "linewidth": 2.2}),
        ("Original", _mean_rates(group, "original"), {"color": INK, "linewidth": 1.4, "linestyle": DASHED}),
    ]
    alike = [row for row in comparison.methods() if np.array_equal(_mean_rates(row.group, "fpr"), false)]  # type: ignore[arg-type]
    for place, row in enumerate(alike):
        look = {**row.look.line, "markevery": (place % MARK_EVERY, MARK_EVERY)}
        found.append((row.name, _mean_rates(row.group, "model"), look))
    return [Curve(name, rates, look) for name, rates, look in found if rates is not None]


def _mean_rates(group: Group, name: str) -> Floats | None:
    """Mean over blocks and models of one entry of the records' curves; None unless every record has it."""
    found = [roc for record in group.averaged if (roc := record.get("curves", {}).get("roc")) is not None]
    if not found or len(found) < len(group.averaged) or any(roc["fpr"] != found[0]["fpr"] for roc in found):
        return None
    rates = 100 * np.asarray([roc[name] for roc in found], dtype=np.float64)
    return np.asarray(rates.reshape(-1, rates.shape[-1]).mean(axis=0), dtype=np.float64)


def _draw(axes: Axes, false: Floats, curves: Sequence[Curve], unit: Floats) -> list[Entry]:
    """All curves and the diagonal, each over `unit`."""
    axes.set(xscale="log", yscale="log", xlim=(false[0], 100))
    axes.plot(false, false / unit, color=INK, linewidth=0.8, linestyle=(0, (1, 2)))
    entries = [plot(axes, false, curve.rates / unit, curve.look, curve.name) for curve in curves]
    for axis in (axes.xaxis, axes.yaxis):
        log_ticks(axis)
    return entries


def _description(false: Floats, curves: Sequence[Curve]) -> str:
    place = int(np.abs(np.log(false / NAMED_RATE)).argmin())
    retrain, original, *methods = curves
    ordered = sorted(methods, key=lambda curve: curve.rates[place])
    ends = f"; methods from {_at(ordered[0], place)} to {_at(ordered[-1], place)}" if ordered else ""
    return (
        "True-positive against false-positive rate of the loss attack, forgotten images as members and held-out images "
        "as non-members, mean over blocks; dotted: blind guessing; no rate of 0 has a place on these axes. Above "
        "Retrain's curve forgotten images still look trained on, below it they were forgotten too much; chance alone "
        f"moves a curve by a few points. At {false[place]:.1f} % false positives: "
        f"{_at(retrain, place)}, {_at(original, place)}{ends}."
    )


def _at(curve: Curve, place: int) -> str:
    return f"{curve.name} {curve.rates[place]:.1f} %"
