"""Measuring ways to do the same work in turns, so that whatever else the machine does slows all of them down."""

import statistics
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field

OURS = "ours"
"""The name of the suite's own way; every other way is divided by it."""
Clock = Callable[[], float]


@dataclass(frozen=True, eq=False)
class Comparison:
    """Ways to do the same work.

    Attributes:
        title: for a table.
        detail: what exactly is timed, in one line.
        ways: by name, ours first; each call does the work once.
        required: how often faster ours must be than the second way; None where nothing is promised.
        warm_up: whether each way is called once before it counts: not where it is a process of its own.
        most_repeats: for what takes minutes.
        shares: says, when all is measured, which share of its time ours spent on what, one for each repeat.
    """

    title: str
    detail: str
    ways: Mapping[str, Callable[[], object]]
    required: float | None = None
    warm_up: bool = True
    most_repeats: int | None = None
    shares: Callable[[], Mapping[str, tuple[float, ...]]] = dict


@dataclass(frozen=True)
class Spread:
    """What is reported of several measurements."""

    minimum: float
    median: float
    maximum: float


@dataclass(frozen=True)
class Measured:
    """A comparison's figures.

    Attributes:
        title: as in `Comparison`.
        detail: as in `Comparison`.
        required: as in `Comparison`.
        seconds: of every way, one for each repeat, in the order of measuring.
        shares: as `Comparison.shares` says.
    """

    title: str
    detail: str
    required: float | None
    seconds: Mapping[str, tuple[float, ...]]
    shares: Mapping[str, tuple[float, ...]] = field(default_factory=dict)

    def spread(self, way: str) -> Spread:
        """Of a way's seconds."""
        return spread(self.seconds[way])

    def ratios(self) -> dict[str, Spread]:
        """How often faster ours is than each other way: the spread over repeats of the ratio within one repeat."""
        ours = self.seconds[OURS]
        return {
            way: spread([theirs / own for theirs, own in zip(seconds, ours, strict=True)])
            for way, seconds in self.seconds.items()
            if way != OURS
        }


def spread(values: Iterable[float]) -> Spread:
    """Minimum, median and maximum; ValueError where there is no value."""
    found = list(values)
    return Spread(min(found), statistics.median(found), max(found))


def measure(comparison: Comparison, repeats: int, clock: Clock = time.perf_counter) -> Measured:
    """Call all ways in turns; every second repeat in reverse order, so that a drift favours none.

    Args:
        comparison: what to call.
        repeats: how often each way is timed; `most_repeats` may lessen it.
        clock: returns seconds.
    """
    if comparison.warm_up:
        for work in comparison.ways.values():
            work()
    seconds: dict[str, list[float]] = {way: [] for way in comparison.ways}
    for repeat in range(min(repeats, comparison.most_repeats or repeats)):
        names = list(comparison.ways)
        for way in names if repeat % 2 == 0 else reversed(names):
            seconds[way].append(timed(comparison.ways[way], clock))
    kept = {way: tuple(values) for way, values in seconds.items()}
    return Measured(comparison.title, comparison.detail, comparison.required, kept, comparison.shares())


def timed(work: Callable[[], object], clock: Clock = time.perf_counter) -> float:
    """Seconds that a call takes."""
    start = clock()
    work()
    return clock() - start
