"""Where two records part: the first key and what stands there in each; to the bit, or within a tolerance."""

import json
import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from benchmark.store.records import FINAL, Record, as_json

Key = tuple[int | str, ...]
Near = Callable[[Key, Any, Any], bool]
"""Whether two values at a key, neither of them a list or an object, count as equal."""

ABSENT = object()
COMPARED = (
    "spec", "status", "reason", "classes", "notes", "sizes", "setting", "gate", "metrics", "unresolved", "references",
    "curves", "declarations", "cost",
)  # fmt: skip
"""What a second computation must come to, in the order in which differences are named."""
LOOSE = ("reason", "notes", "curves")
"""What is not compared elsewhere: rates in words, and rates in a figure."""
DECISIVE = ("torch", "numpy", "scikit-learn", "system", "cpu", "device", "threads")
"""The parts of an environment that bits depend on; one that a record does not say may have been another."""

POINTS, IMAGES = 0.02, 2.0
"""A rate over n images may differ by 2 points elsewhere, or by 2 / sqrt(n) where that is more."""
FLOPS = 0.05
"""Share by which FLOPs may differ elsewhere: some methods stop, or filter images, by what they have computed."""
WIDER = {
    "der": 2, "acc_gap": 2, "asr_gap": 2, "recovery_gap": 2, "mia_svc": 2, "mia_svc_non_members": 2,
    "mia_svc_excess": 2, "mia_svc_training_accuracy": 2, "mia_svc_original": 2,
}  # fmt: skip
"""Differences of two rates may differ twice as much, and so may an attack that is trained on a model's answers."""
COUNTED = {
    "ua": "forget", "probe_forget": "forget", "ra": "retain", "ta_deduplicated": "test_deduplicated",
    "ta_forgotten_class": "test_forgotten_class",
}  # fmt: skip
"""Metric -> the split that it counts in. Attacks on membership count in the smaller of two, all others in `test`."""


@dataclass(frozen=True)
class Difference:
    """The first place where two values part."""

    key: str
    first: str
    second: str


def first_difference(first: Any, second: Any, key: Key = (), near: Near | None = None) -> Difference | None:
    """Depth first, in the order of the first value's keys. Without `near`, equal means equal to the bit."""
    if isinstance(first, dict) and isinstance(second, dict):
        names = [*first, *(name for name in second if name not in first)]
        parts = [(name, first.get(name, ABSENT), second.get(name, ABSENT)) for name in names]
    elif isinstance(first, list) and isinstance(second, list) and len(first) == len(second):
        parts = list(zip(range(len(first)), first, second, strict=True))
    elif (type(first) is type(second) and first == second) or (near is not None and near(key, first, second)):
        return None
    else:
        return Difference(spelled(key), _said(first), _said(second))
    found = (first_difference(one, other, (*key, name), near) for name, one, other in parts)
    return next((difference for difference in found if difference), None)


def parting(recorded: Record, recomputed: Record, *, exact: bool) -> Difference | None:
    """Where a second computation of a run parts from the first; wall seconds may always differ.

    Args:
        recorded: the first, as it was handed in.
        recomputed: the second, with the same spec.
        exact: to the bit, instead of within the tolerance for another environment.
    """
    first, second = (_compared(record, exact) for record in (recorded, recomputed))
    if "curves" not in first:  # an old record
        second.pop("curves", None)
    return first_difference(first, second, near=None if exact else _near(recorded))


def elsewhere(recorded: Mapping[str, Any], present: Mapping[str, Any]) -> list[str]:
    """What makes a present environment another one than a recorded one, in words; empty where bits must agree."""
    there, here = ({name: where.get(name, "unknown") for name in DECISIVE} for where in (recorded, present))
    differs = [f"{name} {there[name]} there, {here[name]} here" for name in DECISIVE if there[name] != here[name]]
    return differs or (["a GPU adds up in an order of its own"] if recorded["device"] != "cpu" else [])


def tolerance(key: Key, record: Record) -> float | None:
    """How far a number of a record may be off in another environment; None where it must be equal.

    What is `cured` follows from rates by a threshold, and classes have few images: there any rate will do. Nor is any
    bound known for what is no rate, such as a divergence in nats.
    """
    if key == ("setting", "unchanged"):
        return _of_rate(record["sizes"]["test"])
    name = next((part for part in key[1:] if part in record["declarations"]), None)
    if key[0] not in ("metrics", "references") or not isinstance(name, str):
        return None
    if record["declarations"][name]["unit"] != "fraction":
        return math.inf
    if name == "cured" or isinstance(key[-1], int):
        return 1.0
    sizes = record["sizes"]
    attacked = min(sizes.get("forget", 0), sizes.get("non_members", 0))
    images = attacked if name.startswith(("mia_", "lira_", "rmia_")) else sizes[COUNTED.get(name, "test")]
    return WIDER.get(name, 1) * _of_rate(images)


def spelled(key: Iterable[int | str]) -> str:
    """`metrics.sensitivity[3]`."""
    return "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in key).lstrip(".")


def _of_rate(images: int) -> float:
    return max(POINTS, IMAGES / math.sqrt(max(images, 1)))


def _near(record: Record) -> Near:
    def near(key: Key, first: Any, second: Any) -> bool:
        if any(isinstance(value, bool) or not isinstance(value, int | float) for value in (first, second)):
            return False
        allowed = FLOPS * abs(first) if key[0] == "cost" else tolerance(key, record)
        return allowed is not None and abs(first - second) <= allowed

    return near


def _compared(record: Record, exact: bool) -> dict[str, Any]:
    """The parts of a record that are compared, as JSON."""
    known = json.loads(as_json(record))
    if "cost" in known:
        known["cost"] = {name: known["cost"][name] for name in ("flops", "flops_share")} | {
            "original": {"flops": known["cost"]["original"]["flops"]}
        }
    if record["status"] not in FINAL:
        known["reason"] = None  # a traceback's words: addresses, paths, what else went on
    if not exact and known.get("gate"):
        known["gate"]["reason"] = None
    wanted = COMPARED if exact else [name for name in COMPARED if name not in LOOSE]
    return {name: known[name] for name in wanted if known.get(name) not in (None, {}, [])}


def _said(value: Any) -> str:
    return "nothing" if value is ABSENT else json.dumps(value)[:80]
