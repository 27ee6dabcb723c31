"""The columns of `unlearning.csv`, each declared once: name, meaning, and how it follows from a row's records."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from benchmark.leaderboard.cells import (
    Column,
    cost_columns,
    counts,
    interval,
    mean,
    mean_by_class,
    named,
    notes,
    reasons,
    short_name,
    unresolved,
)
from benchmark.leaderboard.groups import HEADLINE, Group, setting_of
from benchmark.submission.verification import VERIFIED, count_verified
from metrics.declaration import MetricInfo, Unresolved
from metrics.gaps import gap_of_means, method_gap, null_gap, null_tow, signed_differences
from metrics.intervals import verdict
from metrics.nearness import DISTANCES, ZRF
from metrics.unlearning import METRICS


def columns(
    metrics: Mapping[str, MetricInfo] = METRICS | {ZRF.name: ZRF.info},
    headline: Sequence[str] = HEADLINE,
    more: Sequence[Column[Group]] = (),
) -> list[Column[Group]]:
    """All columns that follow from a row alone, in the order of the CSV; rank and test follow from its family.

    Args:
        metrics: those that have columns.
        headline: those of them with intervals, gaps and verdicts.
        more: columns that stand before those of the metrics.
    """
    distances = [column for entry in DISTANCES for column in nearness(entry.info)]
    detailed = [column for name in headline for column in _detailed(metrics[name])]
    brief = [
        column for name, info in metrics.items() if name not in (*headline, "sensitivity") for column in _brief(info)
    ]
    return [*_identity(), *_aggregates(), *more, *detailed, *distances, *brief, *_cost(), *_closing()]


def _identity() -> Iterator[Column[Group]]:
    yield Column(
        "standing",
        "ranked; or exploratory (too few blocks), unpaired (other blocks than most), incomplete (a block failed), "
        "custom, reference, control",
        lambda g: g.standing,
    )
    yield Column("dataset", "name that the data deserve", lambda g: g.spec["data"]["name"])
    yield Column("architecture", "network", lambda g: g.spec["architecture"])
    yield Column("recipe", "how Original and Retrains are trained", lambda g: g.spec["recipe"]["name"])
    yield Column("augmentation", "the recipe's augmentation policy", lambda g: g.spec["recipe"]["augmentation"])
    yield Column("scenario", "what is forgotten", lambda g: g.spec["scenario"])
    yield Column("method", "unlearning method", lambda g: g.method)
    yield Column("preset", "source of the hyper-parameters (PROTOCOL 4.1)", lambda g: g.spec["method"]["preset"])
    yield Column(
        "version", "the method's version; with a hash where it is a plugin", lambda g: g.spec["method"]["version"]
    )
    yield Column("blocks", "number of scored blocks", lambda g: len(g.scored))
    yield Column("retrains", "reference models for each block", lambda g: g.spec["retrains"])
    yield Column(
        "non_member_share",
        "share of official train that no model sees; 0 is the official-accuracy control",
        lambda g: g.spec["data"]["non_member_share"],
    )
    yield Column(
        "grouped",
        "whether images were kept together by the user's groups",
        lambda g: str(g.spec["data"]["groups_sha256"] is not None),
    )
    yield Column(
        "original",
        "where the Original comes from: trained, or a user's checkpoint",
        lambda g: "trained" if g.spec["original_sha256"] is None else "checkpoint",
    )
    yield Column("precision", "number format of training", lambda g: g.spec["recipe"]["precision"])
    yield Column("statuses", "how many blocks ended how", lambda g: counts(g.statuses))


def _aggregates() -> Iterator[Column[Group]]:
    yield Column(
        "avg_gap",
        "mean |method - Retrain| over the headline metrics; lower is better, the null is the floor",
        lambda g: mean(g.average_gap),
    )
    yield Column(
        "avg_gap_low",
        "lower end of its 95 % t-interval over blocks, conditional on the fixed split",
        lambda g: interval(g.average_gap)[0],
    )
    yield Column("avg_gap_high", "upper end", lambda g: interval(g.average_gap)[1])
    yield Column(
        "avg_gap_null", "the same between Retrains: what chance alone gives", lambda g: mean(g.null_average_gap)
    )
    yield Column(
        "avg_gap_of_means",
        "the literature's form: |difference of means|, in which errors cancel",
        _average_gap_of_means,
    )
    yield Column("avg_gap_metrics", "headline metrics that the samples resolve", lambda g: " ".join(g.headline))
    yield Column(
        "tow",
        "tug-of-war, product of 1 - |gap| over forget, retain and test accuracy; higher is better",
        lambda g: mean(g.tow),
    )
    yield Column("tow_null", "the same between Retrains", _null_tow)


def measured(info: MetricInfo) -> Iterator[Column[Group]]:
    """A metric on the method's models, with its interval."""
    name, title = info.name, info.title
    yield Column(name, info.description, lambda g: mean(g.values(name)))
    yield Column(
        f"{name}_low",
        f"lower end of the 95 % t-interval of {title} over blocks, conditional on the fixed split; may leave its range",
        lambda g: interval(g.values(name))[0],
    )
    yield Column(f"{name}_high", "upper end", lambda g: interval(g.values(name))[1])


