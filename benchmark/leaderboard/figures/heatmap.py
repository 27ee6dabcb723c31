"""Defences by attacks: what is left of the attack, and what the defence cost in accuracy.

Cells are one colour, the more opaque the worse, on the page's own background: on a light page and on a dark one the
page's text colour can be read on all of them.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby

from matplotlib.axes import Axes
from matplotlib.collections import PolyCollection
from matplotlib.colors import to_rgba
from matplotlib.figure import Figure as Canvas

from benchmark.leaderboard.backdoor.rows import Row
from benchmark.leaderboard.figures.backdoor import RATES, REFERENCES, Cell, Encounters, Rate, State
from benchmark.leaderboard.figures.settings import counted
from benchmark.leaderboard.figures.style import INK, PALETTE, SMALL, WIDTH, Drawing, canvas, name_width, panel, plain

COLOR = PALETTE[1]
MOST_OPAQUE = 0.6
LINE, ABOVE, BETWEEN, NARROWEST = 0.21, 0.3, 0.12, 0.34
"""Inches: a row, the title of a panel, the space between two, a cell below which panels stand one below the other."""
HEADING = 1.1
"""Rows that the name of a group takes."""
MOST_ATTACKS, MOST_ROWS = 12, 30
MOST_EXAMPLES = 2
"""Attacks that the description gives numbers of."""
LONGEST_ATTACK = 30
"""Letters."""


@dataclass(frozen=True, eq=False)
class Grid:
    """What stands where: attacks from left to right, defences from top to bottom, by what a defender may do."""

    encounters: Encounters
    attacks: Mapping[str, str]
    """Short name -> as it is written."""
    headings: Mapping[float, str]
    lines: Mapping[float, tuple[str, Row | None]]
    """Height -> name and row; a reference has none."""
    height: float
    """Altogether, in rows."""


def draw(encounters: Encounters, core: bool) -> Drawing | None:
    """One panel for each rate; against the attacks that rank, which most defences meet, or against all others."""
    every = [label for label, duel in encounters.attacks.items() if duel.core == core]
    attacks = every[:MOST_ATTACKS]
    met = encounters.defenses(attacks)
    if not met:
        return None
    grid = _grid(encounters, attacks, dict(list(met.items())[:MOST_ROWS]))
    numbers = counted(min(len(met), MOST_ROWS), len(met), "defence"), counted(len(attacks), len(every), "attack")
    title = f"Defences against {'the attacks that rank' if core else 'further attacks'}"
    return Drawing(title, _description(grid, " against ".join(numbers)), _figure(grid))


def _grid(encounters: Encounters, attacks: Sequence[str], defenses: Mapping[str, Row]) -> Grid:
    headings: dict[float, str] = {}
    lines: dict[float, tuple[str, Row | None]] = {float(place): (name, None) for place, name in enumerate(REFERENCES)}
    height = float(len(lines))
    for power, named in groupby(defenses.items(), key=lambda item: item[1].power):
        headings[height + 0.15] = plain(power)
        height += HEADING
        for name, row in named:
            lines[height] = (name, row)
            height += 1
    words = {attack: plain(attack, LONGEST_ATTACK) for attack in attacks}
    return Grid(encounters, words, headings, lines, height)


def _figure(grid: Grid) -> Canvas:
    """The panels, side by side if there is room for the numbers."""
    left = name_width([name for name, _ in grid.lines.values()])
    foot = 0.7 * name_width(list(grid.attacks.values())) + 0.2
    across, down = (WIDTH - left) / len(RATES), LINE * grid.height + ABOVE
    beside = (across - BETWEEN) / len(grid.attacks) >= NARROWEST
    figure = canvas(foot + (down if beside else down * len(RATES)))
    for number, rate in enumerate(RATES):
        later = len(RATES) - 1 - number
        right, under = (across * later, 0) if beside else (0, down * later)
        start, over = (across * number, 0) if beside else (0, down * number)
        axes = panel(figure, left=left + start, right=BETWEEN + right, top=ABOVE + over, bottom=foot + under)
        axes.set_title(f"{rate.title} (%)", loc="left")
        _draw(axes, grid, rate, names=not (beside and number), attacks=beside or not later)
    return figure


def _draw(axes: Axes, grid: Grid, rate: Rate, *, names: bool, attacks: bool) -> None:
    """One panel; `names` and `attacks` say whether it has the words at its left and below it."""
    axes.set(xlim=(-0.5, len(grid.attacks) - 0.5), ylim=(grid.height - 0.5, -0.5))
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
    words = list(grid.attacks.values()) if attacks else []
    axes.set_xticks(range(len(words)), words, rotation=45, ha="right", rotation_mode="anchor")
    axes.set_yticks(list(grid.lines) if names else [], [name for name, _ in grid.lines.values()] if names else [])
    for height, heading in grid.headings.items() if names else ():
        axes.text(-0.5, height, heading, fontsize=SMALL, va="center", style="italic")
    _draw_cells(
        axes,
        {
            (place, height): _cell(grid.encounters, rate, name, row, attack)
            for height, (name, row) in grid.lines.items()
            for place, attack in enumerate(grid.attacks)
        },
    )


def _draw_cells(axes: Axes, cells: Mapping[tuple[int, float], Cell]) -> None:
    rates = {place: cell for place, cell in cells.items() if isinstance(cell, float)}
    colors = [to_rgba(COLOR, opacity(rate)) for rate in rates.values()]
    failed = [place for place, cell in cells.items() if cell is State.ATTACK_FAILED]
    axes.add_collection(PolyCollection([_corners(*place) for place in rates], facecolors=colors, linewidth=0))
    axes.add_collection(
        PolyCollection(
            [_corners(*place) for place in failed], facecolors="none", edgecolors=INK, linewidth=0, hatch="////"
        )
    )
    for (place, height), cell in cells.items():
        if isinstance(cell, float) or cell is State.INCOMPLETE:
            text = str(round(cell)).replace("-", "−") if isinstance(cell, float) else "–"
            axes.text(place, height, text, ha="center", va="center_baseline", fontsize=SMALL)


def _corners(place: int, height: float) -> list[tuple[float, float]]:
    """Of a cell, with a margin."""
    return [(place + x, height + y) for x, y in ((-0.47, -0.45), (0.47, -0.45), (0.47, 0.45), (-0.47, 0.45))]


def opacity(percent: float) -> float:
    """Of a cell; the root tells the few points apart that decide whether a model is cured."""
    return MOST_OPAQUE * math.sqrt(min(max(percent, 0) / 100, 1))


def _cell(encounters: Encounters, rate: Rate, name: str, row: Row | None, attack: str) -> Cell:
    known = encounters.attacks[attack]
    if row is None:
        return rate.of_reference(known, name)
    own = next((duel for duel in row.duels if duel.label == attack), None)
    if own is None:
        return State.ATTACK_FAILED if known.failed else State.NOT_RUN
    return rate.of_defense(own)


def _description(grid: Grid, numbers: str) -> str:
    duels = {attack: grid.encounters.attacks[attack] for attack in grid.attacks}
    failed = sum(duel.failed for duel in duels.values())
    hatched = f" {counted(failed, len(duels), 'attack')} failed their gate and are hatched." if failed else ""
    examples = [_example(grid, attack) for attack, duel in duels.items() if not duel.failed]
    return (
        "ASR, and what recovery accuracy and ACC lost against the oracle, in percent: mean over blocks. "
        f"{numbers}, in the order of the table; a dash is a block that failed, an empty cell was not run.{hatched}"
        f"{''.join(examples[:MOST_EXAMPLES])}"
    )


def _example(grid: Grid, attack: str) -> str:
    """ASR before, after the first defence of the table, and of the oracle."""
    cells = [(name, row, _cell(grid.encounters, RATES[0], name, row, attack)) for name, row in grid.lines.values()]
    known = [(name, row, cell) for name, row, cell in cells if isinstance(cell, float)]
    ends = [cell for _, row, cell in known if row is None]
    after = next(((name, cell) for name, row, cell in known if row is not None), None)
    if after is None or len(ends) < len(REFERENCES):
        return ""
    before, ideal = ends
    rates = f"{before:.1f} % before, {after[1]:.1f} % after {after[0]}, {ideal:.1f} % of the oracle"
    return f" {grid.attacks[attack]}: ASR {rates}."
