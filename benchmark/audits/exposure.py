"""The patient's view of an audit run: how exposed each image was before unlearning, is after it, and with Retrain."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import numpy as np
import pandas as pd

from benchmark.audits.track import Audited
from metrics.audit import AuditedModel, Judged
from metrics.exposure import Measured, exposure, exposure_change, mean_exposure

ATTACKS = ("lira", "rmia")
"""Those that a report shows."""
SPLITS = ("forget", "retain", "non_members")
ACCUSED = 0.99
"""Exposure from which an image is accused at a false-positive rate of 1 %."""
Direction = Literal["raised", "lowered", "undetermined"]


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
    accused: tuple[int, int]
    """Images accused at a false-positive rate of 1 %, before and after."""
    newly: int
    """Accused after, but not before."""
    newly_retrain: float
    """The same of the Retrains, mean: what a model that is merely another one does."""
    images: int

    @property
    def direction(self) -> Direction:
        """Whether the mean exposure rose or fell, with 95 % confidence."""
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


def changes(models: Audited) -> Iterator[Change]:
    """What unlearning did to forgotten and retained images, attack by attack."""
    for split in ("forget", "retain"):
        for attack in ATTACKS:
            yield _change(models, split, attack)


def _change(models: Audited, split: str, attack: str) -> Change:
    before, after, *retrains = (
        _sides(model.judged(attack), split) for model in (models.original, models.model, *models.retrains)
    )
    accused = [exposure(*sides) >= ACCUSED for sides in (before, after, *retrains)]
    newly = [int((others & ~accused[0]).sum()) for others in accused[1:]]
    return Change(
        split, attack, mean_exposure(*before), mean_exposure(*after),
        retrain=float(np.mean([mean_exposure(*sides).value for sides in retrains])),
        change=exposure_change(before, after), accused=(int(accused[0].sum()), int(accused[1].sum())),
        newly=newly[0], newly_retrain=float(np.mean(newly[1:])), images=len(accused[0]),
    )  # fmt: skip


def _sides(judged: Judged, split: str) -> tuple[np.ndarray, np.ndarray]:
    return getattr(judged, split), judged.non_members


def _exposures(model: AuditedModel, attack: str) -> np.ndarray:
    """Of all judged images, in their order."""
    judged = model.judged(attack)
    return exposure(np.concatenate(judged), judged.non_members)
