"""How exposed images are to a membership attack: each by itself, and on average with an interval.

An image's exposure is the share of non-members that the attack finds less suspicious, ties counting half: 0.5 is what
an image never trained on has on average. The mean over images is the attack's AUC. Intervals hold for one fixed model
and independent images (PROTOCOL 3.2): not where one patient has several.
"""

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike
from scipy import stats

from metrics.checks import Floats, finite
from metrics.declaration import Unresolved

LEAST_REMOVABLE = 0.02
"""Mean exposure above Retrain's from which a share of it is a number; also what counts as a match (PROTOCOL 3.3)."""


def exposure(scores: ArrayLike, non_members: ArrayLike) -> Floats:
    """Of each score, the share of the non-members' scores below it, ties counting half; shape (n,), in [0, 1].

    Raises:
        Unresolved: no non-member.
    """
    values, others = finite(scores, 1, "scores"), np.sort(finite(non_members, 1, "non-member scores"))
    if not len(others):
        raise Unresolved("no non-member")
    below, up_to = np.searchsorted(others, values, side="left"), np.searchsorted(others, values, side="right")
    return np.asarray((below + up_to) / (2 * len(others)), dtype=np.float64)


class Measured(NamedTuple):
    """A value with its interval."""

    value: float
    low: float
    high: float


def mean_exposure(scores: ArrayLike, non_members: ArrayLike, confidence: float = 0.95) -> Measured:
    """Mean exposure of images, which is the attack's AUC, with DeLong's interval, cut off at 0 and 1.

    Raises:
        Unresolved: fewer than two images or non-members.

    Source: DeLong, DeLong and Clarke-Pearson, Comparing the Areas under Two or More Correlated ROC Curves, Biometrics
    1988.
    """
    value, low, high = _measured(*_placements(scores, non_members), confidence)
    return Measured(value, max(low, 0.0), min(high, 1.0))


def exposure_change(
    before: tuple[ArrayLike, ArrayLike], after: tuple[ArrayLike, ArrayLike], confidence: float = 0.95
) -> Measured:
    """How much the mean exposure of the same images differs between two models, with DeLong's paired interval.

    Args:
        before: scores of the images and of the non-members under one model.
        after: the same under the other, in the same order.
        confidence: in (0, 1).

    Raises:
        Unresolved: as `mean_exposure`.
    """
    first, second = _placements(*before), _placements(*after)
    return _measured(second[0] - first[0], second[1] - first[1], confidence)


def removed(own: float, original: float, retrains: ArrayLike) -> float:
    """(original - own) / (original - mean of retrains): the share of an exposure above Retrain's that is gone.

    Above 1 the images are less exposed than with Retrain: over-forgotten.

    Args:
        own: mean exposure after unlearning.
        original: the same before.
        retrains: the same of models that never saw the images, shape (K,).

    Raises:
        Unresolved: fewer than two Retrains, or the Original is not above their mean by more than two of them differ
            and by more than 0.02: few Retrains may agree by chance.
    """
    references = finite(retrains, 1, "retrains")
    if len(references) < 2:
        raise Unresolved(f"{len(references)} Retrain(s); how far two differ needs two")
    removable = original - float(references.mean())
    if removable <= max(float(np.ptp(references)), LEAST_REMOVABLE):
        raise Unresolved(f"the Original is no more exposed than Retrains by their difference and {LEAST_REMOVABLE}")
    return (original - own) / removable


def _placements(scores: ArrayLike, non_members: ArrayLike) -> tuple[Floats, Floats]:
    """Exposure of each image, and of each non-member the share of the images above it: the means are equal."""
    if min(np.size(scores), np.size(non_members)) < 2:
        raise Unresolved(f"{np.size(scores)} images, {np.size(non_members)} non-members; an interval needs two of each")
    return exposure(scores, non_members), 1 - exposure(non_members, scores)


def _measured(images: Floats, non_members: Floats, confidence: float) -> Measured:
    spread = math.sqrt(sum(part.var(ddof=1) / len(part) for part in (images, non_members)))
    value, half_width = float(images.mean()), float(stats.norm.ppf((1 + confidence) / 2)) * spread
    return Measured(value, value - half_width, value + half_width)
