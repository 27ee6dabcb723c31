"""How near the answers of an audited model are to Retrain's, and ZRF: scores that need other models' logits beside its.

A distance is a mean over the Retrains of a block, and of a Retrain over the other ones. So what Retrains score, on
average, is the null of every distance: the same estimator between Retrains (PROTOCOL 3.1). To add a distance, add it to
`MEASURES`, or a split to `SPLITS`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from metrics.checks import Floats
from metrics.declaration import Metric, MetricInfo, Unresolved
from metrics.distances import activation_distance, js_to_retrain, kl_to_retrain, zrf
from metrics.scores import Entry, Scores, score_all
from metrics.unlearning import ScoredSplits


@dataclass(frozen=True, eq=False)
class ComparedModel:
    """Logits of one model on all images, shape (n, classes), and of those that it is compared with."""

    logits: Floats
    retrains: Sequence[Floats]
    """Those of its block; of a Retrain the others, which may be none."""
    untrained: Floats
    """Those of the same architecture at a fresh initialisation."""
    splits: ScoredSplits

    def mean_distance(self, measure: Metric[[ArrayLike, ArrayLike], float], split: str) -> float:
        """Mean over Retrains of a measure on one split."""
        if not self.retrains:
            raise Unresolved("a single Retrain has no other one to compare with")
        rows = getattr(self.splits, split)
        return float(np.mean([measure(self.logits[rows], retrained[rows]) for retrained in self.retrains]))


MEASURES: Mapping[str, Metric[[ArrayLike, ArrayLike], float]] = {
    "kl": kl_to_retrain, "js": js_to_retrain, "activation_distance": activation_distance,
}  # fmt: skip
SPLITS = {"forget": "forget set", "retain": "retained images", "test": "test images"}
"""Split -> how it is called."""


def _distance(name: str, split: str) -> Entry[ComparedModel]:
    measure = MEASURES[name]
    return Entry(
        f"{name}_{split}",
        f"{measure.info.title}, {SPLITS[split]}",
        f"{measure.info.description.removesuffix('.')}: {SPLITS[split]}, mean over Retrains.",
        measure,
        lambda model: model.mean_distance(measure, split),
        range=measure.info.range,
        direction=measure.info.direction,
    )


DISTANCES: tuple[Entry[ComparedModel], ...] = tuple(_distance(name, split) for split in SPLITS for name in MEASURES)
ZRF: Entry[ComparedModel] = Entry(
    "zrf_forget",
    "ZRF, forget set",
    f"{zrf.info.description.removesuffix('.')}: forget set.",
    zrf,
    lambda model: zrf(model.logits[model.splits.forget], model.untrained[model.splits.forget]),
    range=zrf.info.range,
)
SCORES = (*DISTANCES, ZRF)
METRICS: dict[str, MetricInfo] = {entry.name: entry.info for entry in SCORES}
"""The declarations of all scores, in display order."""


def score_nearness(model: ComparedModel) -> Scores:
    """Every name of `METRICS` with its value, or with None and the reason."""
    return score_all(SCORES, model)
