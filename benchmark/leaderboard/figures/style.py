"""How every figure looks: one ink, one palette, and what they all draw.

Ink is the page's own text colour; the palette is read on white and on near-black. Colours alone never tell two methods
apart: markers and line styles do too. Whatever a name contains, it is drawn as it is written.
"""

import gc
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, NamedTuple

import matplotlib.style
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure as Canvas
from matplotlib.lines import Line2D
from matplotlib.ticker import FixedLocator, LogLocator, MaxNLocator, NullLocator
from numpy.typing import ArrayLike

from benchmark.leaderboard.figures.numbers import Measured

INK = "#010203"
"""Stands for the page's text colour while matplotlib draws."""
PALETTE = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#9c78fc", "#786054")
"""At least 3:1 against white and against #15181c, and apart under each of the three colour-vision deficiencies."""
MARKERS = ("o", "s", "^", "D", "v", "P", "X")
"""Seven, so that colour and marker together repeat after 42 methods only."""
DASHED = (0, (4, 2))
FAINT = 0.14
"""Opacity of an interval that is an area."""
WIDTH = 5.0
"""Inches: on a phone, 375 px wide, the smallest text is then at least 8 px high."""
TEXT, SMALL = 10, 9
"""Points."""
LONGEST_NAME = 34
HANDLE = 0.5
"""Inches that a marker takes in a key, with the space around it."""
LOG_STEPS = ((1,), (1, 2, 5), (1, 1.5, 2, 3, 4, 5, 7), (*(1 + n / 10 for n in range(10)), 2, 2.5, 3, 4, 5, 6, 7, 8, 9))
FEWEST_TICKS = 3
STYLE: dict[str, Any] = {
    "svg.fonttype": "none", "svg.hashsalt": "medsafe", "text.parse_math": False, "font.size": TEXT,
    "axes.titlesize": TEXT, "axes.labelsize": TEXT, "xtick.labelsize": SMALL, "ytick.labelsize": SMALL,
    "legend.fontsize": SMALL, "text.color": INK, "axes.labelcolor": INK, "axes.edgecolor": INK, "xtick.color": INK,
    "ytick.color": INK, "hatch.color": INK, "patch.edgecolor": INK, "axes.linewidth": 0.7, "hatch.linewidth": 0.6,
    "axes.spines.top": False, "axes.spines.right": False, "axes.facecolor": "none", "figure.facecolor": "none",
    "legend.frameon": False,
}  # fmt: skip


@dataclass(frozen=True, eq=False)
class Drawing:
    """A figure before it is an SVG."""

    title: str
    description: str
    """What is seen, with numbers, for those who do not see it."""
    canvas: Canvas


@dataclass(frozen=True)
class Look:
    """How one method is drawn, in every figure of a page."""

    color: str
    marker: str
    filled: bool
    """Whether its hyper-parameters are the published ones."""

    @property
    def point(self) -> dict[str, Any]:
        """For `Axes.plot`: a marker."""
        face = self.color if self.filled else "none"
        size = 9 if self == REFERENCE else 6.5
        return {"color": self.color, "marker": self.marker, "markerfacecolor": face, "markersize": size, "ls": ""}

    @property
    def line(self) -> dict[str, Any]:
        """For `Axes.plot`: a line with a few markers."""
        return {**self.point, "ls": "-" if self.filled else DASHED, "linewidth": 1.4, "markersize": 4.5}


REFERENCE = Look(INK, "*", filled=True)
"""Original and Retrain."""


class Entry(NamedTuple):
    """One entry of a key."""

    handle: Line2D
    name: str


def plot(axes: Axes, x: ArrayLike, y: ArrayLike, look: Mapping[str, Any], name: str) -> Entry:
    """Draw a marker or a line, as `Look.point` or `Look.line` says, with its name for the key."""
    (handle,) = axes.plot(x, y, **look)
    return Entry(handle, name)


@contextmanager
def drawing() -> Iterator[None]:
    """Draw and save within it: matplotlib's own defaults and this style, whatever the user's `matplotlibrc` says.

    Garbage is looked for among what is drawn alone: among thousands of records that would take half of the time.
    """
    gc.freeze()
    try:
        with warnings.catch_warnings(), matplotlib.style.context(["default", STYLE]):
            warnings.filterwarnings("ignore", "Glyph .* missing from font", UserWarning)  # the browser has other fonts
            yield
    finally:
        gc.unfreeze()


def canvas(height: float) -> Canvas:
    """An empty figure of that many inches."""
    figure = Canvas(figsize=(WIDTH, height))
    FigureCanvasSVG(figure)
    return figure


def panel(figure: Canvas, *, left: float, right: float, top: float, bottom: float) -> Axes:
    """Axes at these distances from the edges of the figure, in inches."""
    width, height = figure.get_size_inches()
    return figure.add_axes((left / width, bottom / height, 1 - (left + right) / width, 1 - (top + bottom) / height))


def add_key(figure: Canvas, entries: Sequence[Entry]) -> None:
    """What the markers and lines mean, at the lower edge of a figure."""
    columns = _key_columns([entry.name for entry in entries])
    key = figure.legend([entry.handle for entry in entries], [" "] * len(entries), loc="lower left", ncols=columns)
    for text, entry in zip(key.get_texts(), entries, strict=True):
        text.set_text(entry.name)  # set afterwards: matplotlib takes a name with a leading underscore for none


def key_height(names: Sequence[str]) -> float:
    """Inches that a key of these names takes."""
    return 0.15 + 0.19 * -(-len(names) // _key_columns(names))


def _key_columns(names: Sequence[str]) -> int:
    """Two, if their longest names fit."""
    half = -(-len(names) // 2)
    taken = sum(name_width(part) + HANDLE for part in (names[:half], names[half:]) if part)
    return 2 if taken <= WIDTH else 1


def name_width(names: Sequence[str]) -> float:
    """Inches that the longest of some small texts takes at most."""
    return 0.075 * max(map(len, names))


def plain(name: str, longest: int = LONGEST_NAME) -> str:
    """A name on one line, without what cannot be printed, cut where it is too long."""
    text = " ".join("".join(letter if letter.isprintable() else " " for letter in name).split())
    return text if len(text) <= longest else f"{text[: longest - 1]}…"


def band(span: Callable[..., Any], line: Callable[..., Any], value: Measured) -> None:
    """A mean and its interval across all of a panel.

    Args:
        span: `axvspan` or `axhspan` of the panel.
        line: `axvline` or `axhline`.
        value: of that axis.
    """
    span(value.low, value.high, color=INK, alpha=FAINT, linewidth=0)
    line(value.mean, color=INK, linewidth=0.8)


def few_ticks(axes: Axes) -> None:
    """At round numbers."""
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_locator(MaxNLocator(5, steps=[1, 2, 5, 10]))


def log_ticks(axis: Axis) -> None:
    """At round numbers, written out: the roundest that give at least three."""
    low, high = axis.get_view_interval()
    for steps in LOG_STEPS:
        ticks = LogLocator(subs=steps).tick_values(low, high)
        axis.set_major_locator(FixedLocator([tick for tick in ticks if low <= tick <= high]))
        if len(axis.get_majorticklocs()) >= FEWEST_TICKS:
            break
    axis.set_minor_locator(NullLocator())
    axis.set_major_formatter(lambda value, _: f"{value:g}")
