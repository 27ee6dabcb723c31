"""What audits say of all methods on one target: how much of the exposure that can be removed each of them removed."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from benchmark.leaderboard.groups import REFERENCES, Group, setting_of
from benchmark.store.records import Record
from metrics.declaration import Unresolved
from metrics.exposure import removed

SIGNED = ("Retained, change",)
"""Titles of differences."""


@dataclass(frozen=True)
class Row:
    """One method on the target; scores are fractions, None where the sample does not resolve them."""

    run: str
    method: str
    preset: str
    status: str
    reference: bool
    """Whether it is no competitor: the model before, or the ideal."""
    average_gap: float | None
    """Of the ordinary metrics, which see no shadow."""
    lira: float | None
    rmia: float | None
    accused: float | None
    """Share of the forget set that LiRA accuses at a false-positive rate of 1 %."""
    removed: float | None
    """Share of the exposure to LiRA above Retrain's that is gone; above 1 the method forgot more than Retrain."""
    retained: float | None
    """What was added to the mean exposure of retained images to LiRA."""


def compare(record: Record, records: Iterable[Record]) -> list[Row]:
    """The runs of a record's setting and target, the references first, then by what they removed.

    Args:
        record: an audit's.
        records: of the same folder; others are left out.
    """
    wanted, block = setting_of(Group([record])), record["spec"]["block"]
    same = [each for each in records if each["spec"]["track"] == "audit" and each["spec"]["block"] == block]
    rows = [_row(each) for each in same if setting_of(Group([each])) == wanted]
    return sorted(rows, key=lambda row: (not row.reference, -_sortable(row.removed), row.method, row.preset))


def headline(row: Row) -> Iterator[tuple[str, float | None]]:
    """Title and value of each score of a row, in the order of a table."""
    yield "Avg. gap", row.average_gap
    yield "LiRA AUC", row.lira
    yield "LiRA TPR at 1 % FPR", row.accused
    yield "RMIA AUC", row.rmia
    yield "Removed", row.removed
    yield SIGNED[0], row.retained


def _row(record: Record) -> Row:
    group, method, scores = Group([record]), record["spec"]["method"], record.get("metrics", {})
    before = record.get("references", {}).get("original", {})
    return Row(
        record["id"], method["name"], method["preset"], record["status"], method["name"] in REFERENCES,
        average_gap=None if group.average_gap is None else float(group.average_gap[0]),
        lira=scores.get("lira_auc"), rmia=scores.get("rmia_auc"), accused=scores.get("lira_tpr_1"),
        removed=_removed(record) if record["status"] == "ok" else None,
        retained=_difference(scores.get("lira_retain_auc"), before.get("lira_retain_auc")),
    )  # fmt: skip


def _removed(record: Record) -> float | None:
    references = record["references"]
    own, before, *retrains = (
        scores["lira_auc"] for scores in (record["metrics"], references["original"], *references["retrain"])
    )
    if None in (own, before, *retrains):
        return None
    try:
        return removed(own, before, retrains)
    except Unresolved:
        return None


def _difference(after: float | None, before: float | None) -> float | None:
    """None where either side is not resolved."""
    return None if after is None or before is None else after - before


def _sortable(value: float | None) -> float:
    return float("-inf") if value is None else value
