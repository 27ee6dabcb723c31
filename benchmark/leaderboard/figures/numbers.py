"""Means with their intervals, in the percent that figures print."""

from dataclasses import dataclass

import pandas as pd

from benchmark.leaderboard.blocks import Floats
from benchmark.leaderboard.cells import interval


@dataclass(frozen=True)
class Measured:
    """A mean over blocks and the ends of its 95 % t-interval, in percent; without interval all three are the mean."""

    mean: float
    low: float
    high: float

    @classmethod
    def of(cls, mean: float, low: float | None, high: float | None) -> "Measured":
        """From fractions."""
        return cls(*(100 * (mean if pd.isna(value) else value) for value in (mean, low, high)))


def over_blocks(values: Floats) -> Measured:
    """Of one fraction a block."""
    return Measured.of(float(values.mean()), *interval(values))
