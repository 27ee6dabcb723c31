"""All backdoor scores of one model, from its stored logits on clean and on stamped test images; and its comparison.

A name that a record stores is declared here, once. To add a score, add an entry to `SCORES` or `COMPARISONS`.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from numpy.typing import ArrayLike

from metrics.accuracy import accuracy, balanced_accuracy, macro_auc, per_class_sensitivity
from metrics.checks import Bools, Floats, Integers, finite, flags, logits_and_labels
from metrics.declaration import Direction, MetricInfo, Unresolved
from metrics.scores import Entry, Score, Scores, score_all
from metrics.trigger import (
    NO_TRIGGER,
    Goal,
    asr,
    asr_by_class,
    asr_correct,
    cured,
    der,
    gate,
    recovery_accuracy,
    signed_gap,
    wanted_labels,
)

__all__ = [
    "COMPARISONS", "METRICS", "SCORES", "asr", "asr_by_class", "asr_correct", "compare", "cured", "der", "gate",
    "recovery_accuracy", "score_backdoor", "signed_gap", "wanted_labels",
]  # fmt: skip


@dataclass(frozen=True, eq=False)
class ScoredModel:
    """One model's answers on the test images, without and with the trigger."""

    clean_logits: Floats
    stamped_logits: Floats | None
    labels: Integers
    goal: Goal
    target: int
    known: Bools | None

    @property
    def clean(self) -> tuple[Floats, Integers]:
        """Logits of the clean images, and labels."""
        return self.clean_logits, self.labels

    @property
    def stamped(self) -> tuple[Floats, Integers]:
        """Logits of the stamped images, and labels."""
        if self.stamped_logits is None:
            raise Unresolved(NO_TRIGGER)
        return self.stamped_logits, self.labels

    @property
    def known_images(self) -> Bools:
        """Where the clean model is right."""
        if self.known is None:
            raise Unresolved("no clean model says which images are known")
        return self.known


SCORES: tuple[Entry[ScoredModel], ...] = (
    Entry(
        "acc",
        "ACC",
        "Accuracy on the clean official test images.",
        accuracy,
        lambda model: accuracy(*model.clean),
        direction="higher",
    ),
    Entry(
        "balanced_accuracy",
        "Balanced accuracy",
        "Mean sensitivity on the clean test images.",
        balanced_accuracy,
        lambda model: balanced_accuracy(*model.clean),
        direction="higher",
    ),
    Entry(
        "macro_auc",
        "Macro AUC",
        "Mean one-vs-rest AUC on the clean test images.",
        macro_auc,
        lambda model: macro_auc(*model.clean),
        direction="higher",
    ),
    Entry(
        "sensitivity",
        "Sensitivity by class",
        "Sensitivity of every class on the clean test images.",
        per_class_sensitivity,
        lambda model: per_class_sensitivity(*model.clean),
        direction="higher",
    ),
    Entry(
        "asr",
        "ASR",
        "Attack success rate: share of stamped images of the other classes that are taken for the target.",
        asr,
        lambda model: asr(*model.stamped, model.target, model.goal),
        direction="lower",
    ),
    Entry(
        "asr_correct",
        "ASR (known images)",
        "ASR over those images whose clean version the block's clean model gets right.",
        asr_correct,
        lambda model: asr_correct(*model.stamped, model.known_images, model.target, model.goal),
        direction="lower",
    ),
    Entry(
        "recovery",
        "Recovery accuracy",
        "Share of the same stamped images that get their true label.",
        recovery_accuracy,
        lambda model: recovery_accuracy(*model.stamped, model.target, model.goal),
        direction="higher",
    ),
    Entry(
        "asr_by_class",
        "ASR by class",
        "ASR by true class; empty for the target.",
        asr_by_class,
        lambda model: asr_by_class(*model.stamped, model.target, model.goal),
        direction="lower",
    ),
)


