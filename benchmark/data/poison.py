"""Which images an attacker poisons, which class he wants, and which clean images a defender has (PROTOCOL 7.1, 7.4)."""

import re
from dataclasses import dataclass

import numpy as np

from benchmark.api import AttackInfo, MedsafeError, derive_seed
from benchmark.data.datasets import Dataset
from benchmark.data.splits import RESERVED, Splits
from benchmark.data.units import Rows, draw_units, largest_remainder

VERSION = 1
"""Raised with every change of what is drawn; part of the identity of every run against an attack."""
MOST_MISSED = 0.1
"""Share of a wanted number of images by which whole units may miss it."""


@dataclass(frozen=True, eq=False)
class PoisonRows:
    """Sorted rows of the train pool, int64: stamped with the attacker's label, and stamped with their own."""

    poisoned: Rows
    cover: Rows


def target_class(dataset: Dataset, block: int) -> int:
    """The class that every attack of this block wants: a seeded permutation gives each block its own.

    Two-class sets have one target, the class that is called normal (the first, where none is).
    """
    if dataset.num_classes == 2:
        normal = [index for index, name in enumerate(dataset.class_names) if "normal" in name.lower()]
        return normal[0] if normal else 0
    order = np.random.default_rng(derive_seed("targets")).permutation(dataset.num_classes)
    return int(order[block % dataset.num_classes])


def draw_poison(
    dataset: Dataset, splits: Splits, info: AttackInfo, *, block: int, ratio: float, cover_ratio: float
) -> PoisonRows:
    """Choose the images of an attack: the same for all attacks of a block with the same victims and ratio.

    Exact copies are poisoned together or not at all (PROTOCOL 2.3).

    Args:
        dataset: what `splits` cuts.
        splits: of this data set.
        info: whose images are poisoned: all but the target's, the target's, or any.
        block: names the draws.
        ratio: poisoned images over those of the train pool; clean-label, over those of the target class.
        cover_ratio: further images that are stamped and keep their label, of any class, over the train pool.

    Raises:
        MedsafeError: no image would be poisoned, or more than there are.
    """
    if info.goal == "none":
        return PoisonRows(splits.pool[:0], splits.pool[:0])
    pool, is_target = splits.pool, dataset.labels.numpy()[splits.pool] == target_class(dataset, block)
    victims = {"others": ~is_target, "target": is_target, "all": np.full(len(pool), True)}[info.victims]
    victims &= ~np.isin(splits.unit[pool], splits.unit[pool[~victims]])  # no part of a unit is poisoned alone
    of = "target class" if info.victims == "target" else "train pool"
    size = int(is_target.sum()) if info.victims == "target" else len(pool)
    poisoned = _draw(splits, pool[victims], ratio, size, of, derive_seed(block, "poison", info.victims), info.name)
    rest = pool[~np.isin(splits.unit[pool], splits.unit[poisoned])]
    if cover_ratio == 0:
        return PoisonRows(poisoned, pool[:0])
    cover = _draw(splits, rest, cover_ratio, len(pool), "train pool", derive_seed(block, "cover"), info.name)
    return PoisonRows(poisoned, cover)


def defender_rows(dataset: Dataset, splits: Splits, pool: str) -> Rows:
    """The defender's clean images: `reserved`, a stratified part of it (`reserved:50`), or `seen`.

    `seen` are as many images of the train pool in their clean form, poisoned ones not excepted, as in BackdoorBench.

    Raises:
        MedsafeError: no such pool, or more images than there are.
    """
    kind, wanted = _pool(pool, splits)
    source = splits.reserved if kind == "reserved" else splits.pool
    if not 0 < wanted <= len(source):
        raise MedsafeError(f"pool '{pool}': {dataset.name} has {len(source)} images to draw from")
    labels = dataset.labels.numpy()[source]
    counts = np.bincount(labels, minlength=dataset.num_classes)
    quotas = largest_remainder(counts * (wanted / max(len(source), 1)), wanted)
    rng = np.random.default_rng(derive_seed("defender", kind, wanted))
    drawn = draw_units(source, splits.unit[source], labels, quotas, rng)
    _check_size(f"pool '{pool}'", len(drawn), wanted)
    return drawn


def canonical_pool(pool: str, splits: Splits) -> str:
    """One name for one pool: `reserved:200` is `reserved` where that is all there is."""
    kind, wanted = _pool(pool, splits)
    return kind if wanted == _whole(kind, splits) else f"{kind}:{wanted}"


def _pool(pool: str, splits: Splits) -> tuple[str, int]:
    match = re.fullmatch(r"(reserved|seen)(?::([1-9][0-9]{0,6}))?", pool)
    if match is None:
        raise MedsafeError(f"pool '{pool}' not understood: write reserved, reserved:50, seen or seen:50")
    kind, size = match.groups()
    return kind, int(size) if size else _whole(kind, splits)


def _whole(kind: str, splits: Splits) -> int:
    return len(splits.reserved) if kind == "reserved" else min(RESERVED, len(splits.pool))


def _draw(splits: Splits, rows: Rows, ratio: float, size: int, of: str, seed: int, attack: str) -> Rows:
    """Rows for a ratio of so many images, in whole units.

    Raises:
        MedsafeError: it means no image, more than there are, or a number that whole units do not come near to.
    """
    wanted = round(ratio * size)
    if wanted < 1:
        raise MedsafeError(f"attack {attack}: a ratio of {ratio} stamps no image of {size}; choose a larger one")
    if wanted > len(rows):
        raise MedsafeError(
            f"attack {attack}: a ratio of {ratio} of the {of} is {wanted} images, and there are {len(rows)} to stamp; "
            f"choose a smaller one"
        )
    quota, strata = np.array([wanted], np.int64), np.zeros_like(rows)
    drawn = draw_units(rows, splits.unit[rows], strata, quota, np.random.default_rng(seed))
    _check_size(f"attack {attack}: a ratio of {ratio}", len(drawn), wanted)
    return drawn


def _check_size(what: str, drawn: int, wanted: int) -> None:
    """Whole units may miss a number by a little, not by a tenth of it."""
    if abs(drawn - wanted) > max(1, MOST_MISSED * wanted):
        raise MedsafeError(
            f"{what} means {wanted} images, and exact copies and groups, which stay whole, allow {drawn}: choose "
            f"another, or smaller groups"
        )
