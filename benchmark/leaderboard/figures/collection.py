"""All figures of a page."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import pandas as pd

from benchmark.leaderboard.figures import backdoor, cost, forest, heatmap, roc, tradeoff, unlearning
from benchmark.leaderboard.figures.settings import MOST_SETTINGS, Content, chosen, titles
from benchmark.leaderboard.figures.style import Drawing, drawing
from benchmark.leaderboard.figures.svg import to_svg
from benchmark.store.records import Record

UNLEARNING = {"tradeoff": tradeoff.draw, "forest": forest.draw, "cost": cost.draw, "roc": roc.draw}
"""Short name, which starts the ids of its SVG -> what draws it."""
BACKDOOR = {"core": partial(heatmap.draw, core=True), "further": partial(heatmap.draw, core=False)}

NO_BREAK = "\u00a0"
"""A space at which no line ends."""


@dataclass(frozen=True)
class Figure:
    """One figure of the page."""

    track: str
    setting: str
    """What all that is drawn has in common, in words; no two settings of a track have the same."""
    title: str
    description: str
    """How to read it and what is seen, with numbers."""
    svg: str
    """An `<svg>` element without a size of its own, with its title as text alternative. No id of it occurs twice."""


def figures(records: Sequence[Record], table: pd.DataFrame | None = None) -> list[Figure]:
    """Draw each track's settings with most ranked rows, in a stable order; the same records give the same bytes.

    Args:
        records: all that there are.
        table: their `leaderboard`, where somebody has made it already.
    """
    with drawing():
        return [*_unlearning(records, table), *_backdoor(records)]


def left_out(records: Sequence[Record]) -> dict[str, int]:
    """Track -> number of settings that get no figures because there are too many."""
    found = {"unlearning": len(unlearning.settings(records)), "backdoor": len(backdoor.settings(records))}
    return {track: max(0, count - MOST_SETTINGS) for track, count in found.items()}


def _unlearning(records: Sequence[Record], table: pd.DataFrame | None) -> Iterator[Figure]:
    settings = chosen(unlearning.settings(records))
    contents = unlearning.comparisons(settings, table)
    for setting, title, content in zip(settings, titles(settings, "scenario"), contents, strict=True):
        yield from _drawn("unlearning", title, setting.key, content, UNLEARNING)


def _backdoor(records: Sequence[Record]) -> Iterator[Figure]:
    settings = chosen(backdoor.settings(records))
    for setting, title in zip(settings, titles(settings, "pool"), strict=True):
        yield from _drawn("backdoor", title, setting.key, backdoor.Encounters(setting.rows), BACKDOOR)


def _drawn(
    track: str, setting: str, key: str, content: Content, draws: Mapping[str, Callable[[Content], Drawing | None]]
) -> Iterator[Figure]:
    for name, draw in draws.items():
        made = draw(content)
        if made is not None:
            svg = to_svg(made.canvas, f"{name}-{key}", made.title)
            yield Figure(track, setting, made.title, made.description.replace(" %", NO_BREAK + "%"), svg)