@dataclass(frozen=True, eq=False)
class Comparison:
    """The scores of a defended model beside those of its references."""

    own: Mapping[str, Score | None]
    backdoored: Mapping[str, Score | None]
    oracle: Mapping[str, Score | None]

    def gap(self, name: str) -> float:
        """The defended model's rate minus the oracle's."""
        return signed_gap(_rate(self.own, name), _rate(self.oracle, name))

    @property
    def der(self) -> float:
        """Against the backdoored model."""
        rates = [_rate(scores, name) for scores in (self.own, self.backdoored) for name in ("acc", "asr")]
        return der(*rates)

    @property
    def cured(self) -> float:
        """Against the oracle."""
        names = ("acc", "asr", "recovery")
        ideal = {f"oracle_{name}": _rate(self.oracle, name) for name in names}
        return cured(*(_rate(self.own, name) for name in names), **ideal)


def _gap(name: str, title: str, direction: Direction, description: str) -> Entry[Comparison]:
    return Entry(
        f"{name}_gap", title, description, signed_gap, lambda pair: pair.gap(name), (-1.0, 1.0), 0.0, direction
    )


COMPARISONS: tuple[Entry[Comparison], ...] = (
    _gap("acc", "ACC gap", "higher", "ACC minus the oracle's."),
    _gap("asr", "ASR gap", "lower", "ASR minus the oracle's, under the same trigger."),
    _gap("recovery", "Recovery gap", "higher", "Recovery accuracy minus the oracle's, under the same trigger."),
    Entry("der", "DER", der.info.description, der, lambda pair: pair.der, direction="higher"),
    Entry("cured", "Cured", cured.info.description, cured, lambda pair: pair.cured, direction="higher"),
)

METRICS: dict[str, MetricInfo] = {
    **{entry.name: entry.info for entry in SCORES},
    **{entry.name: entry.info for entry in COMPARISONS},
}
"""The declarations of all that a record stores, in display order."""


def score_backdoor(
    clean_logits: ArrayLike,
    stamped_logits: ArrayLike | None,
    labels: ArrayLike,
    *,
    goal: Goal,
    target: int,
    known: ArrayLike | None,
) -> Scores:
    """Compute every score of one model that needs no other.

    Args:
        clean_logits: shape (n, C), float, on the official test images.
        stamped_logits: the same on the stamped images; None where there is no trigger.
        labels: shape (n,), int in [0, C): true classes.
        goal: what the attacker wants.
        target: the wanted class; without meaning unless the goal is all-to-one.
        known: shape (n,), bool: where the block's clean model is right; None if there is none.

    Returns:
        Every name of `SCORES` with its value, or with None and the reason.

    Raises:
        ValueError: non-finite logits, mismatched shapes, a target that is no class.
    """
    clean, truth = logits_and_labels(clean_logits, labels)
    wanted_labels(truth, clean.shape[1], goal, target)  # refuses a bad target also where nothing is stamped
    stamped = None if stamped_logits is None or goal == "none" else finite(stamped_logits, 2, "stamped logits")
    if stamped is not None and stamped.shape != clean.shape:
        raise ValueError(f"logits of shape {clean.shape} on clean images, but {stamped.shape} on stamped ones")
    right = None if known is None else flags(known, truth.shape, "known")
    return score_all(SCORES, ScoredModel(clean, stamped, truth, goal, target, right))


def compare(
    own: Mapping[str, Score | None], backdoored: Mapping[str, Score | None], oracle: Mapping[str, Score | None]
) -> Scores:
    """Compute every score that sets a defended model beside its references; in the control ACC's gap alone.

    Args:
        own: values of `score_backdoor` for the defended model.
        backdoored: the same for the model before the defence.
        oracle: the same for the model trained without the poison.
    """
    return score_all(COMPARISONS, Comparison(own, backdoored, oracle))


def _rate(scores: Mapping[str, Score | None], name: str) -> float:
    value = scores.get(name)
    if not isinstance(value, int | float):
        raise Unresolved(f"{name} is not resolved for the model or one of its references")
    return float(value)
