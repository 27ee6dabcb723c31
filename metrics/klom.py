"""KLoM: per image, how far the margins of many unlearned models are from those of many retrained ones (PROTOCOL 6.4).

Margins have shape (n, models), float: m = z_y - log(sum over j != y of exp(z_j)) of n images, one column per model; the
two sides may have different numbers of models, but the same n images. One forget set is fixed for all columns. Results
are in nats. All functions raise ValueError on NaN, infinities and mismatched shapes.

No estimate of a divergence is 0 for finitely many models, however alike the two sides are: always show it beside the
same estimate between two sets of Retrains of equal sizes.
"""

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from metrics.checks import Floats, finite
from metrics.declaration import Unresolved, metric

FEWEST_MODELS = 32
"""Models per side below which the histogram's bias (1.7 nats between equals) hides everything."""
FEWEST_FOR_A_VARIANCE = 4
"""Models per side below which the Gaussian form has no expectation."""
BINS = 20
MARGIN_LIMIT = 100.0
EMPTY_BIN = 1e-5
"""Probability that a bin without a retrained model is given; caps KLoM at log(1e5) = 11.5."""
GAUSSIAN_LIMIT = 50.0
"""Cap of the Gaussian form, in nats: a side that does not vary at all would be infinitely far."""


class KlomSummary(NamedTuple):
    """KLoM of a set of images, in nats."""

    mean: float
    p95: float
    """95th percentile over the images, linearly interpolated."""


@metric("klom", title="KLoM", direction="lower", range=(0, -math.log(EMPTY_BIN)), version=1, unit="nats")
def klom(unlearned: ArrayLike, retrained: ArrayLike, *, fewest_models: int = FEWEST_MODELS) -> Floats:
    """KL(unlearned || retrained) per image between the histograms of the models' margins.

    Margins are clipped to +-100, and 20 equal bins span the joint range of both sides. With p and q the shares of
    unlearned and of retrained models in a bin: sum over bins with p > 0 of p log(p / max(q, 1e-5)).

    One difference to the published code: the last bin includes its upper end. There the largest margin of both sides
    falls out of the histogram, which lowers the values between equals by 3 %, and an unlearned side that lies wholly at
    the clip is at distance 0 from everything.

    Args:
        unlearned: margins, shape (n, models).
        retrained: margins, shape (n, models).
        fewest_models: per side, below which there is no number; lower it only to study the estimator.

    Returns:
        Shape (n,). Two sides that are equal in truth get 1.7 on average with 32 models each, 0.35 with 100.

    Raises:
        Unresolved: fewer than `fewest_models` on one side.

    Source: Rinberg et al., Easy Data Unlearning Bench (EasyDUB).
    """
    first, second = _margins(unlearned, retrained, fewest_models)
    first, second = (np.clip(side, -MARGIN_LIMIT, MARGIN_LIMIT) for side in (first, second))
    low = np.minimum(first.min(axis=1), second.min(axis=1))
    width = np.maximum(first.max(axis=1), second.max(axis=1)) - low
    width[width == 0] = 1.0
    p, q = (_shares((side - low[:, None]) / width[:, None]) for side in (first, second))
    ratio = np.divide(p, np.maximum(q, EMPTY_BIN), out=np.ones_like(p), where=p > 0)
    divergence = np.sum(p * np.log(ratio), axis=1)
    return np.asarray(np.maximum(divergence, 0.0), dtype=np.float64)  # a floored bin adds mass to q: can be -1e-5


@metric("gaussian_klom", title="Gaussian KLoM", direction="lower", range=(0, GAUSSIAN_LIMIT), version=1, unit="nats")
def gaussian_klom(unlearned: ArrayLike, retrained: ArrayLike) -> Floats:
    """KL(unlearned || retrained) per image between the two Gaussians with the margins' means and variances.

    (v_u / v_r + (m_u - m_r)^2 / v_r - 1 + log(v_r / v_u)) / 2, with unbiased variances, capped at 50: the substitute
    for `klom` with few models, never in one column with it. It sees means and spreads alone, not shapes. A side whose
    margins are all equal is at the cap, unless the other side is that same constant.

    Args:
        unlearned: margins, shape (n, models).
        retrained: margins, shape (n, models).

    Returns:
        Shape (n,). Two Gaussians that are equal in truth get about 2 / models on average: 0.15 with 16 each.

    Raises:
        Unresolved: fewer than 4 models on one side.
    """
    first, second = _margins(unlearned, retrained, FEWEST_FOR_A_VARIANCE)
    shift = first.mean(axis=1) - second.mean(axis=1)
    variance, reference = first.var(axis=1, ddof=1), second.var(axis=1, ddof=1)
    constant = np.ptp(first, axis=1) == 0, np.ptp(second, axis=1) == 0
    degenerate = constant[0] | constant[1]
    variance[degenerate] = reference[degenerate] = 1.0
    divergence = ((variance + shift**2) / reference - 1 + np.log(reference / variance)) / 2
    same = constant[0] & constant[1] & (first[:, 0] == second[:, 0])
    divergence[degenerate] = np.where(same, 0.0, GAUSSIAN_LIMIT)[degenerate]
    return np.asarray(np.clip(divergence, 0.0, GAUSSIAN_LIMIT), dtype=np.float64)


def summarise(per_sample: ArrayLike) -> KlomSummary:
    """Mean and 95th percentile of `klom` or `gaussian_klom` over images, shape (n,).

    Raises:
        Unresolved: there is no image.
    """
    values = finite(per_sample, 1, "KLoM")
    if not len(values):
        raise Unresolved("no images to compare")
    return KlomSummary(float(values.mean()), float(np.percentile(values, 95)))


def _shares(positions: Floats) -> Floats:
    """Share of the models in each bin, shape (n, BINS), from positions in [0, 1], shape (n, models)."""
    rows, models = positions.shape
    bins = np.minimum((positions * BINS).astype(np.int64), BINS - 1)
    counts = np.bincount((bins + BINS * np.arange(rows)[:, None]).ravel(), minlength=rows * BINS)
    return np.asarray(counts.reshape(rows, BINS) / models, dtype=np.float64)


def _margins(unlearned: ArrayLike, retrained: ArrayLike, fewest: int) -> tuple[Floats, Floats]:
    first, second = finite(unlearned, 2, "unlearned margins"), finite(retrained, 2, "retrained margins")
    if len(first) != len(second):
        raise ValueError(f"margins of {len(first)} and of {len(second)} images cannot be compared")
    if min(first.shape[1], second.shape[1]) < fewest:
        raise Unresolved(f"{first.shape[1]} unlearned and {second.shape[1]} retrained models; needs {fewest} of each")
    return first, second
