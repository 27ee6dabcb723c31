"""Seeded draws of rows that respect the classes: folds, and equally composed samples of two sets."""

import numpy as np

from metrics.checks import Integers
from metrics.declaration import Unresolved


def stratified_folds(labels: Integers, folds: int, generator: np.random.Generator) -> Integers:
    """The fold of each row, shape (n,); folds differ by at most one row, in every class and altogether."""
    fold_of = np.empty(len(labels), dtype=np.int64)
    fold_of[_by_class(labels, generator)] = generator.permutation(folds)[np.arange(len(labels)) % folds]
    return fold_of


def class_matched(
    first: Integers, second: Integers, limit: int, generator: np.random.Generator
) -> tuple[Integers, Integers]:
    """Rows of two sets, drawn without replacement, so that every class is equally frequent in both samples.

    Args:
        first: class of each row of the first set, shape (m,).
        second: the same of the second set, shape (n,).
        limit: most rows per side; a smaller sample keeps the class shares, up to rounding.
        generator: of the draws.

    Returns:
        Row numbers into the first and into the second set, equally many.

    Raises:
        Unresolved: the sets have no class in common.
    """
    class_count = 1 + max(first.max(initial=0), second.max(initial=0))
    common = np.minimum(np.bincount(first, minlength=class_count), np.bincount(second, minlength=class_count))
    if not common.any():
        raise Unresolved("no class has both retained images and non-members: the attack has nothing to compare")
    counts = _proportional(common, min(limit, int(common.sum())))
    return _draw(first, counts, generator), _draw(second, counts, generator)


def _proportional(counts: Integers, total: int) -> Integers:
    """Integers that sum to `total` in the shares of `counts`, by largest remainder; never above `counts`."""
    exact, rest = np.divmod(counts * total, counts.sum())
    exact[np.argsort(-rest, kind="stable")[: total - exact.sum()]] += 1
    return exact


def _draw(labels: Integers, counts: Integers, generator: np.random.Generator) -> Integers:
    """Rows drawn without replacement, `counts[k]` of class k."""
    rows = _by_class(labels, generator)
    classes = labels[rows]
    rank_in_class = np.arange(len(rows)) - np.searchsorted(classes, classes, side="left")
    return rows[rank_in_class < counts[classes]]


def _by_class(labels: Integers, generator: np.random.Generator) -> Integers:
    """All rows, sorted by class and in random order within a class."""
    shuffled = generator.permutation(len(labels))
    return shuffled[np.argsort(labels[shuffled], kind="stable")]
