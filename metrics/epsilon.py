"""A lower bound of the epsilon with which unlearning can be told from retraining, per image (PROTOCOL 6.4).

If unlearning were (epsilon, delta)-indistinguishable from retraining, every event E of an image's margin would have
P(E) <= exp(epsilon) Q(E) + delta and Q(E) <= exp(epsilon) P(E) + delta, P being the law of the margin over unlearned
models and Q the law over retrained ones. So every event shows an epsilon of at least log((P(E) - delta) / Q(E)). The
events are the intervals of margins and what lies outside of them; single thresholds are intervals without an end.

A small bound shows nothing: it may only mean that the models are too few. It is no guarantee, and never "DP".
"""

import math
from functools import cache
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from metrics.checks import Floats, Integers, finite
from metrics.declaration import Unresolved, metric
from metrics.intervals import clopper_pearson

CHUNK = 2048
"""Images swept at once: their scores stay in the processor's cache."""


class EpsilonLowerBound(NamedTuple):
    """What `eps_lower_bound` found, in nats."""

    bound: float
    """The largest of `per_sample`: the unlearning's epsilon is at least this, with the stated confidence."""
    per_sample: Floats
    """The bound of each image, shape (n,), at least 0; all of them hold at once. 0 also where it was not tested."""
    resolution: float
    """The largest bound that so many models can give, that is for two sides that never overlap."""


@metric("eps_lower_bound", direction="lower", range=(0, math.inf), version=1, unit="nats")
def eps_lower_bound(
    unlearned: ArrayLike,
    retrained: ArrayLike,
    *,
    confidence: float = 0.95,
    delta: float = 1e-5,
    tested: int | None = None,
) -> EpsilonLowerBound:
    """Lower confidence bound of the epsilon with which an image's margins tell unlearned from retrained models.

    Per image the event is chosen on the first half of the columns of each side: the one of all intervals and
    complements, in both directions, whose bound is largest there. On the other half its two probabilities get one-sided
    Clopper-Pearson limits, each at (1 - confidence) / (2 tested), so that all images' bounds hold together.

    Args:
        unlearned: margins, shape (n, models): one column per independently trained and unlearned Original.
        retrained: margins, shape (n, models): one column per Retrain; columns of both sides must be independent.
        confidence: in (0, 1), of all bounds together.
        delta: in [0, 1).
        tested: how many images are tested, those that look most exposed on the first half; all by default. Fewer tests
            leave more confidence to each, and the untested images without a bound.

    Raises:
        Unresolved: no image, or so few models that even two sides that never overlap would get 0.
        ValueError: different numbers of images; `confidence`, `delta` or `tested` out of range.

    Source: the attacks are those of the NeurIPS 2023 unlearning challenge (Triantafillou et al., Are We Making Progress
    in Unlearning?, 2024), which takes the largest ratio of observed rates instead: that is positive between equals.
    """
    sides, tests = _checked(unlearned, retrained, confidence, delta, tested)
    each = 1 - (1 - confidence) / tests
    (unlearned_half, unlearned_rest), (retrained_half, retrained_rest) = map(_halves, sides)
    choosing = _bounds(unlearned_half.shape[1], retrained_half.shape[1], each, delta)
    judging = _bounds(unlearned_rest.shape[1], retrained_rest.shape[1], each, delta)
    resolution = float(judging.max())
    if resolution <= 0:
        counts = f"{sides[0].shape[1]} unlearned and {sides[1].shape[1]} retrained models"
        raise Unresolved(f"{counts} are too few for {tests} images: even sides that never overlap would get 0")
    event = _most_telling(unlearned_half, retrained_half, choosing)
    per_sample = np.maximum(judging[event.kind, event.holds(unlearned_rest), event.holds(retrained_rest)], 0.0)
    per_sample[np.argsort(-event.score, kind="stable")[tests:]] = 0.0
    return EpsilonLowerBound(float(per_sample.max()), per_sample, resolution)


class _Event(NamedTuple):
    """One event per image: an interval (low, high] of margins, or its complement; all of shape (n,)."""

    low: Floats
    high: Floats
    kind: Integers
    """Which of the four ratios of `_bounds`."""
    score: Floats
    """Its bound on the models that it was chosen on."""

    def holds(self, margins: Floats) -> Integers:
        """How many of the margins, shape (n, models), lie within the interval, shape (n,)."""
        within = (margins > self.low[:, None]) & (margins <= self.high[:, None])
        return np.asarray(within.sum(axis=1), dtype=np.int64)


