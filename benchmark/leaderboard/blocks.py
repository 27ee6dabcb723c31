"""What the rows of every track are made of: records that differ in the block alone, never across versions."""

import json
from collections import Counter
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from functools import cache, cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmark.store.records import Record

BLOCKS_TO_RANK = {"bloodmini": 10}
BLOCKS_TO_RANK_ELSEWHERE = 5

Floats = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Blocks:
    """The records of one method under one preset in one setting, one record a block."""

    records: Sequence[Record]

    @property
    def spec(self) -> dict[str, Any]:
        """The spec that all records share, but for the block."""
        return self.records[0]["spec"]

    @property
    def method(self) -> str:
        """The method's name."""
        return str(self.spec["method"]["name"])

    @cached_property
    def scored(self) -> list[Record]:
        """The records with metrics, in the order of their blocks."""
        return sorted((r for r in self.records if r["status"] == "ok"), key=lambda r: r["spec"]["block"])

    @property
    def averaged(self) -> list[Record]:
        """The records that a mean may be taken over: all, or none, for a failed block is never averaged away."""
        return self.scored if len(self.scored) == len(self.records) else []

    @property
    def blocks(self) -> list[int]:
        """The scored blocks."""
        return [record["spec"]["block"] for record in self.scored]

    @property
    def statuses(self) -> Counter[str]:
        """How many records ended how."""
        return Counter(record["status"] for record in self.records)

    @cached_property
    def values(self) -> Callable[[str], Floats | None]:
        """A metric -> its values on the method's models, shape (blocks,); None unless resolved in every block.

        Kept, for half of all columns ask for them.
        """
        return cache(lambda metric: numbers([record["metrics"].get(metric) for record in self.averaged]))


def blocks_to_rank(spec: dict[str, Any]) -> int:
    """How many blocks a row needs to be ranked (PROTOCOL 1.3)."""
    return BLOCKS_TO_RANK.get(spec["data"]["name"], BLOCKS_TO_RANK_ELSEWHERE)


def key_of(record: Record, without: Collection[str]) -> str:
    """All of a record's identity but some parts of its spec, metric versions included."""
    spec = {name: value for name, value in record["spec"].items() if name not in without}
    versions = {name: info["version"] for name, info in record["declarations"].items()}
    return json.dumps([spec, versions], sort_keys=True)


def numbers(values: list[Any]) -> Floats | None:
    """The values as an array; None if there is none, or one of them is no number."""
    flat = [item for value in values for item in (value if isinstance(value, list) else [value])]
    return (
        np.asarray(values, dtype=np.float64) if flat and all(isinstance(item, int | float) for item in flat) else None
    )
