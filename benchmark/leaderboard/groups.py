"""Unlearning: which records make one row, and which rows compete."""

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cache, cached_property

from benchmark.leaderboard.blocks import Blocks, Floats, blocks_to_rank, key_of, numbers
from benchmark.store.records import Record
from metrics import gaps
from metrics.declaration import Unresolved

HEADLINE = ("ua", "ra", "ta", "mia_svc")
"""The metrics that Avg. Gap averages (PROTOCOL 3.1)."""
REFERENCES = ("original", "retrain")
"""Methods that are no competitors: the model before, and the ideal."""


@dataclass(frozen=True, eq=False)
class Group(Blocks):
    """The records of one row: one method under one preset in one setting, one record a block."""

    @property
    def standing(self) -> str:
        """Whether the row may be ranked, and if not, why (PROTOCOL 1.3, 1.4, 2.1, 4.1)."""
        if set(self.statuses) != {"ok"}:
            return "incomplete"
        if self.spec["data"]["non_member_share"] == 0:
            return "control"
        if self.method in REFERENCES:
            return "reference"
        if self.spec["method"]["preset"] == "custom" or self.spec["original_sha256"] is not None:
            return "custom"
        enough = len(self.scored) >= blocks_to_rank(self.spec)
        return "ranked" if enough and self.spec["retrains"] >= 2 else "exploratory"

    def originals(self, metric: str) -> Floats | None:
        """The metric on the Originals, shape (blocks,)."""
        return numbers([record["references"]["original"].get(metric) for record in self.averaged])

    @cached_property
    def retrains(self) -> Callable[[str], Floats | None]:
        """A metric -> its values on the Retrains, shape (blocks, K); kept as `values`."""
        references = [record["references"]["retrain"] for record in self.averaged]
        return cache(lambda metric: numbers([[scores.get(metric) for scores in models] for models in references]))

    @cached_property
    def headline(self) -> tuple[str, ...]:
        """The headline metrics that the samples resolve."""
        return tuple(m for m in HEADLINE if self.values(m) is not None and self.retrains(m) is not None)

    @cached_property
    def average_gap(self) -> Floats | None:
        """Avg. Gap of each block."""
        pairs = self._headline_arrays(self.headline)
        return gaps.average_gap(*pairs) if pairs else None

    @cached_property
    def null_average_gap(self) -> Floats | None:
        """Avg. Gap between Retrains, of each block; None with a single Retrain."""
        pairs = self._headline_arrays(self.headline)
        try:
            return gaps.null_average_gap(pairs[1]) if pairs else None
        except Unresolved:
            return None

    @cached_property
    def tow(self) -> Floats | None:
        """ToW of each block, over forget, retain and test accuracy."""
        pairs = self._headline_arrays(("ua", "ra", "ta"))
        return gaps.tow(*pairs) if pairs else None

    def _headline_arrays(self, metrics: Sequence[str]) -> tuple[dict[str, Floats], dict[str, Floats]] | None:
        values = {metric: self.values(metric) for metric in metrics}
        retrains = {metric: self.retrains(metric) for metric in metrics}
        if not metrics or any(array is None for array in [*values.values(), *retrains.values()]):
            return None
        return values, retrains  # type: ignore[return-value]


def group_records(records: Iterable[Record], track: str) -> list[Group]:
    """Records -> rows. Different data, protocol, metric or method versions never share a row."""
    groups = defaultdict(list)
    for record in records:
        if record["spec"]["track"] == track:
            groups[key_of(record, without=("block",))].append(record)
    return [Group(group) for _, group in sorted(groups.items())]


def families(groups: Iterable[Group]) -> list[list[Group]]:
    """Rows that may be compared: the same setting in all but the method."""
    settings = defaultdict(list)
    for group in groups:
        settings[setting_of(group)].append(group)
    return list(settings.values())


def setting_of(group: Group) -> str:
    """All of a row's identity but its method, metric versions included."""
    return key_of(group.records[0], without=("method", "block"))
