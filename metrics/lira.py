"""LiRA: is an image's log-odds under the audited model more like under models with it, or under models without it?

    IN:  phi ~ N(m_in, s_in^2) over the shadows trained on the image
    OUT: phi ~ N(m_out, s_out^2) over the shadows not trained on it
    online:  log N(phi; m_in, s_in^2) - log N(phi; m_out, s_out^2)
    offline: (phi - m_out) / s_out, which orders images as -log P(N(m_out, s_out^2) > phi) does

phi is `membership.log_odds`. A spread (s) is one number for all images, or one for each image: from few shadows the
latter is mostly noise, and costs most where it counts, at low false-positive rates. Variances are taken around each
image's own mean, with n - 1 in the denominator, also where the centre is the median.

With several augmented queries per image, the score is the mean of the scores of each query.

Source: Carlini et al., Membership Inference Attacks From First Principles, IEEE S&P 2022. Authors' code differs: its
single spread is taken over all images together, centres included, and that of IN serves for OUT as well ("shared"
here); its offline score is log N(phi; m_out, s_out^2), which takes low and high log-odds alike for membership.
"""

from typing import Literal, NamedTuple, get_args

import numpy as np
from numpy.typing import ArrayLike

from metrics.checks import Bools, Floats, Integers, finite, flags
from metrics.declaration import Unresolved

Center = Literal["median", "mean"]
OutSpread = Literal["pooled", "per-sample"]
Spread = Literal["pooled", "shared", "per-sample"]
"""One spread for IN and one for OUT; that of IN for both; or two for each image."""

FEWEST_PER_SAMPLE = 64
"""Shadows from which an image has spreads of its own (PROTOCOL 6.3)."""
SMALLEST_SPREAD = 1e-6
"""Nats; what float32 keeps apart of log-odds around 10. Where all shadows agree, a spread of 0 would divide by 0."""


def lira_online(
    observed: ArrayLike,
    shadows: ArrayLike,
    members: ArrayLike,
    *,
    spread: Spread | None = None,
    center: Center = "median",
) -> Floats:
    """Score of each image, shape (n,), float64; higher means "more likely a member".

    Args:
        observed: log-odds under the audited model, shape (n,), float.
        shadows: log-odds under the shadows, shape (n, m), float. Neither the audited model nor the one that was trained
            on its other half is among them: with the latter, members would have fewer IN shadows than non-members,
            and their scores would differ for that alone.
        members: which shadow was trained on which image, shape (n, m), bool.
        spread: where spreads come from; None follows the number of shadows: pooled below 64, else per sample.
        center: how the centre of an image's log-odds is estimated.

    Raises:
        Unresolved: an image has no IN or no OUT shadow (two of each, for spreads per sample), or nothing is left to
            estimate a pooled spread from.
        ValueError: mismatched shapes, NaN or infinite values, an unknown option.
    """
    values, log_odds, inside = _checked(observed, shadows, members)
    return _log_ratio(values, log_odds, inside, ~inside, _named(spread, Spread, log_odds.shape[1]), center)


def lira_offline(
    observed: ArrayLike,
    shadows: ArrayLike,
    members: ArrayLike,
    *,
    spread: OutSpread | None = None,
    center: Center = "median",
) -> Floats:
    """Score of each image from OUT shadows alone, in OUT spreads, shape (n,), float64; arguments as `lira_online`.

    Raises:
        Unresolved: an image has no OUT shadow (two, for spreads per sample), or nothing is left to estimate a pooled
            spread from.
        ValueError: as `lira_online`.
    """
    values, log_odds, inside = _checked(observed, shadows, members)
    spreads = _spreads(log_odds, ~inside, "OUT", _named(spread, OutSpread, log_odds.shape[1]))
    return (values - _centers(log_odds, ~inside, "OUT", center)) / spreads


class Judged(NamedTuple):
    """What `u_lira` says of each judged pair of image and run; all of shape (pairs,)."""

    scores: Floats
    """Higher means "more likely trained on, then forgotten"."""
    is_member: Bools
    """Whether the image was in the forget set of that run; else the run's Original never saw it."""
    images: Integers
    runs: Integers


def u_lira(
    log_odds: ArrayLike,
    forgotten: ArrayLike,
    unseen: ArrayLike,
    originals: ArrayLike,
    *,
    spread: Spread | None = None,
    center: Center = "median",
) -> Judged:
    """Can images that were unlearned be told from images never trained on, in models that both went through it?

    The online score, with IN = log-odds after unlearning with the image in the forget set, and OUT = log-odds of an
    image that the Original never saw, after the same unlearner on another forget set. Each Original's runs are judged
    by Gaussians that were fitted on the runs of the other Originals (PROTOCOL 6.2). The null is the same with Retrain's
    log-odds. Pairs of one Original are not independent, and Originals are judged by one another, so that a t-interval
    over them, found by `originals[runs]`, is too narrow.

    Args:
        log_odds: shape (n, runs), float; only labelled entries are read, others may be NaN.
        forgotten: which image was in the forget set of which run, shape (n, runs), bool.
        unseen: which image the Original of a run was not trained on, shape (n, runs), bool. An image in neither was
            kept: it is not labelled.
        originals: which Original each run started from, shape (runs,), int or str. Two that were trained on
            complementary halves count as one, for the reason that `lira_online` gives.
        spread: as in `lira_online`; None follows the Originals behind the image that has fewest of them, twice its IN
            or its OUT ones. Runs of one Original are no further models: they are alike.
        center: as in `lira_online`.

    Returns:
        All labelled pairs but those whose image has too few labels left without that Original: one IN and one OUT, two
        of each for spreads per sample.

    Raises:
        Unresolved: no such pair.
        ValueError: mismatched shapes, an image both forgotten and unseen, a labelled entry that is not finite.

    Source: Hayes et al., Inexact Unlearning Needs More Careful Evaluations to Avoid a False Sense of Privacy, 2024.
    """
    values, inside, outside, origins = _labelled(log_odds, forgotten, unseen, originals)
    kind = _named(spread, Spread, _fewest_models(inside, outside, origins))
    needed = 2 if kind == "per-sample" else 1
    scores = np.full(values.shape, np.nan)
    for original in np.unique(origins):
        judged = origins == original
        kept_in, kept_out = inside & ~judged, outside & ~judged
        rows = np.flatnonzero((kept_in.sum(axis=1) >= needed) & (kept_out.sum(axis=1) >= needed))
        if len(rows):
            fitted = values[rows], kept_in[rows], kept_out[rows]
            scores[np.ix_(rows, judged)] = _log_ratio(values[rows][:, judged].T, *fitted, kind, center).T
    images, runs = np.nonzero((inside | outside) & ~np.isnan(scores))
    if not len(images):
        raise Unresolved("no image has an IN and an OUT label from Originals other than the judged one")
    return Judged(scores[images, runs], inside[images, runs], images, runs)


