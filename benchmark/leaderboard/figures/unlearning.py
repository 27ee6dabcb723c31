"""What the figures of the unlearning track are drawn from: the rows of `unlearning.csv`, and their records."""

import math
from collections.abc import Collection, Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import pandas as pd

from benchmark.leaderboard.blocks import Floats
from benchmark.leaderboard.cells import interval, named
from benchmark.leaderboard.figures.numbers import Measured
from benchmark.leaderboard.figures.settings import Setting, colors_and_markers, counted, row_names
from benchmark.leaderboard.figures.style import REFERENCE, Look
from benchmark.leaderboard.groups import REFERENCES, Group, families, group_records, setting_of
from benchmark.leaderboard.table import leaderboard
from benchmark.store.records import Record

IDENTITY = ["method", "preset", "version", "hyperparameters"]
"""The columns of `unlearning.csv` that tell the rows of a setting apart."""
PLAIN = ("ranked", "reference")
"""Standings that need no word beside the name."""
MOST_ROWS = 16
"""Methods that one figure shows."""


@dataclass(frozen=True, eq=False)
class Row:
    """One method under one preset."""

    group: Group
    cells: Mapping[Hashable, Any]
    """The row of the CSV, by column."""
    name: str
    look: Look

    def percent(self, column: str) -> float:
        """A fraction, in percent; not a number where there is none."""
        value = self.cells[column]
        return math.nan if pd.isna(value) else 100 * float(value)

    def measured(self, column: str) -> Measured:
        """A column with its interval."""
        return Measured.of(*(self.cells[f"{column}{end}"] for end in ("", "_low", "_high")))


@dataclass(frozen=True, eq=False)
class Comparison:
    """The rows of one setting, in the order of the CSV."""

    rows: Sequence[Row]

    def methods(self, *columns: str) -> list[Row]:
        """The competitors for which these columns have a number, as many as a figure can show."""
        known = [row for row in self._competitors if not any(pd.isna(row.cells[column]) for column in columns)]
        return known[:MOST_ROWS]

    def run_reference(self, method: str) -> Row | None:
        """The row of `original` or `retrain`, which are run like methods."""
        found = (row for row in self.rows if row.group.method == method)
        return next((row for row in found if not pd.isna(row.cells["avg_gap"])), None)

    @cached_property
    def fullest(self) -> Row:
        """The row that the scores of Originals and Retrains come from: with most blocks, a ranked one if any is."""
        return max(self.rows, key=lambda row: (row.cells["standing"] == "ranked", len(row.group.scored)))

    def original(self, metric: str) -> Measured:
        """Of the Originals; not a number where the samples do not resolve it."""
        return self._reference(f"original_{metric}", self.fullest.group.originals(metric))

    def retrain(self, metric: str) -> Measured:
        """Of the Retrains, with the interval of their means over blocks."""
        found = self.fullest.group.retrains(metric)
        return self._reference(f"retrain_{metric}", None if found is None else found.mean(axis=1))

    def _reference(self, column: str, by_block: Floats | None) -> Measured:
        return Measured.of(self.fullest.cells[column], *interval(by_block))

    def count(self, shown: Collection[Row]) -> str:
        """How many methods a figure shows, and how many of them are ranked, in words."""
        ranked = sum(row.cells["standing"] == "ranked" for row in shown)
        unranked = "" if ranked == len(shown) else f" ({ranked} ranked)"
        return counted(len(shown), len(self._competitors), "method") + unranked

    @cached_property
    def _competitors(self) -> list[Row]:
        return [row for row in self.rows if row.group.method not in REFERENCES]


def settings(records: Sequence[Record]) -> list[Setting[Group]]:
    """Every setting that has a method whose blocks all went well, with all such rows."""
    found = []
    for family in families(group_records(records, "unlearning")):
        groups = [group for group in family if group.averaged]
        if any(group.method not in REFERENCES for group in groups):
            ranked = sum(group.standing == "ranked" for group in groups)
            found.append(Setting(setting_of(groups[0]), groups[0].spec, ranked, groups))
    return found


def comparisons(chosen: Sequence[Setting[Group]], table: pd.DataFrame | None) -> Iterator[Comparison]:
    """The rows of each setting, as the table orders them.

    Args:
        chosen: the settings.
        table: of all records, where somebody has made it already.
    """
    groups = [group for setting in chosen for group in setting.rows]
    known = leaderboard(record for group in groups for record in group.records) if table is None else table
    pairs = colors_and_markers(group.method for group in groups if group.method not in REFERENCES)
    for setting in chosen:
        yield _comparison(setting.rows, known[known["setting"] == setting.key], pairs)


def _comparison(groups: Sequence[Group], table: pd.DataFrame, pairs: Mapping[str, tuple[str, str]]) -> Comparison:
    by_identity = {_identity(group): group for group in groups}
    cells = [row for row in table.to_dict("records") if tuple(row[name] for name in IDENTITY) in by_identity]
    ordered = [by_identity[tuple(row[name] for name in IDENTITY)] for row in cells]
    named_rows = zip(row_names([group.spec["method"] for group in ordered]), cells, strict=True)
    names = [name if row["standing"] in PLAIN else f"{name}, {row['standing']}" for name, row in named_rows]
    looks = [_look(group, pairs) for group in ordered]
    return Comparison([Row(*parts) for parts in zip(ordered, cells, names, looks, strict=True)])


def _look(group: Group, pairs: Mapping[str, tuple[str, str]]) -> Look:
    if group.method in REFERENCES:
        return REFERENCE
    return Look(*pairs[group.method], filled=group.spec["method"]["preset"].startswith("published"))


def _identity(group: Group) -> tuple[str, ...]:
    method = group.spec["method"]
    return method["name"], method["preset"], method["version"], named(method["hyperparameters"])
