"""Records of audits -> `audits.csv`: what strong attacks find in unlearned models, beside Avg. Gap."""

from collections.abc import Iterable, Iterator

import numpy as np
import pandas as pd

from benchmark.leaderboard.blocks import Floats
from benchmark.leaderboard.cells import Cell, Column, interval, mean
from benchmark.leaderboard.columns import columns, measured, nearness, null
from benchmark.leaderboard.groups import Group, families, group_records
from benchmark.store.records import Record
from metrics.audit import METRICS
from metrics.declaration import Unresolved
from metrics.exposure import removed
from metrics.nearness import ZRF
from metrics.relearn import LIMIT, relearn_steps
from metrics.representation import PROBES, SIMILARITIES

FILE = "audits.csv"
HEADLINE = ("lira_auc", "lira_tpr_1", "rmia_auc", "lira_retain_auc", "probe_forget")
"""Scores with intervals, gaps and verdicts."""


def audit_columns() -> list[Column[Group]]:
    """The columns of `audits.csv`; blocks are targets."""
    own: tuple[Column[Group], ...] = (
        Column("shadows", "models trained on random halves that the attacks know", _shadows),
        Column(
            "lira_removed",
            "share of the Original's exposure to LiRA above Retrain's that is gone, both as means over targets; empty "
            "below two Retrains, and where it is no larger than means of Retrains differ, or than 0.02",
            lambda g: mean(_removed(g)),
        ),
        Column(
            "lira_removed_low",
            "lower end of its linearised 95 % t-interval over targets",
            lambda g: interval(_removed(g))[0],
        ),
        Column("lira_removed_high", "upper end", lambda g: interval(_removed(g))[1]),
    )
    similarities = (column for entry in SIMILARITIES for column in nearness(entry.info))
    probes = {entry.name: entry.info for entry in PROBES}
    return columns(METRICS | {ZRF.name: ZRF.info} | probes, HEADLINE, (*own, *_relearning(), *similarities))


def _relearning() -> Iterator[Column[Group]]:
    """Of relearn time, in steps: a verdict within two points has no meaning for it."""
    name = relearn_steps.info.name
    yield from measured(relearn_steps.info)
    yield Column(f"retrain_{name}", "the same of the Retrains: the target", lambda g: mean(g.retrains(name)))
    yield Column(f"{name}_null", "mean |difference| between Retrains", lambda g: null(g, name))
    yield Column(
        f"{name}_capped",
        f"models of the row, their Retrains included, that were not there before step {LIMIT}: with any, its means say "
        '"at least"',
        _capped,
    )
    yield Column(
        "relearn_ratio",
        "relearn time over Retrain's, both as means over targets: below 1, more is left than in a model that never saw "
        "the forget set",
        _relearn_ratio,
    )


def _capped(group: Group) -> int | None:
    found = [of("relearn_steps") for of in (group.values, group.retrains)]
    return None if any(steps is None for steps in found) else sum(int(np.sum(steps == LIMIT)) for steps in found)


def _relearn_ratio(group: Group) -> float | None:
    own, retrains = mean(group.values("relearn_steps")), mean(group.retrains("relearn_steps"))
    return own / retrains if own is not None and retrains else None


def audits(records: Iterable[Record]) -> pd.DataFrame:
    """One row per data set x architecture x recipe x scenario x shadows x method x preset; rates are fractions.

    Without runs on `part:k/n`, which are the material of U-LiRA. Rows of one setting stand together, those nearest to
    Retrain in LiRA's AUC first.
    """
    wanted, whole = audit_columns(), (each for each in records if not _is_part(each))
    rows = [
        sorted(({column.name: column.produce(group) for column in wanted} for group in family), key=_order)
        for family in families(group_records(whole, "audit"))
    ]
    return pd.DataFrame([row for family in rows for row in family], columns=[column.name for column in wanted])


def _is_part(record: Record) -> bool:
    return str(record["spec"].get("scenario")).startswith("part:")


def _order(row: dict[str, Cell]) -> tuple[float, str]:
    gap = row["lira_auc_gap"]
    return (gap if isinstance(gap, float) else np.inf), str(row["method"])


def _shadows(group: Group) -> int:
    return int(group.spec["shadows"])


def _removed(group: Group) -> Floats | None:
    """A ratio of means over targets, linearised: each target's part in it, shape (targets,), of which it is the mean.

    A mean of each target's ratio would be ruled by the targets that had least to remove. With r = sum of n / sum of d,
    the parts are r + (n - r d) / mean of d.

    Source: Cochran, Sampling Techniques, 1977, chapter 6.
    """
    own, before, retrains = (of("lira_auc") for of in (group.values, group.originals, group.retrains))
    if own is None or before is None or retrains is None:
        return None
    try:
        share = removed(float(own.mean()), float(before.mean()), retrains.mean(axis=0))
    except Unresolved:
        return None
    removable = before - retrains.mean(axis=1)
    return np.asarray(share + (before - own - share * removable) / removable.mean())