def _fewest_models(inside: Bools, outside: Bools, origins: np.ndarray) -> int:
    """Twice the fewest Originals that label an image as IN, or as OUT; of the images that have both labels."""
    groups = [origins == original for original in np.unique(origins)]
    behind = [np.sum([side[:, runs].any(axis=1) for runs in groups], axis=0) for side in (inside, outside)]
    fewest = np.minimum(*behind)
    return 2 * int(fewest[fewest > 0].min(initial=len(groups)))


def _log_ratio(observed: Floats, values: Floats, inside: Bools, outside: Bools, kind: str, center: str) -> Floats:
    """Ratio of each row, log N(observed; IN) - log N(observed; OUT), for observed of shape (..., n)."""
    spread_in = _spreads(values, inside, "IN", kind)
    spread_out = spread_in if kind == "shared" else _spreads(values, outside, "OUT", kind)
    z_in = (observed - _centers(values, inside, "IN", center)) / spread_in
    z_out = (observed - _centers(values, outside, "OUT", center)) / spread_out
    return (z_out**2 - z_in**2) / 2 + np.log(spread_out / spread_in)


def _centers(values: Floats, chosen: Bools, side: str, center: str) -> Floats:
    """Of the chosen entries of each row, shape (n,)."""
    counts = _counts(chosen, side, 1)
    if _named(center, Center) == "mean":
        return _means(values, chosen, counts)
    ordered = np.sort(np.where(chosen, values, np.inf), axis=1)
    middle = np.stack([(counts - 1) // 2, counts // 2], axis=1)
    return np.asarray(np.take_along_axis(ordered, middle, axis=1).mean(axis=1), dtype=np.float64)


def _spreads(values: Floats, chosen: Bools, side: str, kind: str) -> Floats:
    """Standard deviation of the chosen entries, of each row (n,), or of all together ()."""
    counts = _counts(chosen, side, 2 if kind == "per-sample" else 1)
    residuals = np.where(chosen, values - _means(values, chosen, counts)[:, None], 0)
    squares, freedom = (residuals**2).sum(axis=1), counts - 1
    if kind != "per-sample":
        squares, freedom = squares.sum(), freedom.sum()
    if not np.all(freedom):
        raise Unresolved(f"no image has two {side} shadows: their spread is not known")
    return np.asarray(np.maximum(np.sqrt(squares / freedom), SMALLEST_SPREAD), dtype=np.float64)


def _means(values: Floats, chosen: Bools, counts: Integers) -> Floats:
    return np.asarray(np.where(chosen, values, 0).sum(axis=1) / counts, dtype=np.float64)


def _counts(chosen: Bools, side: str, needed: int) -> Integers:
    """How many entries of each row are chosen, shape (n,)."""
    counts: Integers = chosen.sum(axis=1)
    lacking = int((counts < needed).sum())
    if lacking:
        raise Unresolved(f"{lacking} of {len(counts)} images have fewer than {needed} {side} shadow(s)")
    return counts


def _named(option: str | None, options: object, shadow_count: int = 0) -> str:
    """The option, or the default that follows from the number of shadows."""
    if option is None:
        return "pooled" if shadow_count < FEWEST_PER_SAMPLE else "per-sample"
    if option not in get_args(options):
        raise ValueError(f"{option!r} is none of {', '.join(get_args(options))}")
    return option


def _checked(observed: ArrayLike, shadows: ArrayLike, members: ArrayLike) -> tuple[Floats, Floats, Bools]:
    values, log_odds = finite(observed, 1, "observed"), finite(shadows, 2, "shadows")
    if len(values) != len(log_odds):
        raise ValueError(f"{len(values)} images under the audited model, but {len(log_odds)} under the shadows")
    return values, log_odds, flags(members, log_odds.shape, "members")


def _labelled(
    log_odds: ArrayLike, forgotten: ArrayLike, unseen: ArrayLike, originals: ArrayLike
) -> tuple[Floats, Bools, Bools, np.ndarray]:
    shape = np.shape(log_odds)
    inside, outside = flags(forgotten, shape, "forgotten"), flags(unseen, shape, "unseen")
    if (inside & outside).any():
        raise ValueError("an image cannot be both forgotten and unseen in one run")
    values = finite(np.where(inside | outside, log_odds, 0), 2, "log-odds")
    origins = np.asarray(originals)
    if origins.shape != shape[1:]:
        raise ValueError(f"{shape[1]} runs, but Originals of shape {origins.shape}")
    return values, inside, outside, origins
