"""Drawing whole units: images that must stay together, namely exact copies and a user's groups (PROTOCOL 2.2, 2.3)."""

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

Rows = NDArray[np.int64]


def largest_remainder(shares: NDArray[np.floating[Any]], total: int) -> Rows:
    """Round fractional seats to whole ones that add up to `total`.

    Args:
        shares: float (C,), not negative, with a sum that differs from `total` by less than one.
        total: number of seats.

    Returns:
        int64 (C,): every entry is its share rounded down or up; the larger remainders are rounded up, and of equal
        ones the earlier.
    """
    seats: Rows = np.floor(shares).astype(np.int64)
    first = np.argsort(seats - shares, kind="stable")
    seats[first[: total - int(seats.sum())]] += 1
    return seats


def merge_units(first: Rows, second: Rows) -> Rows:
    """Unite two groupings of the same images: images connected through either grouping share a unit.

    Args:
        first: int64 (N,), group number of each image.
        second: int64 (N,), the same for the other grouping.

    Returns:
        int64 (N,), numbers from 0.
    """
    left, right = (np.unique(groups, return_inverse=True)[1] for groups in (first, second))
    nodes = int(left.max()) + int(right.max()) + 2
    edges = coo_array((np.ones(len(left), np.int8), (left, right + left.max() + 1)), shape=(nodes, nodes))
    _, component = connected_components(edges, directed=False)
    return np.asarray(component[left], np.int64)


def draw_units(rows: Rows, unit: Rows, strata: Rows, quotas: Rows, rng: np.random.Generator) -> Rows:
    """Draw whole units at random until every stratum has its quota, or comes as near to it as whole units allow.

    Units are met in random order, and one is taken if it brings the counts nearer to the quotas (summed over strata).
    With units of one image each the quotas are therefore met exactly, as long as there are enough images.

    Args:
        rows: int64 (n,), the images to draw from.
        unit: int64 (n,), the unit of each of them.
        strata: int64 (n,), the stratum (class) of each, from 0.
        quotas: int64 (C,), images wanted from each stratum.
        rng: the source of the order.

    Returns:
        int64 (k,), the drawn images, sorted.
    """
    _, position = np.unique(unit, return_inverse=True)
    members = np.argsort(position, kind="stable")
    sizes = np.bincount(position)
    starts = np.cumsum(sizes) - sizes
    order = rng.permutation(len(sizes))
    if (sizes == 1).all():  # the same as below, a hundred times as fast
        return np.sort(rows[_first_of_each(members[order], strata, quotas)])
    missing, taken = quotas.copy(), []
    for number in order:
        own = members[starts[number] : starts[number] + sizes[number]]
        if _brings_nearer(missing, strata[own]):
            np.subtract.at(missing, strata[own], 1)
            taken.append(own)
            if not missing.any():
                break
    return np.sort(rows[np.concatenate(taken)]) if taken else rows[:0]


def _first_of_each(candidates: Rows, strata: Rows, quotas: Rows) -> Rows:
    """The first candidates of every stratum, as many as its quota."""
    own = strata[candidates]
    sorted_by = np.argsort(own, kind="stable")
    rank = np.empty_like(own)
    rank[sorted_by] = np.arange(len(own)) - np.searchsorted(own[sorted_by], own[sorted_by])
    return candidates[rank < quotas[own]]


def _brings_nearer(missing: Rows, strata: Rows) -> bool:
    """Whether images of these strata lessen the sum of the absolute numbers that are missing."""
    if len(strata) == 1:  # nearly every unit, and a loop over a large data set should be quick
        return bool(missing[strata[0]] > 0)
    after = missing - np.bincount(strata, minlength=len(missing))
    return bool(np.abs(after).sum() < np.abs(missing).sum())


def draw_share(rows: Rows, unit: Rows, strata: Rows, share: float, rng: np.random.Generator) -> Rows:
    """Draw a share of the images, stratified: round(share * n) in all, and within one of share * n_c from stratum c.

    Args and result as in `draw_units`; `share` lies in [0, 1).
    """
    counts = np.bincount(strata, minlength=1)
    return draw_units(rows, unit, strata, largest_remainder(share * counts, round(share * len(rows))), rng)
