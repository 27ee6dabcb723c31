"""All audit scores of one model (PROTOCOL 6): strong attacks, with shadows trained on random halves of the same data.

Each attack judges the forget set, and the retained images, against images that the model was not trained on. To add a
score, add an entry to `SCORES`.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np

from metrics.checks import Bools, Floats, Integers
from metrics.declaration import MetricInfo, metric
from metrics.lira import lira_offline, lira_online
from metrics.membership import attack_auc, log_odds, tpr_at_fpr
from metrics.rmia import Population, rmia_offline, rmia_online, tuned_slope
from metrics.scores import Entry, Scores, score_all
from metrics.unlearning import ScoredSplits


@dataclass(frozen=True, eq=False)
class Shadows:
    """Log-odds of all images under models trained on random halves, in complementary pairs; no target among them."""

    log_odds: Floats
    """Shape (n, m)."""
    members: Bools
    """Shape (n, m): which shadow was trained on which image."""
    population: Integers
    """Rows that no model was trained on, and that are not judged."""


class Judged(NamedTuple):
    """An attack's scores of the judged images; higher means "more likely trained on"."""

    forget: Floats
    retain: Floats
    non_members: Floats


@dataclass(frozen=True, eq=False)
class AuditedModel:
    """A model's log-odds of all images, shape (n,), and what it is audited with."""

    log_odds: Floats
    shadows: Shadows
    splits: ScoredSplits
    _known: dict[str, Judged] = field(default_factory=dict)

    @property
    def rows(self) -> Integers:
        """The judged images: all that are in half of the shadows."""
        return np.concatenate([self.splits.forget, self.splits.retain, self.splits.non_members])

    @property
    def population(self) -> Population:
        """What RMIA compares the judged images with."""
        rows = self.shadows.population
        return Population(self.log_odds[rows], self.shadows.log_odds[rows])

    def judged(self, attack: str) -> Judged:
        """What an attack of `ATTACKS` says; each is carried out once."""
        if attack not in self._known:
            scores = ATTACKS[attack](self)
            ends = np.cumsum([len(self.splits.forget), len(self.splits.retain)])
            self._known[attack] = Judged(*np.split(scores, ends))
        return self._known[attack]


def _lira(model: AuditedModel) -> Floats:
    rows, shadows = model.rows, model.shadows
    return lira_online(model.log_odds[rows], shadows.log_odds[rows], shadows.members[rows])


def _lira_offline(model: AuditedModel) -> Floats:
    rows, shadows = model.rows, model.shadows
    return lira_offline(model.log_odds[rows], shadows.log_odds[rows], shadows.members[rows])


def _rmia(model: AuditedModel) -> Floats:
    rows, shadows = model.rows, model.shadows
    return rmia_online(model.log_odds[rows], shadows.log_odds[rows], shadows.members[rows], model.population)


def _rmia_pair(model: AuditedModel) -> Floats:
    """Offline from the second pair alone; the first model of the first pair stands in for the audited one."""
    rows, shadows, pair = model.rows, model.shadows, slice(2, 4)
    references, members, population = shadows.log_odds[:, pair], shadows.members[:, pair], shadows.population
    others = references[population]
    stand_in, stand_in_members = shadows.log_odds[:, 0], shadows.members[:, 0]
    slope = tuned_slope(
        stand_in[rows], stand_in_members[rows], references[rows], members[rows],
        Population(stand_in[population], others),
    )  # fmt: skip
    own = Population(model.log_odds[population], others)
    return rmia_offline(model.log_odds[rows], references[rows], members[rows], own, slope=slope)


ATTACKS: Mapping[str, Callable[[AuditedModel], Floats]] = {
    "lira": _lira, "lira_offline": _lira_offline, "rmia": _rmia, "rmia_pair": _rmia_pair,
}  # fmt: skip
WORDS = {"forget": ("forget set", "", ""), "retain": ("retained images", "_retain", ", retained")}
"""Split -> how it is called, and what that adds to a score's name and title."""
TITLES = {
    "lira": "LiRA", "lira_offline": "LiRA (offline)", "rmia": "RMIA", "rmia_pair": "RMIA (one pair of references)",
}  # fmt: skip


@metric("audit_auc", direction="retrain", range=(0, 1), version=1)
def audit_auc(model: AuditedModel, attack: str, split: str) -> float:
    """Probability that an image of a split looks more trained on than a held-out one; as `attack_auc`."""
    judged = model.judged(attack)
    return attack_auc(getattr(judged, split), judged.non_members)


@metric("audit_tpr", direction="retrain", range=(0, 1), version=1)
def audit_tpr(model: AuditedModel, attack: str, split: str, fpr: float, over: bool) -> float:
    """Share of a split at one end of an attack's scores, the least trained on if `over`; as `tpr_at_fpr`."""
    judged, sign = model.judged(attack), -1 if over else 1
    return tpr_at_fpr(sign * getattr(judged, split), sign * judged.non_members, fpr)


def _entries(attack: str) -> Iterator[Entry[AuditedModel]]:
    yield _auc(attack, "forget")
    for fpr in (0.1, 0.01):
        for over in (False, True):
            yield _tail(attack, "forget", fpr, over)
    yield _auc(attack, "retain")
    yield _tail(attack, "retain", 0.01, over=False)


def _auc(attack: str, split: str) -> Entry[AuditedModel]:
    who, ending, mark = WORDS[split]
    return Entry(
        f"{attack}{ending}_auc",
        f"{TITLES[attack]} AUC{mark}",
        f"Probability that an image of the {who} looks more trained on to {TITLES[attack]} than a held-out one.",
        audit_auc,
        lambda model: audit_auc(model, attack, split),
        target=0.5 if split == "forget" else None,
    )


def _tail(attack: str, split: str, fpr: float, over: bool) -> Entry[AuditedModel]:
    who, ending, mark = WORDS[split]
    looks = "less trained on than nearly all held-out images (over-forgotten)" if over else "trained on"
    return Entry(
        f"{attack}{ending}_tpr{'_over' * over}_{fpr:.0%}".removesuffix("%"),
        f"{TITLES[attack]} TPR at {fpr:.0%} FPR{mark}{', over-forgotten' * over}",
        f"Share of the {who} that looks {looks} to {TITLES[attack]}, at {fpr:.0%} FPR.",
        audit_tpr,
        lambda model: audit_tpr(model, attack, split, fpr, over),
        target=fpr if split == "forget" else None,
    )


SCORES: tuple[Entry[AuditedModel], ...] = tuple(entry for attack in ATTACKS for entry in _entries(attack))
METRICS: dict[str, MetricInfo] = {entry.name: entry.info for entry in SCORES}
"""The declarations of all scores, in display order."""


def audited(logits: np.ndarray, labels: np.ndarray, shadows: Shadows, splits: ScoredSplits) -> AuditedModel:
    """A model by its logits on all images, shape (n, classes)."""
    return AuditedModel(log_odds(logits, labels), shadows, splits)


def score_audit(model: AuditedModel) -> Scores:
    """Every name of `METRICS` with its value, or with None and the reason."""
    return score_all(SCORES, model)