def _bounds(unlearned: int, retrained: int, confidence: float, delta: float) -> Floats:
    """log((lower limit of one rate - delta) / upper limit of the other), -inf where that is no number.

    Returns:
        Shape (4, unlearned + 1, retrained + 1), by how many models of each side lie within the interval. First index:
        unlearned over retrained, then the reverse, both within the interval; the same two outside of it.
    """
    if not unlearned or not retrained:
        raise Unresolved(f"{unlearned} unlearned and {retrained} retrained models in one half; needs 1 of each")
    p_low, p_high = _limits(unlearned, confidence)
    q_low, q_high = _limits(retrained, confidence)
    with np.errstate(divide="ignore"):
        above = np.log(np.maximum(p_low - delta, 0))[:, None] - np.log(q_high)[None]
        below = np.log(np.maximum(q_low - delta, 0))[None] - np.log(p_high)[:, None]
    return np.stack([above, below, above[::-1, ::-1], below[::-1, ::-1]])


@cache
def _limits(trials: int, confidence: float) -> tuple[Floats, Floats]:
    """Both limits of every count, shape (trials + 1,); kept, for with few images they take longer than the sweep."""
    limits = np.array([clopper_pearson(successes, trials, confidence) for successes in range(trials + 1)])
    return limits[:, 0], limits[:, 1]


def _most_telling(unlearned: Floats, retrained: Floats, bounds: Floats) -> _Event:
    """The event with the largest bound, for every image; of equal ones a single threshold, then the lowest."""
    chunks = range(0, len(unlearned), CHUNK)
    found = [_sweep(unlearned[at : at + CHUNK], retrained[at : at + CHUNK], bounds) for at in chunks]
    return _Event(*(np.concatenate(column) for column in zip(*found, strict=True)))


def _sweep(unlearned: Floats, retrained: Floats, bounds: Floats) -> _Event:
    """All intervals between neighbouring margins of the two sides together, by their counts alone: exact."""
    best, kinds = bounds.max(axis=0).ravel(), bounds.argmax(axis=0).ravel()
    cuts, below = _cuts(unlearned, retrained)
    images, rows = len(below), np.arange(len(below))
    score, code = np.full(images, -np.inf), np.zeros(images, dtype=np.int64)
    start, end = np.zeros(images, dtype=np.int64), np.zeros(images, dtype=np.int64)
    for first in range(below.shape[1] - 1):
        codes = below[:, first + 1 :] - below[:, first, None]
        scores = best[codes]
        last = scores.argmax(axis=1)
        better = scores[rows, last] > score
        score[better] = scores[rows, last][better]
        code[better], start[better], end[better] = codes[rows, last][better], first, first + 1 + last[better]
    return _Event(cuts[rows, start], cuts[rows, end], kinds[code], score)


def _cuts(unlearned: Floats, retrained: Floats) -> tuple[Floats, NDArray[np.int32]]:
    """Where an interval can end: below all margins, midway between neighbours, above all.

    Returns:
        cuts: shape (n, models + 1), rising; equal margins are never separated, the cut before them is repeated.
        below: the same shape: u (retrained + 1) + r for u unlearned and r retrained models at most at the cut. The
            difference of two cuts' codes is the code of what lies between.
    """
    together = np.concatenate([unlearned, retrained], axis=1)
    step = np.repeat([retrained.shape[1] + 1, 1], [unlearned.shape[1], retrained.shape[1]]).astype(np.int32)
    order = np.argsort(together, axis=1)
    ordered = np.take_along_axis(together, order, axis=1)
    below = np.pad(np.cumsum(step[order], axis=1, dtype=np.int32), ((0, 0), (1, 0)))
    middle = ordered[:, :-1] / 2 + ordered[:, 1:] / 2
    cuts = np.pad(middle, ((0, 0), (1, 1)), constant_values=((0, 0), (-np.inf, np.inf)))
    tied = np.pad(ordered[:, :-1] == ordered[:, 1:], ((0, 0), (1, 1)))
    below[tied], cuts[tied] = 0, -np.inf
    return np.maximum.accumulate(cuts, axis=1), np.maximum.accumulate(below, axis=1)


def _checked(
    unlearned: ArrayLike, retrained: ArrayLike, confidence: float, delta: float, tested: int | None
) -> tuple[tuple[Floats, Floats], int]:
    sides = finite(unlearned, 2, "unlearned margins"), finite(retrained, 2, "retrained margins")
    images = len(sides[0])
    if len(sides[1]) != images:
        raise ValueError(f"margins of {images} and of {len(sides[1])} images cannot be compared")
    if not 0 < confidence < 1 or not 0 <= delta < 1:
        raise ValueError(f"confidence must be in (0, 1) and delta in [0, 1), got {confidence} and {delta}")
    if not images:
        raise Unresolved("no images to compare")
    tests = images if tested is None else tested
    if not 1 <= tests <= images:
        raise ValueError(f"tested must be in [1, {images}], got {tested}")
    return sides, tests


def _halves(margins: Floats) -> tuple[Floats, Floats]:
    """The models that an event is chosen on, and the rest that it is judged on; an odd one goes to the rest."""
    half = margins.shape[1] // 2
    return margins[:, :half], margins[:, half:]
