"""Weak membership attacks on one model (PROTOCOL 5): can the forgotten images be told from images never trained on?

They see one number per image, its true-class confidence or its loss, and one model. What they do not find may still be
there (Hayes et al., Inexact Unlearning Needs More Careful Evaluations, 2024): the audits are the stronger test.
"Member" is an image that the model was trained on and kept, "non-member" one that it never saw.
"""

import math
from typing import NamedTuple

import numpy as np
from numpy.polynomial import Chebyshev
from numpy.typing import ArrayLike, NDArray
from scipy.sparse import csr_matrix
from scipy.special import logsumexp
from sklearn.svm import SVC

from metrics.checks import Floats, Integers, finite, indices, logits_and_labels
from metrics.declaration import Unresolved, metric
from metrics.sampling import class_matched, stratified_folds

FEWEST_PER_FOLD = 8
"""Non-members per fold below which `mia_svc` is not a number."""
FEWEST_NON_MEMBERS = 10
"""Non-members below which a loss AUC is not a number."""
FEWEST_FALSE_POSITIVES = 10
"""False positives that a rate must allow to be resolved (PROTOCOL 3.4)."""


def log_odds(logits: ArrayLike, labels: ArrayLike) -> Floats:
    """Log-odds of the true class per image, shape (n,), float64: log p_y - log of the sum over j != y of p_j.

    Taken from the logits, so that it does not saturate where p_y rounds to 1. Infinite with a single class.

    Source: Carlini et al., Membership Inference Attacks From First Principles, IEEE S&P 2022.
    """
    scores, truth = logits_and_labels(logits, labels)
    rows = np.arange(len(truth))
    others = scores.copy()
    others[rows, truth] = -np.inf
    return np.asarray(scores[rows, truth] - logsumexp(others, axis=1), dtype=np.float64)


def cross_entropy(logits: ArrayLike, labels: ArrayLike) -> Floats:
    """Loss per image, shape (n,), float64, in nats: log(1 + sum over j != y of exp(z_j - z_y)).

    This form keeps losses far below the float64 resolution of 1 - p apart; the usual one rounds them to ties at 0.
    """
    return np.asarray(np.logaddexp(0.0, -log_odds(logits, labels)), dtype=np.float64)


def true_class_probability(logits: ArrayLike, labels: ArrayLike) -> Floats:
    """Softmax probability of the true class, shape (n,), float64."""
    return np.asarray(np.exp(-cross_entropy(logits, labels)), dtype=np.float64)


class MiaSvc(NamedTuple):
    """What `mia_svc` found, each a mean over all of its fits."""

    forget_share: float
    """Share of the forget set called non-member."""
    non_member_share: float
    """The same share of non-members that the attack was not fitted on: what a perfect forget set gets."""
    training_balanced_accuracy: float
    """How well the attack separates its own training data; near 0.5 it has found nothing to use."""

    @property
    def excess(self) -> float:
        """forget_share - non_member_share: 0 is ideal without any Retrain, below 0 still looks trained on."""
        return self.forget_share - self.non_member_share


@metric("mia_svc", title="MIA-SVC", direction="retrain", range=(0, 1), version=1)
def mia_svc(
    retain: ArrayLike,
    retain_labels: ArrayLike,
    non_members: ArrayLike,
    non_member_labels: ArrayLike,
    forget: ArrayLike,
    *,
    seed: int,
    compared: ArrayLike | None = None,
    draws: int = 20,
    folds: int = 5,
    limit: int = 500,
) -> MiaSvc:
    """Share of the forget set that SalUn's attack calls non-member, with balanced, cross-fitted training sets.

    An RBF SVC (C = 3, gamma = 1) on the true-class confidence. In each draw the non-members are dealt anew into folds,
    stratified by class. For each fold it is fitted on the non-members of the other folds and on equally many retained
    images, class by class, and judges the forget set and the fold left out. Without exact balance the SVC answers with
    the larger side for everything; without the fold left out its non-members are its own training data.

    Args:
        retain: confidences of the retained images, shape (r,), float in [0, 1].
        retain_labels: their classes, shape (r,), int.
        non_members: confidences of images never trained on, shape (n,).
        non_member_labels: their classes, shape (n,).
        forget: confidences of the forget set, shape (f,).
        seed: of folds and draws.
        compared: the non-members that are like the forget set, shape (n,), bool; None is all of them. Where a class is
            forgotten they are that class's (PROTOCOL 2.4): it has no members left, so the attack is fitted on the
            other classes, and the share is taken over the held-out images of this one.
        draws: how often the folds are dealt; fits = draws * folds.
        folds: number of folds.
        limit: most images per side of one fit, a random sub-sample with the same class shares; each draw has its own.

    Raises:
        Unresolved: fewer than 8 compared non-members per fold, an empty forget set, or no class that both sides have.

    Source: Fan et al., SalUn, ICLR 2024, for the attack; balance and cross-fitting are ours (PROTOCOL 5.1).
    """
    retain, non_members, forget = map(_confidences, (retain, non_members, forget))
    retain_labels = _labels_of(retain, retain_labels)
    non_member_labels = _labels_of(non_members, non_member_labels)
    like_forget = np.ones(len(non_members), dtype=bool) if compared is None else np.asarray(compared, dtype=bool)
    if like_forget.sum() < FEWEST_PER_FOLD * folds:
        raise Unresolved(f"{like_forget.sum()} non-members; {folds} folds need {FEWEST_PER_FOLD * folds}")
    if not len(forget):
        raise Unresolved("the forget set is empty")
    generator = np.random.default_rng(seed)
    fits = []
    for _ in range(draws):
        fold_of = stratified_folds(non_member_labels, folds, generator)
        for fold in range(folds):
            seen = np.flatnonzero(fold_of != fold)
            members, others = class_matched(retain_labels, non_member_labels[seen], limit, generator)
            attack = _Attack(retain[members], non_members[seen[others]])
            fits.append(attack.shares(forget, non_members[(fold_of == fold) & like_forget]))
    return MiaSvc(*(float(share) for share in np.mean(fits, axis=0)))


