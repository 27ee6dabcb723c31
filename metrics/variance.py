"""Where the spread of an audit comes from: a balanced nested analysis of variance.

    y[f, o, s] = mean + a[f] + b[f, o] + c[f, o, s]

for forget set f, Original o of that forget set, and method seed s of that Original; a, b and c are independent random
effects with mean 0 and the variances that are estimated.
"""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from metrics.checks import Floats, finite
from metrics.declaration import Unresolved

LEVELS = ("forget set", "Original", "method seed")


@dataclass(frozen=True)
class Component:
    """What one level adds to the variance of a single value."""

    level: str
    degrees: int
    """Degrees of freedom of its mean square."""
    mean_square: float
    estimate: float
    """Unbiased, in the squared unit of the values; below 0 by chance where the true component is small."""
    share: float
    """max(estimate, 0) over the sum of the same of all levels, in [0, 1]; 0 for all where nothing varies."""


@dataclass(frozen=True)
class NestedVariance:
    """The components from the outermost level in, the mean over all values, and how sure that mean is."""

    components: tuple[Component, ...]
    mean: float
    standard_error: float
    """Of the mean, over new draws of all levels: the mean square of the outermost level says it alone."""

    @property
    def negative(self) -> tuple[str, ...]:
        """Levels whose estimate is below 0: their shares were set to 0, and a table has to say so."""
        return tuple(component.level for component in self.components if component.estimate < 0)


def nested_variance(values: ArrayLike, levels: tuple[str, ...] = LEVELS) -> NestedVariance:
    """Variance components of a balanced nested design by the method of moments.

    With n[k] values in each unit of level k, E(mean square of k) is the sum of n[j] variance[j] over k and all levels
    within it. So variance[k] = (mean square[k] - mean square[k + 1]) / n[k], and that of the last its mean square.

    Args:
        values: one axis per level, outermost first: for `LEVELS` shape (forget sets, Originals, method seeds). Every
            forget set needs Originals of its own and every Original its own seeds: the same Originals under several
            forget sets are a crossed design, in which the components come out wrong.
        levels: names of the axes; fewer or more are fine.

    Raises:
        Unresolved: a level with fewer than two units.
        ValueError: NaN or infinities, or another number of axes than levels.

    Source: Searle, Casella and McCulloch, Variance Components, 1992, section 3.3.
    """
    table = _checked(values, levels)
    means = [table.mean(axis=tuple(range(depth, table.ndim))) for depth in range(table.ndim + 1)]
    inside = [math.prod(table.shape[depth + 1 :]) for depth in range(table.ndim)]
    degrees = [(size - 1) * mean.size for size, mean in zip(table.shape, means[:-1], strict=True)]
    squares = [
        count * float(np.sum((inner - outer[..., None]) ** 2)) / freedom
        for count, outer, inner, freedom in zip(inside, means[:-1], means[1:], degrees, strict=True)
    ]
    estimates = [
        (square - within) / count for square, within, count in zip(squares, [*squares[1:], 0.0], inside, strict=True)
    ]
    total = sum(max(estimate, 0.0) for estimate in estimates)
    shares = [max(estimate, 0.0) / total if total else 0.0 for estimate in estimates]
    components = map(Component, levels, degrees, squares, estimates, shares)
    return NestedVariance(tuple(components), float(means[0]), math.sqrt(squares[0] / table.size))


def _checked(values: ArrayLike, levels: tuple[str, ...]) -> Floats:
    table = finite(values, len(levels), "values")
    for level, units in zip(levels, table.shape, strict=True):
        if units < 2:
            raise Unresolved(f"{units} {level}; its variance needs two")
    return table
