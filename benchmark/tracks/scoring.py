"""What the tracks' scores have in common: which metrics a record carries, and whether they are today's."""

import math
from collections.abc import Iterable
from dataclasses import asdict
from typing import Any

import metrics.audit
import metrics.backdoor
import metrics.nearness
import metrics.relearn
import metrics.representation
import metrics.unlearning
from benchmark.store.records import Record
from metrics.declaration import MetricInfo
from metrics.scores import Scores

UNLEARNING = (metrics.unlearning.METRICS, metrics.nearness.METRICS)
SOURCES = {
    "unlearning": UNLEARNING,
    "backdoor": (metrics.backdoor.METRICS,),
    "audit": (*UNLEARNING, metrics.audit.METRICS, metrics.relearn.METRICS, metrics.representation.METRICS),
}
"""Where the declarations of each track's scores are, in display order."""


def metrics_of(track: str) -> dict[str, MetricInfo]:
    """The declarations of a track's scores."""
    return {name: info for source in SOURCES[track] for name, info in source.items()}


def declarations(track: str) -> dict[str, dict[str, Any]]:
    """What a record says of each metric, so that a leaderboard needs nothing else; the description is in the code."""
    return {name: _declared(info) for name, info in metrics_of(track).items()}


def joined(scored: Record, further: Iterable[Scores]) -> Record:
    """A record's scored part with further scores of its model, Original and Retrains."""
    own, before, *retrains = further
    references = scored["references"]
    return scored | Record(
        metrics=scored["metrics"] | own.values,
        unresolved=scored["unresolved"] | own.unresolved,
        references={
            "original": references["original"] | before.values,
            "retrain": [
                scores | retrain.values for scores, retrain in zip(references["retrain"], retrains, strict=True)
            ],
        },
    )


def _declared(info: MetricInfo) -> dict[str, Any]:
    """A range without an end has None there: strict JSON has no infinity."""
    ends = tuple(end if math.isfinite(end) else None for end in info.range)
    stated = {field: value for field, value in asdict(info).items() if field not in ("name", "description")}
    return stated | {"range": ends}


def has_present_metrics(record: Record) -> bool:
    """Whether a record was scored by the metrics of today; if not, running it again finds its models in the cache."""
    return {name: info["version"] for name, info in record["declarations"].items()} == {
        name: info.version for name, info in metrics_of(record["spec"]["track"]).items()
    }