@metric("mia_svc_original", title="MIA-SVC (SalUn's form)", direction="retrain", range=(0, 1), version=1)
def mia_svc_original(retain: ArrayLike, test: ArrayLike, forget: ArrayLike) -> float:
    """Share of the forget set called non-member by SalUn's attack in its original form, for comparison with papers.

    Members are the first n retained images in stored order, non-members the test set, n = min(r, t). It is neither
    class-balanced nor cross-fitted, and where the test set comes from elsewhere it measures that shift too.
    One difference: where the retain set is the smaller, the original fails; here the test set is cut to its first n.
    The cost grows with n squared: below 1 s at n = 3,000, 8 to 14 s at n = 18,000.

    Args:
        retain: confidences of the retained images in stored order, shape (r,).
        test: confidences of the test images, shape (t,).
        forget: confidences of the forget set, shape (f,).

    Raises:
        Unresolved: one of the three is empty.

    Source: Fan et al., SalUn, ICLR 2024, and the "confidence" attack of its published code.
    """
    retain, test, forget = map(_confidences, (retain, test, forget))
    count = min(len(retain), len(test))
    if not count or not len(forget):
        raise Unresolved("retain, test and forget set must not be empty")
    return float(np.mean(_Attack(retain[:count], test[:count]).calls_non_member(forget)))


@metric("mia_loss_auc", title="MIA-loss AUC", direction="retrain", range=(0, 1), version=1, target=0.5)
def mia_loss_auc(forget_losses: ArrayLike, non_member_losses: ArrayLike) -> float:
    """Probability that a non-member has a higher loss than a forgotten image, ties counting half.

    Above 0.5 the forget set still looks trained on; below, it is over-forgotten, which gives it away as well.

    Args:
        forget_losses: shape (f,), float.
        non_member_losses: shape (n,), float.

    Raises:
        Unresolved: no forget loss, or fewer than 10 non-members.

    Source: Yeom et al., Privacy Risk in Machine Learning, CSF 2018, for the attack.
    """
    forget, non_members = finite(forget_losses, 1, "forget losses"), finite(non_member_losses, 1, "non-member losses")
    return _auc(-forget, -non_members, "forget images")


@metric("attack_auc", title="Attack AUC", direction="lower", range=(0, 1), version=1, target=0.5)
def attack_auc(member_scores: ArrayLike, non_member_scores: ArrayLike) -> float:
    """Probability that a member has a higher score than a non-member, ties counting half; shapes (m,) and (n,).

    Raises:
        Unresolved: no member, or fewer than 10 non-members.
    """
    return _auc(finite(member_scores, 1, "member scores"), finite(non_member_scores, 1, "non-member scores"), "members")


@metric("tpr_at_fpr", direction="lower", range=(0, 1), version=1)
def tpr_at_fpr(member_scores: ArrayLike, non_member_scores: ArrayLike, fpr: float = 0.01) -> float:
    """Share of members found when at most `fpr` of the non-members are accused.

    Higher scores mean "more likely a member". The threshold is the smallest that keeps the false-positive rate at or
    below `fpr`; ties count against the attack.

    Args:
        member_scores: shape (m,), float.
        non_member_scores: shape (n,), float.
        fpr: false-positive rate, in (0, 1].

    Raises:
        Unresolved: no member, or n below 10 / fpr: the rate cannot be resolved (PROTOCOL 3.4).

    Source: Carlini et al., Membership Inference Attacks From First Principles, IEEE S&P 2022.
    """
    return float(np.mean(accused(member_scores, non_member_scores, fpr)))