def _detailed(info: MetricInfo) -> Iterator[Column[Group]]:
    name, title = info.name, info.title
    yield from measured(info)
    yield Column(f"retrain_{name}", f"{title} of the Retrains: the target", lambda g: mean(g.retrains(name)))
    yield Column(f"original_{name}", f"{title} of the Originals", lambda g: mean(g.originals(name)))
    yield Column(
        f"{name}_gap", f"mean |{title} - Retrain's| over blocks and Retrains", lambda g: _paired(g, name, method_gap)
    )
    yield Column(f"{name}_null", "the same between Retrains", lambda g: null(g, name))
    yield Column(f"{name}_gap_of_means", "|difference of the means|", lambda g: _paired(g, name, gap_of_means))
    yield Column(f"{name}_difference", "mean signed difference to Retrain", lambda g: mean(_signed(g, name)))
    yield Column(f"{name}_difference_low", "lower end of its 95 % t-interval", lambda g: interval(_signed(g, name))[0])
    yield Column(f"{name}_difference_high", "upper end", lambda g: interval(_signed(g, name))[1])
    yield Column(f"{name}_verdict", "matches, differs or undetermined (PROTOCOL 3.3)", lambda g: _verdict(g, name))


def nearness(info: MetricInfo) -> Iterator[Column[Group]]:
    """Of a distance or a similarity to Retrain, which has no gap: it is one."""
    name, title = info.name, info.title
    yield from measured(info)
    yield Column(f"{name}_null", "the same between Retrains: as near as chance comes", lambda g: mean(g.retrains(name)))
    yield Column(f"original_{name}", f"{title} of the Originals", lambda g: mean(g.originals(name)))


def _brief(info: MetricInfo) -> Iterator[Column[Group]]:
    name = info.name
    yield Column(name, info.description, lambda g: mean(g.values(name)))
    yield Column(f"retrain_{name}", f"{info.title} of the Retrains", lambda g: mean(g.retrains(name)))
    yield Column(f"original_{name}", f"{info.title} of the Originals", lambda g: mean(g.originals(name)))


def _cost() -> Iterator[Column[Group]]:
    share = "FLOPs of the method over those of the Original's training"
    yield from cost_columns(share, "method", "Retrain", lambda group: group.averaged)


def _closing() -> Iterator[Column[Group]]:
    yield Column(
        "sensitivity",
        "per-class sensitivity on test, mean over blocks, in the data set's class order",
        lambda g: _sensitivity(g, _own_metrics),
    )
    yield Column("retrain_sensitivity", "the same of the Retrains", lambda g: _sensitivity(g, _retrain_metrics))
    yield Column(
        "hyperparameters",
        "all of the method's, as run",
        lambda g: named(g.spec["method"]["hyperparameters"]),
    )
    yield Column("data_sha256", "hash of the data file", lambda g: g.spec["data"]["sha256"])
    yield Column(
        "setting",
        "its short name: rows compete where it is equal, with the same data, splits, training, Retrains, versions of "
        "protocol and metrics",
        lambda g: short_name(setting_of(g)),
    )
    yield Column("protocol_version", "rules that the row follows", lambda g: g.spec["protocol_version"])
    yield Column("verified", VERIFIED, lambda g: count_verified(g.records))
    yield Column("unresolved", "metrics that the samples cannot resolve, and why", lambda g: unresolved(g.scored))
    yield Column("reasons", "why blocks failed", lambda g: reasons(g.records))
    yield Column("notes", "what a reader must know", lambda g: notes(g.records))


def _signed(group: Group, name: str) -> Any:
    values, retrains = group.values(name), group.retrains(name)
    return None if values is None or retrains is None else signed_differences(values, retrains)


def _paired(group: Group, name: str, function: Callable[[Any, Any], float]) -> float | None:
    values, retrains = group.values(name), group.retrains(name)
    return None if values is None or retrains is None else function(values, retrains)


def null(group: Group, name: str) -> float | None:
    """Mean |difference| between the Retrains of a block; None where there is one only."""
    retrains = group.retrains(name)
    try:
        return None if retrains is None else null_gap(retrains)
    except Unresolved:
        return None


def _null_tow(group: Group) -> float | None:
    try:
        return None if group.tow is None else mean(null_tow({m: group.retrains(m) for m in ("ua", "ra", "ta")}))  # type: ignore[misc]
    except Unresolved:
        return None


def _average_gap_of_means(group: Group) -> float | None:
    parts = [_paired(group, name, gap_of_means) for name in group.headline]
    return float(np.mean([part for part in parts if part is not None])) if parts else None


def _verdict(group: Group, name: str) -> str | None:
    differences = _signed(group, name)
    return None if differences is None else verdict(differences)


def _own_metrics(record: Any) -> list[dict[str, Any]]:
    return [record["metrics"]]


def _retrain_metrics(record: Any) -> list[dict[str, Any]]:
    return list(record["references"]["retrain"])


def _sensitivity(group: Group, of: Callable[[Any], list[dict[str, Any]]]) -> str:
    found = [scores["sensitivity"] for record in group.averaged for scores in of(record)]
    return mean_by_class(found)
