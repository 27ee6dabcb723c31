"""What a run is: frozen, serialisable, and identified by the hash of its canonical JSON. And the profiles."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import cached_property
from typing import Any

from benchmark.api import MedsafeError, Recipe, unknown

PROTOCOL_VERSION = 1
MOST_BLOCKS = 1000


def canonical_json(value: Any) -> str:
    """Strict JSON with sorted keys and no spaces: one text for one value, so that it can be hashed."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False)


def identity(value: Any) -> str:
    """The sha256 of a value's canonical JSON, in hexadecimal."""
    return hashlib.sha256(canonical_json(value).encode()).hexdigest()


@dataclass(frozen=True)
class DataSpec:
    """Which images, and how they are cut. Two runs with equal values see the same bits."""

    name: str
    sha256: str
    split_seed: int = 0
    non_member_share: float = 0.1
    groups_sha256: str | None = None
    allowed_augmentations: tuple[str, ...] = ()


@dataclass(frozen=True)
class MethodSpec:
    """A method with everything that decides what it computes."""

    kind: str
    name: str
    version: str
    preset: str
    hyperparameters: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class RunSpec:
    """One method on one block. Paths, device and thread count are recorded beside it, not in it."""

    track: str
    data: DataSpec
    architecture: str
    recipe: Recipe
    method: MethodSpec
    block: int
    protocol_version: int = PROTOCOL_VERSION
    training_version: int = 1

    @cached_property
    def id(self) -> str:
        """The run's name in the store: 16 hexadecimal digits of its identity."""
        return identity(self.fields)[:16]

    @cached_property
    def fields(self) -> dict[str, Any]:
        """As a record holds it; not to be changed."""
        return asdict(self)


@dataclass(frozen=True, kw_only=True)
class UnlearningSpec(RunSpec):
    """An unlearning method on one forget set."""

    track: str = "unlearning"
    scenario: str
    retrains: int
    """How many references are trained without the forget set (K of PROTOCOL 1.1)."""
    original_sha256: str | None = None
    """Of the user's checkpoint, where one stands in for the trained Original."""


@dataclass(frozen=True, kw_only=True)
class AuditSpec(UnlearningSpec):
    """An unlearning method on one audit target, the model of that number (the block) on a half of official train."""

    track: str = "audit"
    shadows: int
    """How many models the attacks have seen (PROTOCOL 6.1)."""
    pool_version: int = 1


@dataclass(frozen=True, kw_only=True)
class BackdoorSpec(RunSpec):
    """A defence against one attack."""

    track: str = "backdoor"
    attack: MethodSpec
    pool: str
    """The defender's clean images: `reserved`, `reserved:50` or `seen` (PROTOCOL 7.4)."""
    poisoning_version: int = 1


@dataclass(frozen=True)
class Profile:
    """What a run takes where the user says nothing: data, net and length, never a method (PROTOCOL 4.1)."""

    dataset: str
    architecture: str
    recipe: str
    scenario: str
    blocks: int
    retrains: int
    attack: str = "badnets"
    pool: str = "reserved"


PROFILES = {
    "quick": Profile("bloodmini", "cnn-small", "cpu", "random:0.1", blocks=3, retrains=2),
    "full": Profile("bloodmnist", "resnet18", "medmnist", "random:0.1", blocks=5, retrains=3),
}


def get_profile(name: str) -> Profile:
    """A profile by name."""
    if name not in PROFILES:
        raise unknown("profile", name, PROFILES)
    return PROFILES[name]


def parse_blocks(text: str) -> list[int]:
    """`5` is blocks 0 to 4; `3-5` and `0,2,7` name them."""
    blocks: Sequence[int]
    try:
        if "-" in text:
            first, last = map(int, text.split("-"))
            blocks = range(first, last + 1)
        else:
            blocks = [int(part) for part in text.split(",")] if "," in text else range(int(text))
    except ValueError:
        blocks = []
    if blocks[MOST_BLOCKS:]:
        raise MedsafeError(f"blocks '{text}': more than {MOST_BLOCKS}")
    if not blocks or min(blocks) < 0 or len(set(blocks)) < len(blocks):
        raise MedsafeError(f"blocks '{text}' not understood: give a number (5), a range (0-9) or a list (0,2,7)")
    return list(blocks)


def parse_parameters(text: str) -> dict[str, str]:
    """`lr=0.01 epochs=5` (spaces or commas) -> names and values as text."""
    parts = text.replace(",", " ").split()
    for part in parts:
        if not all(part.partition("=")[::2]):
            raise MedsafeError(f"parameter '{part}' not understood: write name=value, e.g. --params 'lr=0.01 epochs=5'")
    names = [part.split("=", 1)[0] for part in parts]
    for name in names:
        if names.count(name) > 1:
            raise MedsafeError(f"parameter '{name}' is given twice: keep one value")
    return dict(part.split("=", 1) for part in parts)
