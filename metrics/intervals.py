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

from metrics.checks import Floats, finite
from metrics.declaration import Unresolved

Verdict = Literal["matches", "differs", "undetermined"]


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
