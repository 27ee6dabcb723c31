"""How sure a number is (PROTOCOL 3.2, 3.3): intervals over blocks, the verdict against Retrain, tests of a family.

Intervals over blocks are conditional on the fixed split of the data set. All functions raise ValueError on NaN and
infinities.
"""

import math
from functools import cache
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike
from scipy import stats

from metrics.checks import Floats, finite, indices
from metrics.declaration import Unresolved

Verdict = Literal["matches", "differs", "undetermined"]

FEWEST_GROUPS = 5
"""Groups below which a bootstrap has too few different draws."""
_CELLS = 2**22
"""Draws times groups that are held at once."""


def t_interval(values: ArrayLike, confidence: float = 0.95) -> tuple[float, float]:
    """Student's t-interval of the mean: mean +- t((1 + confidence) / 2; B - 1) * s / sqrt(B).

    Values that are all equal give an interval of width zero.

    Args:
        values: one per block, shape (B,).
        confidence: in (0, 1).

    Returns:
        (low, high), in the unit of the values.

    Raises:
        Unresolved: fewer than two values.
    """
    sample = finite(values, 1, "values")
    _check_confidence(confidence)
    if len(sample) < 2:
        raise Unresolved(f"{len(sample)} block(s); an interval needs two")
    quantile = _t_quantile((1 + confidence) / 2, len(sample) - 1)
    mean, half_width = float(sample.mean()), quantile * _standard_error(sample)
    return mean - half_width, mean + half_width


def bootstrap_interval(
    values: ArrayLike, groups: ArrayLike | None = None, confidence: float = 0.95, *, seed: int, draws: int = 2000
) -> tuple[float, float]:
    """Studentised bootstrap interval of the mean, by drawing whole groups with replacement (PROTOCOL 2.2, 3.2).

    With m the mean of all values, s its standard error and a star for a draw: (m - high s, m - low s), where low and
    high are the outer quantiles of (m* - m) / s*. The quantiles of m* alone would give an interval that holds the truth
    in 85 % of cases with 5 groups and in 90 % with 10, where it says 95 %. The standard error is that of a ratio of
    group sums to group sizes, so groups may differ in size.

    Args:
        values: shape (n,), float; independent between groups, not within.
        groups: what a value belongs to (its Original, its patient), shape (n,), int; each is its own by default.
        confidence: in (0, 1).
        seed: of the draws.
        draws: at least 20 / (1 - confidence) for quantiles that mean anything.

    Returns:
        (low, high), in the unit of the values. Of width zero where all are equal.

    Raises:
        Unresolved: fewer than 5 groups, or values so alike that too many draws have no spread; a rate near 0 or 1 of
            independent images has `clopper_pearson`.

    Source: Efron and Tibshirani, An Introduction to the Bootstrap, 1993, section 12.5.
    """
    _check_confidence(confidence)
    sums, sizes, mean = _group_sums(finite(values, 1, "values"), groups)
    if len(sums) < FEWEST_GROUPS:
        raise Unresolved(f"{len(sums)} group(s); a bootstrap needs {FEWEST_GROUPS}")
    if not sums.any():
        return mean, mean
    moments = np.stack([sums, sizes, sums**2, sums * sizes, sizes**2], axis=1)
    error = _bootstrap_error(moments.sum(axis=0)[None])[1][0]
    shift, errors = _bootstrap_error(_drawn_totals(moments, np.random.default_rng(seed), draws))
    spread = errors > 1e-6 * error  # a draw of equal groups has rounding errors for a spread
    studentised = np.divide(shift, errors, out=np.copysign(np.full(draws, np.inf), shift), where=spread)
    tails = np.quantile(studentised, [(1 - confidence) / 2, (1 + confidence) / 2], method="inverted_cdf")
    if not np.isfinite(tails).all():
        raise Unresolved(f"{np.mean(~spread):.0%} of the draws have no spread: too few different values")
    return mean - float(tails[1] * error), mean - float(tails[0] * error)


def clopper_pearson(successes: int, trials: int, confidence: float = 0.95) -> tuple[float, float]:
    """Exact binomial interval of a rate; for one fixed model and independent examples only (PROTOCOL 3.2).

    Raises:
        Unresolved: no trial.
        ValueError: successes outside [0, trials].

    Source: Clopper and Pearson, Biometrika 1934, in the beta-quantile form.
    """
    _check_confidence(confidence)
    if not 0 <= successes <= trials:
        raise ValueError(f"{successes} successes in {trials} trials")
    if trials == 0:
        raise Unresolved("no trial")
    tail, failures = (1 - confidence) / 2, trials - successes
    low = float(stats.beta.ppf(tail, successes, failures + 1)) if successes else 0.0
    high = float(stats.beta.ppf(1 - tail, successes + 1, failures)) if failures else 1.0
    return low, high


