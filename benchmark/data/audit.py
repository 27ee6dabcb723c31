"""An audit of a data set's duplicates: which images are the same or nearly so, where they lie, whether labels agree."""

import csv
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from io import StringIO
from itertools import combinations
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from benchmark.data.datasets import Dataset
from benchmark.data.duplicates import duplicate_groups
from benchmark.data.near import NEAR, near_groups
from benchmark.data.npz import SPLITS
from benchmark.data.units import Rows
from benchmark.errors import MedsafeError

Kind = Literal["exact", "near"]
KINDS: tuple[Kind, ...] = ("exact", "near")
PAIRS = tuple(combinations(SPLITS, 2))
COLUMNS = ("group", "kind", "split", "index", "label", "distance")


@dataclass(frozen=True, eq=False)
class Group:
    """Images that are duplicates of each other.

    Attributes:
        kind: `exact`: equal in every byte; `near`: at least two different images, with the exact copies of either.
        rows: int64 (n,), n > 1, sorted rows of the data set.
        splits: train, val or test, for each image.
        indices: of each image within its split, from 0.
        labels: of each image.
        distances: of each image to the first, as `near_groups` measures it; 0 for copies.
    """

    kind: Kind
    rows: Rows
    splits: tuple[str, ...]
    indices: tuple[int, ...]
    labels: tuple[int, ...]
    distances: tuple[float, ...]

    @cached_property
    def conflicting(self) -> bool:
        """Whether the images carry more than one label."""
        return len(set(self.labels)) > 1

    @cached_property
    def pairs(self) -> tuple[tuple[str, str], ...]:
        """The pairs of splits that the group joins; none where it lies in one split."""
        return tuple(pair for pair in PAIRS if set(pair) <= set(self.splits))


def audit(dataset: Dataset, threshold: float = NEAR) -> list[Group]:
    """Groups of duplicates: first those with more than one label, then those that join train and test, or other splits.

    An image may lie in a group of each kind. Splits stay as they are: near duplicates are for people to look at.

    Args:
        dataset: whose images to compare.
        threshold: similarity from which on images are near duplicates, in (0, 1); `benchmark.data.near` defines it.

    Raises:
        MedsafeError: the threshold lies outside of (0, 1).
    """
    if not 0 < threshold < 1:
        raise MedsafeError(f"similarity {threshold} is not between 0 and 1; the default is {NEAR}")
    copies = duplicate_groups(dataset.images)
    near, distances = near_groups(dataset.images, threshold)
    exact = [_group(dataset, "exact", rows, np.zeros(len(copies))) for rows in _groups(copies)]
    others = [_group(dataset, "near", rows, distances) for rows in _groups(near) if len(set(copies[rows])) > 1]
    return sorted([*exact, *others], key=_rank)


def counts(groups: Sequence[Group], kind: Kind) -> dict[str, int]:
    """How many groups of this kind there are, and where; a group in all three splits joins each pair of them."""
    chosen = [group for group in groups if group.kind == kind]
    images, across = sum(len(group.rows) for group in chosen), sum(bool(group.pairs) for group in chosen)
    return {
        "groups": len(chosen),
        "images in them": images,
        "extra copies": images - len(chosen),
        "within one split": len(chosen) - across,
        "across splits": across,
        **{f"{first}-{second}": sum((first, second) in group.pairs for group in chosen) for first, second in PAIRS},
        "more than one label": sum(group.conflicting for group in chosen),
    }


def csv_of(groups: Sequence[Group]) -> str:
    """A line for each image of each group, groups numbered from 1 in their order."""
    text = StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COLUMNS)
    for number, group in enumerate(groups, start=1):
        images = zip(group.splits, group.indices, group.labels, group.distances, strict=True)
        writer.writerows([number, group.kind, *facts, f"{distance:.4f}"] for *facts, distance in images)
    return text.getvalue()


def _groups(numbers: Rows) -> list[Rows]:
    """The rows of each number that occurs more than once."""
    order = np.argsort(numbers, kind="stable")
    parts = np.split(order, np.flatnonzero(np.diff(numbers[order])) + 1)
    return [rows for rows in parts if len(rows) > 1]


def _group(dataset: Dataset, kind: Kind, rows: Rows, distances: NDArray[np.floating]) -> Group:
    starts = np.cumsum([0, *dataset.sizes[:2]])
    split = np.searchsorted(starts, rows, side="right") - 1
    names = tuple(SPLITS[number] for number in split)
    indices, labels = (rows - starts[split]).tolist(), dataset.labels.numpy()[rows].tolist()
    return Group(kind, rows, names, tuple(indices), tuple(labels), tuple(distances[rows].tolist()))


def _rank(group: Group) -> tuple[object, ...]:
    return not group.conflicting, ("train", "test") not in group.pairs, not group.pairs, group.kind, group.rows[0]
