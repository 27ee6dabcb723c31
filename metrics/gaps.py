"""Distance to Retrain (PROTOCOL 3.1): method gap, its null, and the literature's aggregates.

Shapes everywhere: `values` (B,), one value of a metric per block; `retrains` (B, K), the same metric of that block's K
retrained models. All are fractions. A gap is the mean of an absolute difference, so noise alone makes it positive: the
null, the same estimator between two Retrains, says by how much. All functions raise ValueError on NaN, infinities and
mismatched shapes, and Unresolved where there is no block.
"""

from collections.abc import Mapping

import numpy as np
from numpy.typing import ArrayLike

from metrics.checks import Floats, finite
from metrics.declaration import Unresolved, metric


@metric("method_gap", title="Gap to Retrain", direction="lower", range=(0, 1), version=1)
def method_gap(values: ArrayLike, retrains: ArrayLike) -> float:
    """Mean over blocks b and Retrains k of |m(U_b) - m(R_bk)|."""
    return float(np.mean(_absolute_gaps(values, retrains)))


def null_gap(retrains: ArrayLike) -> float:
    """Mean over blocks b and pairs k < l of |m(R_bk) - m(R_bl)|.

    Raises:
        Unresolved: fewer than two Retrains per block.
    """
    return float(np.mean(_absolute_null_gaps(retrains)))


def signed_differences(values: ArrayLike, retrains: ArrayLike) -> Floats:
    """m(U_b) minus the mean over k of m(R_bk), shape (B,); positive where the method is above Retrain."""
    checked, references = _paired(values, retrains)
    return np.asarray(checked - references.mean(axis=1), dtype=np.float64)


def gap_of_means(values: ArrayLike, retrains: ArrayLike) -> float:
    """|mean of m(U) - mean of m(R)|: the literature's gap, in which errors of opposite sign cancel.

    Source: the "Avg. Gap" convention of Fan et al., SalUn, ICLR 2024, for one metric.
    """
    return float(abs(signed_differences(values, retrains).mean()))


@metric("avg_gap", title="Avg. Gap", direction="lower", range=(0, 1), version=1)
def average_gap(values: Mapping[str, ArrayLike], retrains: Mapping[str, ArrayLike]) -> Floats:
    """Mean over metrics of |m(U_b) - m(R_bk)|, computed per (b, k), then averaged over k.

    Args:
        values: metric name -> (B,).
        retrains: the same names -> (B, K).

    Returns:
        Shape (B,): one value per block.

    Source: Fan et al., SalUn, ICLR 2024 (over UA, RA, TA and MIA), there with one Retrain.
    """
    return _mean_over_metrics([_absolute_gaps(values[name], retrains[name]) for name in _names(values, retrains)])


def null_average_gap(retrains: Mapping[str, ArrayLike]) -> Floats:
    """The Avg. Gap between two Retrains, over all pairs k < l of a block, shape (B,).

    Raises:
        Unresolved: fewer than two Retrains per block.
    """
    return _mean_over_metrics([_absolute_null_gaps(retrains[name]) for name in _names(retrains)])


@metric("tow", title="ToW", direction="higher", range=(0, 1), version=1)
def tow(accuracies: Mapping[str, ArrayLike], retrain_accuracies: Mapping[str, ArrayLike]) -> Floats:
    """Tug-of-war: product over splits of 1 - |acc(U_b) - acc(R_bk)|, computed per (b, k), then averaged over k.

    Args:
        accuracies: one entry each for forget, retain and test, under any names -> (B,), fractions in [0, 1]. UA in
            place of the forget accuracy gives the same; a membership value in its place gives ToW-MIA.
        retrain_accuracies: the same names -> (B, K).

    Returns:
        Shape (B,): one value per block.

    Raises:
        ValueError: a value outside [0, 1], such as a percentage.

    Source: Zhao et al., What Makes Unlearning Hard and What to Do About It, NeurIPS 2024.
    """
    names = _names(accuracies, retrain_accuracies)
    for name in names:
        _refuse_percentages(accuracies[name])
        _refuse_percentages(retrain_accuracies[name])
    return _tug_of_war([_absolute_gaps(accuracies[name], retrain_accuracies[name]) for name in names])


def null_tow(retrain_accuracies: Mapping[str, ArrayLike]) -> Floats:
    """The ToW between two Retrains, over all pairs k < l of a block, shape (B,).

    Raises:
        Unresolved: fewer than two Retrains per block.
        ValueError: a value outside [0, 1].
    """
    for accuracies in retrain_accuracies.values():
        _refuse_percentages(accuracies)
    return _tug_of_war([_absolute_null_gaps(retrain_accuracies[name]) for name in _names(retrain_accuracies)])


def _mean_over_metrics(gaps: list[Floats]) -> Floats:
    return np.asarray(np.mean(_stacked(gaps), axis=(0, 2)), dtype=np.float64)


def _tug_of_war(gaps: list[Floats]) -> Floats:
    return np.asarray(np.prod(1 - _stacked(gaps), axis=0).mean(axis=1), dtype=np.float64)


def _absolute_gaps(values: ArrayLike, retrains: ArrayLike) -> Floats:
    """|m(U_b) - m(R_bk)|, shape (B, K)."""
    checked, references = _paired(values, retrains)
    return np.abs(checked[:, None] - references)


def _absolute_null_gaps(retrains: ArrayLike) -> Floats:
    """|m(R_bk) - m(R_bl)| for all k < l, shape (B, pairs)."""
    references = _references(retrains)
    retrain_count = references.shape[1]
    if retrain_count < 2:
        raise Unresolved(f"{retrain_count} Retrain per block; the null gap needs two")
    first, second = np.triu_indices(retrain_count, k=1)
    return np.abs(references[:, first] - references[:, second])


def _paired(values: ArrayLike, retrains: ArrayLike) -> tuple[Floats, Floats]:
    checked, references = finite(values, 1, "values"), _references(retrains)
    if len(checked) != len(references):
        raise ValueError(f"{len(checked)} blocks of the method, but {len(references)} of Retrain")
    return checked, references


def _references(retrains: ArrayLike) -> Floats:
    references = finite(retrains, 2, "retrains")
    if not references.size:
        raise Unresolved("no block with a Retrain")
    return references


def _names(*tables: Mapping[str, ArrayLike]) -> list[str]:
    names = list(tables[0])
    if not names or any(set(table) != set(names) for table in tables):
        raise ValueError(f"both sides need the same metrics, at least one: {[list(table) for table in tables]}")
    return names


def _stacked(gaps: list[Floats]) -> Floats:
    if len({gap.shape for gap in gaps}) > 1:
        raise ValueError(f"all metrics need the same blocks and Retrains, got {[gap.shape for gap in gaps]}")
    return np.stack(gaps)


def _refuse_percentages(values: ArrayLike) -> None:
    array = np.asarray(values, dtype=np.float64)
    if array.size and (array.min() < 0 or array.max() > 1):
        raise ValueError("ToW takes fractions in [0, 1], not percentages")
