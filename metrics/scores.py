"""How one model gets its scores: entries that are declared once and computed one by one, each with value or reason."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Generic, TypeVar

from metrics.declaration import Direction, Metric, MetricInfo, Unresolved

Score = float | list[float | None]
Subject = TypeVar("Subject")


@dataclass(frozen=True)
class Scores:
    """The values of all declared names; None exactly where `unresolved` gives the reason."""

    values: dict[str, Score | None]
    unresolved: dict[str, str]


@dataclass(frozen=True)
class Entry(Generic[Subject]):
    """One score of a record."""

    name: str
    title: str
    description: str
    source: Metric[..., object]
    """The metric that computes it, whose version it carries."""
    compute: Callable[[Subject], Score]
    range: tuple[float, float] = (0.0, 1.0)
    target: float | None = None
    direction: Direction = "retrain"
    """A score of an unlearned model is best where it is what Retrain gets."""

    @property
    def info(self) -> MetricInfo:
        """Its declaration."""
        return MetricInfo(
            name=self.name,
            title=self.title,
            direction=self.direction,
            range=self.range,
            version=self.source.info.version,
            description=self.description,
            unit=self.source.info.unit,
            target=self.target,
        )


def score_all(entries: Iterable[Entry[Subject]], subject: Subject) -> Scores:
    """Compute every entry: its value, or None and why the sample cannot resolve it."""
    values: dict[str, Score | None] = {}
    unresolved: dict[str, str] = {}
    for entry in entries:
        try:
            values[entry.name] = entry.compute(subject)
        except Unresolved as reason:
            values[entry.name] = None
            unresolved[entry.name] = str(reason)
    return Scores(values, unresolved)
