"""The patient's view of an audit run: how exposed each image was before unlearning, is after it, and with Retrain."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal, NamedTuple, TypeAlias

import numpy as np
import pandas as pd

from benchmark.audits.track import Audited
from metrics.audit import AuditedModel, Judged
from metrics.declaration import Unresolved
from metrics.exposure import Measured, exposure, exposure_change, mean_exposure
from metrics.membership import accused

ATTACKS = ("lira", "rmia")
"""Those that a report shows."""
SPLITS = ("forget", "retain", "non_members")
Direction = Literal["raised", "lowered", "undetermined"]
Sides: TypeAlias = tuple[np.ndarray, np.ndarray]
"""Scores of a split's images and of the non-members."""


class Accused(NamedTuple):
    """How many images of a split are accused at a false-positive rate of 1 %, as `metrics.membership.tpr_at_fpr`."""

    before: int
    after: int
    newly: int
    """After, but not before."""
    newly_retrain: float
    """The same of the Retrains, mean: what a model that is merely another one does."""


@dataclass(frozen=True)
class Change:
    """What unlearning did to the exposure of one split to one attack."""

    split: str
    attack: str
    before: Measured
    after: Measured
    retrain: float
    """Mean over the Retrains."""
    change: Measured
    """After minus before."""
    accused: Accused | None
    """None where the held-out images do not resolve a false-positive rate of 1 %."""
    images: int
    grouped: bool
    """Whether images belong to patients: then no interval holds, for these take images for independent."""

    @property
    def direction(self) -> Direction:
        """Whether the mean exposure rose or fell, with 95 % confidence."""
        if self.grouped:
            return "undetermined"
        return "raised" if self.change.low > 0 else "lowered" if self.change.high < 0 else "undetermined"


def per_image(models: Audited, labels: np.ndarray, class_names: list[str]) -> pd.DataFrame:
    """One row for each image of official train, in its order: split, class, and exposure to each attack.

    Exposures are in `<attack>_before`, `<attack>_after` and `<attack>_retrain`, the mean over Retrains; all in [0, 1].
    """
    splits = models.model.splits
    columns: dict[str, object] = {
        "image": models.model.rows,
        "split": np.repeat(SPLITS, [len(getattr(splits, name)) for name in SPLITS]),
    }
    columns["class"] = [class_names[label] for label in labels[models.model.rows]]
    for attack in ATTACKS:
        columns[f"{attack}_before"] = _exposures(models.original, attack)
        columns[f"{attack}_after"] = _exposures(models.model, attack)
        columns[f"{attack}_retrain"] = np.mean([_exposures(model, attack) for model in models.retrains], axis=0)
    return pd.DataFrame(columns).sort_values("image", ignore_index=True)


def changes(models: Audited, grouped: bool) -> Iterator[Change]:
    """What unlearning did to forgotten and retained images, attack by attack.

    Args:
        models: of one run.
        grouped: whether the user gave groups of images, such as patients.
    """
    for split in ("forget", "retain"):
        for attack in ATTACKS:
            yield _change(models, split, attack, grouped)


def _change(models: Audited, split: str, attack: str, grouped: bool) -> Change:
    before, after, *retrains = (
        _sides(model.judged(attack), split) for model in (models.original, models.model, *models.retrains)
    )
    return Change(
        split, attack, mean_exposure(*before), mean_exposure(*after),
        retrain=float(np.mean([mean_exposure(*sides).value for sides in retrains])),
        change=exposure_change(before, after), accused=_accused(before, after, retrains), images=len(before[0]),
        grouped=grouped,
    )  # fmt: skip


def _accused(before: Sides, after: Sides, retrains: list[Sides]) -> Accused | None:
    try:
        first, *others = (accused(*sides) for sides in (before, after, *retrains))
    except Unresolved:
        return None
    newly = [int((other & ~first).sum()) for other in others]
    return Accused(int(first.sum()), int(others[0].sum()), newly[0], float(np.mean(newly[1:])))


def _sides(judged: Judged, split: str) -> Sides:
    return getattr(judged, split), judged.non_members


def _exposures(model: AuditedModel, attack: str) -> np.ndarray:
    """Of all judged images, in their order."""
    judged = model.judged(attack)
    return exposure(np.concatenate(judged), judged.non_members)
