"""All scores of one unlearned model, from its stored logits: the one place that says which metric runs on which split.

A name that a record stores is declared here, once. To add a score, add an entry to `SCORES`.
"""

from dataclasses import dataclass, field
from functools import cached_property
from itertools import combinations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from metrics import membership
from metrics.accuracy import accuracy, balanced_accuracy, macro_auc, per_class_sensitivity, unlearning_accuracy
from metrics.checks import Floats, Integers, indices, logits_and_labels
from metrics.declaration import Metric, MetricInfo, Unresolved
from metrics.scores import Entry, Scores, score_all

__all__ = ["METRICS", "SCORES", "ScoredModel", "ScoredSplits", "Scores", "score_unlearning"]


@dataclass(frozen=True, eq=False)
class ScoredSplits:
    """Which rows of the logits belong to which split; index arrays of shape (n,), int."""

    forget: Integers
    retain: Integers
    """In stored order: `mia_svc_original` takes its first rows."""
    non_members: Integers
    """Never trained on, of all classes; with a forgotten class only its own are compared with it (PROTOCOL 2.4)."""
    test: Integers
    """Official test images, without the forgotten class if there is one."""
    test_deduplicated: Integers
    """The rows of `test` that are left after exact duplicates are removed."""
    forgotten_class: int | None = None
    test_forgotten_class: Integers = field(default_factory=lambda: np.empty(0, dtype=np.int64))
    """Official test images of the forgotten class; empty if there is none."""

    def __post_init__(self) -> None:
        """Refuse splits that share an image: every membership number would be wrong."""
        names = ("forget", "retain", "non_members", "test", "test_forgotten_class")
        for first, second in combinations(names, 2):
            if np.intersect1d(getattr(self, first), getattr(self, second)).size:
                raise ValueError(f"{first} and {second} share images")


@dataclass(frozen=True, eq=False)
class ScoredModel:
    """The predictions of one model, and what several scores derive from them."""

    logits: Floats
    labels: Integers
    splits: ScoredSplits
    seed: int

    def rows(self, split: ArrayLike) -> tuple[Floats, Integers]:
        """Logits and labels of one split."""
        chosen = self._chosen(split)
        return self.logits[chosen], self.labels[chosen]

    def confidences(self, split: ArrayLike) -> Floats:
        """True-class probabilities of one split."""
        return membership.true_class_probability(*self.rows(split))

    @cached_property
    def losses(self) -> tuple[Floats, Floats]:
        """Losses of the forget set and of the non-members."""
        compared = np.asarray(self.splits.non_members)[self.compared]
        forget, non_members = self.rows(self.splits.forget), self.rows(compared)
        return membership.cross_entropy(*forget), membership.cross_entropy(*non_members)

    @cached_property
    def svc(self) -> membership.MiaSvc:
        """The cross-fitted attack, which four scores share."""
        splits = self.splits
        return membership.mia_svc(
            self.confidences(splits.retain),
            self.labels[self._chosen(splits.retain)],
            self.confidences(splits.non_members),
            self.labels[self._chosen(splits.non_members)],
            self.confidences(splits.forget),
            seed=self.seed,
            compared=self.compared,
        )

    @property
    def compared(self) -> NDArray[np.bool_]:
        """Which non-members are like the forget set: all, or those of the forgotten class."""
        labels, forgotten = self.labels[self._chosen(self.splits.non_members)], self.splits.forgotten_class
        return np.full(len(labels), True) if forgotten is None else np.asarray(labels == forgotten)

    @property
    def forgotten_class_rows(self) -> Integers:
        """Test images of the forgotten class."""
        if self.splits.forgotten_class is None:
            raise Unresolved("no class is forgotten in this scenario")
        return self.splits.test_forgotten_class

    @property
    def remaining_classes(self) -> list[int]:
        """All classes but the forgotten one."""
        return [k for k in range(self.logits.shape[1]) if k != self.splits.forgotten_class]

    def _chosen(self, split: ArrayLike) -> Integers:
        return indices(split, len(self.labels), "split")


def _tail(name: str, attack: Metric[[ArrayLike, ArrayLike, float], float], fpr: float) -> Entry[ScoredModel]:
    return Entry(
        name,
        f"{attack.info.title} at {fpr:.0%} FPR",
        f"{attack.info.description.removesuffix('.')}, at {fpr:.0%} FPR.",
        attack,
        lambda model: attack(*model.losses, fpr),
        target=fpr,
    )


