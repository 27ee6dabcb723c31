"""What a plugin says of itself, from its code alone: paper, formula, hyper-parameters, what it may see."""

import ast
import dataclasses
import inspect
import sys
import textwrap
import typing
from collections import defaultdict
from collections.abc import Iterable, Iterator
from itertools import pairwise
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, JsonValue, model_validator

from benchmark.contracts.plugin import AttackInfo, DefenseInfo, PluginInfo
from benchmark.store.records import Record

SEES = {
    "unlearning": "a private copy of the Original; the forget, retain and validation images; no test image, "
    "no non-member, no retrained reference",
    "post-training": "a private copy of the backdoored model; the defender's clean images; no test image, no trigger, "
    "no target class",
    "data-free": "a private copy of the backdoored model, and of the data nothing",
    "in-training": "the poisoned training images, and none that are known to be clean; it trains the model itself",
    "attacks": "the clean training images, which of them are his, a clean model of his own, and, where he controls the "
    "training, every step of it",
}  # fmt: skip
"""What a method may see, by kind or by a defence's power."""


class Parameter(BaseModel):
    """A hyper-parameter."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    name: str = Field(max_length=100)
    type: str = Field(max_length=1000)
    default: JsonValue
    meaning: str = Field(default="", max_length=10_000)


class Description(BaseModel):
    """A plugin, described; what crosses from the process that has loaded it."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    kind: Literal["unlearning", "defenses", "attacks"]
    name: str = Field(pattern=r"^[a-z0-9_]+$", max_length=100)
    version: int
    text: str = Field(default="", max_length=100_000)
    """The docstring of its file: paper, formula, differences."""
    parameters: tuple[Parameter, ...] = ()
    presets: dict[str, dict[str, JsonValue]]
    source_sizes: tuple[int, ...] | None = None
    power: Literal["post-training", "data-free", "in-training"] | None = None
    """Of a defence."""
    updates: int | None = None
    """Optimiser steps of the published experiment, where the plugin can tell."""

    @model_validator(mode="after")
    def _has_power(self) -> "Description":
        if (self.kind == "defenses") != (self.power is not None):
            raise ValueError("a defence, and nothing else, has a power")
        return self

    @property
    def title(self) -> str:
        """The first line of its text."""
        return self.text.strip().partition("\n")[0] or self.name

    @property
    def access(self) -> str:
        """What it may see, in a sentence."""
        return SEES[self.power or self.kind]

    @property
    def info(self) -> PluginInfo:
        """What its decorator declared; of unlearning methods and defences."""
        fields = (self.kind, self.name, self.version, self.presets, self.source_sizes)
        return DefenseInfo(*fields, self.power) if self.power else PluginInfo(*fields)


def describe(cls: type) -> Description:
    """The description of a plugin's class."""
    info: PluginInfo = cls.plugin_info  # type: ignore[attr-defined]
    types, meanings = typing.get_type_hints(cls), _meanings(cls)
    parameters = tuple(
        Parameter(
            name=field.name,
            type=_spelled(types[field.name]),
            default=_plain(field.default),
            meaning=meanings.get(field.name, ""),
        )
        for field in dataclasses.fields(cls)
    )
    return Description(
        kind=typing.cast("Any", info.kind),
        name=info.name,
        version=info.version,
        text=inspect.getdoc(sys.modules.get(cls.__module__)) or inspect.cleandoc(cls.__doc__ or ""),
        parameters=parameters,
        presets=typing.cast("Any", _plain(info.presets)),
        source_sizes=info.source_sizes,
        power=info.power if isinstance(info, DefenseInfo) else None,
        updates=_updates(cls, info),
    )


def steps_of(description: Description) -> str:
    """What the published values cost in optimiser steps, in words; empty where the plugin cannot tell."""
    if description.updates is None or description.source_sizes is None:
        return ""
    sizes = " and ".join(map(str, description.source_sizes))
    return f"{description.updates} optimiser steps in the published experiment ({sizes} images)"


def published_costs(records: Iterable[Record], description: Description) -> Iterator[str]:
    """What runs with the published values cost, from the records: one line for each data set and architecture."""
    shares = defaultdict(list)
    for record in records:
        spec, share = record["spec"], record.get("cost", {}).get("flops_share")
        method = (spec["method"]["kind"], spec["method"]["name"], spec["method"]["preset"])
        if method == (description.kind, description.name, "published") and share is not None:
            shares[spec["data"]["name"], spec["architecture"]].append(share)
    for (dataset, architecture), found in sorted(shares.items()):
        low, high = (f"{100 * value:.0f}" for value in (min(found), max(found)))
        yield (
            f"{low if low == high else f'{low}-{high}'} % of the training's FLOPs on {dataset} with {architecture} "
            f"({len(found)} published runs)"
        )


def _updates(cls: type, info: PluginInfo) -> int | None:
    if isinstance(info, AttackInfo) or info.source_sizes is None or not hasattr(cls, "updates"):
        return None
    return int(cls().updates(*info.source_sizes))


def _spelled(annotation: Any) -> str:
    """A type as its author wrote it."""
    if typing.get_origin(annotation) is Literal:
        return " | ".join(map(str, typing.get_args(annotation)))
    return annotation.__name__ if isinstance(annotation, type) else str(annotation)


def _plain(value: Any) -> JsonValue:
    """A value as JSON; what is none is shown as its text."""
    if isinstance(value, dict):
        return {str(name): _plain(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return value if isinstance(value, str | int | float | bool | None) else str(value)


def _meanings(cls: type) -> dict[str, str]:
    """Field -> the string below it, which Python itself forgets; of the class and of those it extends."""
    found: dict[str, str] = {}
    for each in reversed([item for item in cls.__mro__ if dataclasses.is_dataclass(item)]):
        try:
            (tree,) = ast.parse(textwrap.dedent(inspect.getsource(each))).body
        except (OSError, TypeError, SyntaxError):
            continue  # a class without a file
        body = tree.body if isinstance(tree, ast.ClassDef) else []
        for field, below in pairwise(body):
            match field, below:
                case ast.AnnAssign(target=ast.Name(id=name)), ast.Expr(value=ast.Constant(value=str(meaning))):
                    found[name] = " ".join(meaning.split())
    return found
