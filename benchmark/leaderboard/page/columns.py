"""What the page knows of a CSV's columns: their meaning, which way is good, whether they are printed in percent."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Literal

from benchmark.leaderboard import audits
from benchmark.leaderboard.backdoor import table as backdoor
from metrics import audit as audit_metrics
from metrics import backdoor as backdoor_metrics
from metrics import nearness, relearn, representation
from metrics import unlearning as unlearning_metrics
from metrics.declaration import Direction

UNLEARNING = unlearning_metrics.METRICS | nearness.METRICS
METRICS = {
    "unlearning.csv": UNLEARNING,
    audits.FILE: UNLEARNING | audit_metrics.METRICS | relearn.METRICS | representation.METRICS,
    "backdoor.csv": backdoor_metrics.METRICS,
    "backdoor_long.csv": backdoor_metrics.METRICS,
}
FURTHER_RATES = ("avg", "avg_gap", "residual", "flops_share", "non_member_share", "lira_removed")
"""Names of rates that are no metrics of one model, without what `DERIVED` takes off."""
FURTHER_AIMS: Mapping[str, Direction] = {
    "avg_gap": "lower", "avg_gap_of_means": "lower", "tow": "higher", "core_cured": "higher", "attacks_cured": "higher",
    "residual": "lower", "control_acc_gap": "higher", "flops_share": "lower", "flops": "lower", "seconds": "lower",
}  # fmt: skip
DERIVED = re.compile(r"(_gap_of_means|_of_means|_gap|_null|_difference)?(_low|_high)?$")
"""What the name of a number that follows from a metric has behind the metric's."""
COUNTS = ("cured",)
"""Metrics that a table counts, where it has a column of that name."""


@dataclass(frozen=True)
class ColumnFacts:
    """One column of a CSV file."""

    name: str
    meaning: str
    aim: Direction | Literal[""]
    rate: bool
    """Whether it holds fractions, which are printed in percent."""


def facts(file: str, names: Iterable[str], meanings: Mapping[str, str]) -> list[ColumnFacts]:
    """What is known of a file's columns.

    Args:
        file: the CSV's name.
        names: its columns; those of single attacks are found under their placeholder.
        meanings: column -> what it says, as declared.
    """
    return [_facts(file, name, _declared(name, meanings), meanings) for name in names]


def _facts(file: str, name: str, declared: str, meanings: Mapping[str, str]) -> ColumnFacts:
    metrics, own = METRICS[file], declared.removeprefix(f"{backdoor.PLACEHOLDER}_")
    aim = FURTHER_AIMS.get(own) or (metrics[own].direction if own in metrics else "")
    base = DERIVED.sub("", own)
    rates = [
        *FURTHER_RATES,
        *(each for each, info in metrics.items() if info.unit == "fraction" and each not in COUNTS),
    ]
    return ColumnFacts(name, meanings.get(declared, ""), aim, any(f"_{base}".endswith(f"_{rate}") for rate in rates))


def _declared(name: str, meanings: Mapping[str, str]) -> str:
    """The name under which a column is declared: its own, or the placeholder's."""
    start = f"{backdoor.PLACEHOLDER}_"
    ends = [known.removeprefix(start) for known in meanings if known.startswith(start)]
    return name if name in meanings else next((start + end for end in ends if name.endswith(f"_{end}")), name)