def verdict(signed_differences: ArrayLike, margin: float = 0.02) -> Verdict:
    """Say whether a method matches Retrain in one metric (PROTOCOL 3.3).

    "matches": the 90 % interval lies within +-margin, which is two one-sided tests at 5 %. Else "differs": the 95 %
    interval excludes 0. Else, and with fewer than two blocks, "undetermined". A difference that is certain but smaller
    than the margin therefore matches.

    Args:
        signed_differences: one per block, shape (B,), as of `gaps.signed_differences`.
        margin: largest difference that counts as none.
    """
    differences = finite(signed_differences, 1, "signed differences")
    if len(differences) < 2:
        return "undetermined"
    low, high = t_interval(differences, confidence=0.90)
    if -margin <= low and high <= margin:
        return "matches"
    low, high = t_interval(differences, confidence=0.95)
    return "differs" if low > 0 or high < 0 else "undetermined"


def paired_t(first: ArrayLike, second: ArrayLike) -> float:
    """Two-sided p-value of the paired t-test, shapes (B,); identical arrays give 1, a constant shift gives 0.

    Raises:
        Unresolved: fewer than two pairs.
        ValueError: different lengths.
    """
    left, right = finite(first, 1, "first"), finite(second, 1, "second")
    if len(left) != len(right):
        raise ValueError(f"{len(left)} and {len(right)} values cannot be paired")
    if len(left) < 2:
        raise Unresolved(f"{len(left)} block(s); a paired test needs two")
    differences = left - right
    if not differences.any():
        return 1.0
    error = _standard_error(differences)
    if error == 0:
        return 0.0
    return float(2 * stats.t.sf(abs(differences.mean()) / error, len(differences) - 1))


def holm(p_values: ArrayLike) -> Floats:
    """Holm's adjusted p-values of one test family, in the order given, shape (m,).

    The i-th smallest of m is multiplied by m - i + 1, capped at 1, and never falls below a smaller one's.

    Raises:
        ValueError: a value outside [0, 1].

    Source: Holm, A Simple Sequentially Rejective Multiple Test Procedure, 1979.
    """
    raw = finite(p_values, 1, "p-values")
    if raw.size and (raw.min() < 0 or raw.max() > 1):
        raise ValueError("p-values must lie in [0, 1]")
    order = np.argsort(raw, kind="stable")
    adjusted = np.empty_like(raw)
    adjusted[order] = np.minimum(np.maximum.accumulate(raw[order] * np.arange(len(raw), 0, -1)), 1.0)
    return adjusted


def _group_sums(values: Floats, groups: ArrayLike | None) -> tuple[Floats, Floats, float]:
    """Per group the sum of what its values are above the mean of all, and their number; and that mean."""
    names = indices(np.arange(len(values)) if groups is None else groups, None, "groups")
    if len(names) != len(values):
        raise ValueError(f"{len(values)} values, but {len(names)} groups")
    if not len(values):
        raise Unresolved("no values")
    position = np.unique(names, return_inverse=True)[1]
    mean = float(values.mean())
    above = values - mean if np.ptp(values) else np.zeros_like(values)  # the rounding of the mean is no spread
    return np.bincount(position, above).astype(np.float64), np.bincount(position).astype(np.float64), mean


def _drawn_totals(moments: Floats, generator: np.random.Generator, draws: int) -> Floats:
    """Column sums of as many rows as there are, drawn with replacement, shape (draws, columns)."""
    count = len(moments)
    totals = np.empty((draws, moments.shape[1]))
    at_once = max(1, _CELLS // count)
    for start in range(0, draws, at_once):
        batch = min(at_once, draws - start)
        drawn = generator.integers(count, size=(batch, count)) + count * np.arange(batch)[:, None]
        times = np.bincount(drawn.ravel(), minlength=batch * count).reshape(batch, count)
        totals[start : start + batch] = times @ moments
    return totals


def _bootstrap_error(totals: Floats) -> tuple[Floats, Floats]:
    """How far the mean of a draw is from that of all, and its standard error but for a factor common to all draws."""
    sums, sizes, squares, products, squared_sizes = totals.T
    shift = sums / sizes
    residual = squares - 2 * shift * products + shift**2 * squared_sizes
    return shift, np.sqrt(np.maximum(residual, 0.0)) / sizes


@cache
def _t_quantile(probability: float, degrees: int) -> float:
    """Student's quantile; kept, for it takes longer than all else of an interval, and a leaderboard needs thousands."""
    return float(stats.t.ppf(probability, degrees))


def _standard_error(sample: Floats) -> float:
    if np.ptp(sample) == 0:  # the rounding of the mean would leave a tiny spread
        return 0.0
    return float(sample.std(ddof=1)) / math.sqrt(len(sample))


def _check_confidence(confidence: float) -> None:
    if not 0 < confidence < 1:
        raise ValueError(f"confidence must be in (0, 1), got {confidence}")