SCORES: tuple[Entry[ScoredModel], ...] = (
    Entry(
        "ua",
        "UA",
        "Share of the forget set that is classified wrongly (1 - accuracy).",
        unlearning_accuracy,
        lambda model: unlearning_accuracy(*model.rows(model.splits.forget)),
    ),
    Entry(
        "ra",
        "RA",
        "Accuracy on the retained training images.",
        accuracy,
        lambda model: accuracy(*model.rows(model.splits.retain)),
    ),
    Entry(
        "ta",
        "TA",
        "Accuracy on the official test images, without the forgotten class if there is one.",
        accuracy,
        lambda model: accuracy(*model.rows(model.splits.test)),
    ),
    Entry(
        "ta_deduplicated",
        "TA (deduplicated)",
        "Test accuracy after exact duplicates are removed.",
        accuracy,
        lambda model: accuracy(*model.rows(model.splits.test_deduplicated)),
    ),
    Entry(
        "ta_forgotten_class",
        "TA (forgotten class)",
        "Accuracy on the official test images of the forgotten class.",
        accuracy,
        lambda model: accuracy(*model.rows(model.forgotten_class_rows)),
    ),
    Entry(
        "macro_auc",
        "Macro AUC",
        "Mean one-vs-rest AUC on the test images, over the classes that were not forgotten.",
        macro_auc,
        lambda model: macro_auc(*model.rows(model.splits.test), classes=model.remaining_classes),
    ),
    Entry(
        "balanced_accuracy",
        "Balanced accuracy",
        "Mean sensitivity on the test images, over the classes that were not forgotten.",
        balanced_accuracy,
        lambda model: balanced_accuracy(*model.rows(model.splits.test)),
    ),
    Entry(
        "sensitivity",
        "Sensitivity by class",
        "Sensitivity of every class on the test images; empty for a forgotten or absent class.",
        per_class_sensitivity,
        lambda model: per_class_sensitivity(*model.rows(model.splits.test)),
    ),
    Entry(
        "mia_svc",
        "MIA-SVC",
        "Share of the forget set that a balanced, cross-fitted confidence attack calls non-member.",
        membership.mia_svc,
        lambda model: model.svc.forget_share,
    ),
    Entry(
        "mia_svc_non_members",
        "MIA-SVC (non-members)",
        "Share of held-out images that the same attack calls non-member.",
        membership.mia_svc,
        lambda model: model.svc.non_member_share,
    ),
    Entry(
        "mia_svc_excess",
        "MIA-SVC excess",
        "Share of the forget set minus share of held-out images called non-member; below 0 still looks trained on.",
        membership.mia_svc,
        lambda model: model.svc.excess,
        range=(-1.0, 1.0),
        target=0.0,
    ),
    Entry(
        "mia_svc_training_accuracy",
        "MIA-SVC training accuracy",
        "Balanced accuracy of the attack on its own training data; near 0.5 it found nothing to use.",
        membership.mia_svc,
        lambda model: model.svc.training_balanced_accuracy,
    ),
    Entry(
        "mia_svc_original",
        "MIA-SVC (SalUn's form)",
        "The confidence attack as SalUn published it, with the test set as non-members.",
        membership.mia_svc_original,
        lambda model: membership.mia_svc_original(
            *map(model.confidences, (model.splits.retain, model.splits.test, model.splits.forget))
        ),
    ),
    Entry(
        "mia_loss_auc",
        "MIA-loss AUC",
        "Probability that a held-out image has a higher loss than a forgotten one; below 0.5 is over-forgotten.",
        membership.mia_loss_auc,
        lambda model: membership.mia_loss_auc(*model.losses),
        target=0.5,
    ),
    _tail("mia_loss_tpr_10", membership.mia_loss_tpr, 0.1),
    _tail("mia_loss_tpr_1", membership.mia_loss_tpr, 0.01),
    _tail("mia_loss_tpr_over_10", membership.mia_loss_tpr_over, 0.1),
    _tail("mia_loss_tpr_over_1", membership.mia_loss_tpr_over, 0.01),
)

METRICS: dict[str, MetricInfo] = {entry.name: entry.info for entry in SCORES}
"""The declarations of all scores, in display order."""


def score_unlearning(logits: ArrayLike, labels: ArrayLike, splits: ScoredSplits, *, seed: int) -> Scores:
    """Compute every score of `METRICS` for one model.

    Args:
        logits: shape (n, C), float, of all images that any split refers to, not augmented.
        labels: shape (n,), int in [0, C).
        splits: rows of these.
        seed: of the draws of `mia_svc`; the same seed gives the same scores.

    Returns:
        Every name with its value, or with None and the reason.

    Raises:
        ValueError: non-finite logits, mismatched shapes, splits that point outside the rows.
    """
    return score_all(SCORES, ScoredModel(*logits_and_labels(logits, labels), splits, seed))