def accused(member_scores: ArrayLike, non_member_scores: ArrayLike, fpr: float = 0.01) -> NDArray[np.bool_]:
    """Which members `tpr_at_fpr` counts, shape (m,); arguments and errors are the same."""
    members = finite(member_scores, 1, "member scores")
    non_members = finite(non_member_scores, 1, "non-member scores")
    if not 0 < fpr <= 1:
        raise ValueError(f"fpr must be in (0, 1], got {fpr}")
    allowed = math.floor(fpr * len(non_members) + 1e-9)  # 0.29 * 100 is 28.999999999999996
    if not len(members) or allowed < FEWEST_FALSE_POSITIVES:
        needed = math.ceil(FEWEST_FALSE_POSITIVES / fpr - 1e-9)
        raise Unresolved(f"{len(members)} members, {len(non_members)} non-members; {fpr:.2%} FPR needs 1 and {needed}")
    if allowed == len(non_members):
        return np.ones(len(members), dtype=np.bool_)
    highest_acquitted = np.sort(non_members)[-(allowed + 1)]
    return np.asarray(members > highest_acquitted, dtype=np.bool_)


@metric("mia_loss_tpr", title="MIA-loss TPR", direction="retrain", range=(0, 1), version=1)
def mia_loss_tpr(forget_losses: ArrayLike, non_member_losses: ArrayLike, fpr: float) -> float:
    """Share of the forget set with a loss lower than nearly all non-members have: still remembered.

    Raises:
        Unresolved: as `tpr_at_fpr`.
    """
    return tpr_at_fpr(
        -finite(forget_losses, 1, "forget losses"), -finite(non_member_losses, 1, "non-member losses"), fpr
    )


@metric("mia_loss_tpr_over", title="MIA-loss TPR, over-forgotten", direction="retrain", range=(0, 1), version=1)
def mia_loss_tpr_over(forget_losses: ArrayLike, non_member_losses: ArrayLike, fpr: float) -> float:
    """Share of the forget set with a loss higher than nearly all non-members have: over-forgotten.

    Raises:
        Unresolved: as `tpr_at_fpr`.
    """
    return tpr_at_fpr(forget_losses, non_member_losses, fpr)


class _Attack:
    """SalUn's SVC on one feature, fitted on equally many members and non-members."""

    def __init__(self, members: Floats, non_members: Floats) -> None:
        self.members, self.non_members = members, non_members
        is_member = np.repeat([True, False], [len(members), len(non_members)])
        self.classifier = SVC(C=3.0, kernel="rbf", gamma="auto")
        features = csr_matrix(np.concatenate([members, non_members])[:, None])
        self.classifier.fit(features, is_member)  # the bits of a dense fit, without a BLAS call per product

    def calls_non_member(self, confidences: Floats) -> NDArray[np.bool_]:
        """The classifier's answers, shape (n,).

        Its decision function, a sum of Gaussians as wide as [0, 1], is met by a polynomial of degree 32 to rounding
        error, at a hundredth of the cost. Where that is too close to 0 to tell the sign, the classifier is asked.
        """
        distinct, position = np.unique(confidences, return_inverse=True)  # saturated confidences repeat a lot
        decision = Chebyshev.interpolate(lambda x: self.classifier.decision_function(x[:, None]), 32, domain=[0, 1])
        margin = decision(distinct)
        is_member = margin > 0
        unclear = np.abs(margin) < 1e-9
        if unclear.any():
            is_member[unclear] = self.classifier.predict(distinct[unclear, None])
        return np.asarray(~is_member[position], dtype=np.bool_)

    def shares(self, forget: Floats, held_out: Floats) -> tuple[float, float, float]:
        groups = (forget, held_out, self.members, self.non_members)
        verdicts = self.calls_non_member(np.concatenate(groups))
        ends = np.cumsum([len(group) for group in groups])[:-1]
        of_forget, of_held_out, of_members, of_non_members = (part.mean() for part in np.split(verdicts, ends))
        return of_forget, of_held_out, (1 - of_members + of_non_members) / 2


def _auc(members: Floats, non_members: Floats, what: str) -> float:
    """Share of pairs in which the member scores higher; `what` the members are called in the error."""
    if not len(members) or len(non_members) < FEWEST_NON_MEMBERS:
        raise Unresolved(f"{len(members)} {what}, {len(non_members)} non-members; needs 1 and {FEWEST_NON_MEMBERS}")
    members, pairs = np.sort(members), 2 * len(members) * len(non_members)
    below = np.searchsorted(members, non_members, side="left").sum()
    below_or_tied = np.searchsorted(members, non_members, side="right").sum()
    return (pairs - int(below + below_or_tied)) / pairs


def _confidences(values: ArrayLike) -> Floats:
    checked = finite(values, 1, "confidences")
    if checked.size and (checked.min() < 0 or checked.max() > 1):
        raise ValueError("confidences are probabilities: they must lie in [0, 1]")
    return checked


def _labels_of(confidences: Floats, labels: ArrayLike) -> Integers:
    checked = indices(labels, None, "labels")
    if len(checked) != len(confidences):
        raise ValueError(f"{len(confidences)} confidences, but {len(checked)} labels")
    return checked
