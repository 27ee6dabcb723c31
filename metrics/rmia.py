"""RMIA: how many images of the population gain less from the audited model than this one does?

    LR(x, z) = [p(x) / pbar(x)] / [p(z) / pbar(z)]
    score(x) = share of population images z with LR(x, z) > gamma

p is the true-class probability under the audited model, pbar the same over models in general, half of them trained on
the image. Offline, where only models without x exist, models with x are taken to follow p_in = a p_out + (1 - a), so
pbar = [(1 + a) mean of p_out + (1 - a)] / 2. All of it is computed from log-odds, as `membership.log_odds` gives them,
in logs: true-class probabilities that round to 1 or 0 stay apart.

A score is a whole number of population images over their number, so low false-positive rates need a large population.

Source: Zarifzadeh et al., Low-Cost High-Power Membership Inference Attacks, ICML 2024.
"""

from collections.abc import Iterable
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import log_expit, logsumexp

from metrics.checks import Bools, Floats, finite, flags
from metrics.declaration import Unresolved
from metrics.membership import attack_auc

SLOPES = tuple(step / 10 for step in range(11))
"""The values of a that `tuned_slope` tries."""


class Population(NamedTuple):
    """Log-odds of images that neither the audited model nor any reference was trained on, and that are not judged."""

    observed: ArrayLike
    """Under the audited model, shape (z,), float."""
    references: ArrayLike
    """Under the references, shape (z, m), float."""


def rmia_online(
    observed: ArrayLike, references: ArrayLike, members: ArrayLike, population: Population, *, gamma: float = 1.0
) -> Floats:
    """Score of each image, shape (n,), float64 in [0, 1]; higher means "more likely a member".

    Args:
        observed: log-odds under the audited model, shape (n,), float.
        references: log-odds under the reference models, shape (n, m), float; as shadows in
            `lira.lira_online`, without the audited model and its partner.
        members: which reference was trained on which image, shape (n, m), bool. IN and OUT count half each.
        population: what the images are compared with.
        gamma: how much more than z an image must gain; above 0.

    Raises:
        Unresolved: an image has no IN or no OUT reference, or there is no population.
        ValueError: mismatched shapes, NaN or infinite values, gamma not above 0.
    """
    own, log_p, inside = _checked(observed, references, members)
    usual = np.logaddexp(_log_mean(log_p, inside, "IN"), _log_mean(log_p, ~inside, "OUT")) - np.log(2)
    others, log_p_others = _population(population, log_p.shape[1])
    usual_others = _log_mean(log_p_others, np.full(log_p_others.shape, True), "OUT")
    return _share_below(own - usual, others - usual_others, gamma)


def rmia_offline(
    observed: ArrayLike,
    references: ArrayLike,
    members: ArrayLike,
    population: Population,
    *,
    slope: float,
    gamma: float = 1.0,
) -> Floats:
    """Score of each image from OUT references alone; one for each image is enough.

    Args:
        observed: as in `rmia_online`, and so the next three.
        references: entries of references that were trained on the image are not read.
        members: which reference was trained on which image.
        population: what the images are compared with.
        slope: a, in [0, 1], as `tuned_slope` finds it; 1 where references do not gain from training on an image.
        gamma: as in `rmia_online`.

    Raises:
        Unresolved: an image has no OUT reference, or there is no population.
        ValueError: as `rmia_online`, or a slope outside [0, 1].
    """
    return _offline(*_out_means(observed, references, members, population), slope, gamma)


