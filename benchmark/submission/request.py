"""From what a record says to the request that computes it again."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from benchmark.config import get_profile
from benchmark.data.datasets import dataset_names
from benchmark.errors import MedsafeError
from benchmark.plan import Request


def request_of(spec: Mapping[str, Any], blocks: Sequence[int], base: Request, files: Mapping[str, Path]) -> Request:
    """What a user would have to ask for to get runs of this spec.

    Args:
        spec: a record's.
        blocks: numbers of the blocks, in place of the spec's own.
        base: what no spec says: folder of the data, plugin file, device, limits.
        files: sha256 -> data file, for data sets without a name.

    Raises:
        MedsafeError: the data are not here, or the device is of another kind than the recorded one.
    """
    data, recipe = spec["data"], spec["recipe"]
    common: dict[str, Any] = {
        "method": spec["method"]["name"], "dataset": _dataset(data, files), "architecture": spec["architecture"],
        "recipe": f"{recipe['name']}+{recipe['augmentation']}", "blocks": _listed(blocks),
        "preset": spec["method"]["preset"], "allow": tuple(data["allowed_augmentations"]),
        "non_member_share": data["non_member_share"], "device": _device(recipe["precision"], base.device),
    }  # fmt: skip
    if spec["track"] == "audit":
        del common["non_member_share"]  # a target's non-members are its other half
    if "scenario" in spec:
        return replace(
            base, **common, scenario=spec["scenario"], retrains=spec["retrains"], shadows=spec.get("shadows")
        )
    attack, usual = spec["attack"], get_profile(base.profile).pool
    pool = None if spec["pool"] == usual else spec["pool"]  # a defence without clean images takes no other word
    return replace(base, **common, attack=attack["name"], attack_preset=attack["preset"], pool=pool)


def _listed(blocks: Sequence[int]) -> str:
    """As a user writes it: one number alone would be how many."""
    return ",".join(map(str, blocks)) if blocks[1:] else f"{blocks[0]}-{blocks[0]}"


def _dataset(data: Mapping[str, Any], files: Mapping[str, Path]) -> str:
    """Path or name of the data; which data they are is compared later, by their hash."""
    if data["sha256"] in files:
        return str(files[data["sha256"]])
    if data["name"] in dataset_names():
        return str(data["name"])
    raise MedsafeError(
        f"the records of '{data['name']}' were computed on a file with sha256 {data['sha256']}, which is not here: "
        f"get it from whom submitted them, and name it with --dataset FILE"
    )


def _device(precision: str, wanted: str) -> str:
    """The recorded kind of device: precision depends on it, and is part of a run's identity."""
    kind = "cuda" if precision == "bf16" else "cpu"
    if wanted == "auto":
        return kind
    if wanted.partition(":")[0] != kind:
        raise MedsafeError(f"records in {precision} are verified on {kind}, not on {wanted}: leave --device out")
    return wanted
