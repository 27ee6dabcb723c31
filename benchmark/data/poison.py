"""Which images an attacker poisons, which class he wants, and which clean images a defender has (PROTOCOL 7.1, 7.4)."""

import re
from dataclasses import dataclass
from typing import Literal

import numpy as np

from benchmark.api import AttackInfo, MedsafeError, derive_seed
from benchmark.data.datasets import Dataset
from benchmark.data.splits import RESERVED, Splits
from benchmark.data.units import Rows, draw_units, largest_remainder

VERSION = 1
"""Raised with every change of what is drawn; part of the identity of every run against an attack."""
MOST_CLEAN_LABEL = 0.5
"""Largest share of its class that clean-label poison may have in a ranked row (PROTOCOL 7.1)."""


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
    wanted = round(ratio * int(is_target.sum() if info.victims == "target" else len(pool)))
    _check_number(info, ratio, wanted, int(victims.sum()), len(pool))
    poisoned = _draw(splits, pool[victims], wanted, derive_seed(block, "poison", info.victims))
    rest = pool[~np.isin(splits.unit[pool], splits.unit[poisoned])]
    cover = _draw(splits, rest, min(round(cover_ratio * len(pool)), len(rest)), derive_seed(block, "cover"))
    return PoisonRows(poisoned, cover)


def defender_rows(dataset: Dataset, splits: Splits, pool: str) -> Rows:
    """The defender's clean images: `reserved`, a stratified part of it (`reserved:50`), or `seen`.

    `seen` are as many images of the train pool in their clean form, poisoned ones not excepted, as in BackdoorBench.

    Raises:
        MedsafeError: no such pool, or more images than there are.
    """
    kind, _, size = pool.partition(":")
    if kind not in ("reserved", "seen") or (size and not re.fullmatch(r"[1-9][0-9]{0,6}", size)):
        raise MedsafeError(f"pool '{pool}' not understood: write reserved, reserved:50, seen or seen:50")
    source = splits.reserved if kind == "reserved" else splits.pool
    wanted = int(size) if size else (len(source) if kind == "reserved" else RESERVED)
    if wanted > len(source):
        raise MedsafeError(f"pool '{pool}': {dataset.name} has {len(source)} images to draw from")
    labels = dataset.labels.numpy()[source]
    counts = np.bincount(labels, minlength=dataset.num_classes)
    quotas = largest_remainder(counts * (wanted / max(len(source), 1)), wanted)
    rng = np.random.default_rng(derive_seed("defender", kind, wanted))
    return draw_units(source, splits.unit[source], labels, quotas, rng)


def _draw(splits: Splits, rows: Rows, number: int, seed: int) -> Rows:
    quota = np.array([number], np.int64)
    return draw_units(rows, splits.unit[rows], np.zeros_like(rows), quota, np.random.default_rng(seed))


def _check_number(info: AttackInfo, ratio: float, wanted: int, available: int, pool: int) -> None:
    of: Literal["target class", "train pool"] = "target class" if info.victims == "target" else "train pool"
    if wanted < 1:
        raise MedsafeError(f"attack {info.name}: a ratio of {ratio} poisons no image of {pool}; choose a larger one")
    if wanted > available:
        raise MedsafeError(
            f"attack {info.name}: a ratio of {ratio} of the {of} is {wanted} images, and there are {available} to "
            f"poison; choose a smaller one"
        )
