"""What the CSV files of every track share: columns that are declared once, and how records become a cell."""

import hashlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

import numpy as np

from benchmark.store.records import Record
from metrics.intervals import t_interval

Cell = str | float | int | None
Row = TypeVar("Row")


@dataclass(frozen=True)
class Column(Generic[Row]):
    """One column: what it is called, what it says, how it is computed."""

    name: str
    description: str
    produce: Callable[[Row], Cell]


def mean(values: Any) -> float | None:
    """Mean over blocks; None stays None."""
    return None if values is None else float(np.mean(values))


def interval(values: Any) -> tuple[float, float] | tuple[None, None]:
    """The 95 % t-interval over blocks, where there are two or more."""
    return (None, None) if values is None or len(values) < 2 else t_interval(values)


def mean_cost(records: Sequence[Record], name: str) -> float | None:
    """Mean of a cost that every record has."""
    values = [record["cost"].get(name) for record in records]
    return float(np.mean(values)) if values and all(value is not None for value in values) else None  # type: ignore[arg-type]


def mean_by_class(found: Iterable[list[float | None] | None]) -> str:
    """Values by class -> their means over blocks in one cell, in class order; nan where no block has one."""
    rows = [row for row in found if row is not None]
    means = [[value for value in column if value is not None] for column in zip(*rows, strict=True)]
    return " ".join(f"{np.mean(values):.4f}" if values else "nan" for values in means)


def cost_columns(
    share: str, whose: str, ideal: str, averaged: Callable[[Any], Sequence[Record]]
) -> Iterator[Column[Any]]:
    """What a row cost; of whatever has `records`.

    Args:
        share: what `flops_share` says.
        whose: the method or the defence.
        ideal: what `retrain_seconds` is of.
        averaged: the records of a row that means are taken over.
    """
    yield Column("flops_share", share, lambda row: mean_cost(averaged(row), "flops_share"))
    yield Column("flops", f"FLOPs of the {whose}, all passes", lambda row: mean_cost(averaged(row), "flops"))
    yield Column(
        "seconds",
        f"wall seconds of the {whose}; compare within one device only",
        lambda row: mean_cost(averaged(row), "seconds"),
    )
    yield Column(
        "retrain_seconds", f"wall seconds of one {ideal}", lambda row: mean_cost(averaged(row), "retrain_seconds")
    )
    yield Column("device", "where it was computed, and with how many threads", lambda row: devices(row.records))


def devices(records: Iterable[Record]) -> str:
    """Where the records were computed, and with how many threads."""
    return " ".join(sorted({f"{r['environment']['device']}-{r['environment']['threads']}" for r in records}))


def counts(statuses: dict[str, int]) -> str:
    """How many ended how."""
    return " ".join(f"{status}:{count}" for status, count in sorted(statuses.items()))


def named(values: dict[str, Any]) -> str:
    """Hyper-parameters, `name=value`."""
    return " ".join(f"{name}={value}" for name, value in values.items())


def short_name(identity: str) -> str:
    """Eight digits that stand for a setting."""
    return hashlib.sha256(identity.encode()).hexdigest()[:8]


def unresolved(records: Iterable[Record]) -> str:
    """Metrics that the samples cannot resolve, and why."""
    return "; ".join(sorted({f"{name}: {reason}" for r in records for name, reason in r["unresolved"].items()}))


def reasons(records: Iterable[Record]) -> str:
    """Why blocks failed."""
    return "; ".join(sorted({record["reason"] for record in records if record["reason"]}))


def notes(records: Iterable[Record]) -> str:
    """What a reader of the row must know."""
    return "; ".join(sorted({note for record in records for note in record["notes"]}))
