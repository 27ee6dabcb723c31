"""Which images are trained on, held out, validated on and tested on (PROTOCOL 2.1 to 2.3)."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from benchmark.api import MedsafeError, derive_seed
from benchmark.data.datasets import Dataset
from benchmark.data.duplicates import duplicate_groups
from benchmark.data.groups import read_groups
from benchmark.data.units import Rows, draw_units, largest_remainder, merge_units

__all__ = ["Splits", "make_splits", "read_groups"]

RESERVED = 200
"""Size of the pool kept back for defenders (PROTOCOL 7.4), unless half of official validation is less."""


@dataclass(frozen=True, eq=False)
class Splits:
    """Row indices into a data set, int64 and sorted.

    Attributes:
        pool: what models are trained on; with `non_members` all of official train.
        non_members: never trained on, for membership inference.
        validation: what methods may look at.
        reserved: the defender's clean images.
        test: official test.
        test_deduplicated: test without images that train, validation or an earlier row of test holds an exact copy of.
        unit: int64 (N,), the number of the unit each image belongs to: its exact copies, and the user's group.
        copies: int64 (N,), the number of the group of exact copies alone.
        grouped: whether the user gave groups; only then may anything be called patient-level.
        excluded: validation images that are in neither `validation` nor `reserved`: their unit has a train image.
    """

    pool: Rows
    non_members: Rows
    validation: Rows
    reserved: Rows
    test: Rows
    test_deduplicated: Rows
    unit: Rows
    copies: Rows
    grouped: bool
    excluded: Rows


def make_splits(
    dataset: Dataset,
    *,
    seed: int,
    non_member_share: float = 0.1,
    groups: Rows | None = None,
    keep_in_pool: Rows | None = None,
) -> Splits:
    """Split a data set; no unit straddles pool, non-members, validation and reserved.

    Args:
        dataset: what to split.
        seed: of the draws; the same seed gives the same splits.
        non_member_share: of official train, stratified by class, in [0, 1); 0 is the official-accuracy control.
        groups: int64 (N,), the user's group of every image, as from `read_groups`.
        keep_in_pool: train rows that must not become non-members, because they are to be forgotten.

    Raises:
        MedsafeError: the share lies outside of [0, 1).
    """
    if not 0 <= non_member_share < 1:
        raise MedsafeError(f"non-member share {non_member_share} is not in [0, 1); the default is 0.1")
    copies = duplicate_groups(dataset.images)
    unit = copies if groups is None else merge_units(copies, groups)
    kept = dataset.train[:0] if keep_in_pool is None else keep_in_pool
    non_members = _draw_non_members(dataset, unit, kept, non_member_share, _stream(seed, "non-members"))
    also_in_train = np.isin(unit[dataset.validation], unit[dataset.train])
    usable = dataset.validation[~also_in_train]
    reserved = _draw_reserved(dataset, unit, usable, _stream(seed, "reserved"))
    return Splits(
        pool=np.setdiff1d(dataset.train, non_members),
        non_members=non_members,
        validation=np.setdiff1d(usable, reserved),
        reserved=reserved,
        test=dataset.test,
        test_deduplicated=_without_copies(dataset, copies),
        unit=unit,
        copies=copies,
        grouped=groups is not None,
        excluded=dataset.validation[also_in_train],
    )


def _stream(seed: int, purpose: str) -> np.random.Generator:
    return np.random.default_rng(derive_seed("splits", seed, purpose))


def _draw_non_members(dataset: Dataset, unit: Rows, kept: Rows, share: float, rng: np.random.Generator) -> Rows:
    labels = dataset.labels.numpy()
    counts = np.bincount(labels[dataset.train], minlength=dataset.num_classes)
    quotas = largest_remainder(share * counts, round(share * len(dataset.train)))
    free = dataset.train[~np.isin(unit[dataset.train], unit[kept])]
    return draw_units(free, unit[free], labels[free], quotas, rng)


def _draw_reserved(dataset: Dataset, unit: Rows, usable: Rows, rng: np.random.Generator) -> Rows:
    labels = dataset.labels.numpy()[usable]
    total = min(RESERVED, len(dataset.validation) // 2, len(usable))
    counts = np.bincount(labels, minlength=dataset.num_classes)
    quotas = largest_remainder(counts * (total / max(len(usable), 1)), total)
    return draw_units(usable, unit[usable], labels, quotas, rng)


def _without_copies(dataset: Dataset, copies: Rows) -> NDArray[np.int64]:
    """Test rows that no image before them, in train, validation or test, is an exact copy of."""
    _, first = np.unique(copies, return_index=True)
    return np.intersect1d(dataset.test, first)
