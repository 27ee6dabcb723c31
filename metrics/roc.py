"""The ROC of a membership attack, no further down than the sample resolves (PROTOCOL 3.4)."""

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from metrics.checks import Floats, finite
from metrics.declaration import Unresolved
from metrics.membership import FEWEST_FALSE_POSITIVES

POINTS = 25
"""Most rates of a curve."""


class Roc(NamedTuple):
    """A curve, both of shape (points,) and rising."""

    fpr: Floats
    """Share of the non-members that may be accused."""
    tpr: Floats
    """Share of the members that is found."""


def membership_roc(member_scores: ArrayLike, non_member_scores: ArrayLike, points: int = POINTS) -> Roc:
    """What `tpr_at_fpr` finds at rates from 10 / n to 1, evenly spaced on a log axis.

    Each rate is k / n for a whole number k of accused non-members, so the rates follow from n alone, and curves of
    models that are judged on equally many non-members can be averaged. Ties count against the attack.

    Args:
        member_scores: shape (m,), float; higher means "more likely a member".
        non_member_scores: shape (n,), float.
        points: most rates; there are fewer where n is too small for that many whole numbers.

    Raises:
        Unresolved: no member, or at most 10 non-members: no rate below 1 is resolved.
    """
    members = np.sort(finite(member_scores, 1, "member scores"))
    non_members = np.sort(finite(non_member_scores, 1, "non-member scores"))
    count = len(non_members)
    if not len(members) or count <= FEWEST_FALSE_POSITIVES:
        raise Unresolved(f"{len(members)} members, {count} non-members; needs 1 and {FEWEST_FALSE_POSITIVES + 1}")
    accused = np.unique(np.geomspace(FEWEST_FALSE_POSITIVES, count, points).round().astype(np.int64))
    highest_acquitted = np.concatenate([[-np.inf], non_members])[count - accused]
    found = len(members) - np.searchsorted(members, highest_acquitted, side="right")
    return Roc(accused / count, found / len(members))