def tuned_slope(
    paired: ArrayLike,
    paired_members: ArrayLike,
    references: ArrayLike,
    members: ArrayLike,
    population: Population,
    *,
    slopes: Iterable[float] = SLOPES,
) -> float:
    """The slope with which the offline attack has the highest AUC on a model whose members are known.

    That model stands in for the audited one, on which nothing is tuned (PROTOCOL 6.3). It is trained as the references
    are, and neither it nor the partner that was trained on its other half is one of them: with the partner among them,
    members would have one OUT reference more than non-members.

    Args:
        paired: log-odds under the stand-in, shape (n,), float.
        paired_members: which images it was trained on, shape (n,), bool.
        references: as in `rmia_offline`, for the images of `paired`.
        members: as in `rmia_offline`, for the images of `paired`.
        population: with the stand-in in the audited model's place.
        slopes: what is tried; of equally good ones the first.

    Raises:
        Unresolved: as `rmia_offline`, or no member, or fewer than 10 non-members.
        ValueError: as `rmia_offline`, or nothing to try.
    """
    tried = list(slopes)
    if not tried:
        raise ValueError("no slope to try")
    is_member = flags(paired_members, np.shape(paired), "paired members")
    means = _out_means(paired, references, members, population)
    found = [_offline(*means, slope, gamma=1.0) for slope in tried]
    return tried[int(np.argmax([attack_auc(scores[is_member], scores[~is_member]) for scores in found]))]


class _OutMeans(NamedTuple):
    """Logs of p and of mean p_out, of the images (n,) and of the population (z,)."""

    own: Floats
    out: Floats
    others: Floats
    out_others: Floats


def _out_means(observed: ArrayLike, references: ArrayLike, members: ArrayLike, population: Population) -> _OutMeans:
    own, log_p, inside = _checked(observed, references, members)
    others, log_p_others = _population(population, log_p.shape[1])
    out = _log_mean(log_p, ~inside, "OUT")
    return _OutMeans(own, out, others, _log_mean(log_p_others, np.full(log_p_others.shape, True), "OUT"))


def _offline(own: Floats, out: Floats, others: Floats, out_others: Floats, slope: float, gamma: float) -> Floats:
    return _share_below(own - _log_usual(out, slope), others - _log_usual(out_others, slope), gamma)


def _share_below(gains: Floats, population_gains: Floats, gamma: float) -> Floats:
    """Share of the population that gains less than 1 / gamma times what each image gains, from logs of gains."""
    if not gamma > 0:
        raise ValueError(f"gamma must be above 0, got {gamma}")
    below = np.searchsorted(np.sort(population_gains), gains - np.log(gamma), side="left")
    return np.asarray(below / len(population_gains), dtype=np.float64)


def _log_usual(log_out: Floats, slope: float) -> Floats:
    """Log of [(1 + a) p_out + (1 - a)] / 2."""
    if not 0 <= slope <= 1:
        raise ValueError(f"slope must be in [0, 1], got {slope}")
    with np.errstate(divide="ignore"):  # at slope 1 nothing is added, and log 0 says so
        constant = np.log((1 - slope) / 2)
    return np.asarray(np.logaddexp(np.log((1 + slope) / 2) + log_out, constant), dtype=np.float64)


def _log_mean(log_p: Floats, chosen: Bools, side: str) -> Floats:
    """Log of the mean probability over the chosen references of each image, shape (n,)."""
    counts = chosen.sum(axis=1)
    if not counts.all():
        raise Unresolved(f"{(counts == 0).sum()} of {len(counts)} images have no {side} reference")
    return np.asarray(logsumexp(np.where(chosen, log_p, -np.inf), axis=1) - np.log(counts), dtype=np.float64)


def _checked(observed: ArrayLike, references: ArrayLike, members: ArrayLike) -> tuple[Floats, Floats, Bools]:
    own, log_p = _log_probabilities(observed, references)
    return own, log_p, flags(members, log_p.shape, "members")


def _population(population: Population, reference_count: int) -> tuple[Floats, Floats]:
    own, log_p = _log_probabilities(population.observed, population.references)
    if not len(own):
        raise Unresolved("the population is empty")
    if log_p.shape[1] != reference_count:
        raise ValueError(f"{reference_count} references on the images, but {log_p.shape[1]} on the population")
    return own, log_p


def _log_probabilities(observed: ArrayLike, references: ArrayLike) -> tuple[Floats, Floats]:
    own, under_references = finite(observed, 1, "observed"), finite(references, 2, "references")
    if len(own) != len(under_references):
        raise ValueError(f"{len(own)} images under the audited model, but {len(under_references)} under references")
    return log_expit(own), log_expit(under_references)
